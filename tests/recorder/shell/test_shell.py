"""``tapebook sql`` as a process: at a real pseudo-terminal, and at a pipe."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recorder.cli import app
from recorder.shell import command
from recorder.shell.statements import split_statements
from schemas.errors import ConfigError
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

PATIENCE_S = 90.0
PROMPT = "tapebook>"
_BEGUN = re.compile(r"\x1b(\[[0-9;?]*)?\Z")
CONTROL_C, CONTROL_D, TAB, UP, ENTER = "\x03", "\x04", "\t", "\x1b[A", "\r"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    moments = {"receive_time": NOON_NS, "push_time": NOON_NS // MS, "match_time": NOON_NS // MS}
    row = {"sequence": 1, "price_mantissa": 100, "size_mantissa": 1} | moments
    HandmadeArchive(tmp_path / "data").segment(NOON_NS, {(Table.TRADES, "BTCUSDT"): [row]})
    return tmp_path / "data"


class Terminal:
    """The shell at a pseudo-terminal that controls it, so that Ctrl-C is a signal where it is one at a terminal."""

    def __init__(self, data: Path, history: Path) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recorder", "sql", "--data", str(data), "--history", str(history)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""  # of an escape sequence whose end has not been read yet

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def see(self, pattern: str) -> str:
        """Wait until the screen has shown something, and return what came up to there."""
        end = time.monotonic() + PATIENCE_S
        while (found := re.search(pattern, self._seen)) is None:
            assert time.monotonic() < end, f"never seen: {pattern!r}; last seen:\n{self._seen[-2000:]}"
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    text = self._begun + self._decoder.decode(os.read(self._ours, 65_536))
                    end_at = len(text) if (cut := _BEGUN.search(text)) is None else cut.start()
                    text, self._begun = text[:end_at], text[end_at:]
                    if "\x1b[6n" in text:  # where is the cursor?
                        self.type("\x1b[1;1R")
                    self._seen += self._plain(text)
                except OSError:
                    assert re.search(pattern, self._seen), f"ended before {pattern!r}:\n{self._seen[-2000:]}"
        upto, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return upto

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    @staticmethod
    def _plain(text: str) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", text)


@pytest.fixture
def terminal(data: Path, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(data, tmp_path / "state" / "history")
    yield made
    made.close()


def test_a_conversation(terminal: Terminal, tmp_path: Path) -> None:
    terminal.see(r"views; \\\? for help")
    terminal.see(PROMPT)
    terminal.type("SELECT 40 + 2" + ENTER)  # has not ended yet
    terminal.see(r"\.\.>")
    terminal.type("AS answer;" + ENTER)
    terminal.see(r"answer\n-+\n +42\n1 row in [0-9.]+ s\n")
    terminal.see(PROMPT)
    terminal.type("SELEC 1;" + ENTER)
    terminal.see("syntax error")
    terminal.see(PROMPT)
    # The editor draws only what changes, so what a completion adds is all that can be waited for.
    terminal.type("SELECT count(*) AS offsets FROM clock_offsets_r" + TAB)
    terminal.see("aw")
    terminal.type(";" + ENTER)
    terminal.see(r"offsets\n-+\n +0\n")
    terminal.see(PROMPT)
    terminal.type("SELECT symbol FROM trades WHERE price_mant" + TAB)
    terminal.see("issa")
    terminal.type(" = 100;" + ENTER)
    terminal.see(r"symbol\n-+\nBTCUSDT\n")
    terminal.see(PROMPT)
    terminal.type("\\d bars" + ENTER)
    terminal.see("Mean price, weighted by size")
    terminal.see(PROMPT)
    terminal.type("FROM bars('linear', ")
    terminal.type(CONTROL_C)
    terminal.see(PROMPT)
    terminal.type("SELECT 1; SELECT 'two' AS second;" + ENTER)
    terminal.see(r"second\n-+\ntwo\n")
    terminal.see(PROMPT)
    terminal.type(UP + ENTER)
    terminal.see(r"second\n-+\ntwo\n")
    terminal.see(PROMPT)
    terminal.type("\\q" + ENTER)
    assert terminal.process.wait(PATIENCE_S) == 0
    assert "SELECT 40 + 2" in (tmp_path / "state" / "history").read_text()


def test_control_c_stops_the_query_and_control_d_leaves(terminal: Terminal) -> None:
    terminal.see(PROMPT)
    endless = "SELECT count(*) FROM range(100_000_000_000) a WHERE hash(a.range) % 3 = a.range % 7;"
    terminal.type(endless + ENTER)
    terminal.see(r"a\.range % 7;\s*\n")
    time.sleep(
        0.3
    )  # that it runs can't be seen from outside; if it doesn't yet, what was typed is dropped alike
    terminal.type(CONTROL_C)
    terminal.see(rf"stopped|{PROMPT}")
    terminal.type("SELECT 'still' || ' here' AS x;" + ENTER)
    terminal.see(r"still here\n1 row in")
    terminal.see(PROMPT)
    terminal.type(CONTROL_D)
    assert terminal.process.wait(PATIENCE_S) == 0


def piped(data: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recorder", "sql", "--data", str(data), *options],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_statements_from_a_pipe(data: Path) -> None:
    done = piped(data, "SELECT symbol\nFROM trades; -- one;\n\\f csv\nSELECT 'a;b' AS x", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"symbol":"BTCUSDT"}\nx\na;b\n'
    done = piped(data, "SELECT 1;\n\\q\nSELECT 2;")
    assert (done.returncode, done.stdout.count("\n")) == (0, 3)


def test_the_first_failure_ends_a_pipe_with_its_exit_code(data: Path) -> None:
    done = piped(data, "SELECT 1 AS x;\nSELEC 2;\nSELECT 3 AS z;")
    assert done.returncode == 2
    assert "syntax error" in done.stderr
    assert "x" in done.stdout
    assert "z" not in done.stdout
    nothing = "FROM bars('linear', 'X', '2024-08-08T11:59:00Z', '2024-08-08T12:59:00Z');"
    done = piped(data, nothing)
    assert done.returncode == 1
    assert "symbols near it with trades: BTCUSDT" in done.stderr


def test_parquet_is_for_single_queries(data: Path) -> None:
    result = CliRunner().invoke(app, ["sql", "--data", str(data), "--format", "parquet"])
    assert isinstance(result.exception, ConfigError)
    assert "tapebook query --format parquet" in str(result.exception)


def test_a_pipe_of_other_bytes_is_said(data: Path) -> None:
    result = CliRunner().invoke(app, ["sql", "--data", str(data)], input=b"SELECT '\xff';\n")
    assert isinstance(result.exception, ConfigError)
    assert "standard input is no UTF-8" in str(result.exception)


def test_a_long_statement_from_a_pipe_is_looked_at_where_it_may_end(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    def looked(text: str) -> tuple[list[str], str]:
        looks.append(text)
        return split_statements(text)

    monkeypatch.setattr(command, "split_statements", looked)
    lines = "".join(f"  ({number}),\n" for number in range(500))
    text = f"-- numbers;\n\\f csv\n/* one;\ntwo */ SELECT sum(n) AS n FROM (VALUES\n{lines} (500)) t(n);\n"
    result = CliRunner().invoke(app, ["sql", "--data", str(data)], input=text)
    assert result.stdout == "n\n125250\n"
    assert len(looks) < 10
