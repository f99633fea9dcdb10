"""A book as a ladder: levels grouped into price steps, sums from the touch on, bars to one scale. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["STEPS", "Ladder", "Rung", "ladder_of"]

STEPS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 1_000_000)
"""Price steps in units of the last decimal; 1 leaves every level as it is."""

Levels = Sequence[tuple[int, int]]


class Rung(NamedTuple):
    """A price, its size, and the size from the touch up to it; mantissas."""

    price: int
    size: int
    sum: int
    share: float
    """Of the largest size that is shown."""


class Ladder(NamedTuple):
    """Both sides, the best first."""

    bids: list[Rung]
    asks: list[Rung]


def ladder_of(bids: Levels, asks: Levels, *, most: int, step: int = 1) -> Ladder:
    """Make the ladder.

    Args:
        bids: (price, size) mantissas, the best first.
        asks: likewise.
        most: rungs a side.
        step: price step in units of the last decimal. Bids are counted at the step below them and asks at the one
            above, so that no size seems better priced than it is.
    """
    sides = [_grouped(bids, most, step, up=False), _grouped(asks, most, step, up=True)]
    largest = max((size for side in sides for _, size in side), default=0)
    made = []
    for side in sides:
        total = 0
        rungs = []
        for price, size in side:
            total += size
            rungs.append(Rung(price, size, total, size / largest if largest else 0.0))
        made.append(rungs)
    return Ladder(*made)


def _grouped(levels: Levels, most: int, step: int, *, up: bool) -> list[tuple[int, int]]:
    if step == 1:
        return [(int(price), int(size)) for price, size in levels[:most]]
    out: list[tuple[int, int]] = []
    for price, size in levels:
        at = -(-int(price) // step) * step if up else int(price) // step * step
        if out and out[-1][0] == at:
            out[-1] = (at, out[-1][1] + int(size))
        elif len(out) == most:
            break
        else:
            out.append((at, int(size)))
    return out
