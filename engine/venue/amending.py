"""An open order with other values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from engine.venue import refusals
from engine.venue.account import Account
from engine.venue.matching import Matcher
from engine.venue.order import Order
from engine.venue.outbox import Outbox
from engine.venue.placing import Placer
from engine.venue.refusals import Refusal, invalid
from engine.venue.requests import AmendRequest, OrderKey, read_amend
from engine.venue.terms import OrderStatus, TriggerBy

__all__ = ["Amender"]


class Amender:
    """Finds open orders and changes them."""

    def __init__(self, matcher: Matcher, placer: Placer, outbox: Outbox) -> None:
        self._matcher = matcher
        self._placer = placer
        self._outbox = outbox

    def find(self, account: Account, key: OrderKey) -> Order:
        """Find an open order.

        Raises:
            Refusal: nobody knows it, or it is over.
        """
        order = account.find(key.category, key.order_id, key.link_id)
        if order is None or order.rules.symbol != key.symbol:
            raise refusals.no_order(key.category)
        if not order.is_open:
            raise refusals.already_done(key.category, filled=order.status is OrderStatus.FILLED)
        return order

    def amend(self, account: Account, values: Mapping[str, Any], now_ms: int) -> Order:
        """Change an order; a better or worse price, or more of it, goes to the end of the queue.

        Raises:
            Refusal: it is as it was.
        """
        request = read_amend(values)
        order = self.find(account, request.key)
        quantity, price = request.quantity or order.quantity, request.price or order.price
        self._check(order, request, quantity, price)
        self._check_means(account, order, quantity, price)
        loses_place = price != order.price or quantity > order.quantity
        order.quantity, order.price, order.updated_ms = quantity, price, now_ms
        if request.trigger_price is not None and order.trigger is not None:
            order.trigger.price = request.trigger_price
        if request.take_profit is not None:
            order.protection.take_profit = request.take_profit or None
        if request.stop_loss is not None:
            order.protection.stop_loss = request.stop_loss or None
        self._outbox.position_of(account, order)
        self._outbox.wallet(account)
        if order.is_waiting or not loses_place:
            self._outbox.order(order)
            return order
        self._matcher.market_of(order.rules).withdraw(order)
        self._matcher.enter(order, now_ms)
        return order

    def _check(self, order: Order, request: AmendRequest, quantity: Decimal, price: Decimal | None) -> None:
        market, trigger = self._matcher.market_of(order.rules), order.trigger
        if request.price is not None and order.price is None:
            raise invalid("price of a market order cannot be amended")
        if request.trigger_price is not None:
            if trigger is None or not order.is_waiting:
                raise invalid("triggerPrice of an order that does not wait for one cannot be amended")
            order.rules.check_price(request.trigger_price)
            current = market.price(trigger.by if trigger else TriggerBy.LAST)
            if current is not None and (
                request.trigger_price <= current if trigger.rising else request.trigger_price >= current
            ):
                raise refusals.trigger_side(request.trigger_price, current, rising=trigger.rising)
        changes_protection = request.take_profit is not None or request.stop_loss is not None
        if changes_protection and order.filled:
            raise Refusal(110059, "Not allowed to modify the TP/SL of a partially filled open order")
        if changes_protection and (order.reduce_only or order.rules.is_spot):
            raise invalid("takeProfit and stopLoss do not belong to this order")
        unchanged = quantity == order.quantity and price == order.price
        if (
            unchanged
            and request.trigger_price in (None, trigger and trigger.price)
            and not changes_protection
        ):
            raise Refusal(
                10001, "The order remains unchanged as the parameters entered match the existing ones."
            )
        if quantity != order.quantity:
            if quantity <= order.filled:
                raise Refusal(
                    110064,
                    "The modified contract quantity cannot be less than or equal to the filled quantity.",
                )
            order.rules.check_quantity(quantity, order.order_type)
        if price is not None:
            if price != order.price:
                self._placer.check_limit(
                    market, order.rules, order.side, price, is_conditional=order.is_waiting
                )
            if not order.only_closes:
                order.rules.check_notional(price, quantity)

    def _check_means(self, account: Account, order: Order, quantity: Decimal, price: Decimal | None) -> None:
        before = order.quantity, order.price
        order.quantity, order.price = quantity, price
        try:
            fine = (order.is_waiting and not order.reserves) or self._placer.is_affordable(account, order)
            if fine and order.only_closes and not order.is_waiting:
                fine = order.leaves <= account.reducible(order)
                if not fine:
                    raise refusals.reduce_only()
        finally:
            order.quantity, order.price = before
        if not fine:
            raise refusals.balance(order.rules.category)
