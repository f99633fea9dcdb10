"""Publishes a book and changes it as fast as it can, until it is killed: ``python -m tests.shared_books.writer DATA``.

The book never holds more than its fifty levels a side, so that readers see all that its digest is of. Update ids go on
from one start to the next.
"""

from __future__ import annotations

import json
import sys
import time
from random import Random

from engine.core.feeds import Engine
from recorder.live_publisher import LivePublisher
from schemas.config import RecordConfig

TOPIC = "orderbook.50.BTCUSDT"
FRAMES = 512
BEAT_NS = 50_000_000


def frames(random: Random) -> list[tuple[bytes, bytes]]:
    """Deltas without their update ids: what stands before and behind it."""
    out = []
    for _ in range(FRAMES):
        sides = [
            [
                [f"{first + sign * place / 10:.1f}", random.choice(("0", "0.125", "1.500", "12.250"))]
                for place in random.sample(range(50), random.choice((1, 2, 5, 20)))
            ]
            for first, sign in ((6000, -1), (6001, 1))
        ]
        data = {"s": "BTCUSDT", "b": sides[0], "a": sides[1], "u": 0, "seq": 1}
        message = {
            "topic": TOPIC,
            "type": "delta",
            "ts": 1_700_000_000_000,
            "data": data,
            "cts": 1_700_000_000_000,
        }
        text = json.dumps(message, separators=(",", ":"))
        before, _, behind = text.partition('"u":0')
        out.append((f'{before}"u":'.encode(), behind.encode()))
    return out


def main(data: str) -> None:
    """Write until the process is killed."""
    engine = Engine("linear")
    engine.add_feed(TOPIC)
    publisher = LivePublisher(RecordConfig(data=data, tape_mib=1), engine, "gateway")
    publisher.begin()
    update_id = time.time_ns() // 100
    templates = frames(Random(update_id))
    before, behind = templates[0]
    snapshot = before.replace(b'"delta"', b'"snapshot"') + b"%d" % update_id + behind
    engine.apply(snapshot, 1, 1)
    print("ready", flush=True)
    due_ns = 0
    while True:
        for before, behind in templates:
            update_id += 1
            engine.apply(b"%s%d%s" % (before, update_id, behind), update_id, update_id)
        engine.take_events()
        now_ns = time.monotonic_ns()
        if now_ns >= due_ns:
            publisher.tick()
            due_ns = now_ns + BEAT_NS


if __name__ == "__main__":
    main(sys.argv[1])
