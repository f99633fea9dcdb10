"""Best prices out of a recording in the same program, for limits and strategies."""

from __future__ import annotations

from engine.core.book import Book
from execution.desk.limits import Quote
from recorder.subscriptions import BookChanged, StateChanged, Subscription
from schemas.names import Category, FeedState

__all__ = ["LiveQuotes"]


class LiveQuotes:
    """Keeps the books that a subscription hands out, and reads their best prices when it is asked.

    A book that isn't live has no quote, whatever it last held (docs/books.md).

    Args:
        category: of the recording.
        subscription: of order books, one depth.
    """

    def __init__(self, category: Category, subscription: Subscription) -> None:
        self._category = category
        self._subscription = subscription
        self._books: dict[str, Book] = {}

    def __repr__(self) -> str:
        return f"<LiveQuotes {self._category.value} {', '.join(sorted(self._books))}>"

    async def run(self) -> None:
        """Follow the subscription to its end."""
        try:
            async for change in self._subscription:
                symbol = change.topic.rpartition(".")[2]
                if isinstance(change, BookChanged):
                    self._books[symbol] = change.book
                elif isinstance(change, StateChanged) and change.state is not FeedState.LIVE:
                    self._books.pop(symbol, None)
        finally:
            self._books.clear()  # nobody keeps them current any more

    def __call__(self, category: Category, symbol: str) -> Quote | None:
        """The best prices of a symbol; None where there is no live book."""
        book = self._books.get(symbol) if category is self._category else None
        if book is None or not book.live:
            return None
        bid, ask = book.best_bid, book.best_ask
        return None if bid is None or ask is None else Quote(book.price(bid.price), book.price(ask.price))
