"""The trading desk of a gateway: accounts and keys over the venue, the markets it watches, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from engine.venue import Order, Refusal, SymbolMarket, TradingRules, TradingVenue, VenueEvent, rules_of
from engine.venue.refusals import invalid
from engine.venue.requests import TRADED
from engine.venue.rows import fast_row
from recorder.gateway.books import FrameInfo
from recorder.gateway.exchange import Exchange
from recorder.gateway.ledger import Ledger
from recorder.gateway.trading.disconnects import Disconnects
from recorder.gateway.trading.options import ApiKey, TradeOptions
from recorder.gateway.trading.private_dialect import feeds_of
from recorder.gateway.trading.rates import Rates
from recorder.gateway.trading.signed import check_request
from recorder.gateway.trading.watch import MarketWatch
from recorder.gateway.venue import Venue
from schemas.names import Category

__all__ = ["Desk", "Listener"]

_MS: Final = 1_000_000
_ORDER_NAMES: Final = ("category", "symbol", "orderId", "orderLinkId", "side")
_LEDGER_KEYS: Final = {
    "order": (
        *_ORDER_NAMES,
        *("orderStatus", "cancelType", "rejectReason", "qty", "price", "cumExecQty", "stopOrderType"),
    ),
    "execution": (*_ORDER_NAMES, "execId", "execType", "execPrice", "execQty", "execFee", "seq"),
}


class Listener(Protocol):
    """A private connection."""

    topics: dict[str, None]

    def tell(self, payload: bytes, topic: str) -> None:
        """Send a frame."""


class Desk:
    """Where requests are carried out.

    Args:
        exchanges: of the categories that are served.
        market_ns: the market's clock.
        race_ms: how long after its fill a cancel of an order is acknowledged.
        on_watch: called for each symbol that is watched from now on.
        skew_ms: how far the clock that requests are held against lies ahead of the time of day.
    """

    def __init__(
        self,
        options: TradeOptions,
        exchanges: Mapping[Category, Exchange],
        market_ns: Callable[[], int],
        ledger: Ledger | None,
        skew_ms: int = 0,
        race_ms: int = 0,
        on_watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.keys: Mapping[str, ApiKey] = options.keys
        self.venue = TradingVenue(options.seed, time.time_ns() // _MS)
        self.rates = Rates(options.order_limit)
        self.disconnects = Disconnects()
        self._exchanges = exchanges
        self._market_ns = market_ns
        self._ledger = ledger
        self._skew_ms = skew_ms
        self._race_ms = race_ms
        self._on_watch = on_watch
        self._listeners: dict[str, dict[Listener, None]] = {}
        self._watches: dict[Category, MarketWatch] = {}
        self._messages = 0
        for uid in sorted({key.uid for key in options.keys.values()}):
            self.venue.open_account(uid, options.balances)

    def __repr__(self) -> str:
        return f"<Desk of {self.venue!r}, {sum(map(len, self._listeners.values()))} listeners>"

    # Clocks

    def market_ms(self) -> int:
        """The market's time, which orders are stamped with."""
        return self._market_ns() // _MS

    def request_ms(self) -> int:
        """The time that requests are held against: the time of day, and the skew that a fault adds to it."""
        return time.time_ns() // _MS + self._skew_ms

    def whose(self, headers: Mapping[str, str], payload: str) -> ApiKey:
        """Whose REST request it is.

        Raises:
            Refusal: nobody's, or out of time.
        """
        return check_request(self.keys, headers, payload, self.request_ms())

    # Markets

    def market(self, category_text: str, symbol: str) -> SymbolMarket | None:
        """A symbol's market, listed and watched from now on; None where the gateway does not have it."""
        if category_text not in TRADED:
            return None
        category = Category(category_text)
        market = self.venue.markets.get((category, symbol))
        if market is not None:
            return market
        exchange = self._exchanges.get(category)
        if exchange is None:
            return None
        found = next((each for each in exchange.venue.instruments() if each.symbol == symbol), None)
        if found is None:
            return None
        market = self.venue.list_instrument(rules_of(found))
        watch = self._watches.get(category)
        if watch is None:
            watch = self._watches[category] = MarketWatch(category, exchange.venue, self.venue)
        self._on_watch()
        watch.follow(symbol, found.base_coin, self.market_ms())
        return market

    def source(self, category: Category) -> Venue:
        """What the gateway knows of a category.

        Raises:
            Refusal: 10001, it does not serve it.
        """
        exchange = self._exchanges.get(category)
        if exchange is None:
            raise invalid(f"category {category} is not served here")
        return exchange.venue

    def rules(self, category: Category) -> list[TradingRules]:
        """Rules of everything that a category lists."""
        exchange = self._exchanges.get(category)
        return [] if exchange is None else [rules_of(each) for each in exchange.venue.instruments()]

    def markets(self, category: Category, symbol: str, coin: str) -> list[SymbolMarket]:
        """Markets by symbol, or all of a settle coin."""
        if symbol:
            market = self.market(category.value, symbol)
            return [] if market is None else [market]
        exchange = self._exchanges.get(category)
        instruments = [] if exchange is None else exchange.venue.instruments()
        named = [self.market(category.value, each.symbol) for each in instruments if each.settle_coin == coin]
        return [market for market in named if market is not None]

    def witness(self, category: Category) -> Callable[[FrameInfo, bytes], None]:
        """What is to see every frame that is published in a category."""

        def note(info: FrameInfo, payload: bytes) -> None:
            watch = self._watches.get(category)
            if watch is not None and watch.note(info, payload, self.market_ms()):
                self.publish()

        return note

    # Requests

    def create(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Place an order."""
        category, symbol = str(values.get("category")), str(values.get("symbol"))
        market = self.market(category, symbol)
        if market is not None and not self._exchanges[market.rules.category].venue.has_symbol(symbol):
            raise Refusal(170157 if market.rules.is_spot else 110074, "This contract is not live")
        return self.venue.create(uid, values, self.market_ms())

    def amend(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Change an order."""
        return self.venue.amend(uid, values, self.market_ms())

    def cancel(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Cancel an order."""
        return self.venue.cancel(uid, values, self.market_ms(), self._race_ms)

    # What is told

    def listen(self, uid: str, listener: Listener) -> None:
        """Tell a private connection what its account is told."""
        self._listeners.setdefault(uid, {})[listener] = None

    def forget(self, uid: str, listener: Listener) -> None:
        """Tell it nothing more."""
        self._listeners.get(uid, {}).pop(listener, None)

    def publish(self) -> None:
        """Tell what has happened, in its order; neighbours of one topic and account share a frame."""
        events = self.venue.take_events()
        if not events:
            return
        groups: list[list[VenueEvent]] = []
        for event in events:
            if self._ledger is not None and event.topic in _LEDGER_KEYS:
                self._note(event)
            if groups and groups[-1][0][:3] == event[:3] and event.topic != "order":
                groups[-1].append(event)
            else:
                groups.append([event])
        if self._ledger is not None:
            self._ledger.flush()
        for group in groups:
            self._tell(group)

    def _note(self, event: VenueEvent) -> None:
        assert self._ledger is not None
        row = {key: str(event.row[key]) for key in _LEDGER_KEYS[event.topic]}
        self._ledger.event(event.topic, 0, uid=event.uid, **row)

    def _tell(self, group: list[VenueEvent]) -> None:
        first = group[0]
        for listener in tuple(self._listeners.get(first.uid, ())):
            for topic in tuple(listener.topics):
                name, category = feeds_of(topic)
                if category and first.category is not None and category != first.category.value:
                    continue
                if name == first.topic:
                    listener.tell(self._frame(topic, [event.row for event in group]), topic)
                elif name == "execution.fast" and first.topic == "execution":
                    rows = [row for event in group if (row := fast_row(event.row)) is not None]
                    if rows:
                        listener.tell(self._frame(topic, rows), topic)

    def _frame(self, topic: str, rows: list[dict[str, Any]]) -> bytes:
        self._messages += 1
        now_ms = self.request_ms()
        return msgspec.json.encode(
            {"id": f"{self._messages:012d}-{now_ms}", "topic": topic, "creationTime": now_ms, "data": rows}
        )

    # Time

    def tick(self) -> None:
        """Let time pass: funding, and accounts whose connections are gone for too long."""
        now_ms = self.market_ms()
        self.venue.advance(now_ms)
        for uid, categories in self.disconnects.due(self.request_ms()):
            self.venue.disconnected(uid, categories, now_ms)
        self.publish()
