"""The archive's Parquet files: where they lie, how they are encoded, and how they appear whole or not at all.

The bytes of a file depend on its rows alone: row groups are cut by count, never by when rows arrived.
"""

from __future__ import annotations

import contextlib
import threading
from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from engine.replay import Key
from engine.stored_rows import store
from recorder.encodings import profile
from recorder.grouped_file import GroupedFile
from recorder.row_ranges import BOOK_TABLES, Ranges, file_line
from recorder.row_scratch import Place, RowScratch
from recorder.whole_files import sync_directories
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.tables import schema_of

__all__ = [
    "MAX_WAITING_BYTES",
    "ArchiveFile",
    "Held",
    "date_of_day",
    "file_path",
    "sync_directory",
]

MAX_WAITING_BYTES = 24 << 20
"""Rows that wait for their row groups in memory, those of all files of a roll together."""
COLUMN_BYTES: Final = 1 << 10
"""What a column of a table takes besides its rows: half a dozen objects of Arrow and Python."""
MOST_OPEN = 16
"""So many files of a roll keep a writer and a descriptor between two of their row groups; the others rest."""
MOST_PIECES: Final = 512
"""So many pieces that a file has set aside become one: what says where they are is memory too."""


def date_of_day(day: int) -> str:
    """``YYYY-MM-DD`` of a count of UTC days since 1970-01-01."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def file_path(key: Key, category: str, collector: str, segment_ns: int) -> str:
    """Path of a segment's file relative to the archive; symbols are percent-encoded (design, "Archive")."""
    table, symbol, day = key
    return (
        f"{table.value}/category={category}/symbol={quote(symbol, safe='')}/date={date_of_day(day)}/"
        f"{collector}-{segment_ns}.parquet"
    )


class Held:
    """The rows of all files of a roll that wait for their row groups; bounded, however many files and rows there are.

    Args:
        archive: where what is too much is set aside.
        most_bytes: that may be held in memory.

    Attributes:
        bytes: that are held, with what the tables take besides their rows.
        peak_bytes: the most that were held at once.
        scratch: where the others are.
        is_crowded: there are so many files that rows are set aside as they come: hardly any would see their row group
            full before others need the room.
    """

    def __init__(self, archive: Path, most_bytes: int | None = None) -> None:
        self.most_bytes = MAX_WAITING_BYTES if most_bytes is None else most_bytes
        self.bytes = 0
        self.peak_bytes = 0
        self.scratch = RowScratch(archive)
        self.is_crowded = False
        self._files: list[ArchiveFile] = []
        self._open = 0
        self._lock = threading.Lock()

    def add(self, file: ArchiveFile) -> None:
        """Count a file's rows from here on."""
        self._files.append(file)

    def count(self, change: int) -> None:
        """So many bytes more, or fewer, are held. For any thread."""
        with self._lock:
            self.bytes += change
            self.peak_bytes = max(self.peak_bytes, self.bytes)

    def relieve(self) -> None:
        """Set rows aside if too many are held: the largest piles first, until half of what may be held is left.

        Nobody may be at work on a file meanwhile.
        """
        most_bytes = 0 if self.is_crowded else self.most_bytes
        if self.bytes <= most_bytes:
            return
        for file in sorted(self._files, key=lambda file: file.waiting_bytes, reverse=True):
            if self.bytes <= most_bytes // 2:
                break
            file.set_aside()

    def may_stay_open(self) -> bool:
        """Whether one more file may keep its writer between row groups. For any thread."""
        with self._lock:
            self._open += 1
            return self._open <= MOST_OPEN

    def close(self) -> None:
        """Give back what was set aside."""
        self.scratch.close()


