"""Parquet files of books, as roll writes them: pyarrow writes all columns but the lists of levels, this writes those.

Parquet keeps two levels beside each value of a list, and pyarrow works them out for each column anew, value by value:
that was half of what writing a book cost. Here a list that is there, of numbers that are there, is written from its
offsets (``engine.core.pages``): one page of each column in each row group, split by bytes and compressed. All else of
the file is pyarrow's own: these chunks lie behind the others of their row group, and the footer is put together from
pyarrow's. The files are Parquet like any other (tests/recorder/test_encodings.py asks several readers).
"""

from __future__ import annotations

import os
from functools import cache
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.core.pages import list_levels, split_bytes
from recorder import thrift
from recorder.thrift import BINARY, I32, I64, LIST, STRUCT, TRUE, Struct

__all__ = ["ListWriter", "pass_over"]

Column = np.ndarray[Any, Any]
Levels = tuple[int, bytes, bytes]
"""How many levels, repetition levels, definition levels."""

# of parquet.thrift
_PAGE_TYPE, _UNCOMPRESSED, _COMPRESSED, _PAGE_HEADER_V2 = 1, 2, 3, 8
_SCHEMA, _ROW_GROUPS, _COLUMN_ORDERS = 2, 4, 7
_COLUMNS, _GROUP_BYTES, _GROUP_COMPRESSED = 1, 2, 6
_DATA_PAGE_V2: Final = 3
_INT64: Final = 2
_RLE: Final = 3
_BYTE_STREAM_SPLIT: Final = 9
_CODECS: Final = {"zstd": ("zstd", 6), "lz4": ("lz4_raw", 7)}
"""By pyarrow's name: of the codec, and the number in the format."""
_GROUPS_DEEP: Final = 2
"""Row groups are taken apart; what is said of each column, or of the schema's elements, stays as it is."""
_TAIL: Final = 8
"""The length of the footer and ``PAR1``."""
_MAGIC: Final = b"PAR1"
_NOTHING: Final = bytes(64 << 10)


