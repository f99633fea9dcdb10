"""Columns of the C core as Arrow tables: NumPy arrays over the core's memory in, the schemas of ``schemas.tables`` out.

The arrays' memory becomes the tables' memory; only what Arrow keeps as bits (validity, booleans) is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.names import Table
from schemas.tables import LEVEL_COLUMNS, ROW_KINDS, RPI_LEVEL_COLUMNS, TICKER_FIELDS, schema_of

__all__ = [
    "book_table",
    "column_of",
    "plain_array",
    "rpi_book_table",
    "split_by_day",
    "ticker_table",
    "trade_table",
]

Column = np.ndarray[Any, Any]
Dated = tuple[pa.Table, Column]
"""A table, and for each row the UTC day of the file that it belongs in."""

FEW_RUNS = 16
"""So many runs of rows of one day are put together from slices; of more the rows are picked one by one."""
TICK_DIRECTIONS = ("PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick")
TEXT_FIELDS = tuple(i for i, field in enumerate(TICKER_FIELDS) if field.kind == "text")


def split_by_day(
    out: dict[tuple[Table, str, int], pa.Table], table: Table, symbol: str, rows: pa.Table, days: Column
) -> None:
    """File rows under (table, symbol, day), keeping their order."""
    starts = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]
    found = [int(days[start]) for start in starts[:-1]]
    if len(found) == 1:
        out[table, symbol, found[0]] = rows  # as nearly always; a slice would be as many objects again
        return
    if len(found) <= FEW_RUNS:
        # Few runs of a day, as midnight makes them: slices, without a copy.
        runs: dict[int, list[pa.Table]] = {}
        for day, (start, end) in zip(found, pairwise(starts), strict=True):
            runs.setdefault(day, []).append(rows.slice(start, end - start))
        for day, parts in runs.items():
            out[table, symbol, day] = parts[0] if len(parts) == 1 else pa.concat_tables(parts)
        return
    for day in sorted(set(found)):
        out[table, symbol, day] = rows.filter(pa.array(days == day))


def _bits(values: Column) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _validity(valid: Column | None) -> tuple[pa.Buffer | None, int]:
    """Arrow's bits and count of nulls, from a boolean array, or None where there are no nulls."""
    nulls = 0 if valid is None else len(valid) - int(np.count_nonzero(valid))
    return (_bits(valid) if valid is not None and nulls else None), nulls


def plain_array(values: Column, type_: pa.DataType, valid: Column | None = None) -> pa.Array:
    """An Arrow array over NumPy's memory; ``valid`` is a boolean array, or None where there are no nulls."""
    bits, nulls = _validity(valid)
    return pa.Array.from_buffers(type_, len(values), [bits, pa.py_buffer(values)], null_count=nulls)


def column_of(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """An Arrow array of Python values; times are integers of the type's unit."""
    if pa.types.is_timestamp(type_):  # through integers: exact, and no datetime objects
        return pa.array(values, pa.int64()).cast(type_)
    return pa.array(values, type_)


def _named(codes: Column, names: Sequence[str], valid: Column | None = None) -> pa.Array:
    if valid is not None and not valid.all():
        codes = np.where(valid, codes, 0)
    return pa.DictionaryArray.from_arrays(
        plain_array(codes.astype(np.int8, copy=False), pa.int8(), valid), pa.array(names, pa.string())
    )


def _bools(values: Column, valid: Column | None = None) -> pa.Array:
    bits, nulls = _validity(valid)
    return pa.Array.from_buffers(pa.bool_(), len(values), [bits, _bits(values == 1)], null_count=nulls)


def _lists(offsets: Column, values: Column, type_: pa.DataType) -> pa.Array:
    child = plain_array(values, pa.int64())
    return pa.Array.from_buffers(
        type_, len(offsets) - 1, [None, pa.py_buffer(offsets)], null_count=0, children=[child]
    )


def _texts(offsets: Column, values: Column, valid: Column | None = None) -> pa.Array:
    bits, nulls = _validity(valid)
    buffers = [bits, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers, null_count=nulls)


def _nulls(n: int, type_: pa.DataType, zeros: pa.Buffer) -> pa.Array:
    """Nothing but nulls, over zeros that other columns may share: 16 a row at least, and 16 more."""
    return pa.Array.from_buffers(type_, n, [zeros] * (3 if type_ == pa.string() else 2), null_count=n)


def _repeated(text: str, n: int) -> pa.Array:
    encoded = text.encode()
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(len(encoded))
    return _texts(offsets, np.frombuffer(encoded * n, np.uint8))


def _assemble(table: Table, columns: dict[str, pa.Array], days: Column) -> Dated:
    schema = schema_of(table)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema), days


def book_table(c: dict[str, Column], levels: Sequence[Column], collector: str) -> Dated:
    """book_updates from its columns and four runs of int64: bid prices, bid sizes, ask prices, ask sizes."""
    return _books(Table.BOOK_UPDATES, LEVEL_COLUMNS, c, levels, collector)


