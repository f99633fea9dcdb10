"""Archive rows as columns that frames can be written from: the reverse of ``engine.arrow_rows``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrow_rows import TEXT_FIELDS, TICK_DIRECTIONS
from engine.core.wire import COLUMNS
from schemas.tables import LEVEL_COLUMNS, ROW_KINDS, RPI_LEVEL_COLUMNS, TICKER_FIELDS
from schemas.wire import WireKind

__all__ = ["wire_columns"]

Column = np.ndarray[Any, Any]
_EXTRAS: Final = ("mark_price", "index_price", "mark_iv", "trade_iv")


def wire_columns(kind: WireKind, rows: pa.Table) -> tuple[dict[int, Column], list[Column]]:
    """Columns and values for ``engine.core.wire.Renderer.render``.

    Args:
        kind: of the feeds: book, rpi, trades or ticker.
        rows: of their table, as ``schemas.tables`` has it.
    """
    arrays = {name: _array(rows.column(name)) for name in rows.schema.names}
    if kind == "trades":
        columns, values = _trades(arrays)
    elif kind == "ticker":
        columns, values = _tickers(arrays)
    else:
        columns, values = _books(arrays, kind)
    numbers = COLUMNS[kind]
    return {numbers[name]: np.ascontiguousarray(column) for name, column in columns.items()}, values


Made = tuple[dict[str, Column], list[Column]]


def _array(column: pa.ChunkedArray) -> pa.Array:
    """In one piece, without an offset."""
    joined = column.combine_chunks()
    array = joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined
    return pa.concat_arrays([array]) if array.offset == 0 else pa.concat_arrays([array, array.slice(0, 0)])


def _integers(array: pa.Array, type_: Any = np.int64, null: int = -1) -> Column:
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    if array.null_count:
        array = pc.fill_null(array, null)
    numbers: Column = array.to_numpy(zero_copy_only=False).astype(type_, copy=False)
    return numbers


def _codes(array: pa.Array, names: tuple[str, ...], type_: Any) -> Column:
    """Places of names in a list, -1 for null; a name that isn't there is refused."""
    texts = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    found = pc.index_in(texts, value_set=pa.array(names, pa.string()))
    if found.null_count != texts.null_count:
        raise ValueError(f"found other names than {', '.join(names)}")
    return _integers(found, type_)


def _flags(array: pa.Array) -> Column:
    return _integers(array.cast(pa.int8()), np.int8)


def _ends(array: pa.Array) -> Column:
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)


def _text(array: pa.Array) -> tuple[Column, Column]:
    """Ends, and bytes."""
    data = array.buffers()[2]
    return _ends(array), np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(
        1, np.uint8
    )


def _decimals(array: pa.Array) -> Column:
    """Two int64 a value, nulls as anything."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros((len(array), 2), np.int64)
    return np.frombuffer(data, np.int64, 2 * len(array), array.offset * 16)


def _books(arrays: dict[str, pa.Array], kind: WireKind) -> Made:
    columns = {
        "push_ms": _integers(arrays["push_time"]),
        "match_ms": _integers(arrays["match_time"]),
        "update_id": _integers(arrays["update_id"]),
        "cross_sequence": _integers(arrays["cross_sequence"]),
        "kind": _codes(arrays["kind"], ROW_KINDS, np.uint8),
        "price_exponent": _integers(arrays["price_exponent"], np.int8),
        "size_exponent": _integers(arrays["size_exponent"], np.int8),
        "bid_end": _ends(arrays["bid_price_mantissa"]),
        "ask_end": _ends(arrays["ask_price_mantissa"]),
    }
    values = []
    for name in RPI_LEVEL_COLUMNS if kind == "rpi" else LEVEL_COLUMNS:
        ends, inner = _ends(arrays[name]), arrays[name].values
        if not np.array_equal(ends, columns[f"{name[:3]}_end"]):
            raise ValueError(f"found lists of other lengths in {name}")
        values.append(_integers(inner) if len(inner) else np.zeros(1, np.int64))
    return columns, values


def _trades(arrays: dict[str, pa.Array]) -> Made:
    ids = arrays["trade_id"]
    ends, text = _text(ids if ids.type == pa.string() else ids.cast(pa.string()))
    extras = np.zeros(len(ids), np.uint8)
    columns = {
        "push_ms": _integers(arrays["push_time"]),
        "match_ms": _integers(arrays["match_time"]),
        "price": _integers(arrays["price_mantissa"]),
        "size": _integers(arrays["size_mantissa"]),
        "cross_sequence": _integers(arrays["cross_sequence"]),
        "id_end": ends,
        "price_exponent": _integers(arrays["price_exponent"], np.int8),
        "size_exponent": _integers(arrays["size_exponent"], np.int8),
        "side": _codes(arrays["side"], ("buy", "sell"), np.int8),
        "tick_direction": _codes(arrays["tick_direction"], TICK_DIRECTIONS, np.int8),
        "is_block": _flags(arrays["is_block"]),
        "is_rpi": _flags(arrays["is_rpi"]),
        "extras": extras,
    }
    for bit, name in enumerate(_EXTRAS):
        extras |= _valid(arrays[name]).astype(np.uint8) << bit
        columns[name] = _decimals(arrays[name])
    return columns, [text]


def _valid(array: pa.Array) -> Column:
    valid: Column = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _tickers(arrays: dict[str, pa.Array]) -> Made:
    present = np.zeros(len(arrays["keys"]), np.uint64)
    columns = {
        "push_ms": _integers(arrays["push_time"]),
        "cross_sequence": _integers(arrays["cross_sequence"]),
        "keys": _integers(arrays["keys"], np.uint64),
        "kind": _codes(arrays["kind"], ROW_KINDS, np.uint8),
        "present": present,
    }
    values = []
    for bit, field in enumerate(TICKER_FIELDS):
        array = arrays[field.column]
        present |= _valid(array).astype(np.uint64) << np.uint64(bit)
        if field.kind == "text":
            columns[f"text_{TEXT_FIELDS.index(bit)}_end"], text = _text(array)
            values.append(text)
        elif field.kind == "time":
            columns[field.column] = _integers(array)
        else:
            columns[field.column] = _decimals(array)
    return columns, values
