"""Recordings without a network: frames made by hand, taken by the recorder's own capture and journal."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.core.feeds import Engine
from recorder.capture import Capture
from recorder.journal import JournalOptions, JournalWriter, SegmentInfo, journal_directory, next_sequence
from schemas.names import Category
from schemas.notes import Crashed, Disconnected, Subscribed

START_NS = 1_700_000_000_000_000_000  # 2023-11-14T22:13:20Z
MS = 1_000_000
SECOND = 1_000 * MS

BOOK = "orderbook.50.BTCUSDT"
TOP = "orderbook.1.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
TICKER = "tickers.BTCUSDT"
TOPICS = (BOOK, TOP, TRADES, TICKER)

Levels = Sequence[tuple[str, ...]]


def book(kind: str, update_id: int, bids: Levels, asks: Levels, at_ms: int, topic: str = BOOK) -> bytes:
    """An order-book frame (protocol section 3.1)."""
    data = {"s": topic.split(".", 2)[2], "b": bids, "a": asks, "u": update_id, "seq": 10 * update_id}
    return _frame({"topic": topic, "type": kind, "ts": at_ms, "data": data, "cts": at_ms - 1})


def trade(trade_id: str, price: str, size: str, at_ms: int, topic: str = TRADES) -> bytes:
    """A frame of one trade (protocol section 3.4)."""
    one = {"T": at_ms - 1, "s": topic.split(".", 1)[1], "S": "Buy", "v": size, "p": price, "i": trade_id}
    return _frame(
        {"topic": topic, "type": "snapshot", "ts": at_ms, "data": [one | {"L": "PlusTick", "BT": False}]}
    )


def ticker(kind: str, at_ms: int, topic: str = TICKER, **values: str) -> bytes:
    """A ticker frame (protocol section 3.5)."""
    data = {"symbol": topic.split(".", 1)[1]} | values
    return _frame({"topic": topic, "type": kind, "data": data, "cs": at_ms, "ts": at_ms})


def _frame(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def market(start: int, stop: int, start_ms: int = START_NS // MS, step_ms: int = 20) -> list[bytes]:
    """A quiet market's frames number ``start`` to ``stop``, three a step: a book delta, a trade or the top, a ticker.

    Number 0 comes with the snapshots of every feed.
    """
    frames: list[bytes] = []
    for number in range(start, stop):
        at_ms = start_ms + number * step_ms
        if number == 0:
            frames.append(book("snapshot", 1000, *_sides(), at_ms))
            frames.append(ticker("snapshot", at_ms, lastPrice="100.0", tickDirection="PlusTick"))
            frames.append(book("snapshot", 1, [("100.0", "1")], [("100.5", "1")], at_ms, TOP))
            continue
        level = number % 40
        size = str(number % 7)
        bids = [(f"{99 - level}.5", size)]
        asks = [(f"{101 + level}.0", f"{number % 5}.25")] if number % 3 else []
        frames.append(book("delta", 1000 + number, bids, asks, at_ms))
        if number % 2:
            frames.append(trade(f"t-{number}", f"100.{number % 10}", "0.5", at_ms))
        else:
            frames.append(book("snapshot", 1 + number, [("100.0", size or "1")], [], at_ms, TOP))
        if number % 4 == 0:
            frames.append(ticker("delta", at_ms, lastPrice=f"100.{number % 10}"))
    return frames


def _sides() -> tuple[Levels, Levels]:
    return [(f"{100 - i}.0", "1.5") for i in range(40)], [(f"{100 + i}.5", "2") for i in range(1, 40)]


class Tape:
    """One recording run of a collector into ``data``; time stands still unless it is moved.

    Args:
        data: the data directory.
        topics: what is subscribed at once, on line 0.
        collector: its name.
        start_ns: the wall clock at the beginning.
        crashed: what the run before left open.
        commit_bytes: of one group commit, unless it is flushed; 1 for a commit a record.
    """

    def __init__(
        self,
        data: Path,
        topics: Iterable[str] = TOPICS,
        *,
        collector: str = "linear",
        category: Category = Category.LINEAR,
        start_ns: int = START_NS,
        crashed: Iterable[Crashed] = (),
        commit_bytes: int = 32 << 20,
    ) -> None:
        self.data = data
        self.now_ns = start_ns
        self.events: list[Any] = []
        self._sealed: queue.SimpleQueue[Path] = queue.SimpleQueue()
        info = SegmentInfo(
            collector, category.value, "gateway", "ws://127.0.0.1:1", "tapebook test", start_ns, start_ns
        )
        self.journal = JournalWriter(
            journal_directory(data, collector),
            info,
            next_sequence=next_sequence(data, collector),
            options=JournalOptions(commit_bytes=commit_bytes, fsync_interval_s=3600),
            on_sealed=self._sealed.put,
        )
        self.engine = Engine(category)
        self.capture = Capture(
            self.engine, self.journal, run=start_ns, on_event=self.events.append, clock=lambda: self.now_ns
        )
        topics = list(topics)
        self.capture.begin(topics, crashed)
        if topics:
            self.capture.session(0, Subscribed(topics=topics))

    def frames(self, frames: Iterable[bytes], *, step_ns: int = 10 * MS, flush_every: int = 0) -> None:
        """Take frames one by one, the clock moving by ``step_ns``; commit behind every so many."""
        for number, frame in enumerate(frames, 1):
            self.now_ns += step_ns
            self.capture.frame_list(0, [frame], self.now_ns)
            if flush_every and number % flush_every == 0:
                self.journal.flush()

    def disconnect(self, line: int = 0) -> None:
        self.capture.session(line, Disconnected(reason="the way is gone"))

    def rotate(self) -> Path:
        """Begin another segment; returns the one before, sealed."""
        self.now_ns += MS
        self.capture.rotate()
        return self._sealed.get(timeout=60)

    def stop(self) -> None:
        """End the run cleanly; everything is sealed."""
        self.now_ns += MS
        self.capture.finish([0])
        self.journal.close("stopped")

    def crash(self) -> Path:
        """End the run as a kill does: what was committed stays in an open segment that nobody holds."""
        self.journal.flush()
        self.journal.close("stopped")
        sealed = max(journal_directory(self.data, self.journal._info.collector).glob("*.arrows"))
        opened = sealed.with_name(sealed.name + ".open")
        sealed.rename(opened)
        with opened.open("r+b") as file:
            # the last batch is the closing note's; a kill never wrote it
            file.truncate(self._data_bytes(opened))
        return opened

    @staticmethod
    def _data_bytes(path: Path) -> int:
        from recorder.journal import SegmentReader

        with SegmentReader(path, lenient=True) as reader:
            for _ in reader:
                pass
            return reader.data_bytes


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory by its relative path."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def record_day(data: Path, *, steps: int = 150, rotate_at: Sequence[int] = (60,)) -> None:
    """A clean recording of all feeds, in one more segment than rotations."""
    tape = Tape(data)
    before = 0
    for at in [*rotate_at, steps]:
        tape.frames(market(before, at), flush_every=25)
        before = at
        if at != steps:
            tape.rotate()
    tape.stop()
