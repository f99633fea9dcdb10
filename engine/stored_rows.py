"""Rows of the tables as they lie in Parquet files, and back; see ``schemas.stored`` for what is different there.

Nothing is lost and nothing is made up: ``restore(table, store(table, rows))`` equals ``rows`` for any rows of a table.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.core.columns import uuid_bytes
from engine.stored_decimals import decimals, rescaled
from schemas.names import Table
from schemas.stored import EXPONENT_OF, TRADE_ID_COLUMNS, plain_schema, stored_schema, written_schema
from schemas.tables import schema_of

__all__ = ["holds", "restore", "store"]

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

_UUID_LENGTH: Final = 36
_HYPHENS: Final = (8, 13, 18, 23)
_DIGITS: Final = [at for at in range(_UUID_LENGTH) if at not in _HYPHENS]
_NO_DIGIT: Final = 0xFF
_NIBBLES: Final = np.full(256, _NO_DIGIT, np.uint8)
_NIBBLES[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_LARGEST: Final = pa.scalar(str(2**63 - 1))


def holds(table: Table, schema: pa.Schema) -> bool:
    """Whether a file with this schema holds the columns of a table, of any version."""
    found = plain_schema(schema)  # how names are numbered in memory is the reader's affair
    return bool(found.equals(stored_schema(table)) or found.equals(plain_schema(schema_of(table))))


def store(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows of a table as its files hold them, in the columns of ``written_schema``."""
    if table is Table.TRADES:
        made = dict(zip(TRADE_ID_COLUMNS, _split_ids(_whole(rows.column("trade_id"))), strict=True))
    elif table is Table.TICKERS:
        made = _mantissas(rows)
    else:
        return rows
    schema = written_schema(table)
    columns = [made[name] if name in made else rows.column(name) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def restore(table: Table, rows: pa.Table) -> pa.Table:
    """Return rows read from a file of any version as rows of the table; of the columns, those that are there.

    Args:
        table: whose rows they are.
        rows: all columns of a file, or some; a column that is stored in several needs all of these.
    """
    columns, fields = [], []
    there = set(rows.schema.names)
    for field in schema_of(table):
        exponent = EXPONENT_OF.get(field.name) if table is Table.TICKERS else None
        if table is Table.TRADES and field.name == "trade_id" and there.issuperset(TRADE_ID_COLUMNS):
            values = _joined_ids(*(_whole(rows.column(name)) for name in TRADE_ID_COLUMNS))
        elif exponent is not None and {f"{field.name}_mantissa", exponent} <= there:
            values = decimals(_whole(rows.column(f"{field.name}_mantissa")), _whole(rows.column(exponent)))
        elif field.name in there:
            values = rows.column(field.name)
            if pa.types.is_dictionary(field.type) and not pa.types.is_dictionary(values.type):
                values = _whole(values).dictionary_encode()
            if values.type != field.type:
                values = values.cast(field.type)
        else:
            continue
        columns.append(values)
        fields.append(field)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=schema_of(table).metadata))


def _whole(column: Any) -> pa.Array:
    """A column as one array."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _texts(column: pa.Array) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Offsets of texts and the bytes that they are offsets into."""
    if len(column) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offsets, data = column.buffers()
    where = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    return where, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)


