"""What one book can tell, from the definitions in docs/books.md, on whole numbers and fractions. Slow and plain."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

MAX = 2**63 - 1

Levels = list[tuple[int, int]]


class SlowFill(NamedTuple):
    filled: int
    notional: int
    average_price: Fraction | None
    worst_price: int | None
    touched: int
    complete: bool


class SlowBook:
    """A book of (price, size) levels in any order, of which the best ``depth`` a side are read."""

    def __init__(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], depth: int) -> None:
        self.bids = sorted(((p, s) for p, s in bids if s), reverse=True)[:depth]
        self.asks = sorted((p, s) for p, s in asks if s)[:depth]

    @property
    def mid(self) -> Fraction | None:
        if not (self.bids and self.asks):
            return None
        return Fraction(self.bids[0][0] + self.asks[0][0], 2)

    @property
    def spread(self) -> int | None:
        return self.asks[0][0] - self.bids[0][0] if self.bids and self.asks else None

    @property
    def microprice(self) -> Fraction | None:
        if not (self.bids and self.asks):
            return None
        (bid, bid_size), (ask, ask_size) = self.bids[0], self.asks[0]
        share = Fraction(bid_size, bid_size + ask_size)
        return share * ask + (1 - share) * bid

    def cumulative_size(self, levels: int) -> tuple[int, int]:
        return _sizes(self.bids[:levels]), _sizes(self.asks[:levels])

    def imbalance(self, levels: int) -> Fraction | None:
        bids, asks = self.cumulative_size(levels)
        return Fraction(bids - asks, bids + asks) if bids + asks else None

    def depth_within(self, bps: Fraction) -> tuple[int, int] | None:
        if self.mid is None:
            return None
        reach = abs(self.mid) * bps / 10_000
        return (
            _sizes((p, s) for p, s in self.bids if p >= self.mid - reach),
            _sizes((p, s) for p, s in self.asks if p <= self.mid + reach),
        )

    def depth_profile(self, buckets: int, width_bps: Fraction) -> tuple[list[int], list[int]] | None:
        if self.mid is None:
            return None
        width = abs(self.mid) * width_bps / 10_000
        sums = ([0] * buckets, [0] * buckets)
        for out, levels, away in ((sums[0], self.bids, -1), (sums[1], self.asks, 1)):
            for price, size in levels:
                distance = max(Fraction(0), (price - self.mid) * away)
                if distance == 0:
                    out[0] += size
                elif width and (bucket := ceil(distance / width) - 1) < buckets:
                    out[bucket] += size
        return sums

    def cost_to_fill(self, side: str, size: int) -> SlowFill:
        levels = self.asks if side == "buy" else self.bids
        return _fill(levels, min(size, _sizes(levels)), size <= _sizes(levels))

    def size_for_notional(self, side: str, notional: int) -> SlowFill:
        """The largest size that costs at most ``notional``: costs are convex in the size, so it can be searched for."""
        levels = self.asks if side == "buy" else self.bids
        if side == "sell":
            levels = [(price, size) for price, size in levels if price > 0]
        most = min(_sizes(levels), MAX)
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if _cost(levels, middle) <= notional:
                low = middle
            else:
                high = middle - 1
        return _fill(levels, low, low < most or _cost(levels, low) == notional)


def _sizes(levels: Iterable[tuple[int, int]]) -> int:
    return sum(size for _, size in levels)


def _taken(levels: Levels, size: int) -> Levels:
    """What each level gives to an order of that size, as (price, size)."""
    before = [_sizes(levels[:i]) for i in range(len(levels))]
    taken = [(p, min(s, size - b)) for (p, s), b in zip(levels, before, strict=True)]
    return [(p, s) for p, s in taken if s > 0]


def _cost(levels: Levels, size: int) -> int:
    return sum(price * taken for price, taken in _taken(levels, size))


def _fill(levels: Levels, filled: int, complete: bool) -> SlowFill:
    taken, notional = _taken(levels, filled), _cost(levels, filled)
    if not taken:
        return SlowFill(0, 0, None, None, 0, complete)
    return SlowFill(filled, notional, Fraction(notional, filled), taken[-1][0], len(taken), complete)


def changes(
    before: tuple[Levels, Levels], message: tuple[Levels, Levels], *, replace: bool
) -> list[tuple[Any, ...]]:
    """(side, price, size before, size after, better levels before) of every level that differs afterwards."""
    out: list[tuple[Any, ...]] = []
    for side, held, said, sign in (("bid", before[0], message[0], -1), ("ask", before[1], message[1], 1)):
        old = dict(held)
        new = {p: s for p, s in (dict(said) if replace else old | dict(said)).items() if s}
        for price in sorted(old | new, key=lambda price: sign * price):
            place = sum(sign * other < sign * price for other in old)
            change = (side, price, old.get(price, 0), new.get(price, 0), place)
            if change[2] != change[3]:
                out.append(change)
    return out
