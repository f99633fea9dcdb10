"""The archive's Parquet files: where they lie, how they are encoded, and how they appear whole or not at all.

The bytes of a file depend on its rows alone: row groups are cut by count, never by when rows arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.replay import Key
from engine.stored_rows import store
from recorder.encodings import open_writer, profile
from recorder.row_ranges import BOOK_TABLES, Ranges, receive_range
from recorder.row_scratch import Place, RowScratch
from recorder.version import SOFTWARE
from recorder.whole_files import sync_directories
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.tables import SCHEMA_VERSION, schema_of

__all__ = [
    "MAX_WAITING_BYTES",
    "ArchiveFile",
    "HashedFile",
    "Held",
    "date_of_day",
    "file_path",
    "sync_directory",
]

MAX_WAITING_BYTES = 24 << 20
"""Rows that wait for their row groups in memory, those of all files of a roll together."""
BUFFER_BYTES = 64 << 10
"""Parquet writes page by page; the file is written and hashed in pieces of this size."""


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
        bytes: that are held.
        peak_bytes: the most that were held at once.
        scratch: where the others are.
    """

    def __init__(self, archive: Path, most_bytes: int | None = None) -> None:
        self.most_bytes = MAX_WAITING_BYTES if most_bytes is None else most_bytes
        self.bytes = 0
        self.peak_bytes = 0
        self.scratch = RowScratch(archive)
        self._files: list[ArchiveFile] = []
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
        if self.bytes <= self.most_bytes:
            return
        for file in sorted(self._files, key=lambda file: file.waiting_bytes, reverse=True):
            if self.bytes <= self.most_bytes // 2:
                break
            file.set_aside()

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
        self._waiting: list[pa.Table | Place] = []
        self._waiting_rows = self._waiting_levels = 0
        self.waiting_bytes = 0
        self._file: HashedFile | None = None
        self._sink: Any = None
        self._writer: pq.ParquetWriter | None = None
        self._ranges = Ranges(self.table, self.symbol)
        self.rows = 0

    def append(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before."""
        while rows.num_rows:
            taken, levels = self._cut(rows)
            part = rows.slice(0, taken)
            rows = rows.slice(taken)
            self.rows += taken
            self._waiting_rows += taken
            self._waiting_levels += levels
            is_full = (
                self._waiting_rows >= self._profile.row_group_rows
                or self._waiting_levels >= self._profile.row_group_levels
            )
            if not is_full and part.get_total_buffer_size() > 2 * part.nbytes:
                part = _copied(part)
            self._waiting.append(part)
            if is_full:
                self._write()
            else:
                self._wait(part.get_total_buffer_size())

    def set_aside(self) -> None:
        """Move the waiting rows from memory to the scratch file. Raises StoreError."""
        tables = [part for part in self._waiting if isinstance(part, pa.Table)]
        if tables:
            earlier = [part for part in self._waiting if isinstance(part, Place)]
            self._waiting = [*earlier, self._held.scratch.put(pa.concat_tables(tables))]
        self._wait(-self.waiting_bytes)

    def finish(self, gaps: int) -> ManifestFile:
        """Write what is left, sync, take the final name, and describe the file for the manifest."""
        if self._waiting or self._writer is None:
            self._write()
        assert self._writer is not None
        assert self._file is not None
        try:
            self._writer.close()
            self._writer = None
            self._sink.flush()
            sha256 = self._file.finish()
            self._sink = None
            self._temporary.rename(self.path)
        except OSError as error:
            raise self._failure(error) from error
        ranges = self._ranges
        return ManifestFile(
            path=self.relative,
            table=self.table.value,
            category=self.category,
            symbol=self.symbol,
            date=date_of_day(self.day),
            collector=self.collector,
            segment=self.segment_ns,
            rows=self.rows,
            bytes=self._file.length,
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

    def discard(self) -> None:
        """Leave nothing behind, as far as the disk lets us: what went wrong before is the news."""
        self.abandon()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Let go of the file as a kill would: what was written of it stays, under a name that counts for nobody."""
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        with contextlib.suppress(OSError):
            if self._sink is not None:
                self._sink.close()  # else it writes what it holds to a closed file, and says so, when it is collected
        self._writer = self._sink = None
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

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

    def _write(self) -> None:
        parts = [self._held.scratch.get(part) if isinstance(part, Place) else part for part in self._waiting]
        # one chunk a column, so that how rows arrived leaves no trace in the encoding
        rows = (
            _joined(parts, but_lists=self._profile.lists_apart)
            if parts
            else schema_of(self.table).empty_table()
        )
        parts.clear()
        self._waiting = []
        self._waiting_rows = self._waiting_levels = 0
        self._wait(-self.waiting_bytes)
        self._ranges.note(rows)
        rows = store(self.table, rows)
        try:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = HashedFile(self._temporary)
                self._sink = pa.BufferedOutputStream(pa.PythonFile(self._file, "w"), BUFFER_BYTES)
                self._writer = open_writer(self._sink, self.table, self._profile)
            self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: could not be written: {error}; the journal still has everything: "
            "free space or mend the disk, then `tapebook roll` again"
        )


def _joined(parts: list[pa.Table], *, but_lists: bool) -> pa.Table:
    """Rows one after the other, each column in one piece; but for lists where these are written as they lie."""
    rows = pa.concat_tables(parts)
    if not but_lists:
        return rows.combine_chunks()
    columns = [
        column if pa.types.is_list(column.type) else column.combine_chunks() for column in rows.itercolumns()
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


class HashedFile:
    """A file that is written from front to end, hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 (closed by whoever closes this)
        self._sha256 = hashlib.sha256()
        self.length = 0
        self.closed = False

    def write(self, content: Any) -> int:
        """Append bytes."""
        self._sha256.update(content)
        left = memoryview(content)
        while left:
            left = left[self._file.write(left) :]
        self.length += len(content)
        return len(content)

    def tell(self) -> int:
        """Where the next bytes go."""
        return self.length

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Let go of it, as it is."""
        self.closed = True
        self._file.close()

    def finish(self) -> str:
        """Make it last, close it, and return its sha256."""
        os.fsync(self._file.fileno())
        self.close()
        return self._sha256.hexdigest()


def sync_directory(path: Path) -> None:
    """Make renames in a directory last. Raises StoreError."""
    try:
        sync_directories(path)
    except OSError as error:
        raise StoreError(f"{path}: could not be synced: {error}; mend the disk, then try again") from error
