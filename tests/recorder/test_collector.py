"""The collector without sockets: what starts, what is noticed, what ends a recording, and what is left then."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

import recorder.collector
import recorder.line
from engine.bybit.rest import InstrumentPage, parse_instruments
from engine.timing import Timing
from recorder.collector import Collector, Report
from recorder.health import troubles
from recorder.journal import JournalWriter, Record, SegmentReader, segments
from recorder.journal.disk import Disk
from recorder.live_books import open_book
from recorder.network import Network
from recorder.roll import roll_data
from recorder.verify import verify
from schemas import notes
from schemas.config import RecordConfig
from schemas.errors import ConnectError, ExchangeError, Rejected, StoreError, TapebookError
from schemas.names import RecordKind
from tests.recorder.lines import FakeConnection, FakeExchange, until
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TRADES, book, ticker, trade

NOW_MS = START_NS // MS


class NoRest:
    """A REST client that reaches nobody."""

    error: type[ExchangeError] = ConnectError

    def __init__(self, network: Network) -> None:
        self.network = network

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def instrument_pages(
        self, category: Any, *, status: str | None = None
    ) -> list[tuple[str, bytes, InstrumentPage]]:
        raise ConnectError("nobody listens")

    async def timed_server_time(self) -> tuple[int, int, int]:
        raise ConnectError("nobody listens")


class Recording:
    """A collector at work."""

    def __init__(
        self,
        data: Path,
        exchange: FakeExchange,
        topics: list[str],
        crashed: Sequence[notes.Crashed] = (),
        **options: Any,
    ) -> None:
        self.data = data
        self.exchange = exchange
        self.sealed: list[Path] = []
        self.collector = Collector(
            RecordConfig(data=str(data), commit_ms=1, **options),
            "ws://127.0.0.1:1",
            topics,
            crashed=list(crashed),
            on_sealed=self.sealed.append,
            timing=Timing(tick_s=0.005),
        )
        self.task = asyncio.create_task(self.collector.run())

    async def connection(self, number: int = 0) -> FakeConnection:
        await until(
            lambda: len(self.exchange.connections) > number and self.exchange.connections[number].sent,
            "a connection",
        )
        return self.exchange.connections[number]

    async def stop(self) -> Report:
        self.collector.stop("the test")
        return await asyncio.wait_for(self.task, 60)

    def records(self) -> list[Record]:
        out: list[Record] = []
        for segment in segments(self.data):
            with SegmentReader(segment.path) as reader:
                out += reader.records()
        return out

    def said(self, kind: type[Any]) -> list[Any]:
        decode = {RecordKind.NOTE: notes.decode_note, RecordKind.SESSION: notes.decode_session}
        decoded = [decode[RecordKind(r.kind)](r.payload) for r in self.records() if r.kind in decode]
        return [value for value in decoded if isinstance(value, kind)]


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> FakeExchange:
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    monkeypatch.setattr(recorder.collector, "RestClient", NoRest)
    return exchange


@pytest.fixture
async def recording(tmp_path: Path, exchange: FakeExchange) -> AsyncIterator[Recording]:
    recording = Recording(tmp_path, exchange, [BOOK, TRADES])
    yield recording
    if not recording.task.done():
        await recording.stop()


async def test_a_recording_from_start_to_stop(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [("1.5", "1")], [("2.5", "1")], NOW_MS))
    connection.deliver(book("delta", 6, [("1.5", "2")], [], NOW_MS), trade("a", "2", "1", NOW_MS))
    report = await recording.stop()
    assert (report.why, report.frames, report.undecodable, report.unknown_topics) == ("the test", 3, {}, 0)
    assert [(feed.topic, feed.state, feed.messages, feed.gaps) for feed in report.feeds] == [
        (BOOK, "live", 2, 0),
        (TRADES, "live", 1, 0),
    ]
    assert all(feed.bytes > 100 and feed.refused is None for feed in report.feeds)
    assert not connection.is_open
    await until(lambda: recording.sealed)
    assert recording.sealed == [segment.path for segment in segments(recording.data)]
    assert recording.said(notes.End) == [notes.End(reason="stopped")]
    assert recording.said(notes.Disconnected) == [notes.Disconnected(reason="the recording ends", clean=True)]
    roll_data(recording.data)
    result = verify(recording.data)
    assert (result.failures, result.gaps, result.frames) == ([], 0, 3)


async def test_what_only_an_earlier_run_asked_for_is_no_trouble_of_this_one(
    tmp_path: Path, exchange: FakeExchange
) -> None:
    """Its gap stays on record; but a recorder that is told not to record it is well without it."""
    gap = notes.OpenGap("crash", START_NS, None, None)
    recording = Recording(tmp_path, exchange, [BOOK], [notes.Crashed(topic=TICKER, gap=gap)])
    (await recording.connection()).acknowledge()
    status = recording.collector.status()
    assert [feed["topic"] for feed in status["feeds"]] == [BOOK]
    assert troubles(status, running=True, now_ns=status["written_ns"]) == []
    report = await recording.stop()
    assert {feed.topic: feed.gaps for feed in report.feeds} == {BOOK: 0, TICKER: 1}
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []


async def test_a_stop_does_not_wait_for_an_exchange_that_says_nothing(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(NoRest, "instrument_pages", hang)
    recording = Recording(tmp_path, exchange, [BOOK])
    await asyncio.wait_for(asked.wait(), 30)
    assert (await recording.stop()).why == "the test"
    assert exchange.attempts == 0
    assert recording.said(notes.End) == [notes.End(reason="stopped")]


async def test_the_first_reason_to_stop_counts(recording: Recording) -> None:
    await recording.connection()
    recording.collector.stop("one")
    recording.collector.stop("another")
    assert (await recording.task).why == "one"


async def test_a_broken_chain_is_resynced_at_once(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [], [], NOW_MS))
    connection.deliver(book("delta", 9, [], [], NOW_MS))
    await until(lambda: connection.topics("unsubscribe") == [BOOK], "a resync")
    assert connection.topics("subscribe") == []
    connection.acknowledge("unsubscribe")
    connection.acknowledge()
    connection.deliver(book("snapshot", 20, [], [], NOW_MS))
    report = await recording.stop()
    assert (report.feeds[0].state, report.feeds[0].gaps) == ("live", 1)
    assert recording.collector.resyncs.count == 1


async def test_silence_is_recorded_and_resynced(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [], [], NOW_MS))
    monkeypatch.setattr(recording.collector.freshness, "tick", lambda now_ns: [(0, 11 * 10**9)])
    await until(lambda: connection.topics("unsubscribe") == [BOOK], "a resync")
    await recording.stop()
    assert recording.said(notes.Stale) == [notes.Stale(topic=BOOK, cause="silence")]


async def test_a_lost_connection_is_a_gap_that_the_next_one_heals(recording: Recording) -> None:
    first = await recording.connection()
    first.acknowledge()
    first.deliver(book("snapshot", 5, [], [], NOW_MS))
    first.drop("reset by peer")
    second = await recording.connection(1)
    second.acknowledge()
    second.deliver(book("snapshot", 9, [], [], NOW_MS))
    report = await recording.stop()
    assert [(feed.state, feed.gaps) for feed in report.feeds] == [("live", 1), ("live", 1)]


async def test_every_topic_refused(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge(refuse=BOOK, words=f"error:handler not found,topic:{BOOK}")
    assert not recording.task.done()
    connection.sent.clear()
    connection.drop("once more")
    second = await recording.connection(1)
    second.acknowledge(refuse=TRADES, words=f"error:handler not found,topic:{TRADES}")
    with pytest.raises(Rejected, match=r"handler not found.*and every other topic too"):
        await recording.task
    assert [segment.state for segment in segments(recording.data)] == ["sealed"]


async def test_one_topic_refused_is_reported_and_the_others_go_on(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge(refuse=TRADES, words=f"error:handler not found,topic:{TRADES}")
    report = await recording.stop()
    assert [feed.refused is None for feed in report.feeds] == [True, False]


async def test_nobody_listens(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.failures = 1_000
    monkeypatch.setattr("engine.bybit.backoff.Backoff.next_delay_ns", _no_delay)
    with pytest.raises(ConnectError, match="nobody listens"):
        await Recording(tmp_path, exchange, [BOOK]).task
    assert [segment.state for segment in segments(tmp_path)] == ["sealed"]
    assert verify(tmp_path).failures == []


def _no_delay(backoff: Any, status: int | None = None) -> int:
    backoff.failures += 1
    return 0


async def test_a_duration(tmp_path: Path, exchange: FakeExchange) -> None:
    recording = Recording(tmp_path, exchange, [BOOK], duration=3_600)
    (await recording.connection()).acknowledge()
    recording.collector._started_ns -= 3_599 * 10**9
    assert not recording.task.done()
    report = await asyncio.wait_for(recording.task, 60)
    assert report.why == "the duration of 3600 s is over"


async def test_an_exchange_that_never_answers_is_no_quiet_market(
    tmp_path: Path, exchange: FakeExchange
) -> None:
    recording = Recording(tmp_path, exchange, [BOOK], duration=0.05)
    with pytest.raises(ConnectError, match="acknowledged no subscription and sent no frame"):
        await recording.task


async def test_idleness_counts_from_the_acknowledgements_on(tmp_path: Path, exchange: FakeExchange) -> None:
    recording = Recording(tmp_path, exchange, [BOOK], stop_after_idle=0.05)
    connection = await recording.connection()
    await asyncio.sleep(0.1)
    assert not recording.task.done()
    connection.acknowledge()
    assert (await asyncio.wait_for(recording.task, 60)).why == "no data frame for 0.05 s"


async def test_segments_are_rotated_by_age_and_by_size(tmp_path: Path, exchange: FakeExchange) -> None:
    recording = Recording(tmp_path, exchange, [BOOK], segment_mib=0.01)
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 1, [("1.5", "1")], [("2.5", "1")], NOW_MS))
    update_id = 1
    while len(recording.sealed) < 3 and update_id < 20_000:
        for _ in range(20):
            update_id += 1
            connection.deliver(book("delta", update_id, [("1.5", str(update_id))], [], NOW_MS + update_id))
        await asyncio.sleep(0.005)
    await recording.stop()
    by_age = Recording(tmp_path / "age", exchange, [BOOK], segment_seconds=0.05)
    await until(lambda: len(by_age.sealed) >= 2, "rotations")
    await by_age.stop()
    for data in (tmp_path, tmp_path / "age"):
        roll_data(data)
        result = verify(data)
        assert result.findings == []
        assert result.segments >= 3
    assert result.frames == 0


async def test_segments_are_rotated_by_age_where_the_clock_was_set_back(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine may begin a day ahead of the time and be set right later, while it records or between recordings."""
    ahead_ns, real = [86_400 * 10**9], time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead_ns[0])
    recording = Recording(tmp_path, exchange, [BOOK], segment_seconds=0.05)
    await until(lambda: len(recording.sealed) >= 1, "a rotation")
    ahead_ns[0] = 0
    before = len(recording.sealed)
    await until(lambda: len(recording.sealed) >= before + 2, "rotations after the clock was set back")
    await recording.stop()
    later = Recording(tmp_path, exchange, [BOOK], segment_seconds=0.05)
    await until(lambda: len(later.sealed) >= 2, "rotations behind names that are ahead of the time")
    await later.stop()
    roll_data(tmp_path)
    assert verify(tmp_path).findings == []


