"""orderbook.rpi and orderbook.full in the core, case by case; the property tests hold all of it against the model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.core.feeds import UNDECODABLE, Engine
from engine.events import EventKind
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Table
from schemas.tables import FULL_DEPTH

FULL = "orderbook.full.MNTUSDT"
RPI = "orderbook.rpi.BTCUSDT"
SAMPLE = (  # protocol section 3.2
    b'{"topic":"orderbook.rpi.BTCUSDT","ts":1752472188075,"type":"delta","data":{"s":"BTCUSDT","b":[["121975.1",'
    b'"0.114259","0"],["121969.9","0","0"],["121960.5","0","0.163986"]],"a":[["121990.8","0.441585","0.78821"]],'
    b'"u":2258980,"seq":79683241099},"cts":1752472188067}'
)


def frame(
    topic: str, kind: str, u: int, bids: list[Any], asks: list[Any], *, ms: int = 1_784_103_477_732
) -> bytes:
    data = {"s": topic.split(".", 2)[2], "b": bids, "a": asks, "u": u, "seq": 10 * u}
    return json.dumps(
        {"topic": topic, "ts": ms, "type": kind, "data": data, "cts": ms - 2}, separators=(",", ":")
    ).encode()


def events(engine: Engine, kind: EventKind) -> list[Any]:
    return [event for event in engine.take_events() if event.kind is kind]


class Feed:
    """One feed of an engine, with a sequence that counts."""

    def __init__(self, topic: str, *, columns: bool = False) -> None:
        self.engine = Engine(Category.SPOT, columns=columns)
        self.topic = topic
        self.feed = self.engine.add_feed(topic)
        self.sequence = 0

    def take(self, given: bytes) -> int:
        self.sequence += 1
        return self.engine.apply(given, 1_000 + self.sequence, self.sequence)

    def restate(self, *frames: bytes) -> int:
        self.sequence += 1
        return self.engine.restate(self.topic, frames, 1_000 + self.sequence, self.sequence)

    @property
    def state(self) -> FeedState:
        return self.engine.state(self.feed)


# ---- RPI ----


def test_the_documented_sample_is_read() -> None:
    rpi = Feed(RPI, columns=True)
    rpi.take(frame(RPI, "snapshot", 2258979, [["121969.9", "1", "2"]], [], ms=1_752_472_188_000))
    assert rpi.take(SAMPLE) == rpi.feed
    assert rpi.engine.rpi_levels(rpi.feed) == (
        [(1219751, 114259, 0), (1219605, 0, 163986)],
        [(1219908, 441585, 788210)],
    )
    rows = rpi.engine.take_rows("spot")
    ((table, symbol, _),) = rows
    assert (table, symbol) == (Table.RPI_BOOK_UPDATES, "BTCUSDT")
    delta = rows[table, symbol, 20283].slice(1)
    assert delta["bid_rpi_size_mantissa"].to_pylist() == [[0, 0, 163986]]
    assert delta["ask_size_mantissa"].to_pylist() == [[441585]]
    assert delta["depth"].to_pylist() == [50]


def test_both_sizes_have_a_book_of_their_own() -> None:
    rpi = Feed(RPI)
    rpi.take(frame(RPI, "snapshot", 5, [["100", "0", "2"], ["99", "1", "3"]], [["101", "4", "0"]]))
    sizes, rpi_sizes = rpi.engine.book(rpi.feed), rpi.engine.rpi_book(rpi.feed)
    assert (sizes.best_bid, sizes.best_ask) == ((99, 1), (101, 4))
    assert (rpi_sizes.best_bid, rpi_sizes.best_ask) == ((100, 2), None)
    assert (sizes.live, rpi_sizes.live) == (True, True)
    with pytest.raises(ConfigError, match="has no RPI sizes"):
        Feed(FULL).engine.rpi_book(0)
    with pytest.raises(ConfigError, match="has no RPI sizes"):
        Feed(FULL).engine.rpi_levels(0)


@pytest.mark.parametrize(
    "levels",
    [
        [["1", "1"]],
        [["1", "1", "1", "1"]],
        [["1", "1", "-1"]],
        [["1", "1", 1]],
        [["1", "1", "1e3"]],
        [["1", "1", ""]],
        [["1", "1", "1"], ["1.0", "2", "2"]],
        [["1", "1", "0.0000000000000000001"]],
        [["1", "1", "9223372036854775808"]],
    ],
)
def test_bad_levels_leave_no_trace(levels: list[Any]) -> None:
    rpi = Feed(RPI)
    rpi.take(frame(RPI, "snapshot", 5, [["100", "0", "2"]], [["101", "4", "0"]]))
    before = rpi.engine.rpi_levels(rpi.feed), rpi.engine.digest(rpi.feed)
    assert rpi.take(frame(RPI, "delta", 6, [["50", "1", "1"]], levels)) == UNDECODABLE
    assert (rpi.engine.rpi_levels(rpi.feed), rpi.engine.digest(rpi.feed)) == before
    assert rpi.state is FeedState.STALE


def test_rpi_interest_alone_does_not_cross_a_book() -> None:
    rpi = Feed(RPI)
    rpi.take(frame(RPI, "snapshot", 5, [["100", "1", "0"]], [["101", "4", "0"]]))
    rpi.take(frame(RPI, "delta", 6, [["102", "0", "2"]], []))
    rpi.take(frame(RPI, "delta", 7, [["103", "0", "2"]], []))
    assert rpi.state is FeedState.LIVE
    rpi.take(frame(RPI, "delta", 8, [["102", "1", "2"]], []))
    rpi.take(frame(RPI, "delta", 9, [["102", "2", "2"]], []))
    assert rpi.state is FeedState.STALE
    assert [event.detail for event in events(rpi.engine, EventKind.GAP_OPENED)] == ["crossed"]


def test_a_checkpoint_has_both_sizes() -> None:
    rpi = Feed(RPI)
    rpi.take(frame(RPI, "snapshot", 5, [["100.5", "0", "2"], ["99", "1", "3"]], [["101", "4", "0"]]))
    other = Engine(Category.SPOT, columns=True)
    other.restore_shared(rpi.engine.shared())
    other.restore(rpi.engine.checkpoint(rpi.feed))
    assert other.rpi_levels(0) == rpi.engine.rpi_levels(rpi.feed)
    assert other.digest(0) == other.recomputed_digest(0) == rpi.engine.digest(rpi.feed)
    (keyframe,) = other.take_rows("spot").values()
    assert keyframe["kind"].to_pylist() == ["keyframe"]
    assert keyframe["bid_rpi_size_mantissa"].to_pylist() == [[2, 3]]


# ---- full ----


def test_waiting_for_the_answer_is_no_gap() -> None:
    full = Feed(FULL)
    full.engine.subscribed(FULL, 1, 1)
    for u in (10, 11, 12):
        full.take(frame(FULL, "delta", u, [["100", str(u)]], []))
    assert full.state is FeedState.SYNCING
    assert full.engine.open_gap(full.feed) is None
    answer = frame(FULL, "snapshot", 11, [["100", "11"], ["98", "1"]], [["101", "1"]])
    assert full.restate(answer, frame(FULL, "delta", 12, [["100", "12"]], [])) == 2
    assert full.state is FeedState.LIVE
    assert full.engine.levels(full.feed) == ([(100, 12), (98, 1)], [(101, 1)])
    assert full.engine.messages(full.feed) == 3
    # one digest, of where the book is now
    (digest,) = events(full.engine, EventKind.DIGEST)
    assert (digest.update_id, digest.digest) == (12, full.engine.digest(full.feed))


def test_a_loss_among_what_waits_is_a_gap() -> None:
    full = Feed(FULL)
    full.take(frame(FULL, "delta", 10, [], []))
    full.take(frame(FULL, "delta", 13, [], []))
    (opened,) = events(full.engine, EventKind.GAP_OPENED)
    assert (opened.detail, opened.first_update_id) == ("lost", 11)
    assert full.restate(frame(FULL, "snapshot", 14, [], [["101", "1"]])) == 1
    (closed,) = events(full.engine, EventKind.GAP_CLOSED)
    assert (closed.healed_by, closed.last_update_id) == ("snapshot", 13)


def test_no_answer_opens_a_gap_when_told() -> None:
    full = Feed(FULL)
    full.engine.subscribed(FULL, 1, 1)
    full.engine.stale(FULL, "silence", 2, 2)
    assert full.engine.open_gap(full.feed) is None
    full.engine.stale(FULL, "no_snapshot", 3, 3)
    gap = full.engine.open_gap(full.feed)
    assert gap is not None
    assert gap.cause == "no_snapshot"


@pytest.mark.parametrize("last", [0, 7])
def test_update_id_1_ends_the_chain(last: int) -> None:
    full = Feed(FULL)
    full.restate(frame(FULL, "snapshot", last, [["99", "1"]], []))
    assert full.state is FeedState.LIVE
    full.take(frame(FULL, "delta", 1, [], []))
    assert full.state is FeedState.STALE
    assert [event.detail for event in events(full.engine, EventKind.GAP_OPENED)] == ["reset"]
    full.take(frame(FULL, "delta", 2, [["100", "1"]], []))
    assert full.restate(frame(FULL, "snapshot", 2, [["100", "1"]], [])) == 1
    assert full.engine.levels(full.feed) == ([(100, 1)], [])
    (closed,) = events(full.engine, EventKind.GAP_CLOSED)
    assert closed.last_update_id == (None if last == 7 else 1)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [frame(FULL, "delta", 5, [], [])],
        [b"{}"],
        [frame("orderbook.50.MNTUSDT", "snapshot", 5, [], [])],
        [frame(FULL, "snapshot", 5, [["1", "1"], ["1", "2"]], [])],
        [frame(FULL, "snapshot", 5, [["1", "9223372036854775808"]], [])],
    ],
)
def test_a_bad_answer_changes_nothing(frames: list[bytes]) -> None:
    full = Feed(FULL)
    full.restate(frame(FULL, "snapshot", 7, [["99", "1"]], []))
    full.engine.take_events()
    assert full.restate(*frames) == 0
    assert (full.state, full.engine.update_id(full.feed)) == (FeedState.LIVE, 7)
    assert full.engine.levels(full.feed) == ([(99, 1)], [])
    assert full.engine.take_events() == []


def test_deltas_that_do_not_follow_are_left_out() -> None:
    full = Feed(FULL)
    answer = frame(FULL, "snapshot", 7, [["99", "1"]], [])
    behind = [frame(FULL, "delta", u, [["99", str(u)]], []) for u in (8, 10, 11)]
    assert full.restate(answer, *behind) == 2
    assert full.engine.update_id(full.feed) == 8


def test_only_the_full_book_is_restated() -> None:
    with pytest.raises(ConfigError, match="expected orderbook"):
        Engine(Category.SPOT).restate("orderbook.50.BTCUSDT", [], 1, 1)


@pytest.mark.parametrize("frames", [[10**12], [5], ["{}"], [[1, 2]], [None], b"{}", 5])
def test_what_is_no_frame_restates_nothing(frames: Any) -> None:
    engine = Engine(Category.SPOT)
    with pytest.raises(TypeError, match=r"bytes-like object is required|not iterable"):
        engine.restate(FULL, frames, 1, 1)
    assert engine.feed_count == 0


def test_other_kinds_of_bytes_restate_too() -> None:
    engine = Engine(Category.SPOT)
    answer = frame(FULL, "snapshot", 7, [["100", "1"]], [["101", "1"]])
    assert (
        engine.restate(FULL, [bytearray(answer)], 1, 1)
        == engine.restate(FULL, [memoryview(answer)], 2, 2)
        == 1
    )


def test_ten_thousand_levels_a_side_and_more() -> None:
    full = Feed(FULL, columns=True)
    bids = [[str(20_000 - i), "1"] for i in range(10_000)]
    asks = [[str(20_001 + i), "1"] for i in range(10_000)]
    assert full.restate(frame(FULL, "snapshot", 7, bids, asks)) == 1
    # levels that the answer didn't have are known from when a delta names them
    assert full.take(frame(FULL, "delta", 8, [["1", "5"]], [["90000", "5"]])) == full.feed
    book = full.engine.book(full.feed)
    assert book.counts == (10_001, 10_001)
    assert book.depth == FULL_DEPTH
    assert full.engine.digest(full.feed) == full.engine.recomputed_digest(full.feed)


def test_a_book_that_never_ends_is_given_up() -> None:
    full = Feed(FULL)
    full.restate(frame(FULL, "snapshot", 7, [["1", "1"]], []))
    more = [[str(2 + i), "1"] for i in range(2 * FULL_DEPTH)]
    full.take(frame(FULL, "delta", 8, [], more[:-1]))
    assert full.state is FeedState.LIVE
    full.take(frame(FULL, "delta", 9, [], [["999999", "1"], ["999998", "1"]]))
    assert full.state is FeedState.STALE
    assert [event.detail for event in events(full.engine, EventKind.GAP_OPENED)] == ["overflow"]