class ArchiveFile:
    """One Parquet file being written beside its final name; it exists for nobody until ``finish``.

    Args:
        archive: root of the archive.
        key: table, symbol and day.
        category, collector, segment_ns: which segment it is rolled from.
        held: shared by the files of a roll; default: its own.

    Attributes:
        waiting_bytes: of rows in memory that wait for their row group.
    """

    def __init__(
        self,
        archive: Path,
        key: Key,
        category: str,
        collector: str,
        segment_ns: int,
        held: Held | None = None,
    ) -> None:
        self.table, self.symbol, self.day = key
        self.category, self.collector, self.segment_ns = category, collector, segment_ns
        self.relative = file_path(key, category, collector, segment_ns)
        self.path = archive / self.relative
        self._temporary = self.path.with_name(self.path.name + ".tmp")
        self._profile = profile("roll", self.table)
        self._held = Held(archive) if held is None else held
        self._held.add(self)
        self._aside = array("q")  # offset and length, of rows that come before those below
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_levels = 0
        self.waiting_bytes = 0
        self._file = GroupedFile(self._temporary, self.table, self._profile, self._held.scratch)
        self._rests: bool | None = None  # once there is a row group
        self._ranges = Ranges(self.table, self.symbol)
        self.rows = 0

    def append(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before."""
        while rows.num_rows:
            taken, levels = self._cut(rows)
            # a slice of all is as many objects again
            part = rows if taken == rows.num_rows else rows.slice(0, taken)
            rows = rows.slice(taken)
            self.rows += taken
            self._waiting_rows += taken
            self._waiting_levels += levels
            is_full = (
                self._waiting_rows >= self._profile.row_group_rows
                or self._waiting_levels >= self._profile.row_group_levels
            )
            if is_full:
                self._waiting.append(part)
                self._write()
                continue
            held_bytes = part.get_total_buffer_size()
            if not self._held.is_crowded and held_bytes > 2 * part.nbytes:
                part = _copied(part)
                held_bytes = part.get_total_buffer_size()
            self._waiting.append(part)
            self._wait(held_bytes + COLUMN_BYTES * part.num_columns)
            if self._held.is_crowded:
                self.set_aside()

    def set_aside(self) -> None:
        """Move the waiting rows from memory to the scratch file. Raises StoreError."""
        if self._waiting:
            if len(self._aside) >= 2 * MOST_PIECES:
                self._waiting = self._pieces()
                self._aside = array("q")
            self._aside.extend(self._held.scratch.put(pa.concat_tables(self._waiting)))
            self._waiting = []
        self._wait(-self.waiting_bytes)

    def finish(self, gaps: int) -> ManifestFile:
        """Write what is left, sync, take the final name, and describe the file for the manifest."""
        if self._waiting_rows or not self._file.is_begun:
            self._write(is_last=True)
        try:
            sha256 = self._file.finish()
            self._temporary.rename(self.path)
        except OSError as error:
            raise self._failure(error) from error
        return file_line(
            self._ranges,
            path=self.relative,
            table=self.table.value,
            category=self.category,
            symbol=self.symbol,
            date=date_of_day(self.day),
            collector=self.collector,
            segment=self.segment_ns,
            rows=self.rows,
            length=self._file.length,
            sha256=sha256,
            gaps=gaps,
        )

    def discard(self) -> None:
        """Leave nothing behind, as far as the disk lets us: what went wrong before is the news."""
        self.abandon()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Let go of the file as a kill would: what was written of it stays, under a name that counts for nobody."""
        self._file.abandon()

    def _wait(self, change: int) -> None:
        self.waiting_bytes += change
        self._held.count(change)

    def _cut(self, rows: pa.Table) -> tuple[int, int]:
        """How many of these rows the row group takes that is being collected, and their levels of both sides."""
        most = min(rows.num_rows, self._profile.row_group_rows - self._waiting_rows)
        if self.table not in BOOK_TABLES:
            return most, 0
        ends = _list_ends(rows, "bid_price_mantissa")[:most] + _list_ends(rows, "ask_price_mantissa")[:most]
        taken = min(
            most, int(np.searchsorted(ends, self._profile.row_group_levels - self._waiting_levels)) + 1
        )
        return taken, int(ends[taken - 1])

    def _write(self, *, is_last: bool = False) -> None:
        parts = self._pieces()
        # one chunk a column, so that how rows arrived leaves no trace in the encoding
        rows = _joined(parts, but=self._profile.own) if parts else schema_of(self.table).empty_table()
        parts.clear()
        self._waiting = []
        self._aside = array("q")
        self._waiting_rows = self._waiting_levels = 0
        self._wait(-self.waiting_bytes)
        self._ranges.note(rows)
        rows = store(self.table, rows)
        if self._rests is None and not is_last:
            self._rests = not self._held.may_stay_open()
        try:
            self._file.write(rows, resting=bool(self._rests) and not is_last)
        except OSError as error:
            raise self._failure(error) from error

    def _pieces(self) -> list[pa.Table]:
        """The rows that wait, in their order, as they lie."""
        numbers = iter(self._aside)
        aside = map(Place._make, zip(numbers, numbers, strict=True))
        return [*map(self._held.scratch.get, aside), *self._waiting]

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: could not be written: {error}; the journal still has everything: "
            "free space or mend the disk, then `tapebook roll` again"
        )


def _joined(parts: list[pa.Table], *, but: tuple[str, ...]) -> pa.Table:
    """Rows one after the other, each column in one piece; but for those that are written as they lie."""
    rows = pa.concat_tables(parts)
    if not but:
        return rows.combine_chunks()
    columns = [
        column if name in but else column.combine_chunks()
        for name, column in zip(rows.schema.names, rows.itercolumns(), strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=rows.schema)


def _copied(rows: pa.Table) -> pa.Table:
    """Rows in memory of their own: a few of many would keep the memory of all."""
    return pa.concat_tables([rows, rows.slice(0, 0)]).combine_chunks()


def _list_ends(rows: pa.Table, name: str) -> np.ndarray[Any, Any]:
    """Where each row's list ends, counted from the first value of the first row."""
    column = rows.column(name).combine_chunks()
    lists = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    offsets = np.frombuffer(lists.buffers()[1], np.int32, len(lists) + 1, lists.offset * 4).astype(np.int64)
    ends: np.ndarray[Any, Any] = offsets[1:] - offsets[0]
    return ends


def sync_directory(path: Path) -> None:
    """Make renames in a directory last. Raises StoreError."""
    try:
        sync_directories(path)
    except OSError as error:
        raise StoreError(f"{path}: could not be synced: {error}; mend the disk, then try again") from error
