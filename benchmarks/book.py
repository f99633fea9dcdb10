"""How long to apply already decoded changes to a book?"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import orjson

from benchmarks.contenders import Decimals, Orjson, decimals_of, quotes_of
from benchmarks.decode import check_order_books
from benchmarks.feed import Feed, with_books
from benchmarks.peers import (
    PACKAGES,
    Makers,
    first_of_side,
    hftbacktest_makers,
    make_peers,
    nautilus_deltas,
    nautilus_quotes,
)
from benchmarks.tables_to_books import TablesToBooks
from benchmarks.timing import Contender, Quotes, check_quotes, machine, mantissas, time_all
from engine.core.book import Book
from engine.reference import ReferenceBook

__all__ = ["BookCalls", "book"]

Levels = list[tuple[str, str]]


@dataclass(frozen=True)
class Change:
    """One message, parsed: prices and sizes are still text."""

    topic: str
    snapshot: bool
    bids: Levels
    asks: Levels


def changes_of(feed: Feed) -> list[Change]:
    """The frames of a feed, parsed."""
    out = []
    for frame in feed.frames:
        message = orjson.loads(frame)
        data = message["data"]
        out.append(Change(message["topic"], message["type"] == "snapshot", data["b"], data["a"]))
    return out


class BookCalls(Contender):
    """Ours, one Python call a message, from int64 arrays: ``engine.core.book.Book.load`` and ``apply``."""

    name = "tapebook_book_call"

    def __init__(self, changes: list[Change], decimals: Decimals) -> None:
        self._decimals = decimals
        self._depths = {change.topic: int(change.topic.split(".")[1]) for change in changes}
        self._books: dict[str, Book] = {}
        self._changes = [(change.topic, change.snapshot, _columns(change, decimals)) for change in changes]

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: Book(depth) for topic, depth in self._depths.items()}

    def run(self) -> None:
        """Apply message by message."""
        books = self._books
        for topic, snapshot, columns in self._changes:
            book = books[topic]
            (book.load if snapshot else book.apply)(*columns)

    def quotes(self) -> Quotes:
        """The best levels."""
        return {
            topic: (*next(iter(book.bids(1)), (None, None)), *next(iter(book.asks(1)), (None, None)))
            for topic, book in self._books.items()
        }


def _columns(change: Change, decimals: Decimals) -> tuple[Any, ...]:
    """The arguments of ``Book.apply``: four arrays and two exponents."""
    pair = decimals[change.topic]
    arrays = [
        np.array([int(Decimal(level[i]).scaleb(pair[i])) for level in levels], dtype=np.int64)
        for levels in (change.bids, change.asks)
        for i in (0, 1)
    ]
    return (*arrays, -pair[0], -pair[1])


class ReferenceCalls(Contender):
    """The readable reference book, from lists of ``Decimal``."""

    name = "reference_book"

    def __init__(self, changes: list[Change], decimals: Decimals) -> None:
        self._decimals = decimals
        self._books: dict[str, ReferenceBook] = {}
        self._changes = [
            (
                change.topic,
                change.snapshot,
                [(Decimal(price), Decimal(size)) for price, size in change.bids],
                [(Decimal(price), Decimal(size)) for price, size in change.asks],
            )
            for change in changes
        ]

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: ReferenceBook() for topic, *_ in self._changes}

    def run(self) -> None:
        """Apply message by message."""
        books = self._books
        for topic, snapshot, bids, asks in self._changes:
            if snapshot:
                books[topic].snapshot(bids, asks)
            else:
                books[topic].delta(bids, asks)

    def quotes(self) -> Quotes:
        """The best levels."""
        return {
            topic: mantissas((value for side in book.top(1) for value in side[0]), self._decimals[topic])
            for topic, book in self._books.items()
        }


class OrderBookCalls(Contender):
    """The C order book of cryptofeed's author, from lists of floats or decimals."""

    def __init__(self, changes: list[Change], decimals: Decimals, number: Callable[[str], Any]) -> None:
        self.name = f"order_book_{'float' if number is float else 'decimal'}"
        self._decimals = decimals
        self._type = importlib.import_module("order_book").OrderBook
        self._books: dict[str, Any] = {}
        self._changes = [
            (
                change.topic,
                change.snapshot,
                [(number(price), number(size)) for price, size in change.bids],
                [(number(price), number(size)) for price, size in change.asks],
            )
            for change in changes
        ]

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: self._type() for topic, *_ in self._changes}

    def run(self) -> None:
        """Apply message by message."""
        books = self._books
        for topic, snapshot, bids, asks in self._changes:
            book = books[topic]
            if snapshot:
                book.bids = dict(bids)
                book.asks = dict(asks)
                continue
            for side, levels in ((book.bids, bids), (book.asks, asks)):
                for price, size in levels:
                    if size:
                        side[price] = size
                    elif price in side:
                        del side[price]

    def quotes(self) -> Quotes:
        """The best levels."""
        return {
            topic: mantissas((*first_of_side(book.bids), *first_of_side(book.asks)), self._decimals[topic])
            for topic, book in self._books.items()
        }


