"""recorder.archive: the views over a directory, what a query may do, what is seen beside a recorder."""

from __future__ import annotations

import gc
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from recorder.archive import Archive, open_archive
from recorder.cli import app
from schemas.errors import ConfigError, Corrupt, DataError, StoreError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import SCHEMAS
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

NOON_MS = NOON_NS // MS


def rows(archive: Archive, sql: str) -> list[dict[str, Any]]:
    return archive.sql(sql).table().to_pylist()


def trade(sequence: int, **columns: Any) -> dict[str, Any]:
    defaults = {
        "receive_time": NOON_NS + sequence * MS + 7,
        "push_time": NOON_MS + sequence,
        "match_time": NOON_MS + sequence,
        "price_mantissa": 6_180_940,
        "size_mantissa": 1_500,
    }
    return {"sequence": sequence} | defaults | columns


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An archive of two segments, the files of the first of an earlier schema version."""
    archive = HandmadeArchive(tmp_path)
    archive.segment(
        NOON_NS,
        {
            (Table.TRADES, "BTCUSDT"): [trade(1), trade(2, side="sell", price_mantissa=-5)],
            (Table.TRADES, "A/B_C%20*"): [trade(3)],
            (Table.BOOK_UPDATES, "BTCUSDT"): [
                book_row(4, kind="snapshot", bid_price_mantissa=[100, 99], bid_size_mantissa=[1000, 2000]),
                book_row(5, applied=False),
            ],
            (Table.TICKERS, "BTCUSDT"): [
                trade(6, kind="snapshot", last_price="61809.4"),
                trade(7, applied=False),
            ],
        },
        schema_version=1,
    )
    archive.segment(
        NOON_NS + 86_400_000 * MS, {(Table.TRADES, "BTCUSDT"): [trade(86_400_008)]}, schema_version=2
    )
    return tmp_path


def book_row(sequence: int, **columns: Any) -> dict[str, Any]:
    return trade(sequence, update_id=sequence, cross_sequence=sequence) | columns


def test_files_of_all_schema_versions_show_the_same(tmp_path: Path) -> None:
    ids = ["06c5bdb5-e135-538e-b145-e72e194ac54c", "2290000000068683729", "007", "t"]
    prices = ["61809.4", "61809.45", None, "0.000000000000000001"]
    turnovers = ["45520781921.5928", "99999999999999999999.999999999999999999", "-0.5", None]
    tables = {
        (Table.TRADES, "BTCUSDT"): [trade(i, trade_id=id_) for i, id_ in enumerate(ids)],
        (Table.TICKERS, "BTCUSDT"): [
            trade(i + 4, kind="snapshot", last_price=price, turnover_24h=turnover)
            for i, (price, turnover) in enumerate(zip(prices, turnovers, strict=True))
        ],
    }
    for version in (2, 1):
        HandmadeArchive(tmp_path).segment(NOON_NS + version, tables, schema_version=version)
    with open_archive(tmp_path) as archive:
        for table in ("trades", "tickers"):
            found = archive.sql(
                f"SELECT * REPLACE (epoch_ns(receive_time) AS receive_time) FROM {table} ORDER BY sequence"
            )
            types = found.schema
            twice = found.table().to_pylist()
            assert twice[::2] == twice[1::2]
            assert len(twice) == 8
        assert types.field("last_price").type == pa.decimal128(38, 18)
        assert [row["trade_id"] for row in rows(archive, "SELECT trade_id FROM trades ORDER BY sequence")][
            ::2
        ] == ids
        tickers = rows(archive, "SELECT last_price, turnover_24h FROM tickers ORDER BY sequence")[::2]
    assert [row["last_price"] for row in tickers] == [None if p is None else Decimal(p) for p in prices]
    assert [row["turnover_24h"] for row in tickers] == [None if t is None else Decimal(t) for t in turnovers]


def test_every_view_exists_and_an_empty_one_has_all_columns(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with open_archive(tmp_path) as archive:
        for table in Table:
            for view in (table.value, f"{table.value}_raw"):
                found = archive.sql(f"SELECT * FROM {view}").table()
                assert found.num_rows == 0
                assert set(SCHEMAS[table].names) | {"category", "symbol", "date"} <= set(found.schema.names)
        empty = archive.sql("SELECT * FROM trades").table().schema
    HandmadeArchive(tmp_path).segment(NOON_NS, {(Table.TRADES, "BTCUSDT"): [trade(1)]})
    with open_archive(tmp_path) as archive:
        assert archive.sql("SELECT * FROM trades").table().schema == empty


def test_columns_of_the_path_and_derived_prices(data: Path) -> None:
    with open_archive(data) as archive:
        found = rows(
            archive,
            "SELECT category, symbol, date::VARCHAR AS date, price_mantissa, price, size, "
            "exact_price(price_mantissa, price_exponent) AS exact FROM trades ORDER BY sequence LIMIT 3",
        )
        assert [row["symbol"] for row in found] == ["BTCUSDT", "BTCUSDT", "A/B_C%20*"]
        assert found[0] == {
            "category": "linear",
            "symbol": "BTCUSDT",
            "date": "2024-08-08",
            "price_mantissa": 6_180_940,
            "price": 61809.4,
            "size": 1.5,
            "exact": Decimal("61809.40"),
        }
        assert found[1]["exact"] == Decimal("-0.05")
        (book,) = rows(archive, "SELECT bid_price, bid_size, ask_price, ask_size FROM book_updates")
        assert book == {"bid_price": [1.0, 0.99], "bid_size": [1.0, 2.0], "ask_price": [], "ask_size": []}
        (ticker,) = rows(archive, "SELECT last_price FROM tickers")
        assert ticker["last_price"] == Decimal("61809.4")


@pytest.mark.skipif(duckdb.__version__ < "2", reason="older DuckDBs read microseconds")
def test_receive_times_keep_their_nanoseconds(data: Path) -> None:
    with open_archive(data) as archive:
        found = rows(archive, "SELECT epoch_ns(receive_time) AS ns FROM trades WHERE sequence = 1")
    assert found == [{"ns": NOON_NS + MS + 7}]


def test_masking_hides_unapplied_rows_and_never_trades(data: Path) -> None:
    counts = "SELECT (SELECT count(*) FROM book_updates) AS b, (SELECT count(*) FROM tickers) AS t"
    with open_archive(data) as archive:
        assert rows(archive, counts) == [{"b": 1, "t": 1}]
        assert rows(archive, counts.replace("FROM book_updates", "FROM book_updates_raw")) == [
            {"b": 2, "t": 1}
        ]
        assert rows(archive, "SELECT count(*) AS n FROM tickers_raw") == [{"n": 2}]
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]
    with open_archive(data, masked=False) as archive:
        assert rows(archive, counts) == [{"b": 2, "t": 2}]


def test_a_filter_on_the_path_columns_opens_no_other_file(data: Path) -> None:
    for file in sorted((data / "archive" / "trades").rglob("*.parquet")):
        if "BTCUSDT/date=2024-08-09" not in str(file):
            file.write_bytes(b"not Parquet")
    with open_archive(data) as archive:
        sql = "SELECT sequence FROM trades WHERE symbol = 'BTCUSDT' AND date = '2024-08-09'"
        assert rows(archive, sql) == [{"sequence": 86_400_008}]
    first = HandmadeArchive(data, collector="a")
    for version in (1, 2):
        first.segment(NOON_NS + version, {(Table.TRADES, "AAA"): [trade(version)]}, schema_version=version)
    with open_archive(data) as archive:
        assert rows(archive, sql) == [{"sequence": 86_400_008}]
        with pytest.raises(DataError, match=r"\.parquet"):
            rows(archive, "SELECT sum(price_mantissa) FROM trades")


def test_only_what_the_manifest_names_is_read(data: Path) -> None:
    stray = HandmadeArchive(data, collector="stray")
    stray.segment(NOON_NS + 5, {(Table.TRADES, "BTCUSDT"): [trade(50)]}, commit=False)
    with open_archive(data) as archive:
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]


def test_a_missing_file_is_a_store_error(data: Path) -> None:
    for file in (data / "archive" / "trades").rglob("*.parquet"):
        file.unlink()
    with open_archive(data) as archive:
        with pytest.raises(StoreError, match="it is not there; run `tapebook verify`"):
            rows(archive, "SELECT * FROM trades")
        assert rows(archive, "SELECT count(*) AS n FROM tickers") == [{"n": 1}]


ASKED = ["--from", "2024-08-08T12:00:00Z", "--to", "2024-08-08T12:00:03Z"]


SUM = ["query", "SELECT sum(price) FROM trades"]
EXPORT = ["export", "parquet", "--category", "linear", "--symbol", "BTCUSDT"]


@pytest.mark.parametrize(
    ("directory", "table", "command"),
    [
        ("data", Table.TRADES, SUM),
        ("it's", Table.TRADES, SUM),
        ("da[t]a*", Table.TRADES, SUM),
        ("data", Table.TRADES, EXPORT),
        ("data", Table.TRADES, ["bars", "BTCUSDT", *ASKED]),
        ("it's", Table.TRADES, ["bars", "BTCUSDT", *ASKED]),
        ("da[t]a*", Table.TRADES, ["bars", "BTCUSDT", *ASKED]),
        ("data", Table.BOOK_UPDATES, ["snapshots", "BTCUSDT", *ASKED]),
        ("data", Table.BOOK_UPDATES, ["book", "BTCUSDT", "--at", "2024-08-08T12:00:01Z"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else str(value),
)
def test_a_missing_file_is_told_in_one_way_whoever_reads_it(
    tmp_path: Path, directory: str, table: Table, command: list[str]
) -> None:
    data = tmp_path / directory
    span = {"start_time": NOON_NS, "end_time": NOON_NS + 3_000_000_000}
    topics = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")
    tables = {
        (Table.TRADES, "BTCUSDT"): [trade(1), trade(2)],
        (Table.BOOK_UPDATES, "BTCUSDT"): [book_row(1, kind="snapshot")],
        (Table.COVERAGE, "BTCUSDT"): [{"sequence": 0, "topic": topic, **span} for topic in topics],
    }
    HandmadeArchive(data).segment(NOON_NS, tables, schema_version=2)
    (file,) = (data / "archive" / table.value).rglob("*.parquet")
    file.unlink()
    output = ["-o", str(tmp_path / "out")] if command[0] == "export" else []
    result = CliRunner().invoke(app, [*command, *output, "--data", str(data)])
    assert isinstance(result.exception, StoreError), result.output
    assert (result.exception.exit_code, result.stdout) == (4, "")
    assert str(result.exception) == (
        f"{file}: the manifest names it, but it is not there; run `tapebook verify`, or, if the archive was compacted "
        "long after it was opened here, open it again"
    )


def test_a_file_that_goes_while_the_archive_is_open_is_missing_too(data: Path) -> None:
    with open_archive(data) as archive:
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]
        for file in (data / "archive" / "trades").rglob("*.parquet"):
            file.unlink()
        with pytest.raises(StoreError, match=r"^/.*\.parquet: the manifest names it, but it is not there"):
            rows(archive, "SELECT sum(price_mantissa) FROM trades")


@pytest.mark.parametrize("name", ["symbol=ETHUSDT", "da[t]a*", "it's; --", "a b"])
def test_odd_names_of_the_data_directory_change_nothing(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    HandmadeArchive(data).segment(NOON_NS, {(Table.TRADES, "BTCUSDT"): [trade(1)]})
    with open_archive(data) as archive:
        assert rows(archive, "SELECT symbol, date::VARCHAR AS date FROM trades") == [
            {"symbol": "BTCUSDT", "date": "2024-08-08"}
        ]


def test_a_relative_data_directory_works(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    with open_archive(Path(data.name)) as archive:
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]


GAP = {"start_time": NOON_NS, "first_update_id": 5, "topic": "orderbook.50.BTCUSDT"}


def test_gaps_show_the_healed_row_once(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    key = (Table.GAPS, "BTCUSDT")
    archive.segment(NOON_NS, {key: [GAP | {"sequence": 9}, GAP | {"sequence": 9, "cause": "silence"}]})
    archive.segment(NOON_NS + 1, {key: [GAP | {"sequence": 19}]})
    archive.segment(
        NOON_NS + 2,
        {
            key: [
                GAP | {"sequence": 25, "end_time": NOON_NS + 99 * MS, "healed_by": "snapshot"},
                GAP | {"sequence": 27, "start_time": NOON_NS + 200 * MS},
            ]
        },
    )
    with open_archive(tmp_path) as opened:
        found = rows(opened, "SELECT sequence, cause, healed_by FROM gaps ORDER BY sequence, cause")
        assert found == [
            {"sequence": 9, "cause": "silence", "healed_by": None},
            {"sequence": 25, "cause": "lost", "healed_by": "snapshot"},
            {"sequence": 27, "cause": "lost", "healed_by": None},
        ]
        assert rows(opened, "SELECT count(*) AS n FROM gaps_raw") == [{"n": 5}]


def test_coverage_joins_pieces_that_follow_each_other(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    key = (Table.COVERAGE, "BTCUSDT")

    def piece(sequence: int, start: int, end: int, **columns: Any) -> dict[str, Any]:
        times = {"start_time": NOON_NS + start * MS, "end_time": NOON_NS + end * MS}
        return {"sequence": sequence, "messages": 10} | times | columns

    archive.segment(NOON_NS, {key: [piece(1, 0, 100), piece(2, 0, 100, topic="publicTrade.BTCUSDT")]})
    archive.segment(NOON_NS + 1, {key: [piece(11, 100, 200, lines=2)]})
    archive.segment(NOON_NS + 2, {key: [piece(21, 200, 250), piece(25, 251, 300)]})
    other = HandmadeArchive(tmp_path, collector="other")
    other.segment(NOON_NS + 3, {key: [piece(1, 100, 200)]})
    with open_archive(tmp_path) as opened:
        found = rows(
            opened,
            "SELECT collector, topic, sequence, messages, lines, epoch_us(end_time::TIMESTAMPTZ) AS e "
            "FROM coverage WHERE symbol = 'BTCUSDT' ORDER BY ALL",
        )
        spans = [
            (row["collector"], row["topic"][:4], row["sequence"], row["messages"], row["lines"])
            for row in found
        ]
        assert spans == [
            ("linear", "orde", 1, 30, 2),
            ("linear", "orde", 25, 10, 1),
            ("linear", "publ", 2, 10, 1),
            ("other", "orde", 1, 10, 1),
        ]
        assert rows(opened, "SELECT count(*) AS n FROM coverage_raw") == [{"n": 6}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS x",
        "WITH a AS (SELECT 1) FROM a",
        "FROM trades",
        "VALUES (1)",
        "TABLE trades",
        "DESCRIBE trades",
        "SHOW TABLES",
        "SUMMARIZE SELECT sequence FROM trades",
        "EXPLAIN SELECT 1",
        "explain analyze select count(*) from trades",
        "-- a comment\nSELECT 1;",
    ],
)
def test_reading_statements_run(data: Path, sql: str) -> None:
    with open_archive(data) as archive:
        assert archive.sql(sql).table().num_rows > 0


# DuckDB before 2.0 looks for the directory of IMPORT DATABASE while it still parses the statement.
REFUSALS = ConfigError if duckdb.__version__ >= "2" else (ConfigError, StoreError)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{archive}/x.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{archive}/x.csv'",
        "EXPLAIN /* */ ANALYZE COPY (SELECT 1) TO '{archive}/x.csv'",
        "EXPLAIN (FORMAT json) COPY (SELECT 1) TO '{archive}/x.csv'",
        "-- \nEXPLAIN ANALYZE COPY (SELECT 1) TO '{archive}/x.csv'",
        "EXPORT DATABASE '{archive}/x.csv'",
        "ATTACH '{archive}/x.csv'",
        "CREATE TABLE x AS SELECT 1",
        "DROP VIEW trades",
        "SET threads = 1",
        "SET VARIABLE trades_files = ['/etc/passwd']",
        "INSTALL httpfs",
        "PRAGMA enable_profiling",
        "SELECT 1; SELECT 2",
        "",
        "IMPORT DATABASE '{archive}'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM nothing_here",
        "SELEC 1",
        "SELECT 'x'::INTEGER",
        "SELECT count(*) FROM rows",
    ],
)
def test_all_else_is_refused_and_changes_nothing(data: Path, sql: str) -> None:
    with open_archive(data) as archive:
        before = sorted((data / "archive").rglob("*"))
        with pytest.raises(REFUSALS):
            archive.sql(sql.format(archive=data / "archive")).table()
        assert sorted((data / "archive").rglob("*")) == before
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]


def test_an_error_in_the_middle_of_the_rows_is_duckdbs_own(data: Path) -> None:
    sql = "SELECT CASE WHEN range > 400000 THEN error('so far and no further') END AS x FROM range(1000000)"
    with open_archive(data) as archive, pytest.raises(ConfigError, match="so far and no further"):
        for _ in archive.sql(sql):
            pass


def test_two_results_can_be_read_at_once(data: Path) -> None:
    with open_archive(data) as archive:
        first = iter(archive.sql("SELECT * FROM range(100000)"))
        next(first)
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]
        assert sum(batch.num_rows for batch in first) > 0


def test_a_closed_archive_answers_no_query(data: Path) -> None:
    with open_archive(data) as archive:
        archive.sql("SELECT 1").table()
    with pytest.raises(ConfigError, match="closed; open it again"):
        archive.sql("SELECT 1")


def test_parameters_are_values_not_text(data: Path) -> None:
    with open_archive(data) as archive:
        sql = "SELECT count(*) AS n FROM trades WHERE symbol = $1"
        assert archive.sql(sql, ["BTCUSDT"]).table().to_pylist() == [{"n": 3}]
        assert archive.sql(sql, ["x' OR 1=1 --"]).table().to_pylist() == [{"n": 0}]


def test_ranges_tell_runs_apart(tmp_path: Path) -> None:
    archive = HandmadeArchive(tmp_path)
    key = (Table.TRADES, "BTCUSDT")
    archive.segment(NOON_NS, {key: [trade(1)]}, run_ns=NOON_NS)
    archive.segment(NOON_NS + 1, {key: [trade(5), trade(9)]}, run_ns=NOON_NS)
    archive.segment(NOON_NS + 2, {key: [trade(20)]}, run_ns=NOON_NS + 2)
    with open_archive(tmp_path) as opened:
        first, second = opened.ranges("linear", "BTCUSDT", Table.TRADES)
    assert (first.collector, first.run_ns, first.rows) == ("linear", NOON_NS, 3)
    assert first.receive_ns == (NOON_NS + MS + 7, NOON_NS + 9 * MS + 7)
    assert first.push_ms == first.match_ms == (NOON_MS + 1, NOON_MS + 9)
    assert (second.run_ns, second.rows) == (NOON_NS + 2, 1)


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("")]
)
def test_no_data_directory_is_said_plainly(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "data")
    with pytest.raises(ConfigError, match="data directory"):
        open_archive(tmp_path / "data")


class FakeJournal:
    """Stands in for the journal's listing and for roll, which have tests of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
        self.data = data
        self.sealed: dict[int, list[dict[str, Any]] | Exception] = {}
        self.rolled_into: list[Path] = []
        journal, roll = ModuleType("recorder.journal"), ModuleType("recorder.roll")
        journal.segments = self.segments  # type: ignore[attr-defined]
        roll.roll_segment = self.roll_segment  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "recorder.journal", journal)
        monkeypatch.setitem(sys.modules, "recorder.roll", roll)

    def segments(self, data: Path) -> list[Any]:
        class File:
            def __init__(self, start_ns: int, state: str) -> None:
                self.path, self.collector, self.start_ns = Path(str(start_ns)), "linear", start_ns
                self.state = state

        return [*(File(start_ns, "sealed") for start_ns in self.sealed), File(99, "open")]

    def roll_segment(self, path: Path, out_archive: Path) -> list[ManifestFile | ManifestSegment]:
        self.rolled_into.append(out_archive)
        content = self.sealed[int(path.name)]
        if isinstance(content, Exception):
            raise content
        writer = HandmadeArchive(out_archive.parent)
        return writer.segment(int(path.name), {(Table.TRADES, "BTCUSDT"): content}, commit=False)


