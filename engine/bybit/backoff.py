"""When to connect again: jittered backoff and a budget of attempts; clock and chance come from outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Final

from engine.bybit.limits import CONNECT_WINDOW_NS, CONNECTS_PER_WINDOW, REST_BAN_NS

__all__ = ["STAY_AWAY_NS", "Backoff", "Budget", "connect_budget"]

_MAXIMUM_DOUBLINGS: Final = 32
STAY_AWAY_NS: Final = {403: 60_000_000_000, 429: 10_000_000_000}
"""Least pause by HTTP status: whoever was told to go must not come back at once."""


class Backoff:
    """Exponential backoff with full jitter: at once first, then anywhere between 0 and a doubling ceiling.

    Full jitter spreads the clients of one failed server over the whole interval; reconnecting at once after
    the first drop is what the exchange asks for (section 2.4).

    Args:
        random: source of the jitter.
        base_ns: ceiling of the second delay.
        cap_ns: ceiling that no delay exceeds.
        stay_away_ns: least delays by HTTP status.
    """

    def __init__(
        self,
        random: Random,
        *,
        base_ns: int = 500_000_000,
        cap_ns: int = 30_000_000_000,
        stay_away_ns: Mapping[int, int] = STAY_AWAY_NS,
    ) -> None:
        if not 0 < base_ns <= cap_ns:
            raise ValueError(f"base_ns {base_ns} and cap_ns {cap_ns}: expected 0 < base_ns <= cap_ns")
        self._random = random
        self._base_ns = base_ns
        self._cap_ns = cap_ns
        self._stay_away_ns = stay_away_ns
        self.failures = 0

    def __repr__(self) -> str:
        return f"<Backoff failures={self.failures} ceiling_ns={self.ceiling_ns()}>"

    def ceiling_ns(self) -> int:
        """Return the longest that the next delay can be; 0 before the first failure."""
        if self.failures == 0:
            return 0
        return min(self._cap_ns, self._base_ns << min(self.failures - 1, _MAXIMUM_DOUBLINGS))

    def next_delay_ns(self, status: int | None = None) -> int:
        """Count a failure and return how long to wait before the next attempt.

        Args:
            status: HTTP status of the failure. Whoever was told to stay away (403, section 2.5) or that it was too
                much (429) must not knock again soon, not even after its first failure.
        """
        ceiling_ns, failures = self.ceiling_ns(), self.failures
        self.failures += 1
        least_ns = self._stay_away_ns.get(status or 0, 0)
        if least_ns:
            return self._random.randint(least_ns, min(REST_BAN_NS, least_ns << min(failures + 1, 8)))
        return self._random.randint(0, ceiling_ns)

    def reset(self) -> None:
        """Forget the failures: a connection has proved itself."""
        self.failures = 0


class Budget:
    """At most ``limit`` takings in any span of ``window_ns``.

    Args:
        limit: takings per window.
        window_ns: length of the sliding window.
    """

    def __init__(self, limit: int, window_ns: int) -> None:
        if limit < 1 or window_ns < 1:
            raise ValueError(f"limit {limit} and window_ns {window_ns}: both must be positive")
        self._limit = limit
        self._window_ns = window_ns
        self._taken: deque[int] = deque(maxlen=limit)

    def __repr__(self) -> str:
        return f"<Budget limit={self._limit} window_ns={self._window_ns} held={len(self._taken)}>"

    def wait_ns(self, now_ns: int) -> int:
        """Return how long to wait until one may be taken; 0 when one may be taken now."""
        if len(self._taken) < self._limit:
            return 0
        return max(0, self._taken[0] + self._window_ns - now_ns)

    def left(self, now_ns: int) -> int:
        """Return how many may be taken now."""
        return self._limit - sum(taken_ns + self._window_ns > now_ns for taken_ns in self._taken)

    def take(self, now_ns: int) -> bool:
        """Take one if there is one; returns whether it was taken."""
        if self.wait_ns(now_ns) > 0:
            return False
        # The deque is as long as the limit, so the oldest taking makes room for this one.
        self._taken.append(now_ns)
        return True


def connect_budget(limit: int = CONNECTS_PER_WINDOW) -> Budget:
    """Return the budget of new connections of one stream domain (section 2.4); share it."""
    return Budget(min(limit, CONNECTS_PER_WINDOW), CONNECT_WINDOW_NS)
