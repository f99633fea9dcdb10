"""How the columns of the archive's files are encoded and compressed, by what a file is written for.

``roll`` writes once, in the recorder's shadow, and the file is written again when its day is compacted: what counts is
time. ``compact`` writes what is kept for years: what counts is size, column by column (docs/space.md has what was
tried). All encodings are Parquet's own, so that any reader understands the files.
"""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recorder.number_writer import NumberWriter, pass_over
from schemas.names import Table
from schemas.stored import written_schema

__all__ = ["Profile", "Purpose", "open_writer", "profile"]

ROLL_ROWS = 16_384
"""Rows of a row group of a file that roll wrote: few enough that they stay in the cache while they are encoded, and
that what waits for a full row group is little."""
ROLL_TICKER_ROWS = 8_192
"""The same of tickers, whose rows take three times as much memory while they wait."""
COMPACT_ROWS = 32_768
"""Rows of a row group of a compacted file: a quarter of an hour of a busy book. Half as many would save a query for one
minute a third of what it reads, and cost 2 % of size; twice as many save 1 % and double what it reads
(``python -m benchmarks ranges``, docs/archive.md)."""
# Later versions of pyarrow end a page after 20,000 rows unless told otherwise; earlier ones know no such end.
_PAGES = (
    {"max_rows_per_page": COMPACT_ROWS}
    if "max_rows_per_page" in signature(pq.ParquetWriter.__init__).parameters
    else {}
)

Purpose = Literal["roll", "compact"]


class Profile(NamedTuple):
    """How the files of one table are written.

    Attributes:
        writer: keyword arguments of ``pyarrow.parquet.ParquetWriter``.
        row_group_rows: rows of a row group, at most.
        row_group_levels: levels of both sides of a book in a row group; the row that reaches it is the group's last.
        own: columns that ``recorder.number_writer`` writes, each row group's in one page.
    """

    writer: dict[str, Any]
    row_group_rows: int
    row_group_levels: int
    own: tuple[str, ...] = ()


_CLOCKS_AND_IDS = ("sequence", "receive_time", "push_time", "match_time", "cross_sequence")
_LEVELS = tuple(
    f"{name}_mantissa.list.element"
    for name in ("bid_price", "bid_size", "ask_price", "ask_size", "bid_rpi_size", "ask_rpi_size")
)

# Integers that grow by small steps: differences compress better than the values, and faster. Of levels they take hardly
# more than their bytes side by side do compressed, for a quarter of the time (docs/rolling.md).
_DELTA: dict[Table, tuple[str, ...]] = {
    Table.BOOK_UPDATES: ("update_id", *_LEVELS),
    Table.RPI_BOOK_UPDATES: ("update_id", *_LEVELS),
    Table.TRADES: ("price_mantissa", "size_mantissa", "trade_number"),
}
# Tables whose differences are written by this package.
_OWN = (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES)
# Texts that are hardly ever the same: a dictionary of them is work for nothing.
_UNIQUE: dict[Table, tuple[str, ...]] = {Table.TRADES: ("trade_id",), Table.RAW_RECORDS: ("payload",)}
_BIG = frozenset({Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES, Table.TICKERS})
# By these a reader skips row groups; the values of the other columns are never searched for.
_SEARCHED = (*_CLOCKS_AND_IDS, "update_id", "start_time", "end_time")


# Of the compacted files: small steps as differences, and what else is made of whole numbers byte by byte. Decimals,
# codes and what hardly changes are smallest as they are, for zstd alone.
_COMPACT_DELTA = (
    *_CLOCKS_AND_IDS, "update_id", "trade_number", "start_time", "end_time", "start_match_time", "end_match_time",
)  # fmt: skip
_COMPACT_SPLIT = (*_LEVELS, "price_mantissa", "size_mantissa", "keys", "digest")


@cache
def profile(purpose: Purpose, table: Table) -> Profile:
    """How files of this table are written for this purpose. It is shared: not to be changed."""
    return _roll(table) if purpose == "roll" else _compact(table)


