"""How long from the journal to tables, and from tables back to books?"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import pyarrow as pa

from benchmarks.columns import HELD_BYTES, message_rows
from benchmarks.contenders import Orjson, decimals_of, quotes_of
from benchmarks.decode import check_order_books
from benchmarks.feed import CATEGORY, Feed, with_books
from benchmarks.peers import PACKAGES, hftbacktest_makers, make_peers
from benchmarks.tables_to_books import TablesToBooks
from benchmarks.timing import Contender, Quotes, check_quotes, machine, time_all
from engine.core.feeds import Engine
from engine.replay import Key, Replay
from recorder.capture import Capture
from recorder.journal import JournalWriter, SegmentInfo, SegmentReader, journal_directory, segments
from recorder.roll import replay_segment
from recorder.version import SOFTWARE
from schemas.errors import DataError
from schemas.names import Environment, Table

__all__ = ["BatchesToTables", "JournalToTables", "Segment", "replay"]

COLLECTOR = "benchmark"
BACKLOG_BYTES = 64 << 20


class Segment(AbstractContextManager["Segment"]):
    """A feed as the recorder would have journalled it, live digests included, sealed in a directory of its own.

    Args:
        feed: the frames; each topic's begin with a snapshot.
        repeats: how often they come, one time after the other, received later each time.

    Attributes:
        data: the data directory.
        path: the sealed segment.
    """

    def __init__(self, feed: Feed, repeats: int = 1) -> None:
        self._directory = TemporaryDirectory(prefix="tapebook-benchmark-")
        data = Path(self._directory.name)
        start_ns = feed.receive_ns[0]
        info = SegmentInfo(
            collector=COLLECTOR,
            category=CATEGORY.value,
            environment=Environment.GATEWAY.value,
            endpoint="ws://benchmark",
            software=SOFTWARE,
            run_start_ns=start_ns,
            start_ns=start_ns,
        )
        journal = JournalWriter(journal_directory(data, COLLECTOR), info, next_sequence=0)
        capture = Capture(
            Engine(CATEGORY), journal, run=start_ns, on_event=lambda _: None, clock=lambda: start_ns
        )
        capture.begin(feed.topics, [])
        for number in range(repeats):
            later_ns = number * (feed.receive_ns[-1] + 10**9 - start_ns)
            for receive_ns, frame in zip(feed.receive_ns, feed.frames, strict=True):
                capture.frame_list(0, [frame], receive_ns + later_ns)
            while journal.backlog_bytes > BACKLOG_BYTES:
                time.sleep(0.01)
        capture.finish([])
        journal.close()
        self.data = data
        self.path = segments(data, COLLECTOR)[0].path

    @cached_property
    def records(self) -> list[pa.RecordBatch]:
        """The segment's record batches, in memory."""
        with SegmentReader(self.path) as reader:
            return [batch.table for batch in reader]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.cleanup()


class BatchesToTables(Contender):
    """Record batches in memory through ``engine.replay.Replay``: books, live digests compared, rows as tables."""

    name = "tapebook_batches_to_tables"

    def __init__(self, feed: Feed, segment: Segment) -> None:
        self._feed = feed
        self._segment = segment
        self._replay = self._new()
        self.tables: list[tuple[Key, pa.Table]] = []

    def _new(self) -> Replay:
        return Replay(COLLECTOR, CATEGORY, self._feed.receive_ns[0])

    def prepare(self) -> None:
        """Empty books, no rows."""
        self._replay = self._new()
        self.tables = []

    def run(self) -> None:
        """Replay batch by batch, taking rows as ``CoreColumns`` does."""
        replay, tables = self._replay, self.tables
        for records in self._segment.records:
            replay.batch(records)
            if replay.engine.row_bytes > HELD_BYTES:
                tables += replay.take_rows().items()
        tables += replay.finish(replay.last_receive_ns).items()

    def quotes(self) -> Quotes:
        """The best levels. Raises DataError unless every frame has its row and every live digest was met."""
        check_rows(self.name, self._replay, self.tables, self._feed)
        return quotes_of(self._replay.engine, self._feed)


class JournalToTables(Contender):
    """A sealed segment from its file, as roll reads it: checksums, then as ``BatchesToTables``; the file is cached."""

    name = "tapebook_journal_to_tables"

    def __init__(self, feed: Feed, segment: Segment) -> None:
        self._feed = feed
        self._segment = segment
        self._replay: Replay | None = None
        self.tables: list[tuple[Key, pa.Table]] = []

    def prepare(self) -> None:
        """No rows."""
        self.tables = []

    def run(self) -> None:
        """Replay the file."""
        tables = self.tables
        _, self._replay = replay_segment(self._segment.path, lambda rows: tables.extend(rows.items()))

    def quotes(self) -> Quotes:
        """As ``BatchesToTables.quotes``."""
        assert self._replay is not None
        check_rows(self.name, self._replay, self.tables, self._feed)
        return quotes_of(self._replay.engine, self._feed)


def check_rows(name: str, replay: Replay, tables: list[tuple[Key, pa.Table]], feed: Feed) -> None:
    """Raise DataError where rows or live digests of a feed of order books are missing."""
    found = sum(message_rows(table) for (kind, *_), table in tables if kind is Table.BOOK_UPDATES)
    if found != len(feed.frames) or replay.mismatches:
        raise DataError(
            f"{name}: found {found} rows and {len(replay.mismatches)} live digests that the replay did not arrive at, "
            f"expected {len(feed.frames)} and none"
        )


def contenders_of(feed: Feed, segment: Segment) -> list[Contender]:
    """The contenders that need no peer, over a feed of order-book frames, checked to end with the same books.

    Raises:
        DataError: one of them doesn't, or a book is not live at the end.
        ConfigError: the feed has other topics than order books.
    """
    check_order_books(feed)
    engine = with_books(feed)
    contenders: list[Contender] = [
        JournalToTables(feed, segment),
        BatchesToTables(feed, segment),
        TablesToBooks(feed),
        Orjson(feed),
    ]
    check_quotes(contenders, quotes_of(engine, feed))
    return contenders


def replay(feed: Feed, repetitions: int) -> dict[str, Any]:
    """Time the way from a journal to tables, and the way from tables to books, beside orjson.loads of the frames."""
    with Segment(feed) as segment:
        contenders = contenders_of(feed, segment)
        engine = with_books(feed)
        peers, left_out = make_peers({"hftbacktest": hftbacktest_makers(feed, decimals_of(engine, feed))})
        check_quotes(peers, quotes_of(engine, feed))
        times = time_all([*contenders, *peers], repetitions, len(feed.frames))
        described = {
            "segment_bytes_per_frame": round(segment.path.stat().st_size / len(feed.frames), 1),
            "segment_batches": len(segment.records),
        }
    return {
        "benchmark": "replay",
        "unit": "ns per frame",
        **feed.describe(),
        **described,
        "repetitions": repetitions,
        **times.result(),
        "peers_missing": left_out,
        **machine(["tapebook", "orjson", "numpy", "pyarrow", "numba", PACKAGES["hftbacktest"]]),
    }
