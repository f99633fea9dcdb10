"""What a range function is: its parameters, the columns that come out, and what makes the batches.

Knows nothing of SQL or of a command line: whoever calls one gives plain Python values, and gets Arrow record batches.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

import pyarrow as pa

from recorder.archive import Archive
from recorder.feed_rows import Clock
from recorder.result import Result
from schemas.errors import ConfigError
from schemas.time import format_ns, parse_duration, parse_time

__all__ = ["REQUIRED", "Arguments", "Kind", "Parameter", "RangeFunction", "Untrusted"]

Arguments = Mapping[str, Any]
"""What `RangeFunction.bind` makes: a value for each parameter, in the form that its kind has."""

REQUIRED: Final = object()
"""Stands where a parameter has no default."""

_MOST_DIGITS: Final = 400
"""Beyond what a double has; whole numbers of more are slow to work with."""


class Untrusted(StrEnum):
    """What becomes of rows of a time in which the feed was not to be trusted."""

    LEAVE_OUT = "leave out"
    MARK = "mark"


class Kind(StrEnum):
    """What a parameter takes, and what a bound argument is."""

    TEXT = "text"
    """str"""
    MOMENT = "moment"
    """ISO 8601 text with an offset, ``1723161300123ms`` or an aware datetime; int, nanoseconds since the epoch"""
    DURATION = "duration"
    """``100ms``, ``1s``, ``5min`` or a timedelta; int, nanoseconds"""
    COUNT = "count"
    """a whole number, at least 1; int"""
    NUMBERS = "numbers"
    """a number or a list of them, each above 0; tuple of Fraction"""
    QUANTITY = "quantity"
    """a number above 0; Decimal"""
    SIDE = "side"
    """``buy`` or ``sell``; str"""
    CLOCK = "clock"
    """``match``, ``push`` or ``receive``; Clock"""
    UNTRUSTED = "untrusted"
    """``leave out`` or ``mark``; Untrusted"""
    FLAG = "flag"
    """true or false; bool"""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a range function.

    Attributes:
        name: its name.
        kind: what it takes.
        doc: a few words for help texts.
        default: what it is when it is left out, bound; `REQUIRED` if it can't be.
    """

    name: str
    kind: Kind
    doc: str
    default: object = REQUIRED

    def read(self, value: object) -> Any:
        """Return a value in the form that the kind has.

        Raises:
            ConfigError: it is none of this kind.
        """
        if value is None:
            if self.default is REQUIRED:
                raise ConfigError(f"{self.name}: found NULL, expected {_EXPECTED[self.kind]}")
            return self.default
        try:
            return _READ[self.kind](value)
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        except (TypeError, ValueError, ArithmeticError):
            raise ConfigError(f"{self.name}: found {value!r}, expected {_EXPECTED[self.kind]}") from None


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """A question about a range of an archive whose answer is a table.

    Attributes:
        name: of the method, of the SQL function.
        doc: one sentence.
        parameters: in the order in which they may be given without their names.
        schema: the columns for bound arguments; they do not depend on the archive.
        run: the rows for bound arguments, a bounded batch at a time, none made before it is asked for. Raises
            NoData, ConfigError, Corrupt, StoreError, with the first batch or a later one.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    schema: Callable[[Arguments], pa.Schema]
    run: Callable[[Archive, Arguments], Iterator[pa.RecordBatch]]

    def __call__(self, archive: Archive, *positional: object, **named: object) -> Result:
        """Ask an archive: ``FUNCTIONS["snapshots"](archive, "linear", "BTCUSDT", t0, t1, every="100ms").pandas()``.

        Raises:
            ConfigError: as of ``bind``. What ``run`` raises comes with the rows.
        """
        arguments = self.bind(positional, named)
        return Result(self.schema(arguments), self.run(archive, arguments))

    @property
    def signature(self) -> str:
        """How it is called: ``snapshots(category, symbol, t0, t1, every := 1s, …)``."""
        return f"{self.name}({', '.join(map(_shown, self.parameters))})"

    def bind(self, positional: Sequence[object] = (), named: Mapping[str, object] | None = None) -> Arguments:
        """Return a value for each parameter.

        Raises:
            ConfigError: a value is missing, is one too many, has an unknown name or the wrong kind, or t0 is after t1;
                the message shows the signature.
        """
        try:
            return self.bound(positional, named or {})
        except ConfigError as error:
            raise ConfigError(f"{error}\n{self.signature}") from None

    def bound(self, positional: Sequence[object], named: Mapping[str, object]) -> Arguments:
        """As ``bind``, for callers who have another way to show what is expected."""
        names = [parameter.name for parameter in self.parameters]
        if len(positional) > len(names):
            raise ConfigError(f"found {len(positional)} arguments, expected at most {len(names)}")
        given = dict(zip(names, positional, strict=False))
        for name, value in named.items():
            if name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                raise ConfigError(f"no parameter {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
            if name in given:
                raise ConfigError(f"{name} is given twice")
            given[name] = value
        missing = [
            each.name for each in self.parameters if each.default is REQUIRED and each.name not in given
        ]
        if missing:
            raise ConfigError(f"{', '.join(missing)}: missing")
        bound: dict[str, Any] = {
            each.name: each.read(given[each.name]) if each.name in given else each.default
            for each in self.parameters
        }
        if "t1" in bound and bound["t0"] > bound["t1"]:
            raise ConfigError(
                f"t0 ({format_ns(bound['t0'])}) is after t1 ({format_ns(bound['t1'])}); exchange them"
            )
        return bound


def _shown(parameter: Parameter) -> str:
    if parameter.default is REQUIRED:
        return parameter.name
    default = parameter.default
    if default is None:
        return f"{parameter.name} := NULL"
    if parameter.kind is Kind.DURATION:
        assert isinstance(default, int)
        return f"{parameter.name} := '{default / 10**9:g}s'"
    if parameter.kind is Kind.NUMBERS:
        assert isinstance(default, tuple)
        return f"{parameter.name} := [{', '.join(f'{float(number):g}' for number in default)}]"
    if isinstance(default, bool):
        return f"{parameter.name} := {str(default).lower()}"
    return (
        f"{parameter.name} := '{default}'" if isinstance(default, str) else f"{parameter.name} := {default}"
    )


_EXPECTED: Final = {
    Kind.TEXT: "text",
    Kind.MOMENT: "a moment such as '2024-08-08T23:55:00Z', or a TIMESTAMPTZ",
    Kind.DURATION: "a length of time such as '100ms' or '1s', or an INTERVAL",
    Kind.COUNT: "a whole number, at least 1",
    Kind.NUMBERS: "a number above 0, or a list of them",
    Kind.QUANTITY: "a number above 0",
    Kind.SIDE: "'buy' or 'sell'",
    Kind.CLOCK: "'match', 'push' or 'receive'",
    Kind.UNTRUSTED: "'leave out' or 'mark'",
    Kind.FLAG: "true or false",
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(value: object) -> int:
    if not isinstance(value, str | datetime):
        raise TypeError
    return parse_time(value)


def _duration(value: object) -> int:
    if not isinstance(value, str | timedelta):
        raise TypeError
    return parse_duration(value)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise TypeError
    return value


def _number(value: object) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | Fraction):
        raise TypeError
    number = Fraction(str(value))
    if number <= 0:
        raise ValueError
    return number


def _numbers(value: object) -> tuple[Fraction, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError
    return tuple(map(_number, values))


def _quantity(value: object) -> Decimal:
    quantity = Decimal(str(value))
    if isinstance(value, bool) or not quantity.is_finite() or abs(quantity.adjusted()) > _MOST_DIGITS:
        raise ValueError
    _number(quantity)
    return quantity


def _side(value: object) -> str:
    side = _text(value).lower()
    if side not in ("buy", "sell"):
        raise ValueError
    return side


def _clock(value: object) -> Clock:
    return Clock(_text(value).lower())


def _untrusted(value: object) -> Untrusted:
    return Untrusted(_text(value).lower())


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


_READ: Final[dict[Kind, Callable[[object], Any]]] = {
    Kind.TEXT: _text,
    Kind.MOMENT: _moment,
    Kind.DURATION: _duration,
    Kind.COUNT: _count,
    Kind.NUMBERS: _numbers,
    Kind.QUANTITY: _quantity,
    Kind.SIDE: _side,
    Kind.CLOCK: _clock,
    Kind.UNTRUSTED: _untrusted,
    Kind.FLAG: _flag,
}
