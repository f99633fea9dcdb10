"""Full books, asked for and joined: a capture on disk, an exchange that answers what it is told to."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

import recorder.full_books
from engine.bybit.full_sync import Phase, SyncOptions
from engine.bybit.rest import Request
from recorder.crashes import crashed_feeds
from recorder.full_books import FullBooks
from recorder.journal import recover
from recorder.rest import RestClient
from recorder.roll import report_recoveries, roll_data
from recorder.verify import verify
from recorder.warnings import Warnings
from schemas.errors import ConnectError
from schemas.names import Category, FeedState
from schemas.notes import Crashed, Disconnected, Subscribed, Unsubscribed
from tests.recorder.lines import until
from tests.recorder.recordings import MS, START_NS, Levels, Tape, book

TOPIC = "orderbook.full.BTCUSDT"
NOW_MS = START_NS // MS
HURRY = SyncOptions(
    first_delta_ns=20_000_000,
    retry_ns=2_000_000,
    least_interval_ns=2_000_000,
    longest_retry_ns=4_000_000,
    attempts=3,
)
LEVEL: Levels = [("100", "1")]


class Rest:
    """Answers what it is told to, and else nothing."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def fetch(self, request: Request) -> bytes:
        self.asked.append(request)
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def tell(self, u: int, bids: Levels, asks: Levels, **changes: Any) -> None:
        result = {
            "s": "BTCUSDT",
            "b": bids,
            "a": asks,
            "u": u,
            "seq": 10 * u,
            "ts": NOW_MS,
            "cts": NOW_MS,
        } | changes
        self.answers.put_nowait(json.dumps({"retCode": 0, "result": result}).encode())


