"""Recordings in the caller's event loop, over real sockets: what is heard, and what those who hear can't harm."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import recorder
from engine.core.drive import Strategy
from engine.core.feeds import Engine
from engine.strategy import Moment, TradeSeen
from recorder.archive import open_archive
from recorder.gateway.faults import parse_faults
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.journal import SegmentReader, segments
from recorder.live_recording import LiveRecording
from recorder.roll import roll_data
from recorder.subscriptions import BookChanged, StateChanged, Traded
from recorder.time_travel import replay
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.errors import ConfigError, ConnectError, TapebookError
from schemas.names import Category, FeedState, RecordKind
from schemas.time import format_ns
from tests.processes import PATIENCE_S, ROOT
from tests.recorder.lines import until
from tests.recorder.test_time_travel import Diary

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
BOOK, TRADES = "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway(GatewayOptions(simulate=5, category=Category.LINEAR, rate=5.0)) as gateway:
        yield gateway


def live(data: Path, gateway: Gateway, **options: Any) -> LiveRecording:
    given = {
        "symbols": SYMBOLS, "topics": ["orderbook.50", "publicTrade"], "data": data, "endpoint": gateway.url,
        "state_dir": data / "state", "roll": False, "duration": PATIENCE_S,
    }  # fmt: skip
    return recorder.live(**given | options)


def frames_of(data: Path) -> dict[int, bytes]:
    """Every frame in the journal by its sequence."""
    found: dict[int, bytes] = {}
    for segment in segments(data):
        assert segment.state == "sealed"
        with SegmentReader(segment.path) as reader:
            found |= {record.sequence: record.payload for record in reader.records(RecordKind.FRAME)}
    return found


async def test_iterating_records_and_leaving_the_loop_ends_it(tmp_path: Path, gateway: Gateway) -> None:
    changes = []
    async for change in live(tmp_path, gateway, roll=True):
        changes.append(change)
        if isinstance(change, BookChanged):
            assert change.book.live
            assert change.book.best_bid is not None
        if len(changes) == 200:
            break
    await until(
        lambda: not any(task.get_name().startswith("recording") for task in asyncio.all_tasks()), "its end"
    )
    assert {type(change) for change in changes} == {BookChanged, Traded, StateChanged}
    frames = frames_of(tmp_path)
    for change in changes:
        if not isinstance(change, StateChanged):
            assert change.topic.encode() in frames[change.at.sequence]
    result = verify(tmp_path)
    assert (result.failures, result.gaps) == ([], 0)
    with open_archive(tmp_path) as archive:  # it was rolled
        assert archive.sql("SELECT count(*) > 0 AS n FROM trades").table().to_pylist() == [{"n": True}]


async def test_a_loop_that_is_closed_leaves_an_ended_recording(tmp_path: Path, gateway: Gateway) -> None:
    for _ in range(2):  # the second would be refused if the first still recorded
        recording = live(tmp_path, gateway)
        async with aclosing(aiter(recording)) as changes:
            async for _ in changes:
                break
        assert recording.report is not None
        assert recording.report.frames > 0
    assert len(frames_of(tmp_path)) > recording.report.frames


def begun(calls: list[Any]) -> list[Any]:
    """Without the books that have no message yet: their exponents are announced live, and come with rows later."""
    return [
        (*call[:-1], {topic: said for topic, said in call[-1].items() if said[1] is not None})
        for call in calls
    ]


@pytest.mark.parametrize("fault", ["", "drop=0.02,seed=3"])
async def test_one_strategy_hears_live_what_time_travel_tells_it(tmp_path: Path, fault: str) -> None:
    options = GatewayOptions(
        simulate=11, category=Category.LINEAR, rate=5.0, faults=parse_faults([fault] if fault else [])
    )
    diary = Diary()
    async with Gateway(options) as gateway, live(tmp_path, gateway) as recording:
        recording.drive(diary)

        def has_heard() -> bool:
            states = [call[3] for call in diary.calls if call[0] == "state" and call[1] == BOOK]
            return len(diary.calls) > 800 and states.count(FeedState.LIVE) > (2 if fault else 0)

        await until(has_heard, "enough was told")
    assert recording.report is not None
    assert sum(feed.gaps for feed in recording.report.feeds) > 0 if fault else True
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []
    told = diary.calls
    first, last = told[0][2].receive_ns, told[-1][2].receive_ns
    with open_archive(tmp_path) as archive:
        again = Diary()
        tape = replay(archive, SYMBOLS, format_ns(first), format_ns(last + 1))
        tape.run(again)
    assert len(again.calls) > 800
    for mine, its in zip(begun(told), begun(again.calls), strict=False):
        assert mine == its
    assert len(again.calls) == len(told)


class Counting(Strategy):
    def __init__(self) -> None:
        self.books = self.trades = self.states = 0

    def on_book(self, feed: int, at: Moment) -> None:
        self.books += 1

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
        self.trades += len(trades)

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        self.states += 1


class Raising(Counting):
    """Raises at its third book."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_book(self, feed: int, at: Moment) -> None:
        super().on_book(feed, at)
        if self.books == 3:
            raise self.error


