"""The row groups of an archive file: what their statistics say, and their rows, a bounded batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from engine.stored_rows import holds, restore
from recorder.file_places import FilePlace, not_there, parquet_source
from schemas.errors import Corrupt
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["ArchiveReader", "RowGroup", "int64s"]

BATCH_BYTES: Final = 8 << 20
"""About how much of a row group's encoded data is decoded at a time."""
LEAST_BATCH_ROWS: Final = 64
MOST_BATCH_ROWS: Final = 16_384
_UNREADABLE: Final = (OSError, pa.ArrowException, ValueError, KeyError)
"""What reading a damaged file ends in: over a name that is no text a ValueError, over another name a KeyError."""


class RowGroup(NamedTuple):
    """One row group as the file's footer describes it.

    Attributes:
        number: from 0 in its file.
        first_row: index of its first row in the file.
        rows: how many it has.
        bytes: of its data, encoded but not compressed.
        spans: lowest and highest by column, as the integers that are stored; columns without statistics (all values
            null, lists) are missing.
    """

    number: int
    first_row: int
    rows: int
    bytes: int
    spans: dict[str, tuple[int, int]]

    def may_have(self, column: str, value: int) -> bool:
        """Whether a row with this value of the column can be in it."""
        span = self.spans.get(column)
        return span is None or span[0] <= value <= span[1]


class ArchiveReader:
    """An open Parquet file of the archive; a context manager.

    Args:
        path: where it is.
        table: whose rows it is meant to hold; they are given back in that table's columns, whatever is in the file.
        columns: those whose statistics are wanted.

    Attributes:
        path: where it is.
        is_of_table: whether it has the columns of the table, in the form of any schema version.
        groups: its row groups.

    Raises:
        StoreError: it is not there.
        Corrupt: it cannot be read as Parquet.
    """

    def __init__(self, path: FilePlace, table: Table, columns: Sequence[str] = ("sequence", "depth")) -> None:
        self.path = path
        self._table = table
        try:
            self._file = pq.ParquetFile(
                parquet_source(path), read_dictionary=_names(table), page_checksum_verification=True
            )
            self.is_of_table = holds(table, self._file.schema_arrow)
            self.groups = _groups(self._file.metadata, columns)
        except FileNotFoundError as error:
            raise not_there(path) from error
        except _UNREADABLE as error:
            raise Corrupt(path, f"it cannot be read as Parquet: {error}") from error

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def group(self, group: RowGroup, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a row group."""
        try:
            rows = self._file.read_row_group(group.number, columns=columns, use_threads=False)
            return restore(self._table, rows)
        except _UNREADABLE as error:
            raise Corrupt(self.path, f"its rows cannot be read: {error}") from error

    def batches(self, groups: Sequence[RowGroup], columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of row groups in bounded pieces, which never reach over a group's end."""
        try:
            for group in groups:
                rows = int(BATCH_BYTES * group.rows / max(group.bytes, 1))
                for batch in self._file.iter_batches(
                    batch_size=min(max(rows, LEAST_BATCH_ROWS), MOST_BATCH_ROWS),
                    row_groups=[group.number],
                    columns=columns,
                    use_threads=False,
                ):
                    yield restore(self._table, pa.Table.from_batches([batch]))
        except _UNREADABLE as error:
            raise Corrupt(self.path, f"its rows cannot be read: {error}") from error


@cache
def _names(table: Table) -> list[str]:
    """Columns that come as they lie, as dictionaries, which is cheaper than as texts."""
    return [field.name for field in schema_of(table) if pa.types.is_dictionary(field.type)]


def int64s(rows: pa.Table, column: str) -> npt.NDArray[np.int64]:
    """Return a column of integers or times without nulls as they are stored."""
    return np.asarray(rows.column(column).cast(pa.int64()).to_numpy(), dtype=np.int64)


def _groups(metadata: Any, columns: Sequence[str]) -> list[RowGroup]:
    wanted = {
        metadata.schema.column(index).path: index
        for index in range(metadata.num_columns)
        if metadata.schema.column(index).path in columns
    }
    groups = []
    first_row = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        spans = {}
        for name, index in wanted.items():
            chunk, expected = group.column(index), metadata.schema.column(index).physical_type
            if chunk.physical_type != expected:  # pyarrow ends the process over its statistics
                raise pa.ArrowInvalid(
                    f"{name} is {chunk.physical_type} in a row group, {expected} in the schema"
                )
            statistics = chunk.statistics
            if statistics is not None and statistics.has_min_max:
                spans[name] = int(statistics.min_raw), int(statistics.max_raw)
        groups.append(RowGroup(number, first_row, group.num_rows, group.total_byte_size, spans))
        first_row += group.num_rows
    return groups
