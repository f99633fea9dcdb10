"""Parquet files of books and trades, as roll writes them: pyarrow writes all columns but some of whole numbers.

Parquet keeps two levels beside each value of a list, and pyarrow works them out for each column anew, value by value:
that was half of what writing a book cost. Here a list that is there, of numbers that are there, is written from its
offsets (``engine.core.pages``), and so are clocks and ids: one page of each column in each row group, as differences
that take the bits they need, which compressing would hardly make less. All else of the file is pyarrow's own: these
chunks lie behind the others of their row group, and the footer is put together from pyarrow's. The files are Parquet
like any other (tests/recorder/test_encodings.py asks several readers).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.core.pages import bit_runs, list_levels, pack_deltas
from recorder import thrift
from recorder.thrift import BINARY, I32, I64, LIST, STRUCT, TRUE, Struct

__all__ = ["NumberWriter", "pass_over"]

Column = np.ndarray[Any, Any]
Levels = tuple[int, bytes, bytes]
"""How many levels, repetition levels, definition levels."""
Ends = tuple[int, ...]
"""Least and greatest value, or nothing where there is none."""

# of parquet.thrift
_PAGE_TYPE, _UNCOMPRESSED, _COMPRESSED, _PAGE_HEADER_V2 = 1, 2, 3, 8
_SCHEMA, _ROW_GROUPS, _COLUMN_ORDERS = 2, 4, 7
_COLUMNS, _GROUP_BYTES, _GROUP_COMPRESSED = 1, 2, 6
_DATA_PAGE_V2: Final = 3
_INT64: Final = 2
_RLE: Final = 3
_DELTA_BINARY_PACKED: Final = 5
_NOT_COMPRESSED: Final = 0
_GROUPS_DEEP: Final = 2
"""Row groups are taken apart; what is said of each column, or of the schema's elements, stays as it is."""
_TAIL: Final = 8
"""The length of the footer and ``PAR1``."""
_MAGIC: Final = b"PAR1"
_NOTHING: Final = bytes(64 << 10)


