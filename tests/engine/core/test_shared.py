"""Live books in plain memory: what readers are told of dead writers, damaged files, overruns and everything that is no
news; tests/property/test_shared_books.py holds them against the engine's books."""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine as package
from engine.core.feeds import Engine
from engine.core.publisher import (
    CONTROL_BYTES,
    CONTROL_HEADER_BYTES,
    LEAST_TAPE_BYTES,
    TOPIC_BYTES,
    Publisher,
    book_bytes,
    mark_replaced,
    tape_bytes,
)
from engine.core.shared import TROUBLES, SharedBook, SharedControl, SharedTape
from engine.shared import BookChange, SharedTopic, StateChange, TradesSeen
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Side
from tests.engine.core.shared_memory import TIMEOUT_NS, Published

BOOK = "orderbook.50.BTCUSDT"
LOCK, STATE, COUNTS = 256, 264, 360  # of a book's file: src/tapebook_shared.h
HEADER = 512


def frame(topic: str, kind: str, bids: list[list[str]], asks: list[list[str]], update_id: int) -> bytes:
    data = {"s": topic.rsplit(".", 1)[1], "b": bids, "a": asks, "u": update_id, "seq": update_id}
    return json.dumps(
        {"topic": topic, "type": kind, "ts": 10, "data": data, "cts": 9}, separators=(",", ":")
    ).encode()


def trades(topic: str, *rows: tuple[str, str, str, str]) -> bytes:
    """Of (symbol, price, size, id)."""
    data = [
        {
            "T": 8,
            "s": symbol,
            "S": "Sell",
            "v": size,
            "p": price,
            "L": "PlusTick",
            "i": key,
            "BT": key == "b",
            "seq": 5,
        }
        for symbol, price, size, key in rows
    ]
    return json.dumps(
        {"topic": topic, "type": "snapshot", "ts": 10, "data": data}, separators=(",", ":")
    ).encode()


@pytest.fixture
def published() -> Published:
    """A book of two bids and an ask, LIVE."""
    engine = Engine("linear")
    engine.add_feed(BOOK)
    out = Published(engine, ring_bytes=LEAST_TAPE_BYTES)
    engine.apply(frame(BOOK, "snapshot", [["100.5", "1.5"], ["100", "2"]], [["101", "3"]], 7), 1000, 1)
    return out


def test_the_names_of_the_package() -> None:
    assert package.SharedBook is SharedBook
    assert package.SharedTape is SharedTape


def test_a_live_book(published: Published) -> None:
    book = published.book(0)
    assert (book.topic, book.symbol, book.category, book.collector) == (BOOK, "BTCUSDT", "linear", "linear")
    assert (book.feed, book.depth, book.capacity, book.update_id()) == (0, 50, 50, 7)
    assert (book.price_exponent, book.size_exponent) == (-1, -1)
    assert (book.state(), book.trouble()) == (FeedState.LIVE, "")
    assert book.best() == (1005, 15, 1010, 30)
    assert book.read(1).bids.tolist() == [[1005, 15]]
    assert book.read(0).bids.shape == (0, 2)
    assert repr(book) == f"<SharedBook {BOOK} of linear: live>"
    with pytest.raises(ValueError, match="depth of -1"):
        book.read(-1)
    version = book.begin()
    assert book.bids[: book.counts[0]].tolist() == [[1005, 15], [1000, 20]]
    assert book.unchanged(version)
    with pytest.raises(ValueError, match="read-only"):
        book.bids[0, 0] = 1
    published.engine.apply(frame(BOOK, "delta", [["100.5", "0"]], [["101", "0"]], 8), 1001, 2)
    assert not book.unchanged(version)
    assert book.best() == (1000, 20, None, None)
    published.engine.apply(frame(BOOK, "delta", [["100", "0"]], [], 9), 1001, 3)
    assert book.best() == (None, None, None, None)
    published.engine.apply(frame(BOOK, "delta", [], [["103", "1"]], 10), 1001, 4)
    assert book.best() == (None, None, 1030, 10)


