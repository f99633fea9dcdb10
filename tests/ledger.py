"""What a recorder must have, worked out from the gateway's ledger of what was sent to it.

The oracle follows each feed through the ledger's topics, update ids and types (design, "When a book may be
believed"; protocol section 4) and shares nothing with the core or the reference model. Bytes are looked at only
after the ledger's crc32 has vouched for them: for trade ids, and for the topic that damaged bytes still show.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from schemas.names import Category

__all__ = [
    "PLAIN",
    "QUIET",
    "BookRow",
    "Entry",
    "Expected",
    "Feed",
    "Gap",
    "Ladder",
    "Oracle",
    "TickerRow",
    "TradeRow",
    "expect",
    "is_chain",
    "read_ledger",
]

PLAIN: Final = ("kline", "priceLimit", "allLiquidation", "insurance", "adlAlert", "system")
"""First words of topics whose messages stand for themselves."""
QUIET: Final = ("publicTrade", "allLiquidation", "insurance", "adlAlert", "system")
"""Of topics that are good from their acknowledgement on, because they may have nothing to say."""

_TOPIC: Final = re.compile(rb'"topic":"([^"]*)"')


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger."""

    event: str
    connection: int
    topic: str | None = None
    u: int | None = None
    seq: int | None = None
    crc32: str | None = None
    book: str | None = None
    conn_id: str | None = None
    topics: list[str] = []
    type: str | None = None
    rebuilt: bool = False
    fault: str | None = None
    sent_ns: int = 0


_ENTRY: Final = msgspec.json.Decoder(Entry)


def read_ledger(path: Path) -> list[Entry]:
    """Read the whole lines of a ledger that may still be written to."""
    return [_ENTRY.decode(line) for line in path.read_bytes().split(b"\n")[:-1]]


class Gap(NamedTuple):
    """What a row of ``gaps`` must say."""

    topic: str
    cause: str
    first_update_id: int | None
    last_update_id: int | None
    healed_by: str | None


class BookRow(NamedTuple):
    """What a row of ``book_updates`` must say; ``frame`` counts the frames before the one it comes from."""

    frame: int
    kind: str
    update_id: int
    applied: bool


class TickerRow(NamedTuple):
    """What a row of ``tickers`` must say; ``frame`` counts the frames before the one it comes from."""

    frame: int
    kind: str
    applied: bool


class TradeRow(NamedTuple):
    """What a row of ``trades`` must say."""

    symbol: str
    trade_id: str
    side: str
    price: Decimal
    size: Decimal
    match_ms: int


@dataclass
class Expected:
    """What must be found.

    Attributes:
        faults: how often each fault befell a frame or a connection.
        messages: decodable frames per topic.
        undecodable: damaged frames.
        repeats: order-book messages and trades that make no row.
        books, tickers: rows per topic in order.
        trades: rows per symbol in order.
        plain: frames of topics whose messages stand for themselves, in order.
        gaps: in no order; those of trades are told apart from the others by their topic.
    """

    faults: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    undecodable: int = 0
    repeats: int = 0
    books: dict[str, list[BookRow]] = field(default_factory=dict)
    tickers: dict[str, list[TickerRow]] = field(default_factory=dict)
    trades: dict[str, list[TradeRow]] = field(default_factory=dict)
    plain: list[int] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def expect(entries: Iterable[Entry], frames: Sequence[bytes], category: Category) -> Expected:
    """Work out what a recorder of these frames must have.

    Args:
        entries: the ledger's; read until every frame has been met.
        frames: what the recorder journalled, in order: each must be what the ledger says was sent next.
        category: of the connection.

    Raises:
        AssertionError: a frame is missing, was altered or came out of order.
    """
    oracle = Oracle(category)
    waiting = iter(frames)
    received = 0
    for entry in entries:
        if entry.event == "frame":
            payload = next(waiting, None)
            if payload is None:
                break
            assert f"{zlib.crc32(payload):08x}" == entry.crc32, (
                f"frame {received} is not what was sent: {entry}"
            )
            received += 1
            oracle.frame(entry, payload)
        else:
            oracle.other(entry)
    assert received == len(frames), f"{len(frames)} frames were journalled, {received} sent"
    return oracle.finish()


def is_chain(topic: str) -> bool:
    """Whether a topic's update ids are consecutive."""
    name, _, rest = topic.partition(".")
    depth = rest.partition(".")[0]
    return name == "orderbook" and depth.isdecimal() and depth != "1"


