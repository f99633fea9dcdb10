"""The clock watch: what is asked, heard and noted; questions over a real socket."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

import recorder.clock
from engine.bybit.events import Pong
from recorder.clock import ClockWatch, read_clocks
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.rest import RestClient
from recorder.warnings import Warnings
from schemas.errors import ConnectError
from schemas.names import RecordKind
from schemas.notes import ClockOffset, ClockStepped, decode_note
from tests.recorder.recordings import MS, START_NS, Tape, market
from tests.recorder.test_rest import client, reply

SECOND = 1_000 * MS


class Clocks:
    """Two clocks that tests set; an exchange that is ``ahead_ns`` of the wall clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ahead_ns: int = 250 * MS) -> None:
        self.wall_ns = START_NS
        self.monotonic_ns = 77 * SECOND
        self.ahead_ns = ahead_ns
        self.failing = False
        monkeypatch.setattr(recorder.clock, "read_clocks", lambda: (self.wall_ns, self.monotonic_ns))

    def pass_time(self, elapsed_ns: int, step_ns: int = 0) -> None:
        self.wall_ns += elapsed_ns + step_ns
        self.monotonic_ns += elapsed_ns
        self.ahead_ns -= step_ns

    async def timed_server_time(self) -> tuple[int, int, int]:
        if self.failing:
            raise ConnectError("nobody listens")
        sent_ns = self.monotonic_ns
        self.pass_time(3 * MS)
        exchange_ns = self.wall_ns + self.ahead_ns
        self.pass_time(MS)
        return exchange_ns, sent_ns, self.monotonic_ns


class FakeLine:
    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.last_pong: Pong | None = None


class Watched:
    def __init__(self, tape: Tape, lines: list[FakeLine]) -> None:
        self.tape = tape
        log = logging.getLogger("tapebook")
        lined: Any = lines
        self.watch = ClockWatch(tape.capture, tape.engine, lined, 30, Warnings(log))

    def notes(self) -> list[Any]:
        """The clock's notes, of a tape that has stopped."""
        from tests.recorder.test_capture import _records

        self.tape.stop()
        said = [decode_note(r.payload) for r in _records(self.tape.data) if r.kind == RecordKind.NOTE]
        return [note for note in said if isinstance(note, ClockOffset | ClockStepped)]


@pytest.fixture
def lines() -> list[FakeLine]:
    return [FakeLine(0), FakeLine(1)]


@pytest.fixture
def watched(tmp_path: Path, lines: list[FakeLine]) -> Watched:
    return Watched(Tape(tmp_path), lines)


async def test_a_question_is_asked_twice_and_noted_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: Any = Clocks(monkeypatch)
    assert watched.watch.bounds() is None
    await watched.watch.ask(clocks)
    bounds = watched.watch.bounds()
    assert bounds is not None
    assert bounds.low_ns <= 250 * MS <= bounds.high_ns
    (note,) = watched.notes()
    assert (note.method, note.round_trip_ns) == ("rest", 4 * MS)
    assert abs(note.offset_ns - 250 * MS) <= note.error_ns <= 2 * MS + 1_000
    status = watched.watch.status()
    assert (status["offset_ns"], status["answers"], status["failures"]) == (note.offset_ns, 2, 0)


async def test_an_exchange_that_does_not_answer_is_counted_and_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clocks: Any = Clocks(monkeypatch)
    clocks.failing = True
    await watched.watch.ask(clocks)
    assert watched.watch.status()["failures"] == 1
    assert watched.watch.status()["offset_ns"] is None
    assert "clock could not be asked: nobody listens" in caplog.text
    assert watched.notes() == []


async def test_a_jump_of_our_clock_is_noted_and_the_offset_follows_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: Any = Clocks(monkeypatch)
    watched.watch.look()
    await watched.watch.ask(clocks)
    clocks.pass_time(SECOND, step_ns=-SECOND)
    watched.watch.look()
    bounds = watched.watch.bounds()
    assert bounds is not None
    assert bounds.low_ns <= 1250 * MS <= bounds.high_ns
    _, jump, estimate = watched.notes()
    assert jump == ClockStepped(step_ns=-SECOND)
    assert estimate.method == "step"
    assert abs(estimate.offset_ns - 1250 * MS) <= estimate.error_ns
    assert watched.watch.status()["steps"] == 1


def test_a_pong_that_names_the_time_counts_once(
    watched: Watched, lines: list[FakeLine], monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    exchange_ms = (clocks.wall_ns + clocks.ahead_ns) // MS
    clocks.pass_time(2 * MS)
    lines[1].last_pong = Pong(5 * MS, clocks.monotonic_ns, exchange_ms)
    watched.watch.look()
    watched.watch.look()
    assert watched.watch.estimate.probes == 1
    bounds = watched.watch.bounds()
    assert bounds is not None
    assert bounds.low_ns <= 250 * MS <= bounds.high_ns
    (note,) = watched.notes()
    assert (note.method, note.round_trip_ns) == ("pong", 5 * MS)


async def test_stamps_of_frames_bound_the_offset_from_below(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks: Any = Clocks(monkeypatch, ahead_ns=0)
    await watched.watch.ask(clocks)
    before = watched.watch.bounds()
    assert before is not None
    # on their way for a fifth of a millisecond, where the answer took a whole one
    watched.tape.now_ns = clocks.wall_ns
    watched.tape.frames(market(0, 1, clocks.wall_ns // MS), step_ns=MS // 5)
    clocks.pass_time(MS)
    watched.watch.look()
    after = watched.watch.bounds()
    assert after is not None
    assert before.low_ns < after.low_ns <= 0 <= after.high_ns
    watched.tape.stop()


def test_both_clocks_are_read_as_of_one_moment() -> None:
    before_ns = time.monotonic_ns()
    wall_ns, monotonic_ns = read_clocks()
    assert before_ns <= monotonic_ns <= time.monotonic_ns()
    assert isinstance(wall_ns, int)


async def test_the_gateways_clock_is_ours(watched: Watched) -> None:
    async with Gateway(GatewayOptions(simulate=1)) as gateway, RestClient(gateway.url) as rest:
        await watched.watch.ask(rest)
    bounds = watched.watch.bounds()
    assert bounds is not None
    # the gateway lives on this machine, and moves its market on a timer: its clock may be late, never early
    assert bounds.low_ns <= 0
    watched.tape.stop()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [(500, "", "HTTP 500"), (403, "", "403"), (200, '{"retCode":0,"result":{"timeNano":"x"}}', "timeNano")],
)
async def test_an_answer_that_is_none(status: int, body: str, words: str) -> None:
    from aiohttp import web

    from schemas.errors import ExchangeError

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body) if status != 200 or body else reply({})

    async with client(handler) as rest:
        with pytest.raises(ExchangeError, match=words):
            await rest.timed_server_time()
