"""The commands ``query`` and ``book``, and every format that rows are written in."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from recorder.archive import open_archive
from recorder.book_at import book
from recorder.output import new_file
from recorder.query import query
from recorder.render import MAX_TABLE_ROWS, Format, write_rows
from schemas.errors import ConfigError, NoData, StoreError, TapebookError
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

NOON_MS = NOON_NS // MS

application = typer.Typer(pretty_exceptions_enable=False)
application.command()(query)
application.command()(book)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    moments = {"receive_time": NOON_NS + 123_456_789, "push_time": NOON_MS + 120, "match_time": NOON_MS + 119}
    trades = [
        {"sequence": number, "price_mantissa": 6_180_940 + number, "size_mantissa": 1_500} | moments
        for number in range(3)
    ]
    updates = [
        {
            "sequence": 10,
            "kind": "snapshot",
            "update_id": 77,
            "cross_sequence": 5,
            "bid_price_mantissa": [6_180_940, 6_180_930],
            "bid_size_mantissa": [1_500, 1],
            "ask_price_mantissa": [6_180_950],
            "ask_size_mantissa": [20],
        }
        | moments,
        {"sequence": 11, "update_id": 79, "applied": False} | moments,
    ]
    coverage = [
        {
            "sequence": 0,
            "topic": "orderbook.50.BTCUSDT",
            "start_time": NOON_NS,
            "end_time": NOON_NS + 10_000 * MS,
        },
        {
            "sequence": 0,
            "topic": "publicTrade.BTCUSDT",
            "start_time": NOON_NS,
            "end_time": NOON_NS + 7_200_000 * MS,
        },
    ]
    HandmadeArchive(tmp_path / "data").segment(
        NOON_NS,
        {
            (Table.TRADES, "BTCUSDT"): trades,
            (Table.BOOK_UPDATES, "BTCUSDT"): updates,
            (Table.COVERAGE, "BTCUSDT"): coverage,
        },
    )
    return tmp_path / "data"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(application, [str(argument) for argument in arguments])


def fails(error: type[TapebookError], *arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, error), result.output
    return str(result.exception)


def objects(result: Result) -> list[dict[str, Any]]:
    assert result.exception is None, result.output
    return [json.loads(line, parse_float=Decimal) for line in result.stdout.splitlines()]


def test_json_keeps_every_digit(data: Path) -> None:
    sql = (
        "SELECT sequence, price_mantissa, exact_price(price_mantissa, price_exponent) AS exact, price, "
        "receive_time, push_time, date, is_block, side FROM trades ORDER BY sequence LIMIT 1"
    )
    (found,) = objects(run("query", sql, "--data", data, "--format", "json"))
    nanoseconds = "123456789" if duckdb.__version__ >= "2" else "123456000"
    assert found == {
        "sequence": 0,
        "price_mantissa": 6_180_940,
        "exact": "61809.400000000000000000",
        "price": Decimal("61809.4"),
        "receive_time": f"2024-08-08T12:00:00.{nanoseconds}Z",
        "push_time": "2024-08-08T12:00:00.120000000Z",
        "date": "2024-08-08",
        "is_block": None,
        "side": "buy",
    }


ODD_VALUES: Sequence[tuple[str, Any, str]] = [
    ("9223372036854775807::BIGINT", 2**63 - 1, "9223372036854775807"),
    ("18446744073709551615::UBIGINT", 2**64 - 1, "18446744073709551615"),
    ("sum(5::BIGINT)", 5, "5"),
    ("170141183460469231731687303715884105727::HUGEINT", str(2**127 - 1), str(2**127 - 1)),
    ("0.000000000000000001::DECIMAL(38,18)", "0.000000000000000001", "0.000000000000000001"),
    ("7::DECIMAL(38,0)", "7", "7"),
    ("'NaN'::DOUBLE", "NaN", "NaN"),
    ("'-inf'::DOUBLE", "-Infinity", "-Infinity"),
    ("TIMESTAMP '2024-08-08 12:00:00.5'", "2024-08-08T12:00:00.500000000", "2024-08-08T12:00:00.500000000"),
    (
        "TIMESTAMPTZ '1969-12-31 23:59:59+00'",
        "1969-12-31T23:59:59.000000000Z",
        "1969-12-31T23:59:59.000000000Z",
    ),
    ("DATE '2024-08-08'", "2024-08-08", "2024-08-08"),
    ("TIME '01:02:03.000004'", "01:02:03.000004000", "01:02:03.000004000"),
    ("INTERVAL '1 month 2 days -3 milliseconds'", "P1M2DT-0.003000000S", "P1M2DT-0.003000000S"),
    ("'\\xAA\\x00'::BLOB", "aa00", "aa00"),
    ("[1, NULL, 3]", [1, None, 3], "[1,null,3]"),
    (
        "[TIMESTAMPTZ '2024-08-08 12:00:00+00']",
        ["2024-08-08T12:00:00.000000000Z"],
        '["2024-08-08T12:00:00.000000000Z"]',
    ),
    ("{'a': 1.5::DECIMAL(4,2), 'b': [true]}", {"a": "1.50", "b": [True]}, '{"a":"1.50","b":[true]}'),
    ("MAP {'k': 2}", [["k", 2]], '[["k",2]]'),
    ("array_value(1, 2)", [1, 2], "[1,2]"),
    ("'a'::ENUM('a', 'b')", "a", "a"),
    (
        "'quoted \" and, split\nover lines'",
        'quoted " and, split\nover lines',
        'quoted " and, split\nover lines',
    ),
    ("true", True, "true"),
    ("NULL", None, ""),
    ("TIMESTAMP 'infinity'", "9223372036854775807000ns", "9223372036854775807000ns"),
]


@pytest.mark.parametrize(
    ("expression", "in_json", "in_csv"), ODD_VALUES, ids=[each[0] for each in ODD_VALUES]
)
def test_values_of_every_type_in_json_and_csv(data: Path, expression: str, in_json: Any, in_csv: str) -> None:
    with open_archive(data) as archive:
        out = io.BytesIO()
        assert write_rows(archive.sql(f"SELECT {expression} AS x"), Format.JSON, out) == 1
        assert json.loads(out.getvalue()) == {"x": in_json}
        out = io.BytesIO()
        assert write_rows(archive.sql(f"SELECT {expression} AS x, 1 AS y"), Format.CSV, out) == 1
        assert list(csv.reader(io.StringIO(out.getvalue().decode(), newline=""))) == [
            ["x", "y"],
            [in_csv, "1"],
        ]
        out = io.BytesIO()
        assert write_rows(archive.sql(f"SELECT {expression} AS x"), Format.TABLE, out) == 1
        assert len(out.getvalue().splitlines()) == 3


def test_json_objects_hold_columns_of_one_name_apart(data: Path) -> None:
    result = run("query", "SELECT 1 AS x, 2 AS x, 3 AS x_1", "--data", data, "--format", "json")
    assert sorted(objects(result)[0].values()) == [1, 2, 3]


def test_tables_are_aligned_and_say_when_they_stop(data: Path) -> None:
    result = run(
        "query", "SELECT 'a' AS name, 5 AS n UNION ALL SELECT 'bcd', 1234 ORDER BY n", "--data", data
    )
    assert result.stdout.splitlines() == ["name     n", "----  ----", "a        5", "bcd   1234"]
    result = run("query", f"SELECT range FROM range({MAX_TABLE_ROWS + 5})", "--data", data)
    assert len(result.stdout.splitlines()) == MAX_TABLE_ROWS + 2
    assert "--format csv" in result.stderr
    result = run("query", f"SELECT range FROM range({MAX_TABLE_ROWS})", "--data", data)
    assert result.stderr == ""


def test_a_terminal_gets_no_control_characters(data: Path) -> None:
    result = run("query", "SELECT chr(27) || '[2J' || repeat('x', 100) AS x", "--data", data)
    assert "\x1b" not in result.stdout
    assert "…" in result.stdout


def test_explain_is_shown_as_it_is(data: Path) -> None:
    result = run("query", "EXPLAIN SELECT 1", "--data", data)
    assert "…" not in result.stdout
    assert len(result.stdout.splitlines()) > 2


def test_parquet_goes_to_a_file_or_a_pipe(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    sql = "SELECT sequence, receive_time FROM trades ORDER BY sequence"
    result = run("query", sql, "--data", data, "--format", "parquet", "--output", target)
    assert (result.exception, result.stdout) == (None, "")
    table = pq.read_table(target)
    assert table["sequence"].to_pylist() == [0, 1, 2]
    if duckdb.__version__ >= "2":
        assert table["receive_time"].cast(pa.int64()).to_pylist() == [NOON_NS + 123_456_789] * 3
    piped = run("query", sql, "--data", data, "--format", "parquet")
    assert pq.read_table(io.BytesIO(piped.stdout_bytes)).equals(table)


def test_parquet_is_refused_on_a_terminal(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal(io.BytesIO()))
    with pytest.raises(ConfigError, match="--output"):
        query("SELECT 1", data, style=Format.PARQUET)


def test_output_appears_whole_or_not_at_all(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("before")
    late = "SELECT CASE WHEN range > 400000 THEN error('late') END AS x FROM range(1000000)"
    assert "late" in fails(ConfigError, "query", late, "--data", data, "--format", "csv", "--output", target)
    assert target.read_text() == "before"
    assert sorted(tmp_path.iterdir()) == [data, target]
    assert (
        run("query", "SELECT 1 AS x", "--data", data, "--format", "csv", "--output", target).exception is None
    )
    assert target.read_text() == "x\n1\n"


def test_output_is_refused_among_the_recording(data: Path, tmp_path: Path) -> None:
    for place in (
        data / "archive" / "x.csv",
        data / "journal" / "x.csv",
        data / "x" / ".." / "archive" / "y",
    ):
        assert "choose another" in fails(ConfigError, "query", "SELECT 1", "--data", data, "--output", place)
    (tmp_path / "link").symlink_to(data / "archive")
    with pytest.raises(ConfigError), new_file(tmp_path / "link" / "x", data=data):
        pass
    with pytest.raises(StoreError, match="cannot be written"), new_file(tmp_path / "none" / "x", data=data):
        pass


def test_unmasked_shows_what_could_not_be_applied(data: Path) -> None:
    sql = "SELECT update_id FROM book_updates ORDER BY sequence"
    assert objects(run("query", sql, "--data", data, "--format", "json")) == [{"update_id": 77}]
    found = objects(run("query", sql, "--data", data, "--format", "json", "--unmasked"))
    assert found == [{"update_id": 77}, {"update_id": 79}]


def test_no_rows_are_no_error_and_say_what_there_is(data: Path) -> None:
    sql = "SELECT * FROM trades WHERE symbol = 'BTCUSDT' AND push_time < '2020-01-01'"
    result = run("query", sql, "--data", data, "--format", "json")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "trades: linear BTCUSDT 2024-08-08T12:00:00.120000000Z to" in result.stderr
    result = run("query", "SELECT * FROM tickers", "--data", data)
    assert "tickers: nothing was recorded" in result.stderr
    result = run("query", "SELECT * FROM coverage WHERE false", "--data", data)
    assert "coverage: linear BTCUSDT 2024-08-08T12:00:00.000000000Z" in result.stderr


MINUTE = "'2024-08-08T12:00:00Z', '2024-08-08T12:01:00Z'"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT count(*) FROM trades", True),
        ("SELECT count(*) FROM\n  Trades_raw t JOIN gaps g USING (symbol)", True),
        ("SELECT sum(size) FROM trades WHERE symbol = 'BTCUSDT'", True),
        ("SELECT sum(size) FROM main.trades", True),
        ('SELECT sum(size) FROM "main" . "Trades" -- collector', False),
        ('SELECT count(*) FROM memory."main" . "Trades_raw"', True),
        ("SELECT sum(size) FROM gaps g, trades t", True),
        ("SUMMARIZE trades", True),
        ("SELECT sum(size) FROM trades WHERE category = 'linear'", True),
        ("SELECT sum(size) FROM trades WHERE category IN ('spot')", False),
        ("SELECT sum(size) FROM trades WHERE symbol = 'ALONE'", False),
        (f"SELECT time, trades FROM bars('linear', 'BTCUSDT', {MINUTE}, untrusted := 'mark')", False),
        ("SELECT collector, count(*) FROM trades GROUP BY ALL", False),
        ("SELECT count(DISTINCT trade_id) FROM trades", False),
        ("SELECT 1 AS trades", False),
    ],
)
def test_rows_that_two_collectors_recorded_are_spoken_of(tmp_path: Path, sql: str, said: bool) -> None:
    for collector, symbols in (("one", ("BTCUSDT", "ALONE")), ("two", ("BTCUSDT",))):
        tables = {
            (Table.TRADES, symbol): [
                {
                    "sequence": number, "receive_time": NOON_NS + number * MS, "push_time": NOON_NS // MS + number,
                    "match_time": NOON_NS // MS + number, "trade_id": f"t{number}", "price_mantissa": 1,
                    "size_mantissa": 1,
                }
                for number in (1, 50)
            ]
            for symbol in symbols
        }  # fmt: skip
        HandmadeArchive(tmp_path, collector).segment(NOON_NS + len(symbols), tables)
    result = run("query", sql, "--data", tmp_path)
    assert result.exit_code == 0
    told = "trades: linear BTCUSDT was recorded by one and two at once" in result.stderr
    assert told == said


@pytest.mark.parametrize(
    ("sql", "name", "symbol"),
    [
        ("SELECT count(*) FROM tickers", "tickers", " BTCUSDT"),
        ("SELECT avg(mark_price) FROM mark_prices", "mark_prices", " BTCUSDT"),
        ("SELECT count(*) FROM liquidations", "liquidations", " BTCUSDT"),
        ("SELECT count(*) FROM insurance", "insurance", ""),
    ],
)
def test_every_feed_that_two_recorded_is_spoken_of(tmp_path: Path, sql: str, name: str, symbol: str) -> None:
    def rows(**columns: object) -> list[dict[str, Any]]:
        times = [(NOON_NS + ms * MS, NOON_NS // MS + ms) for ms in (0, 50)]
        return [
            {"sequence": 1, "receive_time": receive, "push_time": push, "match_time": push, **columns}
            for receive, push in times
        ]

    for collector in ("one", "two"):
        tables = {
            (Table.TICKERS, "BTCUSDT"): rows(kind="snapshot", mark_price="1"),
            (Table.LIQUIDATIONS, "BTCUSDT"): rows(),
            (Table.INSURANCE, "_"): rows(pool_group="isolated", coin="USDT", symbols="BTCUSDT"),
        }
        HandmadeArchive(tmp_path, collector).segment(NOON_NS, tables)
    result = run("query", sql, "--data", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stderr == (
        f"{name}: linear{symbol} was recorded by one and two at once, and the rows of each are there: column "
        "collector tells them apart\n"
    )


def test_wrong_sql_gets_duckdbs_words_and_exit_2(data: Path) -> None:
    message = fails(ConfigError, "query", "SELECT prize FROM trades", "--data", data)
    assert "prize" in message
    assert "price" in message  # DuckDB proposes what is near
    assert ConfigError.exit_code == 2


def test_a_missing_data_directory_says_what_to_do(tmp_path: Path) -> None:
    message = fails(ConfigError, "query", "SELECT 1", "--data", tmp_path / "none")
    assert "tapebook record --data" in message


def test_a_reader_that_leaves_early_is_no_error(data: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from recorder.query import query; from recorder.render import Format; "
        f"query('SELECT * FROM range(3000000)', Path({str(data)!r}), style=Format.CSV)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


BOOK = ("book", "BTCUSDT", "--at", "2024-08-08T12:00:01Z")


def test_the_book_command_in_json(data: Path) -> None:
    (found,) = objects(run(*BOOK, "--data", data, "--category", "linear", "--format", "json"))
    assert found == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "topic": "orderbook.50.BTCUSDT",
        "state": "live",
        "update_id": 77,
        "cross_sequence": 5,
        "match_time": "2024-08-08T12:00:00.119000000Z",
        "push_time": "2024-08-08T12:00:00.120000000Z",
        "receive_time": "2024-08-08T12:00:00.123456789Z",
        "age_ms": 881,
        "bids": [["61809.40", "1.500"], ["61809.30", "0.001"]],
        "asks": [["61809.50", "0.020"]],
    }
    (found,) = objects(
        run(
            *BOOK,
            "--data",
            data,
            "--clock",
            "receive",
            "--depth",
            1,
            "--format",
            "json",
            "--topic",
            "orderbook.50",
        )
    )
    assert found["bids"] == [["61809.40", "1.500"]]
    assert found["age_ms"] == Decimal("876.543211")


def test_the_book_command_as_text(data: Path) -> None:
    result = run(*BOOK, "--data", data)
    assert result.exception is None
    lines = result.stdout.splitlines()
    assert lines[0].startswith(
        "linear orderbook.50.BTCUSDT at 2024-08-08T12:00:01.000000000Z (match clock): live"
    )
    assert lines[-2].split() == ["1.500", "61809.40", "61809.50", "0.020"]
    assert lines[-1].split() == ["0.001", "61809.30"]


def test_the_book_command_refuses_in_words(data: Path) -> None:
    assert "2024-08-08T12:00:01Z" in fails(
        ConfigError, "book", "BTCUSDT", "--at", "2024-08-08T12:00:01", "--data", data
    )
    message = fails(NoData, "book", "BTCUSDT", "--at", "2023-01-01T00:00:00Z", "--data", data)
    assert "2024-08-08T12:00:00.119000000Z to" in message
    assert NoData.exit_code == 1
    assert "linear BTCUSDT" in fails(NoData, "book", "ETHUSDT", "--at", "0s", "--data", data)
    assert "BTCUSDT" in fails(NoData, "book", "BTCUSD", "--category", "linear", "--at", "0s", "--data", data)
    spot = HandmadeArchive(data, collector="spot", category="spot")
    spot.segment(
        NOON_NS,
        {
            (Table.BOOK_UPDATES, "BTCUSDT"): [
                {"sequence": 1, "receive_time": NOON_NS, "push_time": NOON_MS, "update_id": 1}
            ]
        },
    )
    assert "--category" in fails(ConfigError, *BOOK, "--data", data)


def documented_queries() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "sql.md").read_text()
    return re.findall(r"```sql\n(.*?)```", page, re.DOTALL)


def test_the_page_about_sql_shows_queries() -> None:
    assert len(documented_queries()) >= 5


@pytest.mark.parametrize("sql", documented_queries())
def test_documented_queries_run(data: Path, sql: str) -> None:
    with open_archive(data) as archive:
        found = archive.sql(sql).table()
    if "FROM gaps" not in sql:
        assert found.num_rows > 0