def test_the_collector(published: Published) -> None:
    reads = published.reads
    assert (reads.collector, reads.category, reads.environment, reads.pid) == (
        "linear",
        "linear",
        "gateway",
        1234,
    )
    assert (reads.token, reads.started_ns, reads.timeout_ns, reads.topic_count) == (77, 1, TIMEOUT_NS, 1)
    assert reads.topics() == [SharedTopic(0, BOOK, "BTCUSDT", "book", 50, 50)]
    with pytest.raises(IndexError, match="found feed 1"):
        reads.topic(1)
    published.engine.add_feed("tickers.BTCUSDT")
    published.engine.add_feed("orderbook.rpi.BTCUSDT")
    published.add_feeds()
    assert [topic[1:] for topic in reads.topics()[1:]] == [
        ("tickers.BTCUSDT", "BTCUSDT", "ticker", 0, 0),
        ("orderbook.rpi.BTCUSDT", "BTCUSDT", "rpi", 50, 0),
    ]


# ---- writers in trouble ----


def _dies(published: Published) -> None:
    published.now_ns += TIMEOUT_NS + 1


def _of_another_boot(published: Published) -> None:
    published.now_ns = 5


def _ends(published: Published) -> None:
    published.publisher.close()


def _pauses(published: Published) -> None:
    published.publisher.set_status("paused")


def _is_replaced(published: Published) -> None:
    mark_replaced(published.control)


@pytest.mark.parametrize(
    ("happens", "trouble"),
    [
        (_dies, "writer dead"),
        (_of_another_boot, "writer dead"),
        (_ends, "writer gone"),
        (_pauses, "reading paused"),
        (_is_replaced, "writer replaced"),
    ],
)
def test_a_book_is_not_believed_once_its_writer(
    published: Published, happens: Callable[[Published], None], trouble: str
) -> None:
    book, tape = published.book(0), published.tape()
    happens(published)
    assert trouble in TROUBLES
    assert (book.state(), book.trouble(), tape.trouble()) == (FeedState.STALE, trouble, trouble)
    assert published.reads.trouble(published.now_ns) == trouble
    assert book.best() is None
    got = book.read()
    assert (got.state, got.trouble, got.update_id, len(got.bids)) == (FeedState.STALE, trouble, 7, 2)
    assert trouble in repr(book)


def test_a_heartbeat_and_an_end_of_the_pause_bring_it_back(published: Published) -> None:
    book = published.book(0)
    published.now_ns += TIMEOUT_NS
    assert book.state() is FeedState.LIVE
    published.now_ns += 1
    assert book.state() is FeedState.STALE
    published.publisher.beat(published.now_ns)
    assert book.best() == (1005, 15, 1010, 30)
    published.publisher.set_status("paused")
    assert book.best() is None
    published.publisher.set_status("running")
    assert book.best() is not None


def test_a_feed_that_ends_and_comes_back(published: Published) -> None:
    book, tape = published.book(0), published.tape()
    published.engine.end_feed(BOOK, 2000, 2)
    assert (book.state(), book.trouble(), book.best()) == (FeedState.EMPTY, "feed ended", None)
    assert book.read().trouble == "feed ended"
    published.engine.add_feed(BOOK)
    published.engine.apply(frame(BOOK, "snapshot", [["9", "1"]], [], 3), 3000, 3)
    assert (book.state(), book.trouble(), book.best()) == (FeedState.LIVE, "", (90, 10, None, None))
    states = [(entry.state, entry.ended) for entry in tape.read() if isinstance(entry, StateChange)]
    assert states == [(FeedState.EMPTY, True), (FeedState.EMPTY, False), (FeedState.LIVE, False)]


