"""When a process that ended is started again, and when it has failed for good. Pure: monotonic time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["LOOP_TIMES", "Restarts"]

SECOND_NS: Final = 1_000_000_000
FIRST_NS: Final = SECOND_NS
LONGEST_NS: Final = 60 * SECOND_NS
STEADY_NS: Final = 60 * SECOND_NS
"""A process that ran for so long has proved itself: its next end is a new story."""

LOOP_TIMES: Final = 5
LOOP_NS: Final = 600 * SECOND_NS
"""So many ends within so long are a crash loop."""

NEVER_AGAIN: Final = frozenset({0, 2})
"""Exit codes of what ended on purpose, and of a configuration that trying again won't cure (design section 7)."""


class Restarts:
    """The story of one process.

    Attributes:
        count: times it was started again.
    """

    def __init__(self) -> None:
        self.count = 0
        self._delay_ns = FIRST_NS
        self._started_ns = 0
        self._ends: deque[int] = deque(maxlen=LOOP_TIMES)

    def started(self, now_ns: int) -> None:
        """It was started."""
        self._started_ns = now_ns

    def ended(self, now_ns: int, code: int) -> int | None:
        """It ended with this exit code, negative for a signal.

        Returns:
            Nanoseconds until it should be started again, or None for never.
        """
        if code in NEVER_AGAIN:
            return None
        if now_ns - self._started_ns >= STEADY_NS:
            self._delay_ns = FIRST_NS
        self._ends.append(now_ns)
        delay_ns, self._delay_ns = self._delay_ns, min(2 * self._delay_ns, LONGEST_NS)
        self.count += 1
        return delay_ns

    def in_a_loop(self, now_ns: int) -> bool:
        """Whether it keeps ending: it is still started again, but somebody should look."""
        return len(self._ends) == LOOP_TIMES and now_ns - self._ends[0] < LOOP_NS
