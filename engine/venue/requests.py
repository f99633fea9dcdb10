"""Requests as they come: JSON objects of texts, read into what the venue understands (protocol section 6.4). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from engine.venue.order import Protection
from engine.venue.refusals import Refusal, invalid
from engine.venue.rules import decimal_of
from engine.venue.terms import OrderType, Side, SmpType, TimeInForce, TriggerBy
from schemas.names import Category

__all__ = [
    "TRADED",
    "AmendRequest",
    "CreateRequest",
    "Fields",
    "OrderKey",
    "order_key",
    "read_amend",
    "read_category",
    "read_create",
]

TRADED: Final = (Category.SPOT, Category.LINEAR, Category.INVERSE, Category.OPTION)
_LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_MAX_TEXT: Final = 64
_Name = TypeVar("_Name", bound=StrEnum)


class Fields:
    """A request's object, read key by key.

    Raises:
        Refusal: 10001, a value of the wrong kind.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) not in (None, "")

    def text(self, key: str, default: str = "") -> str:
        """A text; numbers are refused, as prices and sizes must be texts."""
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > _MAX_TEXT:
            raise invalid(f"{key} must be a string of at most {_MAX_TEXT} characters")
        return value

    def required(self, key: str) -> str:
        """A text that must be there."""
        value = self.text(key)
        if not value:
            raise invalid(f"{key} is required")
        return value

    def number(self, key: str) -> Decimal | None:
        """A decimal text; None where there is none."""
        text = self.text(key)
        if not text:
            return None
        number = decimal_of(text)
        if number is None or number < 0:
            raise invalid(f"{key} {text!r} is not a number")
        return number

    def integer(self, key: str, default: int, valid: tuple[int, ...]) -> int:
        """A small whole number, written as one or as a text."""
        value = self._values.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 6:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in valid:
            raise invalid(f"{key} is not one of {', '.join(map(str, valid))}")
        return value

    def flag(self, key: str) -> bool:
        """A boolean, false where there is none."""
        value = self._values.get(key)
        if value is None or value == "":
            return False
        if value in ("true", "false"):
            return bool(value == "true")
        if not isinstance(value, bool):
            raise invalid(f"{key} must be true or false")
        return value

    def name(self, key: str, kind: type[_Name], default: _Name) -> _Name:
        """One of the names of an enumeration."""
        text = self.text(key)
        if not text:
            return default
        try:
            return kind(text)
        except ValueError:
            raise invalid(f"{key} {text!r} is not one of {', '.join(kind)}") from None


