"""A position: what its fills add up to. Exact, in the coin that settles it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from engine.venue.rules import ZERO, TradingRules, settled
from engine.venue.terms import Side

__all__ = ["Closing", "Position"]


class Closing(NamedTuple):
    """What a fill closed: quantity, and the profit that it made."""

    quantity: Decimal
    profit: Decimal


@dataclass(slots=True, eq=False)
class Position:
    """One position; short ones have a negative ``signed``.

    Attributes:
        index: 0 one-way, 1 the buy side and 2 the sell side of hedge mode.
        signed: contracts, signed.
        cost: value at which what is open was opened, above 0 or 0; ``exact_cost`` before it was rounded.
        realised: profit of everything that was closed since it was last flat; ``realised_ever`` since the beginning.
    """

    rules: TradingRules
    index: int
    signed: Decimal = ZERO
    cost: Decimal = ZERO
    exact_cost: Decimal = ZERO
    realised: Decimal = ZERO
    realised_ever: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    opened_ms: int = 0
    sequence: int = -1

    @property
    def size(self) -> Decimal:
        """Contracts, never negative."""
        return abs(self.signed)

    @property
    def side(self) -> Side | None:
        """Which way it is; None when flat."""
        return None if not self.signed else Side.BUY if self.signed > 0 else Side.SELL

    @property
    def entry_price(self) -> Decimal:
        """Average price at which what is open was opened; 0 when flat."""
        if not self.signed:
            return ZERO
        return self.rules.average(self.size, self.exact_cost)

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit that closing at a price would make."""
        side = self.side
        return ZERO if side is None else self._profit(side, self.cost, self.rules.value(mark, self.size))

    def _profit(self, side: Side, cost: Decimal, value: Decimal) -> Decimal:
        # On inverse contracts a rising price makes the value, in coins, fall.
        gain = cost - value if self.rules.is_inverse else value - cost
        return gain * side.sign

    def apply(self, side: Side, price: Decimal, quantity: Decimal, now_ms: int) -> Closing:
        """Take a fill: close what is open the other way, open with the rest."""
        held = self.side
        closing, profit = ZERO, ZERO
        if held is not None and held is not side:
            closing = min(quantity, self.size)
            share = self.cost if closing == self.size else settled(self.cost * closing / self.size)
            profit = self._profit(held, share, self.rules.value(price, closing))
            self.cost -= share
            self.exact_cost *= (self.size - closing) / self.size
            self.signed += closing * side.sign
            self.realised += profit
            self.realised_ever += profit
        opening = quantity - closing
        if opening:
            if not self.signed:
                self.realised = ZERO
                self.opened_ms = now_ms
            self.cost += self.rules.value(price, opening)
            self.exact_cost += self.rules.exact_value(price, opening)
            self.signed += opening * side.sign
        self.created_ms = self.created_ms or now_ms
        self.updated_ms = now_ms
        return Closing(closing, profit)
