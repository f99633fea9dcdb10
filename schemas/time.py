"""Moments as integers: nanoseconds since 1970-01-01T00:00:00Z, to and from text, without a float on the way.

Every clock of the house (``match``, ``push``, ``receive``) is UTC. A moment without an offset is refused
rather than guessed at, because a recording read an hour off looks perfectly healthy.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from schemas.errors import ConfigError

__all__ = ["NS_PER_MS", "NS_PER_SECOND", "format_date", "format_ns", "parse_duration", "parse_time"]

NS_PER_MS: Final = 1_000_000
NS_PER_SECOND: Final = 1_000_000_000

_EXAMPLE = "2024-08-08T23:55:00Z"
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1

_TEXT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,18}))?)?)?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_EPOCH_TEXT = re.compile(r"(?P<number>-?[0-9]{1,19})(?P<unit>ns|us|ms|s)", re.ASCII)
_BARE_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)
_UNIT_NS = {"ns": 1, "us": 1_000, "ms": NS_PER_MS, "s": NS_PER_SECOND}
_DURATION_TEXT = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?)\s*(?P<unit>[a-z]{1,12})", re.ASCII)
_DURATION_NS = _UNIT_NS | {
    unit: ns * NS_PER_SECOND
    for units, ns in (
        ("sec second seconds", 1), ("m min minute minutes", 60), ("h hour hours", 3_600), ("d day days", 86_400)
    )
    for unit in units.split()
}  # fmt: skip


def parse_time(moment: str | datetime) -> int:
    """Return a moment as nanoseconds since the epoch.

    Accepts ISO 8601 with an offset (``2024-08-08T23:55:00Z``, ``2024-08-09 01:55:00.123456789+02:00``,
    seconds may be left out), an integer since the epoch with its unit (``1723161300123ms``; ns, us, ms, s),
    and an aware ``datetime``.

    Raises:
        ConfigError: it is none of these, names no offset, is finer than a nanosecond or lies outside
            the years 1677 to 2262 that 64 bits of nanoseconds can hold.
    """
    if isinstance(moment, datetime):
        ns = _datetime_ns(moment)
    elif isinstance(moment, str):
        ns = _text_ns(moment)
    else:
        raise ConfigError(
            f"found the time {moment!r}, expected a text such as {_EXAMPLE!r} or '1723161300123ms', "
            "or an aware datetime"
        )
    if not _LOWEST <= ns <= _HIGHEST:
        raise ConfigError(
            f"time {str(moment)!r} is outside the years 1677 to 2262, which 64 bits of nanoseconds hold"
        )
    return ns


def parse_duration(duration: str | timedelta) -> int:
    """Return a length of time above 0 as nanoseconds: ``100ms``, ``1s``, ``1 hour``; a timedelta.

    Raises:
        ConfigError: it is none of these, not above 0, finer than a nanosecond or longer than 292 years.
    """
    if isinstance(duration, timedelta):
        ns = duration // timedelta(microseconds=1) * 1_000
    else:
        found = _DURATION_TEXT.fullmatch(duration.strip().lower())
        unit_ns = _DURATION_NS.get(found["unit"]) if found is not None else None
        if found is None or unit_ns is None:
            raise ConfigError(f"{duration!r} is no length of time; write it like 100ms, 1s, 5min, 1h or 1d")
        whole, _, fraction = found["number"].partition(".")
        parts, rest = divmod(int(fraction or "0") * unit_ns, 10 ** len(fraction))
        if rest:
            raise ConfigError(f"{duration!r} is finer than a nanosecond")
        ns = int(whole) * unit_ns + parts
    if not 0 < ns <= _HIGHEST:
        raise ConfigError(
            f"found a length of time of {str(duration)!r}, expected one above 0 and up to 292 years"
        )
    return ns


def format_ns(ns: int) -> str:
    """Return a moment as ISO 8601 UTC, always with nine digits: ``2024-08-08T23:55:00.123456789Z``."""
    seconds, fraction = divmod(ns, NS_PER_SECOND)
    whole = _EPOCH + timedelta(seconds=seconds)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def format_date(ns: int) -> str:
    """Return the UTC date of a moment, ``2024-08-08``."""
    return date.fromordinal(_EPOCH_DAY + ns // (86_400 * NS_PER_SECOND)).isoformat()


def _datetime_ns(moment: datetime) -> int:
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ConfigError(
            f"datetime {moment.isoformat()} has no time zone, so it names no moment; "
            f"make it aware: moment.replace(tzinfo=datetime.UTC)"
        )
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _text_ns(text: str) -> int:
    stripped = text.strip()
    epoch = _EPOCH_TEXT.fullmatch(stripped)
    if epoch is not None:
        return int(epoch["number"]) * _UNIT_NS[epoch["unit"]]
    if _BARE_NUMBER.fullmatch(stripped):
        raise ConfigError(
            f"time {text!r} is a number without a unit; write it as {stripped}ms or {stripped}ns"
        )
    found = _TEXT.fullmatch(stripped)
    if found is None:
        raise ConfigError(f"time {text!r} is not ISO 8601; write it like {_EXAMPLE}")
    if found["hour"] is None:
        raise ConfigError(f"time {text!r} is a day, not a moment; write it like {found['day']}T00:00:00Z")
    if found["offset"] is None:
        raise ConfigError(f"time {text!r} has no offset, so it names no moment; for UTC write {stripped}Z")
    try:
        day = date.fromisoformat(found["day"]).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise ConfigError(f"time {text!r} names a day that does not exist: {error}") from None
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ConfigError(
            f"time {text!r} has an hour above 23, a minute above 59 or a second above 59; "
            f"write it like {_EXAMPLE}"
        )
    seconds = (day * 24 + hour) * 3600 + minute * 60 + second - _offset_seconds(text, found["offset"])
    return seconds * NS_PER_SECOND + _fraction_ns(text, found["fraction"] or "")


def _offset_seconds(text: str, offset: str) -> int:
    if offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if hours > 23 or minutes > 59:
        raise ConfigError(f"time {text!r} has an offset of more than a day; write it like {_EXAMPLE}")
    seconds = hours * 3600 + minutes * 60
    return -seconds if offset[0] == "-" else seconds


def _fraction_ns(text: str, digits: str) -> int:
    if digits[9:].strip("0"):
        raise ConfigError(f"time {text!r} is finer than a nanosecond; give at most nine digits of fraction")
    return int(digits[:9].ljust(9, "0"))