class NumberWriter:
    """In place of a ``ParquetWriter``.

    Args:
        where: a path, or a file object that tells where it is.
        schema: of the rows.
        how: keyword arguments of ``ParquetWriter``, which the other columns are written by.
        own: the columns that are written here: int64, clocks, and lists of int64 in which nothing is null.
        at: as ``pass_over`` has it.
    """

    def __init__(
        self, where: Any, schema: pa.Schema, how: dict[str, Any], own: Sequence[str], at: int = 0
    ) -> None:
        self._schema = schema
        self._columns = {name: schema.field(name) for name in own}
        self._searched = frozenset(how["write_statistics"])
        self._own = pa.OSFile(os.fspath(where), "wb") if isinstance(where, str | os.PathLike) else None
        self._sink = _Sink(where if self._own is None else self._own)
        self._chunks: list[list[Struct]] = []
        flat = pa.schema([field for field in schema if field.name not in self._columns])
        # pyarrow counts what goes through it, so everything has to
        self._out = pa.PythonFile(self._sink, "w")
        self._writer = pq.ParquetWriter(self._out, flat, **_without(how, own))
        pass_over(self._out, at)
        self.is_open = True
        self._is_whole = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_key_value_metadata(self, entries: dict[str, str]) -> None:
        """Say something of the file."""
        self._writer.add_key_value_metadata(entries)

    def write_table(self, rows: pa.Table, row_group_size: int | None = None) -> None:
        """Write rows as one row group; nothing, if there are none. The columns written here may come in several chunks.

        Raises:
            ValueError: a list or a number in it is null, or ``row_group_size`` would make several row groups.
            OSError: the file can't be written.
        """
        if not rows.num_rows:
            return
        if row_group_size is not None and row_group_size < rows.num_rows:
            raise ValueError(
                f"found {rows.num_rows} rows, expected at most {row_group_size} of one row group"
            )
        self._is_whole = False
        self._writer.write_table(rows.drop_columns(list(self._columns)), row_group_size=rows.num_rows)
        known: list[tuple[Column, Levels]] = []
        chunks = []
        for name, field in self._columns.items():
            column = rows.column(name)
            if pa.types.is_list(field.type):
                offsets, values = _lists(name, column)
                # the lists of a side are of the same lengths: of prices, sizes, sizes of RPI orders
                levels = next((levels for seen, levels in known if np.array_equal(seen, offsets)), None)
                if levels is None:
                    levels = list_levels(offsets)
                    known.append((offsets, levels))
                path, ends = [name, "list", "element"], None
            else:
                levels, values = _numbers(name, column, nullable=field.nullable)
                path, ends = [name], _ends(values) if name in self._searched else None
            chunks.append(self._write_chunk(path, rows.num_rows, levels, values, ends))
        self._chunks.append(chunks)
        self._is_whole = True

    def close(self) -> None:
        """Write the footer, unless a row group is not whole. Raises OSError; closing again does nothing."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self._sink.catch()
            self._writer.close()
            if self._is_whole:
                self._sink.write_on(
                    _footer(self._sink.caught(), self._schema, list(self._columns), self._chunks)
                )
        finally:
            if self._own is not None:
                self._own.close()

    def _write_chunk(
        self, path: list[str], rows: int, levels: Levels, values: list[Column], ends: Ends | None
    ) -> Struct:
        """One page; returns what the footer says of it."""
        count, repetition, definition = levels
        packed = pack_deltas(values)
        nulls = count - sum(map(len, values))
        length = len(repetition) + len(definition) + len(packed)
        header = thrift.encode(
            {
                _PAGE_TYPE: (I32, _DATA_PAGE_V2),
                _UNCOMPRESSED: (I32, length),
                _COMPRESSED: (I32, length),
                _PAGE_HEADER_V2: (
                    STRUCT,
                    {
                        1: (I32, count),
                        2: (I32, nulls),
                        3: (I32, rows),
                        4: (I32, _DELTA_BINARY_PACKED),
                        5: (I32, len(definition)),
                        6: (I32, len(repetition)),
                        7: (TRUE, False),  # it isn't compressed
                    },
                ),
            }
        )
        at = self._out.tell()
        self._out.write(b"".join((header, repetition, definition, packed)))
        told = {
            1: (I32, _INT64),
            2: (LIST, (I32, [_RLE, _DELTA_BINARY_PACKED])),
            3: (LIST, (BINARY, [part.encode() for part in path])),
            4: (I32, _NOT_COMPRESSED),
            5: (I64, count),
            6: (I64, len(header) + length),
            7: (I64, len(header) + length),
            9: (I64, at),
            13: (LIST, (STRUCT, [{1: (I32, _DATA_PAGE_V2), 2: (I32, _DELTA_BINARY_PACKED), 3: (I32, 1)}])),
        }
        if ends is not None:
            bounds = (end.to_bytes(8, "little", signed=True) for end in ends)
            # 5 is the greatest, 6 the least
            found = {field: (BINARY, bound) for field, bound in zip((6, 5), bounds, strict=False)}
            told[12] = (STRUCT, {3: (I64, nulls), **found})
        # 2: where its metadata lies beside the footer: nowhere
        return {2: (I64, 0), 3: (STRUCT, told)}


def pass_over(out: Any, at: int) -> None:
    """Let a writer go on ``at`` a place behind a file's start, while ``out`` leaves out as much: it has just written
    ``PAR1``, as every file begins, and counts what goes through ``out``."""
    left = at - len(_MAGIC)
    while left > 0:
        out.write(_NOTHING[:left])
        left -= len(_NOTHING)


class _Sink:
    """The file, for pyarrow; what comes at the end is caught, since that is the footer."""

    closed = False

    def __init__(self, file: Any) -> None:
        self._file = file
        self._caught: list[bytes] | None = None

    def write(self, content: Any) -> int:
        if self._caught is None:
            self._file.write(content)
        else:
            self._caught.append(bytes(content))
        return len(content)

    def write_on(self, content: bytes) -> None:
        """Write to the file, whatever is being caught."""
        self._file.write(content)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file is its owner's."""

    def catch(self) -> None:
        self._caught = []

    def caught(self) -> bytes:
        return b"".join(self._caught or ())


