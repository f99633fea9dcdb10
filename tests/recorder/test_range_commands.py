"""Ranges at the command line: every format, and what is said of everything that can't be answered."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from recorder import range_commands
from recorder.cli import app
from recorder.range_commands import cut_bars
from schemas.errors import ConfigError, NoData, TapebookError
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, GAPS, NOON_MS, cover, gap, row

RANGE = ("--from", "2024-08-08T12:00:01Z", "--to", "2024-08-08T12:00:03Z")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [row(1, 1000, "snapshot"), row(2, 1500, bid=101), row(9, 2600, "snapshot", bid=105)]
    trades = [
        {
            "sequence": 3 + number,
            "receive_time": NOON_NS + (1200 + 100 * number) * MS,
            "push_time": NOON_MS + 1200 + 100 * number,
            "match_time": NOON_MS + 1200 + 100 * number,
            "trade_id": f"t{number}",
            "price_mantissa": 100 + number,
            "size_mantissa": 1000,
        }
        for number in range(3)
    ]
    recorded = [cover(0, 0, 10_000), cover(0, 0, 10_000, topic="publicTrade.BTCUSDT")]
    tables = {
        BOOK: rows,
        (Table.TRADES, "BTCUSDT"): trades,
        COVERAGE: recorded,
        GAPS: [gap(9, rows[1], rows[2])],
    }
    HandmadeArchive(tmp_path / "data").segment(NOON_NS, tables)
    return tmp_path / "data"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fails(error: type[TapebookError], *arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, error), result.output
    return str(result.exception)


def test_snapshots_as_json(data: Path) -> None:
    result = run("snapshots", "BTCUSDT", *RANGE, "--every", "500ms", "--data", data, "--format", "json")
    assert result.exception is None, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(each["time"][11:23], each["bid_price"], each["trusted"]) for each in found] == [
        ("12:00:01.000", [1.0], True),
        ("12:00:01.500", [1.01, 1.0], True),
    ]
    result = run(
        "snapshots", "BTCUSDT", *RANGE, "--every", "500ms", "--data", data, "--format", "json",
        "--mark-untrusted", "--depth", 1, "--exact", "--clock", "push", "--topic", "orderbook.50",
        "--category", "linear",
    )  # fmt: skip
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["trusted"] for each in found] == [True, False, False]  # the first at 12:00:01.5
    assert {each["bid_price_mantissa"][0] for each in found} == {100, 101}


def test_bars_as_csv_and_parquet(data: Path, tmp_path: Path) -> None:
    result = run("bars", "BTCUSDT", *RANGE, "--data", data, "--format", "csv")
    assert result.exception is None, result.output
    header, *lines = result.stdout.splitlines()
    names = header.split(",")
    (found,) = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    assert (found["open"], found["close"], found["volume"], found["trades"]) == ("1.0", "1.02", "3.0", "3")
    target = tmp_path / "bars.parquet"
    assert run("bars", "BTCUSDT", *RANGE, "--data", data, "--format", "parquet", "-o", target).exit_code == 0
    assert pq.read_table(target)["high"].to_pylist() == [1.02]


def test_a_table_for_people(data: Path) -> None:
    result = run("snapshots", "BTCUSDT", *RANGE, "--data", data)
    assert result.stdout.splitlines()[0].split() == [
        "time", "trusted", "age_ms", "update_id", "bid_price", "bid_size", "ask_price", "ask_size",
    ]  # fmt: skip
    result = run("snapshots", "BTCUSDT", "--every", "1ms", *RANGE, "--data", data)
    assert "only the first 1000 rows are shown" not in result.stderr
    later = ("--from", "2024-08-08T12:00:03Z", "--to", "2024-08-08T12:00:09Z")
    result = run("snapshots", "BTCUSDT", "--every", "1ms", *later, "--data", data)
    assert "only the first 1000 rows are shown" in result.stderr


def test_a_reader_that_leaves_early_is_no_error(data: Path) -> None:
    later = ("--from", "2024-08-08T12:00:03Z", "--to", "2024-08-08T12:00:09Z")
    asked = ("snapshots", "BTCUSDT", "--every", "100us", *later, "--data", str(data), "--format", "csv")
    command = [sys.executable, "-m", "recorder", *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"time,")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_rows_that_lie_in_gaps_are_spoken_of(data: Path) -> None:
    within = ("--from", "2024-08-08T12:00:02Z", "--to", "2024-08-08T12:00:02.5Z")
    result = run("snapshots", "BTCUSDT", *within, "--data", data)
    assert result.exit_code == 0
    assert result.stderr == "no rows: 1 of 1 moments is left out: 1 in gaps (--mark-untrusted shows them)\n"
    result = run("snapshots", "BTCUSDT", *within, "--data", data, "--mark-untrusted")
    assert (len(result.stdout.splitlines()), result.stderr) == (3, "")


@pytest.mark.parametrize("style", ["table", "csv"])
def test_what_lies_beyond_the_recording_is_spoken_of_beside_the_rows(data: Path, style: str) -> None:
    """It has its first book at 12:00:01, its last moment at 12:00:09.993, and a trade feed to 12:00:10."""
    beyond = ("--from", "2024-08-08T12:00:00Z", "--to", "2024-08-08T12:00:12Z", "--data", data)
    result = run("snapshots", "BTCUSDT", *beyond, "--format", style)
    assert "left out" not in result.stdout
    assert result.stderr.startswith("4 of 12 moments are left out: 1 before the first recorded one (")
    assert result.stderr.count("\n") == 1
    result = run("bars", "BTCUSDT", *beyond, "--format", style)
    assert "3 of 12 bars are left out: 3 to its last second or beyond its end (2024-08-08T12:00:10.0" in (
        result.stderr
    )
    assert result.stderr.count("\n") == 1


def test_no_rows_are_told_by_their_cause(data: Path) -> None:
    """Without any gap of trades: a bar cut by the recording's end is none, nor is a time without trades."""
    quiet = ("--from", "2024-08-08T12:00:01.31Z", "--to", "2024-08-08T12:00:01.39Z", "--data", data)
    result = run("bars", "BTCUSDT", *quiet, "--every", "10ms")
    assert (result.exit_code, result.stderr) == (0, "no rows: there were no trades in that time\n")
    cut = ("--from", "2024-08-08T12:00:00Z", "--to", "2024-08-08T12:01:00Z", "--data", data)
    result = run("bars", "BTCUSDT", *cut, "--every", "1min")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "no rows: 1 of 1 bars is left out: 1 to its last second or beyond its end"
    )
    assert "gap" not in result.stderr


