"""How late it is: histograms of delays, which can be added, subtracted and asked for quantiles.

The counting is done in C (``engine/core/src/tb_delays.h``): eight buckets an octave from 64 ns to 18 minutes, and the
same below zero, where clocks disagree. A quantile is the middle of its bucket, so it is within a sixteenth (6.25 %)
of a delay that was really seen, or within 32 ns; beyond 18 minutes only the extremes are known. Pure: time is an
argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

__all__ = ["ERROR", "MINUTE_NS", "Histogram", "Recent", "edges_ns", "merge_all"]

FIRST_BIT: Final = 6
OCTAVES: Final = 34
PARTS: Final = 8
BUCKETS: Final = OCTAVES * PARTS + 2

ERROR: Final = 1 / (2 * PARTS)
"""By how much of itself a quantile may be off."""

MINUTE_NS: Final = 60_000_000_000


def edges_ns(bucket: int) -> tuple[int, int]:
    """Lower and upper edge of a bucket, in nanoseconds: -1 and below are delays of less than zero.

    Raises:
        ValueError: there is no such bucket.
    """
    if not -BUCKETS <= bucket < BUCKETS:
        raise ValueError(f"found bucket {bucket}, expected one of {-BUCKETS}..{BUCKETS - 1}")
    if bucket < 0:
        low, high = edges_ns(-1 - bucket)
        return -high, -low
    if bucket == 0:
        return 0, 1 << FIRST_BIT
    octave, part = divmod(bucket - 1, PARTS)
    start = 1 << (FIRST_BIT + octave)
    if octave == OCTAVES:
        return start, start
    step = start // PARTS
    return start + part * step, start + (part + 1) * step


class Histogram(msgspec.Struct, frozen=True):
    """Counted delays.

    Attributes:
        count: how many.
        sum_ns: of all.
        min_ns, max_ns: extremes, exact; None where nothing was counted or a difference hides them.
        buckets: count by bucket (``edges_ns``); buckets that hold nothing are left out.
    """

    count: int = 0
    sum_ns: int = 0
    min_ns: int | None = None
    max_ns: int | None = None
    buckets: dict[int, int] = {}

    def __add__(self, other: Histogram) -> Histogram:
        if not self.count or not other.count:
            return self if self.count else other
        buckets = dict(self.buckets)
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
        return Histogram(
            self.count + other.count,
            self.sum_ns + other.sum_ns,
            None if self.min_ns is None or other.min_ns is None else min(self.min_ns, other.min_ns),
            None if self.max_ns is None or other.max_ns is None else max(self.max_ns, other.max_ns),
            buckets,
        )

    def __sub__(self, earlier: Histogram) -> Histogram:
        """What came since ``earlier``, which must be an earlier reading of the same histogram."""
        if not earlier.count:
            return self
        buckets = {
            bucket: count - earlier.buckets.get(bucket, 0)
            for bucket, count in self.buckets.items()
            if count > earlier.buckets.get(bucket, 0)
        }
        return Histogram(self.count - earlier.count, self.sum_ns - earlier.sum_ns, None, None, buckets)

    def quantile(self, q: float) -> int | None:
        """The delay in nanoseconds that a share ``q`` (0..1) of the counted ones does not exceed; None of nothing.

        Within ``ERROR`` of itself or within 32 ns; 0 and 1 are exact where the extremes are known.
        """
        if not self.count:
            return None
        rank = min(max(1, -int(-q * self.count // 1)), self.count)
        if rank == self.count and q >= 1 and self.max_ns is not None:
            return self.max_ns
        if q <= 0 and self.min_ns is not None:
            return self.min_ns
        seen, bucket = 0, 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                break
        low, high = edges_ns(bucket)
        middle = (low + high) // 2
        if self.min_ns is not None:
            middle = max(middle, self.min_ns)
        return middle if self.max_ns is None else min(middle, self.max_ns)

    def below(self, edge_ns: int) -> int:
        """How many delays are less than ``edge_ns``, exact where that is an edge between buckets; else what lies in
        buckets wholly below it."""
        return sum(
            count
            for bucket, count in self.buckets.items()
            if bucket < BUCKETS - 1 and edges_ns(bucket)[1] <= edge_ns
        )

    def below_each(self, edges: Sequence[int]) -> list[int]:
        """``below`` of rising edges, in one pass."""
        upper = [
            (edges_ns(bucket)[1], count)
            for bucket, count in sorted(self.buckets.items())
            if bucket < BUCKETS - 1
        ]
        out, seen, at = [], 0, 0
        for edge in edges:
            while at < len(upper) and upper[at][0] <= edge:
                seen += upper[at][1]
                at += 1
            out.append(seen)
        return out


def merge_all(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms."""
    total = Histogram()
    for histogram in histograms:
        total = total + histogram
    return total


class Recent:
    """What a histogram counted lately: since the beginning of the period before the present one.

    Args:
        period_ns: at least so much time is covered once it has passed, at most twice as much.
    """

    def __init__(self, period_ns: int = MINUTE_NS) -> None:
        self._period_ns = period_ns
        self._started_ns: int | None = None
        self._before = Histogram()
        self._base = Histogram()

    def update(self, now_ns: int, histogram: Histogram) -> Histogram:
        """Take the present reading and return what it counted lately; ``now_ns`` is monotonic."""
        if self._started_ns is None:
            self._started_ns = now_ns
        elif now_ns - self._started_ns >= self._period_ns:
            # who was asked for nothing over two periods knows of nothing recent but this reading
            self._before = self._base if now_ns - self._started_ns < 2 * self._period_ns else histogram
            self._base = histogram
            self._started_ns = now_ns
        return histogram - self._before
