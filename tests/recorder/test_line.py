"""One line: it connects, subscribes, records, and comes back whenever it is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import recorder.line
from engine.bybit.backoff import Backoff, Budget, connect_budget
from engine.bybit.events import Silent
from engine.freshness import Resyncs
from engine.timing import Timing
from recorder.journal import Record, SegmentReader
from recorder.line import AMPLE_CONNECTS, CATCH_UP_NS, FIRST_ATTEMPTS, Line
from recorder.warnings import FIRST
from schemas import notes
from schemas.errors import ConnectError, StoreError, TapebookError
from schemas.names import Category, FeedState, RecordKind
from tests.recorder.lines import FakeConnection, FakeExchange, answer, until
from tests.recorder.recordings import BOOK, TICKER, TOP, TRADES, Tape, book, market, trade

MINUTE_NS = 60 * 10**9


class Wired:
    """A line, its exchange, and where it writes."""

    def __init__(self, data: Path, exchange: FakeExchange, topics: list[str], **options: Any) -> None:
        self.tape = Tape(data, [])
        for topic in topics:
            self.tape.engine.add_feed(topic)
        self.tape.capture.topics = self.tape.engine.topics()
        self.tape.capture.feed_bytes = [0] * len(topics)
        self.exchange = exchange
        self.engine = self.tape.engine
        self.resyncs = Resyncs(self.engine)
        self.failures: list[TapebookError] = []
        self.budget: Budget = connect_budget()
        self.line = Line(
            3,
            "ws://127.0.0.1:1/v5/public/linear",
            Category.LINEAR,
            topics,
            self.tape.capture,
            self.resyncs,
            budget=self.budget,
            backoff=Backoff(Random(1), base_ns=1_000_000, cap_ns=1_000_000),
            ssl=None,
            fail=self.failures.append,
            **options,
        )
        self.task = asyncio.create_task(self.line.run())

    async def connection(self, number: int = 0) -> FakeConnection:
        await until(lambda: len(self.exchange.connections) > number and self.line.connected)
        return self.exchange.connections[number]

    async def end(self) -> list[Record]:
        """Stop the line and return everything that it recorded (line 3)."""
        await self.line.stop()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if self.tape.journal.error is None:
            self.tape.journal.close()
        with SegmentReader(next((self.tape.data / "journal" / "linear").glob("*.arrows"))) as reader:
            return [record for record in reader.records() if record.line == 3]


@pytest.fixture
async def wired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wired]:
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [BOOK, TRADES])
    yield wired
    wired.task.cancel()
    await asyncio.gather(wired.task, return_exceptions=True)


def _sessions(records: list[Record]) -> list[notes.Session]:
    return [notes.decode_session(r.payload) for r in records if r.kind == RecordKind.SESSION]


def _names(records: list[Record]) -> list[str]:
    """What the records are, in order."""
    names = []
    for record in records:
        if record.kind == RecordKind.SESSION:
            names.append(type(notes.decode_session(record.payload)).__name__)
        elif record.kind == RecordKind.NOTE:
            names.append(type(notes.decode_note(record.payload)).__name__)
        else:
            names.append("frame")
    return names


async def test_a_line_subscribes_and_records(wired: Wired) -> None:
    connection = await wired.connection()
    assert connection.requests("ping")  # one right after opening
    assert connection.topics("subscribe") == [BOOK, TRADES]
    before = wired.line.acknowledged
    connection.acknowledge()
    assert (before, wired.line.acknowledged) == (False, True)
    assert wired.engine.state(wired.engine.feed_index(TRADES)) is FeedState.LIVE
    connection.deliver(*(frame for frame in market(0, 3) if b"orderbook.50" in frame or b"Trade" in frame))
    assert wired.engine.state(0) is FeedState.LIVE
    records = await wired.end()
    assert [name for name in _names(records) if name != "Widened"] == [
        "Connected", "Control", "Subscribed", "frame", "Digest", "frame", "frame", "frame",
    ]  # fmt: skip
    assert _sessions(records)[2] == notes.Subscribed(topics=[BOOK, TRADES])
    assert wired.failures == []
    assert wired.line.connects == 1


async def test_answers_and_frames_of_one_chunk_keep_their_order(wired: Wired) -> None:
    connection = await wired.connection()
    (request,) = connection.requests("subscribe")
    snapshot = book("snapshot", 5, [("1", "1")], [], 1_700_000_000_000)
    late = trade("x", "1", "1", 1_700_000_000_000)
    connection.deliver(snapshot, answer(request), late, answer({"op": "ping", "req_id": "p"}))
    records = await wired.end()
    payloads = [record.payload for record in records if record.kind == RecordKind.FRAME]
    assert payloads == [snapshot, late]
    # The acknowledgement is heard once the chunk is done; its text stands where it came.
    assert _names(records) == ["Connected", "frame", "Digest", "Control", "frame", "Control", "Subscribed"]


async def test_a_lost_line_is_a_gap_and_comes_back(wired: Wired) -> None:
    first = await wired.connection()
    first.acknowledge()
    first.deliver(book("snapshot", 5, [("1", "1")], [], 1_700_000_000_000))
    wired.resyncs.want(BOOK, 0)
    first.drop("reset by peer")
    assert not wired.line.connected
    assert wired.engine.state(0) is FeedState.STALE
    assert len(wired.resyncs) == 0  # the new connection brings the snapshot
    second = await wired.connection(1)
    assert second.topics("subscribe") == [BOOK, TRADES]
    second.acknowledge()
    second.deliver(book("snapshot", 50, [("1", "1")], [], 1_700_000_000_100))
    assert wired.engine.state(0) is FeedState.LIVE
    records = await wired.end()
    assert notes.Disconnected(reason="reset by peer") in _sessions(records)
    assert wired.line.connects == 2
    assert wired.line.last_reason == ""


async def test_a_dead_peer_is_left(wired: Wired) -> None:
    """Pings without a pong and without data: the session gives it up, the line opens another."""
    connection = await wired.connection()
    connection.acknowledge()
    now_ns = time.monotonic_ns()
    for minute in range(1, 5):
        wired.line.tick(now_ns + minute * MINUTE_NS)
    await until(lambda: not connection.is_open)
    await wired.connection(1)
    records = await wired.end()
    (gone,) = [event for event in _sessions(records) if isinstance(event, notes.Disconnected)]
    assert gone.reason not in ("", "aborted by us")


async def test_a_refused_topic_is_named_and_not_asked_for_again(wired: Wired) -> None:
    first = await wired.connection()
    words = f"error:handler not found,topic:{TRADES}"
    first.acknowledge(refuse=TRADES, words=words)
    assert wired.line.refused == {TRADES: words}
    assert wired.engine.checkpoint(0).subscribed
    first.drop("bye")
    second = await wired.connection(1)
    assert second.topics("subscribe") == [BOOK]
    records = await wired.end()
    assert notes.Refused(topic=TRADES, words=words) in _sessions(records)


async def test_a_feed_that_stays_silent_after_its_acknowledgement_is_resynced(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    assert wired.resyncs.due(time.monotonic_ns()) == []
    for seconds in (5, 10, 15, 19):  # other data keeps the line alive
        connection.deliver(trade(f"t{seconds}", "1", "1", 1_700_000_000_000))
        wired.line.tick(time.monotonic_ns() + seconds * 10**9)
    assert len(wired.resyncs) == 1
    (topic,) = wired.resyncs.due(time.monotonic_ns() + MINUTE_NS)
    assert topic == BOOK
    wired.line.resync(topic, time.monotonic_ns() + MINUTE_NS)
    assert connection.topics("unsubscribe") == [BOOK]
    connection.acknowledge("unsubscribe")
    assert connection.topics("subscribe") == [BOOK]
    connection.acknowledge()
    records = await wired.end()
    # A resync is no end of coverage.
    assert not any(isinstance(event, notes.Unsubscribed) for event in _sessions(records))


async def test_a_first_snapshot_that_is_lost_after_a_reconnect_is_asked_for_again(wired: Wired) -> None:
    """The feed is STALE already, deltas come, and no event will ever say that the snapshot doesn't."""
    first = await wired.connection()
    first.acknowledge()
    first.deliver(book("snapshot", 5, [("1.5", "1")], [("2.5", "1")], 1))
    assert wired.resyncs.due(time.monotonic_ns()) == []
    first.drop("a cut")
    second = await wired.connection(1)
    second.acknowledge()
    second.deliver(book("delta", 9, [("1.5", "2")], [], 2))
    assert wired.engine.state(0) is FeedState.STALE
    assert wired.resyncs.due(time.monotonic_ns()) == []
    assert wired.resyncs.due(time.monotonic_ns() + Timing().first_snapshot_ns) == [BOOK]
    second.deliver(book("snapshot", 10, [("1.5", "1")], [("2.5", "1")], 3))
    assert wired.resyncs.due(time.monotonic_ns() + 10 * Timing().first_snapshot_ns) == []


