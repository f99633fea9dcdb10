"""``python -m benchmarks.deep``: what orderbook.full and orderbook.rpi cost the core; one JSON object.

Frames are those of the simulated market (spot, 1,080 levels a side), which are 1.4 kB (full) and 0.7 kB (RPI). Those of
orderbook.50 stand beside them. The REST answer of 10,000 levels a side is made up. Medians of passes, one thread.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from engine.core.feeds import Engine
from engine.market import Market
from schemas.names import Category
from schemas.notes import encode

START_NS = 1_780_000_000_000_000_000
SECONDS = 200
PASSES = 7
TOPICS = ("orderbook.50.BTCUSDT", "orderbook.rpi.BTCUSDT", "orderbook.full.BTCUSDT")


def frames_of(topic: str) -> tuple[bytes, list[bytes]]:
    """A snapshot of the topic, and the deltas behind it."""
    market = Market(7, Category.SPOT, ["BTCUSDT"], start_ns=START_NS)
    first = market.follow(topic)
    if first is not None:
        snapshot = first.payload
    else:
        view = market.full_book("BTCUSDT")
        assert view is not None
        snapshot = snapshot_frame(topic, view.bids, view.asks, view.update_id)
    return snapshot, [frame.payload for frame in market.advance(START_NS + SECONDS * 10**9)]


def snapshot_frame(topic: str, bids: Any, asks: Any, update_id: int) -> bytes:
    """The frame that a REST answer becomes."""
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": 1}
    frame = {"topic": topic, "ts": START_NS // 10**6, "type": "snapshot", "data": data}
    return json.dumps(frame, separators=(",", ":")).encode()


def median_us(work: Callable[[], int]) -> float:
    """Microseconds per unit; ``work`` returns how many units it did."""
    taken = []
    for _ in range(PASSES):
        start = time.perf_counter_ns()
        units = work()
        taken.append((time.perf_counter_ns() - start) / units / 1_000)
    return round(statistics.median(taken), 2)


def per_frame(topic: str, *, columns: bool) -> dict[str, float]:
    """Applying each delta of a topic, live or with rows."""
    snapshot, deltas = frames_of(topic)

    def work() -> int:
        engine = Engine(Category.SPOT, columns=columns)
        engine.add_feed(topic)
        if topic.startswith("orderbook.full"):
            engine.restate(topic, [snapshot], 1, 1)
        else:
            engine.apply(snapshot, 1, 1)
        apply = engine.apply
        for number, frame in enumerate(deltas, 2):
            apply(frame, number, number)
        assert engine.state(0).value == "live"
        return len(deltas)

    return {"frames": len(deltas), "bytes": round(statistics.mean(map(len, deltas))), "us": median_us(work)}


def ten_thousand_levels() -> dict[str, float]:
    """A REST answer of full size: taken, checkpointed, restored."""
    topic = TOPICS[2]
    bids = [[f"{60_000 - i * 0.01:.2f}", f"{1 + i % 7}.25"] for i in range(10_000)]
    asks = [[f"{60_001 + i * 0.01:.2f}", f"{1 + i % 7}.25"] for i in range(10_000)]
    answer = snapshot_frame(topic, bids, asks, 5)
    engine = Engine(Category.SPOT)
    engine.restate(topic, [answer], 1, 1)
    note = engine.checkpoint(0)

    def take() -> int:
        return engine.restate(topic, [answer], 1, 1)

    def checkpoint() -> int:
        encode(engine.checkpoint(0))
        return 1

    def restore() -> int:
        Engine(Category.SPOT).restore(note)
        return 1

    return {
        "answer_bytes": len(answer),
        "take_us": median_us(take),
        "checkpoint_us": median_us(checkpoint),
        "checkpoint_bytes": len(encode(note)),
        "restore_us": median_us(restore),
    }


def main() -> None:
    """Measure and print."""
    result = {
        "live": {topic: per_frame(topic, columns=False) for topic in TOPICS},
        "rows": {topic: per_frame(topic, columns=True) for topic in TOPICS},
        "ten_thousand_levels": ten_thousand_levels(),
    }
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
