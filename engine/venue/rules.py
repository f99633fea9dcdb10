"""What may be traded of an instrument, at which price and size, for which fee."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation
from typing import Final

from engine.market import Instrument
from engine.venue import refusals
from engine.venue.terms import OrderType, Side
from schemas.names import Category

__all__ = ["PRICE_BAND", "ZERO", "TradingRules", "decimal_of", "plain", "rules_of", "settled"]

ZERO: Final = Decimal(0)
PRICE_BAND: Final = Decimal("0.05")
"""How far from the market a limit may lie, and how far a market order goes."""
_SCALE: Final = Decimal("1e-12")
_CONTEXT: Final = Context(prec=60)
_MAX_CHARACTERS: Final = 32
_MAX_DIGITS: Final = 15
"""Digits before, and decimals behind the point twenty: what is divided by a tick stays exact."""
_MAX_DECIMALS: Final = 20
_FEES: Final = {
    Category.SPOT: (Decimal("0.001"), Decimal("0.001")),
    Category.LINEAR: (Decimal("0.0002"), Decimal("0.00055")),
    Category.INVERSE: (Decimal("0.0002"), Decimal("0.00055")),
    Category.OPTION: (Decimal("0.0002"), Decimal("0.0003")),
}
"""Maker's and taker's fee rate of a category."""


def settled(amount: Decimal) -> Decimal:
    """Round an amount of money to twelve decimals, half to even: everything that is booked went through here."""
    return amount.quantize(_SCALE, context=_CONTEXT)


def plain(number: Decimal) -> str:
    """Write a number as the exchange does: no exponent, no trailing zeros."""
    text = str(number)
    if "E" in text:
        text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def decimal_of(text: object) -> Decimal | None:
    """Read a decimal text; None for anything that is no finite number, or longer than any sensible one."""
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_CHARACTERS or not text.isascii():
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or "_" in text or (number and number.adjusted() >= _MAX_DIGITS):
        return None
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -_MAX_DECIMALS <= exponent <= _MAX_DIGITS:
        return None
    return number


@dataclass(frozen=True, slots=True)
class TradingRules:
    """An instrument as orders meet it; numbers are exact.

    Attributes:
        quantity_step: ``qtyStep``, on spot ``basePrecision``.
        maximum_limit, maximum_market: largest quantity of an order of each type.
        minimum_notional: smallest price times quantity, in the quote coin (USD on inverse); 0 for none.
        maker_fee, taker_fee: shares of the value.
    """

    category: Category
    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    tick_size: Decimal
    minimum_price: Decimal
    maximum_price: Decimal
    quantity_step: Decimal
    minimum_quantity: Decimal
    maximum_limit: Decimal
    maximum_market: Decimal
    minimum_notional: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    maximum_leverage: Decimal = Decimal(100)

    @property
    def is_spot(self) -> bool:
        """Whether coins change hands, rather than a position."""
        return self.category is Category.SPOT

    @property
    def is_inverse(self) -> bool:
        """Whether quantities are USD and values are coins."""
        return self.category is Category.INVERSE

    def value(self, price: Decimal, quantity: Decimal) -> Decimal:
        """What a quantity is worth at a price, in the coin that settles it."""
        return settled(quantity / price) if self.is_inverse else settled(price * quantity)

    def exact_value(self, price: Decimal, quantity: Decimal) -> Decimal:
        """The same before it is rounded to what can be booked: averages are taken of this."""
        return _CONTEXT.divide(quantity, price) if self.is_inverse else _CONTEXT.multiply(price, quantity)

    def average(self, quantity: Decimal, exact_value: Decimal) -> Decimal:
        """The price at which a quantity above 0 has an exact value."""
        ratio = (quantity, exact_value) if self.is_inverse else (exact_value, quantity)
        return settled(_CONTEXT.divide(*ratio))

    def fee_rate(self, *, maker: bool) -> Decimal:
        """Share of the value that is charged."""
        return self.maker_fee if maker else self.taker_fee

    def rounded_down(self, quantity: Decimal) -> Decimal:
        """The largest multiple of the step that is not above a quantity."""
        return (quantity / self.quantity_step).to_integral_value(ROUND_DOWN) * self.quantity_step

    def check_price(self, price: Decimal) -> None:
        """Hold a limit price against the filter.

        Raises:
            Refusal: off the tick, or beyond minimum or maximum.
        """
        if price < self.minimum_price or price > self.maximum_price:
            raise refusals.price_beyond(self.category, high=price > self.maximum_price)
        if price % self.tick_size:
            raise refusals.price_step(self.category, self.tick_size)

    def check_quantity(self, quantity: Decimal, order_type: OrderType) -> None:
        """Hold a quantity against the filter.

        Raises:
            Refusal: off the step, below the minimum or above the maximum.
        """
        if quantity <= 0 or quantity < self.minimum_quantity:
            raise refusals.quantity_minimum(self.category)
        if quantity > (self.maximum_limit if order_type is OrderType.LIMIT else self.maximum_market):
            raise refusals.quantity_maximum(self.category)
        if quantity % self.quantity_step:
            raise refusals.quantity_step(self.category, self.quantity_step)

    def check_notional(self, price: Decimal, quantity: Decimal) -> None:
        """Hold an order's worth against the minimum.

        Raises:
            Refusal: below it.
        """
        worth = quantity if self.is_inverse else price * quantity
        if worth < self.minimum_notional:
            raise refusals.notional(self.category, self.minimum_notional)

    def band(self, reference: Decimal, side: Side, share: Decimal = PRICE_BAND) -> Decimal:
        """The furthest price at which a side may trade, so far from a reference price, on the tick."""
        far = reference * (1 + share * side.sign)
        ticks = (far / self.tick_size).to_integral_value(ROUND_DOWN)
        return max(self.minimum_price, ticks * self.tick_size)


def rules_of(instrument: Instrument) -> TradingRules:
    """The rules of an instrument, as the gateway's instruments-info tells them.

    Raises:
        ValueError: a spread combination, which this venue does not trade.
    """
    category = instrument.category
    if category is Category.SPREAD:
        raise ValueError(f"{instrument.symbol}: spread combinations are not traded here")
    maker, taker = _FEES[category]
    tick, step = Decimal(instrument.tick_size), Decimal(instrument.size_step)
    is_option, is_spot = category is Category.OPTION, category is Category.SPOT
    return TradingRules(
        category=category,
        symbol=instrument.symbol,
        base_coin=instrument.base_coin,
        quote_coin=instrument.quote_coin,
        settle_coin=instrument.quote_coin if is_spot else instrument.settle_coin,
        tick_size=tick,
        minimum_price=tick,
        maximum_price=Decimal(10_000_000 if is_option else 1_999_999),
        quantity_step=step,
        minimum_quantity=step,
        maximum_limit=Decimal(500 if is_option else 17_000_000),
        maximum_market=Decimal(500 if is_option else 8_500_000),
        minimum_notional=ZERO if is_option else Decimal(5),
        maker_fee=maker,
        taker_fee=taker,
        maximum_leverage=Decimal(1 if is_option or is_spot else 100),
    )