async def test_a_strategy_that_raises_is_detached_and_nobody_else_notices(
    tmp_path: Path, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    before, bad, behind = Counting(), Raising(ValueError("a mistake")), Counting()
    async with live(tmp_path, gateway) as recording:
        for strategy in (before, bad, behind):
            recording.drive(strategy)
        await until(lambda: behind.books > 100, "it went on")
        assert recording.strategies == (before, behind)
        recording.detach(behind)
        heard = behind.books
        await until(lambda: before.books > heard + 20, "it went on")
        assert behind.books == heard
    assert bad.books == 3
    assert (before.trades > 0, before.states > 0) == (True, True)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "Raising raised ValueError('a mistake'): it is detached, and the recording goes on"
    ]
    assert recording.report is not None
    assert recording.report.frames == len(frames_of(tmp_path))
    roll_data(tmp_path)
    assert verify(tmp_path).failures == []


@pytest.mark.parametrize("error", [KeyboardInterrupt("from within"), SystemExit(3)])
async def test_what_is_meant_for_the_program_ends_the_recording_whole(
    tmp_path: Path, gateway: Gateway, error: BaseException
) -> None:
    """It comes out at the end of the block, not between two frames of a list."""
    recording = live(tmp_path, gateway)
    recording.drive(Raising(error))
    with pytest.raises(TapebookError, match=r"Raising raised (KeyboardInterrupt|SystemExit)") as caught:
        await count(recording)
    assert caught.value.__cause__ is error
    assert recording.report is not None
    assert recording.report.frames == len(frames_of(tmp_path))


async def test_what_a_strategy_raises_when_it_begins_is_the_callers(tmp_path: Path, gateway: Gateway) -> None:
    class Wrong(Counting):
        def begin(self, engine: Engine) -> None:
            raise LookupError(engine.topics()[0])

    async with live(tmp_path, gateway) as recording:
        with pytest.raises(LookupError, match=r"orderbook\.50"):
            recording.drive(Wrong())
        assert recording.strategies == ()
        assert recording.engine.feed_index(BOOK) >= 0
        assert recording.status()["running"]


