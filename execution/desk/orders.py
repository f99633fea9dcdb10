"""What can be asked for: new orders, changes and cancels, and their objects on the wire (protocol section 6.4).

REST and the trade socket take the same objects. What the exchange would refuse whatever the market does is refused
here, when the request is made; what depends on the instrument is in `execution.desk.filters`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.venue.rules import plain
from engine.venue.terms import OrderType, Side, SmpType, TimeInForce, TriggerBy
from execution.desk.link_ids import is_link_id
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = [
    "CATEGORIES",
    "Change",
    "NewOrder",
    "OrderKey",
    "OrderType",
    "Refused",
    "Side",
    "SmpType",
    "TimeInForce",
    "TriggerBy",
]

CATEGORIES: Final = (Category.SPOT, Category.LINEAR, Category.INVERSE, Category.OPTION)
"""What orders can be placed in; spread combinations have no order entry here (section 1.1)."""

_RISES: Final = (1, 2)
_SPOT, _NO_SMP = Category.SPOT, SmpType.NONE  # found sooner here than in their classes
_TEXTS: Final[dict[str, str]] = {
    member: member.value for kind in (Category, Side, TimeInForce) for member in kind
}
"""The wire's words, which a dictionary finds sooner than a member's ``value`` does."""
_MAXIMUM_MAGNITUDE: Final = 18
_KINDS: Final[dict[type, str]] = {bool: "True or False", int: "a whole number", str: "a text"}


def _is_sensible(number: Decimal) -> bool:
    """Exact, positive, finite, and of a size that every later step can hold exactly."""
    return (
        isinstance(number, Decimal)
        and number.is_finite()
        and number > 0
        and abs(number.adjusted()) <= _MAXIMUM_MAGNITUDE
    )


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _is_zero(number: object) -> bool:
    """An exact 0: neither False nor 0.0."""
    return type(number) in (int, Decimal) and number == 0


def _of_another_type(name: str, value: object, kind: type) -> Refused:
    return Refused(
        name, f"{ascii(value)[:80]} is a {type(value).__name__}: expected {_KINDS.get(kind, kind.__name__)}"
    )


def _inexact(name: str, value: object) -> Refused | None:
    """What is wrong with a number that isn't exact; None where it is a Decimal."""
    if isinstance(value, Decimal):
        return None
    return Refused(
        name, f"{value!r} is a {type(value).__name__}: give a Decimal made of a text, such as Decimal('0.01'), "
        "as prices and quantities are exact",
    )  # fmt: skip


class Refused(ConfigError):
    """A request that was not sent, and why: nothing of it is on its way to the exchange.

    Args:
        rule: short name of what stood against it, such as ``tick size`` or ``price collar``.
        words: what was found, what is allowed, what to do.
    """

    def __init__(self, rule: str, words: str) -> None:
        super().__init__(f"not sent ({rule}): {words}")
        self.rule = rule
        self.words = words


