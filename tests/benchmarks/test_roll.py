"""The roll benchmark: it rolls what it says, and says what it took."""

from __future__ import annotations

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks.feed import feed_of
from benchmarks.market import generated_feed
from benchmarks.roll import roll, simulated
from schemas.errors import DataError


def test_a_roll_is_measured_in_its_parts() -> None:
    feed = feed_of(*generated_feed(400))
    payload = sum(map(len, feed.frames))
    result = roll(feed, 0.01, 3 * payload / 2**20)
    assert result["repeats"] == 3
    assert result["rolls"] >= 3
    assert result["figures"]["roll"]["min_ns"] <= result["figures"]["roll"]["median_ns"]
    assert all(result["stages_ns"][stage] > 0 for stage in ("read_and_check", "decode_apply_and_tables"))
    assert result["fsync"]["per_roll"] > result["files"]
    assert 20 < result["resident_mib"] < 2_000
    assert result["segment_mib"] * 2**20 > 3 * payload


def test_frames_of_many_symbols_are_simulated() -> None:
    feed = simulated(7, 900)
    symbols = {topic.rpartition(".")[2] for topic in feed.topics}
    assert len(symbols) == 7
    assert len(feed.frames) > 700
    assert feed.receive_ns == sorted(feed.receive_ns)


def test_a_roll_that_differs_is_refused() -> None:
    feed = feed_of(*generated_feed(50))
    from benchmarks.replay import Segment
    from benchmarks.roll import _roll_once

    with Segment(feed) as segment, pytest.raises(DataError, match="expected 51 and none"):
        _roll_once(segment, segment.data / "out", 51)
