"""An order, and the only ways in which it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from engine.venue.rules import ZERO, TradingRules, settled
from engine.venue.terms import (
    CLOSED,
    OPEN,
    TRANSITIONS,
    CancelType,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    SmpType,
    TimeInForce,
    TriggerBy,
)

__all__ = ["Order", "Protection", "Trigger"]


@dataclass(slots=True)
class Trigger:
    """When a conditional order begins.

    Attributes:
        price: reaching it sets the order off; None for a trailing stop that is not active yet.
        rising: whether the price has to come up to it.
        trail: distance at which the trigger follows the best price since; None for a fixed trigger.
        active_price: a trailing stop begins to follow once this was reached.
    """

    price: Decimal | None
    rising: bool
    by: TriggerBy = TriggerBy.LAST
    trail: Decimal | None = None
    active_price: Decimal | None = None

    def follow(self, price: Decimal) -> bool:
        """Let a trailing stop follow; returns whether its trigger has moved."""
        if self.trail is None:
            return False
        if self.price is None and self.active_price is not None:
            # Where the stop falls, the price had to rise to the activation, and the other way round.
            reached = price <= self.active_price if self.rising else price >= self.active_price
            if not reached:
                return False
        trigger = price + self.trail if self.rising else price - self.trail
        if trigger <= 0:
            return False
        if self.price is None or (trigger < self.price if self.rising else trigger > self.price):
            self.price = trigger
            return True
        return False

    def is_reached(self, price: Decimal) -> bool:
        """Whether a price sets the order off."""
        if self.price is None:
            return False
        return price >= self.price if self.rising else price <= self.price


@dataclass(slots=True)
class Protection:
    """Take profit and stop loss that an order brings to its position; None where it brings none.

    Attributes:
        is_partial: ``tpslMode`` Partial: for the order's own quantity, instead of the whole position.
        take_profit_limit, stop_loss_limit: limit prices; None for market orders.
    """

    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit_by: TriggerBy = TriggerBy.LAST
    stop_loss_by: TriggerBy = TriggerBy.LAST
    is_partial: bool = False
    take_profit_limit: Decimal | None = None
    stop_loss_limit: Decimal | None = None

    def __bool__(self) -> bool:
        return self.take_profit is not None or self.stop_loss is not None


@dataclass(slots=True, eq=False)
class Order:
    """One order of one account.

    Attributes:
        quantity: base coins or contracts; quote coins if ``is_quote_sized``.
        price: of a limit order.
        number: ordinal of its creation.
        priority: ordinal of its arrival at its price; a smaller one trades first.
        queue_ahead: volume outside that stands before it; None while nobody knows (beyond the displayed depth).
        parent_link_id: ``orderLinkId`` of the order that brought this take profit or stop loss.
        smp_order_id: the order of the same account that it was not to trade with.
        group: orders of which one cancels the others by going off.
        limit: the worst price at which it may trade, set when it goes to the book.
        filled_value: sum of what its fills were booked at; ``exact_value`` before each was rounded.
    """

    order_id: str
    link_id: str
    uid: str
    rules: TradingRules
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal | None
    created_ms: int
    number: int
    position_index: int = 0
    reduce_only: bool = False
    close_on_trigger: bool = False
    is_quote_sized: bool = False
    smp_type: SmpType = SmpType.NONE
    trigger: Trigger | None = None
    protection: Protection = field(default_factory=Protection)
    stop_order_type: str = ""
    parent_link_id: str = ""
    smp_order_id: str = ""
    create_type: str = "CreateByUser"
    group: str = ""
    reserves: bool = True
    slippage: tuple[str, Decimal] | None = None
    status: OrderStatus = OrderStatus.NEW
    cancel_type: CancelType = CancelType.UNKNOWN
    reject_reason: RejectReason = RejectReason.NONE
    updated_ms: int = 0
    priority: int = 0
    queue_ahead: Decimal | None = ZERO
    limit: Decimal | None = None
    filled: Decimal = ZERO
    filled_value: Decimal = ZERO
    exact_value: Decimal = ZERO
    spent: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    closed_pnl: Decimal = ZERO
    last_price_on_created: Decimal = ZERO

    def __repr__(self) -> str:
        return (
            f"<Order {self.order_id[:8]} {self.rules.symbol} {self.side} {self.filled}/{self.quantity} "
            f"@ {self.price} {self.status}>"
        )

    @property
    def is_open(self) -> bool:
        """Whether it may still trade or go off."""
        return self.status in OPEN

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its trigger."""
        return self.status is OrderStatus.UNTRIGGERED

    @property
    def leaves(self) -> Decimal:
        """What is left of its quantity; of its amount, if it is quote sized; 0 once it is over."""
        if self.status in CLOSED:
            return ZERO
        return self.quantity - (self.spent if self.is_quote_sized else self.filled)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to fill, in whole steps."""
        return self.quantity == (self.spent if self.is_quote_sized else self.filled)

    @property
    def only_closes(self) -> bool:
        """Whether it can't open anything: reduce-only, close-on-trigger, or the closing side of hedge mode."""
        return (
            self.reduce_only
            or self.close_on_trigger
            or ((self.position_index == 1) == (self.side is Side.SELL) and bool(self.position_index))
        )

    def wants(self, price: Decimal) -> Decimal:
        """How much it would take at a price."""
        if self.is_quote_sized:
            return self.rules.rounded_down((self.quantity - self.spent) / price)
        return self.quantity - self.filled

    def move(self, status: OrderStatus, now_ms: int) -> None:
        """Change the status.

        Raises:
            RuntimeError: there is no way from where it is to there; the venue has a mistake.
        """
        if status not in TRANSITIONS.get(self.status, frozenset()):
            raise RuntimeError(f"order {self.order_id}: from {self.status} there is no way to {status}")
        self.status, self.updated_ms = status, now_ms

    def fill(self, price: Decimal, quantity: Decimal, now_ms: int) -> None:
        """Book a fill.

        Raises:
            RuntimeError: more than it wanted; the venue has a mistake.
        """
        if not 0 < quantity <= self.wants(price):
            raise RuntimeError(f"order {self.order_id}: a fill of {quantity}, wanted {self.wants(price)}")
        self.filled += quantity
        self.filled_value += self.rules.value(price, quantity)
        self.exact_value += self.rules.exact_value(price, quantity)
        if self.is_quote_sized:
            self.spent += settled(price * quantity)
        self.move(OrderStatus.FILLED if self.is_complete else OrderStatus.PARTIALLY_FILLED, now_ms)

    def end(self, now_ms: int, cancel_type: CancelType, reason: RejectReason = RejectReason.NONE) -> None:
        """End what is left of it."""
        if self.is_waiting:
            status = OrderStatus.DEACTIVATED
        elif self.filled and self.rules.is_spot:
            status = OrderStatus.PARTIALLY_FILLED_CANCELED
        else:
            status = OrderStatus.CANCELLED
        self.cancel_type, self.reject_reason = cancel_type, reason
        self.move(status, now_ms)
