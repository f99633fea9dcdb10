"""The hook: what the core does with feeds that it doesn't read, whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.feeds import UNDECODABLE, Engine
from engine.drivers import KINDS, Driven, Driver, Silence, Stamp, UndecodableError, driven
from engine.events import Event, EventKind
from engine.freshness import Freshness, needs_snapshot, silence_of
from engine.replay import Replay, symbol_of
from engine.topics import parse_feed
from recorder.capture import Capture
from recorder.journal.format import build_batch
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, Table
from schemas.notes import Disconnected, Session, Subscribed, decode_note, encode
from tests.engine.drivers.support import Journal

TOY = "toy.BTCUSDT"
LOUD = "toy.loud.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"


class Toy(Driver):
    """Reads `{"topic":…,"ts":…,"v":…}`."""

    def frame(self, frame: bytes, at: Stamp) -> None:
        try:
            read = json.loads(frame)
            ts, value = int(read["ts"]), int(read["v"])
        except ValueError:
            raise UndecodableError("not_json") from None
        except KeyError:
            raise UndecodableError("missing_key") from None
        self.engine.heard(self.feed, at, rows=1, drift=len(read) - 3)
        self.engine.good(self.feed, at, ts, ts - 1)
        if self.rows is not None:
            row = [at.sequence, self.topic, at.receive_ns, at.receive_ns, value, 1]
            self.rows.add(Table.COVERAGE, "BTCUSDT", ts // 86_400_000, row)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    _register(monkeypatch)


def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: Category, topic: str) -> Driven | None:
        if topic.startswith("toy.loud."):
            return Driven(Toy, topic.removeprefix("toy.loud."), silence=Silence(20, least=12))
        return Driven(Toy, topic.removeprefix("toy."), quiet=True)

    monkeypatch.setitem(KINDS, "toy", make)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(Category.LINEAR)
    for topic in (TOY, LOUD, BOOK):
        engine.add_feed(topic)
    return engine


def _toy(value: int = 1, ts: int = 5_000, **more: Any) -> bytes:
    return json.dumps({"topic": TOY, "ts": ts, "v": value} | more, separators=(",", ":")).encode()


def _loud(value: int = 1, **more: Any) -> bytes:
    return _toy(value, topic=LOUD, **more)


def _kinds(events: list[Event]) -> list[tuple[EventKind, str, str]]:
    return [(event.kind, event.topic, event.detail) for event in events]


def test_what_is_driven() -> None:
    assert parse_feed(Category.LINEAR, TOY) == ("driven", 0, "BTCUSDT")
    assert driven(Category.LINEAR, BOOK) is None
    with pytest.raises(ConfigError, match="found topic 'nothing'"):
        parse_feed(Category.LINEAR, "nothing")
    assert not needs_snapshot(Category.LINEAR, TOY)
    assert (silence_of(Category.LINEAR, TOY), silence_of(Category.LINEAR, LOUD)) == (None, Silence(20, 12))
    assert symbol_of(Category.LINEAR, LOUD) == "BTCUSDT"


def test_silence_is_judged_as_the_feed_says(engine: Engine) -> None:
    """Both speak every second for a minute and then no more; silence below 12 times 10 s is none."""
    second = 10**9
    freshness = Freshness(engine)
    found: dict[int, int] = {}
    for now in range(1_000, 2_000):
        if now < 1_060:
            engine.apply(_toy(), now, now)
            engine.apply(_loud(), now, now)
        for feed, silence_ns in freshness.tick(now * second):
            found.setdefault(feed, silence_ns // second)
    assert found == {1: 120}


def test_a_frame_is_the_drivers(engine: Engine) -> None:
    assert engine.apply(_toy(7), 100, 1, line=2) == 0
    assert engine.state(0) is FeedState.LIVE
    assert engine.first(0) == (100, 1)
    counters = engine.feed_counters(0)
    assert (counters["messages"], counters["rows"], counters["last_push_ms"]) == (1, 1, 5_000)
    assert engine.checkpoint(0).line == 2
    assert engine.apply(_toy(8), 200, 2) == 0
    assert engine.last_receive_ns(0) == 200


def test_the_quote_of_a_driven_feed_is_none_and_its_frame_is_taken(engine: Engine) -> None:
    assert engine.quote(_toy(7), 100, 1) is None
    assert engine.messages(0) == 1


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (b'{"topic":"toy.BTCUSDT",', "not_json"),
        (b'{"topic":"toy.BTCUSDT","ts":1}', "missing_key"),
        (b'{"topic":"toy.BTCUSDT","ts":1,"v":1}\xff', "not_json"),  # the core's word
        (b'{"a":1 1,"topic":"toy.BTCUSDT","ts":1,"v":1}', "not_json"),
    ],
)
def test_an_undecodable_frame_is_the_feeds(engine: Engine, frame: bytes, cause: str) -> None:
    engine.apply(_toy(1), 100, 1)
    assert engine.apply(frame, 200, 2) == UNDECODABLE
    assert engine.counters()["undecodable"] == {cause: 1}
    assert engine.state(0) is FeedState.STALE
    gap = engine.open_gap(0)
    assert gap is not None
    assert (gap.cause, gap.start_ns, gap.first_update_id) == ("undecodable", 100, None)
    engine.apply(_toy(1), 300, 3)
    assert engine.open_gap(0) is None
    events = engine.take_events()
    assert _kinds(events) == [
        (EventKind.UNDECODABLE, TOY, cause),
        (EventKind.GAP_OPENED, TOY, "undecodable"),
        (EventKind.GAP_CLOSED, TOY, "undecodable"),
    ]
    assert (events[-1].healed_by, events[-1].start_ns, events[-1].receive_ns) == ("message", 100, 300)


def test_a_good_frame_speaks_for_its_line(engine: Engine) -> None:
    engine.apply(b"\x00", 50, 1, line=1)
    assert engine.shared().lines[1].gap is not None
    engine.apply(b'{"topic":"toy.BTCUSDT","ts":1}', 60, 2, line=1)
    assert engine.shared().lines[1].gap is not None
    engine.apply(_toy(1), 70, 3, line=1)
    assert engine.shared().lines[1].gap is None
    assert engine.shared().lines[1].good_ns == 70


def test_an_acknowledgement_is_enough_for_a_quiet_one(engine: Engine) -> None:
    engine.subscribed(TOY, 10, 1)
    engine.subscribed(LOUD, 10, 1)
    assert [engine.state(feed) for feed in (0, 1)] == [FeedState.LIVE, FeedState.SYNCING]
    engine.disconnect(0, 20, 2)
    assert engine.state(0) is FeedState.STALE
    engine.subscribed(TOY, 30, 3, line=1)
    closed = engine.take_events()[-1]
    assert (closed.kind, closed.healed_by) == (EventKind.GAP_CLOSED, "subscribed")


def test_rows() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    for topic in (TOY, TRADES):
        engine.add_feed(topic)
    engine.apply(_toy(5), 10, 1)
    engine.apply(_toy(6, more=1), 20, 2)
    assert engine.counters()["drift"] == 1
    assert engine.row_bytes > 0
    ((key, table),) = engine.take_rows("c").items()
    assert key == (Table.COVERAGE, "BTCUSDT", 0)
    assert table.column("collector").to_pylist() == ["c", "c"]
    assert table.column("messages").to_pylist() == [5, 6]
    assert engine.row_bytes == 0
    assert engine.take_rows("c") == {}


# ---- one by one, in batches, in threads, over a checkpoint -----------------------------------------------------------


def _book(update_id: int, kind: str) -> bytes:
    data = {"s": "BTCUSDT", "b": [["1", str(update_id)]], "a": [], "u": update_id, "seq": update_id}
    frame = {"topic": BOOK, "type": kind, "ts": 5_000, "data": data, "cts": 5_000}
    return json.dumps(frame, separators=(",", ":")).encode()


FRAMES = st.one_of(
    st.integers(0, 9).map(_toy),
    st.integers(0, 9).map(_loud),
    st.integers(1, 6).map(lambda u: _book(u, "delta")),
    st.integers(1, 6).map(lambda u: _book(u, "snapshot")),
    st.sampled_from(
        [b"", b"{}", b"\xff", b'{"topic":"toy.BTCUSDT"', b'{"topic":"toy.loud.BTCUSDT","v":1}',
         b'{"v":2,"ts":9,"topic":"toy.BTCUSDT"}', b'{"topic":"else","ts":1}', b'{"op":"pong"}']
    ),
)  # fmt: skip


def _everything(engine: Engine) -> dict[str, Any]:
    return {
        "events": engine.take_events(),
        "checkpoints": [engine.checkpoint(feed) for feed in range(engine.feed_count)],
        "feeds": [engine.feed_counters(feed) for feed in range(engine.feed_count)],
        "shared": engine.shared(),
        "counters": engine.counters(),
        "rows": engine.take_rows("c"),
    }


@given(
    frames=st.lists(st.tuples(FRAMES, st.integers(0, 2)), max_size=30),
    columns=st.booleans(),
    threads=st.integers(1, 3),
    least_run=st.sampled_from([1, 2]),
)
def test_a_batch_is_its_frames(
    frames: list[tuple[bytes, int]], columns: bool, threads: int, least_run: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _register(patch)
        found = []
        for in_batch in (False, True):
            engine = Engine(Category.LINEAR, columns=columns)
            for topic in (TOY, LOUD, BOOK):
                engine.add_feed(topic)
            if in_batch:
                stopped = engine.apply_batch(
                    np.frombuffer(b"".join(frame for frame, _ in frames) or b" ", np.uint8),
                    np.cumsum([0, *(len(frame) for frame, _ in frames)], dtype=np.int32),
                    np.arange(len(frames), dtype=np.int64),
                    np.arange(len(frames), dtype=np.int64),
                    np.array([line for _, line in frames], np.uint16),
                    np.zeros(len(frames), np.uint8),
                    0,
                    threads,
                    least_run,
                )
                assert stopped == len(frames)
            else:
                for i, (frame, line) in enumerate(frames):
                    engine.apply(frame, i, i, line)
            found.append(_everything(engine))
        assert found[0] == found[1]


@given(frames=st.lists(FRAMES, max_size=20), cut=st.integers(0, 20))
def test_a_checkpoint_is_the_whole_state(frames: list[bytes], cut: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _register(patch)
        whole = Engine(Category.LINEAR)
        for topic in (TOY, LOUD, BOOK):
            whole.add_feed(topic)
        for i, frame in enumerate(frames[:cut]):
            whole.apply(frame, i, i)
        whole.take_events()
        later = Engine(Category.LINEAR)
        later.restore_shared(whole.shared())
        for feed in range(whole.feed_count):
            note = decode_note(encode(whole.checkpoint(feed)))
            assert note == whole.checkpoint(feed)
            later.restore(note)
        for i, frame in enumerate(frames[cut:], cut):
            whole.apply(frame, i, i)
            later.apply(frame, i, i)
        assert later.take_events() == whole.take_events()
        for feed in range(whole.feed_count):
            assert later.checkpoint(feed) == whole.checkpoint(feed)


# ---- live, and its replay --------------------------------------------------------------------------------------------


def _steps() -> Iterator[bytes | Session]:
    yield Subscribed(topics=[TOY, LOUD])
    yield _toy(3)
    yield _loud(1)
    yield b'{"topic":"toy.BTCUSDT","v":1}'
    yield _loud(2)
    yield Disconnected(reason="lost")
    yield Subscribed(topics=[TOY, LOUD])
    yield _loud(6)
    yield _toy(4)


def test_live_and_replay_are_one() -> None:
    engine = Engine(Category.LINEAR)
    journal = Journal()
    capture = Capture(engine, journal, run=1, on_event=lambda _: None, clock=journal.clock)  # type: ignore[arg-type]
    capture.begin([TOY, LOUD], [])
    for step in _steps():
        if isinstance(step, bytes):
            capture.frame_list(0, [step], journal.clock())
        else:
            capture.session(0, step)
    replay = Replay("c", Category.LINEAR, 0)
    replay.batch(build_batch(0, journal.records))
    for feed in range(engine.feed_count):
        assert replay.engine.checkpoint(feed) == engine.checkpoint(feed)
    tables = replay.finish(journal.now_ns)
    rows = tables[Table.COVERAGE, "BTCUSDT", 0]
    assert rows.column("messages").to_pylist() == [3, 1, 2, 6, 4]
    gaps = [
        cause
        for key, table in tables.items()
        if key[0] is Table.GAPS
        for cause in table.column("cause").to_pylist()
    ]
    assert sorted(gaps) == ["disconnect", "undecodable"]