def _without(how: dict[str, Any], own: Sequence[str]) -> dict[str, Any]:
    """What is said of the other columns."""
    leaves = {*own, *(f"{name}.list.element" for name in own)}
    out = dict(how)
    out["use_dictionary"] = [leaf for leaf in how["use_dictionary"] if leaf not in leaves]
    out["write_statistics"] = [leaf for leaf in how["write_statistics"] if leaf not in leaves]
    encodings = {leaf: name for leaf, name in (how["column_encoding"] or {}).items() if leaf not in leaves}
    out["column_encoding"] = encodings or None
    return out


def _lists(name: str, column: pa.ChunkedArray) -> tuple[Column, list[Column]]:
    """Offsets and values of lists, these as they lie in the chunks."""
    ends, values = [np.zeros(1, np.int32)], []
    for lists in column.chunks:
        if lists.null_count or lists.values.null_count:
            raise ValueError(f"{name}: found nulls, expected lists of numbers")
        offsets = np.frombuffer(lists.buffers()[1], np.int32, len(lists) + 1, lists.offset * 4)
        first, last = int(offsets[0]), int(offsets[-1])
        ends.append(offsets[1:] + (int(ends[-1][-1]) - first))
        values.append(lists.values.slice(first, last - first).to_numpy(zero_copy_only=True))
    return np.concatenate(ends), values


def _numbers(name: str, column: pa.ChunkedArray, *, nullable: bool) -> tuple[Levels, list[Column]]:
    """Levels of numbers, and those that are there, as they lie in the chunks."""
    count = len(column)
    if column.null_count and not nullable:
        raise ValueError(f"{name}: found nulls, expected numbers")
    values = []
    for chunk in column.chunks:
        numbers = np.frombuffer(chunk.buffers()[1], np.int64, len(chunk), chunk.offset * 8)
        values.append(numbers[np.asarray(chunk.is_valid())] if chunk.null_count else numbers)
    if not nullable:
        return (count, b"", b""), values
    if column.null_count:
        bits = np.packbits(np.asarray(column.is_valid()), bitorder="little")
    else:
        bits = np.full(count // 8 + 1, 0xFF, np.uint8)
    return (count, b"", bit_runs(bits, count)), values


def _ends(values: list[Column]) -> Ends:
    parts = [part for part in values if len(part)]
    return (min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)) if parts else ()


def _read_footer(content: bytes) -> Struct:
    length = int.from_bytes(content[-_TAIL:-4], "little")
    footer, end = thrift.decode(content[-_TAIL - length : -_TAIL], _GROUPS_DEEP)
    if end != length or content[-4:] != _MAGIC:
        raise ValueError("found no footer where pyarrow writes one")
    return footer


@cache
def _of_no_rows(schema: pa.Schema) -> Struct:
    """The footer of an empty file of all columns, for what it says of them."""
    out = pa.BufferOutputStream()
    pq.ParquetWriter(out, schema, store_schema=False, version="2.6").close()
    return _read_footer(out.getvalue().to_pybytes())


def _footer(written: bytes, schema: pa.Schema, own: list[str], chunks: list[list[Struct]]) -> bytes:
    """The end of the file: what pyarrow said of the other columns, and these chunks among them."""
    footer, whole = _read_footer(written), _of_no_rows(schema)
    footer[_SCHEMA], footer[_COLUMN_ORDERS] = whole[_SCHEMA], whole[_COLUMN_ORDERS]
    groups = footer[_ROW_GROUPS][1][1]
    if len(groups) != len(chunks):
        raise ValueError(f"found {len(groups)} row groups, expected {len(chunks)}")
    for group, ours in zip(groups, chunks, strict=True):
        theirs, added = iter(group[_COLUMNS][1][1]), dict(zip(own, ours, strict=True))
        columns = [added[name] if name in added else next(theirs) for name in schema.names]
        group[_COLUMNS] = (LIST, (STRUCT, columns))
        for total, part in ((_GROUP_BYTES, 6), (_GROUP_COMPRESSED, 7)):
            group[total] = (I64, group[total][1] + sum(chunk[3][1][part][1] for chunk in ours))
    content = thrift.encode(footer)
    return content + len(content).to_bytes(4, "little") + _MAGIC
