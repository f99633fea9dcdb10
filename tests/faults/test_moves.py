"""Topics that change their connection while they are recorded, over real sockets: no frame is missed by that."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path

import pytest

from engine.timing import Timing
from recorder.collector import Collector
from recorder.gateway import Gateway, GatewayOptions
from recorder.journal import SegmentReader, segments
from recorder.rest import RestClient
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.names import Category, FeedState, RecordKind
from tests.ledger import Entry, read_ledger
from tests.recorder.lines import until

MS = 1_000_000
HASTY = Timing(
    look_ns=50 * MS,
    rate_memory_ns=600 * MS,
    over_ns=200 * MS,
    thin_ns=200 * MS,
    pause_ns=200 * MS,
    overlap_ns=600 * MS,
    quiet_move_ns=800 * MS,
    tick_s=0.02,
)
PREFIXES = ("orderbook.1", "orderbook.50", "publicTrade", "tickers")


def published(ledger: Path) -> list[Entry]:
    """What the exchange sent to whoever had subscribed it."""
    return [entry for entry in read_ledger(ledger) if entry.event == "published" and not entry.rebuilt]


def journalled(data: Path) -> dict[str, set[str]]:
    """Checksums of every frame that was recorded, by topic."""
    found: dict[str, set[str]] = {}
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            for record in reader.records():
                if record.kind == RecordKind.FRAME:
                    topic = json.loads(record.payload)["topic"]
                    found.setdefault(topic, set()).add(f"{zlib.crc32(record.payload):08x}")
    return found


def assert_none_is_missing(topic: str, sent: list[str | None], crcs: set[str]) -> None:
    """From the first to the last that was recorded, all that was sent was recorded."""
    here = [number for number, crc in enumerate(sent) if crc in crcs]
    missing = [number for number in range(here[0], here[-1] + 1) if sent[number] not in crcs]
    assert missing == [], f"{topic}: {len(missing)} of {len(sent)} frames"


@pytest.mark.parametrize("lines", [1])
async def test_topics_move_without_a_gap(tmp_path: Path, lines: int) -> None:
    ledger = tmp_path / "ledger"
    options = GatewayOptions(
        simulate=5, category=Category.LINEAR, symbol_count=4, rate=4, ledger=ledger, ledgers_books=True
    )
    async with Gateway(options) as gateway:
        async with RestClient(gateway.url) as rest:
            _, instruments = await rest.instruments(Category.LINEAR)
        topics = [f"{prefix}.{instrument.symbol}" for prefix in PREFIXES for instrument in instruments]
        # Expected are 108 frames/s of these topics; what they really send is more than that.
        config = RecordConfig(data=str(tmp_path / "data"), roll=False, lines=lines, frames_per_connection=108)
        collector = Collector(config, gateway.url, topics, crashed=[], timing=HASTY)
        task = asyncio.create_task(collector.run())
        await until(lambda: collector.mover is not None and collector.mover.topics_moved >= 4, "moves")
        assert len(collector.lines) > lines
        live = [FeedState.LIVE] * len(topics)
        await until(lambda: [collector.engine.state(f) for f in range(len(topics))] == live, "life")
        collector.stop("the test")
        report = await asyncio.wait_for(task, 60)
    assert {feed.topic: feed.gaps for feed in report.feeds if feed.gaps} == {}
    assert all(feed.messages > 0 for feed in report.feeds)
    sent = published(ledger)
    for topic, crcs in journalled(tmp_path / "data").items():
        assert_none_is_missing(topic, [entry.crc32 for entry in sent if entry.topic == topic], crcs)
    roll_data(tmp_path / "data")
    result = verify(tmp_path / "data")
    assert (result.failures, result.gaps) == ([], 0)