@dataclass(frozen=True, slots=True)
class OrderKey:
    """Which order is meant: by id, or by link id where that is empty."""

    category: Category
    symbol: str
    order_id: str
    link_id: str


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A new order; see the venue's :class:`~engine.venue.order.Order` for the fields' meanings.

    Attributes:
        quantity: 0 with ``reduce_only`` and ``close_on_trigger`` closes the whole position.
        trigger_direction: 1 rising, 2 falling, 0 not told.
        order_filter: spot: ``Order``, ``tpslOrder`` or ``StopOrder``; else empty.
        market_unit: ``baseCoin``, ``quoteCoin`` or empty.
        slippage: type and number.
    """

    category: Category
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal | None
    link_id: str
    position_index: int
    reduce_only: bool
    close_on_trigger: bool
    trigger_price: Decimal | None
    trigger_direction: int
    trigger_by: TriggerBy
    order_filter: str
    market_unit: str
    smp_type: SmpType
    protection: Protection
    slippage: tuple[str, Decimal] | None


@dataclass(frozen=True, slots=True)
class AmendRequest:
    """New values of an order; None leaves a value as it is. Of TP/SL, 0 removes.

    Attributes:
        is_partial: ``tpslMode``, which has to be what it is.
    """

    key: OrderKey
    quantity: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    take_profit: Decimal | None
    stop_loss: Decimal | None
    trigger_by: TriggerBy | None
    take_profit_by: TriggerBy | None
    stop_loss_by: TriggerBy | None
    take_profit_limit: Decimal | None
    stop_loss_limit: Decimal | None
    is_partial: bool | None

    @property
    def changes_protection(self) -> bool:
        """Whether it is about what the order brings to its position."""
        about = (
            self.take_profit,
            self.stop_loss,
            self.take_profit_by,
            self.stop_loss_by,
            self.take_profit_limit,
            self.stop_loss_limit,
        )
        return any(value is not None for value in about)


def read_category(fields: Fields) -> Category:
    """The category of a request.

    Raises:
        Refusal: 10001; none that orders are traded in.
    """
    text = fields.required("category")
    if text not in TRADED:
        raise invalid(f"category {text!r} is not one of {', '.join(TRADED)}")
    return Category(text)


def _link_id(fields: Fields) -> str:
    link_id = fields.text("orderLinkId")
    if link_id and not _LINK_ID.fullmatch(link_id):
        raise invalid("orderLinkId has at most 36 characters of A-Z, a-z, 0-9, - and _")
    return link_id


def order_key(fields: Fields) -> OrderKey:
    """Which order a request is about.

    Raises:
        Refusal: 10001.
    """
    category, symbol = read_category(fields), fields.required("symbol")
    key = OrderKey(category, symbol, fields.text("orderId"), fields.text("orderLinkId"))
    if not key.order_id and not key.link_id:
        raise invalid("orderId or orderLinkId is required")
    return key


_RENAMED: Final = {
    "newQty": "qty",
    "newPrice": "price",
    "newTriggerPrice": "triggerPrice",
}


def read_create(values: Mapping[str, Any]) -> CreateRequest:
    """Read ``order.create``'s object.

    Raises:
        Refusal: 10001, whatever cannot be understood.
    """
    fields = Fields(values)
    category = read_category(fields)
    symbol = fields.required("symbol")
    side = fields.name("side", Side, Side.BUY) if fields.required("side") else Side.BUY
    order_type = OrderType.LIMIT
    if fields.required("orderType"):
        order_type = fields.name("orderType", OrderType, OrderType.LIMIT)
    if fields.text("timeInForce") == "RPI":
        raise Refusal(110119, "Order failed. RPI orders are restricted to approved market makers only")
    time_in_force = fields.name("timeInForce", TimeInForce, TimeInForce.GTC)
    if order_type is OrderType.MARKET:
        time_in_force = TimeInForce.IOC
    quantity, price = fields.number("qty"), fields.number("price")
    if quantity is None:
        raise invalid("qty is required")
    if order_type is OrderType.LIMIT and not price:
        raise invalid("price is required for limit orders")
    link_id = _link_id(fields)
    if category is Category.OPTION and not link_id:
        raise invalid("orderLinkId is required for options")
    reduce_only = fields.flag("reduceOnly")
    protection = _protection(fields, category)
    if category is Category.SPOT:
        _no_contract_terms(fields, reduce_only, protection)
    if reduce_only and protection:
        raise invalid("reduceOnly orders cannot carry takeProfit or stopLoss")
    if fields.text("orderIv") or fields.text("bboSideType"):
        raise invalid("orderIv and bboSideType are not simulated: give a price")
    if fields.integer("isLeverage", 0, (0, 1)):
        raise invalid("spot margin is not simulated: isLeverage must be 0")
    order_filter = fields.text("orderFilter") if category is Category.SPOT else ""
    if order_filter not in ("", "Order", "tpslOrder", "StopOrder"):
        raise Refusal(170201, "Invalid orderFilter parameter")
    return CreateRequest(
        category=category,
        symbol=symbol,
        side=side,
        order_type=order_type,
        time_in_force=time_in_force,
        quantity=quantity,
        price=price if order_type is OrderType.LIMIT else None,
        link_id=link_id,
        position_index=fields.integer("positionIdx", 0, (0, 1, 2)),
        reduce_only=reduce_only,
        close_on_trigger=fields.flag("closeOnTrigger"),
        trigger_price=fields.number("triggerPrice") or None,
        trigger_direction=fields.integer("triggerDirection", 0, (1, 2)),
        trigger_by=fields.name("triggerBy", TriggerBy, TriggerBy.LAST),
        order_filter=order_filter,
        market_unit=fields.text("marketUnit"),
        smp_type=fields.name("smpType", SmpType, SmpType.NONE),
        protection=protection,
        slippage=_slippage(fields, order_type),
    )


def _no_contract_terms(fields: Fields, reduce_only: bool, protection: Protection) -> None:
    if reduce_only or fields.flag("closeOnTrigger"):
        raise invalid("reduceOnly and closeOnTrigger belong to derivatives")
    if protection:
        raise invalid("takeProfit and stopLoss of spot orders are not simulated: give orders of their own")
    if fields.integer("positionIdx", 0, (0, 1, 2)):
        raise invalid("positionIdx belongs to derivatives")


def _slippage(fields: Fields, order_type: OrderType) -> tuple[str, Decimal] | None:
    kind, number = fields.text("slippageToleranceType"), fields.number("slippageTolerance")
    if not kind and number is None:
        return None
    if order_type is not OrderType.MARKET or number is None:
        raise invalid("slippageTolerance belongs to market orders, with its type")
    if fields.number("triggerPrice"):
        raise invalid("slippageTolerance does not belong to conditional orders")
    if kind == "TickSize" and 1 <= number <= 10_000 and number == number.to_integral_value():
        return kind, number
    if kind == "Percent" and Decimal("0.01") <= number <= 10:
        return kind, number
    if kind == "TickSize":
        raise Refusal(110108, "Allowable range: 1 to 10000 tick size")
    if kind == "Percent":
        raise Refusal(110109, "Allowable range: 0.01% to 10%")
    raise invalid(f"slippageToleranceType {kind!r} is not one of TickSize, Percent")


def _protection(fields: Fields, category: Category) -> Protection:
    mode = fields.text("tpslMode", "Full") or "Full"
    if mode not in ("Full", "Partial"):
        raise invalid("tpslMode is not one of Full, Partial")
    limits = fields.number("tpLimitPrice"), fields.number("slLimitPrice")
    take_profit, stop_loss = fields.number("takeProfit") or None, fields.number("stopLoss") or None
    for key, limit in (("tpOrderType", limits[0]), ("slOrderType", limits[1])):
        kind = fields.name(key, OrderType, OrderType.MARKET)
        if kind is OrderType.LIMIT and (mode == "Full" or not limit):
            raise invalid(f"{key} Limit needs tpslMode Partial and a limit price")
    if category is Category.OPTION and mode == "Partial" and (take_profit or stop_loss):
        raise invalid("tpslMode of options is Full")
    return Protection(
        take_profit,
        stop_loss,
        fields.name("tpTriggerBy", TriggerBy, TriggerBy.LAST),
        fields.name("slTriggerBy", TriggerBy, TriggerBy.LAST),
        mode == "Partial",
        limits[0] if fields.text("tpOrderType") == OrderType.LIMIT else None,
        limits[1] if fields.text("slOrderType") == OrderType.LIMIT else None,
    )


def read_amend(values: Mapping[str, Any]) -> AmendRequest:
    """Read ``order.amend``'s object.

    Raises:
        Refusal: 10001, whatever cannot be understood; nothing to change included.
    """
    fields = Fields(values)
    for wrong, right in _RENAMED.items():
        if wrong in fields:
            raise invalid(f"{wrong} is no parameter of V5: it is called {right}")
    if fields.text("orderIv"):
        raise invalid("orderIv is not simulated: give a price")
    mode = fields.text("tpslMode")
    if mode not in ("", "Full", "Partial"):
        raise invalid("tpslMode is not one of Full, Partial")

    def by(key: str) -> TriggerBy | None:
        return fields.name(key, TriggerBy, TriggerBy.LAST) if key in fields else None

    request = AmendRequest(
        order_key(fields),
        fields.number("qty"),
        fields.number("price") or None,
        fields.number("triggerPrice") or None,
        fields.number("takeProfit"),
        fields.number("stopLoss"),
        by("triggerBy"),
        by("tpTriggerBy"),
        by("slTriggerBy"),
        fields.number("tpLimitPrice") or None,
        fields.number("slLimitPrice") or None,
        mode == "Partial" if mode else None,
    )
    new = (request.quantity, request.price, request.trigger_price, request.trigger_by)
    if all(value is None for value in new) and not request.changes_protection:
        raise invalid("nothing to amend: give qty, price, triggerPrice, takeProfit or stopLoss")
    return request
