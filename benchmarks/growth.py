"""What does a frame cost, and a book hold, when there are thousands of books?"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from benchmarks.decode import check_order_books
from benchmarks.feed import BATCH_BYTES, CATEGORY, Batch, Feed, batches, topic_of, with_books
from benchmarks.growth_traffic import Readdressed, Traffic, readdress, weights_of
from benchmarks.timing import Contender, Times, machine, time_all
from engine.core.feeds import Engine
from schemas.errors import DataError
from schemas.names import FeedState

__all__ = ["BOOKS", "Batches", "Calls", "growth"]

BOOKS = (10, 100, 1_000, 2_000)
READ_BYTES = 64 << 10
"""What a connection reads at once: frames of so many bytes are at hand when they are taken one by one."""


Piece = TypeVar("Piece")


class _Packed(NamedTuple):
    """A batch whose payloads are packed as in a journal: they are unpacked just before they are taken."""

    payloads: bytes
    rest: tuple[np.ndarray[Any, Any], ...]


def _pack(batch: Batch) -> _Packed:
    return _Packed(zlib.compress(batch.payloads.tobytes(), 1), tuple(batch[1:]))


def _unpack(packed: _Packed) -> Batch:
    return Batch(np.frombuffer(zlib.decompress(packed.payloads), np.uint8), *packed.rest)


class Held(Contender, Generic[Piece]):
    """Books that hold their snapshots before the clock starts, and what their deltas are taken from, piece by piece.

    Frames come fresh from a socket or from a batch that was just unpacked, so they are near when they are taken; frames
    of all passes, kept as they are, would instead push the books out of the caches. Making a piece is not timed.
    """

    def __init__(self, readdressed: Readdressed, name: str, piece_bytes: int) -> None:
        self.name = name
        self.frames = len(readdressed.deltas.frames)
        self._snapshots = [zlib.compress(frame, 1) for frame in readdressed.snapshots.frames]
        self._pieces = [_pack(batch) for batch in batches(readdressed.deltas, piece_bytes)]
        self.engine = Engine(CATEGORY)

    def prepare(self) -> None:
        """Books as their snapshots say."""
        self.engine = Engine(CATEGORY)
        for sequence, frame in enumerate(map(zlib.decompress, self._snapshots)):
            self.engine.add_feed(topic_of(frame))
            self.engine.apply(frame, sequence, sequence)

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """What is taken at once, made when it is asked for."""

    @abstractmethod
    def take(self, piece: Piece) -> None:
        """Apply a piece."""

    def run(self) -> None:
        """Apply the deltas."""
        for piece in self.pieces():
            self.take(piece)

    def timed(self) -> tuple[int, int]:
        """Apply the deltas; (processor time, wall time) in ns of applying alone."""
        processor_ns = wall_ns = 0
        for piece in self.pieces():
            wall_start, start = time.perf_counter_ns(), time.process_time_ns()
            self.take(piece)
            processor_ns += time.process_time_ns() - start
            wall_ns += time.perf_counter_ns() - wall_start
        return processor_ns, wall_ns

    def check(self) -> None:
        """Raise DataError unless every book is live and every delta was taken."""
        feeds = range(self.engine.feed_count)
        for index in feeds:
            if self.engine.state(index) is not FeedState.LIVE:
                raise DataError(
                    f"{self.engine.topics()[index]} is {self.engine.state(index)}, expected it to be live"
                )
        taken = sum(self.engine.messages(index) for index in feeds) - len(self._snapshots)
        if taken != self.frames:
            raise DataError(f"the books took {taken} deltas, expected {self.frames}")


class Calls(Held[list[bytes]]):
    """One Python call a frame, and the best levels of each."""

    def __init__(self, readdressed: Readdressed, name: str) -> None:
        super().__init__(readdressed, name, READ_BYTES)

    def pieces(self) -> Iterator[list[bytes]]:
        """Frames."""
        for packed in self._pieces:
            payloads, ends = zlib.decompress(packed.payloads), packed.rest[0].tolist()
            yield [payloads[start:end] for start, end in itertools.pairwise(ends)]

    def take(self, piece: list[bytes]) -> None:
        """Frame by frame."""
        quote = self.engine.quote
        for sequence, frame in enumerate(piece):
            quote(frame, sequence, sequence)


class Batches(Held[Batch]):
    """One ``nogil`` call a batch of the journal."""

    def __init__(self, readdressed: Readdressed, name: str) -> None:
        super().__init__(readdressed, name, BATCH_BYTES)

    def pieces(self) -> Iterator[Batch]:
        """Batches."""
        return map(_unpack, self._pieces)

    def take(self, piece: Batch) -> None:
        """All at once."""
        self.engine.apply_batch(*piece)


WAYS: dict[str, type[Calls | Batches]] = {"tapebook_live": Calls, "tapebook_batch": Batches}


def measured(feed: Feed, traffic: Traffic, repetitions: int, books: Sequence[int]) -> dict[str, Times]:
    """Time every way over the deltas for each number of books: by way, times by number of books."""
    spread = {count: readdress(feed, weights_of(traffic, count)) for count in books}
    out = {}
    for name, way in WAYS.items():
        cases = [way(readdressed, str(count)) for count, readdressed in spread.items()]
        for case in cases:
            case.prepare()
            case.run()
            case.check()
        out[name] = time_all(cases, repetitions, cases[0].frames)
    return out


def memory(feed: Feed, books: Sequence[int]) -> dict[str, Any]:
    """Memory per book between the smallest and the largest number of books, each in a process of its own.

    Raises:
        DataError: the child process failed.
    """
    found = {}
    for count in (min(books), max(books)):
        snapshots = readdress(feed, weights_of(Traffic.EVEN, count)).snapshots.frames
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.growth_memory"],
            input=b"".join(len(frame).to_bytes(4, "little") + frame for frame in snapshots),
            capture_output=True,
            check=False,
            cwd=Path(__file__).resolve().parent.parent,
        )
        if child.returncode:
            raise DataError(
                f"the process that holds {count} books failed: {child.stderr.decode(errors='replace')}"
            )
        found[count] = json.loads(child.stdout)
    few, many = found[min(books)], found[max(books)]
    more = max(books) - min(books)
    return {
        "books": more,
        "levels_per_book": round((many["levels"] - few["levels"]) / more, 1),
        **{
            f"{name}_per_book": None if many[name] is None else round((many[name] - few[name]) / more, 1)
            for name in ("resident_bytes", "allocated_bytes")
        },
    }


def growth(feed: Feed, repetitions: int, books: Sequence[int] = BOOKS) -> dict[str, Any]:
    """Time the same deltas while more and more books are held, by whose frames they are, and weigh the books."""
    check_order_books(feed)
    with_books(feed)
    found = {traffic.value: measured(feed, traffic, repetitions, books) for traffic in Traffic}
    least = str(min(books))
    return {
        "benchmark": "growth",
        "unit": "ns per frame",
        **feed.describe(),
        "repetitions": repetitions,
        "books": list(books),
        "figures": {
            traffic: {way: times.figures() for way, times in ways.items()} for traffic, ways in found.items()
        },
        "wall_to_processor_time": {
            traffic: {way: times.wall_ratio for way, times in ways.items()} for traffic, ways in found.items()
        },
        f"ratio_to_{least}_books": {
            traffic: {way: times.ratios(least) for way, times in ways.items()}
            for traffic, ways in found.items()
        },
        "memory": memory(feed, books),
        **machine(["tapebook", "numpy"]),
    }
