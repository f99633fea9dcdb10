"""Topics that change their connection while they are recorded, over real sockets: every frame is a row, once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from engine.timing import Timing
from recorder.collector import Collector, Report
from recorder.gateway import Gateway, GatewayOptions, parse_faults
from recorder.roll import roll_data
from schemas.config import RecordConfig
from schemas.names import Category, FeedState
from tests.faults.account import account_of
from tests.faults.test_two_lines import (
    TOPICS,
    alone_ns,
    assert_all_of_it,
    assert_gaps_where_alone,
    cuts,
)
from tests.ledger import read_ledger
from tests.recorded import Recorded, assert_verified
from tests.recorder.lines import until

MS = 1_000_000
HASTY = Timing(
    look_ns=50 * MS,
    rate_memory_ns=600 * MS,
    over_ns=200 * MS,
    thin_ns=200 * MS,
    pause_ns=200 * MS,
    overlap_ns=700 * MS,
    quiet_move_ns=900 * MS,
    tick_s=0.02,
)
EXPECTED_RATE = 68.0
"""Frames/s that are expected of the topics; what is really sent at this rate of the market is more than that."""


async def record(
    tmp_path: Path,
    *,
    lines: int,
    topics_moved: int,
    faults: str = "",
    seconds: float = 0.0,
) -> tuple[Report, Recorded]:
    """Record for so long and until so many topics have moved, and every feed lives; rolled then."""
    data = tmp_path / "data"
    options = GatewayOptions(
        simulate=7, category=Category.LINEAR, symbol_count=2, rate=4,
        ledger=tmp_path / "ledger", ledgers_books=True, faults=parse_faults([faults] if faults else []),
    )  # fmt: skip
    async with Gateway(options) as gateway:
        config = RecordConfig(
            data=str(data),
            roll=False,
            lines=lines,
            frames_per_connection=EXPECTED_RATE,
            symbols=["BTCUSDT"],
            backfill=False,
        )
        collector = Collector(config, gateway.url, TOPICS, crashed=[], timing=HASTY)
        task = asyncio.create_task(collector.run())
        await until(lambda: collector.is_recording and len(collector.lines) >= lines, "lines")
        await asyncio.sleep(seconds)
        mover = collector.mover
        assert mover is not None
        await until(lambda: task.done() or mover.topics_moved >= topics_moved, "moves")
        live = [FeedState.LIVE] * len(TOPICS)
        await until(lambda: [collector.engine.state(f) for f in range(len(TOPICS))] == live, "life")
        assert len(collector.lines) > lines
        collector.stop("the test")
        report = await asyncio.wait_for(task, 60)
    roll_data(data)
    return report, Recorded(data, "linear")


@pytest.mark.parametrize("lines", [1, 2])
async def test_topics_move_and_every_frame_is_a_row_once(tmp_path: Path, lines: int) -> None:
    report, recorded = await record(tmp_path, lines=lines, topics_moved=4)
    assert {feed.topic: feed.gaps for feed in report.feeds if feed.gaps} == {}
    assert_all_of_it(account_of(recorded, read_ledger(tmp_path / "ledger")))
    assert_verified(recorded.data)


async def test_a_whole_book_moves_too(tmp_path: Path) -> None:
    """Its snapshot is asked for over REST; what comes on two lines meanwhile makes no difference."""
    topics = ["tickers.BTCUSDT", "orderbook.full.BTCUSDT"]
    async with Gateway(GatewayOptions(simulate=7, category=Category.SPOT, rate=4)) as gateway:
        config = RecordConfig(
            category=Category.SPOT,
            data=str(tmp_path),
            roll=False,
            frames_per_connection=9,
            symbols=["BTCUSDT"],
        )
        collector = Collector(config, gateway.url, topics, crashed=[], timing=HASTY)
        task = asyncio.create_task(collector.run())
        await until(lambda: collector.is_recording and len(collector.lines) == 2, "another line")
        lines = collector.lines
        await until(lambda: [line.slot for line in lines.lines_of(topics[1])] == [1], "a move")
        frames = collector.capture.frames
        await until(lambda: collector.capture.frames > frames + 30, "what comes behind it")
        assert collector.engine.state(1) is FeedState.LIVE
        collector.stop("the test")
        report = await asyncio.wait_for(task, 60)
    assert [feed.gaps for feed in report.feeds] == [0, 0]
    roll_data(tmp_path)
    assert_verified(tmp_path)


@pytest.mark.slow
async def test_topics_move_while_lines_are_cut(tmp_path: Path) -> None:
    """With two lines of each topic neither costs anything: not the cuts, nor the moves, nor both at a time.

    Unless a line is cut while the other one is not back: it takes milliseconds, and on a machine that is busy, seconds.
    """
    seconds = float(os.environ.get("TAPEBOOK_MOVES_SECONDS", "120"))
    _, recorded = await record(tmp_path, lines=2, topics_moved=10, faults="cut_one=3,seed=5", seconds=seconds)
    assert sum(cuts(recorded).values()) > seconds / 6
    alone = alone_ns(recorded)
    assert_gaps_where_alone(recorded, alone)
    hurt = {gap["topic"] for gap in recorded.gaps}
    assert len(hurt) < len(TOPICS) / 2, "the machine is so busy that the test tests nothing"
    account = account_of(recorded, read_ledger(tmp_path / "ledger"))
    assert_all_of_it(account, [topic for topic in TOPICS if topic not in hurt])
    assert_verified(recorded.data)