class NautilusCalls(Contender):
    """nautilus_trader's L2 book, from its own delta objects."""

    name = "nautilus_trader"

    def __init__(self, feed: Feed, decimals: Decimals) -> None:
        self._decimals = decimals
        self._type = importlib.import_module("nautilus_trader.model.book").OrderBook
        self._l2 = importlib.import_module("nautilus_trader.model.enums").BookType.L2_MBP
        self._changes = nautilus_deltas(feed, decimals)
        self._books: dict[str, Any] = {}

    def prepare(self) -> None:
        """Empty books."""
        self._books = {}
        for topic, deltas in self._changes:
            if topic not in self._books:
                self._books[topic] = self._type(deltas.instrument_id, self._l2)

    def run(self) -> None:
        """Apply message by message."""
        books = self._books
        for topic, deltas in self._changes:
            books[topic].apply_deltas(deltas)

    def quotes(self) -> Quotes:
        """The best levels."""
        return nautilus_quotes(self._books, self._decimals)


def contenders_of(feed: Feed) -> list[Contender]:
    """The contenders that need no peer, over a feed of order-book frames, checked to end with the same books.

    Raises:
        DataError: one of them doesn't, or a book is not live at the end.
        ConfigError: the feed has other topics than order books.
    """
    check_order_books(feed)
    engine = with_books(feed)
    decimals = decimals_of(engine, feed)
    changes = changes_of(feed)
    contenders: list[Contender] = [
        BookCalls(changes, decimals),
        TablesToBooks(feed),
        ReferenceCalls(changes, decimals),
        Orjson(feed),
    ]
    check_quotes(contenders, quotes_of(engine, feed))
    return contenders


def book_peers(feed: Feed, decimals: Decimals) -> Makers:
    """The peers, from changes in the form that each of them likes best."""
    changes = changes_of(feed)
    return {
        "order_book": [partial(OrderBookCalls, changes, decimals, number) for number in (float, Decimal)],
        "nautilus_trader": [partial(NautilusCalls, feed, decimals)],
        "hftbacktest": hftbacktest_makers(feed, decimals),
    }


def book(feed: Feed, repetitions: int) -> dict[str, Any]:
    """Time every contender over the changes of the whole feed, interleaved."""
    contenders = contenders_of(feed)
    engine = with_books(feed)
    peers, left_out = make_peers(book_peers(feed, decimals_of(engine, feed)))
    check_quotes(peers, quotes_of(engine, feed))
    times = time_all([*contenders, *peers], repetitions, len(feed.frames))
    return {
        "benchmark": "book",
        "unit": "ns per frame",
        **feed.describe(),
        "repetitions": repetitions,
        **times.result(),
        "peers_missing": left_out,
        **machine(
            ["tapebook", "orjson", "sortedcontainers", "numpy", "pyarrow", "numba", *PACKAGES.values()]
        ),
    }
