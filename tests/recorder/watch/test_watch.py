"""``tapebook watch`` at a real terminal, over a recording of a simulated market."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes import PATIENCE_S, Running, gateway, recording, tapebook, wait_until
from tests.terminal import Terminal

TOPICS = "orderbook.50,orderbook.1,publicTrade"
CONTROL_C, CONTROL_L, TAB, RIGHT, DOWN, ENTER, ESCAPE = "\x03", "\x0c", "\t", "\x1b[C", "\x1b[B", "\r", "\x1b"
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")
LEFT_THE_TERMINAL = b"\x1b[?1049l"


class Market(NamedTuple):
    data: Path
    record: Callable[[str], Running]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    scratch = tmp_path_factory.mktemp("watch")
    with gateway(scratch / "gateway", "--simulate", 3, "--symbol-count", 2) as exchange:
        data = scratch / "data"

        def record(name: str) -> Running:
            return recording(
                scratch / name, exchange.url, data, "--category", "linear", "--symbols", "all", "--topics", TOPICS,
                "--no-roll",
            )  # fmt: skip

        yield Market(data, record)


@pytest.fixture(scope="module")
def recorder(market: Market) -> Iterator[Running]:
    with market.record("first") as running:
        running.until((market.data / "journal" / "linear" / "status.json").exists, "a status")
        yield running


def rungs(text: str) -> list[tuple[str, bool]]:
    """(price, whether it stands in brackets) of the ladder."""
    rows = [line.partition("│")[0] for line in text.splitlines()[5:-1]]
    found = [re.match(r"[ a-z]*(\()?([0-9]+\.[0-9]+)(\))? ", row) for row in rows]
    return [(one[2], bool(one[1] and one[3])) for one in found if one]


def prices(text: str) -> list[float]:
    """Of the ladder of a live book."""
    return [float(price) for price, is_bracketed in rungs(text) if not is_bracketed]


def is_lifeless(text: str) -> bool:
    """Whether there are prices, and each of them is shown as one of the past."""
    found = rungs(text)
    marks = "● LIVE" not in text and "spread" not in text and "█" not in text
    return bool(found) and marks and all(is_bracketed for _, is_bracketed in found)


def test_a_conversation(market: Market, recorder: Running) -> None:
    with Terminal(["watch", "--data", market.data]) as terminal:
        terminal.see("linear RECORDING")
        terminal.see("1 of 1 lines up")
        terminal.until(lambda text: re.search(r"orderbook\.50 +2 of 2", text), "both books")
        terminal.type("2")
        # a picture may come in pieces
        text = terminal.until(
            lambda text: (
                "BTCUSDT  linear ● LIVE  orderbook.50" in text
                and "spread" in text
                and re.search(r"update [0-9]+", text)
                and prices(text)
                and prices(text) == sorted(prices(text), reverse=True)
            ),
            "a book",
        )
        before = re.search(r"update ([0-9]+)", text)
        assert before is not None
        terminal.until(
            lambda text: before[0] not in text and re.search(r"update [0-9]+", text), "another update"
        )
        terminal.until(lambda text: "B▲" in text or "S▼" in text, "a trade")
        terminal.type("d")
        terminal.see("● LIVE  orderbook.1.BTCUSDT")
        terminal.type(RIGHT)
        terminal.see("ETHUSDT  linear ● LIVE")
        terminal.type("/btc")
        terminal.see("/btc_  BTCUSDT")
        terminal.type(ENTER)
        terminal.see("BTCUSDT  linear ● LIVE")
        terminal.type("/nothing" + ESCAPE)
        terminal.until(lambda text: "/nothing" not in text and "quit" in text, "the prompt to go")
        terminal.type("3")
        terminal.see("6 feeds, all live; sorted by trouble")
        terminal.type(DOWN + DOWN + ENTER)
        terminal.see("orderbook.50.BTCUSDT")
        terminal.type("4")
        terminal.see("▲ UP")
        terminal.type(TAB)
        terminal.see("-> live")
        terminal.type("?")
        terminal.see("price steps of the ladder")
        terminal.type(ESCAPE)
        terminal.until(lambda text: "price steps" not in text, "the help to go")
        terminal.screen.reset()  # something else has written on the terminal
        terminal.type(CONTROL_L)
        terminal.see("-> live")
        terminal.type("q")
        assert terminal.end() == 0
        assert COLOUR.search(terminal.raw)
        assert LEFT_THE_TERMINAL in terminal.raw
        assert b"\x1b[?25h" in terminal.raw.rpartition(LEFT_THE_TERMINAL)[2]  # the cursor is back


def test_a_window_that_changes_its_size(market: Market, recorder: Running) -> None:
    with Terminal(["watch", "BTCUSDT", "--data", market.data]) as terminal:
        terminal.until(lambda text: len(prices(text)) >= 10, "a ladder")
        terminal.resize(132, 50)
        terminal.until(
            lambda text: len(prices(text)) >= 30 and re.fullmatch(r".{122}[0-9:]{8}Z", text.splitlines()[0]),
            "a longer ladder, and the time at the edge",
        )
        terminal.resize(50, 10)
        terminal.until(lambda text: 0 < len(prices(text)) <= 6 and "│" not in text, "a small ladder")
        terminal.resize(80, 24)
        terminal.until(lambda text: len(prices(text)) >= 10 and "│" in text, "the first one again")
        terminal.type(CONTROL_C)
        assert terminal.end() == 0


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
def test_without_colours_everything_is_there(
    market: Market, recorder: Running, environment: dict[str, str]
) -> None:
    with Terminal(["watch", "BTCUSDT", "--data", market.data], environment=environment) as terminal:
        terminal.until(lambda text: "● LIVE" in text and prices(text), "a book")
        terminal.type("q")
        assert terminal.end() == 0
        assert not COLOUR.search(terminal.raw)


def test_a_terminal_without_unicode_and_a_signal(market: Market, recorder: Running) -> None:
    environment = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
    with Terminal(["watch", "BTCUSDT", "--data", market.data], environment=environment) as terminal:
        terminal.until(lambda text: "* LIVE" in text and "#" in text and prices(text), "a book")
        assert terminal.raw.replace(b"\x1b", b"").isascii()
        assert terminal.end(signal.SIGTERM) == 0
        assert LEFT_THE_TERMINAL in terminal.raw


def test_what_is_no_terminal_gets_one_picture_or_an_error(market: Market, recorder: Running) -> None:
    told = tapebook("watch", "--data", market.data)
    assert (told.code, told.out) == (2, "")
    assert "standard output is no terminal: `tapebook watch --once` prints one picture" in told.err
    with Terminal(["watch", "--data", market.data], environment={"TERM": "dumb"}) as terminal:
        terminal.see("a terminal that cannot be drawn on")
        assert terminal.end() == 2

    def is_live() -> bool:  # a machine under load may keep the recorder from its heartbeat for a moment
        once = tapebook("watch", "ETHUSDT", "--once", "--data", market.data)
        assert once.code == 0, once.err
        assert "\x1b" not in once.out
        return "ETHUSDT  linear ● LIVE" in once.out and len(prices(once.out)) > 5

    wait_until(is_live, "a picture of a live book")


def test_a_terminal_that_is_gone_ends_it(market: Market, recorder: Running) -> None:
    with Terminal(["watch", "--data", market.data]) as terminal:
        terminal.see("linear RECORDING")
        terminal.hang_up()
        wait_until(lambda: terminal.process.poll() is not None, "the end")


def tree(data: Path) -> dict[str, tuple[int, int]]:
    found = [Path(root) / name for root, folders, names in os.walk(data) for name in (*folders, *names)]
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in found}


def test_a_recorder_that_dies_and_comes_back_while_it_is_watched(market: Market, recorder: Running) -> None:
    with Terminal(["watch", "BTCUSDT", "--data", market.data]) as terminal:
        terminal.until(lambda text: "● LIVE" in text and prices(text), "a book")

        recorder.process.send_signal(signal.SIGSTOP)  # it stands still, as if its disk hung
        terminal.until(
            lambda text: (
                " ▲ MUTE " in text
                and "NOT LIVE: the recorder's heart has stopped" in text
                and "it has told nothing for" in text
                and is_lifeless(text)
            ),
            "a stopped heart",
        )
        recorder.process.send_signal(signal.SIGCONT)
        terminal.until(lambda text: "● LIVE" in text and prices(text) and "MUTE" not in text, "life again")

        recorder.kill()
        text = terminal.until(
            lambda text: (
                " ▲ DEAD " in text
                and "NOT LIVE: the recorder's heart has stopped" in text
                and "process died" in text
                and re.search(r"since [0-9:]{8}Z", text)
                and is_lifeless(text)
            ),
            "the death",
        )
        died = re.search(r"since [0-9:]{8}Z", text)
        assert died is not None
        before = tree(market.data)
        for view in "1345":
            terminal.type(view)
            terminal.until(lambda text: died[0] in text and "● LIVE" not in text, "the death, on every page")
        terminal.type("2")
        assert tree(market.data) == before  # nobody writes here now

        with market.record("second"):
            terminal.until(
                lambda text: "● LIVE" in text and prices(text) and "DEAD" not in text, "a new recorder"
            )
            terminal.type("5")
            terminal.see("records again, as process")
            terminal.see("recording -> dead")
            terminal.type("q")
            assert terminal.end() == 0


def test_it_starts_before_the_recorder(market: Market, tmp_path: Path) -> None:
    with Terminal(["watch", "BTCUSDT", "--data", tmp_path]) as terminal:
        terminal.see("NOT RECORDING")
        terminal.see("No symbol is recorded here yet")
        tmp_path.rename(tmp_path.with_name("away"))
        end = time.monotonic() + min(1.0, PATIENCE_S)
        while time.monotonic() < end:
            assert terminal.take()
        tmp_path.with_name("away").rename(tmp_path)
        terminal.type("q")
        assert terminal.end() == 0
