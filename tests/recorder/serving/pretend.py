"""A recorder that only pretends: statuses as a collector writes them, and books that walk, for tests of the page."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.core.delays import Delays
from engine.shared import Snapshot
from recorder.lateness import summary
from recorder.serving.feed_table import Told
from recorder.serving.sources import Shared
from schemas.names import FeedState

NOW_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000


class PretendBook:
    """A book that moves when it is told to.

    Args:
        seed: decides everything.
        depth: levels a side.
        middle: price mantissa that it begins at, exponent -1; sizes have exponent -3.
    """

    def __init__(self, seed: int, depth: int = 50, middle: int = 618_000) -> None:
        self._draw = np.random.default_rng(seed)
        self.version = 0
        self.feed_state = FeedState.LIVE
        self.words = ""
        self.cause: str | None = None
        self.reads = 0
        self._middle = middle
        self._update_id = 1000
        self._receive_ns = NOW_NS
        self._offsets = np.arange(depth, dtype=np.int64) * 2 + 1
        self._sizes = self._draw.lognormal(7, 1, (2, depth)).astype(np.int64) + 1
        self._sizes[:, 7::13] *= 9

    def move(self, now_ns: int) -> None:
        """Change some levels, and now and then the middle."""
        self._middle += int(self._draw.integers(-2, 3)) if self._draw.random() < 0.3 else 0
        changed = self._draw.integers(0, self._sizes.shape[1], 4)
        self._sizes[self._draw.integers(0, 2), changed] = self._draw.lognormal(7, 1, 4).astype(np.int64) + 1
        self._receive_ns = now_ns
        self._update_id += 1
        self.version += 2

    def turn(self, state: FeedState, words: str = "") -> None:
        """Go into another state."""
        self.feed_state = state
        self.words = words
        self.version += 2

    def begin(self) -> int:
        return self.version

    def state(self) -> FeedState:
        return self.feed_state

    def trouble(self) -> str:
        return self.words

    def read(self, depth: int | None = None) -> Snapshot:
        self.reads += 1
        bids = np.stack([self._middle - self._offsets, self._sizes[0]], axis=1)[:depth]
        asks = np.stack([self._middle + self._offsets, self._sizes[1]], axis=1)[:depth]
        push_ms = self._receive_ns // 1_000_000 - 3
        return Snapshot(
            self.feed_state, self.words, self.cause, self._update_id, 10 * self._update_id, push_ms - 1, push_ms,
            self._receive_ns, 0, 1, -1, -3, bids, asks, (len(bids), len(asks)), False, 0, self.version,
        )  # fmt: skip


def pretend_feed(topic: str, state: str = "live", **changes: Any) -> dict[str, Any]:
    return {
        "topic": topic, "state": state, "messages": 100, "gaps": 0, "bytes": 40_000, "refused": None, "update_id": 7,
        "last_receive_ns": NOW_NS,
    } | changes  # fmt: skip


def pretend_status(feeds: Sequence[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A status as ``recorder.collector`` writes it, well in every respect."""
    draw = random.Random(len(feeds))

    def late(median_ns: float) -> dict[str, Any]:
        delays = Delays()
        for _ in range(400):
            delays.add(int(median_ns * draw.lognormvariate(0, 0.6)))
        histogram = delays.histogram()
        told = summary(histogram)
        buckets = {str(bucket): many for bucket, many in histogram.buckets.items()}
        counted = {"count": histogram.count, "sum_ns": histogram.sum_ns, "min_ns": None, "max_ns": None}
        return {**told, "recent": told, "histogram": {**counted, "buckets": buckets}}

    classes = sorted({feed["topic"].rpartition(".")[0] for feed in feeds})
    return {
        "collector": "linear", "category": "linear", "environment": "mainnet", "endpoint": "wss://x", "pid": 1,
        "running": True, "written_ns": NOW_NS, "frames": 1000, "frame_bytes": 400_000, "undecodable": {},
        "unknown_topics": 0, "backlog_bytes": 1024, "paused": False, "pressure": {"level": "ease"},
        "vitals": {
            "disk_free_bytes": 400 << 30, "disk_total_bytes": 500 << 30, "disk_floor_bytes": 1 << 28,
            "journal_bytes": 1 << 30, "journal_bytes_per_second": 200_000.0, "resident_bytes": 240 << 20,
        },
        "seconds": 3600.0, "resyncs": 0, "clock": {"offset_ns": 1_200_000, "error_ns": 300_000, "steps": 0},
        "lateness": {
            "classes": {name: {"match": late(9e6), "push": late(4e6)} for name in classes},
            "applied": late(40e3), "journaled": late(6e6),
        },
        "lines": [{"line": 0, "connected": True, "connects": 1}, {"line": 1, "connected": True, "connects": 1}],
        "feeds": list(feeds),
    } | changes  # fmt: skip


def pretend_market(symbols: int = 150) -> list[dict[str, Any]]:
    """Four feeds a symbol: 600 of 150."""
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", *(f"A{number:03}USDT" for number in range(symbols - 3))]
    kinds = ("orderbook.50", "orderbook.200", "publicTrade", "tickers")
    return [pretend_feed(f"{kind}.{name}") for name in names[:symbols] for kind in kinds]


class PretendRecorder:
    """Statuses and books of one collector, moving on when told; in place of ``Statuses`` and of what opens books.

    Attributes:
        status: that is told; held: whether its process lives; still: whether its books should stand still.
        books: by (collector, topic).
    """

    def __init__(self, feeds: Sequence[dict[str, Any]], *, walking: bool = True) -> None:
        self.status = pretend_status(feeds)
        self.held = True
        self.still = False
        self.books = {
            ("linear", feed["topic"]): PretendBook(number, middle=618_000 // (1 + number // 8))
            for number, feed in enumerate(feeds)
            if walking and feed["topic"].startswith("orderbook.")
        }

    def advance(self, now_ns: int) -> None:
        """Every book moves, and the status is written anew."""
        for book in self.books.values():
            book.move(now_ns)
        self.tell(now_ns)

    def tell(self, now_ns: int, messages: int = 30) -> None:
        """Write the status anew, a second's messages later."""
        for feed in self.status["feeds"]:
            feed["messages"] += messages
            feed["last_receive_ns"] = now_ns
        self.status["frames"] += messages * len(self.status["feeds"])
        self.status["frame_bytes"] += 400 * messages * len(self.status["feeds"])
        self.status["written_ns"] = now_ns

    def shared(self) -> dict[tuple[str, str], Shared]:
        """In place of what lists shared books."""
        return {key: Shared(1, lambda book=book: book) for key, book in self.books.items()}  # type: ignore[misc]

    def read(self) -> list[Told]:
        return [Told("linear", self.held, self.status)]
