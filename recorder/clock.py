"""The recorder's clock against the exchange's: asked on a schedule, estimated by `engine.clock`, and noted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

from engine.clock import Bounds, ClockEstimate, StepDetector
from engine.core.feeds import Engine
from recorder.capture import Capture
from recorder.line import Line
from recorder.rest import RestClient
from recorder.warnings import Warnings
from schemas.errors import ExchangeError
from schemas.notes import ClockOffset, ClockStepped

__all__ = ["ClockWatch", "read_clocks"]

LOOK_S: Final = 1.0
MS: Final = 1_000_000
FEEDS_PER_LOOK: Final = 64
RECENT_NS: Final = 5_000_000_000
_READINGS: Final = 5
_GOOD_READING_NS: Final = 20_000


def read_clocks() -> tuple[int, int]:
    """Read the wall clock and the monotonic clock as of one moment: (wall ns, monotonic ns).

    The wall clock is read between two readings of the other; the narrowest pair of a few counts.
    """
    best: tuple[int, int, int] | None = None
    for _ in range(_READINGS):
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        if best is None or after_ns - before_ns < best[0]:
            best = after_ns - before_ns, wall_ns, (before_ns + after_ns) // 2
        if best[0] <= _GOOD_READING_NS:
            break
    assert best is not None
    return best[1], best[2]


class ClockWatch:
    """Asks for the exchange's time, listens to pongs and stamps, and notes what follows.

    Args:
        capture: where notes go.
        engine: whose feeds' push stamps bound the offset from one side.
        lines: whose pongs may name the exchange's time (options, spread).
        every_s: between two questions; 0 asks none, the wall clock is watched all the same.
        warnings: where trouble is told.
    """

    def __init__(
        self, capture: Capture, engine: Engine, lines: Iterable[Line], every_s: float, warnings: Warnings
    ) -> None:
        self.estimate = ClockEstimate()
        self.steps = StepDetector()
        self.failures = 0
        self._capture = capture
        self._engine = engine
        self._lines = lines
        self._every_s = every_s
        self._warnings = warnings
        self._next_feed = 0
        self._pongs: dict[int, int] = {}
        self._last_step_ns: int | None = None

    def bounds(self) -> Bounds | None:
        """The exchange's clock minus our wall clock, now; None before the first answer."""
        wall_ns, monotonic_ns = read_clocks()
        bounds = self.estimate.bounds(monotonic_ns)
        return None if bounds is None else bounds.against_wall(wall_ns, monotonic_ns)

    async def run(self, rest: RestClient) -> None:
        """Look every second, ask every ``every_s``."""
        due_s = time.monotonic()
        while True:
            self.look()
            if self._every_s and time.monotonic() >= due_s:
                due_s = time.monotonic() + self._every_s
                await self.ask(rest)
            await asyncio.sleep(LOOK_S)

    async def ask(self, rest: RestClient) -> None:
        """Ask twice: the first question opens the connection, which makes the second answer the quicker one."""
        try:
            answers = [await rest.timed_server_time() for _ in range(2)]
        except ExchangeError as error:
            self.failures += 1
            self._warnings.tell("the exchange's clock could not be asked", f": {error}")
            return
        for exchange_ns, sent_ns, received_ns in answers:
            self._take(sent_ns, received_ns, exchange_ns, 1)
        self._note("rest", min(received_ns - sent_ns for _, sent_ns, received_ns in answers))

    def look(self) -> None:
        """Has our wall clock jumped? What do pongs and frames say of the exchange's?"""
        wall_ns, monotonic_ns = read_clocks()
        step_ns = self.steps.look(wall_ns, monotonic_ns)
        if step_ns is not None:
            self._last_step_ns = step_ns
            self._capture.note(ClockStepped(step_ns=step_ns))
            self._warnings.tell("this machine's clock jumped", f" by {step_ns / MS:+,.1f} ms")
            if self.bounds() is not None:
                self._note("step", None)
        else:
            self._listen(wall_ns, monotonic_ns)
        for line in self._lines:
            pong = line.last_pong
            if pong is not None and self._pongs.get(line.slot) != pong.received_ns:
                self._pongs[line.slot] = pong.received_ns
                assert pong.exchange_ms is not None
                assert pong.round_trip_ns is not None
                sent_ns = pong.received_ns - pong.round_trip_ns
                self._take(sent_ns, pong.received_ns, pong.exchange_ms * MS, MS)
                self._note("pong", pong.round_trip_ns)

    def _listen(self, wall_ns: int, monotonic_ns: int) -> None:
        """Push stamps of some feeds' last frames; the frame that came quickest bounds best."""
        best: tuple[int, int] | None = None
        for feed in range(self._next_feed, min(self._next_feed + FEEDS_PER_LOOK, self._engine.feed_count)):
            _, _, push_ms, receive_ns = self._engine.last_good(feed)
            if push_ms is None or receive_ns is None or not 0 <= wall_ns - receive_ns <= RECENT_NS:
                continue
            bound = push_ms * MS - receive_ns, receive_ns
            best = bound if best is None else max(best, bound)
        self._next_feed += FEEDS_PER_LOOK
        if self._next_feed >= self._engine.feed_count:
            self._next_feed = 0
        if best is not None:
            received_ns = best[1] - (wall_ns - monotonic_ns)
            self.estimate.push(received_ns, best[0] + best[1])

    def _take(self, sent_ns: int, received_ns: int, exchange_ns: int, resolution_ns: int) -> None:
        if not self.estimate.probe(sent_ns, received_ns, exchange_ns, resolution_ns):
            self._warnings.tell("the exchange's clock is not where it was", "; its offset is learned anew")

    def _note(self, method: str, round_trip_ns: int | None) -> None:
        bounds = self.bounds()
        assert bounds is not None
        self._capture.note(
            ClockOffset(
                offset_ns=bounds.offset_ns,
                error_ns=bounds.error_ns,
                method=method,
                round_trip_ns=round_trip_ns,
            )
        )

    def status(self) -> dict[str, Any]:
        """What ``tapebook status`` shows."""
        bounds = self.bounds()
        return {
            "offset_ns": None if bounds is None else bounds.offset_ns,
            "error_ns": None if bounds is None else bounds.error_ns,
            "answers": self.estimate.probes,
            "failures": self.failures,
            "contradictions": self.estimate.contradictions,
            "steps": self.steps.steps,
            "last_step_ns": self._last_step_ns,
        }
