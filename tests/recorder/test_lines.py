"""All lines of a collector: who carries what, and topics that come and go while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import recorder.line
from engine.bybit.backoff import connect_budget
from engine.freshness import Resyncs
from recorder.journal import Record, SegmentReader
from recorder.lines import LineSet
from schemas import notes
from schemas.errors import ConfigError, TapebookError
from schemas.names import Category, FeedState, RecordKind
from tests.recorder.lines import FakeConnection, FakeExchange, until
from tests.recorder.recordings import BOOK, TICKER, TRADES, Tape, book

AT_MS = 1_700_000_000_000
STATUS = "system.status"
STATUS_URL = "ws://127.0.0.1:1/v5/public/misc/status"


class Wired:
    """A line set, its exchange, and where it writes."""

    def __init__(
        self, data: Path, exchange: FakeExchange, *, copies: int = 1, most: float = 1_000_000
    ) -> None:
        self.tape = Tape(data, [])
        self.exchange = exchange
        self.engine = self.tape.engine
        self.failures: list[TapebookError] = []
        self.bugs: list[BaseException] = []
        self.lines = LineSet(
            "ws://127.0.0.1:1/v5/public/linear",
            Category.LINEAR,
            self.tape.capture,
            Resyncs(self.engine),
            budget=connect_budget(),
            ssl=None,
            fail=self.failures.append,
            ended=self._ended,
            copies=copies,
            most=most,
            elsewhere={STATUS: STATUS_URL},
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.bugs.append(error)

    async def connection(self, number: int = 0) -> FakeConnection:
        await until(
            lambda: len(self.exchange.connections) > number and self.exchange.connections[number].sent,
            "a connection",
        )
        return self.exchange.connections[number]

    async def end(self) -> list[Record]:
        await self.lines.stop()
        self.tape.journal.close()
        assert self.bugs == []
        with SegmentReader(next((self.tape.data / "journal" / "linear").glob("*.arrows"))) as reader:
            return list(reader.records())


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FakeExchange:
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    return exchange


@pytest.fixture
async def wired(tmp_path: Path, exchange: FakeExchange) -> AsyncIterator[Wired]:
    wired = Wired(tmp_path, exchange)
    yield wired
    await wired.lines.stop()


def _events(records: list[Record], kind: type[notes.Session]) -> list[tuple[int, notes.Session]]:
    decoded = [(r.line, notes.decode_session(r.payload)) for r in records if r.kind == RecordKind.SESSION]
    return [(line, event) for line, event in decoded if isinstance(event, kind)]


async def test_a_topic_with_a_stream_of_its_own(wired: Wired) -> None:
    wired.lines.add_topics([STATUS, BOOK])
    first, second = await wired.connection(0), await wired.connection(1)
    carried = {connection.url: connection.topics("subscribe") for connection in (first, second)}
    assert carried == {STATUS_URL: [STATUS], "ws://127.0.0.1:1/v5/public/linear": [BOOK]}
    wired.lines.add_topics([TRADES])
    await until(lambda: TRADES in [*first.topics("subscribe"), *second.topics("subscribe")], "its request")
    assert [line.topics for line in wired.lines if line.url == STATUS_URL] == [[STATUS]]
    wired.lines.remove_topics([STATUS])
    await until(lambda: len(wired.lines) == 1, "the end of its line")
    assert wired.lines.topics == [BOOK, TRADES]


async def test_one_line_as_long_as_its_limits_allow(wired: Wired) -> None:
    wired.lines.add_topics([BOOK, TRADES])
    connection = await wired.connection()
    assert connection.topics("subscribe") == [BOOK, TRADES]
    assert [line.slot for line in wired.lines] == [0]
    assert wired.lines.topics == [BOOK, TRADES]
    assert not wired.lines.listening
    connection.acknowledge()
    assert wired.lines.listening
    assert wired.lines.answered


async def test_a_topic_was_heard_of_when_its_connection_last_brought_anything(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired = Wired(tmp_path, exchange, copies=2)
    lines = wired.lines
    assert (lines.heard_ns(BOOK), lines.all_heard_ns()) == (0, 0)
    lines.add_topics([BOOK])
    first, second = await wired.connection(0), await wired.connection(1)
    lines.add_topics([STATUS])  # silent for hours, and about no book
    await wired.connection(3)
    now_ns = 5_000_000_000_000_000
    monkeypatch.setattr(recorder.line.time, "monotonic_ns", lambda: now_ns)

    def brings(connection: FakeConnection, *frames: bytes) -> None:
        nonlocal now_ns
        now_ns += 1_000
        connection.deliver(*frames)

    first.acknowledge()
    assert lines.heard_ns(BOOK) == 0, "nothing of it has come yet"
    brings(first, book("snapshot", 1, [("99", "1")], [("101", "1")], AT_MS))
    heard_ns = now_ns
    assert lines.heard_ns(BOOK) == heard_ns
    assert lines.all_heard_ns() == 0, "the other connection is up, and has brought nothing"
    now_ns += 1_000
    second.acknowledge()
    assert lines.heard_ns(BOOK) == heard_ns, "the other one doesn't deliver it yet"
    assert lines.all_heard_ns() == heard_ns
    brings(second, book("snapshot", 1, [("99", "1")], [("101", "1")], AT_MS))
    assert (lines.heard_ns(BOOK), lines.all_heard_ns()) == (now_ns, heard_ns)
    brings(first, b'{"success":true,"ret_msg":"pong","op":"ping"}')
    assert (lines.heard_ns(BOOK), lines.all_heard_ns()) == (now_ns, now_ns - 1_000), "a pong will do"
    assert lines.heard_ns(TRADES) == 0
    first.drop("gone")
    assert lines.heard_ns(BOOK) == lines.all_heard_ns() == now_ns - 1_000
    second.drop("gone")
    assert (lines.heard_ns(BOOK), lines.all_heard_ns()) == (0, 0)
    monkeypatch.undo()
    await wired.end()


async def test_as_many_lines_as_the_limits_ask_for(wired: Wired) -> None:
    topics = [f"orderbook.50.{number:030}USDT" for number in range(900)]  # of 50 characters each as arguments
    wired.lines.add_topics(topics)
    assert [len(line.topics) for line in wired.lines] == [419, 419, 62]
    assert [line.slot for line in wired.lines] == [0, 1, 2]
    assert wired.engine.feed_count == 900
    wired.lines.add_topics(topics)  # those carried already are left alone
    assert [len(line.topics) for line in wired.lines] == [419, 419, 62]


async def test_as_many_lines_as_the_expected_rates_ask_for(tmp_path: Path, exchange: FakeExchange) -> None:
    wired = Wired(tmp_path, exchange, most=40)
    topics = [
        f"orderbook.50.{symbol}" for symbol in ("A", "B", "C", "D", "E")
    ]  # 15 frames/s each are expected
    wired.lines.turnovers["B"] = 5e9
    wired.lines.add_topics(topics)
    assert [line.topics for line in wired.lines] == [topics[:1], topics[1:2], topics[2:4], topics[4:]]
    # what was measured counts more than what is expected
    wired.lines.rates.observe([(topic, 0) for topic in topics], 0)
    wired.lines.rates.observe([(topic, 30) for topic in topics], 30 * 10**9)
    wired.lines.add_topics(["orderbook.50.F"])
    assert [len(line.topics) for line in wired.lines] == [2, 1, 2, 1]
    await wired.end()


async def test_more_topics_while_it_runs_go_where_there_is_room(wired: Wired) -> None:
    wired.lines.add_topics([BOOK])
    connection = await wired.connection()
    connection.acknowledge()
    wired.lines.add_topics([TRADES, BOOK, TICKER])
    assert connection.topics("subscribe") == [TRADES, TICKER]
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [("1", "1")], [], AT_MS))
    assert wired.engine.state(wired.engine.feed_index(TRADES)) is FeedState.LIVE
    assert len(wired.exchange.connections) == 1
    records = await wired.end()
    said = [notes.decode_note(r.payload) for r in records if r.kind == RecordKind.NOTE]
    assert [n.topics for n in said if isinstance(n, notes.Feeds)] == [[], [BOOK], [TRADES, TICKER]]


async def test_topics_added_before_the_line_is_up_are_subscribed_with_the_others(wired: Wired) -> None:
    wired.lines.add_topics([BOOK])
    wired.lines.add_topics([TRADES])
    assert (await wired.connection()).topics("subscribe") == [BOOK, TRADES]


async def test_topics_that_go_are_unsubscribed_and_not_asked_for_again(wired: Wired) -> None:
    wired.lines.add_topics([BOOK, TRADES])
    connection = await wired.connection()
    connection.acknowledge()
    wired.lines.remove_topics([TRADES, TICKER])
    assert connection.topics("unsubscribe") == [TRADES]
    connection.acknowledge("unsubscribe")
    assert wired.lines.topics == [BOOK]
    assert wired.lines.lines_of(TRADES) == []
    connection.drop("bye")
    assert (await wired.connection(1)).topics("subscribe") == [BOOK]
    records = await wired.end()
    assert _events(records, notes.Unsubscribed) == [(0, notes.Unsubscribed(topics=[TRADES]))]


async def test_a_line_without_topics_is_closed_and_its_slot_used_again(wired: Wired) -> None:
    wired.lines.add_topics([BOOK])
    first = await wired.connection()
    first.acknowledge()
    wired.lines.remove_topics([BOOK])
    wired.lines.add_topics([TRADES])
    assert [line.slot for line in wired.lines] == [0, 1]  # a closing line gets no new topics
    await until(lambda: [line.slot for line in wired.lines] == [1], "the end of the line")
    assert not first.is_open
    wired.lines.add_topics([f"orderbook.50.{number:030}USDT" for number in range(420)])
    assert [line.slot for line in wired.lines] == [0, 1]
    records = await wired.end()
    gone = notes.Disconnected(reason="nothing left to carry", clean=True)
    assert (0, gone) in _events(records, notes.Disconnected)
    assert wired.failures == []


async def test_a_line_is_closed_that_waits_for_its_next_attempt(wired: Wired) -> None:
    wired.exchange.failures = 1
    wired.lines.add_topics([BOOK])
    await until(lambda: wired.exchange.attempts, "an attempt")
    wired.lines.remove_topics([BOOK])
    await until(lambda: len(wired.lines) == 0, "the end of the line")
    assert not wired.lines.all_refused


async def test_every_copy_carries_every_topic(tmp_path: Path, exchange: FakeExchange) -> None:
    wired = Wired(tmp_path, exchange, copies=2)
    wired.lines.add_topics([BOOK, TRADES])
    connections = [await wired.connection(0), await wired.connection(1)]
    assert [connection.topics("subscribe") for connection in connections] == [[BOOK, TRADES]] * 2
    assert [(line.slot, line.copy) for line in wired.lines.lines_of(BOOK)] == [(0, 0), (1, 1)]
    for connection in connections:
        connection.acknowledge()
    connections[0].drop("bye")
    wired.lines.resync(BOOK, 1)  # the line that is up is asked
    assert connections[1].topics("unsubscribe") == [BOOK]
    await wired.end()


async def test_attempts_go_to_another_line_each_time_but_never_to_one_that_has_not_got_the_topic(
    tmp_path: Path, exchange: FakeExchange
) -> None:
    wired = Wired(tmp_path, exchange, copies=3)
    wired.lines.add_topics([BOOK])
    connections = [await wired.connection(number) for number in range(3)]
    connections[0].acknowledge()
    connections[1].acknowledge(refuse=BOOK, words=f"error:handler not found,topic:{BOOK}")
    asked = []
    for _ in range(3):  # the third line has not got its answer yet
        wired.lines.resync(BOOK, 1)
        asked += [connection.topics("unsubscribe") == [BOOK] for connection in connections]
        for connection in connections:
            connection.acknowledge("unsubscribe")
        connections[0].acknowledge()
    assert asked == [True, False, False] * 3
    connections[2].acknowledge()
    wired.lines.resync(BOOK, 1)
    assert [connection.topics("unsubscribe") for connection in connections] == [[], [], [BOOK]]
    await wired.end()


async def test_more_connections_than_an_address_may_hold(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.lines.CONNECTIONS_PER_ADDRESS", 1)
    wired.lines.add_topics([BOOK])
    topics = [f"orderbook.50.{number:030}USDT" for number in range(500)]
    with pytest.raises(ConfigError, match="500 more linear topics need 2 connections, at most 1 per address"):
        wired.lines.add_topics(topics)
    assert wired.lines.topics == [BOOK]
    assert wired.engine.feed_count == 1


async def test_what_was_refused(wired: Wired) -> None:
    assert not wired.lines.all_refused
    wired.lines.add_topics([BOOK, TRADES])
    connection = await wired.connection()
    connection.acknowledge(refuse=TRADES, words=f"error:handler not found,topic:{TRADES}")
    assert wired.lines.refused == {TRADES: f"error:handler not found,topic:{TRADES}"}
    assert not wired.lines.all_refused
    wired.lines.remove_topics([BOOK])
    assert wired.lines.all_refused
    wired.lines.remove_topics([TRADES])
    assert not wired.lines.all_refused


async def test_a_line_that_was_refused_everything_is_closed_and_another_answers_for_it(wired: Wired) -> None:
    wired.lines.add_topics([BOOK])
    (await wired.connection()).acknowledge()
    wired.tape.capture.add_feeds([TRADES, TICKER])
    wired.lines.give(wired.lines.open(0), [TRADES, TICKER])
    second = await wired.connection(1)
    wired.lines.tick(20 * 10**9)
    assert len(wired.lines) == 2
    second.acknowledge(refuse=TRADES, words=f"error:handler not found,topic:{TRADES}")
    wired.lines.tick(40 * 10**9)
    assert second.is_open  # it has the ticker
    wired.lines.remove_topics([TICKER])
    wired.lines.tick(60 * 10**9)
    await until(lambda: len(wired.lines) == 1, "the end of the line")
    assert not second.is_open
    assert wired.lines.refused == {TRADES: f"error:handler not found,topic:{TRADES}"}
    assert [line.slot for line in wired.lines.lines_of(TRADES)] == [0]
    wired.exchange.connections[0].drop("bye")  # nor is it asked for when that one comes back
    assert (await wired.connection(2)).topics("subscribe") == [BOOK]
    wired.lines.remove_topics([TRADES])  # until somebody adds it anew
    wired.lines.add_topics([TRADES])
    await until(lambda: TRADES in wired.exchange.connections[2].topics("subscribe"), "a request")


async def test_the_last_line_stays_whatever_it_was_refused(wired: Wired) -> None:
    wired.lines.add_topics([BOOK])
    connection = await wired.connection()
    connection.acknowledge(refuse=BOOK, words="no")
    wired.lines.tick(20 * 10**9)
    assert wired.lines.all_refused
    assert connection.is_open


async def test_new_lines_are_born_paused_while_the_disk_is_behind(wired: Wired) -> None:
    wired.lines.pause(True)
    wired.lines.add_topics([BOOK])
    assert (await wired.connection()).paused
    wired.lines.pause(False)
    assert not wired.exchange.connections[0].paused


async def test_rates_are_measured_as_it_runs(wired: Wired) -> None:
    wired.lines.add_topics([BOOK, TRADES])
    connection = await wired.connection()
    connection.acknowledge()
    update_id = 0
    for second in range(10, 60, 10):
        wired.lines.tick(second * 10**9)
        for _ in range(50):
            update_id += 1
            connection.deliver(book("delta" if update_id > 1 else "snapshot", update_id, [], [], AT_MS))
    assert wired.lines.weight(BOOK) == pytest.approx(5)
    assert wired.lines.weight(TRADES) == 0
    assert wired.lines.weight(TICKER) > 0  # not measured: as expected


async def test_rates_of_several_copies_are_those_of_one(tmp_path: Path, exchange: FakeExchange) -> None:
    wired = Wired(tmp_path, exchange, copies=2)
    wired.lines.add_topics([BOOK])
    connections = [await wired.connection(0), await wired.connection(1)]
    for connection in connections:
        connection.acknowledge()
    update_id = 0
    for second in range(10, 60, 10):
        wired.lines.tick(second * 10**9)
        for _ in range(50):
            update_id += 1
            frame = book("delta" if update_id > 1 else "snapshot", update_id, [], [], AT_MS + update_id)
            for connection in connections:
                connection.deliver(frame)
    assert wired.lines.weight(BOOK) == pytest.approx(5)
    await wired.end()
