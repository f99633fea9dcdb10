"""What the manifest says of a file's rows: ranges of clocks and ids, and the ends of each feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recorder.version import SOFTWARE
from schemas.manifest import FeedEnds, FileRun, ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import SCHEMA_VERSION, book_topic

__all__ = ["BOOK_TABLES", "RANGED", "Ranges", "RunRanges", "file_line", "receive_range"]

BOOK_TABLES: Final = frozenset({Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES})
RANGED: Final = (
    "sequence",
    "receive_time",
    "start_time",
    "match_time",
    "push_time",
    "update_id",
    "cross_sequence",
)


class Ranges:
    """Collects them, one run of rows after the other.

    Args:
        table, symbol: whose rows these are.

    Attributes:
        feeds: by topic, of a table of books.
    """

    def __init__(self, table: Table, symbol: str) -> None:
        self._table = table
        self._symbol = symbol
        self._ranges: dict[str, tuple[int, int]] = {}
        self.feeds: dict[str, FeedEnds] = {}

    def of(self, name: str) -> tuple[int, int] | None:
        """Least and greatest value of a column; None where it has none."""
        return self._ranges.get(name)

    def note(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before."""
        if not rows.num_rows:
            return
        for name in RANGED:
            if name not in rows.schema.names:
                continue
            column = rows.column(name)
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.int64())
            ends = pc.min_max(column)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            if low is None:
                continue
            before = self._ranges.get(name, (low, high))
            self._ranges[name] = (min(low, before[0]), max(high, before[1]))
        if self._table in BOOK_TABLES:
            self._note_feeds(rows)

    def _note_feeds(self, rows: pa.Table) -> None:
        depths = _array(rows, "depth").to_numpy()
        update_ids = _array(rows, "update_id").to_numpy()
        digests = _array(rows, "digest")
        noted = np.flatnonzero(digests.is_valid().to_numpy(zero_copy_only=False))
        for depth in np.flatnonzero(np.bincount(depths)).tolist():
            places = np.flatnonzero(depths == depth)
            ends = noted[depths[noted] == depth]
            first = f"{digests[int(ends[0])].as_py():016x}" if len(ends) else None
            last = f"{digests[int(ends[-1])].as_py():016x}" if len(ends) else None
            topic = book_topic(self._table, depth, self._symbol)
            before = self.feeds.get(topic)
            self.feeds[topic] = FeedEnds(
                rows=len(places) + (before.rows if before else 0),
                first_update_id=before.first_update_id if before else int(update_ids[places[0]]),
                last_update_id=int(update_ids[places[-1]]),
                first_digest=(before.first_digest if before else None) or first,
                last_digest=last or (before.last_digest if before else None),
            )


class RunRanges:
    """The same for each recording run that rows come from.

    Args:
        table, symbol: whose rows these are.
        segments: the collector's segments; by their sequences a row is of one of them.
    """

    def __init__(self, table: Table, symbol: str, segments: Sequence[ManifestSegment]) -> None:
        ordered = sorted(segments, key=lambda segment: segment.sequence[0])
        self._starts = np.array([segment.sequence[0] for segment in ordered], np.int64)
        self._run_of = np.array([segment.run for segment in ordered], np.int64)
        self._table = table
        self._symbol = symbol
        self._runs: dict[int, tuple[int, Ranges]] = {}

    def note(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before."""
        places = np.searchsorted(self._starts, _array(rows, "sequence").to_numpy(), "right") - 1
        run_of_row = self._run_of[np.maximum(places, 0)]
        for run in np.unique(run_of_row).tolist():
            part = rows.filter(pa.array(run_of_row == run))
            rows_before, ranges = self._runs.get(run) or (0, Ranges(self._table, self._symbol))
            ranges.note(part)
            self._runs[run] = (rows_before + part.num_rows, ranges)

    def runs(self) -> list[FileRun]:
        """What there is of each run, oldest first."""
        return [
            FileRun(
                run,
                rows,
                ranges.of("sequence"),
                receive_range(ranges),
                ranges.of("match_time"),
                ranges.of("push_time"),
            )
            for run, (rows, ranges) in sorted(self._runs.items(), key=lambda item: item[0])
        ]


def file_line(
    ranges: Ranges,
    *,
    path: str,
    table: str,
    category: str,
    symbol: str,
    date: str,
    collector: str,
    segment: int,
    rows: int,
    length: int,
    sha256: str,
    gaps: int,
    last_segment: int | None = None,
    runs: list[FileRun] | None = None,
) -> ManifestFile:
    """Return the manifest line of a file whose rows were noted; ``length`` is in bytes, the rest as there."""
    return ManifestFile(
        path=path,
        table=table,
        category=category,
        symbol=symbol,
        date=date,
        collector=collector,
        segment=segment,
        last_segment=last_segment,
        runs=runs,
        rows=rows,
        bytes=length,
        sha256=sha256,
        sequence=ranges.of("sequence"),
        receive_ns=receive_range(ranges),
        match_ms=ranges.of("match_time"),
        push_ms=ranges.of("push_time"),
        update_id=ranges.of("update_id"),
        cross_sequence=ranges.of("cross_sequence"),
        gaps=gaps,
        feeds=dict(sorted(ranges.feeds.items())),
        schema_version=SCHEMA_VERSION,
        software=SOFTWARE,
    )


def receive_range(ranges: Ranges) -> tuple[int, int] | None:
    """Of our clock: spans and gaps are placed by their starts."""
    return ranges.of("receive_time") or ranges.of("start_time")


def _array(rows: pa.Table, name: str) -> Any:
    """A column in one piece."""
    column = rows.column(name).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
