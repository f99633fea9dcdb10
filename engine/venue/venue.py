"""A simulated exchange: requests and market data in, events out. Pure: time is an argument, numbers are exact.

::

    venue = TradingVenue(seed=7)
    venue.open_account("1001", {"USDT": Decimal(100_000)})
    venue.list_instrument(rules_of(instrument))
    venue.on_book(Category.LINEAR, "BTCUSDT", bids, asks, now_ms)
    order = venue.create("1001", {"category": "linear", "symbol": "BTCUSDT", ...}, now_ms)
    for event in venue.take_events(): ...          # order, execution, position and wallet rows

The same seed, beginning, requests and market data give the same events, ids included. What is simulated, and how, is in
docs/gateway-trading.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from engine.venue.account import Account
from engine.venue.amending import Amender
from engine.venue.holdings import greeks_row, position_row, wallet_row
from engine.venue.market import SymbolMarket
from engine.venue.matching import Identities, Matcher
from engine.venue.order import Order
from engine.venue.outbox import Outbox, VenueEvent
from engine.venue.placing import Placer
from engine.venue.position import Position
from engine.venue.refusals import Refusal, invalid, no_order
from engine.venue.requests import Fields, OrderKey, order_key, read_category
from engine.venue.rows import Row
from engine.venue.rules import TradingRules
from engine.venue.settings import Settings
from engine.venue.terms import CancelType, OrderStatus, RejectReason, Side
from engine.venue.triggers import Triggers
from schemas.names import Category

__all__ = ["TradingVenue"]

_MOST_CANCELLED: Final = 500
_DOLLARS: Final = ("USDT", "USDC", "USD")


class TradingVenue:
    """An exchange of several accounts and instruments.

    Args:
        seed, began_ms: decide the ids; who begins again later must not repeat those of a life before.

    Attributes:
        accounts: by uid. markets: by category and symbol.
        settings: leverage, position modes, and what protects positions.
    """

    def __init__(self, seed: int = 0, began_ms: int = 0) -> None:
        self.accounts: dict[str, Account] = {}
        self.markets: dict[tuple[Category, str], SymbolMarket] = {}
        identities = Identities(seed, began_ms)
        self._outbox = Outbox(self.position_row, self.wallet_row, self.greeks_row)
        self._triggers = Triggers(self.accounts, identities, self._outbox, self._affordable)
        self._matcher = Matcher(
            self.accounts,
            self.markets,
            identities,
            self._outbox,
            self.price_of,
            self._triggers.after_fill,
            self._triggers.after_end,
        )
        self._triggers.matcher = self._matcher
        self._placer = Placer(self._matcher, self._triggers, identities, self._outbox, self.price_of)
        self._amender = Amender(self._matcher, self._placer, self._outbox)
        self.settings = Settings(self._triggers, self._outbox, self.price_of)

    def __repr__(self) -> str:
        return f"<TradingVenue {len(self.accounts)} accounts, {len(self.markets)} instruments>"

    # Setting up

    def open_account(self, uid: str, balances: Mapping[str, Decimal]) -> Account:
        """Open an account with coins in it."""
        account = self.accounts[uid] = Account(uid, dict(balances))
        return account

    def list_instrument(self, rules: TradingRules) -> SymbolMarket:
        """Begin to trade an instrument; one that is traded already stays as it is."""
        return self.markets.setdefault((rules.category, rules.symbol), SymbolMarket(rules))

    # The market outside

    def on_book(
        self,
        category: Category,
        symbol: str,
        bids: Iterable[tuple[Decimal, Decimal]],
        asks: Iterable[tuple[Decimal, Decimal]],
        now_ms: int,
    ) -> None:
        """Take the book as displayed, best first; who is run into by it is filled."""
        market = self.markets.get((category, symbol))
        if market is None:
            return
        market.replace_book(bids, asks)
        for order in market.crossed():
            assert order.price is not None
            left = self._matcher.passive(order, market.volume_against(order), now_ms)
            ladder = market.ladders[order.side.opposite]
            for price in ladder.prices_within(order.price):
                part = min(left, ladder.available(price))
                if part > 0:
                    ladder.take(price, part)
                    left -= part

    def on_book_lost(self, category: Category, symbol: str) -> None:
        """The book is not known any more: nothing can be taken until it is told anew; who waits keeps their place."""
        market = self.markets.get((category, symbol))
        if market is not None:
            for ladder in market.ladders.values():
                ladder.forget()

    def on_trade(
        self, category: Category, symbol: str, taker: Side, price: Decimal, size: Decimal, now_ms: int
    ) -> None:
        """Take a trade outside: it passes through our orders, and sets off those that wait for its price."""
        market = self.markets.get((category, symbol))
        if market is None or size <= 0 or price <= 0:
            return
        market.last = price
        for order, quantity in market.print_trade(taker, price, size):
            self._matcher.passive(order, quantity, now_ms)
        self._triggers.check(market, now_ms)

    def on_prices(
        self,
        category: Category,
        symbol: str,
        now_ms: int,
        *,
        last: Decimal | None = None,
        mark: Decimal | None = None,
        index: Decimal | None = None,
        funding_rate: Decimal | None = None,
        next_funding_ms: int = 0,
        greeks: Mapping[str, Decimal] | None = None,
    ) -> None:
        """Take what a ticker tells; what it does not tell stays as it was."""
        market = self.markets.get((category, symbol))
        if market is None:
            return
        self._fund(market, now_ms)
        market.last, market.mark = last or market.last, mark or market.mark
        market.index = index or market.index
        if funding_rate is not None:
            market.funding_rate = funding_rate
        market.next_funding_ms = next_funding_ms or market.next_funding_ms
        market.greeks.update(greeks or {})
        self._triggers.check(market, now_ms)

    def advance(self, now_ms: int) -> None:
        """Let time pass: funding that fell due is settled."""
        for market in self.markets.values():
            self._fund(market, now_ms)

    def _fund(self, market: SymbolMarket, now_ms: int) -> None:
        if not market.next_funding_ms or now_ms < market.next_funding_ms:
            return
        market.next_funding_ms = 0
        mark = market.reference
        if not market.funding_rate or mark is None:
            return
        for account in self.accounts.values():
            for index in (0, 1, 2):
                position = account.position(market.rules, index)
                if position is not None and position.signed:
                    self._matcher.fund(account, position, mark, market.funding_rate, now_ms)

    # Requests

    def create(self, uid: str, values: Mapping[str, Any], now_ms: int) -> Order:
        """Take a new order.

        Raises:
            Refusal: it never was one.
        """
        return self._placer.place(self.accounts[uid], values, now_ms)

    def amend(self, uid: str, values: Mapping[str, Any], now_ms: int) -> Order:
        """Change an open order.

        Raises:
            Refusal: it is as it was.
        """
        return self._amender.amend(self.accounts[uid], values, now_ms)

    def cancel(self, uid: str, values: Mapping[str, Any], now_ms: int, race_ms: int = 0) -> Order:
        """Cancel an open order.

        Args:
            race_ms: how long after its fill an order can be told to be cancelled, in vain (section 7.4).

        Raises:
            Refusal: there is none, or on spot none of the kind that ``orderFilter`` names (``Order``).
        """
        fields = Fields(values)
        key = order_key(fields)
        try:
            order = self.find(uid, key)
            if not _is_filtered(order, fields.text("orderFilter") or _kinds(key.category)[0]):
                raise no_order(key.category)
        except Refusal:
            found = self.accounts[uid].find(key.category, key.order_id, key.link_id)
            if (
                found is None
                or found.status is not OrderStatus.FILLED
                or found.rules.symbol != key.symbol
                or now_ms - found.updated_ms >= race_ms
            ):
                raise
            self._outbox.late_cancel(found)
            return found
        self._matcher.end(order, now_ms, CancelType.BY_USER, RejectReason.BY_REQUEST)
        return order

    def find(self, uid: str, key: OrderKey) -> Order:
        """Find an open order.

        Raises:
            Refusal: nobody knows it, or it is over.
        """
        return self._amender.find(self.accounts[uid], key)

    def cancel_all(self, uid: str, values: Mapping[str, Any], now_ms: int) -> list[Order]:
        """Cancel an account's open orders by symbol, base coin or settle coin.

        Raises:
            Refusal: 10001, a futures category without any of the three.
        """
        fields = Fields(values)
        category, symbol = read_category(fields), fields.text("symbol")
        base, settle = fields.text("baseCoin"), fields.text("settleCoin")
        if category in (Category.LINEAR, Category.INVERSE) and not (symbol or base or settle):
            raise invalid("symbol, baseCoin or settleCoin is required")
        kinds, stop = _kinds(category), fields.text("stopOrderType")
        wanted = fields.text("orderFilter") or kinds[0]
        if wanted not in kinds:
            raise invalid(f"orderFilter {wanted!r} is not one of {', '.join(filter(None, kinds))}")

        def is_meant(order: Order) -> bool:
            rules = order.rules
            if rules.category is not category:
                return False
            if symbol:
                named = rules.symbol == symbol
            elif base:
                named = rules.base_coin == base
            else:
                named = not settle or rules.settle_coin == settle
            return (
                named and _is_filtered(order, wanted) and (stop != "Stop" or order.stop_order_type == "Stop")
            )

        found = [order for order in self.accounts[uid].orders.values() if is_meant(order)]
        return self._cancel_each(found[:_MOST_CANCELLED], now_ms, CancelType.BY_USER)

    def disconnected(self, uid: str, categories: Iterable[Category], now_ms: int) -> list[Order]:
        """Cancel what an account has open in some categories, because it is not there any more (section 7.5)."""
        meant = frozenset(categories)
        found = [o for o in self.accounts[uid].orders.values() if o.rules.category in meant]
        return self._cancel_each(found, now_ms, CancelType.BY_DCP)

    def _cancel_each(self, orders: list[Order], now_ms: int, cancel_type: CancelType) -> list[Order]:
        for order in orders:
            if order.is_open:
                self._matcher.end(order, now_ms, cancel_type, RejectReason.BY_REQUEST)
        return orders

    # What it tells

    def take_events(self) -> list[VenueEvent]:
        """Return what happened since the last call."""
        return self._outbox.take()

    def price_of(self, rules: TradingRules) -> Decimal | None:
        """What positions in an instrument are valued at."""
        return self.markets[rules.category, rules.symbol].reference

    def position_row(self, account: Account, position: Position) -> Row:
        """A position as the stream tells it."""
        return position_row(
            account, position, self.price_of, self._triggers.texts(position), self._greeks_of(position.rules)
        )

    def greeks_row(self, account: Account, coin: str) -> Row:
        """An account's greeks on a coin."""
        return greeks_row(account, coin, self._greeks_of)

    def _greeks_of(self, rules: TradingRules) -> dict[str, Decimal]:
        return self.markets[rules.category, rules.symbol].greeks

    def wallet_row(self, account: Account, coins: Iterable[str] | None = None) -> Row:
        """A wallet as stream and REST tell it."""
        return wallet_row(account, self.price_of, self._usd(), coins)

    def _usd(self) -> dict[str, Decimal]:
        """Prices of coins in USD, as far as any instrument tells them."""
        prices: dict[str, Decimal] = {}
        for market in self.markets.values():
            rules = market.rules
            if rules.category is Category.OPTION or rules.quote_coin not in _DOLLARS:
                continue
            price = market.index or market.reference
            if price is not None:
                prices.setdefault(rules.base_coin, price)
        return prices

    def _affordable(self, account: Account, order: Order) -> bool:
        return self._placer.is_affordable(account, order)


def _kinds(category: Category) -> tuple[str, ...]:
    """What ``orderFilter`` can say in cancels; the first is the default: on spot normal orders alone."""
    if category is Category.SPOT:
        return "Order", "tpslOrder", "StopOrder", "OcoOrder", "BidirectionalTpslOrder"
    return "", "Order", "StopOrder", "OpenOrder"


def _is_filtered(order: Order, wanted: str) -> bool:
    """Whether a filter means an order; a spot order that has gone off is a normal one."""
    if order.rules.is_spot:
        kind = "Order"
        if order.is_waiting:
            kind = "tpslOrder" if order.stop_order_type == "tpslOrder" else "StopOrder"
        return wanted == kind
    return wanted in ("", "OpenOrder", "Order" if order.trigger is None else "StopOrder")
