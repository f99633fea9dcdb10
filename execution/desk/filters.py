"""What an instrument takes (instruments-info, section 6.2): rounding, and refusing before the wire.

Quantities are rounded down. Prices are rounded away from the market, a buy's down and a sell's up, so that rounding
never makes an order trade where it was not meant to; triggers are rounded to the nearest tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

import msgspec

from engine.venue.rules import ZERO, decimal_of, plain
from engine.venue.terms import Side, TimeInForce
from execution.desk.orders import Change, NewOrder, Refused
from schemas.errors import ExchangeError
from schemas.names import Category

__all__ = ["Filters", "parse_filters"]

_TRADES: Final = ("Trading", "PreLaunch", "")
_INVERSE, _POST_ONLY = Category.INVERSE, TimeInForce.POST_ONLY  # found sooner here than in their classes


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument's rules for orders; a maximum that is not announced is None.

    Attributes:
        quantity_step: ``qtyStep``, on spot ``basePrecision``.
        minimum_quantity: 0 on spot, where the amount decides.
        minimum_notional: ``minNotionalValue``, on spot ``minOrderAmt``; in the quote coin; 0 for none.
        maximum_post_only: of post-only orders, where they have one of their own.
    """

    category: Category
    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    tick_size: Decimal
    quantity_step: Decimal
    minimum_price: Decimal = ZERO
    maximum_price: Decimal | None = None
    minimum_quantity: Decimal = ZERO
    maximum_limit: Decimal | None = None
    maximum_market: Decimal | None = None
    maximum_post_only: Decimal | None = None
    minimum_notional: Decimal = ZERO

    @property
    def is_inverse(self) -> bool:
        """Whether quantities are USD and values are coins."""
        return self.category is Category.INVERSE

    def notional(self, price: Decimal, quantity: Decimal) -> Decimal:
        """What an order is worth in the quote coin; contracts of inverse instruments are worth a dollar each."""
        return quantity if self.is_inverse else price * quantity

    def round_price(self, price: Decimal, side: Side) -> Decimal:
        """The tick at or beside a price on the side away from the market."""
        ticks = price // self.tick_size  # exact, however many digits; a quotient would be rounded
        if side is Side.SELL and price % self.tick_size:
            ticks += 1
        return ticks * self.tick_size

    def round_trigger(self, price: Decimal) -> Decimal:
        """The nearest tick."""
        return (price / self.tick_size).to_integral_value(ROUND_HALF_EVEN) * self.tick_size

    def round_quantity(self, quantity: Decimal) -> Decimal:
        """The largest multiple of the step that is not above a quantity."""
        return quantity // self.quantity_step * self.quantity_step

    def rounded(self, order: NewOrder) -> NewOrder:
        """Return an order in whole ticks and steps, the same object where it already is."""
        changes: dict[str, Any] = {}
        if order.price is not None and order.price % self.tick_size:
            changes["price"] = self.round_price(order.price, order.side)
        if not order.in_quote_coin and order.quantity % self.quantity_step:
            changes["quantity"] = self.round_quantity(order.quantity)
            if not changes["quantity"]:
                raise Refused(
                    "quantity",
                    f"{plain(order.quantity)} {self.symbol} is less than one step of {plain(self.quantity_step)}",
                )
        if order.trigger_price is not None or order.take_profit is not None or order.stop_loss is not None:
            for name in ("trigger_price", "take_profit", "stop_loss", "take_profit_limit", "stop_loss_limit"):
                value = getattr(order, name)
                if value is not None and value % self.tick_size:
                    changes[name] = self.round_trigger(value)
        if not changes:
            return order
        for name in changes:
            if name != "quantity" and not changes[name]:
                raise Refused(name.replace("_", " "), f"less than one tick of {plain(self.tick_size)}")
        return msgspec.structs.replace(order, **changes)

    def rounded_change(self, change: Change, side: Side) -> Change:
        """The same for a change of an order of this side."""
        values = {
            "price": None if change.price is None else self.round_price(change.price, side),
            "quantity": None if change.quantity is None else self.round_quantity(change.quantity),
        }
        for name in ("trigger_price", "take_profit", "stop_loss"):
            value = getattr(change, name)
            values[name] = None if value is None else self.round_trigger(value)
        return Change(**values)

    def check(self, order: NewOrder, reference: Decimal | None) -> None:
        """Hold a rounded order against the filters.

        Args:
            reference: a price of the market, for what a market order is worth; None where there is none.

        Raises:
            Refused: with the rule, what was found and what is allowed.
        """
        if self.status not in _TRADES:
            raise Refused("status", f"{self.symbol} is {self.status}, only Trading takes orders")
        price, quantity = order.price, order.quantity
        if price is not None:
            self._check_price(price)
        if not quantity or order.in_quote_coin:
            if order.in_quote_coin and quantity < self.minimum_notional:
                raise self._too_small(quantity)
            return
        if quantity < self.minimum_quantity:
            raise self._too_few(quantity)
        most = self.maximum_market if price is None else self.maximum_limit
        if order.time_in_force is _POST_ONLY and self.maximum_post_only is not None:
            most = self.maximum_post_only
        if most is not None and quantity > most:
            raise Refused(
                "maximum quantity",
                f"{self.symbol}: {plain(quantity)}, at most {plain(most)} of such an order is taken: split it",
            )
        if price is None:
            price = reference
        if price is not None and not order.reduce_only:
            worth = quantity if self.category is _INVERSE else price * quantity
            if worth < self.minimum_notional:
                raise self._too_small(worth)

    def check_change(self, change: Change) -> None:
        """Hold a rounded change against the filters. Raises as `check` does."""
        if change.price is not None:
            self._check_price(change.price)
        if change.quantity is not None and change.quantity < self.minimum_quantity:
            raise self._too_few(change.quantity)

    def _too_small(self, worth: Decimal) -> Refused:
        return Refused(
            "minimum notional",
            f"{self.symbol}: worth {plain(worth)} {self.quote_coin}, at least {plain(self.minimum_notional)} is taken",
        )

    def _too_few(self, quantity: Decimal) -> Refused:
        return Refused(
            "minimum quantity",
            f"{self.symbol}: {plain(quantity)}, at least {plain(self.minimum_quantity or self.quantity_step)} is taken",
        )

    def _check_price(self, price: Decimal) -> None:
        if price < self.minimum_price or (self.maximum_price is not None and price > self.maximum_price):
            most = "any" if self.maximum_price is None else plain(self.maximum_price)
            raise Refused(
                "price", f"{self.symbol}: {plain(price)}, expected {plain(self.minimum_price)} to {most}"
            )


