"""Rows of many files in one order, a bounded piece at a time: what a compaction writes and a check expects.

Rows go by ``sequence``, those of book tables by ``depth`` first, so that a feed lies together. Rows of one sequence and
one file keep their order. Rows of one sequence in several files are keyframes at the heads of segments, which bear the
stamps of the message before them: they come behind that message, in the order in which exponents widen, and are alike
in everything else. The order depends on the rows alone, not on how they are spread over files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recorder.file_places import FilePlace
from recorder.row_groups import ArchiveReader, int64s
from recorder.row_ranges import BOOK_TABLES
from schemas.errors import Corrupt
from schemas.manifest import ManifestFile
from schemas.names import RowKind, Table
from schemas.tables import book_of_topic

__all__ = ["Source", "depths_of", "merged_rows"]


class Source(NamedTuple):
    """A file to merge: its manifest line, and where it lies (a scratch directory, perhaps)."""

    file: ManifestFile
    path: FilePlace


def depths_of(files: Sequence[ManifestFile]) -> list[int]:
    """The depths of a symbol's book files, lowest first."""
    found = {book_of_topic(topic) for file in files for topic in file.feeds}
    return sorted(feed[1] for feed in found if feed is not None)


def merged_rows(
    table: Table, sources: Sequence[Source], seen: Callable[[pa.Table], None] = lambda _: None
) -> Iterator[pa.Table]:
    """Yield all rows of some files of one table, symbol, date and collector in the order of compacted files.

    Pieces are never empty and never mix depths; where they are cut means nothing.

    Args:
        table: whose files they are.
        sources: at least one.
        seen: is handed the rows as they were read, before anything is done to them.

    Raises:
        Corrupt: a file can't be read, has other columns than its table, or is merged and out of order.
        StoreError: a file isn't there.
    """
    ordered = sorted(
        sources, key=lambda each: (each.file.segment, each.file.last_segment or 0, each.path.name)
    )
    depths: list[int | None] = (
        [*depths_of([source.file for source in sources])] if table in BOOK_TABLES else [None]
    )
    for depth in depths:
        streams = [_Stream(source, table, depth, place, seen) for place, source in enumerate(ordered)]
        try:
            yield from _merged(streams, table)
        finally:
            for stream in streams:
                stream.close()


