"""The recorded book as orders meet it: what is displayed, less what has been taken of it since it last changed. Pure.

The world outside does not know of our orders: what they take comes back as soon as the level's size changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal

from engine.venue.rules import ZERO
from engine.venue.terms import Side

__all__ = ["Ladder"]


class Ladder:
    """One side of the book outside.

    Args:
        side: of those who wait in it.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self._displayed: dict[Decimal, Decimal] = {}
        self._taken: dict[Decimal, Decimal] = {}
        self._prices: list[Decimal] = []
        self._is_told = False

    def __repr__(self) -> str:
        return f"<Ladder {self.side} {len(self._prices)} levels, best {self.best}>"

    def replace(self, levels: Iterable[tuple[Decimal, Decimal]]) -> None:
        """Take the side as it is displayed now, best first; (price, size) above 0."""
        displayed = dict(levels)
        if self._taken:
            before = self._displayed
            self._taken = {
                price: taken
                for price, taken in self._taken.items()
                if displayed.get(price) == before.get(price) is not None
            }
        self._displayed = displayed
        self._prices = list(displayed)
        self._is_told = True

    def forget(self) -> None:
        """Nobody knows what is displayed, until it is told anew."""
        self._displayed, self._taken, self._prices, self._is_told = {}, {}, [], False

    @property
    def best(self) -> Decimal | None:
        """The best price at which anything is left."""
        return next((price for price in self._prices if self.available(price)), None)

    def available(self, price: Decimal) -> Decimal:
        """What is left at a price."""
        displayed = self._displayed.get(price)
        if displayed is None:
            return ZERO
        return max(ZERO, displayed - self._taken.get(price, ZERO))

    def take(self, price: Decimal, quantity: Decimal) -> None:
        """Take from a level."""
        self._taken[price] = self._taken.get(price, ZERO) + quantity

    def prices_within(self, limit: Decimal) -> list[Decimal]:
        """Prices not worse than a limit for whoever takes, best first."""
        sign = self.side.sign
        end = bisect_left(self._prices, True, key=lambda price: (limit - price) * sign > 0)
        return self._prices[:end]

    def __contains__(self, price: Decimal) -> bool:
        return price in self._displayed

    def covers(self, price: Decimal) -> bool:
        """Whether it is displayed what stands at a price; a side that was told to be empty is."""
        if not self._prices:
            return self._is_told
        return (price - self._prices[-1]) * self.side.sign >= 0
