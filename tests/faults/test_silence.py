"""What stops without a word, over real sockets: a feed on a connection that lives, and a connection that swallows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from engine.bybit.patience import SessionOptions
from engine.timing import Timing
from recorder.collector import Collector
from recorder.gateway import Gateway, GatewayOptions, parse_faults
from recorder.roll import roll_data, roll_lock
from schemas.config import RecordConfig
from schemas.names import Category, FeedState, RecordKind
from schemas.notes import Disconnected, Stale, decode_note, decode_session
from tests.faults.schedules import HURRIED
from tests.recorded import Recorded, assert_verified
from tests.recorder.lines import until

BOOKS = ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT", "orderbook.200.BTCUSDT", "orderbook.200.ETHUSDT"]
TOPICS = [*BOOKS, "publicTrade.BTCUSDT", "tickers.BTCUSDT"]


FEEDS_ALONE = msgspec.structs.replace(HURRIED, session=SessionOptions(), least_silence_ns=1_000_000_000)
"""In a hurry about feeds that stop, and about nothing that a machine with other things to do looks like."""


PONGS_ALONE = msgspec.structs.replace(
    HURRIED,
    session=msgspec.structs.replace(
        HURRIED.session, acknowledgement_timeout_ns=30_000_000_000, silence_timeout_ns=30_000_000_000
    ),
)
"""In a hurry about pongs, and patient with a machine that is slow to answer anything else."""


class Scene(NamedTuple):
    gateway: Gateway
    collector: Collector
    ledger: Path

    def faults(self) -> list[dict[str, Any]]:
        whole = self.ledger.read_text().rpartition("\n")[0]
        lines = map(json.loads, whole.splitlines())
        return [line for line in lines if line["event"] == "fault"]

    def stalled(self) -> set[str]:
        return {fault["topic"] for fault in self.faults() if fault["fault"] == "stall"}

    def state(self, topic: str) -> FeedState:
        return self.collector.engine.state(self.collector.engine.feed_index(topic))


@asynccontextmanager
async def scene(
    tmp_path: Path, faults: str, timing: Timing = HURRIED, topics: Sequence[str] = TOPICS, lines: int = 1
) -> AsyncIterator[Scene]:
    """A recording of a market under faults."""
    ledger = tmp_path / "ledger.jsonl"
    options = GatewayOptions(
        simulate=3,
        category=Category.LINEAR,
        speed=4.0,
        ledger=ledger,
        faults=parse_faults([faults]),
        symbol_count=2,
    )
    async with Gateway(options) as gateway:
        config = RecordConfig(data=str(tmp_path / "data"), lines=lines)
        collector = Collector(config, gateway.url, list(topics), crashed=[], timing=timing)
        recording = asyncio.create_task(collector.run())
        await until(lambda: collector.is_recording, "its beginning")
        yield Scene(gateway, collector, ledger)
        collector.stop("the test")
        await recording
    with roll_lock(tmp_path / "data", wait=True):
        roll_data(tmp_path / "data")


async def test_a_feed_that_stops_while_its_connection_lives_is_stale_and_healed(tmp_path: Path) -> None:
    async with scene(tmp_path, "stall=0.004,seed=6", FEEDS_ALONE) as played:
        # STALE may last no longer than an acknowledgement takes: its gap stays. A feed that was stalled among its first
        # words has no rate to be judged by.
        gaps_of = played.collector.capture.gaps
        await until(
            lambda: any(gaps_of[topic] for topic in BOOKS if topic in played.stalled()), "a STALE feed"
        )
        played.gateway.calm()
        topic = next(topic for topic in BOOKS if gaps_of[topic] and topic in played.stalled())
        feed = played.collector.engine.feed_index(topic)
        # The connection lives: others deliver.
        assert played.collector.status()["lines"][0]["connects"] == 1
        heard = played.collector.engine.messages(feed)
        await until(
            lambda: (
                played.state(topic) is FeedState.LIVE and played.collector.engine.messages(feed) > heard + 5
            ),
            "the feed is LIVE again and goes on",
        )
        assert played.collector.status()["lines"][0]["connects"] == 1
    recorded = Recorded(tmp_path / "data", "linear")
    notes = [decode_note(record.payload) for record in recorded.records if record.kind == RecordKind.NOTE]
    assert Stale(topic=topic, cause="silence") in notes
    gaps = [gap for gap in recorded.gaps if gap["topic"] == topic and gap["cause"] == "silence"]
    assert gaps
    assert all(gap["end_ns"] - gap["start_ns"] >= FEEDS_ALONE.least_silence_ns for gap in gaps)
    assert gaps[0]["healed_by"] == "snapshot"
    during = {
        record.payload
        for record in recorded.frames
        if gaps[0]["start_ns"] < record.receive_ns < gaps[0]["end_ns"]
    }
    assert during
    assert not any(topic.encode() in payload for payload in during)
    assert_verified(tmp_path / "data")


@pytest.mark.parametrize("lines", [1, 2])
async def test_feeds_that_stop_before_their_first_word_are_asked_for_again(
    tmp_path: Path, lines: int
) -> None:
    """Also level 1 and others that any message heals; a feed that never was LIVE has no silence to be judged by."""
    session = SessionOptions(first_data_timeout_ns=500_000_000)
    timing = msgspec.structs.replace(FEEDS_ALONE, session=session)
    topics = [f"{prefix}.BTCUSDT" for prefix in ("orderbook.1", "orderbook.50", "tickers", "priceLimit")]
    async with scene(tmp_path, "stall=1", timing, topics, lines) as played:
        await until(lambda: played.stalled() == set(topics), "every feed is stalled")
        played.gateway.calm()
        await until(
            lambda: all(played.state(topic) is FeedState.LIVE for topic in topics), "every feed is LIVE"
        )
        assert [line["connects"] for line in played.collector.status()["lines"]] == [1] * lines
    assert_verified(tmp_path / "data")


async def test_a_connection_that_swallows_everything_is_found_by_its_missing_pongs(tmp_path: Path) -> None:
    async with scene(tmp_path, "half_open=0.004,seed=6", PONGS_ALONE) as played:
        await until(played.faults, "a half-open connection")
        played.gateway.calm()
        await until(
            lambda: (
                played.collector.status()["lines"][0]["connects"] > 1
                and all(played.state(topic) is FeedState.LIVE for topic in BOOKS)
            ),
            "another connection, and every book LIVE",
        )
        # Nothing but the half-open connections went wrong: TCP never said a word.
        assert {fault["fault"] for fault in played.faults()} == {"half_open"}
    recorded = Recorded(tmp_path / "data", "linear")
    sessions = [decode_session(r.payload) for r in recorded.records if r.kind == RecordKind.SESSION]
    ends = [event for event in sessions if isinstance(event, Disconnected) and not event.clean]
    assert ends
    assert "pings in a row were not answered" in ends[0].reason
    # one that swallows all from its beginning is found by what it doesn't acknowledge
    unanswered = ("pings in a row were not answered", "was not acknowledged")
    assert all(any(words in end.reason for words in unanswered) for end in ends), ends
    for topic in TOPICS:
        causes = {gap["cause"] for gap in recorded.gaps if gap["topic"] == topic}
        assert causes & {"disconnect", "silence"}, topic
    assert_verified(tmp_path / "data")