def test_a_writer_that_dies_in_the_midst_of_a_change_holds_no_reader_up(published: Published) -> None:
    ticks = iter(range(10**15, 10**16, TIMEOUT_NS // 4))
    memory = published.memories[0]
    book = SharedBook(memory, published.reads, lambda: next(ticks))
    struct.pack_into("<Q", memory, LOCK, struct.unpack_from("<Q", memory, LOCK)[0] | 1)
    assert book.best() is None
    got = book.read()
    assert (got.state, got.trouble, got.update_id, got.held) == (FeedState.STALE, "writer dead", None, (0, 0))
    assert book.begin() % 2 == 1
    assert not book.unchanged(book.begin())
    # and one whose heart beats on, which can't be: a reader is not held up for ever by that either
    ticks = iter(range(10**15, 10**16, TIMEOUT_NS // 4))
    beating = SharedBook(memory, published.reads, lambda: published.publisher.beat(now := next(ticks)) or now)
    assert beating.best() is None
    assert beating.read().trouble == "not whole"


def test_the_next_change_mends_what_was_left_half_done(published: Published) -> None:
    memory = published.memories[0]
    struct.pack_into("<Q", memory, LOCK, struct.unpack_from("<Q", memory, LOCK)[0] | 1)
    published.engine.apply(frame(BOOK, "delta", [["100.5", "4"]], [], 8), 1001, 2)
    assert published.book(0).best() == (1005, 40, 1010, 30)


# ---- files that are not what they should be ----


def test_other_versions_and_kinds_are_told_apart(published: Published) -> None:
    book, control = bytearray(published.memories[0]), bytearray(published.control)
    assert published.tape_memory is not None
    tape = bytearray(published.tape_memory)
    struct.pack_into("<I", book, 8, 2)
    struct.pack_into("<I", control, 8, 2)
    struct.pack_into("<I", tape, 8, 2)
    with pytest.raises(ConfigError, match=r"version 2 of a book.s file, expected 1: .*update the older one"):
        SharedBook(book, published.reads, published.clock)
    with pytest.raises(ConfigError, match="version 2"):
        SharedControl(control)
    with pytest.raises(ConfigError, match="version 2"):
        SharedTape(tape, published.reads, published.clock)
    with pytest.raises(ConfigError, match="expected a book's file"):
        SharedBook(published.tape_memory, published.reads, published.clock)
    with pytest.raises(ConfigError, match="expected a tape"):
        SharedTape(published.memories[0] + bytes(4096), published.reads, published.clock)
    with pytest.raises(ConfigError, match="expected a collector's control file"):
        SharedControl(published.memories[0])


def test_a_book_of_another_start_is_refused(published: Published) -> None:
    book = bytearray(published.memories[0])
    struct.pack_into("<Q", book, 24, 78)
    with pytest.raises(ConfigError, match="another start of the collector"):
        SharedBook(book, published.reads, published.clock)
    assert published.tape_memory is not None
    tape = bytearray(published.tape_memory)
    struct.pack_into("<Q", tape, 24, 78)
    with pytest.raises(ConfigError, match="another start of the collector"):
        SharedTape(tape, published.reads, published.clock)


@pytest.mark.parametrize("share", [0, 1, 7, 8, 31, 32, 255, 511, 512, 2111])
def test_files_that_were_cut_are_refused(published: Published, share: int) -> None:
    with pytest.raises(ConfigError):
        SharedBook(bytes(published.memories[0][:share]), published.reads, published.clock)
    with pytest.raises(ConfigError):
        SharedControl(bytes(published.control[:share]))
    assert published.tape_memory is not None
    with pytest.raises(ConfigError):
        SharedTape(bytes(published.tape_memory[:share]), published.reads, published.clock)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, HEADER + 100), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_no_bytes_of_a_book_hurt_a_reader(changes: list[tuple[int, int]], before: bool) -> None:
    engine = Engine("linear")
    engine.add_feed("orderbook.3.BTCUSDT")
    published = Published(engine)
    published.engine.apply(frame("orderbook.3.BTCUSDT", "snapshot", [["1", "2"]], [["2", "2"]], 7), 1000, 1)
    memory = published.memories[0]
    ticks = iter(range(published.now_ns, 10**18, TIMEOUT_NS // 2))
    book = SharedBook(memory, published.reads, lambda: next(ticks))
    for at, value in changes:
        memory[min(at, len(memory) - 1)] = value
    if before:
        try:
            book = SharedBook(memory, published.reads, lambda: next(ticks))
        except ConfigError:
            return
    got = book.read()
    assert 0 <= len(got.bids) <= 3
    assert 0 <= len(got.asks) <= 3
    book.best(), book.state(), book.counts, book.bids, repr(book)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, CONTROL_HEADER_BYTES + 2 * TOPIC_BYTES), st.integers(0, 255)), max_size=8
    ),
    st.lists(st.tuples(st.integers(128, 2500), st.integers(0, 255)), max_size=20),
)
def test_no_bytes_of_a_tape_or_a_control_file_hurt_a_reader(
    control: list[tuple[int, int]], tape: list[tuple[int, int]]
) -> None:
    engine = Engine("linear")
    engine.add_feed(BOOK)
    engine.add_feed("publicTrade.BTCUSDT")
    published = Published(engine, ring_bytes=LEAST_TAPE_BYTES)
    engine.apply(frame(BOOK, "snapshot", [["1", "2"]], [["2", "2"]], 7), 1000, 1)
    engine.apply(trades("publicTrade.BTCUSDT", ("BTCUSDT", "1", "1", "a")), 1000, 2)
    reader = published.tape()
    reader.rewind()
    assert published.tape_memory is not None
    for at, value in tape:
        published.tape_memory[at] = value
    for at, value in control:
        published.control[at] = value
    for _ in range(3):
        assert all(isinstance(entry, BookChange | TradesSeen | StateChange) for entry in reader.read())
        reader.skip()
        reader.rewind()
    try:
        SharedControl(bytes(published.control)).topics()
    except ConfigError:
        return


# ---- the tape ----


def test_changes_in_their_order(published: Published) -> None:
    engine = published.engine
    engine.add_feed("publicTrade.BTCUSDT")
    published.add_feeds()
    tape = published.tape()
    assert tape.read() == []
    engine.apply(frame(BOOK, "delta", [["100.5", "0"], ["99", "1"]], [["101.25", "1"]], 8), 1001, 2)
    engine.apply(
        trades("publicTrade.BTCUSDT", ("BTCUSDT", "100.5", "1", "a"), ("BTCUSDT", "100", "2", "b")), 1002, 3
    )
    engine.apply(trades("publicTrade.BTCUSDT", ("BTCUSDT", "100", "2", "b")), 1003, 4)  # a repeat is no news
    engine.apply(frame(BOOK, "delta", [], [], 10), 1004, 5)  # nine is lost
    change, live, seen, stale = tape.read()
    assert isinstance(change, BookChange)
    assert (change.topic, change.update_id, change.cross_sequence, change.sequence) == (BOOK, 8, 8, 2)
    assert (change.match_ms, change.push_ms, change.receive_ns, change.is_snapshot) == (9, 10, 1001, False)
    assert (change.price_exponent, change.size_exponent) == (-2, -1)
    assert change.bids.tolist() == [[10050, 0], [9900, 10]]
    assert change.asks.tolist() == [[10125, 10]]
    assert isinstance(live, StateChange)
    assert (live.topic, live.state) == ("publicTrade.BTCUSDT", FeedState.LIVE)
    assert isinstance(seen, TradesSeen)
    assert [(t.symbol, t.side, t.price, t.size, t.is_block, t.is_rpi) for t in seen.trades] == [
        ("BTCUSDT", Side.SELL, 10050, 10, False, False),
        ("BTCUSDT", Side.SELL, 10000, 20, True, False),
    ]
    assert isinstance(stale, StateChange)
    assert (stale.topic, stale.state, stale.cause, stale.update_id) == (BOOK, FeedState.STALE, "lost", 8)
    assert [entry.ordinal for entry in (change, live, seen, stale)] == [3, 4, 5, 6]
    assert tape.lost == 0
    assert [topic.topic for topic in tape.topics()] == [BOOK, "publicTrade.BTCUSDT"]


def test_options_trades_name_their_contracts() -> None:
    engine = Engine(Category.OPTION)
    engine.add_feed("publicTrade.BTC")
    published = Published(engine)
    tape = published.tape()
    engine.apply(
        trades(
            "publicTrade.BTC",
            ("BTC-30DEC26-60000-C-USDT", "0.25", "1", "a"),
            ("BTC-30DEC26-70000-P-USDT", "125", "0.1", "b"),
        ),
        1002,
        3,
    )
    _, seen = tape.read()
    assert isinstance(seen, TradesSeen)
    assert [(t.symbol, t.price, t.price_exponent, t.size, t.size_exponent) for t in seen.trades] == [
        ("BTC-30DEC26-60000-C-USDT", 25, -2, 1, 0),
        ("BTC-30DEC26-70000-P-USDT", 125, 0, 1, -1),
    ]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200)), min_size=5, max_size=30))
