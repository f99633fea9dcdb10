"""Warnings that a flood can't turn into one: the first of a kind are told, the rest are counted and summed up."""

from __future__ import annotations

import logging
from collections import Counter

__all__ = ["FIRST", "Warnings"]

FIRST = 5
"""Warnings of one kind that are told one by one, between two summaries."""

KINDS = 10_000
"""Kinds that are told apart; the rest share one count."""


class Warnings:
    """A bounded voice: memory and output don't grow with what goes wrong.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()

    def tell(self, kind: str, detail: str = "") -> None:
        """Tell one warning of a kind, or count it."""
        if kind not in self._counts and len(self._counts) >= KINDS:
            kind = "other warnings"
        self._counts[kind] += 1
        if self._counts[kind] <= FIRST:
            self._log.warning("%s%s", kind, detail)

    def sum_up(self) -> None:
        """Say how many more there were, and begin anew."""
        for kind, count in self._counts.items():
            if count > FIRST:
                self._log.warning("%s: %s more", kind, f"{count - FIRST:,}")
        self._counts.clear()
