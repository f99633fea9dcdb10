"""Whatever happens to an engine, a reader of its shared memory sees the engine's books and states; and the tape tells
how they came about."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.book import Book
from engine.core.feeds import Engine
from engine.shared import BookChange, StateChange, TradesSeen
from schemas.names import FeedState
from tests.engine.core.shared_memory import Published

BOOKS = ("orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "orderbook.3.ETHUSDT", "orderbook.full.BTCUSDT")
OTHERS = ("publicTrade.BTCUSDT", "tickers.BTCUSDT")
LATE = "orderbook.50.NEWUSDT"

prices = st.sampled_from(["99", "99.5", "99.25", "100", "100.5", "101", "101.125", "102"])
sizes = st.sampled_from(["0", "1", "2.5", "3.125"])
sides = st.lists(st.tuples(prices, sizes), max_size=6, unique_by=lambda level: float(level[0]))
lines = st.integers(0, 1)
operations = st.one_of(
    st.tuples(st.just("snapshot"), st.sampled_from(BOOKS), sides, sides, st.integers(0, 3), lines),
    st.tuples(
        st.just("delta"),
        st.sampled_from((*BOOKS, LATE)),
        sides,
        sides,
        st.sampled_from([1, 1, 1, 1, 1, 2, 0, -1]),
        lines,
    ),
    st.tuples(
        st.just("trades"),
        st.lists(st.tuples(prices, sizes.filter(lambda size: size != "0"), st.integers(0, 20)), max_size=3),
        lines,
    ),
    st.tuples(st.just("broken"), st.sampled_from((*BOOKS, "nobody")), lines),
    st.tuples(st.just("disconnect"), lines),
    st.tuples(st.just("subscribed"), st.sampled_from((*BOOKS, *OTHERS)), lines),
    st.tuples(st.just("unsubscribed"), st.sampled_from((*BOOKS, *OTHERS)), lines),
    st.tuples(st.just("stale"), st.sampled_from(BOOKS)),
    st.tuples(st.just("end"), st.sampled_from((*BOOKS, *OTHERS))),
    st.tuples(st.just("add"), st.sampled_from((*BOOKS, *OTHERS, LATE))),
    st.tuples(st.just("widen"), st.integers(0, 6), st.integers(0, 6)),
    st.tuples(st.just("restate"), sides, sides),
    st.tuples(st.just("checkpoint"), st.sampled_from(BOOKS)),
)


BEGINNING = [("snapshot", topic, [("99", "1"), ("98.5", "2")], [("103", "3")], 0, 0) for topic in BOOKS[:3]]


class Driven:
    """An engine that does what it is told, and a reader beside it."""

    def __init__(self, capacity: int | None) -> None:
        self.engine = Engine("linear")
        for topic in (*BOOKS, *OTHERS):
            self.engine.add_feed(topic)
        self.published = Published(self.engine, capacity=capacity, ring_bytes=1 << 16)
        self.capacity = capacity
        self.sequence = 0
        self.last: dict[str, int] = {}
        self.now_ns = 1_700_000_000_000_000_000

    def do(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        self.sequence += 1
        self.now_ns += 1_000_000
        getattr(self, f"_{name}")(*arguments)
        self.engine.take_events()

    def _frame(self, topic: str, kind: str, data: object, line: int = 0) -> None:
        message = {
            "topic": topic,
            "type": kind,
            "ts": self.now_ns // 10**6,
            "data": data,
            "cts": self.now_ns // 10**6 - 1,
        }
        self.engine.apply(
            json.dumps(message, separators=(",", ":")).encode(), self.now_ns, self.sequence, line
        )

    def _levels(self, topic: str, kind: str, bids: object, asks: object, step: int, line: int = 0) -> None:
        update_id = self.last[topic] = max(self.last.get(topic, 1) + step, 1)
        data = {"s": topic.rsplit(".", 1)[1], "b": bids, "a": asks, "u": update_id, "seq": 10 * update_id}
        self._frame(topic, kind, data, line)

    def _snapshot(self, topic: str, bids: Any, asks: Any, step: int, line: int) -> None:
        full = [[price, "1" if size == "0" else size] for price, size in asks]
        self._levels(topic, "snapshot", [level for level in bids if level[1] != "0"], full, step, line)

    def _delta(self, topic: str, bids: Any, asks: Any, step: int, line: int) -> None:
        self._levels(topic, "delta", bids, asks, step, line)

    def _trades(self, trades: list[tuple[str, str, int]], line: int) -> None:
        self._frame(
            "publicTrade.BTCUSDT",
            "snapshot",
            [
                {"T": self.now_ns // 10**6, "s": "BTCUSDT", "S": "Sell", "v": size, "p": price, "L": "PlusTick",
                 "i": f"id-{number}", "BT": False, "seq": number}
                for price, size, number in trades
            ],
            line,
        )  # fmt: skip

    def _broken(self, topic: str, line: int) -> None:
        self.engine.apply(b'{"topic":"' + topic.encode() + b'","data":[}', self.now_ns, self.sequence, line)

    def _disconnect(self, line: int) -> None:
        self.engine.disconnect(line, self.now_ns, self.sequence)

    def _subscribed(self, topic: str, line: int) -> None:
        self.engine.subscribed(topic, self.now_ns, self.sequence, line)

    def _unsubscribed(self, topic: str, line: int) -> None:
        self.engine.unsubscribed(topic, self.now_ns, self.sequence, line)

    def _stale(self, topic: str) -> None:
        self.engine.stale(topic, "silence", self.now_ns, self.sequence)

    def _end(self, topic: str) -> None:
        self.engine.end_feed(topic, self.now_ns, self.sequence)

    def _add(self, topic: str) -> None:
        self.engine.add_feed(topic)
        self.published.add_feeds()

    def _widen(self, price: int, size: int) -> None:
        self.engine.widen("BTCUSDT", price, size, self.now_ns, self.sequence)

    def _restate(self, bids: Any, asks: Any) -> None:
        topic = "orderbook.full.BTCUSDT"
        update_id = self.last[topic] = self.last.get(topic, 1) + 5
        data = {"s": "BTCUSDT", "b": [b for b in bids if b[1] != "0"], "a": [a for a in asks if a[1] != "0"],
                "u": update_id, "seq": update_id}  # fmt: skip
        message = {
            "topic": topic,
            "type": "snapshot",
            "ts": self.now_ns // 10**6,
            "data": data,
            "cts": self.now_ns // 10**6,
        }
        self.engine.restate(topic, [json.dumps(message).encode()], self.now_ns, self.sequence)

    def _checkpoint(self, topic: str) -> None:
        """What a run takes over: the core doesn't notice, the heartbeat does."""
        self.engine.restore(self.engine.checkpoint(self.engine.feed_index(topic)))
        self.published.publisher.beat(self.published.now_ns)

    def check(self) -> None:
        """Every reader sees what the engine has."""
        for feed, topic in enumerate(self.engine.topics()):
            if feed not in self.published.memories:
                continue
            book = self.published.book(feed)
            got = book.read()
            most = min(self.capacity or 1000, book.depth)
            bids, asks = self.engine.levels(feed, most)
            held = self.engine.levels(feed)
            assert [tuple(level) for level in got.bids.tolist()] == bids, topic
            assert [tuple(level) for level in got.asks.tolist()] == asks, topic
            assert got.held == (len(held[0]), len(held[1]))
            assert got.state is self.engine.state(feed) is book.state()
            assert (got.price_exponent, got.size_exponent) == self.engine.exponents(topic.rsplit(".", 1)[1])
            assert got.update_id == self.engine.update_id(feed)
            assert (got.cross_sequence, got.match_ms, got.push_ms, got.receive_ns) == self.engine.last_good(
                feed
            )
            assert got.digest == self.engine.digest(feed)
            gap = self.engine.open_gap(feed)
            assert got.cause == (None if gap is None else gap.cause)
            assert got.trouble == ("feed ended" if self.engine.ended(feed) else "")
            live = got.state is FeedState.LIVE and not got.trouble
            assert book.best() == (self.engine.best(feed) if live else None)
            version = book.begin()
            counts, first = book.counts, (book.bids[:1].copy(), book.asks[:1].copy())
            assert book.unchanged(version)
            assert counts == (len(bids), len(asks))
            for side, levels in zip(first, (bids, asks), strict=True):
                assert not levels or tuple(side[0]) == levels[0]


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=40), st.sampled_from([None, 1, 2]))
def test_a_reader_sees_what_the_engine_has(program: list[tuple[Any, ...]], capacity: int | None) -> None:
    driven = Driven(capacity)
    driven.check()
    for operation in (*BEGINNING, *program):
        driven.do(operation)
        driven.check()