@dataclass
class Feed:
    """What the oracle knows of one topic."""

    topic: str
    name: str
    is_chain: bool
    needs_snapshot: bool
    live: bool = False
    update_id: int | None = None
    sequence: int | None = None
    good: int = -1
    seen: set[int] = field(default_factory=set)
    gap: tuple[str, int | None] | None = None


class Oracle:
    """The state machine: frames as the ledger knows them, and what happens between them."""

    def __init__(self, category: Category) -> None:
        self._full_tickers = category in (Category.SPOT, Category.OPTION)
        self._feeds: dict[str, Feed] = {}
        self._trade_ids: dict[str, set[str]] = {}
        self._at = -1
        self._connection = 0
        self._is_closing = False
        self._unattributed = -1
        self._line_gap = False
        self.expected = Expected()

    def _feed(self, topic: str) -> Feed:
        if topic not in self._feeds:
            name = topic.partition(".")[0]
            self._feeds[topic] = Feed(
                topic,
                name,
                is_chain=is_chain(topic),
                needs_snapshot=is_chain(topic) or (name == "tickers" and not self._full_tickers),
            )
        return self._feeds[topic]

    def frame(self, entry: Entry, payload: bytes) -> None:
        """A frame arrived."""
        self._at += 1
        self.arrive(entry.connection)
        assert entry.topic is not None
        feed = self._feed(entry.topic)
        if entry.fault == "corrupt":
            self._damage(payload)
            return
        self.expected.messages[feed.topic] += 1
        if self._line_gap:
            self.expected.gaps.append(Gap("", "undecodable", None, None, "message"))
            self._line_gap = False
        if feed.name == "orderbook":
            self._book(feed, entry, json.loads(payload)["data"].get("seq"))
        elif feed.name == "tickers":
            self._ticker(feed, entry)
        elif feed.name in PLAIN:
            self._heal(feed, "message")
            self._good(feed)
            self.expected.plain.append(self._at)
        else:
            self._trades(feed, payload)

    def other(self, entry: Entry) -> None:
        """Something else is in the ledger."""
        if entry.event == "fault":
            assert entry.fault is not None
            self.expected.faults[entry.fault] += 1
            # A last frame may still go out before the connection is really closed.
            self._is_closing = self._is_closing or entry.fault in ("close", "cut")
        elif entry.event == "subscribe":
            self.arrive(entry.connection)
            assert entry.topic is not None
            self.subscribed([entry.topic])

    def subscribed(self, topics: Iterable[str]) -> None:
        """Topics are subscribed, as far as the recorder can tell; some begin with that."""
        for feed in map(self._feed, topics):
            if feed.name in QUIET:
                self._heal(feed, "subscribed")

    def stale(self, topic: str, cause: str) -> None:
        """The recorder says that it doesn't believe a feed any more, for a reason that no frame shows."""
        feed = self._feed(topic)
        if feed.live:
            self.lose(feed, cause)

    def arrive(self, connection: int) -> None:
        """Whatever comes over a new connection shows that the one before it is gone."""
        if connection != self._connection:
            self.disconnected()
            self._connection = connection

    def disconnected(self) -> None:
        """The connection is gone."""
        self._is_closing = False
        for feed in self._feeds.values():
            if feed.live:
                self.lose(feed, "disconnect")

    def finish(self) -> Expected:
        """Nothing more will come."""
        if self._is_closing:
            self.disconnected()
        open_gaps = [(feed.topic, *feed.gap) for feed in self._feeds.values() if feed.gap is not None]
        if self._line_gap:
            open_gaps.append(("", "undecodable", None))
        self.expected.gaps += [Gap(topic, cause, first, None, None) for topic, cause, first in open_gaps]
        return self.expected

    # ---- frames ----

    def _damage(self, payload: bytes) -> None:
        self.expected.undecodable += 1
        for found in _TOPIC.finditer(payload):
            feed = self._feeds.get(found[1].decode(errors="replace"))
            if feed is not None:
                if feed.live:
                    self.lose(feed, "undecodable")
                elif feed.gap is None:
                    feed.gap = ("undecodable", None)
                return
        self._unattributed = self._at
        self._line_gap = True

    def _book(self, feed: Feed, entry: Entry, sequence: int | None) -> None:
        assert entry.u is not None
        assert entry.type is not None
        rows = self.expected.books.setdefault(feed.topic, [])
        if entry.type == "snapshot":
            feed.seen = {entry.u}
            if feed.live and feed.is_chain and feed.update_id is not None and entry.u > feed.update_id + 1:
                # Nobody had missed anything, and yet there is something between.
                self.lose(feed, self._cause_of_loss(feed), entry)
            self._heal(feed, "snapshot", entry.u)
            self._good(feed, entry.u, sequence)
            rows.append(BookRow(self._at, "snapshot", entry.u, True))
            return
        applied = feed.live and feed.update_id is not None and entry.u == feed.update_id + 1
        is_newer = sequence is not None and feed.sequence is not None and sequence > feed.sequence
        if feed.live and feed.update_id is not None and 1 < entry.u <= feed.update_id and is_newer:
            # Of a chain whose snapshot never came.
            self.lose(feed, "reset", entry)
            feed.seen.clear()
        if entry.u in feed.seen:
            self.expected.repeats += 1
            return
        if applied:
            self._good(feed, entry.u, sequence)
        elif not feed.live and feed.gap is None:
            self.missed(feed)
            feed.gap = ("no_snapshot", entry.u)
        elif feed.live and entry.u == 1:
            # A restart: a new chain, which the next snapshot will join.
            self.lose(feed, "reset", entry)
            feed.seen.clear()
        elif feed.live and feed.update_id is not None and entry.u > feed.update_id:
            self.lose(feed, self._cause_of_loss(feed), entry)
        feed.seen.add(entry.u)
        rows.append(BookRow(self._at, "delta", entry.u, applied))

    def _ticker(self, feed: Feed, entry: Entry) -> None:
        assert entry.type is not None
        applied = feed.live or entry.type == "snapshot"
        if applied:
            self._heal(feed, "snapshot" if feed.needs_snapshot else "message")
            self._good(feed)
        elif feed.gap is None:
            self.missed(feed)
            feed.gap = ("no_snapshot", None)
        self.expected.tickers.setdefault(feed.topic, []).append(TickerRow(self._at, entry.type, applied))

    def _trades(self, feed: Feed, payload: bytes) -> None:
        self._heal(feed, "message")
        self._good(feed)
        known = self._trade_ids.setdefault(feed.topic, set())
        for trade in json.loads(payload)["data"]:
            if trade["i"] in known:
                self.expected.repeats += 1
                continue
            known.add(trade["i"])
            self.expected.trades.setdefault(trade["s"], []).append(
                TradeRow(
                    trade["s"],
                    trade["i"],
                    trade["S"].lower(),
                    Decimal(trade["p"]),
                    Decimal(trade["v"]),
                    trade["T"],
                )
            )

    # ---- states ----

    def _cause_of_loss(self, feed: Feed) -> str:
        return "undecodable" if self._unattributed > feed.good else "lost"

    def _good(self, feed: Feed, update_id: int | None = None, sequence: int | None = None) -> None:
        feed.live, feed.good = True, self._at
        feed.update_id, feed.sequence = update_id, sequence

    def missed(self, feed: Feed) -> None:
        """A feed delivers without ever having had its first snapshot."""

    def lose(self, feed: Feed, cause: str, entry: Entry | None = None) -> None:
        """A live feed may not be believed from here on; ``entry`` is the frame that shows it, if one does."""
        first = feed.update_id + 1 if feed.is_chain and feed.update_id is not None else None
        feed.live, feed.gap = False, (cause, first)

    def _heal(self, feed: Feed, healed_by: str, update_id: int | None = None) -> None:
        if feed.gap is not None:
            last = None
            if feed.is_chain and update_id is not None and update_id > 1:
                is_new_chain = feed.update_id is not None and update_id < feed.update_id
                last = None if is_new_chain else update_id - 1
            cause, first = feed.gap
            self.expected.gaps.append(Gap(feed.topic, cause, first, last, healed_by))
            feed.gap = None
        feed.live = True


class Ladder:
    """An order book as two plain dicts from price to size, both scaled integers: a model too simple to be wrong."""

    def __init__(self) -> None:
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def replace(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> None:
        """Take a full book."""
        self.bids, self.asks = dict(bids), dict(asks)

    def change(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> None:
        """Set absolute sizes; zero removes."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, size in levels:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    def top(self, depth: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return both sides, best first."""
        bids = sorted(self.bids.items(), reverse=True)[:depth]
        return bids, sorted(self.asks.items())[:depth]

    def crc32(self, depth: int) -> str:
        """Return the checksum of the window as the feed's check file defines it."""
        return f"{zlib.crc32('|'.join(map(_side_text, self.top(depth))).encode()):08x}"


def _side_text(levels: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> str:
    return ";".join(f"{price}:{size}" for price, size in levels)
