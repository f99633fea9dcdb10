"""Why a request is refused: code and words, as the category has them (protocol section 7.2)."""

from __future__ import annotations

from decimal import Decimal

from schemas.names import Category

__all__ = [
    "Refusal",
    "already_done",
    "balance",
    "duplicate_link_id",
    "invalid",
    "no_order",
    "notional",
    "price_beyond",
    "price_limit",
    "price_step",
    "quantity_maximum",
    "quantity_minimum",
    "quantity_step",
    "reduce_only",
    "stop_orders",
    "too_many_orders",
    "trigger_side",
]


class Refusal(Exception):
    """A request that the exchange does not carry out.

    Args:
        code: ``retCode``, never 0.
        message: ``retMsg``; words are for people, the code is the fact.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def invalid(what: str) -> Refusal:
    """A parameter that is missing, unknown or out of its range."""
    return Refusal(10001, f"params error: {what}")


def _by(category: Category, derivatives: tuple[int, str], spot: tuple[int, str]) -> Refusal:
    code, message = spot if category is Category.SPOT else derivatives
    return Refusal(code, message)


def no_order(category: Category) -> Refusal:
    """Nobody knows the order."""
    return _by(
        category, (110001, "order not exists or too late to cancel"), (170213, "Order does not exist.")
    )


def already_done(category: Category, *, filled: bool) -> Refusal:
    """The order is over."""
    if filled:
        return _by(
            category,
            (110008, "The order has been completed or cancelled."),
            (170139, "Order has been filled."),
        )
    return _by(category, (110010, "The order has been cancelled"), (170142, "Order has been cancelled."))


def duplicate_link_id(category: Category) -> Refusal:
    """``orderLinkId`` was used before."""
    return _by(category, (110072, "OrderLinkedID is duplicate"), (170141, "Duplicate clientOrderId."))


def balance(category: Category) -> Refusal:
    """The account cannot pay for it."""
    return _by(category, (110007, "ab not enough for new order"), (170131, "Insufficient balance."))


def price_step(category: Category, tick: Decimal) -> Refusal:
    """The price is no multiple of the tick."""
    return _by(
        category,
        (10001, f"params error: price is not a multiple of the tick size {tick}"),
        (170134, "Order price has too many decimals."),
    )


def price_beyond(category: Category, *, high: bool) -> Refusal:
    """The price lies outside of the instrument's filter."""
    spot = (170132, "Order price too high.") if high else (170133, "Order price lower than the minimum.")
    return _by(category, (110003, "Order price exceeds the allowable range."), spot)


def price_limit(category: Category, limit: Decimal, *, high: bool) -> Refusal:
    """The price lies too far from the market."""
    if high:
        return _by(
            category,
            (110121, f"Order price cannot be higher than {limit}, the price limitation"),
            (170193, f"Buy order price cannot be higher than {limit}."),
        )
    return _by(
        category,
        (110120, f"Order price cannot be smaller than {limit}, the price limitation"),
        (170194, f"Sell order price cannot be lower than {limit}."),
    )


def quantity_step(category: Category, step: Decimal) -> Refusal:
    """The quantity is no multiple of its step."""
    return _by(
        category,
        (10001, f"params error: qty is not a multiple of the step {step}"),
        (170137, "Order quantity has too many decimals."),
    )


def quantity_minimum(category: Category) -> Refusal:
    """The quantity is below the minimum."""
    return _by(
        category,
        (10001, "The number of contracts exceeds minimum limit allowed"),
        (170136, "Order quantity lower than the minimum."),
    )


def quantity_maximum(category: Category) -> Refusal:
    """The quantity is above the maximum of its order type."""
    return _by(
        category,
        (10001, "The number of contracts exceeds maximum limit allowed"),
        (170124, "Order amount too large."),
    )


def notional(category: Category, minimum: Decimal) -> Refusal:
    """Price times quantity is below the minimum."""
    return _by(
        category,
        (110094, f"Order does not meet minimum order value {minimum}"),
        (170140, "Order value exceeded lower limit."),
    )


def reduce_only() -> Refusal:
    """There is nothing to reduce."""
    return Refusal(110017, "current position is zero, cannot fix reduce-only order qty")


def trigger_side(trigger: Decimal, current: Decimal, *, rising: bool) -> Refusal:
    """The trigger lies on the side where the price is already."""
    if rising:
        return Refusal(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{current}]")
    return Refusal(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{current}]")


def too_many_orders(category: Category) -> Refusal:
    """500 orders are open already."""
    return _by(
        category,
        (110020, "Not allowed to have more than 500 active orders."),
        (170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders."),
    )


def stop_orders(category: Category) -> Refusal:
    """Too many conditional orders are waiting."""
    return _by(
        category,
        (110009, "The number of stop orders exceeds the maximum allowable limit"),
        (170810, "Cannot exceed maximum of 30 conditional orders."),
    )
