"""What each record that is not a frame does to the engine."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.feeds import Engine
from engine.events import EventKind
from engine.recorded import apply_note, apply_session
from schemas.names import Category, FeedState
from schemas.notes import (
    Begin,
    Close,
    Connected,
    Control,
    Crashed,
    Digest,
    Disconnected,
    End,
    FeedCheckpoint,
    Feeds,
    Note,
    OpenGap,
    Refused,
    Session,
    Shared,
    Stale,
    Subscribed,
    Unsubscribed,
    Widened,
    decode_note,
    decode_session,
    encode,
)

BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
SNAPSHOT = (
    b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1700000000000,"cts":1699999999999,'
    b'"data":{"s":"BTCUSDT","b":[["1.5","2"]],"a":[["1.6","3"]],"u":7,"seq":1}}'
)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(Category.LINEAR)
    engine.add_feed(BOOK)
    engine.add_feed(TRADES)
    engine.apply(SNAPSHOT, 100, 1)
    engine.take_events()
    return engine


def _whole_state(engine: Engine) -> list[bytes]:
    notes: list[Any] = [engine.shared(), *(engine.checkpoint(i) for i in range(engine.feed_count))]
    return [encode(note) for note in notes]


def _note(engine: Engine, note: Note) -> None:
    """Apply a note as a replay does: from its bytes."""
    apply_note(engine, decode_note(encode(note)), receive_ns=200, sequence=9)


def _session(engine: Engine, event: Session, line: int = 0) -> None:
    apply_session(engine, decode_session(encode(event)), receive_ns=200, sequence=9, line=line)


@pytest.mark.parametrize(
    "note",
    [
        Begin(run=1, continued=True),
        End(reason="rotated"),
        Close(reason="rotated", batches=1, rows=1, last_sequence=1),
        Digest(topic=BOOK, update_id=7, digest="00000000000000ff"),
        Widened(symbol="BTCUSDT", price_decimals=5, size_decimals=5, source="frame"),
    ],
)
def test_notes_that_only_tell(engine: Engine, note: Note) -> None:
    before = _whole_state(engine)
    _note(engine, note)
    assert _whole_state(engine) == before
    assert engine.pending == 0


def test_a_topic_that_is_left_is_no_gap(engine: Engine) -> None:
    _session(engine, Unsubscribed(topics=[BOOK]))
    assert engine.has_left(engine.feed_index(BOOK))
    assert not engine.has_left(engine.feed_index(TRADES))
    assert engine.take_events() == []


def test_a_topic_that_another_line_carries_is_not_left(engine: Engine) -> None:
    apply_session(engine, Subscribed(topics=[BOOK]), receive_ns=200, sequence=2, line=1)
    _session(engine, Unsubscribed(topics=[BOOK]))
    assert not engine.has_left(engine.feed_index(BOOK))


@pytest.mark.parametrize(
    "event",
    [
        Connected(url="ws://x"),
        Control(text="{}"),
        Refused(topic=BOOK, words="no"),
        Disconnected(reason="the end", clean=True),
    ],
)
def test_session_events_that_only_tell(engine: Engine, event: Session) -> None:
    before = _whole_state(engine)
    _session(engine, event)
    assert _whole_state(engine) == before
    assert engine.pending == 0


def test_feeds_are_ours_from_here_on(engine: Engine) -> None:
    _note(engine, Feeds(topics=["tickers.BTCUSDT", BOOK]))
    assert engine.topics() == [BOOK, TRADES, "tickers.BTCUSDT"]
    assert engine.state(2) is FeedState.EMPTY


def test_an_acknowledgement(engine: Engine) -> None:
    engine.add_feed("orderbook.200.BTCUSDT")
    _session(engine, Subscribed(topics=[BOOK, TRADES, "orderbook.200.BTCUSDT"]), line=3)
    assert [engine.state(i) for i in range(3)] == [FeedState.LIVE, FeedState.LIVE, FeedState.SYNCING]
    # the book has come over line 0, which leads until line 3 brings something
    assert [engine.leading_line(i) for i in range(3)] == [0, 3, 3]
    assert [[share.line for share in engine.lines(i)] for i in range(3)] == [[0, 3], [], []]


def test_a_lost_line_takes_its_own_feeds_only(engine: Engine) -> None:
    _session(engine, Subscribed(topics=[TRADES]), line=1)
    _session(engine, Disconnected(reason="reset by peer"), line=1)
    assert engine.state(0) is FeedState.LIVE
    assert engine.state(1) is FeedState.STALE
    gap = engine.open_gap(1)
    assert gap is not None
    assert gap.cause == "disconnect"
    _session(engine, Disconnected(reason="reset by peer"), line=0)
    assert engine.open_gap(0) == OpenGap("disconnect", 100, 1_699_999_999_999, 8)


def test_silence_is_what_a_note_says(engine: Engine) -> None:
    _note(engine, Stale(topic=BOOK, cause="silence"))
    assert engine.state(0) is FeedState.STALE
    assert [event.kind for event in engine.take_events()] == [EventKind.GAP_OPENED]
    _note(engine, Stale(topic=BOOK, cause="silence"))  # already
    assert engine.pending == 0


def test_a_crash_is_a_gap_until_a_snapshot(engine: Engine) -> None:
    fresh = Engine(Category.LINEAR)
    _note(fresh, Feeds(topics=[BOOK]))
    gap = OpenGap("crash", 50, 49, 5)
    _note(fresh, Crashed(topic=BOOK, gap=gap, update_id=4))
    assert fresh.state(0) is FeedState.STALE
    assert fresh.open_gap(0) == gap
    fresh.apply(SNAPSHOT, 300, 10)
    (closed,) = [event for event in fresh.take_events() if event.kind is EventKind.GAP_CLOSED]
    assert (closed.detail, closed.start_ns, closed.first_update_id, closed.last_update_id) == (
        "crash",
        50,
        5,
        6,
    )


def test_announced_decimals_widen_the_books(engine: Engine) -> None:
    _note(engine, Widened(symbol="BTCUSDT", price_decimals=2, size_decimals=3, source="instruments"))
    assert engine.exponents("BTCUSDT") == (-2, -3)
    assert engine.levels(0) == ([(150, 2_000)], [(160, 3_000)])
    assert engine.digest(0) == engine.recomputed_digest(0)


def test_checkpoints_make_the_same_engine(engine: Engine) -> None:
    fresh = Engine(Category.LINEAR)
    for payload in _whole_state(engine):
        note = decode_note(payload)
        assert isinstance(note, Shared | FeedCheckpoint)
        apply_note(fresh, note, receive_ns=0, sequence=0)
    assert _whole_state(fresh) == _whole_state(engine)
