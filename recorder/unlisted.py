"""Symbols that the exchange doesn't list: told before they are asked for, with the nearest that it does."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Sequence

from schemas.names import Category

__all__ = ["nearest", "tell_unlisted"]

log = logging.getLogger("tapebook")

_MOST_TOLD = 20


def nearest(symbol: str, listed: Sequence[str]) -> str | None:
    """Return the listed symbol that is most like this one, or None where none is listed."""
    found = difflib.get_close_matches(symbol, listed, n=1, cutoff=0.0)
    return found[0] if found else None


def tell_unlisted(category: Category, asked: Iterable[str], listed: Sequence[str]) -> list[str]:
    """Say which symbols instruments-info doesn't list, and what is near; returns them.

    They are subscribed all the same: what trades in a pre-market is not in every answer, and the exchange refuses what
    it doesn't have.
    """
    known = set(listed)
    missing = [symbol for symbol in asked if symbol not in known]
    for symbol in missing[:_MOST_TOLD]:
        near = nearest(symbol, listed)
        hint = f"the nearest is {near!r}" if near else "is it the right --category?"
        log.error("symbol %s: the exchange lists no such instrument of %s; %s", symbol, category, hint)
    if len(missing) > _MOST_TOLD:
        log.error("and %d more symbols that it doesn't list", len(missing) - _MOST_TOLD)
    return missing
