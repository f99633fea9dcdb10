"""A venue with one linear, one inverse, one spot and one option instrument, and two accounts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.market import Instrument
from engine.venue import Order, Side, TradingVenue, VenueEvent, rules_of
from schemas.names import Category

NOW_MS = 1_760_000_000_000
D = Decimal

INSTRUMENTS = {
    Category.LINEAR: Instrument(Category.LINEAR, "BTCUSDT", "BTC", "USDT", "USDT", "0.10", "0.001"),
    Category.INVERSE: Instrument(Category.INVERSE, "BTCUSD", "BTC", "USD", "BTC", "0.10", "1"),
    Category.SPOT: Instrument(Category.SPOT, "BTCUSDT", "BTC", "USDT", "USDT", "0.01", "0.000001"),
    Category.OPTION: Instrument(
        Category.OPTION, "BTC-26DEC25-60000-C-USDT", "BTC", "USDT", "USDT", "5", "0.01"
    ),
}


class Desk:
    """A venue and what it has told; requests are made in the words of the wire."""

    def __init__(self, seed: int = 1) -> None:
        self.venue = TradingVenue(seed)
        for uid in ("1", "2"):
            self.venue.open_account(uid, {"USDT": D(100_000), "BTC": D(2)})
        for instrument in INSTRUMENTS.values():
            self.venue.list_instrument(rules_of(instrument))
        self.now_ms = NOW_MS
        self.events: list[VenueEvent] = []

    def tick(self) -> None:
        self.now_ms += 1
        self.events += self.venue.take_events()

    def book(
        self, bids: list[tuple[str, str]], asks: list[tuple[str, str]], category: Category = Category.LINEAR
    ) -> None:
        levels = [[(D(price), D(size)) for price, size in side] for side in (bids, asks)]
        symbol = INSTRUMENTS[category].symbol
        self.venue.on_book(category, symbol, levels[0], levels[1], self.now_ms)
        self.tick()

    def trade(self, taker: str, price: str, size: str, category: Category = Category.LINEAR) -> None:
        symbol = INSTRUMENTS[category].symbol
        self.venue.on_trade(category, symbol, Side(taker), D(price), D(size), self.now_ms)
        self.tick()

    def prices(self, category: Category = Category.LINEAR, **prices: Any) -> None:
        values = {name: D(value) if isinstance(value, str) else value for name, value in prices.items()}
        self.venue.on_prices(category, INSTRUMENTS[category].symbol, self.now_ms, **values)
        self.tick()

    def values(self, side: str, qty: str, price: str | None, **more: Any) -> dict[str, Any]:
        category = Category(more.pop("category", "linear"))
        values = {
            "category": category.value,
            "symbol": INSTRUMENTS[category].symbol,
            "side": side,
            "qty": qty,
            "orderType": "Market" if price is None else "Limit",
            **more,
        }
        if price is not None:
            values["price"] = price
        return values

    def create(self, side: str, qty: str, price: str | None = None, uid: str = "1", **more: Any) -> Order:
        order = self.venue.create(uid, self.values(side, qty, price, **more), self.now_ms)
        self.tick()
        return order

    def amend(self, order: Order, **more: Any) -> Order:
        order = self.venue.amend(order.uid, self.key(order, **more), self.now_ms)
        self.tick()
        return order

    def cancel(self, order: Order, **more: Any) -> Order:
        order = self.venue.cancel(order.uid, self.key(order, **more), self.now_ms)
        self.tick()
        return order

    def key(self, order: Order, **more: Any) -> dict[str, Any]:
        rules = order.rules
        return {
            "category": rules.category.value,
            "symbol": rules.symbol,
            "orderId": order.order_id,
            **more,
        }

    def rows(self, topic: str, uid: str = "1") -> list[dict[str, Any]]:
        return [event.row for event in self.events if event.topic == topic and event.uid == uid]

    def size(self, uid: str = "1", category: Category = Category.LINEAR, index: int = 0) -> Decimal:
        account = self.venue.accounts[uid]
        position = account.positions.get((category, INSTRUMENTS[category].symbol, index))
        return D(0) if position is None else position.signed

    def balance(self, coin: str = "USDT", uid: str = "1") -> Decimal:
        return self.venue.accounts[uid].balances[coin]


BOOK = (
    [("60000.0", "1"), ("59999.9", "2"), ("59999.0", "5")],
    [("60000.1", "1"), ("60000.2", "2"), ("60001.0", "5")],
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.book(*BOOK)
    desk.trade("Buy", "60000.1", "0.001")
    return desk


@pytest.fixture
def new_desk() -> Callable[[int], Desk]:
    return Desk
