"""The reference book: numbers by ``decimal``, sides by ``SortedDict``, digests from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

from sortedcontainers import SortedDict

from schemas.errors import DecimalError

__all__ = ["Level", "ReferenceBook", "ReferenceRpiBook", "mantissa_of"]

Level = tuple[Decimal, ...]
"""Price and size; in RPI books a second size behind them."""


_WORD: Final = 2**64 - 1
_SPREAD: Final = 0x9E3779B97F4A7C15
_BID: Final = 0xA0761D6478BD642F
_ASK: Final = 0xC2B2AE3D27D4EB4F
_PAIR: Final = 0xD6E8FEB86659FD93
# Wide enough for 20 integer digits moved by 18 places; anything that would be rounded is an error.
_EXACT: Final = Context(prec=64, traps=[Inexact, InvalidOperation])


def mantissa_of(value: Decimal, decimals: int) -> int:
    """Return ``value`` x 10^``decimals``; raise ``DecimalError`` unless int64 holds it and its negative exactly."""
    try:
        scaled = value.scaleb(decimals, _EXACT)
    except (Inexact, InvalidOperation):
        scaled = Decimal("NaN")
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or not -(2**63) < scaled < 2**63:
        raise DecimalError(f"{value} with {decimals} decimals: expected an integer that int64 can hold")
    return int(scaled)


def _finalise(word: int) -> int:
    """The splitmix64 finalizer."""
    word ^= word >> 30
    word = word * 0xBF58476D1CE4E5B9 & _WORD
    word ^= word >> 27
    word = word * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


class ReferenceBook:
    """One order book: two sorted sides from price to size, no size ever zero."""

    def __init__(self) -> None:
        self.bids = SortedDict()
        self.asks = SortedDict()

    def snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace both sides; levels of size zero are ignored."""
        self.bids = SortedDict((price, size) for price, size in bids if size)
        self.asks = SortedDict((price, size) for price, size in asks if size)

    def delta(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]]:
        """Set absolute sizes, zero removes; return the delta that undoes this one (prices must differ)."""
        return self._change(self.bids, bids), self._change(self.asks, asks)

    @staticmethod
    def _change(side: SortedDict, levels: Iterable[Level]) -> list[Level]:
        undo: list[Level] = []
        for price, size in levels:
            undo.append((price, side.pop(price, Decimal(0))))
            if size:
                side[price] = size
        return undo

    @property
    def crossed(self) -> bool:
        """Whether both sides have levels and the best bid is not below the best ask."""
        return bool(self.bids and self.asks and self.bids.peekitem(-1)[0] >= self.asks.peekitem(0)[0])

    @property
    def deepest(self) -> int:
        """Number of levels of the longer side."""
        return max(len(self.bids), len(self.asks))

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return at most ``count`` bids and asks, best first."""
        return list(self.bids.items()[: -count - 1 : -1]), list(self.asks.items()[:count])

    def digest(self, price_decimals: int, size_decimals: int) -> int:
        """Return the 64-bit digest of all levels at this exponent pair, recomputed in full."""
        digest = _finalise(_PAIR ^ (price_decimals << 8 | size_decimals))
        for mark, side in ((_BID, self.bids), (_ASK, self.asks)):
            for price, size in side.items():
                level = mantissa_of(price, price_decimals) * _SPREAD + mantissa_of(size, size_decimals)
                digest ^= _finalise(level & _WORD ^ mark)
        return digest


class ReferenceRpiBook:
    """An RPI book: two sorted sides from price to (size, RPI size), never both zero (protocol section 3.2)."""

    def __init__(self) -> None:
        self.bids = SortedDict()
        self.asks = SortedDict()

    def snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace both sides; levels whose sizes are both zero are ignored."""
        self.bids = SortedDict((price, sizes) for price, *sizes in bids if any(sizes))
        self.asks = SortedDict((price, sizes) for price, *sizes in asks if any(sizes))

    def delta(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]]:
        """Set absolute sizes, two zeros remove; return the delta that undoes this one (prices must differ)."""
        return self._change(self.bids, bids), self._change(self.asks, asks)

    @staticmethod
    def _change(side: SortedDict, levels: Iterable[Level]) -> list[Level]:
        undo: list[Level] = []
        for price, *sizes in levels:
            undo.append((price, *side.pop(price, (Decimal(0), Decimal(0)))))
            if any(sizes):
                side[price] = sizes
        return undo

    @property
    def crossed(self) -> bool:
        """Whether the sizes that are no RPI cross; RPI interest may hide and show itself again."""
        bids = [price for price, (size, _) in self.bids.items() if size]
        asks = [price for price, (size, _) in self.asks.items() if size]
        return bool(bids and asks and bids[-1] >= asks[0])

    @property
    def deepest(self) -> int:
        """Number of levels of the longer side, by the size of which there are more."""
        return max(
            sum(1 for sizes in side.values() if sizes[place])
            for side in (self.bids, self.asks)
            for place in (0, 1)
        )

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return at most ``count`` bids and asks as (price, size, RPI size), best first."""
        bids = [(price, *sizes) for price, sizes in self.bids.items()[: -count - 1 : -1]]
        return bids, [(price, *sizes) for price, sizes in self.asks.items()[:count]]

    def digest(self, price_decimals: int, size_decimals: int) -> int:
        """Return the digest of the sizes, mixed with that of the RPI sizes (docs/verify.md), recomputed in full."""
        digests = []
        for place in (0, 1):
            book = ReferenceBook()
            book.snapshot(
                ((price, sizes[place]) for price, sizes in self.bids.items()),
                ((price, sizes[place]) for price, sizes in self.asks.items()),
            )
            digests.append(book.digest(price_decimals, size_decimals))
        return digests[0] ^ _finalise(digests[1])
