"""Rows of the C core as Arrow tables: struct arrays in, the schemas of ``schemas.tables`` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.names import Table
from schemas.tables import ROW_KINDS, TICKER_FIELDS, schema_of

__all__ = [
    "BOOK_ROW",
    "TICKER_ROW",
    "TRADE_ROW",
    "book_table",
    "split_by_day",
    "ticker_table",
    "trade_table",
]

Column = np.ndarray[Any, Any]
Dated = tuple[pa.Table, Column]
"""A table, and for each row the UTC day of the file that it belongs in."""

TICK_DIRECTIONS = ("PlusTick", "ZeroPlusTick", "MinusTick", "ZeroMinusTick")
TEXT_FIELDS = tuple(i for i, field in enumerate(TICKER_FIELDS) if field.kind == "text")

# The C structs of src/tb_rows.h, field by field.
BOOK_ROW = np.dtype(
    [
        (name, "<i8")
        for name in ("sequence", "receive_ns", "push_ms", "match_ms", "update_id", "cross_sequence")
    ]
    + [
        ("digest", "<u8"),
        ("day", "<i4"),
        ("bids", "<i4"),
        ("asks", "<i4"),
        ("feed", "<i4"),
        ("depth", "<i2"),
        ("line", "<u2"),
        ("kind", "u1"),
        ("applied", "u1"),
        ("has_digest", "u1"),
        ("price_exponent", "i1"),
        ("size_exponent", "i1"),
        ("padding", "u1", (7,)),
    ]
)
TRADE_ROW = np.dtype(
    [
        (name, "<i8")
        for name in ("sequence", "receive_ns", "push_ms", "match_ms", "price", "size", "cross_sequence")
    ]
    + [
        ("day", "<i4"),
        ("id_bytes", "<i4"),
        ("line", "<u2"),
        ("price_exponent", "i1"),
        ("size_exponent", "i1"),
        ("side", "i1"),
        ("tick_direction", "i1"),
        ("is_block", "i1"),
        ("is_rpi", "i1"),
        ("extras", "u1"),
        ("padding", "u1", (7,)),
        ("extra", "<i8", (4, 2)),
    ]
)
TICKER_ROW = np.dtype(
    [(name, "<i8") for name in ("sequence", "receive_ns", "push_ms", "cross_sequence")]
    + [
        ("keys", "<u8"),
        ("present", "<u8"),
        ("day", "<i4"),
        ("line", "<u2"),
        ("kind", "u1"),
        ("applied", "u1"),
        ("texts", "u1", (2, 64)),
        ("padding", "u1", (8,)),
        ("values", "<i8", (48, 2)),
    ]
)


def split_by_day(
    out: dict[tuple[Table, str, int], pa.Table], table: Table, symbol: str, rows: pa.Table, days: Column
) -> None:
    """File rows under (table, symbol, day), keeping their order."""
    if days[0] == days[-1] and (days == days[0]).all():
        out[table, symbol, int(days[0])] = rows
        return
    for day in np.unique(days):
        out[table, symbol, int(day)] = rows.filter(pa.array(days == day))


def _plain(values: Column, type_: pa.DataType, valid: Column | None = None) -> pa.Array:
    """One column from a strided field of a struct array; ``valid`` is a boolean array or None."""
    values = np.ascontiguousarray(values)
    buffers: list[pa.Buffer | None] = [None, pa.py_buffer(values)]
    nulls = 0
    if valid is not None:
        nulls = len(valid) - int(np.count_nonzero(valid))
        if nulls:
            buffers[0] = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(type_, len(values), buffers, null_count=nulls)


def _named(codes: Column, names: Sequence[str], valid: Column | None = None) -> pa.Array:
    codes = np.ascontiguousarray(codes, dtype=np.int8)
    if valid is not None:
        codes = np.where(valid, codes, 0).astype(np.int8)
    return pa.DictionaryArray.from_arrays(_plain(codes, pa.int8(), valid), pa.array(names, pa.string()))


def _bools(values: Column, valid: Column | None = None) -> pa.Array:
    return pa.array(values.astype(bool), pa.bool_(), mask=None if valid is None else ~valid)


def _lists(counts: Column, values: bytes, type_: pa.DataType) -> pa.Array:
    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=offsets[1:])
    child = pa.Array.from_buffers(pa.int64(), len(values) // 8, [None, pa.py_buffer(values)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), child, type=type_)


def _collector(n: int, name: str) -> pa.Array:
    return pa.array([name], pa.string()).take(pa.array(np.zeros(n, dtype=np.int8)))


def _assemble(table: Table, columns: dict[str, pa.Array], days: Column) -> Dated:
    schema = schema_of(table)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema), days


def book_table(rows: bytes, levels: list[bytes], collector: str) -> Dated:
    """book_updates from ``BOOK_ROW`` structs and four runs of int64: bid prices, bid sizes, ask prices, ask sizes."""
    r = np.frombuffer(rows, dtype=BOOK_ROW)
    schema = schema_of(Table.BOOK_UPDATES)
    columns = {
        "sequence": _plain(r["sequence"], pa.int64()),
        "collector": _collector(len(r), collector),
        "receive_time": _plain(r["receive_ns"], schema.field("receive_time").type),
        "push_time": _plain(r["push_ms"], schema.field("push_time").type),
        "match_time": _plain(r["match_ms"], schema.field("match_time").type, r["match_ms"] >= 0),
        "depth": _plain(r["depth"], pa.int16()),
        "kind": _named(r["kind"], ROW_KINDS),
        "applied": _bools(r["applied"]),
        "update_id": _plain(r["update_id"], pa.int64()),
        "cross_sequence": _plain(r["cross_sequence"], pa.int64(), r["cross_sequence"] >= 0),
        "price_exponent": _plain(r["price_exponent"], pa.int8()),
        "size_exponent": _plain(r["size_exponent"], pa.int8()),
        "digest": _plain(r["digest"], pa.uint64(), r["has_digest"] != 0),
        "line": _plain(r["line"], pa.uint16()),
    }
    for i, name in enumerate(
        ("bid_price_mantissa", "bid_size_mantissa", "ask_price_mantissa", "ask_size_mantissa")
    ):
        columns[name] = _lists(r["bids" if i < 2 else "asks"], levels[i], schema.field(name).type)
    return _assemble(Table.BOOK_UPDATES, columns, r["day"])


def trade_table(rows: bytes, ids: bytes, collector: str) -> Dated:
    """trades from ``TRADE_ROW`` structs and the trade ids, one behind the other."""
    r = np.frombuffer(rows, dtype=TRADE_ROW)
    schema = schema_of(Table.TRADES)
    offsets = np.zeros(len(r) + 1, dtype=np.int32)
    np.cumsum(r["id_bytes"], out=offsets[1:])
    columns = {
        "sequence": _plain(r["sequence"], pa.int64()),
        "collector": _collector(len(r), collector),
        "receive_time": _plain(r["receive_ns"], schema.field("receive_time").type),
        "push_time": _plain(r["push_ms"], schema.field("push_time").type),
        "match_time": _plain(r["match_ms"], schema.field("match_time").type),
        "trade_id": pa.StringArray.from_buffers(len(r), pa.py_buffer(offsets), pa.py_buffer(ids)),
        "side": _named(r["side"], ("buy", "sell")),
        "price_mantissa": _plain(r["price"], pa.int64()),
        "size_mantissa": _plain(r["size"], pa.int64()),
        "price_exponent": _plain(r["price_exponent"], pa.int8()),
        "size_exponent": _plain(r["size_exponent"], pa.int8()),
        "tick_direction": _named(r["tick_direction"], TICK_DIRECTIONS, r["tick_direction"] >= 0),
        "is_block": _bools(r["is_block"] == 1, r["is_block"] >= 0),
        "is_rpi": _bools(r["is_rpi"] == 1, r["is_rpi"] >= 0),
        "cross_sequence": _plain(r["cross_sequence"], pa.int64(), r["cross_sequence"] >= 0),
        "source": _named(np.zeros(len(r), dtype=np.int8), ("stream", "backfill")),
        "line": _plain(r["line"], pa.uint16()),
    }
    for i, name in enumerate(("mark_price", "index_price", "mark_iv", "trade_iv")):
        columns[name] = _plain(r["extra"][:, i], schema.field(name).type, (r["extras"] >> i & 1).astype(bool))
    return _assemble(Table.TRADES, columns, r["day"])


def ticker_table(rows: bytes, collector: str) -> Dated:
    """tickers from ``TICKER_ROW`` structs."""
    r = np.frombuffer(rows, dtype=TICKER_ROW)
    schema = schema_of(Table.TICKERS)
    columns = {
        "sequence": _plain(r["sequence"], pa.int64()),
        "collector": _collector(len(r), collector),
        "receive_time": _plain(r["receive_ns"], schema.field("receive_time").type),
        "push_time": _plain(r["push_ms"], schema.field("push_time").type),
        "kind": _named(r["kind"], ROW_KINDS),
        "applied": _bools(r["applied"]),
        "keys": _plain(r["keys"], pa.uint64()),
        "cross_sequence": _plain(r["cross_sequence"], pa.int64(), r["cross_sequence"] >= 0),
        "line": _plain(r["line"], pa.uint16()),
    }
    for i, field in enumerate(TICKER_FIELDS):
        valid = (r["present"] >> np.uint64(i) & np.uint64(1)).astype(bool)
        if field.kind == "decimal":
            columns[field.column] = _plain(r["values"][:, i], schema.field(field.column).type, valid)
        elif field.kind == "time":
            columns[field.column] = _plain(r["values"][:, i, 0], schema.field(field.column).type, valid)
        else:
            texts = r["texts"][:, TEXT_FIELDS.index(i)]
            columns[field.column] = pa.array(
                [
                    bytes(t[1 : 1 + t[0]]).decode() if there else None
                    for t, there in zip(texts, valid, strict=True)
                ],
                pa.string(),
            )
    return _assemble(Table.TICKERS, columns, r["day"])
