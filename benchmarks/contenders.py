"""Contenders that need nothing but this project and its test extra: the core, orjson, msgspec, the reference book."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from benchmarks.feed import Batch, Feed, batches
from benchmarks.timing import ORJSON, Contender, Quotes
from engine.core.feeds import Engine
from engine.reference import ReferenceBook
from engine.reference.books import mantissa_of
from schemas.errors import ConfigError

try:
    import orjson
except ImportError as error:
    raise ConfigError("orjson is missing; install the test extra: pip install 'tapebook[test]'") from error

__all__ = ["CoreBatch", "CoreLive", "MsgspecTyped", "Orjson", "OrjsonReference", "decimals_of", "quotes_of"]

Decimals = dict[str, tuple[int, int]]


def symbol_of(topic: str) -> str:
    """The symbol of an order-book topic."""
    return topic.split(".", 2)[2]


def quotes_of(engine: Engine, feed: Feed) -> Quotes:
    """The best levels of the engine's order books."""
    return {
        topic: engine.best(engine.feed_index(topic))
        for topic in feed.topics
        if topic.startswith("orderbook.")
    }


def decimals_of(engine: Engine, feed: Feed) -> Decimals:
    """Per order-book topic: decimals of prices and of sizes at the exponents in force."""
    pairs = {
        topic: engine.exponents(symbol_of(topic)) for topic in feed.topics if topic.startswith("orderbook.")
    }
    return {topic: (-price, -size) for topic, (price, size) in pairs.items()}


class CoreLive(Contender):
    """Ours, one Python call a frame: decode, check, apply, digest; and the best bid and ask of each frame."""

    name = "tapebook_live"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.engine = feed.engine()

    def prepare(self) -> None:
        """Empty books."""
        self.engine = self._feed.engine()

    def run(self) -> None:
        """Apply frame by frame."""
        quote = self.engine.quote
        for sequence, frame in enumerate(self._feed.frames):
            quote(frame, sequence, sequence)

    def quotes(self) -> Quotes:
        """The best levels."""
        return quotes_of(self.engine, self._feed)


class CoreBatch(Contender):
    """Ours, one ``nogil`` call a batch of the journal: decode, check, apply, digest."""

    name = "tapebook_batch"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.batches: list[Batch] = batches(feed)
        self.engine = feed.engine()

    def prepare(self) -> None:
        """Empty books."""
        self.engine = self._feed.engine()

    def run(self) -> None:
        """Apply batch by batch."""
        apply_batch = self.engine.apply_batch
        for batch in self.batches:
            apply_batch(*batch)

    def quotes(self) -> Quotes:
        """The best levels."""
        return quotes_of(self.engine, self._feed)


class Orjson(Contender):
    """``orjson.loads`` and nothing else: no numbers, no book, no check."""

    name = ORJSON

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def run(self) -> None:
        """Parse frame by frame."""
        loads = orjson.loads
        for frame in self._feed.frames:
            loads(frame)


class _BookData(msgspec.Struct):
    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: int
    seq: int


class _BookMessage(msgspec.Struct):
    topic: str
    type: str
    ts: int
    data: _BookData
    cts: int


class MsgspecTyped(Contender):
    """msgspec into structs that name every key of an order-book frame: checked types, numbers still text, no book."""

    name = "msgspec_typed"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._decoder = msgspec.json.Decoder(_BookMessage)

    def run(self) -> None:
        """Decode frame by frame."""
        decode = self._decoder.decode
        for frame in self._feed.frames:
            decode(frame)


class OrjsonReference(Contender):
    """orjson, ``Decimal`` for each number, the readable reference book, best of both sides."""

    name = "orjson_reference_book"

    def __init__(self, feed: Feed, decimals: Decimals) -> None:
        self._feed = feed
        self._decimals = decimals
        self._books: dict[str, ReferenceBook] = {}

    def prepare(self) -> None:
        """Empty books."""
        self._books = {topic: ReferenceBook() for topic in self._feed.topics}

    def run(self) -> None:
        """Parse and apply frame by frame."""
        loads, books = orjson.loads, self._books
        for frame in self._feed.frames:
            message = loads(frame)
            book, data = books[message["topic"]], message["data"]
            bids = [(Decimal(price), Decimal(size)) for price, size in data["b"]]
            asks = [(Decimal(price), Decimal(size)) for price, size in data["a"]]
            if message["type"] == "snapshot":
                book.snapshot(bids, asks)
            else:
                book.delta(bids, asks)
            if book.bids:
                book.bids.peekitem(-1)
            if book.asks:
                book.asks.peekitem(0)

    def quotes(self) -> Quotes:
        """The best levels."""
        found: Quotes = {}
        for topic, book in self._books.items():
            quote: list[int | None] = []
            for side in book.top(1):
                quote += (
                    [
                        mantissa_of(value, places)
                        for value, places in zip(side[0], self._decimals[topic], strict=True)
                    ]
                    if side
                    else [None, None]
                )
            found[topic] = tuple(quote)
        return found
