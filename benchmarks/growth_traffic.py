"""The deltas of a feed, given to few or many books: who holds how many, and whose frames come how often."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple

import orjson

from benchmarks.contenders import symbol_of
from benchmarks.feed import Feed, feed_of, topic_of
from schemas.errors import DataError

__all__ = ["BUSY", "Readdressed", "Traffic", "readdress", "weights_of"]

BUSY = 10
"""Books that have all frames while the others are only held."""
SEED = 20_240_808


class Traffic(StrEnum):
    """Whose frames come how often.

    ``held``: ten books that lie anywhere have all frames, about as many each; the others are held, and quiet.
    ``ranked``: the busiest book has twice as many as the next, three times as many as the third, and so on.
    ``even``: every book has as many, and the next frame is almost always for one that had none for long.
    """

    HELD = "held"
    RANKED = "ranked"
    EVEN = "even"


def weights_of(traffic: Traffic, books: int, seed: int = SEED) -> list[float]:
    """How often each book has a frame, relative to the others."""
    if traffic is Traffic.EVEN:
        return [1.0] * books
    weights = [0.0] * books
    places = Random(seed).sample(range(books), books)
    for rank, place in enumerate(places[:BUSY] if traffic is Traffic.HELD else places):
        weights[place] = 1.0 if traffic is Traffic.HELD else 1 / (rank + 1)
    return weights


class Readdressed(NamedTuple):
    """The deltas of a feed, spread over books.

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


Stamped = tuple[int, bytes]


def readdress(feed: Feed, weights: Sequence[float], seed: int = SEED) -> Readdressed:
    """Cut each topic's chain of frames into pieces, one a book, and mix the books' frames in random order.

    However many books there are, the deltas are the same: what differs is to how many books they go, and whose comes
    next. Symbols get new names, all of the same length.

    Args:
        feed: order-book frames; each topic begins with its only snapshot.
        weights: how often each book has a frame, relative to the others; one of weight 0 only has its snapshot.
        seed: of the order.

    Raises:
        DataError: too few frames for so many books, or a snapshot inside a topic's chain.
    """
    chains: dict[str, list[Stamped]] = {topic: [] for topic in feed.topics}
    for receive_ns, frame in zip(feed.receive_ns, feed.frames, strict=True):
        chains[topic_of(frame)].append((receive_ns, frame))
    snapshots: list[Stamped] = [(0, b"")] * len(weights)
    queues: list[list[Stamped]] = [[] for _ in weights]
    # the busiest go to the chains in turn and back again, so that none has more of them
    shares: list[list[int]] = [[] for _ in chains]
    turns = itertools.cycle([*shares, *reversed(shares)])
    for book in sorted(range(len(weights)), key=lambda book: -weights[book]):
        next(turns).append(book)
    for chain, mine in zip(chains.values(), shares, strict=True):
        try:
            counts = _apportioned(len(chain) - 1, [weights[book] for book in mine])
        except ValueError:
            raise DataError(
                f"found {len(feed.frames)} frames of {len(chains)} topics for {len(weights)} books, "
                "expected a delta for each that is to have some"
            ) from None
        for book, snapshot, queue in _cut(chain, dict(zip(mine, counts, strict=True))):
            snapshots[book], queues[book] = snapshot, queue
    order = [book for book, queue in enumerate(queues) for _ in queue]
    Random(seed).shuffle(order)
    heads = [iter(queue) for queue in queues]
    # Stamps go by the original chains: nothing in the core asks that they rise.
    deltas = (next(heads[book]) for book in order)
    return Readdressed(feed_of(feed.source, snapshots), feed_of(feed.source, deltas))


def _apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Share out ``total`` by weight, at least one for each weight above 0. ValueError if that can't be."""
    wanted = sum(weight > 0 for weight in weights)
    if not 0 < wanted <= total:
        raise ValueError
    rest, all_weights = total - wanted, sum(weights)
    counts, seen, given = [], 0.0, 0
    for weight in weights:
        seen += weight
        upto = round(rest * seen / all_weights)
        counts.append(upto - given + (weight > 0))
        given = upto
    return counts


def _cut(chain: Sequence[Stamped], counts: dict[int, int]) -> Iterator[tuple[int, Stamped, list[Stamped]]]:
    """Cut one chain into (book, its snapshot, its deltas), for each book as many deltas as ``counts`` says."""
    symbol = symbol_of(topic_of(chain[0][1])).encode()
    text = _Text()
    base = orjson.loads(chain[0][1])
    text.take(base)
    at = 1
    for book, count in counts.items():
        name = b"S%06dUSDT" % book
        snapshot = (chain[at - 1][0], text.snapshot(base).replace(symbol, name))
        queue = []
        for receive_ns, frame in chain[at : at + count]:
            base = orjson.loads(frame)
            if base["type"] != "delta":
                raise DataError(
                    f"{topic_of(frame)}: found a second snapshot, expected one chain without gaps"
                )
            text.take(base)
            queue.append((receive_ns, frame.replace(symbol, name)))
        at += count
        yield book, snapshot, queue
