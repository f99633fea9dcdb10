"""What readers of live books in shared memory get (engine.core.shared): states and changes, as plain tuples.

Prices and sizes are ``int64`` mantissas: value = mantissa x 10^exponent. Ids and times that a feed doesn't have are
None. ``match_ms`` and ``push_ms`` are the exchange's clocks, ``receive_ns`` is the collector's wall clock, and
``published_ns`` the machine's monotonic clock (``time.monotonic_ns``) when the collector wrote it down for readers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.names import FeedState, Side

__all__ = ["BookChange", "SharedTopic", "SharedTrade", "Snapshot", "StateChange", "TapeEntry", "TradesSeen"]


class SharedTopic(NamedTuple):
    """A feed that a collector publishes.

    Attributes:
        feed: its number, which names its file and its entries on the tape.
        topic: the exchange's string.
        symbol: empty where the topic's rows name their own (trades of options).
        kind: book, rpi, trades, ticker or driven.
        depth: of a book's topic (32767: all of it); else 0.
        capacity: levels a side that readers of its book can see; 0: it has no book to read.
    """

    feed: int
    topic: str
    symbol: str
    kind: str
    depth: int
    capacity: int


class Snapshot(NamedTuple):
    """A book as it stood at one moment: all of it is of one and the same update.

    Attributes:
        state: only LIVE may be read as truth; STALE also where the writer is dead, gone or pauses.
        trouble: why the book can't be believed though it was LIVE once; empty where the state says all
            (``SharedBook.trouble``).
        cause: of the gap that is open, or None.
        sequence: of the frame in the collector's journal.
        bids, asks: (n, 2) arrays of price and size mantissas, best first; a copy.
        held: levels of bids and asks that the collector holds, of which the best are here.
        digest: of everything held (docs/verify.md); where all of it is here, it can be recomputed.
        version: rises by 2 with each state that was published.
    """

    state: FeedState
    trouble: str
    cause: str | None
    update_id: int | None
    cross_sequence: int | None
    match_ms: int | None
    push_ms: int | None
    receive_ns: int | None
    published_ns: int
    sequence: int | None
    price_exponent: int
    size_exponent: int
    bids: NDArray[np.int64]
    asks: NDArray[np.int64]
    held: tuple[int, int]
    crossed: bool
    digest: int
    version: int


class BookChange(NamedTuple):
    """A message of a LIVE book was applied.

    Attributes:
        ordinal: of the entry on the tape, from 1 on, without holes.
        is_snapshot: the levels are the whole book, not what changed.
        bids, asks: (n, 2) arrays of price and size mantissas as the message had them; size 0 removes a price. The
            exponents are those in force behind it: where they are finer than before, what a reader holds is rescaled.
        levels_omitted: too many for the tape; read the ``SharedBook``.
    """

    feed: int
    topic: str
    ordinal: int
    is_snapshot: bool
    update_id: int | None
    cross_sequence: int | None
    match_ms: int | None
    push_ms: int | None
    receive_ns: int | None
    published_ns: int
    sequence: int | None
    price_exponent: int
    size_exponent: int
    bids: NDArray[np.int64]
    asks: NDArray[np.int64]
    levels_omitted: bool


class SharedTrade(NamedTuple):
    """One trade. ``side`` is the taker's."""

    symbol: str
    side: Side
    price: int
    size: int
    price_exponent: int
    size_exponent: int
    match_ms: int
    cross_sequence: int | None
    is_block: bool
    is_rpi: bool


class TradesSeen(NamedTuple):
    """Trades of one message, oldest first: those that no message before had."""

    feed: int
    topic: str
    ordinal: int
    push_ms: int | None
    receive_ns: int | None
    published_ns: int
    sequence: int | None
    trades: tuple[SharedTrade, ...]


class StateChange(NamedTuple):
    """A feed's state, or the cause of its gap, has changed.

    Attributes:
        state: from now on.
        cause: of the gap that is open, or None.
        ended: the feed isn't recorded any more.
        update_id: of the last good message, or None.
    """

    feed: int
    topic: str
    ordinal: int
    state: FeedState
    cause: str | None
    ended: bool
    update_id: int | None
    receive_ns: int | None
    published_ns: int


TapeEntry = BookChange | TradesSeen | StateChange
