"""An example: quote both sides of a book, follow it, and be gone while it may not be believed."""

from __future__ import annotations

from decimal import Decimal

from execution.client import TradingClient
from execution.desk.limits import Quote
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side, TimeInForce
from schemas.names import Category

__all__ = ["Quoting"]


class Quoting:
    """One post-only order a side, at the best price or some way from it.

    Args:
        away: how far from the best price of its side an order stands, as a share of it.
        slack: how far it may be from there before it is moved, as a share.
    """

    def __init__(
        self,
        client: TradingClient,
        category: Category,
        symbol: str,
        quantity: Decimal,
        *,
        away: Decimal = Decimal(0),
        slack: Decimal = Decimal("0.00003"),
    ) -> None:
        self._client = client
        self._category = category
        self._symbol = symbol
        self._quantity = quantity
        self._away = away
        self._slack = slack
        self._keys: dict[Side, OrderKey] = {}
        self.placed = self.moved = self.pulled = 0

    def step(self) -> None:
        """Look at the book, and do what is to be done; call it often. What is in doubt is left alone until it isn't."""
        self._client.alive()
        quote = self._client.quote(self._category, self._symbol)
        for side in Side:
            try:
                self._pull(side) if quote is None else self._follow(side, quote)
            except Refused:
                continue  # a limit, a rate, a doubt: the next step looks again

    def _follow(self, side: Side, quote: Quote) -> None:
        best = quote.bid if side is Side.BUY else quote.ask
        price = best * (1 - self._away * side.sign)
        key = self._keys.get(side)
        if key is not None and self._client.is_pending(key):
            return
        order = None if key is None else self._client.order(key)
        if key is None or order is None or not order.is_open:
            wanted = NewOrder(
                category=self._category, symbol=self._symbol, side=side, quantity=self._quantity, price=price,
                time_in_force=TimeInForce.POST_ONLY,
            )  # fmt: skip
            self._keys[side] = self._client.create(wanted).key
            self.placed += 1
        elif order.price is not None and abs(order.price - price) > price * self._slack:
            self._client.amend(key, Change(price=price))
            self.moved += 1

    def _pull(self, side: Side) -> None:
        order = self._client.order(self._keys[side]) if side in self._keys else None
        if order is not None and order.is_open:
            self._client.cancel(self._keys[side])
            self.pulled += 1