async def test_a_slow_strategy_is_told_of(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("recorder.live_recording.SLOW_NS", -1)
    async with live(tmp_path, gateway) as recording:
        recording.drive(Counting())
        await until(lambda: "Counting keeps the recorder waiting" in caplog.text, "a warning")
    told = [r.getMessage() for r in caplog.records if "keeps the recorder waiting" in r.getMessage()]
    assert len(told) <= 7  # a flood is summed up


async def test_consumers_that_raise_or_sleep_harm_nobody(tmp_path: Path, gateway: Gateway) -> None:
    async with live(tmp_path, gateway) as recording:
        good, asleep = recording.subscribe(), recording.subscribe(most_trades=10)

        async def raise_soon() -> None:
            async for _ in recording.subscribe(BOOK):
                raise ValueError("a mistake of its own")

        bad = asyncio.create_task(raise_soon())
        books = trades = 0
        async for change in good:
            books += isinstance(change, BookChanged)
            trades += len(change.trades) if isinstance(change, Traded) else 0
            if books > 150 and asleep.dropped > 10:
                break
        with pytest.raises(ValueError, match="a mistake of its own"):
            await bad
        # two books, a few trades and the states of four feeds
        assert asleep.pending <= 2 + 10 + 4
        assert asleep.conflated > 100
        rest = [change async for change in _what_waits(asleep)]
        handed = sum(len(change.trades) for change in rest if isinstance(change, Traded))
        assert handed + asleep.dropped >= trades
        assert {change.topic for change in rest if isinstance(change, BookChanged)} == {
            BOOK,
            BOOK.replace("BTC", "ETH"),
        }
    assert recording.report is not None
    assert recording.report.frames == len(frames_of(tmp_path))


async def _what_waits(subscription: Any) -> AsyncIterator[Any]:
    while subscription.pending:
        yield await anext(subscription)


async def test_every_subscription_ends_with_the_recording(tmp_path: Path, gateway: Gateway) -> None:
    async with live(tmp_path, gateway) as recording:
        tasks = [
            asyncio.create_task(count(recording.subscribe(topic))) for topic in ("orderbook", "publicTrade")
        ]
        await until(
            lambda: recording.engine.state(recording.engine.feed_index(BOOK)) is FeedState.LIVE, "a book"
        )
        recording.stop("the test")
        assert (await asyncio.gather(*tasks))[0] > 0
    assert recording.report is not None
    assert recording.report.why == "the test"
    with pytest.raises(ConfigError, match="entered once"):
        async with recording:
            pass


async def test_a_cancelled_program_leaves_everything_sealed(tmp_path: Path, gateway: Gateway) -> None:
    heard = asyncio.Event()

    async def program() -> None:
        async with live(tmp_path, gateway) as recording:
            async for _ in recording.subscribe("publicTrade"):
                heard.set()

    task = asyncio.create_task(program())
    await asyncio.wait_for(heard.wait(), PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(frames_of(tmp_path)) > 0


async def test_a_failure_reaches_the_block_and_every_consumer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.line.FIRST_ATTEMPTS", 1)
    nobody = RecordConfig(
        symbols=SYMBOLS,
        data=str(tmp_path),
        endpoint="ws://127.0.0.1:1",
        state_dir=str(tmp_path / "state"),
        roll=False,
    )
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
        await count(recorder.live(nobody))
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1:1"):
        await enter_and_count(recorder.live(nobody, name="other"))


async def count(changes: AsyncIterable[Any]) -> int:
    return len([change async for change in changes])


async def enter_and_count(recording: LiveRecording) -> int:
    async with recording:
        return await count(recording.subscribe())


async def test_a_name_that_is_taken_is_refused(tmp_path: Path, gateway: Gateway) -> None:
    async with live(tmp_path, gateway):
        with pytest.raises(ConfigError, match="already recording"):
            async with live(tmp_path, gateway):
                pytest.fail("it was let in")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbol": ["BTCUSDT"]}, r"^found key 'symbol', expected one of .*; the nearest is 'symbols'$"),
        ({"symbols": "BTCUSDT"}, r"--symbols: found 'BTCUSDT'"),
        ({"lines": 2.5}, r"--lines: found 2.5"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        recorder.live(**options)


def test_a_file_and_options_over_it(tmp_path: Path) -> None:
    file = tmp_path / "tapebook.toml"
    file.write_text('symbols = ["BTCUSDT"]\nlines = 2\n')
    assert recorder.live(file, lines=3).config == RecordConfig(symbols=["BTCUSDT"], lines=3)
    assert recorder.live(str(file)).config.lines == 2
    with pytest.raises(ConfigError, match="has not begun"):
        _ = recorder.live(file).engine
    assert recorder.live(file).status() == {}


def test_importing_the_package_brings_no_collector() -> None:
    code = "import recorder, sys; print(sorted(m for m in sys.modules if m.split('.')[0] in ('recorder', 'pyarrow')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['recorder']"
    with pytest.raises(AttributeError, match="no attribute 'lively'"):
        _ = recorder.lively
