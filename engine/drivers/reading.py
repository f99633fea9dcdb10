"""JSON as drivers read it: known keys once, numbers as written, never a float; wrong input is `UndecodableError`."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final

from engine.drivers.base import UndecodableError

__all__ = ["Fields", "read_object"]

LAST_MS: Final = 253_402_300_799_999
"""9999-12-31, the last date that calendars agree on."""
MOST_TEXT: Final = 65_536
MOST_SYMBOL: Final = 64
MOST_ITEMS: Final = 65_536
_DECIMALS: Final = Decimal("1e-18")
_WHOLE_DIGITS: Final = 20
_EXACT: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)


class _Number(str):
    """A JSON number as written."""

    __slots__ = ()


class Fields:
    """One JSON object.

    Every method that reads a key raises UndecodableError when it isn't there or isn't what it has to be.
    """

    __slots__ = ("_twice", "_values")

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self._values = dict(pairs)
        self._twice: set[str] = set()
        if len(self._values) != len(pairs):
            seen: set[str] = set()
            self._twice = {key for key, _ in pairs if key in seen or seen.add(key)}  # type: ignore[func-returns-value]

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def unknown(self, known: frozenset[str]) -> int:
        """How many keys there are beside the known ones, each of which may come once."""
        if not known.isdisjoint(self._twice):
            raise UndecodableError("duplicate_key")
        return len(self._values.keys() - known)

    def _get(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise UndecodableError("missing_key") from None

    def text(self, key: str, most: int = MOST_TEXT) -> str:
        """Text that can be stored, of at most so many characters."""
        value = self._get(key)
        if type(value) is not str:
            raise UndecodableError("wrong_type")
        if len(value) > most or not _is_storable(value):
            raise UndecodableError("bad_value")
        return value

    def symbol(self, key: str) -> str:
        """A symbol: text of 1 to 64 characters."""
        value = self.text(key, MOST_SYMBOL)
        if not value:
            raise UndecodableError("bad_value")
        return value

    def choice(self, key: str, choices: dict[str, str]) -> str:
        """What a text stands for."""
        value = choices.get(self.text(key))
        if value is None:
            raise UndecodableError("bad_value")
        return value

    def decimal(self, key: str) -> Decimal | None:
        """A number for DECIMAL(38,18), written as text or bare; None for "".

        Text has to fit exactly. What comes bare was a binary float on its way: it is taken as its digits say, rounded
        where they go beyond 18 decimals.
        """
        value = self._get(key)
        if type(value) is _Number:
            return _bare_decimal(value)
        if type(value) is not str:
            raise UndecodableError("wrong_type")
        return None if value == "" else _exact_decimal(value)

    def milliseconds(self, key: str) -> int:
        """A clock of the exchange."""
        return _integer(self._get(key), LAST_MS)

    def milliseconds_or_none(self, key: str) -> int | None:
        """The same where it comes as text; None for ""."""
        value = self._get(key)
        if type(value) is str:
            if value == "":
                return None
            value = _Number(value)
        return _integer(value, LAST_MS)

    def number(self, key: str, most: int) -> int:
        """An integer in 0..most, bare or as text."""
        value = self._get(key)
        return _integer(_Number(value) if type(value) is str else value, most)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        if type(value) is not bool:
            raise UndecodableError("wrong_type")
        return value

    def numbers(self, key: str, most: int) -> list[int]:
        """An array of integers in 0..most."""
        return [_integer(value, most) for value in self._items(key)]

    def object(self, key: str) -> Fields:
        """An object."""
        value = self._get(key)
        if type(value) is not Fields:
            raise UndecodableError("wrong_type")
        return value

    def objects(self, key: str) -> list[Fields]:
        """An array of objects."""
        items = self._items(key)
        if any(type(item) is not Fields for item in items):
            raise UndecodableError("wrong_type")
        return items

    def _items(self, key: str) -> list[Any]:
        value = self._get(key)
        if type(value) is not list:
            raise UndecodableError("wrong_type")
        if len(value) > MOST_ITEMS:
            raise UndecodableError("bad_value")
        return value


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _integer(value: Any, most: int) -> int:
    if type(value) is not _Number:
        raise UndecodableError("wrong_type")
    if not (value.isascii() and value.isdigit()) or len(value) > len(str(most)) or (value[0] == "0" != value):
        raise UndecodableError("bad_number")
    number = int(value)
    if number > most:
        raise UndecodableError("bad_number")
    return number


def _exact_decimal(text: str) -> Decimal:
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole + fraction
    if (
        not (digits.isascii() and digits.isdigit())
        or not whole
        or (bool(point) and not fraction)
        or (whole[0] == "0" != whole)
    ):
        raise UndecodableError("bad_number")
    if len(whole) > _WHOLE_DIGITS or len(fraction) > -int(_DECIMALS.as_tuple().exponent):
        raise UndecodableError("decimal")
    return Decimal(text)


def _bare_decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except ArithmeticError:  # an exponent beyond what Decimal counts
        raise UndecodableError("decimal") from None
    if number.is_zero():
        return Decimal(0)
    if number.adjusted() >= _WHOLE_DIGITS:
        raise UndecodableError("decimal")
    return number.quantize(_DECIMALS, context=_EXACT) if number.adjusted() >= -_WHOLE_DIGITS else Decimal(0)


def _refuse_constant(_: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=Fields, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
)


def read_object(frame: bytes) -> Fields:
    """The JSON object that a frame is."""
    try:
        value = _JSON.decode(frame.decode())
    except (ValueError, RecursionError):
        raise UndecodableError("not_json") from None
    if type(value) is not Fields:
        raise UndecodableError("not_json")
    return value
