"""Frames a second, measured from counters that are read from time to time. Pure: monotonic time is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

__all__ = ["Rates"]

MEMORY_NS: Final = 60_000_000_000
"""Bursts pass, and what lasts is seen within a minute."""


class _Rate:
    __slots__ = ("count", "per_second", "seen_ns", "since_ns")

    def __init__(self, count: int, now_ns: int) -> None:
        self.count = count
        self.since_ns = self.seen_ns = now_ns
        self.per_second = 0.0


class Rates:
    """Rates of anything that is counted, by name.

    Args:
        memory_ns: time constant with which the past is forgotten; what was watched for less than a third of it is not
            known yet.
    """

    def __init__(self, memory_ns: int = MEMORY_NS) -> None:
        self._memory_ns = memory_ns
        self._rates: dict[str, _Rate] = {}

    def __repr__(self) -> str:
        return f"<Rates of {len(self._rates)}>"

    def observe(self, counts: Iterable[tuple[str, int]], now_ns: int) -> None:
        """Take in all counters, read at one time; those that are missing are forgotten.

        A counter that went back began anew.
        """
        rates: dict[str, _Rate] = {}
        for name, count in counts:
            rate = self._rates.get(name)
            if rate is None or count < rate.count or now_ns < rate.seen_ns:
                rates[name] = _Rate(count, now_ns)
                continue
            rates[name] = rate
            elapsed_ns = now_ns - rate.seen_ns
            if elapsed_ns == 0:
                continue
            # While little was seen, all of it counts alike.
            weight = max(1 - math.exp(-elapsed_ns / self._memory_ns), elapsed_ns / (now_ns - rate.since_ns))
            rate.per_second += weight * ((count - rate.count) * 1e9 / elapsed_ns - rate.per_second)
            rate.count, rate.seen_ns = count, now_ns
        self._rates = rates

    def of(self, name: str) -> float | None:
        """Return a rate in 1/s, or None while it isn't known."""
        rate = self._rates.get(name)
        if rate is None or rate.seen_ns - rate.since_ns < self._memory_ns // 3:
            return None
        return rate.per_second
