"""A merged Parquet file being written: row groups that make time-range reads touch little, and its manifest line.

Its bytes depend on its rows alone: row groups are cut by what is in them, never by when rows arrived, and text columns
are encoded anew in the order in which values come. Its name carries the hash of its bytes, so that a file that is
merged again never takes the place of one that a reader may have open.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.stored_rows import store
from recorder.encodings import open_writer, profile
from recorder.hashed_file import HashedFile
from recorder.row_ranges import BOOK_TABLES, Ranges, RunRanges, file_line
from schemas.errors import StoreError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["MergedFile"]

LEVEL_BYTES: Final = 16
"""Of a price and a size: texts and payloads count as so many levels of a row group as they take the room of."""


class MergedFile:
    """One file being written under a temporary name; it exists for nobody until ``finish``.

    Args:
        archive: root of the archive.
        inputs: the manifest lines of the files that are merged, all of one collector, table, symbol and date.
        segments: the collector's committed segments; they say which run a row belongs to.
    """

    def __init__(
        self, archive: Path, inputs: Sequence[ManifestFile], segments: Sequence[ManifestSegment]
    ) -> None:
        self._like = min(inputs, key=lambda file: file.segment)
        self._last_segment = max(file.last_segment or file.segment for file in inputs)
        self._gaps = sum(file.gaps for file in inputs)
        self.table = Table(self._like.table)
        self._schema = schema_of(self.table)
        self._profile = profile("compact", self.table)
        self._directory = (archive / self._like.path).parent
        self._temporary = self._directory / f"{self._like.collector}-merged.parquet.tmp"
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._depth: int | None = None
        self._file: HashedFile | None = None
        self._writer: pq.ParquetWriter | None = None
        self._ranges = Ranges(self.table, self._like.symbol)
        self._runs = RunRanges(self.table, self._like.symbol, segments)
        self.rows = 0

    @property
    def path(self) -> Path:
        """Where the rows are until ``finish``."""
        return self._temporary

    def append(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before, none of them of another depth than the rest."""
        if self.table in BOOK_TABLES:
            depth = rows.column("depth")[0].as_py()
            if depth != self._depth:
                self._write()
                self._depth = depth
        self._ranges.note(rows)
        self._runs.note(rows)
        self.rows += rows.num_rows
        most_rows = self._profile.row_group_rows
        most_bytes = self._profile.row_group_levels * LEVEL_BYTES
        weights = np.cumsum(_weights(rows))
        while rows.num_rows:
            reaching = int(np.searchsorted(weights, most_bytes - self._pending_bytes, "left")) + 1
            count = min(most_rows - self._pending_rows, reaching, rows.num_rows)
            self._pending.append(rows.slice(0, count))
            self._pending_rows += count
            self._pending_bytes += int(weights[count - 1])
            rows, weights = rows.slice(count), weights[count:] - weights[count - 1]
            if self._pending_rows == most_rows or self._pending_bytes >= most_bytes:
                self._write()

    def close(self) -> None:
        """Write what is left. The rows can be read at ``path`` then."""
        try:
            self._write()
            if self._writer is None:
                self._open()
            assert self._writer is not None
            self._writer.close()
            self._writer = None
            assert self._file is not None
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def finish(self) -> ManifestFile:
        """Sync, take the final name, and describe the file for the manifest."""
        assert self._file is not None
        like = self._like
        try:
            digest = self._file.finish()
            name = f"{like.collector}-{like.segment}-{self._last_segment}-{digest[:12]}.parquet"
            self._temporary.rename(self._directory / name)
        except OSError as error:
            raise self._failure(error) from error
        return file_line(
            self._ranges,
            path=f"{like.path.rpartition('/')[0]}/{name}",
            table=like.table,
            category=like.category,
            symbol=like.symbol,
            date=like.date,
            collector=like.collector,
            segment=like.segment,
            last_segment=self._last_segment,
            runs=self._runs.runs(),
            rows=self.rows,
            length=self._file.length,
            sha256=digest,
            gaps=self._gaps,
        )

    def discard(self) -> None:
        """Leave nothing behind, as far as the disk lets us."""
        self.abandon()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Let go of the file as a kill would: what was written of it stays, under a name that counts for nobody."""
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file = HashedFile(self._temporary)
        self._writer = open_writer(self._file, self.table, self._profile)

    def _write(self) -> None:
        if not self._pending:
            return
        rows = pa.concat_tables(self._pending)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        columns = [
            _encoded(rows.column(field.name), field.type)
            if pa.types.is_dictionary(field.type)
            else rows.column(field.name)
            for field in self._schema
        ]
        table = pa.Table.from_arrays(columns, schema=self._schema).combine_chunks()
        try:
            if self._writer is None:
                self._open()
            assert self._writer is not None
            self._writer.write_table(store(self.table, table), row_group_size=table.num_rows)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._directory}: a merged file could not be written: {error}; nothing was taken away: "
            "free space or mend the disk, then `tapebook compact` again"
        )


def _encoded(column: Any, type_: Any) -> Any:
    """A text column with a dictionary of its own values, in the order in which they come."""
    return column.cast(type_.value_type).combine_chunks().dictionary_encode().cast(type_)


def _weights(rows: pa.Table) -> npt.NDArray[np.int64]:
    """Bytes of each row that differ from row to row: levels, texts, payloads."""
    total = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        if pa.types.is_list(column.type):
            total += 8 * pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
        elif pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            total += pc.binary_length(column).fill_null(0).to_numpy().astype(np.int64)
    return total