@settings(max_examples=100, deadline=None)
@given(st.lists(operations, max_size=60))
def test_the_tape_tells_how_books_and_states_came_about(program: list[tuple[Any, ...]]) -> None:
    driven = Driven(None)
    engine = driven.engine
    tape = driven.published.tape()
    books: dict[str, Book] = {}
    states: dict[str, tuple[FeedState, str | None, bool]] = {}
    trades = 0
    ordinal = 0
    for operation in (*BEGINNING, *program):
        driven.do(operation)
        for entry in tape.read():
            ordinal += 1
            assert entry.ordinal == ordinal
            if isinstance(entry, StateChange):
                states[entry.topic] = (entry.state, entry.cause, entry.ended)
            elif isinstance(entry, TradesSeen):
                trades += len(entry.trades)
            else:
                _follow(books, entry)
        assert tape.lost == 0
        for feed, topic in enumerate(engine.topics()):
            gap = engine.open_gap(feed)
            now = (engine.state(feed), None if gap is None else gap.cause, engine.ended(feed))
            known = topic != LATE and now != (FeedState.EMPTY, None, False)
            if known or topic in states:
                assert states[topic] == now, topic
            if topic in books and engine.state(feed) is FeedState.LIVE:
                assert _levels_of(books[topic], engine, topic) == engine.levels(feed)
        assert trades == engine.feed_counters(engine.feed_index("publicTrade.BTCUSDT"))["rows"]


def _follow(books: dict[str, Book], entry: BookChange) -> None:
    columns = [
        np.ascontiguousarray(side[:, column]) for side in (entry.bids, entry.asks) for column in (0, 1)
    ]
    if entry.is_snapshot or entry.topic not in books:
        assert entry.is_snapshot
        books[entry.topic] = Book(32767)
        books[entry.topic].load(*columns, entry.price_exponent, entry.size_exponent)
    else:
        books[entry.topic].apply(*columns, entry.price_exponent, entry.size_exponent)


def _levels_of(book: Book, engine: Engine, topic: str) -> tuple[list[tuple[int, int]], ...]:
    """A book's levels, at the exponents that may have come into force since its last message."""
    price, size = engine.exponents(topic.rsplit(".", 1)[1])
    by_price, by_size = 10 ** (book.price_exponent - price), 10 ** (book.size_exponent - size)
    return tuple(
        [(p * by_price, s * by_size) for p, s in side] for side in (book.bids(10**6), book.asks(10**6))
    )