def test_what_a_slow_reader_loses_is_counted(steps: list[tuple[int, int]]) -> None:
    """So many changes, then so many entries read, and again: every entry is read or lost, in order, and whole."""
    engine = Engine("linear")
    engine.add_feed(BOOK)
    published = Published(engine, ring_bytes=LEAST_TAPE_BYTES)
    tape = published.tape()
    written, read, last = 0, 0, 0
    engine.apply(frame(BOOK, "snapshot", [["1", "1"]], [], 1), 1000, 1)
    update_id = 1
    for changes, reads in [*steps, (1, 10**6)]:
        for _ in range(changes):
            update_id += 1
            levels = [[str(100 + number), str(update_id)] for number in range(update_id % 40)]
            engine.apply(frame(BOOK, "delta", levels, [], update_id), 1000, update_id)
        written = published.publisher.told
        for entry in tape.read(reads):
            read += 1
            assert entry.ordinal > last
            assert entry.ordinal - last - 1 + read <= written
            last = entry.ordinal
            if isinstance(entry, BookChange) and not entry.is_snapshot:
                assert entry.update_id is not None
                expected = [[100 + number, entry.update_id] for number in range(entry.update_id % 40)]
                assert entry.bids.tolist() == expected
    assert last == written
    assert read + tape.lost == written
    tape.rewind()
    again = tape.read(10**6)
    assert again[-1].ordinal == written
    assert read + tape.lost == written  # going back loses nothing
    ordinals = [entry.ordinal for entry in again]
    assert ordinals == list(range(ordinals[0], written + 1))
    # half of the ring, but for the entry at its edge
    assert ordinals[0] == 1 or sum(88 + 16 * len(e.bids) for e in again if isinstance(e, BookChange)) > 30_000


