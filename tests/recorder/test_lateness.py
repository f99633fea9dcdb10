"""What the status says about lateness, of a recording made by hand."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from engine.latency import Histogram
from recorder.journal import JournalOptions, JournalWriter, SegmentInfo, journal_directory
from recorder.lateness import Lateness, summary
from tests.recorder.recordings import BOOK, MS, SECOND, START_NS, Tape, book, market


def test_a_summary_is_in_milliseconds() -> None:
    assert summary(Histogram()) == {
        "count": 0, "mean_ms": None, "p50_ms": None, "p99_ms": None, "p999_ms": None, "max_ms": None,
    }  # fmt: skip
    assert summary(Histogram(2, 3_000_000, 1_000_000, 2_000_000, {120: 1, 128: 1}))["mean_ms"] == 1.5


async def test_all_four_ways(tmp_path: Path) -> None:
    tape = Tape(tmp_path)
    lateness = Lateness(tape.engine)
    lateness.applied = tape.capture.applied
    tape.frames(market(0, 40))
    told = lateness.told(0)
    assert set(told["classes"]) == {"orderbook.50", "orderbook.1", "publicTrade", "tickers"}
    assert told["classes"]["publicTrade"]["push"]["count"] == 20
    assert told["classes"]["tickers"]["match"]["count"] == 0
    assert told["applied"]["count"] == tape.capture.frames
    assert told["journaled"]["count"] == 0  # nobody gave that one to this tape's writer
    assert told["applied"]["recent"]["count"] == tape.capture.frames
    tape.now_ns += SECOND
    tape.frames([book("delta", 1040, [("99.5", "1")], [], tape.now_ns // MS, BOOK)])
    later = [lateness.told(now)["applied"]["recent"]["count"] for now in (61 * SECOND, 122 * SECOND)]
    assert later == [tape.capture.frames, 0]
    assert msgspec.json.decode(msgspec.json.encode(told))["classes"]["orderbook.50"]["push"]["p99_ms"] > 0
    tape.stop()


async def test_the_writer_counts_every_record_once(tmp_path: Path) -> None:
    tape_info = SegmentInfo("linear", "linear", "gateway", "ws://127.0.0.1:1", "test", START_NS, START_NS)
    lateness = Lateness(Tape(tmp_path / "other", []).engine)
    writer = JournalWriter(
        journal_directory(tmp_path, "linear"),
        tape_info,
        next_sequence=0,
        options=JournalOptions(),
        delays=lateness.journaled,
    )
    for number in range(100):
        writer.append(START_NS, 0, 0, b"x" * number)
        if number % 10 == 9:
            writer.flush()
    await asyncio.to_thread(writer.close, "stopped")
    histogram = lateness.journaled.histogram()
    assert histogram.count == 100
    assert histogram.min_ns is not None
    assert histogram.min_ns > 365 * 24 * 3600 * SECOND  # these records are years old by the wall clock