def rpi_book_table(c: dict[str, Column], levels: Sequence[Column], collector: str) -> Dated:
    """rpi_book_updates from its columns and six runs of int64: those of ``book_table``, bid and ask RPI sizes."""
    return _books(Table.RPI_BOOK_UPDATES, RPI_LEVEL_COLUMNS, c, levels, collector)


def _books(
    table: Table, names: Sequence[str], c: dict[str, Column], levels: Sequence[Column], collector: str
) -> Dated:
    schema = schema_of(table)
    columns = {
        "sequence": plain_array(c["sequence"], pa.int64()),
        "collector": _repeated(collector, len(c["sequence"])),
        "receive_time": plain_array(c["receive_ns"], schema.field("receive_time").type),
        "push_time": plain_array(c["push_ms"], schema.field("push_time").type),
        "match_time": plain_array(c["match_ms"], schema.field("match_time").type, c["match_ms"] >= 0),
        "depth": plain_array(c["depth"], pa.int16()),
        "kind": _named(c["kind"].view(np.int8), ROW_KINDS),
        "applied": _bools(c["applied"]),
        "update_id": plain_array(c["update_id"], pa.int64()),
        "cross_sequence": plain_array(c["cross_sequence"], pa.int64(), c["cross_sequence"] >= 0),
        "price_exponent": plain_array(c["price_exponent"], pa.int8()),
        "size_exponent": plain_array(c["size_exponent"], pa.int8()),
        "digest": plain_array(c["digest"], pa.uint64(), c["has_digest"] != 0),
        "line": plain_array(c["line"], pa.uint16()),
    }
    for name, values in zip(names, levels, strict=True):
        columns[name] = _lists(c[f"{name[:3]}_end"], values, schema.field(name).type)
    return _assemble(table, columns, c["day"])


def trade_table(c: dict[str, Column], ids: Column, collector: str) -> Dated:
    """trades from its columns and the trade ids, one behind the other."""
    schema = schema_of(Table.TRADES)
    columns = {
        "sequence": plain_array(c["sequence"], pa.int64()),
        "collector": _repeated(collector, len(c["sequence"])),
        "receive_time": plain_array(c["receive_ns"], schema.field("receive_time").type),
        "push_time": plain_array(c["push_ms"], schema.field("push_time").type),
        "match_time": plain_array(c["match_ms"], schema.field("match_time").type),
        "trade_id": _texts(c["id_end"], ids),
        "side": _named(c["side"], ("buy", "sell")),
        "price_mantissa": plain_array(c["price"], pa.int64()),
        "size_mantissa": plain_array(c["size"], pa.int64()),
        "price_exponent": plain_array(c["price_exponent"], pa.int8()),
        "size_exponent": plain_array(c["size_exponent"], pa.int8()),
        "tick_direction": _named(c["tick_direction"], TICK_DIRECTIONS, c["tick_direction"] >= 0),
        "is_block": _bools(c["is_block"], c["is_block"] >= 0),
        "is_rpi": _bools(c["is_rpi"], c["is_rpi"] >= 0),
        "cross_sequence": plain_array(c["cross_sequence"], pa.int64(), c["cross_sequence"] >= 0),
        "source": _named(c["source"], ("stream", "backfill", "import")),
        "line": plain_array(c["line"], pa.uint16()),
    }
    for i, name in enumerate(("mark_price", "index_price", "mark_iv", "trade_iv")):
        columns[name] = plain_array(c[name], schema.field(name).type, (c["extras"] >> i & 1).astype(bool))
    return _assemble(Table.TRADES, columns, c["day"])


def ticker_table(c: dict[Any, Column], texts: Sequence[Column], collector: str) -> Dated:
    """tickers from its columns (the fields' by their index) and the texts of its text fields."""
    schema = schema_of(Table.TICKERS)
    present = c["present"]
    n = len(present)
    zeros = pa.py_buffer(
        bytes(16 * n + 16)
    )  # half of the columns are of other products, and wait with the others
    always, ever = int(np.bitwise_and.reduce(present)), int(np.bitwise_or.reduce(present))
    columns = {
        "sequence": plain_array(c["sequence"], pa.int64()),
        "collector": _repeated(collector, n),
        "receive_time": plain_array(c["receive_ns"], schema.field("receive_time").type),
        "push_time": plain_array(c["push_ms"], schema.field("push_time").type),
        "kind": _named(c["kind"].view(np.int8), ROW_KINDS),
        "applied": _bools(c["applied"]),
        "keys": plain_array(c["keys"], pa.uint64()),
        "cross_sequence": plain_array(c["cross_sequence"], pa.int64(), c["cross_sequence"] >= 0),
        "line": plain_array(c["line"], pa.uint16()),
    }
    for i, field in enumerate(TICKER_FIELDS):
        type_ = schema.field(field.column).type
        if not ever >> i & 1:
            columns[field.column] = _nulls(n, type_, zeros)
            continue
        valid = None if always >> i & 1 else (present & np.uint64(1 << i)) != 0
        if field.kind == "text":
            text = TEXT_FIELDS.index(i)
            columns[field.column] = _texts(c[f"text_{text}_end"], texts[text], valid)
        else:
            columns[field.column] = plain_array(c[i], type_, valid)
    return _assemble(Table.TICKERS, columns, c["day"])