class _Stream:
    """One file's rows of one depth, in order; opened when its turn comes.

    Attributes:
        low: no row has a lower sequence.
        place: rank among files, which orders what nothing else does.
        rows, sequences: what was read and not taken yet.
        is_done: whether the file has no more than that.
    """

    def __init__(
        self, source: Source, table: Table, depth: int | None, place: int, seen: Callable[[pa.Table], None]
    ) -> None:
        self.low = source.file.sequence[0] if source.file.sequence is not None else 0
        self.place = place
        self.is_done = False
        self.rows: pa.Table | None = None
        self.sequences: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._source = source
        self._table = table
        self._depth = depth
        self._seen = seen
        self._reader: ArchiveReader | None = None
        self._batches: Iterator[pa.Table] = iter(())
        self._last = -1
        if depth is not None:
            self._find_low(depth)

    def _find_low(self, depth: int) -> None:
        """Look where the depth's rows begin, so that not all files are open at once.

        The manifest doesn't know: the keyframe at a file's head of a feed that was quiet bears a sequence of long ago.
        """
        with ArchiveReader(self._source.path, self._table) as reader:
            groups = [group for group in reader.groups if group.may_have("depth", depth)]
            for rows in reader.batches(groups, ["sequence", "depth"]):
                own = int64s(rows, "sequence")[int64s(rows, "depth") == depth]
                if own.size:
                    self.low = int(own[0])
                    return
        self.is_done = True

    def fill(self) -> None:
        """Read on, unless everything was."""
        if self._reader is None:
            self._open()
        for rows in self._batches:
            if self._depth is not None:
                rows = rows.filter(pc.equal(rows.column("depth"), self._depth))
            if rows.num_rows:
                self._add(rows)
                return
        self.is_done = True
        self.close()

    def take(self, below: int | None) -> pa.Table | None:
        """Give away the rows whose sequence is below a bound; all for None."""
        count = len(self.sequences) if below is None else int(np.searchsorted(self.sequences, below, "left"))
        if count == 0 or self.rows is None:
            return None
        taken, self.rows = self.rows.slice(0, count), self.rows.slice(count)
        self.sequences = self.sequences[count:]
        return taken

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._reader is not None:
            self._reader.close()
            self._batches = iter(())

    def _open(self) -> None:
        self._reader = reader = ArchiveReader(self._source.path, self._table)
        if not reader.is_of_table:
            raise Corrupt(reader.path, "has other columns than its table")
        groups = reader.groups
        if self._depth is not None:
            groups = [group for group in groups if group.may_have("depth", self._depth)]
        self._batches = reader.batches(groups)
        if self._table not in BOOK_TABLES and self._source.file.last_segment is None:
            self._batches = self._in_order(reader)

    def _in_order(self, reader: ArchiveReader) -> Iterator[pa.Table]:
        """A roll writes spans and gaps when they end. The few files that it concerns have few rows."""
        last = -1
        for rows in reader.batches(reader.groups, ["sequence"]):
            sequences = int64s(rows, "sequence")
            if last > sequences[0] or np.any(np.diff(sequences) < 0):
                break
            last = int(sequences[-1])
        else:
            return reader.batches(reader.groups)
        rows = pa.concat_tables(reader.batches(reader.groups)).unify_dictionaries()
        return iter([rows.take(np.argsort(int64s(rows, "sequence"), kind="stable"))])

    def _add(self, rows: pa.Table) -> None:
        self._seen(rows)
        sequences = int64s(rows, "sequence")
        if self._last > sequences[0] or np.any(np.diff(sequences) < 0):
            raise Corrupt(self._source.path, f"its rows are not in order behind sequence {self._last}")
        self._last = int(sequences[-1])
        self.rows = rows if self.rows is None else pa.concat_tables([self.rows, rows])
        self.sequences = np.concatenate([self.sequences, sequences])


def _merged(streams: list[_Stream], table: Table) -> Iterator[pa.Table]:
    waiting = sorted(
        (stream for stream in streams if not stream.is_done), key=lambda stream: stream.low, reverse=True
    )
    active: list[_Stream] = []
    while waiting or active:
        if not active:
            active.append(waiting.pop())
        # Below this bound nothing can come any more from what isn't read yet.
        bounds = [
            (int(stream.sequences[-1]) if len(stream.sequences) else -1, stream)
            for stream in active
            if not stream.is_done
        ]
        reading = min(bounds, key=lambda bound: bound[0], default=None)
        bound = None if reading is None else reading[0]
        if waiting and (bound is None or waiting[-1].low <= bound):
            bound, reading = waiting[-1].low, None
        pieces = [(stream, rows) for stream in active if (rows := stream.take(bound)) is not None]
        if pieces:
            yield _joined(pieces, table)
        active = [stream for stream in active if len(stream.sequences) or not stream.is_done]
        if reading is not None:
            reading[1].fill()
        elif bound is not None:
            active.append(waiting.pop())


def _joined(pieces: list[tuple[_Stream, pa.Table]], table: Table) -> pa.Table:
    """Rows of several files in the order that all of them have."""
    if len(pieces) == 1:
        return pieces[0][1]
    pieces.sort(key=lambda piece: piece[0].place)
    rows = pa.concat_tables([rows for _, rows in pieces]).unify_dictionaries().combine_chunks()
    keys: list[npt.NDArray[Any]] = [int64s(rows, "sequence")]
    if table in BOOK_TABLES:
        is_keyframe = pc.equal(rows.column("kind").cast(pa.string()), RowKind.KEYFRAME.value)
        digest = rows.column("digest")
        keys += [
            np.asarray(is_keyframe.to_numpy()),
            -int64s(rows, "price_exponent"),
            -int64s(rows, "size_exponent"),
            np.asarray(digest.is_valid().to_numpy()),
            np.asarray(digest.fill_null(pa.scalar(0, pa.uint64())).to_numpy()),
            int64s(rows, "line"),
        ]
    return rows.take(np.lexsort(keys[::-1]))
