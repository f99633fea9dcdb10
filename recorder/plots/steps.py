"""Buckets of time as people count it, 200 ms, 5 s, 15 min, a day: a picture's steps can be said in words. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from recorder.plots.known import Range
from recorder.plots.spans import Ints
from schemas.time import NS_PER_MS, NS_PER_SECOND

__all__ = ["DAY_NS", "bucket_ns", "duration_text", "edges_of"]

DAY_NS: Final = 86_400 * NS_PER_SECOND
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_HOUR_NS: Final = 60 * _MINUTE_NS
_STEPS: Final = (
    *(part * NS_PER_MS for part in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(part * NS_PER_SECOND for part in (1, 2, 5, 10, 15, 30)),
    *(part * _MINUTE_NS for part in (1, 2, 5, 10, 15, 30)),
    *(part * _HOUR_NS for part in (1, 2, 4, 6, 12)),
    *(part * DAY_NS for part in (1, 2, 7, 14, 28)),
)


def bucket_ns(range_: Range, most: int) -> int:
    """Return the shortest step of which the range takes at most so many (beyond 28 days: whole multiples of that)."""
    wanted = (range_.end_ns - range_.start_ns) / most
    for step in _STEPS:
        if step >= wanted:
            return step
    return -(-int(wanted) // _STEPS[-1]) * _STEPS[-1]


def edges_of(range_: Range, step_ns: int) -> Ints:
    """Return multiples of the step since the epoch, from the one at or before the start to one at or behind the end."""
    first = range_.start_ns // step_ns
    last = -(-range_.end_ns // step_ns)
    return np.arange(first, last + 1, dtype=np.int64) * step_ns


def duration_text(ns: int) -> str:
    """Return a length of time in the unit that suits it: ``250 ms``, ``4.2 s``, ``1 h 30 min``, ``12 d``."""
    for unit, name, smaller, its_name in (
        (DAY_NS, "d", _HOUR_NS, "h"),
        (_HOUR_NS, "h", _MINUTE_NS, "min"),
        (_MINUTE_NS, "min", NS_PER_SECOND, "s"),
    ):
        whole, rest = divmod(round(ns / smaller), unit // smaller)
        if whole:
            return f"{whole} {name}" + (f" {rest} {its_name}" if rest else "")
    in_ms = f"{ns / NS_PER_MS:.3g}"
    return f"{ns / NS_PER_SECOND:.3g} s" if float(in_ms) >= 1000 else f"{in_ms} ms"
