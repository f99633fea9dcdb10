"""Best prices out of a recording in the same program, for limits and strategies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from engine.core.book import Book
from execution.desk.limits import Quote
from recorder.subscriptions import BookChanged, StateChanged, Subscription
from schemas.names import Category, FeedState

__all__ = ["LiveQuotes"]

_NS_PER_MS: Final = 1_000_000


class LiveQuotes:
    """Keeps the books that a subscription hands out, and reads their best prices when it is asked.

    A book that isn't live has no quote, whatever it last held (docs/books.md). A quote is as old as the last sign of
    life of a connection that delivers the book: a frame of whatever kind. One that is quiet while its connection is not
    is no older for that; one whose connection has stalled gets older, long before anything tells that it has.

    Args:
        category: of the recording.
        subscription: of order books, one depth.
        clock: monotonic, as the recording's.
    """

    def __init__(
        self, category: Category, subscription: Subscription, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._category = category
        self._subscription = subscription
        self._clock = clock
        self._books: dict[str, tuple[Book, str]] = {}  # with its topic

    def __repr__(self) -> str:
        return f"<LiveQuotes {self._category.value} {', '.join(sorted(self._books))}>"

    async def run(self) -> None:
        """Follow the subscription to its end."""
        try:
            async for change in self._subscription:
                symbol = change.topic.rpartition(".")[2]
                if isinstance(change, BookChanged):
                    self._books[symbol] = change.book, change.topic
                elif isinstance(change, StateChanged) and change.state is not FeedState.LIVE:
                    self._books.pop(symbol, None)
        finally:
            self._books.clear()  # nobody keeps them current any more

    def __call__(self, category: Category, symbol: str) -> Quote | None:
        """The best prices of a symbol; None where there is no live book."""
        kept = self._books.get(symbol) if category is self._category else None
        if kept is None or not kept[0].live:
            return None
        book, topic = kept
        bid, ask = book.best_bid, book.best_ask
        heard_ns = self._subscription.heard_ns(topic)
        if bid is None or ask is None or not heard_ns:
            return None
        age_ms = (self._clock() - heard_ns) // _NS_PER_MS
        return Quote(book.price(bid.price), book.price(ask.price), age_ms)