async def test_what_instruments_info_says_comes_first(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rest(NoRest):
        async def instrument_pages(
            self, category: Any, *, status: str | None = None
        ) -> list[tuple[str, bytes, InstrumentPage]]:
            row = {
                "symbol": "BTCUSDT",
                "priceFilter": {"tickSize": "0.01"},
                "lotSizeFilter": {"qtyStep": "0.001"},
            }
            body = json.dumps({"retCode": 0, "result": {"list": [row, row | {"symbol": "ETHUSDT"}]}}).encode()
            return [("/v5/market/instruments-info?category=linear", body, parse_instruments(body))]

    monkeypatch.setattr(recorder.collector, "RestClient", Rest)
    recording = Recording(tmp_path, exchange, [BOOK, TRADES])
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [("1.5", "1")], [], NOW_MS))
    await recording.stop()
    kinds = [record.kind for record in recording.records()]
    assert kinds.index(RecordKind.REST) < kinds.index(RecordKind.SESSION) < kinds.index(RecordKind.FRAME)
    assert recording.collector.engine.exponents("BTCUSDT") == (-2, -3)
    announced = [note.symbol for note in recording.said(notes.Widened) if note.source == "instruments"]
    assert announced == [
        "BTCUSDT"
    ]  # the listing is on record whole, and nothing is announced of what is not ours
    assert recording.collector.engine.levels(0) == ([(150, 1_000)], [])


