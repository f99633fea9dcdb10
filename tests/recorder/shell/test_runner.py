"""recorder.shell.runner: commands and statements, without a terminal."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.render import Format
from recorder.shell.runner import Leave, Runner, Stopped
from schemas.errors import ConfigError
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive


class Case:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.out = io.BytesIO()
        self.said: list[str] = []
        self.runner = Runner(
            lambda: open_archive(data), self.out, self.said.append, style=Format.CSV, timing=False
        )

    def run(self, text: str) -> tuple[str, str]:
        self.out.seek(0)
        self.out.truncate()
        self.said.clear()
        self.runner.run(text)
        return self.out.getvalue().decode(), "\n".join(self.said)


def trade(sequence: int) -> dict[str, Any]:
    moments = {"receive_time": NOON_NS, "push_time": NOON_NS // MS, "match_time": NOON_NS // MS}
    return {"sequence": sequence, "price_mantissa": 100, "size_mantissa": 1} | moments


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    archive = HandmadeArchive(tmp_path)
    archive.segment(NOON_NS, {(Table.TRADES, name): [trade(1)] for name in ("BTCUSDT", "ETHUSDT")})
    made = Case(tmp_path)
    yield made
    made.runner.close()


def test_statements_give_rows(case: Case) -> None:
    assert case.run("SELECT symbol FROM trades ORDER BY 1") == ("symbol\nBTCUSDT\nETHUSDT\n", "")
    case.run("\\f json")
    assert case.run("SELECT 1 AS x")[0] == '{"x":1}\n'
    case.run("\\f table")
    assert case.run("SELECT 1 AS x")[0] == "x\n-\n1\n"
    assert case.run("   ") == ("", "")


def test_what_is_wrong_is_an_error_and_the_next_one_runs(case: Case) -> None:
    for wrong in ("SELEC 1", "DROP VIEW trades", "\\f parquet", "\\nothing", "\\d nothing_here"):
        with pytest.raises(ConfigError):
            case.run(wrong)
    assert case.run("SELECT 1 AS x")[0] == "x\n1\n"


def test_no_rows_say_what_there_is(case: Case) -> None:
    _, said = case.run("SELECT * FROM trades WHERE symbol = 'BTCUSDT' AND sequence = 99")
    assert "no rows" in said
    assert "trades: linear BTCUSDT" in said
    _, said = case.run("FROM bars('linear', 'BTCUSDT', '2024-08-08T11:59:00Z', '2024-08-08T12:59:00Z')")
    assert "untrusted := 'mark' shows them" in said
    assert "trades: linear BTCUSDT" in said


def test_help_is_that_of_the_schemas(case: Case) -> None:
    _, said = case.run("\\d trades")
    assert "One trade." in said
    assert "price_mantissa" in said
    assert "Taker side: `buy` or `sell`." in said
    _, said = case.run("\\d bars")
    assert said.startswith("bars(category, symbol, t0, t1, every := '1s'")
    assert "Mean price, weighted by size." in said
    assert case.run("\\df bars")[1] == said
    _, said = case.run("\\d")
    assert "book_updates " in said
    assert "snapshots " in said
    assert "trades_raw" not in said
    _, said = case.run("\\df")
    assert said.splitlines()[0].startswith("bars ")
    assert "\\timing" in case.run("help")[1] == case.run("\\?")[1]
    with pytest.raises(ConfigError, match="did you mean trades"):
        case.run("\\d trade")


def test_symbols_are_found_by_a_part(case: Case) -> None:
    assert case.run("\\s")[1] == "BTCUSDT  ETHUSDT  linear"
    assert case.run("\\s eth")[1] == "ETHUSDT"
    assert case.run("\\s nothing")[1] == "no such symbol was recorded"


def test_timing_is_said_when_it_is_on(case: Case) -> None:
    assert case.run("\\timing")[1] == "timing is on"
    said = case.run("SELECT 1")[1]
    assert said.startswith("1 row in ")
    assert case.run("\\timing off")[1] == "timing is off"
    assert case.run("SELECT 1")[1] == ""


@pytest.mark.parametrize("word", ["\\q", "exit", "quit;", "EXIT"])
def test_leaving(case: Case, word: str) -> None:
    with pytest.raises(Leave):
        case.run(word)


def test_what_was_recorded_since_is_seen_after_opening_again(case: Case) -> None:
    HandmadeArchive(case.data).segment(NOON_NS + 1, {(Table.TRADES, "SOLUSDT"): [trade(2)]})
    count = "SELECT count(*) AS n FROM trades"
    assert case.run(count)[0] == "n\n2\n"
    case.run("\\r")
    assert case.run(count)[0] == "n\n3\n"
    assert case.run("\\s sol")[1] == "SOLUSDT"


ENDLESS = "SELECT count(*) FROM range(100_000_000_000) a WHERE hash(a.range) % 3 = a.range % 7"


def test_an_interrupt_stops_the_query_alone(case: Case) -> None:
    def interrupt_when_it_runs() -> None:
        while not any(thread.name == "query" for thread in threading.enumerate()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_when_it_runs).start()
    with pytest.raises(Stopped):
        case.run(ENDLESS)
    assert case.run("SELECT 1 AS x")[0] == "x\n1\n"
