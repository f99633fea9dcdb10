"""The load benchmark: what is offered, what counts as recorded, and a short run of the whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.load import load
from benchmarks.load_frames import Cycle, build_cycle, stamped
from engine.core.feeds import Engine
from schemas.names import Category, FeedState

SYMBOLS = 24


@pytest.fixture(scope="module")
def cycle() -> Cycle:
    return build_cycle(SYMBOLS, 1_200)


def messages(data: bytes) -> list[bytes]:
    """Payloads of unmasked text frames."""
    found = []
    while data:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(data[2:10], "big"), 10
        found.append(data[start : start + length])
        data = data[start + length :]
    return found


def test_a_cycle_can_be_sent_again_and_again(cycle: Cycle) -> None:
    engine = Engine(Category.LINEAR)
    for topic in cycle.topics:
        engine.add_feed(topic)
    assert len(cycle.topics) == 3 * SYMBOLS
    for number in range(3):
        for sequence, payload in enumerate(cycle.payloads):
            assert engine.apply(stamped(payload, number), 1, number * cycle.count + sequence) >= 0
    books = [feed for feed, topic in enumerate(engine.topics()) if topic.startswith("orderbook")]
    assert all(engine.state(feed) is FeedState.LIVE for feed in books)
    assert all(engine.open_gap(feed) is None for feed in books)
    # Trades of another cycle are other trades: nothing is taken for a repeat.
    repeats = [engine.feed_counters(feed)["repeats"] for feed in range(engine.feed_count)]
    assert not any(repeats)


def test_parts_together_are_the_cycle(cycle: Cycle) -> None:
    halves = [cycle.part(cycle.topics[0::2]), cycle.part(cycle.topics[1::2])]
    for part in halves:
        part.stamp(7)
    stretches = [(start, min(start + 97, cycle.count)) for start in range(0, cycle.count, 97)]
    sent = [messages(b"".join(part.slice(*stretch) for stretch in stretches)) for part in halves]
    for part, payloads in zip(halves, sent, strict=True):
        assert payloads == [stamped(cycle.payloads[index], 7) for index in part.indices]
    assert sorted([*halves[0].indices, *halves[1].indices]) == list(range(cycle.count))


def test_the_stamp_makes_other_trades_and_nothing_else(cycle: Cycle) -> None:
    trade = next(payload for payload in cycle.payloads if b"publicTrade" in payload)
    first, second = json.loads(stamped(trade, 1)), json.loads(stamped(trade, 2))
    assert first["data"][0]["i"][:6] == "000001"
    assert second["data"][0]["i"][:6] == "000002"
    assert re.sub(rb'"i":"......', b"", stamped(trade, 1)) == re.sub(rb'"i":"......', b"", trade)
    book = next(payload for payload in cycle.payloads if b"orderbook" in payload)
    assert stamped(book, 3) == book


def test_a_cycle_is_stored_and_read(cycle: Cycle, tmp_path: Path) -> None:
    cycle.store(tmp_path / "cycle")
    again = Cycle.read(tmp_path / "cycle")
    assert (again.topics, again.payloads) == (cycle.topics, cycle.payloads)
    assert (again.topic_index == cycle.topic_index).all()


@pytest.mark.slow
def test_a_short_run_loses_nothing() -> None:
    found = load(500.0, 4.0, 12, 1.0)
    assert (found["sent"], found["lost"], found["gaps"]) == (2_000, 0, 0)
    assert found["topics"] == 36
    assert set(found["cpu_us_per_frame"]) == {"event_loop", "event_loop_of_which", "journal_thread", "roll"}
