"""An open order with other values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from engine.venue import refusals
from engine.venue.account import Account
from engine.venue.market import SymbolMarket
from engine.venue.matching import Matcher
from engine.venue.order import Order, Protection
from engine.venue.outbox import Outbox
from engine.venue.placing import Placer
from engine.venue.refusals import Refusal, invalid
from engine.venue.requests import AmendRequest, OrderKey, read_amend
from engine.venue.terms import OrderStatus

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
        if order.trigger is not None:
            order.trigger.price = request.trigger_price or order.trigger.price
            order.trigger.by = request.trigger_by or order.trigger.by
        order.protection = _protection(order.protection, request)
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
        if request.trigger_price is not None or request.trigger_by is not None:
            self._check_trigger(market, order, request)
        if request.changes_protection or request.is_partial is not None:
            self._check_protection(market, order, request)
        unchanged = quantity == order.quantity and price == order.price
        if (
            unchanged
            and request.trigger_price in (None, trigger and trigger.price)
            and request.trigger_by in (None, trigger and trigger.by)
            and not request.changes_protection
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

    def _check_trigger(self, market: SymbolMarket, order: Order, request: AmendRequest) -> None:
        trigger = order.trigger
        if trigger is None or not order.is_waiting:
            raise invalid("the trigger of an order that does not wait for one cannot be amended")
        price = request.trigger_price or trigger.price
        if price is None:
            return
        order.rules.check_price(price)
        current = market.price(request.trigger_by or trigger.by)
        if current is not None and (price <= current if trigger.rising else price >= current):
            raise refusals.trigger_side(price, current, rising=trigger.rising)

    def _check_protection(self, market: SymbolMarket, order: Order, request: AmendRequest) -> None:
        if order.filled:
            raise Refusal(110059, "Not allowed to modify the TP/SL of a partially filled open order")
        if order.reduce_only or order.rules.is_spot:
            raise invalid("takeProfit and stopLoss do not belong to this order")
        before, after = order.protection, _protection(order.protection, request)
        if request.is_partial not in (None, before.is_partial) and before:
            raise invalid("tpslMode of an order cannot be amended")
        for limit, earlier in (
            (request.take_profit_limit, before.take_profit_limit),
            (request.stop_loss_limit, before.stop_loss_limit),
        ):
            if limit is not None and earlier is None:
                raise invalid("a limit price is amended where there was one")
        price = request.price or order.price
        self._placer.check_protection(market, order.rules, order.side, price, after)

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


def _protection(before: Protection, request: AmendRequest) -> Protection:
    """What an order brings to its position once it is amended; a price of 0 removes, None leaves."""
    take_profit, stop_loss = request.take_profit, request.stop_loss
    return replace(
        before,
        take_profit=before.take_profit if take_profit is None else take_profit or None,
        stop_loss=before.stop_loss if stop_loss is None else stop_loss or None,
        take_profit_by=request.take_profit_by or before.take_profit_by,
        stop_loss_by=request.stop_loss_by or before.stop_loss_by,
        take_profit_limit=request.take_profit_limit or before.take_profit_limit,
        stop_loss_limit=request.stop_loss_limit or before.stop_loss_limit,
        is_partial=before.is_partial if before or request.is_partial is None else request.is_partial,
    )
