"""All feeds of all recorders in a list: in which order, with a cursor that stays on its feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final, NamedTuple

from recorder.health import class_of, is_troubled
from recorder.watch.condition import Condition, is_believable
from recorder.watch.look import Told
from recorder.watch.rates import Rates
from recorder.watch.text import clean

__all__ = ["FeedList", "FeedRow", "Sort", "feed_rows", "symbol_of"]


class Sort(StrEnum):
    """In which order feeds stand."""

    TROUBLE = "trouble"
    NAME = "name"
    RATE = "rate"


SORTS: Final = tuple(Sort)


class FeedRow(NamedTuple):
    """A feed in the list.

    Attributes:
        state: live, syncing, stale, empty, refused; or the recorder's condition, if that is nothing to believe in.
        since_ns: since when it has been in trouble, if it is, and if that is known.
        cause: of its gap, or why it was refused.
        rate: messages a second.
        last_ns: how long before the status its last message was; before now, of a recorder that isn't at work.
    """

    collector: str
    category: str
    topic: str
    state: str
    is_troubled: bool
    since_ns: int | None
    cause: str
    rate: float | None
    gaps: int
    messages: int
    last_ns: int | None


def symbol_of(topic: str) -> str:
    """The symbol of a topic: what stands behind its class."""
    return topic[len(class_of(topic)) + 1 :]


def feed_rows(told: Told, found: Condition, rates: Rates, told_ns: int) -> Iterable[FeedRow]:
    """The rows of a recorder; none of one that was stopped.

    Args:
        told: what it told last.
        found: its condition.
        rates: its rates.
        told_ns: the moment at which that is to be seen.
    """
    if told.live is None or found is Condition.STOPPED:
        return
    believable = is_believable(found)
    for feed in told.live["feeds"]:
        gap = feed.get("gap") or {}
        if not believable:
            state = found.value
        elif feed.get("refused") is not None:
            state = "refused"
        else:
            state = feed["state"]
        troubled = not believable or is_troubled(feed)
        since_ns = gap.get("since_ns") if believable else told.live["written_ns"]
        heard_ns = feed.get("last_receive_ns")
        yield FeedRow(
            told.collector,
            told.live.get("category", ""),
            feed["topic"],
            state,
            troubled,
            (since_ns or heard_ns) if troubled else None,
            clean(str(feed.get("refused") or gap.get("cause", ""))) if believable else "",
            rates.messages(feed["topic"]) if believable else None,
            feed["gaps"],
            feed["messages"],
            None if heard_ns is None else told_ns - heard_ns,
        )


class FeedList:
    """The list.

    Attributes:
        sort: its order.
        rows: the feeds in that order.
        cursor: index of the row that is marked.
    """

    def __init__(self) -> None:
        self.sort = Sort.TROUBLE
        self.rows: list[FeedRow] = []
        self.cursor = 0
        self._marked: tuple[str, str] | None = None

    def put(self, rows: Iterable[FeedRow]) -> None:
        """Take new rows; the cursor stays on its feed, wherever that goes."""
        self.rows = sorted(rows, key=_ORDER[self.sort])
        places = (index for index, row in enumerate(self.rows) if (row.collector, row.topic) == self._marked)
        self.cursor = next(places, min(self.cursor, max(0, len(self.rows) - 1)))

    def move(self, by: int) -> None:
        """Move the cursor, as far as there are rows."""
        self.cursor = min(max(0, self.cursor + by), max(0, len(self.rows) - 1))
        # at the top it stays there, so that new trouble comes into sight
        self._marked = (
            (self.rows[self.cursor].collector, self.rows[self.cursor].topic) if self.cursor else None
        )

    def next_sort(self) -> None:
        """Take the next order, and go to its top."""
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self.cursor, self._marked = 0, None
        self.put(self.rows)

    def marked(self) -> FeedRow | None:
        """The row under the cursor."""
        return self.rows[self.cursor] if self.rows else None


_ORDER: Final[dict[Sort, Callable[[FeedRow], Any]]] = {
    Sort.TROUBLE: lambda row: (not row.is_troubled, row.since_ns or 0, row.topic, row.collector),
    Sort.NAME: lambda row: (symbol_of(row.topic), row.topic, row.collector),
    Sort.RATE: lambda row: (-(row.rate or 0.0), row.topic, row.collector),
}
