"""Rows of any table of the archive, made from what the types of its columns allow.

Hypothesis draws a seed and a length; drawing each of some sixty columns' values would take it seconds an example.
"""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["plain", "random_rows", "table_rows"]

_ODD_IDS = (
    "", "0", "007", "-1", "+1", " 1", "1\n", "9223372036854775807", "9223372036854775808", "9" * 19, "é" * 18,
    "06C5BDB5-e135-538e-b145-e72e194ac54c", "06c5bdb5-e135-538e-b145-e72e194ac54g", "06c5bdb5e135538eb145e72e194ac54c",
    "-6c5bdb5-e135-538e-b145-e72e194ac54c", "06c5bdb5-e135-538e-b145-e72e194ac54c",
)  # fmt: skip
_NAMES = ("snapshot", "delta", "buy", "", "é")


def _trade_id(r: random.Random) -> str:
    kind = r.randrange(8)
    if kind < 4:
        return str(uuid.UUID(int=r.getrandbits(128)))
    if kind < 6:
        return str(r.getrandbits(r.choice((8, 60, 63, 64))))
    return r.choice(_ODD_IDS)


def _decimal(r: random.Random, type_: pa.DataType) -> Decimal:
    """As the exchange writes them, mostly; and anything that fits."""
    kind = r.randrange(6)
    if kind < 3:
        return Decimal(f"{r.randint(-(10**4), 10**12)}e-{r.randint(0, 8)}")
    if kind == 3:
        return Decimal(r.choice(("0", "1", "0.5", "-1", "1e-18", "99999999999999999999")))
    digits = r.randint(1, type_.precision)
    return Decimal(f"{r.choice((1, -1)) * r.randrange(10**digits)}e-{type_.scale}")


def _integer(r: random.Random, type_: pa.DataType) -> int:
    if pa.types.is_unsigned_integer(type_):
        return r.getrandbits(r.choice((1, type_.bit_width)))
    value = r.getrandbits(r.choice((1, type_.bit_width - 1)))
    return value if r.random() < 0.8 else -value - 1


def _text(r: random.Random) -> str:
    return "".join(r.choices(string.printable + "éß漢", k=r.randrange(8)))


def _maker(name: str, type_: pa.DataType) -> Callable[[random.Random], Any]:
    if name == "trade_id":
        return _trade_id
    if pa.types.is_dictionary(type_):
        return lambda r: r.choice(_NAMES)
    if pa.types.is_string(type_):
        return _text
    if pa.types.is_binary(type_):
        return lambda r: r.randbytes(r.randrange(8))
    if pa.types.is_boolean(type_):
        return lambda r: r.random() < 0.5
    if pa.types.is_decimal(type_):
        return lambda r: _decimal(r, type_)
    if pa.types.is_list(type_):
        each = _maker(name, type_.value_type)
        return lambda r: [each(r) for _ in range(r.choice((0, 0, 1, 4)))]
    if pa.types.is_timestamp(type_):
        return lambda r: r.randrange(2**61 if type_.unit == "ns" else 2**41)
    return lambda r: _integer(r, type_)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(type_):
        return pa.array(values, pa.int64()).cast(type_)
    if pa.types.is_dictionary(type_):
        return pa.array(values, pa.string()).dictionary_encode().cast(type_)
    return pa.array(values, type_)


def random_rows(table: Table, seed: int, count: int) -> pa.Table:
    """So many rows of a table; the same for the same seed."""
    r = random.Random(seed)
    schema = schema_of(table)
    columns = []
    for field in schema:
        make = _maker(field.name, field.type)
        # all null, now and then, as most fields of most tickers are
        missing = r.choice((0.0, 0.3, 1.0)) if field.nullable else 0.0
        values = [None if r.random() < missing else make(r) for _ in range(count)]
        columns.append(_array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


@st.composite
def table_rows(draw: st.DrawFn, table: Table, max_size: int = 12) -> pa.Table:
    """Rows of a table, none perhaps."""
    return random_rows(table, draw(st.integers(0, 2**32)), draw(st.integers(0, max_size)))


def plain(rows: pa.Table, like: pa.Table) -> pa.Table:
    """Rows in the types of others, for comparing: one chunk, times as integers, names as texts, no fields' metadata."""
    columns = {}
    for field in like.schema:
        type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        column = rows.column(field.name).combine_chunks().cast(type_)
        columns[field.name] = column.cast(pa.int64()) if pa.types.is_timestamp(type_) else column
    return pa.table(columns).combine_chunks()