def test_how_far_it_is_is_shown_on_a_terminal_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    told = Terminal()
    monkeypatch.setattr(range_commands.sys, "stderr", told)
    monkeypatch.setattr(range_commands.typer, "echo", lambda text, **_: told.write(text))
    range_commands.snapshots(
        "BTCUSDT", RANGE[1], RANGE[3], "500ms", data=data, output=tmp_path / "out", mark_untrusted=True
    )
    assert "snapshots [" in told.getvalue()
    assert told.getvalue().endswith("\r\x1b[K")
    assert len((tmp_path / "out").read_text().splitlines()) == 6


def test_what_cannot_be_answered_is_said_in_words(data: Path) -> None:
    def ask(*arguments: object) -> tuple[object, ...]:
        return (*arguments, "--data", data)

    early = ("--from", "2024-08-07T12:00:00Z", "--to", "2024-08-07T13:00:00Z")
    naive = ("--from", "2024-08-08T12:00:00", "--to", "2024-08-08T13:00:00Z")
    back = ("--from", "2024-08-08T13:00:00Z", "--to", "2024-08-08T12:00:00Z")
    for command in ("snapshots", "bars"):
        assert "2024-08-08T12:00:01" in fails(NoData, *ask(command, "BTCUSDT", *early))
        assert "for UTC write 2024-08-08T12:00:00Z" in fails(ConfigError, *ask(command, "BTCUSDT", *naive))
        assert "exchange them" in fails(ConfigError, *ask(command, "BTCUSDT", *back))
        assert "there is linear BTCUSDT" in fails(NoData, *ask(command, "BTCUSD", *RANGE))
        assert "BTCUSDT" in fails(NoData, *ask(command, "BTCUSD", *RANGE, "--category", "linear"))
        words = fails(ConfigError, *ask(command, "BTCUSDT", *RANGE, "--every", "often"))
        assert words == "every: 'often' is no length of time; write it like 100ms, 1s, 5min, 1h or 1d"
    assert "ask for at most 50" in fails(NoData, *ask("snapshots", "BTCUSDT", *RANGE, "--depth", 200))
    assert "no order book" in fails(ConfigError, *ask("snapshots", "BTCUSDT", *RANGE, "--topic", "tickers"))
    assert "no such data directory" in fails(ConfigError, "bars", "BTCUSDT", *RANGE, "--data", data / "none")


@pytest.mark.parametrize(
    ("every", "told"),
    [
        ("1s", ""),
        (
            "2s",
            "the first bar has only trades from --from on and the last bar only those before --to; multiples of",
        ),
    ],
)
def test_bars_that_the_range_cuts_are_spoken_of(data: Path, every: str, told: str) -> None:
    """From 12:00:01 to 12:00:03."""
    result = run("bars", "BTCUSDT", *RANGE, "--every", every, "--data", data)
    assert result.exit_code == 0
    assert result.stderr.startswith(told) if told else not result.stderr
    assert cut_bars(60 * 10**9, 61 * 10**9, 60 * 10**9).startswith("the last bar only those before --to;")