def test_a_message_too_large_for_the_tape_says_so() -> None:
    engine = Engine("linear")
    engine.add_feed("orderbook.1000.BTCUSDT")
    published = Published(engine, ring_bytes=LEAST_TAPE_BYTES)
    tape = published.tape()
    levels = [[str(5000 - number), "1"] for number in range(1000)]
    asks = [[str(6000 + number), "1"] for number in range(1000)]
    engine.apply(frame("orderbook.1000.BTCUSDT", "snapshot", levels, asks, 1), 1000, 1)
    _, change = tape.read()
    assert isinstance(change, BookChange)
    assert (change.levels_omitted, change.is_snapshot, len(change.bids), change.update_id) == (
        True,
        True,
        0,
        1,
    )
    assert published.book(0).read().held == (1000, 1000)


# ---- the writer ----


def test_a_feed_is_published_once_readers_know_it(published: Published) -> None:
    engine, tape = published.engine, published.tape()
    engine.add_feed("orderbook.50.ETHUSDT")
    engine.apply(frame("orderbook.50.ETHUSDT", "snapshot", [["1", "1"]], [], 1), 1000, 2)
    assert tape.read() == []
    published.add_feeds()
    assert published.book(1).best() == (1, 1, None, None)  # as it stands
    engine.apply(frame("orderbook.50.ETHUSDT", "delta", [["1", "2"]], [], 2), 1000, 3)
    assert published.book(1).best() == (1, 2, None, None)
    assert [entry.topic for entry in tape.read()] == ["orderbook.50.ETHUSDT"]