def open_writer(where: Any, table: Table, how: Profile, at: int = 0) -> NumberWriter | pq.ParquetWriter:
    """Begin a file of a table at a path or in a file object; it wants rows as ``engine.stored_rows.store`` makes them.

    The file says of itself which table it is and of which schema version. A writer that goes on with a file, ``at`` a
    place behind its start, writes so many bytes first that mean nothing: the file object is to leave them out.
    """
    schema = written_schema(table)
    writer: NumberWriter | pq.ParquetWriter
    if how.own:
        writer = NumberWriter(where, schema, how.writer, how.own, at)
    else:
        writer = pq.ParquetWriter(where, schema, **how.writer)
        pass_over(where, at)
    writer.add_key_value_metadata(
        {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    )
    return writer


def _roll(table: Table) -> Profile:
    schema = written_schema(table)
    leaves = _leaves(schema)
    encodings: dict[str, str] = {}
    for encoding, columns in (
        ("DELTA_BINARY_PACKED", (*_CLOCKS_AND_IDS, *_DELTA.get(table, ()))),
        ("DELTA_LENGTH_BYTE_ARRAY", _UNIQUE.get(table, ())),
    ):
        encodings |= dict.fromkeys((leaf for leaf in leaves if leaf in columns), encoding)
    if table in _BIG:
        # names are dictionaries already; elsewhere compression finds what repeats faster than a hash table does
        dictionary = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    else:
        dictionary = [leaf for leaf in leaves if leaf not in encodings]
    return Profile(
        {
            **_roll_compression(table),
            "use_dictionary": dictionary,
            "column_encoding": encodings or None,
            "write_statistics": [leaf for leaf in leaves if leaf in _SEARCHED],
            # the columns' meanings are in docs/tables.md; here they would be half of a small file
            "store_schema": False,
            "version": "2.6",
            "data_page_version": "2.0",
        },
        row_group_rows=ROLL_TICKER_ROWS if table is Table.TICKERS else ROLL_ROWS,
        row_group_levels=512 << 10,
        own=tuple(
            field.name
            for field, leaf in zip(schema, leaves, strict=True)
            if table in _OWN and encodings.get(leaf) == "DELTA_BINARY_PACKED"
        ),
    )


def _roll_compression(table: Table) -> dict[str, Any]:
    """A fifth more bytes than by zstd until the day is compacted, and half of the time (docs/rolling.md).

    Tickers would be twice as long, and of the others there is little.
    """
    if table in _BIG and table is not Table.TICKERS:
        return {"compression": "lz4"}
    return {"compression": "zstd", "compression_level": 1}


def _compact(table: Table) -> Profile:
    schema = written_schema(table)
    leaves = _leaves(schema)
    texts = [
        field.name for field in schema if pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
    ]
    split = [leaf for leaf in leaves if leaf in _COMPACT_SPLIT]
    delta = [leaf for leaf in leaves if leaf in _COMPACT_DELTA]
    return Profile(
        {
            "compression": "zstd",
            "compression_level": 19,
            "use_dictionary": [name for name in texts if name not in _UNIQUE.get(table, ())],
            "column_encoding": dict.fromkeys(delta, "DELTA_BINARY_PACKED")
            | dict.fromkeys(split, "BYTE_STREAM_SPLIT")
            or None,
            "write_statistics": [leaf for leaf in leaves if leaf in (*_SEARCHED, "depth")],
            # the columns' meanings are in docs/tables.md; here they would be half of a small file
            "store_schema": False,
            "version": "2.6",
            # of version 1, because there zstd sees where lists begin and end; in pages of version 2 that stays as it is
            "data_page_version": "1.0",
            "data_page_size": 4 << 20,
            # a bit that flips in years on a disk is an error then, and not another number
            "write_page_checksum": True,
            **_PAGES,
        },
        row_group_rows=COMPACT_ROWS,
        row_group_levels=2 << 20,
    )


def _leaves(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema]
