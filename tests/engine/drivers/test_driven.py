"""The hook: what the core does with feeds that it doesn't read, whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.feeds import UNDECODABLE, Engine, parse_feed
from engine.drivers import KINDS, Driven, Driver, Silence, Stamp, UndecodableError, driven
from engine.events import Event, EventKind
from engine.freshness import needs_snapshot, silence_of
from engine.replay import Replay, symbol_of
from recorder.capture import Capture
from recorder.journal.format import build_batch
from schemas.errors import ConfigError
from schemas.names import Category, FeedState, RecordKind, Table
from schemas.notes import Disconnected, RestAnswer, Session, Subscribed, decode_note, encode
from tests.engine.drivers.support import Journal

TOY = "toy.BTCUSDT"
DEEP = "toy.deep.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"


class Toy(Driver):
    """Reads `{"topic":…,"ts":…,"v":…}`, with `u` and `snapshot` where it is deep. Its state is a sum of values."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.total = 0
        self.heard: list[str] = []
        self.row: list[Any] | None = None
        self.row_id = 0

    def frame(self, frame: bytes, at: Stamp) -> None:
        try:
            read = json.loads(frame)
            ts, value = int(read["ts"]), int(read["v"])
        except ValueError:
            raise UndecodableError("not_json") from None
        except KeyError:
            raise UndecodableError("missing_key") from None
        update_id = read.get("u")
        self.engine.heard(self.feed, at, rows=1)
        good = True
        if ".deep." in self.topic:
            if read.get("snapshot"):
                self.total = 0
            elif self.engine.state(self.feed) is not FeedState.LIVE:
                self.engine.broken(self.feed, at, "no_snapshot", first_update_id=update_id, match_ms=ts)
                good = False
            elif update_id != (self.engine.update_id(self.feed) or 0) + 1:
                cause = "undecodable" if self.engine.damaged(self.feed, at) else "lost"
                self.engine.broken(self.feed, at, cause)
                good = False
        if good:
            self.total += value
            healed = "snapshot" if read.get("snapshot") else "message"
            last = update_id - 1 if update_id else None
            self.engine.good(
                self.feed,
                at,
                push_ms=ts,
                match_ms=ts,
                update_id=update_id,
                healed_by=healed,
                last_update_id=last,
            )
            if update_id and self.rows is None:
                self.engine.note_digest(self.feed, at, self.digest())
        if self.rows is not None:
            self.row, self.row_id = (
                [at.sequence, self.topic, at.receive_ns, at.receive_ns, value, 1],
                update_id,
            )
            self.rows.add(Table.COVERAGE, "BTCUSDT", ts // 86_400_000, self.row)

    def subscribed(self, at: Stamp) -> None:
        self.heard.append(f"subscribed {at.line}")

    def lost(self, at: Stamp) -> None:
        self.heard.append(f"lost {at.line}")

    def answer(self, path: str, body: str, at: Stamp) -> None:
        self.heard.append(f"answer {path} {body} {at.sequence}")
        self.total += len(body)

    def digest(self) -> int:
        return self.total

    def set_digest(self, update_id: int, digest: int) -> bool:
        if self.row is None or self.row_id != update_id:
            return False
        self.row[5] = digest
        return True

    def checkpoint(self) -> dict[str, Any]:
        return {"total": self.total}

    def restore(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    _register(monkeypatch)


def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: Category, topic: str) -> Driven | None:
        if topic.startswith("toy.deep."):
            return Driven(Toy, topic.removeprefix("toy.deep."), depth=50, silence=Silence())
        return Driven(Toy, topic.removeprefix("toy."), quiet=True)

    monkeypatch.setitem(KINDS, "toy", make)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(Category.LINEAR)
    for topic in (TOY, DEEP, BOOK):
        engine.add_feed(topic)
    return engine


def _toy(value: int = 1, ts: int = 5_000, **more: Any) -> bytes:
    return json.dumps({"topic": TOY, "ts": ts, "v": value} | more, separators=(",", ":")).encode()


def _deep(update_id: int, value: int = 1, **more: Any) -> bytes:
    return _toy(value, topic=DEEP, u=update_id, **more)


def _kinds(events: list[Event]) -> list[tuple[EventKind, str, str]]:
    return [(event.kind, event.topic, event.detail) for event in events]


def test_what_is_driven() -> None:
    assert parse_feed(Category.LINEAR, TOY) == ("driven", 0, "BTCUSDT")
    assert parse_feed(Category.LINEAR, DEEP) == ("driven", 50, "BTCUSDT")
    assert driven(Category.LINEAR, BOOK) is None
    with pytest.raises(ConfigError, match="found topic 'nothing'"):
        parse_feed(Category.LINEAR, "nothing")
    assert (needs_snapshot(Category.LINEAR, TOY), needs_snapshot(Category.LINEAR, DEEP)) == (False, True)
    assert (silence_of(Category.LINEAR, TOY), silence_of(Category.LINEAR, DEEP)) == (None, Silence())
    assert symbol_of(Category.LINEAR, DEEP) == "BTCUSDT"


def test_a_frame_is_the_drivers(engine: Engine) -> None:
    assert engine.apply(_toy(7), 100, 1, line=2) == 0
    assert engine.state(0) is FeedState.LIVE
    assert engine.first(0) == (100, 1)
    counters = engine.feed_counters(0)
    assert (counters["messages"], counters["rows"], counters["last_push_ms"]) == (1, 1, 5_000)
    checkpoint = engine.checkpoint(0)
    assert (checkpoint.line, checkpoint.driven) == (2, {"total": 7})
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
    assert engine.checkpoint(0).driven == {"total": 1}
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
    engine.subscribed(DEEP, 10, 1)
    assert [engine.state(feed) for feed in (0, 1)] == [FeedState.LIVE, FeedState.SYNCING]
    engine.disconnect(0, 20, 2)
    assert engine.state(0) is FeedState.STALE
    engine.subscribed(TOY, 30, 3, line=1)
    closed = engine.take_events()[-1]
    assert (closed.kind, closed.healed_by) == (EventKind.GAP_CLOSED, "subscribed")


def test_ids_breaks_and_snapshots(engine: Engine) -> None:
    engine.apply(_deep(9), 10, 1)
    engine.apply(_deep(10, snapshot=True), 20, 2)
    engine.apply(_deep(11), 30, 3)
    engine.apply(_deep(13), 40, 4)
    engine.apply(b"\x00", 45, 5)
    engine.apply(_deep(20, snapshot=True), 50, 6)
    engine.apply(b"\x00", 55, 7)
    engine.apply(_deep(22), 60, 8)
    gaps = [event for event in engine.take_events() if event.topic and event.kind <= EventKind.GAP_CLOSED]
    assert [(e.kind, e.detail, e.first_update_id, e.last_update_id, e.start_ns) for e in gaps] == [
        (EventKind.GAP_OPENED, "no_snapshot", 9, None, 10),
        (EventKind.GAP_CLOSED, "no_snapshot", 9, 9, 10),
        (EventKind.GAP_OPENED, "lost", 12, None, 30),
        (EventKind.GAP_CLOSED, "lost", 12, 19, 30),
        (EventKind.GAP_OPENED, "undecodable", 21, None, 50),
    ]


def test_the_driver_hears_what_the_bytes_dont_say(engine: Engine) -> None:
    engine.apply(_toy(1), 10, 1)
    engine.subscribed(DEEP, 10, 2, line=3)
    engine.answer("/v5/x", "body", 15, 4)
    engine.stale(DEEP, "silence", 20, 5)
    engine.disconnect(3, 30, 6)
    toys = [engine.driver(feed) for feed in (0, 1)]
    assert engine.driver(2) is None
    assert [isinstance(toy, Toy) and toy.heard for toy in toys] == [
        ["answer /v5/x body 4"],
        ["subscribed 3", "answer /v5/x body 4", "lost 3", "lost 3"],
    ]
    assert engine.checkpoint(1).driven == {"total": 4}
    assert engine.checkpoint(0).driven == {"total": 5}


def test_rows_and_their_digests() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    for topic in (DEEP, TRADES):
        engine.add_feed(topic)
    engine.apply(_deep(1, 5, snapshot=True), 10, 1)
    engine.apply(_deep(2, 6), 20, 2)
    assert not engine.set_digest(DEEP, 1, 77)
    assert engine.set_digest(DEEP, 2, 78)
    assert engine.pending == 0
    assert engine.row_bytes > 0
    ((key, table),) = engine.take_rows("c").items()
    assert key == (Table.COVERAGE, "BTCUSDT", 0)
    assert table.column("collector").to_pylist() == ["c", "c"]
    assert table.column("messages").to_pylist() == [5, 6]
    assert table.column("lines").to_pylist() == [1, 78]
    assert engine.row_bytes == 0
    assert engine.take_rows("c") == {}


# ---- one by one, in batches, in threads, over a checkpoint -----------------------------------------------------------


def _book(update_id: int, kind: str) -> bytes:
    data = {"s": "BTCUSDT", "b": [["1", str(update_id)]], "a": [], "u": update_id, "seq": update_id}
    frame = {"topic": BOOK, "type": kind, "ts": 5_000, "data": data, "cts": 5_000}
    return json.dumps(frame, separators=(",", ":")).encode()


FRAMES = st.one_of(
    st.integers(0, 9).map(_toy),
    st.integers(1, 6).map(_deep),
    st.integers(1, 6).map(lambda u: _deep(u, snapshot=True)),
    st.integers(1, 6).map(lambda u: _book(u, "delta")),
    st.integers(1, 6).map(lambda u: _book(u, "snapshot")),
    st.sampled_from(
        [b"", b"{}", b"\xff", b'{"topic":"toy.BTCUSDT"', b'{"topic":"toy.deep.BTCUSDT","v":1}',
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
            for topic in (TOY, DEEP, BOOK):
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
        for topic in (TOY, DEEP, BOOK):
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


def _steps() -> Iterator[bytes | Session | tuple[str, bytes]]:
    yield Subscribed(topics=[TOY, DEEP])
    yield _toy(3)
    yield _deep(1, snapshot=True)
    yield _deep(2)
    yield "/v5/market/some", b"answer"
    yield _deep(3)
    yield b'{"topic":"toy.BTCUSDT","v":1}'
    yield _deep(5)
    yield Disconnected(reason="lost")
    yield Subscribed(topics=[TOY, DEEP])
    yield _deep(6, snapshot=True)
    yield _toy(4)


def test_live_and_replay_are_one() -> None:
    engine = Engine(Category.LINEAR)
    journal = Journal()
    capture = Capture(engine, journal, run=1, on_event=lambda _: None, clock=journal.clock)  # type: ignore[arg-type]
    capture.begin([TOY, DEEP], [])
    for step in _steps():
        if isinstance(step, bytes):
            capture.frame_list(0, [step], journal.clock())
        elif isinstance(step, tuple):
            capture.rest(*step)
        else:
            capture.session(0, step)
    replay = Replay("c", Category.LINEAR, 0)
    replay.batch(build_batch(0, journal.records))
    assert replay.mismatches == []
    assert replay.digests == 4
    for feed in range(engine.feed_count):
        assert replay.engine.checkpoint(feed) == engine.checkpoint(feed)
    rest = [decode for _, _, kind, decode in journal.records if kind == RecordKind.REST]
    assert rest == [encode(RestAnswer(path="/v5/market/some", body="answer"))]
    tables = replay.finish(journal.now_ns)
    rows = tables[Table.COVERAGE, "BTCUSDT", 0]
    assert rows.column("messages").to_pylist() == [3, 1, 1, 1, 1, 1, 4]
    gaps = [
        cause
        for key, table in tables.items()
        if key[0] is Table.GAPS
        for cause in table.column("cause").to_pylist()
    ]
    assert gaps == ["undecodable", "lost"]
