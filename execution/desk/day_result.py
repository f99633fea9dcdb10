"""What the fills of a UTC day came to, by coin. Pure.

Contracts: what the exchange says that a fill realised, less its fee; funding is a fill. What is open is not part of it.

Spot trades realise nothing by themselves, as coins are changed for coins. Their result is held against having done
nothing that day: quote coins received less those spent, and the coins that the day's fills added or took away at the
market's price, fees included in whichever of the two they were paid. Coins that were there before the day began, and
what the market does to them, are no part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

import msgspec

from engine.venue.rules import ZERO
from execution.desk.filters import Filters
from execution.desk.live import Fill
from schemas.names import Category

__all__ = ["MS_PER_DAY", "DayResult", "fee_coin"]

MS_PER_DAY: Final = 86_400_000


class _Traded(msgspec.Struct):
    """What a day's fills of a spot symbol changed.

    Attributes:
        quote, base: coins received less coins given, fees included.
        price: of the latest fill.
    """

    filters: Filters
    quote: Decimal = ZERO
    base: Decimal = ZERO
    price: Decimal = ZERO


def fee_coin(fill: Fill, filters: Filters) -> str:
    """The coin of a spot fill's fee: named, or what is received, of a rebate what is given."""
    if fill.fee_coin:
        return fill.fee_coin
    is_received_base = fill.side == "Buy"
    is_rebate = fill.fee is not None and fill.fee < 0
    return filters.base_coin if is_received_base is not is_rebate else filters.quote_coin


class DayResult:
    """Counts the fills of the day that the latest of them is of; those of an earlier day come too late."""

    def __init__(self) -> None:
        self._day = 0
        self._realised: dict[str, Decimal] = {}
        self._traded: dict[str, _Traded] = {}

    def __repr__(self) -> str:
        return f"<DayResult of day {self._day}: {self._realised}, spot {sorted(self._traded)}>"

    def on_fill(self, fill: Fill, filters: Filters | None) -> None:
        """Count a fill.

        Args:
            filters: of its symbol; a spot fill of one that isn't traded here is left out, as its coins aren't known.
        """
        day = fill.executed_ms // MS_PER_DAY
        if day > self._day:
            self._day, self._realised, self._traded = day, {}, {}
        if day < self._day:
            return
        if fill.category is Category.SPOT:
            if filters is not None:
                self._exchange(fill, filters)
            return
        coin = fill.fee_coin if filters is None else filters.settle_coin
        self._realised[coin] = self._realised.get(coin, ZERO) + (fill.profit or ZERO) - (fill.fee or ZERO)

    def _exchange(self, fill: Fill, filters: Filters) -> None:
        traded = self._traded.setdefault(fill.symbol, _Traded(filters))
        sign = 1 if fill.side == "Buy" else -1
        traded.base += sign * fill.quantity
        traded.quote -= sign * fill.quantity * fill.price
        traded.price = fill.price
        fee, coin = fill.fee or ZERO, fee_coin(fill, filters)
        if coin == filters.base_coin:
            traded.base -= fee
        elif coin == filters.quote_coin:
            traded.quote -= fee

    def realised(self, coin: str, now_ms: int) -> Decimal:
        """What today's fills of contracts, their fees and funding came to."""
        return self._realised.get(coin, ZERO) if now_ms // MS_PER_DAY == self._day else ZERO

    def exchanged(
        self, coin: str, now_ms: int, price_of: Callable[[str, Decimal], Decimal | None]
    ) -> Decimal:
        """What today's spot trades against a quote coin came to.

        Args:
            price_of: what some coins of a symbol could be sold, or where they are fewer, bought for; None where no book
                says it: then they are worth what the latest fill paid.
        """
        if now_ms // MS_PER_DAY != self._day:
            return ZERO
        total = ZERO
        for symbol, traded in self._traded.items():
            if traded.filters.quote_coin == coin:
                price = price_of(symbol, traded.base)
                total += traded.quote + traded.base * (traded.price if price is None else price)
        return total