def _split_ids(ids: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Texts that are neither, bytes of UUIDs, whole numbers; null where an id is another of the three."""
    offsets, data = _texts(ids)
    raw = _all_uuids(offsets, data)
    if raw is not None:
        uuids = pa.Array.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(raw)])
        return pa.nulls(len(ids), pa.string()), uuids, pa.nulls(len(ids), pa.int64())
    is_uuid = np.diff(offsets) == _UUID_LENGTH
    nibbles = _nibbles_of(offsets, data, is_uuid)
    if nibbles is not None:
        packed: Bytes = nibbles[:, ::2] << np.uint8(4) | nibbles[:, 1::2]
        if not is_uuid.all():
            spread = np.zeros((len(ids), 16), np.uint8)
            spread[is_uuid] = packed
            packed = spread
        uuids = _sixteens(packed, is_uuid)
    else:
        is_uuid = np.zeros(len(ids), np.bool_)
        uuids = pa.nulls(len(ids), pa.binary(16))
    is_number = np.asarray(
        pc.and_(
            pc.match_substring_regex(ids, r"\A(0|[1-9][0-9]{0,18})\z"),
            pc.or_(pc.less(pc.binary_length(ids), 19), pc.less_equal(ids, _LARGEST)),
        )
    ).astype(np.bool_)
    numbers = pc.if_else(pa.array(is_number), ids, pa.scalar(None, pa.string())).cast(pa.int64())
    texts = pc.if_else(pa.array(is_uuid | is_number), pa.scalar(None, pa.string()), ids)
    return texts, uuids, numbers


def _all_uuids(offsets: npt.NDArray[np.int64], data: Bytes) -> bytes | None:
    """The bytes of all ids one behind the other, if all are UUIDs, as nearly always; else None."""
    count = len(offsets) - 1
    if count == 0 or np.any(np.diff(offsets) != _UUID_LENGTH):
        return None
    return uuid_bytes(data[offsets[0] : offsets[-1]])


def _nibbles_of(offsets: npt.NDArray[np.int64], data: Bytes, is_uuid: Flags) -> Bytes | None:
    """The 32 hexadecimal digits of each UUID; ``is_uuid`` comes with what is long enough, and goes with what is one."""
    if not is_uuid.any():
        return None
    if is_uuid.all():
        characters = data[offsets[0] : offsets[-1]].reshape(-1, _UUID_LENGTH)
    else:
        characters = data[offsets[:-1][is_uuid][:, None] + np.arange(_UUID_LENGTH)]
    nibbles = _NIBBLES[characters[:, _DIGITS]]
    fine = (nibbles.max(axis=1) != _NO_DIGIT) & (characters[:, _HYPHENS] == ord("-")).all(axis=1)
    if not fine.all():
        is_uuid[is_uuid] = fine
        nibbles = nibbles[fine]
    return nibbles if len(nibbles) else None


def _sixteens(packed: Bytes, valid: Flags) -> pa.Array:
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    values = pa.py_buffer(np.ascontiguousarray(packed))
    return pa.Array.from_buffers(pa.binary(16), len(valid), [bits, values])


def _joined_ids(texts: pa.Array, uuids: pa.Array, numbers: pa.Array) -> pa.Array:
    parts = [part for part in (texts, uuids, numbers) if part.null_count < len(part)]
    joined = [
        _uuid_texts(part) if part is uuids else part.cast(pa.string()) if part is numbers else part
        for part in parts
    ]
    return pc.coalesce(*joined) if joined else pa.nulls(len(texts), pa.string())


def _uuid_texts(uuids: pa.Array) -> pa.Array:
    n = len(uuids)
    raw = np.frombuffer(uuids.buffers()[1], np.uint8, n * 16, uuids.offset * 16).reshape(n, 16)
    text = np.full((n, _UUID_LENGTH), ord("-"), np.uint8)
    text[:, _DIGITS[::2]] = _HEX[raw >> 4]
    text[:, _DIGITS[1::2]] = _HEX[raw & 15]
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(_UUID_LENGTH)
    whole = pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(text)])
    return (
        whole if uuids.null_count == 0 else pc.if_else(uuids.is_valid(), whole, pa.scalar(None, pa.string()))
    )


def _mantissas(rows: pa.Table) -> dict[str, pa.Array]:
    """The decimals as whole numbers, with the largest exponents that lose nothing."""
    made: dict[str, pa.Array] = {}
    groups: dict[str, list[str]] = {}
    for name, exponent in EXPONENT_OF.items():
        groups.setdefault(exponent, []).append(name)
    for exponent, names in groups.items():
        columns = [_whole(rows.column(name)) for name in names]
        scale, scaled = rescaled(columns)
        for name, values in zip(names, scaled, strict=True):
            made[f"{name}_mantissa"] = values
        made[exponent] = pa.array(np.full(rows.num_rows, -scale, np.int8))
    return made
