"""A new order, from the request to the book: everything that it is held against. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from engine.venue import refusals
from engine.venue.account import Account, PriceOf
from engine.venue.market import SymbolMarket
from engine.venue.matching import Identities, Matcher
from engine.venue.order import Order, Protection, Trigger
from engine.venue.outbox import Outbox
from engine.venue.refusals import Refusal, invalid
from engine.venue.requests import CreateRequest, read_create
from engine.venue.rules import ZERO, TradingRules, settled
from engine.venue.terms import OrderType, Side
from engine.venue.triggers import Triggers
from schemas.names import Category

__all__ = ["MAXIMUM_ACTIVE", "MAXIMUM_OPTION_ORDERS", "MAXIMUM_WAITING", "Placer"]

MAXIMUM_ACTIVE: Final = 500
"""Open orders of an account: per symbol of futures without conditional ones, altogether on spot."""
MAXIMUM_OPTION_ORDERS: Final = 50
"""Open orders of an account per base coin of options."""
MAXIMUM_WAITING: Final = {Category.SPOT: 30}
"""Conditional orders of an account per symbol, TP/SL ones apart from others; 10 where nothing else is said."""

_AMOUNT_STEP: Final = Decimal("0.0000001")
_MAXIMUM_AMOUNT: Final = Decimal(7_999_999)
"""``quotePrecision`` and ``maxOrderAmt`` of spot orders for an amount in quote coin."""


class Placer:
    """Judges and places new orders."""

    def __init__(
        self,
        matcher: Matcher,
        triggers: Triggers,
        identities: Identities,
        outbox: Outbox,
        price_of: PriceOf,
    ) -> None:
        self._matcher = matcher
        self._triggers = triggers
        self._identities = identities
        self._outbox = outbox
        self._price_of = price_of

    def market(self, category: Category, symbol: str) -> SymbolMarket:
        """The market of a symbol.

        Raises:
            Refusal: there is none.
        """
        market = self._matcher.find_market(category, symbol)
        if market is None:
            if category is Category.SPOT:
                raise Refusal(170121, "Invalid symbol.")
            raise invalid(f"symbol invalid {symbol[:60]}")
        return market

    def place(self, account: Account, values: Mapping[str, Any], now_ms: int) -> Order:
        """Place an order.

        Raises:
            Refusal: it never was one.
        """
        request = read_create(values)
        market = self.market(request.category, request.symbol)
        rules = market.rules
        if request.link_id and account.find(request.category, "", request.link_id) is not None:
            raise refusals.duplicate_link_id(request.category)
        if (request.position_index != 0) != account.is_hedged(rules):
            raise invalid("position idx not match position mode")
        order = self._order(account, market, request, now_ms)
        self._check_counts(account, order)
        self._size_closing(account, order, request)
        self._check_price(market, order)
        self._check_size(market, order)
        self.check_protection(market, market.rules, order.side, order.price, order.protection)
        order.limit = self._matcher.limit_of(market, order)
        if (order.trigger is None or order.reserves) and not self.is_affordable(account, order):
            raise refusals.balance(request.category)
        account.add_order(order)
        self._outbox.position_of(account, order)
        self._outbox.wallet(account)
        if order.trigger is None:
            self._matcher.enter(order, now_ms)
        else:
            self._triggers.wait(order)
        return order

    def _order(self, account: Account, market: SymbolMarket, request: CreateRequest, now_ms: int) -> Order:
        trigger = self._trigger(market, request)
        stop = "" if trigger is None else "Stop"
        if request.order_filter == "tpslOrder":
            stop = "tpslOrder"
        is_quote_sized = _is_quote_sized(request)
        return Order(
            order_id=self._identities.unique(),
            link_id=request.link_id,
            uid=account.uid,
            rules=market.rules,
            side=request.side,
            order_type=request.order_type,
            time_in_force=request.time_in_force,
            quantity=request.quantity,
            price=request.price,
            created_ms=now_ms,
            number=self._identities.ordinal(),
            updated_ms=now_ms,
            position_index=request.position_index,
            reduce_only=request.reduce_only,
            close_on_trigger=request.close_on_trigger,
            is_quote_sized=is_quote_sized,
            smp_type=request.smp_type,
            trigger=trigger,
            protection=request.protection,
            stop_order_type=stop,
            reserves=request.order_filter == "tpslOrder",
            slippage=request.slippage,
            last_price_on_created=market.last or ZERO,
        )

    def _trigger(self, market: SymbolMarket, request: CreateRequest) -> Trigger | None:
        price = request.trigger_price
        if request.category is Category.SPOT:
            if request.order_filter in ("", "Order"):
                if price is not None:
                    raise invalid("triggerPrice of spot orders needs orderFilter StopOrder or tpslOrder")
                return None
            if price is None:
                raise Refusal(170202, "Please enter the TP/SL price.")
            current = market.last or market.reference
            if current is None:
                raise invalid("there is no price yet to hold the trigger against")
            return Trigger(price, rising=price > current)
        if price is None:
            return None
        if not request.trigger_direction:
            raise invalid("triggerDirection is required with triggerPrice")
        rising = request.trigger_direction == 1
        current = market.price(request.trigger_by)
        if current is not None and (price <= current if rising else price >= current):
            raise refusals.trigger_side(price, current, rising=rising)
        market.rules.check_price(price)
        return Trigger(price, rising, request.trigger_by)

    def _check_counts(self, account: Account, order: Order) -> None:
        rules = order.rules
        active = waiting = 0
        for other in account.orders.values():
            if other.rules.category is not rules.category:
                continue
            if rules.category is Category.OPTION:
                active += other.rules.base_coin == rules.base_coin
            elif other.is_waiting:
                waiting += other.rules is rules and other.stop_order_type == order.stop_order_type
                active += rules.is_spot
            elif rules.is_spot or other.rules is rules:
                active += 1
        if order.trigger is not None and waiting >= MAXIMUM_WAITING.get(rules.category, 10):
            raise refusals.stop_orders(rules.category)
        most = MAXIMUM_OPTION_ORDERS if rules.category is Category.OPTION else MAXIMUM_ACTIVE
        if active >= most:
            raise refusals.too_many_orders(rules.category)

    def _size_closing(self, account: Account, order: Order, request: CreateRequest) -> None:
        """Cut what can only close down to what there is to close."""
        if not order.only_closes or (order.trigger is not None and order.quantity):
            return
        reducible = account.reducible(order)
        if not reducible:
            raise refusals.reduce_only()
        if not order.quantity and request.reduce_only and request.close_on_trigger:
            market_order = order.order_type is OrderType.MARKET
            most = order.rules.maximum_market if market_order else order.rules.maximum_limit
            order.quantity = min(reducible, most)
        order.quantity = min(order.quantity, reducible)

    def _check_size(self, market: SymbolMarket, order: Order) -> None:
        rules = order.rules
        if order.is_quote_sized:
            if order.quantity % _AMOUNT_STEP:
                raise Refusal(170148, "Market order amount decimal too long")
            if order.quantity > _MAXIMUM_AMOUNT:
                raise refusals.quantity_maximum(rules.category)
            if order.quantity < rules.minimum_notional:
                raise refusals.notional(rules.category, rules.minimum_notional)
            return
        rules.check_quantity(order.quantity, order.order_type)
        price = order.price or (order.trigger.price if order.trigger else None) or market.reference
        if price is not None and not order.only_closes:
            rules.check_notional(price, order.quantity)

    def _check_price(self, market: SymbolMarket, order: Order) -> None:
        if order.price is None:
            return
        self.check_limit(
            market, order.rules, order.side, order.price, is_conditional=order.trigger is not None
        )

    def check_limit(
        self, market: SymbolMarket, rules: TradingRules, side: Side, price: Decimal, *, is_conditional: bool
    ) -> None:
        """Hold a limit price against the filter, and against the market.

        Raises:
            Refusal: off the tick, out of range, or too far across the market.
        """
        rules.check_price(price)
        reference = market.reference
        if reference is None or is_conditional or rules.category is Category.OPTION:
            return
        limit = rules.band(reference, side)
        if (price - limit) * side.sign > 0:
            raise refusals.price_limit(rules.category, limit, high=side is Side.BUY)

    def check_protection(
        self,
        market: SymbolMarket,
        rules: TradingRules,
        side: Side,
        price: Decimal | None,
        brought: Protection,
    ) -> None:
        """Hold what an order of a side and limit price brings to its position against the market.

        Raises:
            Refusal: 10001, it would go off at once, or lies off the tick.
        """
        current = price or market.last or market.reference
        if not brought or current is None:
            return
        for kind, trigger in (("TakeProfit", brought.take_profit), ("StopLoss", brought.stop_loss)):
            if trigger is not None:
                self._triggers.check_side(rules, side, kind, trigger, current)

    def is_affordable(self, account: Account, order: Order) -> bool:
        """Whether an account can pay for an order that is not among its own, or is counted there already."""
        known = account.orders.pop(order.order_id, None)
        try:
            return self._is_affordable(account, order)
        finally:
            if known is not None:
                account.orders[order.order_id] = known

    def _is_affordable(self, account: Account, order: Order) -> bool:
        if order.rules.is_spot:
            coin, needed = account.spot_lock(order)
            return needed <= account.available(coin, self._price_of)
        if order.only_closes:
            return True
        coin, needed = order.rules.settle_coin, account.order_margin(order, self._price_of)
        price = order.price or order.limit or self._price_of(order.rules)
        if needed and price is not None:
            needed += settled(order.rules.value(price, order.leaves) * order.rules.taker_fee)
        return needed <= 0 or needed <= account.available(coin, self._price_of)


def _is_quote_sized(request: CreateRequest) -> bool:
    if request.category is not Category.SPOT or request.order_type is not OrderType.MARKET:
        return False
    if request.market_unit not in ("", "baseCoin", "quoteCoin"):
        raise invalid("marketUnit is not one of baseCoin, quoteCoin")
    if request.side is Side.SELL and request.market_unit == "quoteCoin":
        raise invalid("selling by quoteCoin is not simulated: give the quantity in baseCoin")
    return request.side is Side.BUY and request.market_unit != "baseCoin"
