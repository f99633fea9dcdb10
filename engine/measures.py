"""What the measures of a book take and give: results as named tuples, widths in basis points, exact decimals.

Mantissas are whole numbers at the book's exponents: value = mantissa x 10^exponent. Formulae, sources and the answers
for odd books are in docs/books.md.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Context, Decimal, Inexact, InvalidOperation
from operator import index
from typing import Final, Literal, NamedTuple, SupportsIndex

from engine.core.decimals import parse_decimal
from schemas.errors import DecimalError

__all__ = [
    "Changes",
    "Fill",
    "Level",
    "LevelChange",
    "Profile",
    "Sides",
    "decimal_of",
    "mantissa_at",
    "micro_bps",
    "spread_bps",
]

_MAX: Final = 2**63 - 1
_MICRO: Final = 1_000_000
# Wide enough for every mantissa; anything that would be rounded is an error.
_EXACT: Final = Context(prec=64, traps=[Inexact, InvalidOperation])


class Level(NamedTuple):
    """A level: price and size mantissas."""

    price: int
    size: int


class Sides(NamedTuple):
    """One sum of sizes for each side, in size mantissas (beyond int64 where many large sizes add up)."""

    bids: int
    asks: int


class Profile(NamedTuple):
    """Sums of sizes by distance from the mid, nearest first, in size mantissas."""

    bids: list[int]
    asks: list[int]


class Fill(NamedTuple):
    """What walking a side of the book brings.

    Attributes:
        filled: size mantissa; less than asked for when the levels that readers see don't hold it.
        notional: sum of price x size, exact, at price exponent + size exponent.
        average_price: notional / filled as a price mantissa with fractions; None when nothing was filled.
        worst_price: price mantissa of the last level touched; None when nothing was filled.
        touched: levels taken from.
        complete: what was asked for ended the walk, not the levels.
    """

    filled: int
    notional: int
    average_price: float | None
    worst_price: int | None
    touched: int
    complete: bool


class LevelChange(NamedTuple):
    """One level that a message changes.

    Attributes:
        side: ``bid`` or ``ask``.
        price: mantissa.
        before, after: size mantissas; 0 where there is no level.
        place: how many levels of its side, as the book was, are better; 0 is the best.
    """

    side: Literal["bid", "ask"]
    price: int
    before: int
    after: int
    place: int


class Changes(NamedTuple):
    """Everything a message changes, bids first, each side best first, and the exponents of its mantissas."""

    price_exponent: int
    size_exponent: int
    levels: list[LevelChange]


def mantissa_at(value: SupportsIndex | Decimal | str, exponent: int) -> int:
    """Return ``value`` as a mantissa at ``exponent``: value = mantissa x 10^exponent, exactly.

    Text follows the grammar of ``engine.core.decimals.parse_decimal``.

    Raises:
        DecimalError: not a finite number, more decimals than the exponent has, or beyond int64.
        TypeError: anything else, floats included.
    """
    if isinstance(value, str):
        mantissa, decimals = parse_decimal(value)
        number = Decimal(f"{mantissa}E-{decimals}")
    elif isinstance(value, Decimal):
        number = value
    else:
        number = Decimal(index(value))
    try:
        scaled = number.scaleb(-exponent, _EXACT)
    except (Inexact, InvalidOperation):
        scaled = Decimal("NaN")
    if not scaled.is_finite() or not -_MAX <= scaled <= _MAX or scaled != scaled.to_integral_value():
        raise DecimalError(
            f"found {value}, expected at most {-exponent} decimals and a mantissa that int64 can hold"
        )
    return int(scaled)


def decimal_of(mantissa: SupportsIndex, exponent: int) -> Decimal:
    """Return mantissa x 10^exponent, exactly, whatever its count of digits."""
    return Decimal(f"{index(mantissa)}E{exponent}")


def micro_bps(bps: SupportsIndex | float | Decimal) -> int:
    """Return a width in basis points as whole millionths of one.

    A float stands for the multiple of a millionth whose nearest float it is: 0.3 is three tenths.

    Raises:
        ValueError: negative, not finite, finer than a millionth, or beyond int64 in millionths (9.2e12 bps).
        TypeError: not a number.
    """
    count = -1
    if isinstance(bps, float):
        nearest = round(bps * _MICRO) if 0 <= bps <= _MAX // _MICRO else -1
        if nearest / _MICRO == bps:
            count = nearest
    elif isinstance(bps, Decimal):
        with suppress(DecimalError):
            count = mantissa_at(bps, -6)
    else:
        count = index(bps) * _MICRO
    if not 0 <= count <= _MAX:
        raise ValueError(f"found {bps} bps, expected a multiple of 0.000001 from 0 to 9.2e12")
    return count


def spread_bps(bid: SupportsIndex, ask: SupportsIndex) -> float | None:
    """Return the spread in basis points of the middle; None where the middle is 0.

    Prices of the ``spread`` category may be below 0: what counts is how far the middle is from 0, so that only a
    crossed book has a negative spread.
    """
    low, high = index(bid), index(ask)
    return (high - low) * 20_000 / abs(high + low) if high + low else None
