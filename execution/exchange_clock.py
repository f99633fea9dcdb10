"""The exchange's time as requests carry it, and how far it may be off; asked over REST, kept on our monotonic clock."""

from __future__ import annotations

import time
from typing import Final

from engine.clock import ClockEstimate
from recorder.rest import RestClient
from schemas.errors import ExchangeError

__all__ = ["ExchangeClock"]

_MS: Final = 1_000_000
_PROBES: Final = 3


class ExchangeClock:
    """The exchange's clock.

    Attributes:
        estimate: the bounds behind it.
    """

    def __init__(self) -> None:
        self.estimate = ClockEstimate()
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def __repr__(self) -> str:
        return f"<ExchangeClock probes={self.estimate.probes} error_ms={self.error_ms()}>"

    def now_ms(self) -> int:
        """The exchange's time, ms since the epoch; our wall clock's before the first answer."""
        return (time.monotonic_ns() + self._offset_ns) // _MS

    def error_ms(self) -> int:
        """How far `now_ms` may be from it, rounded up; a minute while nothing is known."""
        now_ns = time.monotonic_ns()
        bounds = self.estimate.bounds(now_ns)
        if bounds is None:
            return 60_000
        # What is used is the offset of the latest probe, not today's middle.
        error_ns = max(abs(bounds.high_ns - self._offset_ns), abs(bounds.low_ns - self._offset_ns))
        return error_ns // _MS + 1

    async def ask(self, rest: RestClient) -> None:
        """Ask a few times.

        Raises:
            ExchangeError: there was no answer at all.
        """
        problem: ExchangeError | None = None
        answers = 0
        for _ in range(_PROBES):
            try:
                exchange_ns, sent_ns, received_ns = await rest.timed_server_time()
            except ExchangeError as error:
                problem = error
                continue
            self.estimate.probe(sent_ns, received_ns, exchange_ns)
            answers += 1
        bounds = self.estimate.bounds(time.monotonic_ns())
        if bounds is not None:
            self._offset_ns = bounds.offset_ns
        if not answers and problem is not None:
            raise problem
