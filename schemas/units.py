"""Spans and sizes as people write them (``30d``, ``500GB``) and as they read them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from schemas.errors import ConfigError

__all__ = ["age", "amount", "parse_bytes", "parse_span_ns"]

_NUMBER: Final = r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,9})?)"
_SPAN: Final = re.compile(_NUMBER + r"\s*(?P<unit>s|min|m|h|d|w)", re.ASCII)
_SIZE: Final = re.compile(_NUMBER + r"\s*(?P<unit>B|[kKMGT]i?B)?", re.ASCII)
_SECONDS: Final = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_POWERS: Final = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_span_ns(text: str) -> int:
    """A span in nanoseconds: a number and ``s``, ``min`` (or ``m``), ``h``, ``d`` or ``w``. Raises ConfigError."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"found {text!r}, expected a number and its unit: s, min, h, d or w; such as 30d")
    return round(Decimal(found["number"]) * _SECONDS[found["unit"]] * 10**9)


def parse_bytes(text: str) -> int:
    """A size in bytes: a number and ``kB``, ``MB``, ``GB``, ``TB`` (powers of 1000) or ``KiB`` to ``TiB`` (of 1024), or
    bytes without a unit. Raises ConfigError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"found {text!r}, expected bytes, or a number and kB, MB, GB, TB, KiB, MiB, GiB or TiB; such as 500GB"
        )
    unit = found["unit"] or "B"
    if unit == "B":
        return round(Decimal(found["number"]))
    power: int = (1024 if "i" in unit else 1000) ** _POWERS[unit[0]]
    return round(Decimal(found["number"]) * power)


def amount(count: float | None) -> str:
    """Bytes, for people."""
    if count is None:
        return "unknown"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def age(seconds: float) -> str:
    """A time span, for people."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"
