"""How long from a frame's bytes to an applied book with its best bid and ask?"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from benchmarks.feed import Feed
from engine.core.feeds import Engine
from engine.reference import ReferenceBook
from schemas.errors import ConfigError, DataError
from schemas.names import Category, FeedState

try:
    import orjson
except ImportError as error:
    raise ConfigError("orjson is missing; install the test extra: pip install 'tapebook[test]'") from error

__all__ = ["CONTENDERS", "best_of_core", "best_of_reference", "decode"]

Best = dict[str, tuple[Decimal | None, ...]]


def run_core(feed: Feed) -> Engine:
    """Decode, check, apply and digest each frame in the core, and ask for the best bid and ask."""
    engine = Engine(Category.LINEAR)
    for topic in feed.topics:
        engine.add_feed(topic)
    apply, best = engine.apply, engine.best
    for sequence, frame in enumerate(feed.frames):
        best(apply(frame, sequence, sequence))
    return engine


def run_orjson(feed: Feed) -> None:
    """Only parse each frame: no numbers, no book, no checks."""
    loads = orjson.loads
    for frame in feed.frames:
        loads(frame)


def run_orjson_reference(feed: Feed) -> dict[str, ReferenceBook]:
    """Parse with orjson, apply to the readable book, ask for the best bid and ask."""
    books = {topic: ReferenceBook() for topic in feed.topics}
    for frame in feed.frames:
        message = orjson.loads(frame)
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
    return books


CONTENDERS: dict[str, Callable[[Feed], Any]] = {
    "core": run_core,
    "orjson": run_orjson,
    "orjson_reference_book": run_orjson_reference,
}


def best_of_core(engine: Engine, feed: Feed) -> Best:
    """Return the best levels of each topic as decimals; ``DataError`` if a book isn't live."""
    found: Best = {}
    for topic in feed.topics:
        index = engine.feed_index(topic)
        if engine.state(index) is not FeedState.LIVE:
            raise DataError(
                f"{topic} is {engine.state(index)}; expected live: measure with a feed without gaps"
            )
        exponents = engine.exponents(topic.split(".", 2)[2]) * 2
        found[topic] = tuple(
            None if mantissa is None else Decimal(mantissa).scaleb(exponent)
            for mantissa, exponent in zip(engine.best(index), exponents, strict=True)
        )
    return found


def best_of_reference(books: dict[str, ReferenceBook]) -> Best:
    """Return the best levels of each topic."""
    found: Best = {}
    for topic, book in books.items():
        sides = book.top(1)
        found[topic] = tuple(value for side in sides for value in (side[0] if side else (None, None)))
    return found


def decode(feed: Feed, repetitions: int) -> dict[str, Any]:
    """Time every contender over the whole feed, interleaved, and return figures in ns per frame.

    Raises:
        DataError: the contenders that build books don't agree about them, so that no figure means anything.
    """
    ours, theirs = best_of_core(run_core(feed), feed), best_of_reference(run_orjson_reference(feed))
    if ours != theirs:
        raise DataError(
            f"the books disagree, core {ours}, reference {theirs}: measure with a feed without gaps"
        )
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    names = list(CONTENDERS)
    for repetition in range(repetitions):
        # A different one goes first each time, so that no one always profits from the one before.
        turn = repetition % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.perf_counter_ns()
            CONTENDERS[name](feed)
            taken[name].append((time.perf_counter_ns() - start) / len(feed.frames))
    figures = {
        name: {"min_ns": round(min(times), 1), "median_ns": round(statistics.median(times), 1)}
        for name, times in taken.items()
    }
    return {
        "benchmark": "decode",
        "unit": "ns per frame",
        "source": feed.source,
        "frames": len(feed.frames),
        "bytes_per_frame": round(sum(map(len, feed.frames)) / len(feed.frames), 1),
        "repetitions": repetitions,
        "figures": figures,
        "times_as_fast_as_orjson": _ratio(figures, "orjson"),
        "times_as_fast_as_orjson_reference_book": _ratio(figures, "orjson_reference_book"),
        "python": platform.python_version(),
        "orjson": orjson.__version__,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }


def _ratio(figures: dict[str, dict[str, float]], other: str) -> dict[str, float]:
    """How many times the core's time the other one took, by minimum and by median."""
    return {
        figure.removesuffix("_ns"): round(figures[other][figure] / figures["core"][figure], 2)
        for figure in ("min_ns", "median_ns")
    }
