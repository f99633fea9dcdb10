"""What does a frame cost, and a book hold, when there are thousands of books?"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson

from benchmarks.contenders import CoreBatch, CoreLive, symbol_of
from benchmarks.decode import check_order_books
from benchmarks.feed import CATEGORY, Feed, feed_of, topic_of, with_books
from benchmarks.timing import Contender, Times, machine, time_all
from engine.core.feeds import Engine
from schemas.errors import DataError
from schemas.names import FeedState

__all__ = ["BOOKS", "Readdressed", "growth", "readdress"]

BOOKS = (10, 100, 1_000, 2_000)
SEED = 20_240_808


class Readdressed(NamedTuple):
    """The deltas of a feed, spread over many books.

    Attributes:
        snapshots: the frame that each book begins with, one a book.
        deltas: every delta of the feed once, each of them to the book that follows on it.
    """

    snapshots: Feed
    deltas: Feed


class _Text:
    """A book whose levels are the texts of the frames, so that its snapshots are written as the exchange writes."""

    def __init__(self) -> None:
        self.sides: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def take(self, message: dict[str, Any]) -> None:
        """Apply a message."""
        for side, key in zip(self.sides, "ba", strict=True):
            if message["type"] == "snapshot":
                side.clear()
            for price, size in message["data"][key]:
                side.pop(price, None)
                if float(size):
                    side[price] = size

    def snapshot(self, message: dict[str, Any]) -> bytes:
        """The state as the snapshot frame that would have come instead of ``message``."""
        levels = [sorted(side.items(), key=lambda level: float(level[0])) for side in self.sides]
        levels[0].reverse()
        data = message["data"] | {"b": levels[0], "a": levels[1]}
        return orjson.dumps(message | {"type": "snapshot", "data": data})


def readdress(feed: Feed, books: int, seed: int = SEED) -> Readdressed:
    """Cut each topic's chain of frames into pieces, one a book, and interleave the books in random order.

    However many books there are, the deltas are the same: what differs is only how many books they go to, and that the
    next frame is almost always for another one. Symbols get new names, all of the same length.

    Args:
        feed: order-book frames; each topic begins with its only snapshot.
        books: how many; at least as many as topics, at most as many as there are deltas.
        seed: of the order.

    Raises:
        DataError: too few frames for so many books, or a snapshot inside a topic's chain.
    """
    chains: dict[str, list[tuple[int, bytes]]] = {topic: [] for topic in feed.topics}
    for receive_ns, frame in zip(feed.receive_ns, feed.frames, strict=True):
        chains[topic_of(frame)].append((receive_ns, frame))
    snapshots: list[tuple[int, bytes]] = []
    queues: list[list[tuple[int, bytes]]] = []
    for number, chain in enumerate(chains.values()):
        share = books // len(chains) + (number < books % len(chains))
        if not 0 < share < len(chain):
            raise DataError(
                f"found {len(feed.frames)} frames of {len(chains)} topics for {books} books, expected a delta for each"
            )
        _cut(chain, share, len(queues), snapshots, queues)
    random = Random(seed)
    order = [book for book, queue in enumerate(queues) for _ in queue]
    random.shuffle(order)
    heads = [iter(queue) for queue in queues]
    # Stamps go by the original chains: nothing in the core asks that they rise.
    deltas = (next(heads[book]) for book in order)
    return Readdressed(feed_of(feed.source, snapshots), feed_of(feed.source, deltas))


def _cut(
    chain: list[tuple[int, bytes]],
    share: int,
    first: int,
    snapshots: list[tuple[int, bytes]],
    queues: list[list[tuple[int, bytes]]],
) -> None:
    """Cut one chain into ``share`` pieces for the books from ``first`` on."""
    symbol = symbol_of(topic_of(chain[0][1])).encode()
    book = _Text()
    book.take(orjson.loads(chain[0][1]))
    base = orjson.loads(chain[0][1])
    bounds = [1 + piece * (len(chain) - 1) // share for piece in range(share + 1)]
    for piece in range(share):
        name = b"S%06dUSDT" % (first + piece)
        snapshots.append((chain[bounds[piece]][0], book.snapshot(base).replace(symbol, name)))
        queue = []
        for receive_ns, frame in chain[bounds[piece] : bounds[piece + 1]]:
            base = orjson.loads(frame)
            if base["type"] != "delta":
                raise DataError(
                    f"{topic_of(frame)}: found a second snapshot, expected one chain without gaps"
                )
            book.take(base)
            queue.append((receive_ns, frame.replace(symbol, name)))
        queues.append(queue)


class Held(Contender):
    """A contender whose books hold their snapshots before the clock starts."""

    def __init__(self, readdressed: Readdressed, contender: CoreLive | CoreBatch, name: str) -> None:
        self.name = name
        self._snapshots = readdressed.snapshots
        self._contender = contender

    def prepare(self) -> None:
        """Books as their snapshots say."""
        engine = Engine(CATEGORY)
        for sequence, frame in enumerate(self._snapshots.frames):
            engine.add_feed(topic_of(frame))
            engine.apply(frame, sequence, sequence)
        self._contender.engine = engine

    def run(self) -> None:
        """Apply the deltas."""
        self._contender.run()

    def check(self) -> None:
        """Raise DataError unless every book is live and has had its deltas."""
        engine = self._contender.engine
        for index, topic in enumerate(engine.topics()):
            if engine.state(index) is not FeedState.LIVE or engine.messages(index) < 2:
                raise DataError(
                    f"{topic} is {engine.state(index)} after {engine.messages(index)} frames, expected live"
                )


def measured(feed: Feed, repetitions: int, books: Sequence[int]) -> tuple[Times, Times]:
    """Time live calls and batches over the deltas for each number of books; two sets of times, by number of books."""
    live: list[Contender] = []
    batch: list[Contender] = []
    for count in books:
        readdressed = readdress(feed, count)
        for out, kind in ((live, CoreLive), (batch, CoreBatch)):
            held = Held(readdressed, kind(readdressed.deltas), str(count))
            held.prepare()
            held.run()
            held.check()
            out.append(held)
    deltas = len(feed.frames) - len(feed.topics)
    return time_all(live, repetitions, deltas), time_all(batch, repetitions, deltas)


def memory(feed: Feed, books: Sequence[int]) -> dict[str, Any]:
    """Memory per book between the smallest and the largest number of books, each in a process of its own.

    Raises:
        DataError: the child process failed.
    """
    found = {}
    for count in (min(books), max(books)):
        snapshots = readdress(feed, count).snapshots.frames
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.growth_memory"],
            input=b"".join(len(frame).to_bytes(4, "little") + frame for frame in snapshots),
            capture_output=True,
            check=False,
            cwd=Path(__file__).resolve().parent.parent,
        )
        if child.returncode:
            raise DataError(
                f"the process that holds {count} books failed: {child.stderr.decode(errors='replace')}"
            )
        found[count] = json.loads(child.stdout)
    few, many = found[min(books)], found[max(books)]
    more = max(books) - min(books)
    return {
        "books": more,
        "levels_per_book": round((many["levels"] - few["levels"]) / more, 1),
        **{
            f"{name}_per_book": None if many[name] is None else round((many[name] - few[name]) / more, 1)
            for name in ("resident_bytes", "allocated_bytes")
        },
    }


def growth(feed: Feed, repetitions: int, books: Sequence[int] = BOOKS) -> dict[str, Any]:
    """Time the same deltas, spread over more and more books, and weigh the books."""
    check_order_books(feed)
    with_books(feed)
    live, batch = measured(feed, repetitions, books)
    least = str(min(books))
    return {
        "benchmark": "growth",
        "unit": "ns per frame",
        **feed.describe(),
        "repetitions": repetitions,
        "books": list(books),
        "figures": {"tapebook_live": live.figures(), "tapebook_batch": batch.figures()},
        "wall_to_processor_time": {"tapebook_live": live.wall_ratio, "tapebook_batch": batch.wall_ratio},
        f"ratio_to_{least}_books": {
            "tapebook_live": live.ratios(least),
            "tapebook_batch": batch.ratios(least),
        },
        "memory": memory(feed, books),
        **machine(["tapebook", "numpy"]),
    }
