"""A reader in Python that spins on a live book: ``python -m benchmarks.live_follow DATA TOPIC UPDATES OUT``.

Writes what ``live_reader follow`` writes: update id, when it was seen, and -1 for what it doesn't know.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from recorder.live_books import open_book

__all__ = ["follow"]

LOOKS = 1000


def follow(data: Path, topic: str, updates: int, out: Path) -> None:
    """Spin until the book has changed so often, or its writer is gone."""
    book = open_book(data, topic.rsplit(".", 1)[1], topic=topic, collector="latency")
    seen: list[tuple[int, int]] = []
    newest = None
    print("ready", flush=True)
    while len(seen) < updates and book.trouble() != "writer gone":
        for _ in range(LOOKS):
            update_id = book.update_id()
            if update_id != newest and update_id is not None:
                seen.append((update_id, time.monotonic_ns()))
                newest = update_id
    np.array([(update_id, at_ns, -1, -1) for update_id, at_ns in seen], np.int64).tofile(out)


if __name__ == "__main__":
    follow(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
