"""Many segments: each is rolled, none has a seam, and each stands alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from recorder.archive import open_archive
from recorder.journal import segments
from recorder.manifest import read_manifest
from schemas.names import Category
from tests.processes import json_lines, tapebook
from tests.recorded import Recorded, assert_answers, assert_verified, hold, market_feed, record_replay

TOPICS = ["orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"]


def test_segments_have_no_seams_and_each_stands_alone(tmp_path: Path) -> None:
    path = market_feed(tmp_path / "feed.txt", Category.LINEAR, TOPICS, 20)
    recorded, expected = record_replay(
        tmp_path, path, Category.LINEAR, TOPICS, "--speed", 6, record=["--segment-seconds", 1]
    )
    sealed = [file for file in segments(recorded.data) if file.state == "sealed"]
    assert len(sealed) >= 3
    assert len(read_manifest(recorded.data / "archive").segments) == len(sealed)
    assert not expected.gaps
    hold(recorded, expected)
    assert assert_answers(recorded, expected, Category.LINEAR, samples=8) > 10
    assert_verified(recorded.data)
    with open_archive(recorded.data) as archive:
        spans = archive.sql("SELECT topic, messages FROM coverage ORDER BY topic").table().to_pylist()
    assert [span["topic"] for span in spans] == sorted(TOPICS)
    assert {span["topic"]: span["messages"] for span in spans} == expected.messages
    assert_last_segment_stands_alone(recorded, tmp_path / "alone")


def starts(recorded: Recorded) -> list[int]:
    return [file.start_ns for file in segments(recorded.data) if file.state == "sealed"]


def contents(data: Path, segment: int) -> dict[str, bytes]:
    """What the archive has of one segment."""
    files = read_manifest(data / "archive").files
    return {
        file.path: (data / "archive" / file.path).read_bytes() for file in files if file.segment == segment
    }


def assert_last_segment_stands_alone(recorded: Recorded, alone: Path) -> None:
    """A book of a late segment needs nothing of the segments before it."""
    spoken = [frame for frame in recorded.frames if b'"topic":"orderbook.50.BTCUSDT"' in frame.payload]
    moment = spoken[-1].receive_ns
    last = max(start for start in starts(recorded) if start <= moment)
    assert last > min(starts(recorded))
    question = ["book", "BTCUSDT", "--category", "linear", "--topic", "orderbook.50", "--clock", "receive",
                "--depth", 50, "--format", "json", "--at", f"{moment}ns", "--data"]  # fmt: skip
    (whole,) = json_lines(tapebook(*question, recorded.data).out)
    (file,) = [file for file in segments(recorded.data) if file.state == "sealed" and file.start_ns == last]
    lone = alone / file.path.relative_to(recorded.data)
    lone.parent.mkdir(parents=True)
    shutil.copyfile(file.path, lone)
    rolled = tapebook("roll", "--data", alone)
    assert rolled.code == 0, rolled.err
    assert contents(alone, last) == contents(recorded.data, last)
    done = tapebook(*question, alone)
    assert done.code == 0, done.err
    assert json_lines(done.out) == [whole]
    assert_verified(alone)
