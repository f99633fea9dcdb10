"""Moments as people say them: ``03:12`` is the last time that it was so. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from schemas.errors import ConfigError
from schemas.time import NS_PER_SECOND, parse_time

__all__ = ["MOST_WITHIN_S", "Moment", "moment_of"]

DAY_NS: Final = 86_400 * NS_PER_SECOND
MOST_WITHIN_S: Final = 86_400
MOST_CHARACTERS: Final = 40
EXPECTED: Final = "expected a time such as 03:12 or 2026-11-21 03:12"
_CLOCK: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?", re.ASCII)
_BARE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+", re.ASCII)


class Moment(NamedTuple):
    """A moment, and the span around it that is asked for, in nanoseconds since the epoch."""

    at_ns: int
    start_ns: int
    end_ns: int


def moment_of(text: str, within_s: int, now_ns: int) -> Moment:
    """Return the moment that a text means: a time of day (UTC, the last that has been), or a date with a time.

    Args:
        text: ``03:12``, ``03:12:07``, ``2026-11-21 03:12`` (UTC), or whatever ``schemas.time.parse_time`` takes.
        within_s: how far the span reaches to both sides.
        now_ns: wall clock.

    Raises:
        ConfigError: it is none of these.
    """
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{EXPECTED}, found {len(text)} characters")
    if not 1 <= within_s <= MOST_WITHIN_S:
        raise ConfigError(f"expected a span of 1 to {MOST_WITHIN_S} seconds, found {within_s}")
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        at_ns = now_ns - now_ns % DAY_NS + ((hour * 60 + minute) * 60 + second) * NS_PER_SECOND
        if at_ns > now_ns:
            at_ns -= DAY_NS
    else:
        try:
            at_ns = parse_time(f"{text}Z" if _BARE.fullmatch(text) else text)
        except ConfigError as error:
            raise ConfigError(f"{EXPECTED}: {error}") from None
    return Moment(at_ns, at_ns - within_s * NS_PER_SECOND, at_ns + within_s * NS_PER_SECOND)