class Stage:
    """One full feed of a recording, and whoever synchronises it."""

    def __init__(self, data: Path, crashed: Iterable[Crashed] = ()) -> None:
        self.data = data
        start_ns = START_NS + (60_000 * MS if crashed else 0)
        self.tape = Tape(data, [], category=Category.SPOT, start_ns=start_ns, crashed=crashed)
        self.tape.capture.add_feeds([TOPIC])
        self.rest = Rest()
        self.books = FullBooks(
            Category.SPOT,
            self.tape.capture,
            Warnings(logging.getLogger("tapebook")),
            options=HURRY,
            random=Random(1),
        )
        self.task = asyncio.create_task(self.books.run(cast(RestClient, self.rest)))

    def subscribe(self, line: int = 0) -> None:
        self.tape.capture.session(line, Subscribed(topics=[TOPIC]))

    def deltas(self, *ids: int, bids: Levels = LEVEL) -> None:
        self.tape.frames([book("delta", u, bids, [], NOW_MS + u, TOPIC) for u in ids])

    @property
    def state(self) -> FeedState:
        return self.tape.engine.state(0)

    @property
    def phase(self) -> Phase:
        return self.books.syncs[TOPIC].phase

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await until(condition, what)

    async def verified(self) -> Any:
        """Stop, roll, verify; returns what verify counted."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.tape.stop()
        roll_data(self.data)
        result = verify(self.data)
        assert result.findings == []
        return result


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(recorder.full_books, "TICK_S", 0.001)
    stage = Stage(tmp_path)
    yield stage
    stage.task.cancel()
    await asyncio.gather(stage.task, return_exceptions=True)


async def test_a_book_is_joined_and_recorded(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5, 6, 7)
    await stage.until(lambda: bool(stage.rest.asked), "a request")
    assert stage.rest.asked[0].target == "/v5/market/full_orderbook?category=spot&symbol=BTCUSDT"
    stage.deltas(8)
    stage.rest.tell(6, [("100", "1"), ("99.5", "2")], [("101", "1")])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    assert stage.tape.engine.update_id(0) == 8
    stage.deltas(9, bids=[("99.5", "0")])
    stage.tape.rotate()
    stage.deltas(10, bids=[("98", "4")])
    assert stage.tape.engine.levels(0) == ([(1000, 1), (980, 4)], [(1010, 1)])
    (told,) = stage.books.status()
    assert told == {
        "topic": TOPIC, "phase": "live", "waiting": 0, "asked": 1, "loaded": 1, "attempts": 0, "last_why": "",
    }  # fmt: skip
    result = await stage.verified()
    assert (result.gaps, result.keyframes, result.live_digests, result.archive_digests) == (0, 1, 1, 1)
    assert result.books == 6  # the answer, 7 and 8 behind it, 9, the keyframe, 10


async def test_ten_thousand_levels_a_side(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    bids = [(f"{20_000 - i}.25", "1.5") for i in range(10_000)]
    asks = [(f"{20_001 + i}.25", "1.5") for i in range(10_000)]
    stage.rest.tell(5, bids, asks)
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    stage.deltas(*range(6, 60))
    stage.tape.rotate()
    stage.deltas(*range(60, 200))
    assert stage.tape.engine.book(0).counts == (10_001, 10_000)
    result = await stage.verified()
    assert result.keyframes == 1


async def test_a_feed_without_a_snapshot_is_a_gap_until_one_comes(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    for error in (ConnectError("nobody"), ConnectError("nobody"), ConnectError("nobody")):
        assert stage.tape.engine.open_gap(0) is None
        asked = len(stage.rest.asked)
        stage.rest.answers.put_nowait(error)
        await stage.until(
            lambda asked=asked: len(stage.rest.asked) > asked + 1 or asked == 0, "another request"
        )
    await stage.until(lambda: stage.tape.engine.open_gap(0) is not None, "a gap")
    gap = stage.tape.engine.open_gap(0)
    assert gap is not None
    assert gap.cause == "no_snapshot"
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    assert (await stage.verified()).gaps == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b'{"retCode":10001,"retMsg":"symbol invalid","result":{}}',
        json.dumps(
            {"retCode": 0, "result": {"s": "ETHUSDT", "b": [], "a": [], "u": 5, "seq": 50, "ts": 1}}
        ).encode(),
        json.dumps(
            {"retCode": 0, "result": {"s": "BTCUSDT", "b": [["1"]], "a": [], "u": 5, "seq": 50, "ts": 1}}
        ).encode(),
    ],
)
async def test_an_answer_that_is_none_is_not_recorded(stage: Stage, answer: bytes) -> None:
    stage.subscribe()
    stage.deltas(5)
    stage.rest.answers.put_nowait(answer)
    await stage.until(lambda: stage.books.syncs[TOPIC].attempts == 1, "a judgement")
    assert stage.state is FeedState.SYNCING
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    await stage.verified()


@pytest.mark.parametrize(
    "bids", [[("1", "1"), ("1.0", "2")], [("1", "9223372036854775808")], [("x", "1")], [("1", "-1")]]
)
async def test_an_answer_that_the_core_refuses(stage: Stage, bids: Levels) -> None:
    """It is recorded, since it was tried, and changes nothing, here and in every replay."""
    stage.subscribe()
    stage.deltas(5)
    stage.rest.tell(5, bids, [])
    await stage.until(lambda: stage.books.syncs[TOPIC].attempts == 1, "a judgement")
    assert stage.state is FeedState.SYNCING
    stage.deltas(6)
    stage.rest.tell(6, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    await stage.verified()


async def test_a_bug_does_not_leave_a_feed_waiting_for_ever(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.subscribe()
    stage.deltas(5)
    stage.rest.answers.put_nowait(ZeroDivisionError("of ours"))
    await stage.until(lambda: len(stage.rest.asked) > 1, "another request")
    assert f"{TOPIC}: a bug in tapebook" in caplog.text
    assert "ZeroDivisionError: of ours" in caplog.text
    assert stage.books.status()[0]["last_why"] == "ZeroDivisionError('of ours')"
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    await stage.verified()


async def test_an_answer_of_before_a_disconnect_is_nothing(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    await stage.until(lambda: bool(stage.rest.asked), "a request")
    stage.tape.capture.session(0, Disconnected(reason="gone"))
    assert stage.phase is Phase.IDLE
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.rest.answers.empty(), "an answer")
    stage.subscribe()
    stage.deltas(9)
    await stage.until(lambda: len(stage.rest.asked) == 2, "a request")
    assert stage.state is FeedState.SYNCING
    stage.rest.tell(9, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    await stage.verified()


async def test_another_line_keeps_it_going(stage: Stage) -> None:
    stage.subscribe(0)
    stage.subscribe(1)
    stage.deltas(5)
    stage.tape.capture.session(0, Disconnected(reason="gone"))
    assert stage.books.syncs[TOPIC].waiting == 1
    stage.tape.capture.session(1, Unsubscribed(topics=[TOPIC]))
    assert stage.phase is Phase.IDLE


async def test_silence_is_healed_without_a_delta(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    stage.tape.capture.stale(TOPIC, "silence")
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    assert (await stage.verified()).gaps == 1


async def test_delisting_clears_and_is_told(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    stage.deltas(1, bids=[])
    assert stage.state is FeedState.STALE
    stage.rest.tell(1, [], [])
    await stage.until(lambda: stage.phase is Phase.NO_BOOK, "no book")
    assert stage.tape.engine.levels(0) == ([], [])
    # and should it come back after all
    stage.deltas(1, bids=[])
    stage.rest.tell(1, LEVEL, [("101", "2")])
    await stage.until(lambda: stage.phase is Phase.LIVE, "a book")
    assert stage.tape.engine.levels(0) == ([(100, 1)], [(101, 2)])
    assert (await stage.verified()).gaps == 2


async def test_before_an_auction_there_is_nothing_to_take(stage: Stage) -> None:
    stage.subscribe()
    stage.rest.tell(0, [], [])
    await stage.until(lambda: stage.phase is Phase.NO_BOOK, "no book")
    assert (stage.state, stage.tape.engine.open_gap(0)) == (FeedState.SYNCING, None)
    stage.deltas(1, bids=[])
    stage.rest.tell(1, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    assert (await stage.verified()).gaps == 0


async def test_other_topics_are_none_of_its_business(stage: Stage) -> None:
    stage.tape.capture.session(0, Subscribed(topics=["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]))
    assert stage.books.syncs == {}


async def test_a_crash_is_a_gap_that_the_next_answer_heals(stage: Stage) -> None:
    stage.subscribe()
    stage.deltas(5)
    stage.rest.tell(5, LEVEL, [])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    stage.deltas(6, 7)
    stage.task.cancel()
    stage.tape.crash()
    report_recoveries(recover(stage.data))
    crashed = crashed_feeds(stage.data, "linear")
    assert [(note.topic, note.gap.cause, note.gap.first_update_id) for note in crashed] == [
        (TOPIC, "crash", 8)
    ]
    again = Stage(stage.data, crashed=crashed)
    again.subscribe()
    again.deltas(20, 21)
    again.rest.tell(21, LEVEL, [])
    await again.until(lambda: again.state is FeedState.LIVE, "a book")
    result = await again.verified()
    assert (result.segments, result.gaps) == (2, 1)


async def test_an_answer_does_not_bring_back_what_has_ended(stage: Stage) -> None:
    """It is asked for while the exchange has not acknowledged the end yet."""
    stage.subscribe()
    stage.deltas(5, 6, 7)
    await stage.until(lambda: bool(stage.rest.asked), "a request")
    stage.tape.capture.end_feeds([TOPIC])
    stage.rest.tell(6, [("100", "1")], [("101", "1")])
    await stage.until(lambda: not stage.books._asking, "the answer")
    stage.tape.capture.session(0, Unsubscribed(topics=[TOPIC]))
    assert stage.tape.engine.ended(0)
    assert stage.books.status()[0]["loaded"] == 0
    stage.tape.capture.add_feeds([TOPIC])  # and it may come again
    stage.subscribe()
    stage.deltas(1, 2)
    await stage.until(lambda: len(stage.rest.asked) > 1, "another request")
    stage.rest.tell(1, [("100", "1")], [("101", "1")])
    await stage.until(lambda: stage.state is FeedState.LIVE, "a book")
    await stage.verified()
