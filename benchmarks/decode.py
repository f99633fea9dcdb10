"""How long from a frame's bytes to an applied and checked book with its best bid and ask?"""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import (
    CoreBatch,
    CoreLive,
    MsgspecTyped,
    Orjson,
    OrjsonReference,
    decimals_of,
    quotes_of,
)
from benchmarks.feed import Feed, with_books
from benchmarks.peers import PACKAGES, decode_peers, make_peers
from benchmarks.timing import Contender, check_quotes, machine, time_all
from schemas.errors import ConfigError

__all__ = ["check_order_books", "contenders_of", "decode"]


def check_order_books(feed: Feed) -> None:
    """Raise ConfigError where the feed has other topics than order books."""
    others = [topic for topic in feed.topics if not topic.startswith("orderbook.")]
    if others:
        raise ConfigError(
            f"found {', '.join(others)}, expected order-book topics only: give one with --topic"
        )


def contenders_of(feed: Feed) -> list[Contender]:
    """The contenders that need no peer, over a feed of order-book frames, checked to end with the same books.

    Raises:
        DataError: one of them doesn't, or a book is not live at the end.
        ConfigError: the feed has other topics than order books.
    """
    check_order_books(feed)
    engine = with_books(feed)
    decimals = decimals_of(engine, feed)
    contenders: list[Contender] = [
        CoreLive(feed),
        CoreBatch(feed),
        Orjson(feed),
        MsgspecTyped(feed),
        OrjsonReference(feed, decimals),
    ]
    check_quotes(contenders, quotes_of(engine, feed))
    return contenders


def decode(feed: Feed, repetitions: int) -> dict[str, Any]:
    """Time every contender over the whole feed, interleaved."""
    contenders = contenders_of(feed)
    engine = with_books(feed)
    peers, left_out = make_peers(decode_peers(feed, decimals_of(engine, feed)))
    check_quotes(peers, quotes_of(engine, feed))
    times = time_all([*contenders, *peers], repetitions, len(feed.frames))
    return {
        "benchmark": "decode",
        "unit": "ns per frame",
        **feed.describe(),
        "repetitions": repetitions,
        **times.result(),
        "peers_missing": left_out,
        **machine(
            ["tapebook", "orjson", "msgspec", "sortedcontainers", "numpy", "numba", *PACKAGES.values()]
        ),
    }
