"""Symbols that come and go while a simulated market runs: ``--list SYMBOL@SECONDS``, ``--delist SYMBOL@SECONDS``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from schemas.errors import ConfigError

__all__ = ["parse_listings"]

MAXIMUM_SECONDS: Final = 86_400.0
_FORM: Final = re.compile(r"([^@\s,]{1,64})@(\d{1,5}(?:\.\d{1,6})?)", re.ASCII)


def parse_listings(option: str, texts: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """Read ``SYMBOL@SECONDS`` texts, several of them separated by commas.

    Args:
        option: named in errors.
        texts: as given.

    Raises:
        ConfigError: another form, or more than a day.
    """
    out: list[tuple[str, float]] = []
    for text in (part for texts_ in texts for part in texts_.split(",") if part.strip()):
        match = _FORM.fullmatch(text.strip())
        seconds = float(match[2]) if match is not None else MAXIMUM_SECONDS + 1
        if match is None or seconds > MAXIMUM_SECONDS:
            raise ConfigError(
                f"{option}: found {text.strip()[:80]!r}, expected SYMBOL@SECONDS with at most {MAXIMUM_SECONDS:g} "
                "seconds after the market's opening, such as ADAUSDT@5"
            )
        out.append((match[1], seconds))
    return tuple(out)