async def test_an_ending_connection_says_itself_why(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    connection.closing = True
    wired.line.resync(BOOK, time.monotonic_ns())
    connection.drop("closed by the peer: 1001")
    assert wired.line.last_reason == "closed by the peer: 1001"


async def test_a_line_that_never_came_up_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = FakeExchange(failures=1_000)
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [BOOK])
    await wired.task
    assert exchange.attempts == FIRST_ATTEMPTS
    (failure,) = wired.failures
    assert isinstance(failure, ConnectError)
    assert await wired.end() == []


async def test_one_that_did_is_tried_for_ever(wired: Wired) -> None:
    connection = await wired.connection()
    wired.exchange.failures = wired.exchange.attempts + 3 * FIRST_ATTEMPTS
    connection.drop("the exchange restarts")
    await wired.connection(1)
    assert wired.failures == []
    assert wired.exchange.attempts == 3 * FIRST_ATTEMPTS + 2


async def test_the_budget_is_respected(wired: Wired) -> None:
    connection = await wired.connection()
    while wired.budget.take(time.monotonic_ns()):
        pass
    connection.drop("bye")
    await asyncio.sleep(0.05)
    assert len(wired.exchange.connections) == 1


async def test_a_connection_that_is_gone_before_anybody_could_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[FakeConnection] = []

    def drop_first(connection: FakeConnection) -> None:
        if not dropped:
            dropped.append(connection)
            connection.drop("gone at once")

    exchange = FakeExchange(on_connect=drop_first)
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [BOOK])
    second = await wired.connection(1)
    assert second.topics("subscribe") == [BOOK]
    records = await wired.end()
    assert _names(records) == ["Connected"]


