"""Numbers that limits and settings take: exact, or refused with what was found and what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from schemas.errors import ConfigError

__all__ = ["amounts", "positive", "whole"]


def positive(name: str, value: object) -> Decimal:
    """A positive, finite Decimal; a whole number becomes one, as it is exact.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise ConfigError(
            f"{name} is {value!r}, a {type(value).__name__}: expected a Decimal made of a text, such as "
            "Decimal('1000'), as limits are exact, or None to switch it off"
        )
    if not value.is_finite() or value <= 0:
        raise ConfigError(f"{name} is {value}: expected a positive one, or None to switch it off")
    return value


def whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """A whole number within bounds.

    Raises:
        ConfigError: it is something else.
    """
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value
        and (most is None or value <= most)
    ):
        return value
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ConfigError(f"{name} is {value!r}: expected a whole number {bounds}")


def amounts(name: str, table: object, example: str) -> Mapping[str, Decimal]:
    """Positive Decimals by name; the table itself where there is nothing to convert, as it may be changed later.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{name} is {table!r}: expected a number for each of some names, such as {{{example!r}: Decimal('200')}}"
        )
    read = {key: positive(f"{name} {key}", value) for key, value in table.items()}
    for key in read:
        if not isinstance(key, str) or not key:
            raise ConfigError(f"{name}: found the name {key!r}: expected a text such as {example!r}")
    return table if all(read[key] is table[key] for key in read) else read
