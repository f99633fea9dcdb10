"""Trades fetched back while recording: what is asked, what the archive then says of the gap."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from engine.bybit.rest import Request
from engine.events import EventKind
from engine.trade_backfill import WAITS_NS
from recorder.archive import open_archive
from recorder.crashes import crashed_feeds
from recorder.journal import recover
from recorder.roll import roll_data
from recorder.trade_backfill import TradeBackfill
from recorder.verify import verify
from recorder.warnings import Warnings
from schemas.errors import ConnectError
from schemas.notes import Subscribed
from tests.engine.test_trade_backfill import rest_row
from tests.recorder.recordings import START_NS, TRADES, Tape, trade

MS = START_NS // 1_000_000


class Rest:
    """Answers with the trades that a test names."""

    def __init__(self, *numbers: int, failing: bool = False) -> None:
        self.numbers = numbers
        self.failing = failing
        self.asked: list[str] = []

    async def fetch(self, request: Request) -> bytes:
        self.asked.append(request.target)
        if self.failing:
            raise ConnectError("nobody listens")
        rows = [rest_row(number, MS + number - 1) for number in sorted(self.numbers, reverse=True)]
        return json.dumps({"retCode": 0, "result": {"list": rows}, "time": MS + 99}).encode()


class Work:
    def __init__(self, data: Path, **tape: Any) -> None:
        self.tape = Tape(data, (TRADES,), **tape)
        self.backfill = TradeBackfill(self.tape.capture, Warnings(logging.getLogger("tapebook")))

    def stream(self, *numbers: int) -> None:
        self.tape.frames(trade(f"t{number}", "10.5", "1", MS + number) for number in numbers)

    def gap(self) -> None:
        self.tape.disconnect()
        self.tape.capture.session(0, Subscribed(topics=[TRADES]))
        self.hear()

    def hear(self) -> None:
        for event in self.tape.events:
            if event.kind is EventKind.GAP_CLOSED:
                self.backfill.gap_closed(event)
        self.tape.events.clear()

    async def fetch(self, rest: Rest) -> None:
        late_ns = time.monotonic_ns() + 100 * max(WAITS_NS)
        waiting = self.backfill._queue.due(late_ns)
        assert waiting is not None
        fake: Any = rest
        await self.backfill.fetch(fake, waiting)

    def counts(self) -> dict[str, int]:
        return {name: value for name, value in self.backfill.status().items() if value}


def archived(data: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str | None]]]:
    """Trades with their sources, gaps with their healers; nothing in it that can't be explained."""
    roll_data(data)
    assert verify(data).failures == []
    with open_archive(data) as archive:
        trades = (
            archive.sql("SELECT trade_id, source FROM trades ORDER BY sequence, match_time")
            .table()
            .to_pylist()
        )
        gaps = archive.sql("SELECT cause, healed_by FROM gaps ORDER BY sequence").table().to_pylist()
    return [(row["trade_id"], row["source"]) for row in trades], [(g["cause"], g["healed_by"]) for g in gaps]


async def test_lost_trades_are_rows_and_the_gap_is_healed(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.stream(1, 2)
    work.gap()
    work.stream(5)
    rest = Rest(1, 2, 3, 4, 5)
    await work.fetch(rest)
    assert rest.asked == ["/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"]
    assert work.counts() == {"healed": 1, "rows": 2}
    work.tape.stop()
    trades, gaps = archived(tmp_path)
    assert trades == [
        ("t1", "stream"), ("t2", "stream"), ("t5", "stream"), ("t3", "backfill"), ("t4", "backfill"),
    ]  # fmt: skip
    assert gaps == [("disconnect", "backfill")]


async def test_a_gap_of_an_earlier_segment_is_one_gap_still(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.stream(1)
    work.gap()
    work.tape.rotate()
    await work.fetch(Rest(1, 2))  # the stream has not gone on: REST may be late
    assert work.counts() == {"waiting": 1, "rows": 1}
    await work.fetch(Rest(1, 2))
    assert work.counts() == {"healed": 1, "rows": 1}
    work.tape.stop()
    assert archived(tmp_path)[1] == [("disconnect", "backfill")]


async def test_an_answer_that_does_not_reach_leaves_the_gap(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work(tmp_path)
    work.stream(1)
    work.gap()
    await work.fetch(Rest(*range(500, 1500)))
    assert work.counts() == {"short": 1, "rows": 1000}
    assert "recent trades don't cover the gap (disconnect)" in caplog.text
    work.tape.stop()
    trades, gaps = archived(tmp_path)
    assert len(trades) == 1001
    assert gaps == [("disconnect", "subscribed")]


async def test_a_lagging_answer_is_asked_for_again(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.stream(1)
    work.gap()
    work.stream(4)
    await work.fetch(Rest(1, 2))
    assert work.counts() == {"waiting": 1, "rows": 1}
    await work.fetch(Rest(1, 2, 3, 4))
    assert work.counts() == {"healed": 1, "rows": 2}
    work.tape.stop()
    assert archived(tmp_path)[1] == [("disconnect", "backfill")]


async def test_an_exchange_that_does_not_answer_is_asked_three_times(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.stream(1)
    work.gap()
    rest = Rest(failing=True)
    for _ in range(3):
        await work.fetch(rest)
    assert work.counts() == {"failed": 1}
    work.tape.stop()
    assert archived(tmp_path)[1] == [("disconnect", "subscribed")]


async def test_what_a_crash_lost_is_fetched_without_what_was_recorded_before_it(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.tape.frames([trade("t1", "10.5", "1", MS + 3), trade("t2", "10.5", "1", MS + 3)])
    work.tape.crash()
    recover(tmp_path, "linear")
    again = Work(tmp_path, start_ns=START_NS + 10**10, crashed=crashed_feeds(tmp_path, "linear"))
    again.hear()
    rest = Rest(1, 3)
    fake_rows = [rest_row(3, MS + 3), rest_row(2, MS + 2), rest_row(1, MS + 2)]

    async def fetch(_: Request) -> bytes:
        return json.dumps({"retCode": 0, "result": {"list": fake_rows}, "time": MS + 99}).encode()

    rest.fetch = fetch  # type: ignore[method-assign]
    await again.fetch(rest)
    await again.fetch(rest)
    again.tape.stop()
    trades, gaps = archived(tmp_path)
    assert trades == [("t1", "stream"), ("t2", "stream"), ("t3", "backfill")]
    assert gaps == [("crash", "backfill")]


def test_gaps_of_other_topics_and_without_a_trade_before_are_not_asked_about(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.gap()  # nothing had come
    assert work.counts() == {}
    work.tape.stop()


def test_a_gap_that_ends_with_its_feed_is_not_asked_about(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.stream(1, 2)
    work.tape.disconnect()
    work.tape.capture.end_feeds([TRADES])
    assert [event.healed_by for event in work.tape.events if event.kind is EventKind.GAP_CLOSED] == ["end"]
    work.hear()
    assert work.counts() == {}
    work.tape.stop()