async def test_without_instruments_info_it_is_recorded_all_the_same(
    tmp_path: Path, exchange: FakeExchange, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tapebook"):
        recording = Recording(tmp_path, exchange, [BOOK, TRADES])
        connection = await recording.connection()
        connection.acknowledge()
    assert "decimals are learned from the frames" in caplog.text
    assert (await recording.stop()).feeds[1].state == "live"


async def test_a_journal_that_fails_ends_the_recording(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge()
    journal = recording.collector.journal
    journal._stop(StoreError("the disk is full"))
    journal._seal("stopped", None)  # its thread may have nothing to do, and then would not look
    connection.deliver(ticker("snapshot", 1, lastPrice="1"))
    with pytest.raises(StoreError, match="the disk is full"):
        await recording.task


async def test_a_bug_is_said_to_be_one(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await recording.connection()

    def broken(now_ns: int) -> list[tuple[int, int]]:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(recording.collector.freshness, "tick", broken)
    with pytest.raises(TapebookError, match="a bug in tapebook stopped the recording: ZeroDivisionError"):
        await recording.task
    assert "of all things" in caplog.text
    assert [segment.state for segment in segments(recording.data)] == ["sealed"]


async def test_reading_pauses_while_the_disk_is_behind(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await recording.connection()
    backlog = 65 << 20
    monkeypatch.setattr(type(recording.collector.journal), "backlog_bytes", property(lambda _: backlog))
    await until(lambda: connection.paused, "a pause")
    assert recording.collector.status()["paused"]
    book = open_book(recording.data, "BTCUSDT")
    assert book.trouble() == "reading paused"  # other processes learn it: what they read gets old
    backlog = 20 << 20  # between the marks: it stays
    await asyncio.sleep(0.02)
    assert connection.paused
    backlog = 1 << 20
    await until(lambda: not connection.paused, "an end of the pause")
    assert book.trouble() == ""


async def test_a_slow_disk_costs_no_frame_and_no_gap(
    tmp_path: Path, exchange: FakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk stalls while the market goes on: what is not recording gives way first, then reading, memory stays
    bounded, and nothing that was read is lost."""
    disk = threading.Event()
    disk.set()

    class SlowDisk(Disk):
        def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
            disk.wait(60)
            return super().write_at(descriptor, data, offset_bytes)

    monkeypatch.setattr(recorder.collector, "JournalWriter", partial(JournalWriter, disk=SlowDisk()))
    recording = Recording(tmp_path, exchange, [BOOK, TRADES], backlog_mib=0.1)
    told: list[tuple[bool, int]] = []
    collector = recording.collector
    collector._on_pressure = lambda pressed: told.append((pressed, collector.journal.backlog_bytes))
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 1, [("1.5", "1")], [("2.5", "1")], NOW_MS))
    disk.clear()
    sent = 1
    while not connection.paused:  # the exchange sends as long as somebody reads
        sent += 1
        connection.deliver(book("delta", sent, [("1.5", str(sent))], [], NOW_MS))
        await asyncio.sleep(0)
        assert sent < 5000
    (pressed, backlog), *_ = told
    limit = int(0.1 * (1 << 20))
    assert pressed
    assert limit // 8 < backlog < limit
    assert collector.journal.backlog_bytes < 2 * limit
    assert len(told) == 1  # and it does not flutter
    disk.set()
    await until(lambda: not connection.paused, "reading again")
    await until(lambda: len(told) == 2, "an end of the pressure")
    assert not told[1][0]
    connection.deliver(book("delta", sent + 1, [("1.5", "1")], [], NOW_MS))
    pressure = collector.status()["pressure"]
    assert (pressure["level"], pressure["spared"], pressure["held"]) == ("ease", 1, 1)
    assert pressure["spared_seconds"] >= pressure["held_seconds"] > 0
    assert pressure["peak_backlog_bytes"] > limit
    report = await recording.stop()
    assert [(feed.messages, feed.gaps) for feed in report.feeds] == [(sent + 1, 0), (0, 0)]
    frames = [record.payload for record in recording.records() if record.kind == RecordKind.FRAME]
    assert len(frames) == sent + 1


async def test_what_status_shows(recording: Recording) -> None:
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [], [], NOW_MS), b'{"topic":"orderbook.50.NOBODY"}', b"\xff")
    path = recording.data / "journal" / "linear" / "status.json"
    await until(lambda: path.exists() and json.loads(path.read_bytes())["frames"] == 3, "a status")
    status = json.loads(path.read_bytes())
    assert (status["running"], status["category"], status["environment"]) == (True, "linear", "gateway")
    assert (status["undecodable"], status["unknown_topics"]) == ({"not_json": 1}, 1)
    (line,) = status["lines"]
    assert (line["connected"], line["connects"]) == (True, 1)
    began_ns = status["written_ns"] - status["seconds"] * 1e9
    assert began_ns - 1e9 < line["changed_ns"] <= status["written_ns"]
    feed = status["feeds"][0]
    assert (feed["topic"], feed["state"], feed["messages"], feed["update_id"]) == (BOOK, "live", 1, 5)
    assert feed["gap"] is None
    connection.drop("by the test")
    lost = recording.collector.status()
    assert not lost["lines"][0]["connected"]
    assert lost["lines"][0]["changed_ns"] > line["changed_ns"]
    assert lost["feeds"][0]["gap"] == {"cause": "disconnect", "since_ns": feed["last_receive_ns"]}
    await recording.stop()
    assert json.loads(path.read_bytes())["running"] is False
    assert TICKER not in [feed["topic"] for feed in status["feeds"]]
