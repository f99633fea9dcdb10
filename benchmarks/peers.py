"""Other people's books, where they are installed (the ``peers`` extra); never a dependency.

Each contender ends with the same best bid and ask as the core, else the benchmark refuses. What is unfair about each
comparison stands in README.md.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import orjson

from benchmarks.contenders import Decimals, symbol_of
from benchmarks.feed import Feed
from benchmarks.peer_hftbacktest import Hftbacktest
from benchmarks.timing import Contender, Quotes, mantissas

__all__ = [
    "PACKAGES",
    "Makers",
    "Nautilus",
    "OrderBookC",
    "decode_peers",
    "first_of_side",
    "hftbacktest_makers",
    "make_peers",
    "nautilus_deltas",
    "nautilus_instruments",
]

PACKAGES = {"order_book": "order-book", "nautilus_trader": "nautilus_trader", "hftbacktest": "hftbacktest"}
"""Import name and name on the package index of each peer."""


Makers = Mapping[str, Sequence[Callable[[], Contender]]]
"""Per import name: what makes the contenders of a peer."""


def make_peers(makers: Makers) -> tuple[list[Contender], dict[str, str]]:
    """Make the contenders of the peers that are installed.

    Returns:
        The contenders; and by package name, why the others are not among them: not installed, or a release in which
        what they need has moved.
    """
    contenders: list[Contender] = []
    left_out: dict[str, str] = {}
    for name, makes in makers.items():
        if importlib.util.find_spec(name) is None:
            left_out[PACKAGES[name]] = "not installed"
            continue
        try:
            contenders += [make() for make in makes]
        except (ImportError, AttributeError) as error:
            left_out[PACKAGES[name]] = f"installed, but not usable: {error}"
    return contenders, left_out


def decode_peers(feed: Feed, decimals: Decimals) -> Makers:
    """The peers of ``decode``."""
    return {
        "order_book": [partial(OrderBookC, feed, decimals, number) for number in (float, Decimal)],
        "nautilus_trader": [partial(Nautilus, feed, decimals)],
        "hftbacktest": hftbacktest_makers(feed, decimals),
    }


def hftbacktest_makers(feed: Feed, decimals: Decimals) -> list[Callable[[], Contender]]:
    """hftbacktest with each of its two books."""
    return [partial(Hftbacktest, feed, decimals, kind) for kind in ("hash_map", "roi_vector")]


class OrderBookC(Contender):
    """orjson, floats or decimals, the C order book of cryptofeed's author, best of both sides."""

    def __init__(self, feed: Feed, decimals: Decimals, number: Callable[[str], Any]) -> None:
        self.name = f"order_book_{'float' if number is float else 'decimal'}"
        self._feed = feed
        self._decimals = decimals
        self._number = number
        self._type = importlib.import_module("order_book").OrderBook
        self._books: dict[str, Any] = {}

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: self._type() for topic in self._feed.topics}

    def run(self) -> None:
        """Parse and apply frame by frame."""
        loads, books, number = orjson.loads, self._books, self._number
        for frame in self._feed.frames:
            message = loads(frame)
            book, data = books[message["topic"]], message["data"]
            if message["type"] == "snapshot":
                book.bids = {number(price): number(size) for price, size in data["b"]}
                book.asks = {number(price): number(size) for price, size in data["a"]}
            else:
                for side, changes in ((book.bids, data["b"]), (book.asks, data["a"])):
                    for price_text, size_text in changes:
                        price, size = number(price_text), number(size_text)
                        if size:
                            side[price] = size
                        elif price in side:
                            del side[price]
            book.bids.index(0)
            book.asks.index(0)

    def quotes(self) -> Quotes:
        """The best levels."""
        return {
            topic: mantissas((*first_of_side(book.bids), *first_of_side(book.asks)), self._decimals[topic])
            for topic, book in self._books.items()
        }


def first_of_side(side: Any) -> tuple[Any, Any]:
    """The best (price, size) of one side of an ``order_book.OrderBook``, or (None, None)."""
    return side.index(0) if len(side) else (None, None)


def nautilus_quotes(books: Mapping[str, Any], decimals: Decimals) -> Quotes:
    """The best levels of its books, by topic."""
    return {
        topic: mantissas(
            (book.best_bid_price(), book.best_bid_size(), book.best_ask_price(), book.best_ask_size()),
            decimals[topic],
        )
        for topic, book in books.items()
    }


def nautilus_deltas(feed: Feed, decimals: Decimals) -> list[tuple[str, Any]]:
    """Each frame as nautilus_trader's own Bybit adapter hands it to a book: (topic, deltas)."""
    stream = importlib.import_module("nautilus_trader.adapters.bybit.schemas.ws")
    decode = stream.decoder_ws_orderbook().decode
    instruments = nautilus_instruments(feed)
    out = []
    for message in map(decode, feed.frames):
        stamp, topic = message.ts * 1_000_000, message.topic
        deltas = message.data.parse_to_deltas(
            instruments[topic], *decimals[topic], stamp, stamp, message.type == "snapshot"
        )
        out.append((topic, deltas))
    return out


def nautilus_instruments(feed: Feed) -> dict[str, Any]:
    """Per topic: its instrument id."""
    identifiers = importlib.import_module("nautilus_trader.model.identifiers")
    return {
        topic: identifiers.InstrumentId.from_str(f"{symbol_of(topic)}-LINEAR.BYBIT") for topic in feed.topics
    }


class Nautilus(Contender):
    """nautilus_trader as its own Bybit adapter does it: msgspec, a delta object a level, its L2 book, best of both."""

    name = "nautilus_trader"

    def __init__(self, feed: Feed, decimals: Decimals) -> None:
        self._feed = feed
        self._decimals = decimals
        stream = importlib.import_module("nautilus_trader.adapters.bybit.schemas.ws")
        self._decoder = stream.decoder_ws_orderbook()
        self._type = importlib.import_module("nautilus_trader.model.book").OrderBook
        self._l2 = importlib.import_module("nautilus_trader.model.enums").BookType.L2_MBP
        self._instruments = nautilus_instruments(feed)
        self._books: dict[str, Any] = {}

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: self._type(self._instruments[topic], self._l2) for topic in self._feed.topics}

    def run(self) -> None:
        """Decode and apply frame by frame."""
        decode, books, instruments = self._decoder.decode, self._books, self._instruments
        for frame in self._feed.frames:
            message = decode(frame)
            topic = message.topic
            book = books[topic]
            stamp = message.ts * 1_000_000
            book.apply_deltas(
                message.data.parse_to_deltas(
                    instruments[topic], *self._decimals[topic], stamp, stamp, message.type == "snapshot"
                )
            )
            book.best_bid_price()
            book.best_bid_size()
            book.best_ask_price()
            book.best_ask_size()

    def quotes(self) -> Quotes:
        """The best levels."""
        return nautilus_quotes(self._books, self._decimals)
