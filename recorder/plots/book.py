"""Which book feed a picture shows, and when that can be trusted."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from recorder.archive import Archive
from recorder.book_state import choose_topic
from recorder.feed_rows import Clock
from recorder.plots.known import Known, Range, known_feeds, merged, recorded_range
from recorder.plots.spans import Spans, intersect, subtract, total, union
from schemas.errors import ConfigError
from schemas.names import Table
from schemas.tables import book_of_topic
from schemas.time import NS_PER_SECOND

__all__ = ["ShownBook", "seen", "shown_book"]


ENOUGH: Final = 0.98
"""A deeper book is chosen although another was recorded for longer, if it has this share of that."""


class ShownBook(NamedTuple):
    """A book feed in a range, on the match clock.

    Attributes:
        topic, depth: of the feed.
        range: when.
        known: when it was recorded and trusted, going by coverage and gaps.
    """

    category: str
    symbol: str
    topic: str
    depth: int
    range: Range
    known: Known

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Return what range functions are given."""
        return {
            "category": self.category,
            "symbol": self.symbol,
            "topic": self.topic,
            "clock": Clock.MATCH.value,
            "untrusted": "mark",
            **more,
        }


def shown_book(
    archive: Archive,
    category: str,
    symbol: str,
    topic: str | None,
    start_ns: int | None,
    end_ns: int | None,
    *,
    deepest: bool = True,
) -> ShownBook:
    """Choose the feed: the one that was asked for, or the deepest or shallowest that was there as long as any.

    Raises:
        ConfigError: the topic is no order book of the symbol.
        NoData: nothing was recorded; the message names what was.
    """
    whole = recorded_range(archive, start_ns, end_ns, category=category, symbol=symbol)
    known: dict[str, Known] = {}
    for feed, its in known_feeds(archive, whole, category=category, symbol=symbol, clock=Clock.MATCH):
        known[feed.topic] = its
    chosen = choose_topic(archive, category, symbol, topic)
    if topic is None:
        books = [(found[1], name) for name in known if (found := _plain_book(name)) is not None]
        most_ns = max((total(known[name].recorded) for _, name in books), default=0)
        long = [book for book in books if total(known[book[1]].recorded) >= ENOUGH * most_ns]
        chosen = (max if deepest else min)(long, default=(0, chosen))[1]
    depth = _plain_book(chosen)
    if depth is None:
        raise ConfigError(f"{chosen} has two sizes a level, which pictures don't show; choose another topic")
    range_ = recorded_range(archive, start_ns, end_ns, category=category, topic=chosen)
    its = merged(range_, known_feeds(archive, range_, category=category, topic=chosen, clock=Clock.MATCH))
    return ShownBook(category, symbol, chosen, depth[1], range_, its)


def _plain_book(topic: str) -> tuple[Table, int, str] | None:
    found = book_of_topic(topic)
    return found if found is not None and found[0] is Table.BOOK_UPDATES else None


def seen(book: ShownBook, shown: Spans, doubted: Spans, slack_ns: int = NS_PER_SECOND) -> Known:
    """Return what is known once the book was read: what nobody showed was not recorded, what was doubted is lost.

    Args:
        book: as coverage and gaps have it.
        shown: when there was a book, trusted or not.
        doubted: when it was not to be trusted.
        slack_ns: how far from what was shown nothing is said anew: recordings begin and end on our clock, books are
            read on the exchange's.
    """
    there = union(shown + np.asarray([-slack_ns, slack_ns]))
    doubted = intersect(doubted, book.known.recorded)
    lost = union(np.concatenate([book.known.lost, doubted]))
    trusted = subtract(intersect(book.known.trusted, there), doubted)
    recorded = union(np.concatenate([trusted, lost]))
    whole = union([book.range])
    return book.known._replace(recorded=intersect(recorded, whole), trusted=intersect(trusted, whole))