class ListWriter:
    """In place of a ``ParquetWriter``, for tables with lists of int64 in which nothing is null.

    Args:
        where: a path, or a file object that tells where it is.
        schema: of the rows.
        how: keyword arguments of ``ParquetWriter``; ``compression`` is lz4 or zstd.
        at: as ``pass_over`` has it.
    """

    def __init__(self, where: Any, schema: pa.Schema, how: dict[str, Any], at: int = 0) -> None:
        self._schema = schema
        self._lists = [field.name for field in schema if pa.types.is_list(field.type)]
        self._own = pa.OSFile(os.fspath(where), "wb") if isinstance(where, str | os.PathLike) else None
        self._sink = _Sink(where if self._own is None else self._own)
        name, self._codec_number = _CODECS[how["compression"]]
        self._codec = pa.Codec(name, compression_level=how.get("compression_level"))
        self._chunks: list[list[Struct]] = []
        flat = pa.schema([field for field in schema if field.name not in self._lists])
        # pyarrow counts what goes through it, so everything has to
        self._out = pa.PythonFile(self._sink, "w")
        self._writer = pq.ParquetWriter(self._out, flat, **_without(how, self._lists))
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
        """Write rows as one row group; nothing, if there are none. Lists may come in several chunks.

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
        self._writer.write_table(rows.drop_columns(self._lists), row_group_size=rows.num_rows)
        known: list[tuple[Column, Levels]] = []
        chunks = []
        for name in self._lists:
            offsets, values = _parts(name, rows.column(name))
            # the lists of a side are of the same lengths: of prices, sizes, sizes of RPI orders
            levels = next((levels for seen, levels in known if np.array_equal(seen, offsets)), None)
            if levels is None:
                levels = list_levels(offsets)
                known.append((offsets, levels))
            chunks.append(self._write_chunk(name, rows.num_rows, levels, values))
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
                self._sink.write_on(_footer(self._sink.caught(), self._schema, self._lists, self._chunks))
        finally:
            if self._own is not None:
                self._own.close()

    def _write_chunk(self, name: str, rows: int, levels: Levels, values: list[Column]) -> Struct:
        """One page; returns what the footer says of it."""
        count, repetition, definition = levels
        split = split_bytes(values)
        packed = self._codec.compress(split, asbytes=True) if split else b""
        told = len(repetition) + len(definition)
        header = thrift.encode(
            {
                _PAGE_TYPE: (I32, _DATA_PAGE_V2),
                _UNCOMPRESSED: (I32, told + len(split)),
                _COMPRESSED: (I32, told + len(packed)),
                _PAGE_HEADER_V2: (
                    STRUCT,
                    {
                        1: (I32, count),
                        2: (I32, count - len(split) // 8),
                        3: (I32, rows),
                        4: (I32, _BYTE_STREAM_SPLIT),
                        5: (I32, len(definition)),
                        6: (I32, len(repetition)),
                        7: (TRUE, len(split) > 0),
                    },
                ),
            }
        )
        at = self._out.tell()
        self._out.write(b"".join((header, repetition, definition, packed)))
        return {
            2: (I64, 0),  # where its metadata lies beside the footer: nowhere
            3: (
                STRUCT,
                {
                    1: (I32, _INT64),
                    2: (LIST, (I32, [_RLE, _BYTE_STREAM_SPLIT])),
                    3: (LIST, (BINARY, [name.encode(), b"list", b"element"])),
                    4: (I32, self._codec_number),
                    5: (I64, count),
                    6: (I64, len(header) + told + len(split)),
                    7: (I64, len(header) + told + len(packed)),
                    9: (I64, at),
                    13: (
                        LIST,
                        (STRUCT, [{1: (I32, _DATA_PAGE_V2), 2: (I32, _BYTE_STREAM_SPLIT), 3: (I32, 1)}]),
                    ),
                },
            ),
        }


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


def _without(how: dict[str, Any], lists: list[str]) -> dict[str, Any]:
    """What is said of the other columns."""
    leaves = {f"{name}.list.element" for name in lists}
    out = dict(how)
    out["use_dictionary"] = [leaf for leaf in how["use_dictionary"] if leaf not in leaves]
    out["write_statistics"] = [leaf for leaf in how["write_statistics"] if leaf not in leaves]
    encodings = {leaf: name for leaf, name in (how["column_encoding"] or {}).items() if leaf not in leaves}
    out["column_encoding"] = encodings or None
    return out


def _parts(name: str, column: pa.ChunkedArray) -> tuple[Column, list[Column]]:
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


def _footer(written: bytes, schema: pa.Schema, lists: list[str], chunks: list[list[Struct]]) -> bytes:
    """The end of the file: what pyarrow said of the other columns, and these chunks among them."""
    footer, whole = _read_footer(written), _of_no_rows(schema)
    footer[_SCHEMA], footer[_COLUMN_ORDERS] = whole[_SCHEMA], whole[_COLUMN_ORDERS]
    groups = footer[_ROW_GROUPS][1][1]
    if len(groups) != len(chunks):
        raise ValueError(f"found {len(groups)} row groups, expected {len(chunks)}")
    for group, ours in zip(groups, chunks, strict=True):
        theirs, added = iter(group[_COLUMNS][1][1]), iter(ours)
        columns = [next(added) if name in lists else next(theirs) for name in schema.names]
        group[_COLUMNS] = (LIST, (STRUCT, columns))
        for total, part in ((_GROUP_BYTES, 6), (_GROUP_COMPRESSED, 7)):
            group[total] = (I64, group[total][1] + sum(chunk[3][1][part][1] for chunk in ours))
    content = thrift.encode(footer)
    return content + len(content).to_bytes(4, "little") + _MAGIC
