"""What a watch reads: live books and tapes that a collector publishes, whichever of its lives it is in."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from engine.core.feeds import Engine
from recorder.cli import app
from recorder.live_publisher import LivePublisher
from recorder.watch import source
from recorder.watch.condition import Condition
from recorder.watch.model import Watch
from recorder.watch.source import DataSource
from schemas.config import RecordConfig
from schemas.names import FeedState
from tests.processes import PATIENCE_S
from tests.recorder.recordings import book, trade
from tests.recorder.watch.statuses import feed, line, live

BOOK, SHALLOW, TRADES = "orderbook.200.BTCUSDT", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"


class Collector:
    """What a collector leaves for others to read, without its connections."""

    def __init__(self, data: Path, *, tape_mib: float = 1.0) -> None:
        self.data = data
        self.engine = Engine("linear")
        for topic in (BOOK, SHALLOW, TRADES):
            self.engine.add_feed(topic)
        config = RecordConfig(data=str(data), name="linear", tape_mib=tape_mib)
        self.publisher = LivePublisher(config, self.engine, "gateway")
        directory = data / "journal" / "linear"
        directory.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, b"77\n", 0)
        self.sequence = 0
        self.publisher.begin()
        self.beating = asyncio.create_task(self.publisher.beat())
        self.tell()

    def apply(self, *frames: bytes) -> None:
        for frame in frames:
            self.sequence += 1
            self.engine.apply(frame, time.time_ns(), self.sequence)
        self.engine.take_events()

    def tell(self) -> None:
        feeds = [feed(topic, last_receive_ns=time.time_ns()) for topic in (BOOK, SHALLOW, TRADES)]
        told = live(*feeds, written_ns=time.time_ns(), lines=[line(changed_ns=None)])
        (self.data / "journal" / "linear" / "status.json").write_bytes(msgspec.json.encode(told))

    async def end(self) -> None:
        self.beating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.beating
        self.publisher.close()
        os.close(self.lock)


@pytest.fixture
async def collector(tmp_path: Path) -> AsyncIterator[Collector]:
    made = Collector(tmp_path)
    yield made
    await made.end()


class Reader:
    def __init__(self, data: Path, **wanted: str) -> None:
        self.source = DataSource(data)
        self.watch = Watch(**wanted)

    def look(self) -> Watch:
        now_ns = time.time_ns()
        self.source.look(self.watch, now_ns)
        self.source.read(self.watch, now_ns, 20)
        return self.watch

    async def until(self, state: str) -> Watch:
        """Look until the book is in a state, or in trouble."""
        end = time.monotonic() + PATIENCE_S
        while state not in (self.look().book.state.value, self.watch.book.trouble):
            assert time.monotonic() < end, f"never {state}: {self.watch.book}"
            await asyncio.sleep(0.01)
        return self.watch


def snapshot(update_id: int, bid: str = "100.1", topic: str = BOOK) -> bytes:
    return book("snapshot", update_id, [[bid, "2"], ["98", "1"]], [["1000.3", "5"]], 1_700_000_000_000, topic)


async def test_the_deepest_book_and_the_tape(collector: Collector) -> None:
    collector.apply(snapshot(5), snapshot(5, "99", SHALLOW), trade("1", "100.2", "0.5", 1_700_000_000_000))
    reader = Reader(collector.data)
    watch = await reader.until("live")
    assert (watch.book.topic, watch.book.trouble, watch.book.update_id) == (BOOK, "", 5)
    exponent = watch.book.price_exponent
    assert [level[0] * 10**exponent for level in watch.book.bids] == pytest.approx([100.1, 98])
    assert [level[0] * 10**exponent for level in watch.book.asks] == pytest.approx([1000.3])
    (one,) = watch.trades
    assert one.price * 10**one.price_exponent == pytest.approx(100.2)
    assert one.size * 10**one.size_exponent == pytest.approx(0.5)
    assert not one.is_sell
    assert "-> live" in [each.what for each in watch.happenings.all()]
    end = time.monotonic() + PATIENCE_S
    while watch.conditions != {
        "linear": Condition.RECORDING
    }:  # under load a heartbeat or a status may be late
        assert time.monotonic() < end, watch.conditions
        collector.tell()
        await asyncio.sleep(0.01)
        reader.look()


async def test_a_topic_that_is_asked_for(collector: Collector) -> None:
    collector.apply(snapshot(5, "99", SHALLOW))
    assert (await Reader(collector.data, topic="orderbook.50").until("live")).book.topic == SHALLOW


async def test_states_are_told_with_their_causes_at_once(collector: Collector) -> None:
    collector.apply(snapshot(5))
    reader = Reader(collector.data)
    await reader.until("live")
    collector.engine.stale(BOOK, "silence", time.time_ns(), 9)
    watch = await reader.until("stale")
    assert not watch.book.is_live
    newest = watch.happenings.all()[0]
    assert (newest.what, newest.topics, newest.grave) == ("-> stale (silence)", (BOOK,), True)
    assert abs(newest.time_ns - time.time_ns()) < PATIENCE_S * 1e9


async def test_a_recorder_that_ends_and_one_that_takes_its_place(collector: Collector) -> None:
    collector.apply(snapshot(5))
    reader = Reader(collector.data)
    await reader.until("live")
    await collector.end()
    watch = reader.look()
    assert not watch.book.is_live
    assert watch.book.trouble
    again = Collector(collector.data)
    try:
        assert not (await reader.until("empty")).book.is_live
        again.apply(snapshot(900, "200"))
        assert (await reader.until("live")).book.update_id == 900
    finally:
        await again.end()
        collector.lock = os.open(os.devnull, os.O_RDONLY)


async def test_a_heart_that_stops_makes_the_book_stale_and_the_recorder_mute(collector: Collector) -> None:
    collector.apply(snapshot(5))
    reader = Reader(collector.data)
    await reader.until("live")
    collector.beating.cancel()
    await reader.until("writer dead")
    watch = reader.look()
    assert (watch.book.state, watch.book.is_live) == (FeedState.STALE, False)
    assert watch.conditions == {"linear": Condition.MUTE}
    assert [trouble.kind for trouble in watch.troubles] == ["mute"]


async def test_what_comes_too_fast_is_counted(tmp_path: Path) -> None:
    collector = Collector(tmp_path, tape_mib=0.0625)
    try:
        reader = Reader(tmp_path)
        collector.apply(snapshot(1))
        await reader.until("live")
        for number in range(2_000):
            collector.apply(trade(str(number), "100.2", "0.5", 1_700_000_000_000 + number))
        watch = reader.look()
        assert watch.lost > 0
        assert len(watch.trades) > 0
    finally:
        await collector.end()


async def test_one_picture_shows_the_newest_trades_however_many_there_were(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READS", 1)
    collector.apply(snapshot(1))
    count = source.ENTRIES + 500  # more than one picture of a series reads
    for number in range(count):
        collector.apply(trade(str(number), f"{1000 + number}.5", "0.5", 1_700_000_000_000 + number))
    assert f" {1000 + count - 1}.5 " in await asyncio.to_thread(picture, collector.data)


def picture(data: Path) -> str:
    """What is printed of a book, once."""
    found = CliRunner(env={"COLUMNS": "100", "LINES": "24"}).invoke(
        app, ["watch", "BTCUSDT", "--data", str(data), "--once"]
    )
    assert found.exit_code == 0, found.output
    return found.stdout


async def test_without_live_books_it_says_so(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    try:
        collector.publisher.close()
        watch = Reader(tmp_path).look()
        assert not watch.book.is_live
        assert "publishes no live books" in watch.book.trouble
        assert watch.conditions == {"linear": Condition.RECORDING}
    finally:
        await collector.end()


async def test_a_category_that_nobody_knows_here_is_no_crash(tmp_path: Path) -> None:
    collector = Collector(tmp_path)
    try:
        told = live(feed(BOOK), category="futures", written_ns=time.time_ns())
        (tmp_path / "journal" / "linear" / "status.json").write_bytes(msgspec.json.encode(told))
        assert "'futures'" in Reader(tmp_path).look().book.trouble
    finally:
        await collector.end()