def _part(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = row.get(name)
    return part if isinstance(part, Mapping) else {}


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _positive(part: Mapping[str, Any], *names: str) -> Decimal | None:
    """The first of some names that holds a positive number."""
    for name in names:
        number = decimal_of(part.get(name))
        if number is not None and number > 0:
            return number
    return None


def parse_filters(category: Category, row: Mapping[str, Any]) -> Filters:
    """Read a row of instruments-info.

    Raises:
        ExchangeError: no symbol, tick size or quantity step, without which nothing can be rounded.
    """
    prices, lots = _part(row, "priceFilter"), _part(row, "lotSizeFilter")
    symbol = _text(row, "symbol")
    tick, step = _positive(prices, "tickSize"), _positive(lots, "qtyStep", "basePrecision")
    if not symbol or tick is None or step is None:
        raise ExchangeError(
            f"instruments-info of {category.value} {symbol[:64] or 'without a symbol'}: expected symbol, tickSize and "
            f"{'basePrecision' if category is Category.SPOT else 'qtyStep'}, without which no order can be rounded"
        )
    quote = _text(row, "quoteCoin")
    shared: dict[str, Any] = {
        "category": category,
        "symbol": symbol,
        "status": _text(row, "status"),
        "base_coin": _text(row, "baseCoin"),
        "quote_coin": quote,
        "settle_coin": _text(row, "settleCoin") or quote,
        "tick_size": tick,
        "quantity_step": step,
        "minimum_price": _positive(prices, "minPrice") or tick,
        "maximum_price": _positive(prices, "maxPrice"),
    }
    if category is Category.SPOT:
        # minOrderQty, maxOrderQty and maxOrderAmt are deprecated on spot (section 6.2)
        return Filters(
            **shared,
            maximum_limit=_positive(lots, "maxLimitOrderQty"),
            maximum_market=_positive(lots, "maxMarketOrderQty"),
            maximum_post_only=_positive(lots, "postOnlyMaxLimitOrderSize"),
            minimum_notional=_positive(lots, "minOrderAmt") or ZERO,
        )
    most = _positive(lots, "maxOrderQty")
    return Filters(
        **shared,
        minimum_quantity=_positive(lots, "minOrderQty") or step,
        maximum_limit=most,
        maximum_market=_positive(lots, "maxMktOrderQty") or most,
        minimum_notional=_positive(lots, "minNotionalValue") or ZERO,
    )