class OrderKey(msgspec.Struct, frozen=True, gc=False):
    """Which order is meant: by the exchange's id, or by ours where that is empty."""

    category: Category
    symbol: str
    order_id: str = ""
    link_id: str = ""

    def check(self) -> None:
        """Hold it against what a key has. Not done when it is made, as each row of the exchange makes one.

        Raises:
            Refused: it names no order, or has values of other types.
        """
        if not isinstance(self.category, Category) or self.category not in CATEGORIES:
            names = ", ".join(f"Category.{member.name}" for member in CATEGORIES)
            raise Refused("category", f"{self.category!r}: orders are placed in {names}")
        for name, value in (
            ("symbol", self.symbol),
            ("order id", self.order_id),
            ("orderLinkId", self.link_id),
        ):
            if not isinstance(value, str):
                raise _of_another_type(name, value, str)
        if not self.symbol or not (self.order_id or self.link_id):
            raise Refused(
                "order key", f"{self}: expected a symbol, and its order_id or link_id, as ticket.key has"
            )

    def fields(self) -> dict[str, Any]:
        """The object of ``order.cancel``; one id, as the exchange would only look at one."""
        name, value = ("orderId", self.order_id) if self.order_id else ("orderLinkId", self.link_id)
        return {"category": self.category.value, "symbol": self.symbol, name: value}


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order to place. Prices and quantities are exact; no price means a market order.

    Attributes:
        quantity: base coins or contracts; with ``in_quote_coin``, quote coins of a spot market order.
        link_id: our key of it; empty: one is given when it is placed.
        position_index: 0 one-way, 1 and 2 the buy and the sell side of hedge mode.
        trigger_price: makes it conditional; contracts also need ``trigger_rises``.
        trigger_rises: whether the price has to rise to the trigger (else to fall).
        take_profit, stop_loss: of the position that it opens; with a limit price of their own, for its quantity only.
        slippage_ticks: how far a market order may go, 1 to 10000 ticks.

    Raises:
        Refused: terms that contradict each other, or that the category doesn't have.
    """

    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    link_id: str = ""
    position_index: int = 0
    reduce_only: bool = False
    close_on_trigger: bool = False
    trigger_price: Decimal | None = None
    trigger_rises: bool | None = None
    trigger_by: TriggerBy = TriggerBy.LAST
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit_by: TriggerBy = TriggerBy.LAST
    stop_loss_by: TriggerBy = TriggerBy.LAST
    take_profit_limit: Decimal | None = None
    stop_loss_limit: Decimal | None = None
    in_quote_coin: bool = False
    smp_type: SmpType = SmpType.NONE
    slippage_ticks: int | None = None

    def __post_init__(self) -> None:
        for value, kind in (
            (self.category, Category),
            (self.side, Side),
            (self.time_in_force, TimeInForce),
            (self.smp_type, SmpType),
            (self.trigger_by, TriggerBy),
            (self.take_profit_by, TriggerBy),
            (self.stop_loss_by, TriggerBy),
        ):
            if not isinstance(value, kind):
                names = ", ".join(f"{kind.__name__}.{member.name}" for member in kind)
                raise Refused(kind.__name__, f"{value!r} is a {type(value).__name__}: give one of {names}")
        if not (
            isinstance(self.symbol, str)
            and isinstance(self.link_id, str)
            and _is_whole(self.position_index)
            and type(self.reduce_only) is bool
            and type(self.close_on_trigger) is bool
            and type(self.in_quote_coin) is bool
            and (self.trigger_rises is None or type(self.trigger_rises) is bool)
            and (self.slippage_ticks is None or _is_whole(self.slippage_ticks))
        ):
            raise self._mistyped()
        if self.category not in CATEGORIES:
            raise Refused("category", f"{self.category.value}: orders are placed in {', '.join(CATEGORIES)}")
        if not self.symbol.isascii() or not 0 < len(self.symbol) <= 64 or self.symbol != self.symbol.upper():
            raise Refused("symbol", f"{self.symbol[:80]!r}: expected one such as BTCUSDT, in upper case")
        if self.link_id and not is_link_id(self.link_id):
            raise Refused(
                "orderLinkId", f"{self.link_id[:60]!r}: expected 1 to 36 characters of A-Z, a-z, 0-9, - and _"
            )
        is_closing_all = self.reduce_only and self.close_on_trigger
        if not (_is_sensible(self.quantity) or (is_closing_all and _is_zero(self.quantity))):
            raise _inexact("quantity", self.quantity) or Refused(
                "quantity", f"{self.quantity}: expected a positive one (0 closes a whole position, with "
                "reduce_only and close_on_trigger)",
            )  # fmt: skip
        for name in (
            "price",
            "trigger_price",
            "take_profit",
            "stop_loss",
            "take_profit_limit",
            "stop_loss_limit",
        ):
            value = getattr(self, name)
            if value is not None and not _is_sensible(value):
                short = name.replace("_", " ")
                raise _inexact(short, value) or Refused(short, f"{value}: expected a positive one, or none")
        if self.position_index not in (0, 1, 2):
            raise Refused("position index", f"{self.position_index}: 0 one-way, 1 buy side, 2 sell side")
        self._check_terms()

    def _mistyped(self) -> Refused:
        """Which value is of another type than it has to be: what is true enough for Python may mean the opposite."""
        for name, kind, is_optional in (
            ("symbol", str, False),
            ("link_id", str, False),
            ("position_index", int, False),
            ("reduce_only", bool, False),
            ("close_on_trigger", bool, False),
            ("in_quote_coin", bool, False),
            ("trigger_rises", bool, True),
            ("slippage_ticks", int, True),
        ):
            value = getattr(self, name)
            is_right = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
            if not is_right and not (is_optional and value is None):
                return _of_another_type(name.replace("_", " "), value, kind)
        raise AssertionError(f"{self!r}: nothing is of another type")

    def _check_terms(self) -> None:
        protects = self.take_profit is not None or self.stop_loss is not None
        if self.price is None and self.time_in_force not in (TimeInForce.GTC, TimeInForce.IOC):
            raise Refused(
                "time in force", f"a market order is IOC, not {self.time_in_force.value}: give a price"
            )
        if self.reduce_only and protects:
            raise Refused("reduce only", "it cannot carry take profit or stop loss: set them on the position")
        if self.take_profit_limit is not None and self.take_profit is None:
            raise Refused("take profit limit", "there is no take profit that it belongs to")
        if self.stop_loss_limit is not None and self.stop_loss is None:
            raise Refused("stop loss limit", "there is no stop loss that it belongs to")
        if self.slippage_ticks is not None and (
            self.price is not None or not 1 <= self.slippage_ticks <= 10_000
        ):
            raise Refused("slippage", f"{self.slippage_ticks}: 1 to 10000 ticks, of a market order")
        if self.category is Category.SPOT:
            if self.reduce_only or self.close_on_trigger or self.position_index:
                raise Refused("spot", "reduce_only, close_on_trigger and position_index belong to contracts")
            if self.trigger_rises is not None:
                raise Refused("spot", "trigger_rises belongs to contracts: spot looks at the price by itself")
        elif self.trigger_price is not None and self.trigger_rises is None:
            raise Refused("trigger", "contracts need trigger_rises: whether the price rises or falls to it")
        if self.in_quote_coin and (self.category is not Category.SPOT or self.price is not None):
            raise Refused("quote coin", "only spot market orders have a quantity in the quote coin")
        if self.category is Category.OPTION and (self.take_profit_limit or self.stop_loss_limit):
            raise Refused("option", "take profit and stop loss of options are market orders")

    @property
    def order_type(self) -> OrderType:
        """Limit with a price, market without."""
        return OrderType.MARKET if self.price is None else OrderType.LIMIT

    @property
    def key(self) -> OrderKey:
        """By which it is found again."""
        return OrderKey(self.category, self.symbol, "", self.link_id)

    def fields(self) -> dict[str, Any]:
        """The object of ``order.create``: what is not said has the exchange's default."""
        fields: dict[str, Any] = {
            "category": _TEXTS[self.category],
            "symbol": self.symbol,
            "side": _TEXTS[self.side],
            "orderType": "Limit",
            "qty": plain(self.quantity),
        }
        if self.price is None:
            fields["orderType"] = "Market"
            fields["timeInForce"] = "IOC"
        else:
            fields["price"] = plain(self.price)
            fields["timeInForce"] = _TEXTS[self.time_in_force]
        if self.link_id:
            fields["orderLinkId"] = self.link_id
        if self.category is _SPOT:
            if self.price is None:
                # said always, as a buy's default is the quote coin (section 6.4)
                fields["marketUnit"] = "quoteCoin" if self.in_quote_coin else "baseCoin"
        elif self.position_index:
            fields["positionIdx"] = self.position_index
        if self.reduce_only:
            fields["reduceOnly"] = True
        if self.close_on_trigger:
            fields["closeOnTrigger"] = True
        if self.trigger_price is not None:
            self._add_trigger(fields)
        if self.take_profit is not None or self.stop_loss is not None:
            self._add_protection(fields)
        if self.smp_type is not _NO_SMP:
            fields["smpType"] = self.smp_type.value
        if self.slippage_ticks is not None:
            fields["slippageToleranceType"] = "TickSize"
            fields["slippageTolerance"] = str(self.slippage_ticks)
        return fields

    def _add_trigger(self, fields: dict[str, Any]) -> None:
        assert self.trigger_price is not None
        fields["triggerPrice"] = plain(self.trigger_price)
        if self.category is Category.SPOT:
            fields["orderFilter"] = "StopOrder"
            return
        fields["triggerDirection"] = _RISES[0] if self.trigger_rises else _RISES[1]
        fields["triggerBy"] = self.trigger_by.value

    def _add_protection(self, fields: dict[str, Any]) -> None:
        is_partial = self.take_profit_limit is not None or self.stop_loss_limit is not None
        if self.category is not Category.SPOT:
            fields["tpslMode"] = "Partial" if is_partial else "Full"
        for price, limit, name, short, by in (
            (self.take_profit, self.take_profit_limit, "takeProfit", "tp", self.take_profit_by),
            (self.stop_loss, self.stop_loss_limit, "stopLoss", "sl", self.stop_loss_by),
        ):
            if price is None:
                continue
            fields[name] = plain(price)
            fields[f"{short}OrderType"] = "Market" if limit is None else "Limit"
            if limit is not None:
                fields[f"{short}LimitPrice"] = plain(limit)
            if self.category is not Category.SPOT:
                fields[f"{short}TriggerBy"] = by.value


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """New values of an open order; None leaves one as it is, 0 removes a take profit or stop loss.

    Raises:
        Refused: nothing would change, or a value that no order has.
    """

    quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in self.__struct_fields__):
            raise Refused("change", "it changes nothing: give a quantity, a price or a trigger")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            least_is_zero = name in ("take_profit", "stop_loss")
            if value is not None and not (_is_sensible(value) or (least_is_zero and _is_zero(value))):
                short = name.replace("_", " ")
                raise _inexact(short, value) or Refused(short, f"{value}: expected a positive one, or none")

    def wire(self) -> dict[str, str]:
        """The changed values under the names of the wire, which are those of a new order."""
        return {
            name: plain(value)
            for name, value in (
                ("qty", self.quantity),
                ("price", self.price),
                ("triggerPrice", self.trigger_price),
                ("takeProfit", self.take_profit),
                ("stopLoss", self.stop_loss),
            )
            if value is not None
        }