def test_a_publisher_is_the_only_one_of_its_engine_and_lets_it_go(published: Published) -> None:
    with pytest.raises(ValueError, match="published already"):
        Published(published.engine)
    book = published.book(0)
    published.publisher.close()
    published.publisher.close()
    assert not published.publisher.is_open
    with pytest.raises(ValueError, match="closed"):
        published.publisher.beat(1)
    published.engine.apply(frame(BOOK, "delta", [["1", "1"]], [], 8), 1001, 2)
    assert book.update_id() == 7
    again = Published(published.engine)
    assert again.book(0).best() == (1005, 15, 1010, 30)
    del again
    gc.collect()
    published.engine.apply(frame(BOOK, "delta", [["2", "1"]], [], 9), 1001, 3)  # writes nowhere


def test_memory_of_other_sizes_is_refused(published: Published) -> None:
    publisher = published.publisher
    published.engine.add_feed("publicTrade.BTCUSDT")
    with pytest.raises(ValueError, match="for a book of 50 levels, expected 2112"):
        publisher.begin_book(0, bytearray(100), 50)
    with pytest.raises(ValueError, match="found feed 1, expected one with a book"):
        publisher.begin_book(1, bytearray(2112), 50)
    with pytest.raises(IndexError, match="found feed 5, expected 1"):
        publisher.add(5)
    with pytest.raises(IndexError):
        publisher.wants_book(9)
    with pytest.raises(ValueError, match="capacity of 0"):
        book_bytes(0)
    for wrong in (0, 1000, LEAST_TAPE_BYTES + 1, LEAST_TAPE_BYTES // 2):
        with pytest.raises(ValueError, match="power of two"):
            tape_bytes(wrong)
    about = {
        "collector": "a", "environment": "b", "token": 1, "pid": 1, "started_ns": 1, "now_ns": 1, "interval_ns": 1,
        "timeout_ns": 1,
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"expected {CONTROL_BYTES}"):
        Publisher(Engine("linear"), bytearray(10), **about)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="at most 63 bytes"):
        Publisher(Engine("linear"), bytearray(CONTROL_BYTES), **(about | {"collector": "x" * 64}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="power of two"):
        Publisher(Engine("linear"), bytearray(CONTROL_BYTES), tape=bytearray(5000), **about)  # type: ignore[arg-type]


def test_batches_are_published_too(published: Published) -> None:
    """One thread does them, whatever was asked for: shared memory has one writer."""
    import numpy as np

    frames = [frame(BOOK, "delta", [["100.5", str(u)]], [], u) for u in range(8, 2000)]
    offsets = np.cumsum([0, *map(len, frames)], dtype=np.int32)
    n = len(frames)
    done = published.engine.apply_batch(
        np.frombuffer(b"".join(frames), np.uint8), offsets, np.arange(n, dtype=np.int64), np.arange(10, n + 10),
        np.zeros(n, np.uint16), np.zeros(n, np.uint8), threads=4, least_run=1,
    )  # fmt: skip
    assert done == n
    assert published.book(0).best() == (1005, 19990, 1010, 30)