def test_sealed_segments_are_seen_before_they_are_rolled(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = FakeJournal(monkeypatch, data)
    journal.sealed = {NOON_NS: [trade(1)], 5: [trade(60)], 6: [trade(61)]}
    before = sorted(data.rglob("*"))
    with open_archive(data) as archive:
        assert len(journal.rolled_into) == 2  # the first one is in the manifest already
        assert rows(archive, "SELECT sequence FROM trades WHERE sequence IN (1, 60, 61) ORDER BY 1") == [
            {"sequence": 1},
            {"sequence": 60},
            {"sequence": 61},
        ]
        files = archive.files(Table.TRADES, category="linear", symbol="BTCUSDT")
        assert all(archive.path(file).is_file() for file in files)
        assert archive.warnings == []
    assert sorted(data.rglob("*")) == before
    assert not journal.rolled_into[0].exists()
    with open_archive(data, include_sealed=False) as archive:
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 4}]


def test_a_sealed_segment_that_cannot_be_read_is_a_warning(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FakeJournal(monkeypatch, data)
    journal.sealed = {5: Corrupt("5.arrows", "batch 3 fails its checksum"), 6: [trade(61)]}
    with open_archive(data) as archive:
        assert rows(archive, "SELECT count(*) AS n FROM trades") == [{"n": 5}]
        assert len(archive.warnings) == 1
        assert "batch 3 fails its checksum" in archive.warnings[0]


def test_closing_removes_every_temporary_file(
    data: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with open_archive(data) as archive:
        rows(archive, "SELECT * FROM gaps")
        assert any(scratch.iterdir())
        assert repr(archive).startswith("<Archive ")
    assert not any(scratch.iterdir())
    forgotten = open_archive(data)
    rows(forgotten, "SELECT 1 AS x")
    assert any(scratch.iterdir())
    del forgotten
    gc.collect()
    assert not any(scratch.iterdir())


def test_the_callers_variables_are_no_tables(data: Path) -> None:
    secret = pa.table({"x": [1]})
    with open_archive(data) as archive, pytest.raises(ConfigError, match="secret"):
        archive.sql("SELECT * FROM secret")
    assert secret.num_rows == 1