async def test_frames_that_are_there_before_the_line_has_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = trade("early", "1", "1", 1_700_000_000_000)
    exchange = FakeExchange(on_connect=lambda connection: connection.deliver(frame))
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [TRADES])
    (await wired.connection()).acknowledge()
    records = await wired.end()
    assert _names(records) == ["frame", "Connected", "Control", "Subscribed"]


async def test_stopping_is_no_disconnect(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    await wired.line.stop()
    await asyncio.wait_for(wired.task, 60)
    assert not connection.is_open
    assert wired.engine.open_gap(1) is None
    assert "Disconnected" not in _names(await wired.end())


async def test_reading_pauses_on_this_connection_and_the_next(wired: Wired) -> None:
    first = await wired.connection()
    wired.line.pause(True)
    assert first.paused
    first.drop("bye")
    second = await wired.connection(1)
    assert second.paused
    wired.line.pause(False)
    assert not second.paused


async def test_a_line_that_nobody_reads_is_not_dead(wired: Wired) -> None:
    """Its pongs and acknowledgements wait in the socket, however long the disk needs."""
    first = await wired.connection()
    now_ns = time.monotonic_ns()
    wired.line.pause(True)
    wired.line.tick(now_ns + 10 * MINUTE_NS)
    wired.line.pause(False)
    wired.line.tick(now_ns + CATCH_UP_NS // 2)
    await asyncio.sleep(0.01)
    assert first.is_open
    wired.line.tick(now_ns + 10 * MINUTE_NS)  # nothing came out of it after all
    await until(lambda: not first.is_open)
    await wired.connection(1)


async def test_a_peer_that_stopped_reading_is_left(wired: Wired) -> None:
    first = await wired.connection()
    first.acknowledge()
    first.deaf = True
    wired.line.resync(BOOK, time.monotonic_ns())
    await until(lambda: not first.is_open)
    assert (await wired.connection(1)).topics("subscribe") == [BOOK, TRADES]


async def test_a_failing_journal_ends_the_recording(wired: Wired) -> None:
    connection = await wired.connection()
    wired.tape.journal.close()
    connection.deliver(trade("x", "1", "1", 1_700_000_000_000))
    connection.drop("bye")
    assert [type(failure) for failure in wired.failures] == [StoreError, StoreError]


async def test_an_answer_that_is_no_text_is_a_frame(wired: Wired) -> None:
    connection = await wired.connection()
    connection.deliver(b'{"op":"\xff"}')
    records = await wired.end()
    assert _names(records) == ["Connected", "frame"]
    assert wired.engine.counters()["undecodable"] == {"not_json": 1}


async def test_hostile_frames_go_to_the_journal_and_nowhere_else(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    hostile: list[Any] = [
        b"", b"\x00", b"[" * 10_000, b'{"topic":', b'{"op":7}', b'{"success":"no","op":["x"]}', b'{"retCode":NaN}',
        b'{"type":"COMMAND_RESP","data":7}', b'{"type":"COMMAND_RESP","data":{"successTopics":["orderbook.50.EVIL"]}}',
        b'{"op":"subscribe","success":true,"req_id":"never"}', b'{"op":"pong","args":[{}]}', b'"op"',
        b'{"topic":"\xff"}',
    ]  # fmt: skip
    connection.deliver(*hostile)
    for frame in hostile:
        connection.deliver(frame)
    assert wired.line.connected
    assert wired.engine.topics() == [BOOK, TRADES]
    assert wired.failures == []
    records = await wired.end()
    kept = [record.payload for record in records if record.kind == RecordKind.FRAME]
    kept += [event.text.encode() for event in _sessions(records) if isinstance(event, notes.Control)]
    for frame in hostile:
        assert frame in kept


async def test_only_data_that_answers_nothing_shows_that_the_market_is_alive(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [], [], 1_700_000_000_000))
    assert wired.line.data_ns == 0
    connection.deliver(book("delta", 6, [], [], 1_700_000_000_000))
    heard_ns = wired.line.data_ns
    assert heard_ns > 0
    connection.deliver(b'{"topic":"orderbook.50.NOBODY"}', answer({"op": "ping", "req_id": "p"}))
    assert wired.line.data_ns == heard_ns


@pytest.mark.parametrize("is_all_there", [False, True])
async def test_a_message_that_nobody_understands_is_told(
    wired: Wired, caplog: pytest.LogCaptureFixture, is_all_there: bool
) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    if is_all_there:
        connection.deliver(
            book("snapshot", 7, [], [], 1_700_000_000_000), trade("a", "1", "1", 1_700_000_000_000)
        )
    connection.deliver(b'{"news":"maintenance"}')
    assert 'a message without a topic (unknown_shape): {"news":"maintenance"}' in caplog.text


async def test_a_flood_of_them_is_told_of_a_few_times(wired: Wired, caplog: pytest.LogCaptureFixture) -> None:
    connection = await wired.connection()
    for number in range(100):
        connection.deliver(b'{"news":"maintenance %d"}' % number)
    assert caplog.text.count("a message without a topic") == FIRST
    assert sum(b"maintenance" in record.payload for record in await wired.end()) == 100


async def test_its_state_can_be_read(wired: Wired) -> None:
    await wired.connection()
    assert repr(wired.line).startswith("<Line 3 connects=1 ")
    assert TICKER not in wired.line.topics


@pytest.mark.parametrize("status", [403, 404, 429])
async def test_who_is_sent_away_at_the_door_does_not_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    exchange = FakeExchange(failures=1_000, error=ConnectError("go away", status=status, lasting=True))
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [BOOK])
    await wired.task
    assert exchange.attempts == 1
    assert [str(failure) for failure in wired.failures] == ["go away"]
    await wired.end()


async def test_who_was_let_in_before_waits_and_asks_again(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []

    def next_delay_ns(backoff: Backoff, status: int | None = None) -> int:
        asked.append(status)
        return 0

    monkeypatch.setattr(Backoff, "next_delay_ns", next_delay_ns)
    connection = await wired.connection()
    wired.exchange.failures = wired.exchange.attempts + 2
    wired.exchange.error = ConnectError("go away", status=403, lasting=True)
    connection.drop("bye")
    await wired.connection(1)
    assert wired.failures == []
    assert asked == [None, 403, 403]


async def test_a_line_is_not_given_up_where_another_has_reached_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = FakeExchange(failures=2 * FIRST_ATTEMPTS)
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    wired = Wired(tmp_path, exchange, [BOOK], is_reached=lambda: True)
    await wired.connection()
    assert wired.failures == []
    await wired.end()


async def test_a_connection_proves_itself_only_while_the_budget_is_ample(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceilings: list[int] = []

    def next_delay_ns(backoff: Backoff, status: int | None = None) -> int:
        ceilings.append(backoff.failures)
        backoff.failures += 1
        return 0

    monkeypatch.setattr(Backoff, "next_delay_ns", next_delay_ns)
    for number in range(5):
        connection = await wired.connection(number)
        wired.line._opened_ns -= MINUTE_NS  # it has held for long
        if number == 2:
            while wired.budget.left(time.monotonic_ns()) >= AMPLE_CONNECTS:
                assert wired.budget.take(time.monotonic_ns())
        connection.drop("bye")
    await wired.connection(5)
    assert ceilings == [0, 0, 1, 2, 3]


async def test_a_topic_that_stays_silent_is_told_once(wired: Wired, caplog: pytest.LogCaptureFixture) -> None:
    await wired.connection()
    for _ in range(3):  # as after each of its resyncs
        wired.line._event(Silent(BOOK))
    assert caplog.text.count("no first frame came: nothing trades there now") == 1
    assert len(wired.resyncs) == 1


@pytest.mark.parametrize("topic", [BOOK, TOP, TICKER, "priceLimit.BTCUSDT"])
async def test_every_topic_that_stays_silent_is_asked_for_again(wired: Wired, topic: str) -> None:
    """Also one that any message would heal: without a new subscription none may ever come."""
    wired.engine.add_feed(topic)
    await wired.connection()
    wired.line._event(Silent(topic))
    assert wired.resyncs.due(time.monotonic_ns()) == [topic]


async def test_topics_are_asked_for_once_those_that_leave_make_room(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    old, new = (
        [f"tickers.{letter * 10_000}" for letter in "AB"],
        [f"tickers.{letter * 10_000}" for letter in "CD"],
    )
    now_ns = time.monotonic_ns()
    wired.line.add(old, now_ns)
    connection.acknowledge()
    wired.line.remove(old, now_ns)
    wired.line.add([*new, BOOK], now_ns)  # together they would be twice what a connection may carry
    assert connection.topics("subscribe") == []
    connection.acknowledge("unsubscribe")
    wired.line.tick(now_ns)
    assert connection.topics("subscribe") == new
    assert wired.line.topics == [BOOK, TRADES, *new]
    wired.line.tick(now_ns)
    assert connection.topics("subscribe") == new  # asked once


async def test_topics_that_wait_for_room_may_go_again(wired: Wired) -> None:
    connection = await wired.connection()
    connection.acknowledge()
    now_ns = time.monotonic_ns()
    big = [f"tickers.{letter * 10_000}" for letter in "ABC"]
    wired.line.add(big[:2], now_ns)
    wired.line.add(big[2:], now_ns)
    wired.line.remove(big[2:], now_ns)
    wired.line.tick(now_ns)
    assert connection.topics("subscribe") == big[:2]
