"""Conditional orders, and the take profits and stop losses that protect positions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Final

from engine.venue.account import Account
from engine.venue.market import SymbolMarket
from engine.venue.matching import Identities, Matcher
from engine.venue.order import Order, Trigger
from engine.venue.outbox import Outbox
from engine.venue.position import Position
from engine.venue.refusals import Refusal, invalid
from engine.venue.rules import ZERO, TradingRules
from engine.venue.terms import (
    CancelType,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    TimeInForce,
    TriggerBy,
)

__all__ = ["MAXIMUM_PARTIAL", "Triggers"]

MAXIMUM_PARTIAL: Final = 20
"""Take profits and stop losses in Partial mode of one position."""
_TAKE_PROFIT, _STOP_LOSS, _TRAILING = "TakeProfit", "StopLoss", "TrailingStop"
_WHOLE: Final = (_TAKE_PROFIT, _STOP_LOSS, _TRAILING)
_ROW_KEYS: Final = {_TAKE_PROFIT: "takeProfit", _STOP_LOSS: "stopLoss", _TRAILING: "trailingStop"}
_BY_PARTNER: Final = {
    "PartialTakeProfit": CancelType.BY_TAKE_PROFIT,
    "PartialStopLoss": CancelType.BY_STOP_LOSS,
}


class Triggers:
    """Orders that wait for a price.

    Args:
        accounts: by uid.
        matcher: takes the orders that have gone off.
        affordable: whether an account can pay for an order that begins.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        identities: Identities,
        outbox: Outbox,
        affordable: Callable[[Account, Order], bool],
    ) -> None:
        self._accounts = accounts
        self._identities = identities
        self._outbox = outbox
        self._affordable = affordable
        self._whole: dict[Position, dict[str, Order]] = {}
        self._partial: dict[Position, list[Order]] = {}
        self.matcher: Matcher

    def wait(self, order: Order) -> None:
        """Let an order wait for its trigger."""
        order.status = OrderStatus.UNTRIGGERED
        self.matcher.market_of(order.rules).waiting.append(order)
        self._outbox.order(order)

    def check(self, market: SymbolMarket, now_ms: int) -> None:
        """Set off what the market's prices have reached."""
        for order in tuple(market.waiting):
            trigger = order.trigger
            price = None if trigger is None else market.price(trigger.by)
            if trigger is None or price is None or not order.is_waiting:
                continue
            trigger.follow(price)
            if trigger.is_reached(price):
                self._fire(market, order, now_ms)

    def _fire(self, market: SymbolMarket, order: Order, now_ms: int) -> None:
        account = self._accounts[order.uid]
        market.withdraw(order)
        order.move(OrderStatus.TRIGGERED, now_ms)
        self._outbox.order(order)
        for other in tuple(account.orders.values()):
            if order.group and other.group == order.group and other is not order and other.is_waiting:
                self.matcher.end(other, now_ms, _BY_PARTNER[order.stop_order_type])
        order.move(OrderStatus.NEW, now_ms)
        order.limit = self.matcher.limit_of(market, order)
        if order.only_closes:
            reducible = account.reducible(order)
            if order.stop_order_type in _WHOLE:
                order.quantity = min(reducible, order.rules.maximum_market)
            if not reducible or not order.quantity:
                self.matcher.end(order, now_ms, CancelType.BY_REDUCE_ONLY)
                return
            order.quantity = min(order.quantity, reducible)
        elif not self._affordable(account, order):
            # As the exchange's page on conditional orders has it.
            self.matcher.end(order, now_ms, CancelType.UNKNOWN, RejectReason.OTHERS)
            return
        self.matcher.enter(order, now_ms)

    # Protection of positions

    def texts(self, position: Position) -> dict[str, Decimal | None]:
        """What the position's row tells of its protection, by key."""
        found: dict[str, Decimal | None] = {}
        for kind, order in self._whole.get(position, {}).items():
            if order.is_waiting and order.trigger is not None:
                trigger = order.trigger
                found[_ROW_KEYS[kind]] = trigger.trail if kind == _TRAILING else trigger.price
        return found

    def after_fill(self, account: Account, order: Order, position: Position, now_ms: int) -> None:
        """Set what an order brought for its position; take down what protects nothing any more."""
        if position.side is None or any(
            other.side is position.side for other in self._whole.get(position, {}).values()
        ):
            self.clear(position, now_ms, keep=order)
        if position.side is not order.side.opposite:
            self._sweep(account, position, now_ms, keep=order)
        if position.side is None:
            return
        if order.protection and not order.protection.is_partial and order.side is position.side:
            self._set_brought(account, order, position, now_ms)
        elif order.is_complete:
            self.after_end(account, order, now_ms)
        for other in self._whole.get(position, {}).values():
            if other.is_waiting and other.quantity != position.size:
                other.quantity, other.updated_ms = position.size, now_ms
                self._outbox.order(other)

    def after_end(self, account: Account, order: Order, now_ms: int) -> None:
        """Set the partial protection that an order brought, for what was filled of it."""
        position = account.position(order.rules, order.position_index)
        if position is None or position.side is not order.side or not order.protection.is_partial:
            return
        brought = order.protection
        quantity = min(order.filled, position.size)
        wanted = [
            (_TAKE_PROFIT, brought.take_profit, brought.take_profit_by, brought.take_profit_limit, quantity),
            (_STOP_LOSS, brought.stop_loss, brought.stop_loss_by, brought.stop_loss_limit, quantity),
        ]
        # The order stands whatever becomes of what it brought: there may be too many of them already.
        with suppress(Refusal):
            self.set_partial(account, position, wanted, now_ms, parent=order.link_id)

    def _set_brought(self, account: Account, order: Order, position: Position, now_ms: int) -> None:
        brought = order.protection
        for kind, price, by in (
            (_TAKE_PROFIT, brought.take_profit, brought.take_profit_by),
            (_STOP_LOSS, brought.stop_loss, brought.stop_loss_by),
        ):
            if price is not None:
                self.set_whole(account, position, kind, price, by, now_ms, parent=order.link_id)

    def set_whole(
        self,
        account: Account,
        position: Position,
        kind: str,
        price: Decimal,
        by: TriggerBy,
        now_ms: int,
        active_price: Decimal | None = None,
        *,
        parent: str = "",
    ) -> bool:
        """Set, change or (with 0) remove what protects a whole position; returns whether anything changed.

        Args:
            kind: ``TakeProfit``, ``StopLoss`` or ``TrailingStop``; of the last the price is a distance.
            parent: ``orderLinkId`` of the order that brings it; one that is changed by itself keeps its own.
        """
        orders = self._whole.setdefault(position, {})
        present = orders.get(kind)
        if present is not None and present.is_waiting and present.trigger is not None:
            trigger = present.trigger
            if price == (trigger.trail if kind == _TRAILING else trigger.price) and by is trigger.by:
                return False
            parent = parent or present.parent_link_id
            orders.pop(kind)
            self.matcher.end(present, now_ms, CancelType.BY_PROTECTION_CLEAR)
        elif not price:
            return False
        if price:
            orders[kind] = self._protect(
                account, position, kind, price, by, None, position.size, now_ms, active_price, parent=parent
            )
            self.wait(orders[kind])
        self._outbox.position(account, position)
        return True

    def set_partial(
        self,
        account: Account,
        position: Position,
        wanted: list[tuple[str, Decimal | None, TriggerBy, Decimal | None, Decimal]],
        now_ms: int,
        *,
        parent: str = "",
    ) -> None:
        """Add a take profit and a stop loss for a part of a position; one of them going off cancels the other.

        Args:
            wanted: kind, trigger, its price, limit price, quantity.

        Raises:
            Refusal: 110061, too many of them.
        """
        orders = [order for order in self._partial.get(position, []) if order.is_waiting]
        group = self._identities.unique()
        fresh = [
            self._protect(
                account,
                position,
                f"Partial{kind}",
                price,
                by,
                limit,
                quantity,
                now_ms,
                group=group,
                parent=parent,
            )
            for kind, price, by, limit, quantity in wanted
            if price
        ]
        if len(orders) + len(fresh) > MAXIMUM_PARTIAL:
            for order in fresh:
                del account.orders[order.order_id]
            raise Refusal(110061, "Not allowed to have more than 20 TP/SLs under Partial tpSlMode")
        self._partial[position] = orders + fresh
        for order in fresh:
            self.wait(order)

    def _protect(
        self,
        account: Account,
        position: Position,
        kind: str,
        price: Decimal,
        by: TriggerBy,
        limit: Decimal | None,
        quantity: Decimal,
        now_ms: int,
        active_price: Decimal | None = None,
        group: str = "",
        parent: str = "",
    ) -> Order:
        held = position.side
        assert held is not None
        takes_profit = kind.endswith(_TAKE_PROFIT)
        rising = (held is Side.BUY) == takes_profit
        if kind == _TRAILING:
            trigger = Trigger(None, rising, by, trail=price, active_price=active_price)
        else:
            trigger = Trigger(price, rising, by)
        order = Order(
            order_id=self._identities.unique(),
            link_id="",
            uid=account.uid,
            rules=position.rules,
            side=held.opposite,
            order_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            time_in_force=TimeInForce.IOC if limit is None else TimeInForce.GTC,
            quantity=quantity,
            price=limit,
            created_ms=now_ms,
            number=self._identities.ordinal(),
            updated_ms=now_ms,
            position_index=position.index,
            reduce_only=True,
            close_on_trigger=True,
            trigger=trigger,
            stop_order_type=kind,
            create_type=f"CreateBy{kind}",
            parent_link_id=parent,
            group=group,
        )
        account.add_order(order)
        return order

    def clear(self, position: Position, now_ms: int, *, keep: Order | None = None) -> None:
        """Take down everything that protects a position."""
        waiting = [*self._whole.pop(position, {}).values(), *self._partial.pop(position, [])]
        for order in waiting:
            if order.is_waiting and order is not keep:
                self.matcher.end(order, now_ms, CancelType.BY_PROTECTION_CLEAR)

    def _sweep(self, account: Account, position: Position, now_ms: int, *, keep: Order) -> None:
        """Cancel what can only reduce a position that is flat, or is the other way now."""
        for order in tuple(account.orders.values()):
            if (
                order is not keep
                and order.rules is position.rules
                and order.position_index == position.index
                and order.only_closes
                and order.is_open
                and not order.is_waiting
                and not account.reducible(order)
            ):
                self.matcher.end(order, now_ms, CancelType.BY_REDUCE_ONLY)

    def check_side(
        self, rules: TradingRules, held: Side, kind: str, price: Decimal, current: Decimal
    ) -> None:
        """Hold a take profit or stop loss against the present price.

        Raises:
            Refusal: 10001, it would go off at once.
        """
        above = (held is Side.BUY) == (kind == _TAKE_PROFIT)
        if price and (price <= current if above else price >= current):
            word = "higher" if above else "lower"
            raise invalid(
                f"{kind}:{price} set for {held} position should be {word} than base_price:{current}"
            )
        if price % rules.tick_size != ZERO:
            raise invalid(f"{kind} {price} is not a multiple of the tick size {rules.tick_size}")
