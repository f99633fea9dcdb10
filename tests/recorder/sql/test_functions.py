"""recorder.sql.functions: the engine's table functions in any place of a query, and what is wrong with a call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from recorder.archive import Archive, open_archive
from recorder.ranges import FUNCTIONS
from recorder.ranges.function import REQUIRED, Arguments, Kind, Parameter, RangeFunction
from recorder.sql import functions
from recorder.sql.calls import Piece
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.errors import ConfigError, NoData, TapebookError
from tests.recorder.archives import NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, cover, row

NOON = "2024-08-08T12:00:00Z"
RANGE = f"'linear', 'BTCUSDT', '{NOON}', '2024-08-08T12:00:10Z'"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [row(1, 1000, "snapshot"), *(row(2 + i, 1100 + 100 * i, bid=101 + i % 3) for i in range(50))]
    HandmadeArchive(tmp_path).segment(NOON_NS, {BOOK: rows, COVERAGE: [cover(0, 0, 10_000)]})
    return tmp_path


@pytest.fixture
def archive(data: Path) -> Iterator[Archive]:
    with open_archive(data) as opened:
        yield opened


def rows(archive: Archive, sql: str, parameters: list[object] | None = None) -> list[dict[str, Any]]:
    return archive.sql(sql, parameters).table().to_pylist()


def count(archive: Archive, sql: str, parameters: list[object] | None = None) -> Any:
    ((value,),) = (each.values() for each in rows(archive, sql, parameters))
    return value


def test_every_function_of_the_ranges_is_a_table_function() -> None:
    assert set(FUNCTIONS) <= set(TABLE_FUNCTIONS)
    for name, function in TABLE_FUNCTIONS.items():
        assert function.name == name == name.lower()
        assert function.doc.endswith(".")
        assert function.signature.startswith(f"{name}(")


def test_rows_are_those_of_the_range_function(archive: Archive) -> None:
    function = FUNCTIONS["snapshots"]
    arguments = function.bind(["linear", "BTCUSDT", NOON, "2024-08-08T12:00:10Z", "100ms"])
    expected = pa.Table.from_batches(function.run(archive, arguments), function.schema(arguments))
    assert expected.num_rows == 90
    found = archive.sql(f"FROM snapshots({RANGE}, '100ms')").table()
    assert found.schema.names == expected.schema.names
    assert found["update_id"].to_pylist() == expected["update_id"].to_pylist()
    assert found["bid_price"].to_pylist() == expected["bid_price"].to_pylist()
    assert found["time"].cast(pa.int64()).to_pylist() == expected["time"].cast(pa.int64()).to_pylist()


@pytest.mark.parametrize(
    "call",
    [
        f"snapshots({RANGE})",
        f"snapshots({RANGE}, every := INTERVAL 1 SECOND)",
        f"snapshots({RANGE}, INTERVAL 500 MILLISECONDS + INTERVAL '0.5' SECOND)",
        f"snapshots({RANGE}, every => '1s', depth => 2 + 3)",
        "snapshots(symbol := 'BTC' || 'USDT', category := 'linear', t1 := TIMESTAMPTZ '2024-08-08 14:00:10+02', "
        f"t0 := TIMESTAMPTZ '{NOON}')",
        "snapshots('linear', 'BTCUSDT', (SELECT min(match_time) - INTERVAL 1 SECOND FROM book_updates), "
        f"'{NOON}'::TIMESTAMPTZ + INTERVAL 10 SECONDS)",
        f"snapshots('linear', 'BTCUSDT', (SELECT min(time) - INTERVAL 1 SECOND FROM snapshots({RANGE})), "
        "'2024-08-08T12:00:10Z')",
        "snapshots('linear', 'BTCUSDT', '1723118400000ms', '1723118410000000000ns')",
    ],
)
def test_arguments_may_be_written_in_many_ways(archive: Archive, call: str) -> None:
    assert count(archive, f"SELECT count(*) FROM {call}") == 9


def test_parameters_go_where_they_belong(archive: Archive) -> None:
    sql = "SELECT count(*) FROM snapshots($1, $2, $3, $4, every := $5) WHERE update_id > $6"
    values: list[object] = ["linear", "BTCUSDT", NOON, "2024-08-08T12:00:10Z", "1s", 20]
    assert count(archive, sql, values) == 7
    sql = "SELECT ? + count(*) FROM snapshots(?, ?, ?, ?)"
    assert count(archive, sql, [1000, *values[:4]]) == 1009


def test_calls_stand_wherever_a_table_may(archive: Archive) -> None:
    call = f"snapshots({RANGE})"
    assert count(archive, f"SELECT count(snapshots.time) FROM {call}") == 9
    assert count(archive, f"SELECT count(s.time) FROM {call} s WHERE s.trusted") == 9
    assert count(archive, f"WITH x AS (FROM {call}) SELECT count(*) FROM x JOIN x AS y USING (time)") == 9
    assert count(archive, f"SELECT count(*) FROM {call} a, {call} b") == 81
    assert count(archive, f"SELECT count(*) FROM {call} WHERE time IN (SELECT time FROM {call} LIMIT 4)") == 4
    assert count(archive, f"SELECT count(*) FROM trades FULL JOIN {call} ON true") == 9
    assert len(rows(archive, f"EXPLAIN FROM {call}")) == 1
    assert len(rows(archive, f"EXPLAIN ANALYZE FROM {call}")) == 1
    described = [each["column_name"] for each in rows(archive, f"DESCRIBE {call}")]
    assert described == archive.sql(f"FROM {call}").schema.names
    assert len(rows(archive, f"SUMMARIZE SELECT update_id FROM {call}")) == 1
    assert len(rows(archive, f"PIVOT {call} ON trusted USING count(*) GROUP BY topic" if "topic" in described
                    else f"PIVOT (SELECT trusted FROM {call}) ON trusted USING count(*)")) == 1  # fmt: skip
    assert len(rows(archive, f"FROM {call} UNION ALL FROM {call}")) == 18


def test_two_queries_have_calls_of_their_own(archive: Archive) -> None:
    first = archive.sql(f"SELECT update_id FROM snapshots({RANGE})")
    second = archive.sql(f"SELECT update_id FROM snapshots({RANGE}, '100ms')")
    assert first.table().num_rows == 9
    assert second.table().num_rows == 90
    with pytest.raises(ConfigError, match="does not exist"):
        archive.sql('FROM "snapshots #1"')


NUMBERS = pa.schema([("x", pa.int64())])


class Numbers:
    """A range function that counts its batches and fails where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int | None = None) -> None:
        self.batches = self.streams = 0
        self.fails_at = fails_at
        self.error: TapebookError = NoData("nothing of it was recorded")
        function = RangeFunction(
            "numbers",
            "Numbers.",
            (Parameter("upto", Kind.COUNT, "How many batches.", REQUIRED),),
            lambda arguments: NUMBERS,
            self.run,
        )
        monkeypatch.setattr(functions, "TABLE_FUNCTIONS", {"numbers": function})

    def run(self, archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
        self.streams += 1
        for number in range(arguments["upto"]):
            if number == self.fails_at:
                raise self.error
            self.batches += 1
            yield pa.record_batch([pa.array(range(number * 1000, number * 1000 + 1000))], schema=NUMBERS)


def test_a_limit_stops_the_rows_from_being_made(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(monkeypatch)
    assert len(rows(archive, "FROM numbers(1_000_000) LIMIT 10")) == 10
    assert 1 <= numbers.batches <= 50
    result = archive.sql("FROM numbers(1_000_000)")
    next(iter(result))
    result.close()
    assert numbers.batches <= 20_000  # DuckDB makes some more, as much as its buffer takes
    for sql in ("EXPLAIN FROM numbers(3)", "DESCRIBE numbers(3)"):
        numbers.batches = 0
        rows(archive, sql)
        assert numbers.batches == 0


def test_each_scan_has_a_stream_of_its_own(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Numbers(monkeypatch)
    sql = "SELECT count(*) FROM numbers(3) a JOIN numbers(3) b USING (x)"
    assert count(archive, sql) == 3000
    assert numbers.streams == 2
    sql = (
        "WITH n AS NOT MATERIALIZED (FROM numbers(2)) SELECT count(*) FROM n WHERE x < (SELECT max(x) FROM n)"
    )
    assert count(archive, sql) == 1999
    assert numbers.streams in (3, 4)


@pytest.mark.parametrize("fails_at", [0, 1, 900])
def test_an_error_of_the_engine_is_its_own_in_sql_too(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    numbers = Numbers(monkeypatch, fails_at)
    for sql in ("FROM numbers(1000)", "SELECT count(*) FROM numbers(1000)"):
        with pytest.raises(NoData, match=r"^nothing of it was recorded$"):
            archive.sql(sql).table()
    numbers.fails_at = None
    assert count(archive, "SELECT count(*) FROM numbers(2)") == 2000


def test_what_cannot_be_made_at_all_is_said_at_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    Numbers(monkeypatch, 0)
    with pytest.raises(NoData):
        archive.sql("FROM numbers(5)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'linear', 'BTCUSDT'", "t0, t1: missing"),
        (f"{RANGE}, evry := '1s'", "no parameter 'evry'; did you mean 'every'"),
        (f"{RANGE}, every := '1s', every := '2s'", "every is given twice"),
        (f"{RANGE}, every := '1s', 5", "come before"),
        (f"{RANGE}, every := 'often'", "every: 'often' is no length of time"),
        (f"{RANGE}, every := 5", "every: found 5, expected a length of time"),
        (f"{RANGE}, every := INTERVAL 1 MONTH", "every: INTERVAL 1 MONTH has months"),
        (f"{RANGE}, depth := 'deep'", "depth: found 'deep', expected a whole number"),
        (f"{RANGE}, depth := 2.5", "depth: found Decimal"),
        (f"{RANGE}, depth := NULL + 1, clock := 'wall'", "clock: found 'wall', expected"),
        ("'linear', 'BTCUSDT', '2024-08-08T12:00:00', '2024-08-09T12:00:00Z'", "t0: .* has no offset"),
        ("'linear', 'BTCUSDT', TIMESTAMP '2024-08-08 12:00:00', '2024-08-09T12:00:00Z'", "t0: .* without time zone"),
        ("'linear', 'BTCUSDT', DATE '2024-08-08', '2024-08-09T12:00:00Z'", "t0: .* is a day, not a moment"),
        ("'linear', 'BTCUSDT', '2024-08-09T12:00:00Z', '2024-08-08T12:00:00Z'", "is after t1"),
        ("linear, 'BTCUSDT', '2024-08-09T12:00:00Z', '2024-08-08T12:00:00Z'", "category: .* quote it: 'linear'"),
        ("'linear', t.symbol, '2024-08-09T12:00:00Z', '2024-08-09T12:00:00Z'", "can't name columns"),
        ("'linear', , '2024-08-09T12:00:00Z'", "symbol: there is nothing between two commas"),
        (f"{RANGE}, '1s', 5, 'orderbook.50', 'match', 'mark', true, 1, 2, 3", "found 13 arguments"),
        ("(SELECT 'a' UNION ALL SELECT 'b')", "category: .* has no value"),
        ("'linear', unnest(['BTCUSDT', 'ETHUSDT'])", "symbol: .* has several values; expected one"),
        ("'linear', unnest(range(100000))", "symbol: .* has several values"),
        ("'linear', unnest([])", "symbol: .* has no value"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_said_with_the_signature(archive: Archive, arguments: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        archive.sql(f"FROM (SELECT 'BTCUSDT' AS symbol) t, snapshots({arguments})")
    assert str(caught.value).startswith("snapshots: ")
    assert str(caught.value).endswith(FUNCTIONS["snapshots"].signature)
    assert count(archive, "SELECT count(*) FROM book_updates") == 51


def test_an_argument_reads_and_nothing_else(archive: Archive) -> None:
    for text in ("1); DROP VIEW trades; SELECT (1", "(SELECT * FROM read_text('/etc/hostname'))"):
        with pytest.raises(ConfigError):
            archive.sql(f"FROM snapshots({text})")
    assert count(archive, "SELECT count(*) FROM trades") == 0


def test_unknown_symbols_and_empty_ranges_are_no_data(archive: Archive) -> None:
    with pytest.raises(NoData, match="BTCUSDT"):
        archive.sql(f"FROM snapshots({RANGE.replace('BTCUSDT', 'BTCUSD')})")
    with pytest.raises(NoData, match="recorded"):
        archive.sql("FROM snapshots('linear', 'BTCUSDT', '2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z')")


def test_an_unknown_function_names_the_nearest(archive: Archive) -> None:
    with pytest.raises(ConfigError, match=r"there is snapshots\(category, symbol"):
        archive.sql(f"FROM snapshot({RANGE})")


@pytest.mark.parametrize("view", ["gaps", "coverage", "Trades"])
def test_a_view_that_is_called_is_said_to_be_one(archive: Archive, view: str) -> None:
    with pytest.raises(ConfigError, match=rf"{view.lower()} is a view, without arguments: SELECT \* FROM"):
        archive.sql(f"FROM {view}({RANGE})")


def test_control_c_in_the_midst_of_a_call_is_control_c(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_archive: Archive, _arguments: Arguments) -> Iterator[pa.RecordBatch]:
        raise KeyboardInterrupt
        yield

    snapshots = TABLE_FUNCTIONS["snapshots"]
    changed = RangeFunction("snapshots", snapshots.doc, snapshots.parameters, snapshots.schema, stopped)
    monkeypatch.setattr(functions, "TABLE_FUNCTIONS", {**TABLE_FUNCTIONS, "snapshots": changed})
    with pytest.raises(KeyboardInterrupt):
        archive.sql(f"SELECT count(*) FROM snapshots({RANGE})").table()
    assert count(archive, "SELECT count(*) FROM book_updates") == 51


def test_what_duckdb_says_of_control_c_is_control_c(archive: Archive) -> None:
    class Interrupted:
        def sql(self, *_: object, **__: object) -> None:
            raise RuntimeError("Query interrupted")

    released: list[bool] = []
    run: Any = archive._opened().run
    with pytest.raises(KeyboardInterrupt):
        run(
            Interrupted(),
            Piece("SELECT 1", []),
            lambda: released.append(True),
            lambda _: None,
            at_once=False,
        )
    assert released == [True]
