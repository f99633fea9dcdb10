"""One symbol's market: the recorded book outside, our orders in it, and the prices that orders wait for."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from engine.venue.liquidity import Ladder
from engine.venue.order import Order
from engine.venue.rules import ZERO, TradingRules
from engine.venue.terms import Side, TriggerBy

__all__ = ["Offer", "SymbolMarket"]


class Offer(NamedTuple):
    """What a taker meets next: a quantity at a price, of one of our orders or (None) of the world outside."""

    price: Decimal
    quantity: Decimal
    maker: Order | None


def _place(order: Order) -> tuple[Decimal, int]:
    assert order.price is not None
    return -order.price * order.side.sign, order.priority


class SymbolMarket:
    """A symbol.

    Attributes:
        resting: our orders in the book, first to trade first.
        waiting: conditional orders, in order of arrival.
        last, mark, index: latest prices, None before the first.
        greeks: of one contract of an option, by name.
        funding_rate, next_funding_ms: what tickers tell; None and 0 where there is no funding.
    """

    def __init__(self, rules: TradingRules) -> None:
        self.rules = rules
        self.ladders = {side: Ladder(side) for side in Side}
        self.resting: dict[Side, list[Order]] = {side: [] for side in Side}
        self.waiting: list[Order] = []
        self.last: Decimal | None = None
        self.mark: Decimal | None = None
        self.index: Decimal | None = None
        self.funding_rate: Decimal | None = None
        self.next_funding_ms = 0
        self.greeks: dict[str, Decimal] = {}
        self._arrivals = 0

    def __repr__(self) -> str:
        count = sum(map(len, self.resting.values()))
        return f"<SymbolMarket {self.rules.symbol} {count} resting, {len(self.waiting)} waiting, last {self.last}>"

    # Prices

    def price(self, by: TriggerBy) -> Decimal | None:
        """A price by its kind; the last one stands in for one that is not told."""
        if by is TriggerBy.MARK and self.mark is not None:
            return self.mark
        if by is TriggerBy.INDEX and self.index is not None:
            return self.index
        return self.last

    @property
    def reference(self) -> Decimal | None:
        """What prices are held against: the mark price, or else the last, or else the middle of the book."""
        if self.mark is not None:
            return self.mark
        if self.last is not None:
            return self.last
        bid, ask = (self.ladders[side].best for side in (Side.BUY, Side.SELL))
        if bid is None or ask is None:
            return bid or ask
        return (bid + ask) / 2

    def best(self, side: Side) -> Decimal | None:
        """The best price on a side, ours and the world's."""
        outside = self.ladders[side].best
        ours = self.resting[side][0].price if self.resting[side] else None
        if outside is None or ours is None:
            return outside if ours is None else ours
        return max(outside, ours) if side is Side.BUY else min(outside, ours)

    # Our orders in the book

    def rest(self, order: Order) -> None:
        """Put an order behind everything that is displayed at its price."""
        assert order.price is not None
        self._arrivals += 1
        order.priority = self._arrivals
        ladder = self.ladders[order.side]
        order.queue_ahead = (
            ladder.available(order.price) if ladder.covers(order.price) or order.price in ladder else None
        )
        if order.queue_ahead is None and self._is_ahead_of_all(order):
            order.queue_ahead = ZERO
        insort(self.resting[order.side], order, key=_place)

    def _is_ahead_of_all(self, order: Order) -> bool:
        best = self.ladders[order.side].best
        return best is not None and order.price is not None and (order.price - best) * order.side.sign > 0

    def withdraw(self, order: Order) -> None:
        """Take an order out of the book, or of those that wait for a trigger; nothing where it is in neither."""
        for orders in (self.resting[order.side], self.waiting):
            for number, other in enumerate(orders):
                if other is order:
                    del orders[number]
                    return

    def offers(self, side: Side, limit: Decimal) -> Iterator[Offer]:
        """What a taker of this side meets up to a limit, in price-time priority.

        At one price the world's volume that stood there before one of our orders goes before it.
        """
        ladder, orders = self.ladders[side.opposite], self.resting[side.opposite]
        ours = [
            order for order in orders if order.price is not None and (limit - order.price) * side.sign >= 0
        ]
        prices = {*ladder.prices_within(limit), *(order.price for order in ours if order.price is not None)}
        for price in sorted(prices, reverse=side is Side.SELL):
            available, passed = ladder.available(price), ZERO
            for order in ours:
                if order.price != price:
                    continue
                ahead = min(available, order.queue_ahead or ZERO) - passed
                if ahead > 0:
                    passed += ahead
                    yield Offer(price, ahead, None)
                if order.is_open:
                    yield Offer(price, order.wants(price), order)
            if available > passed:
                yield Offer(price, available - passed, None)

    def volume(self, side: Side, limit: Decimal, order: Order) -> Decimal:
        """How much of an order could be filled at once, up to what it wants."""
        total = ZERO
        for offer in self.offers(side, limit):
            if offer.maker is not None and offer.maker.uid == order.uid and order.smp_type != "None":
                continue
            total += offer.quantity
        return total

    # The world outside

    def replace_book(
        self, bids: Iterable[tuple[Decimal, Decimal]], asks: Iterable[tuple[Decimal, Decimal]]
    ) -> None:
        """Take the book as it is displayed now; who waits behind more than is displayed has moved up."""
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            ladder = self.ladders[side]
            ladder.replace(levels)
            for order in self.resting[side]:
                assert order.price is not None
                if order.price not in ladder and not ladder.covers(order.price):
                    continue
                displayed = ladder.available(order.price)
                order.queue_ahead = (
                    displayed if order.queue_ahead is None else min(order.queue_ahead, displayed)
                )

    def crossed(self) -> list[Order]:
        """Our orders that the book outside has run into, first to trade first."""
        return [order for side in Side for order in self.resting[side] if self.volume_against(order)]

    def volume_against(self, order: Order) -> Decimal:
        """How much of the book outside stands where it would trade with a resting order."""
        if order.price is None:
            return ZERO
        ladder = self.ladders[order.side.opposite]
        return sum((ladder.available(price) for price in ladder.prices_within(order.price)), ZERO)

    def print_trade(self, taker: Side, price: Decimal, size: Decimal) -> list[tuple[Order, Decimal]]:
        """Let a recorded trade pass through our orders; returns what it fills of them, in priority."""
        filled: list[tuple[Order, Decimal]] = []
        passed, left = ZERO, size
        for order in self.resting[taker.opposite]:
            assert order.price is not None
            distance = (order.price - price) * order.side.sign
            if distance < 0:
                break
            if distance > 0:  # whoever traded at a worse price had to come by here
                order.queue_ahead = ZERO
            elif order.queue_ahead is None:
                continue
            else:
                ahead = min(left, max(ZERO, order.queue_ahead - passed))
                passed, left = passed + ahead, left - ahead
                order.queue_ahead = max(ZERO, order.queue_ahead - passed)
            quantity = min(left, order.wants(order.price))
            if quantity > 0:
                filled.append((order, quantity))
                left -= quantity
        return filled
