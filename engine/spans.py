"""Sets of time as few spans as possible: what has been fetched already. Pure."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Spans"]


class Spans:
    """A set of whole numbers, as spans from (included) to (not included) in order; spans that touch are one.

    Args:
        spans: in any order; empty ones are ignored.
    """

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._spans: list[tuple[int, int]] = []
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Put a span in."""
        if start >= end:
            return
        apart = [span for span in self._spans if span[1] < start or end < span[0]]
        touching = [span for span in self._spans if not (span[1] < start or end < span[0])]
        merged = min([start, *(span[0] for span in touching)]), max([end, *(span[1] for span in touching)])
        self._spans = sorted([*apart, merged])

    def covers(self, start: int, end: int) -> bool:
        """Whether the whole span is in the set."""
        return start >= end or any(low <= start and end <= high for low, high in self._spans)

    def as_list(self) -> list[tuple[int, int]]:
        """The spans."""
        return list(self._spans)
