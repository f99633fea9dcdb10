"""How rows of the tables lie in Parquet files since schema version 2: mostly as they are, some columns smaller.

Files hold no Arrow schema, which was half of a small file, so that names come back as plain text. Two tables have
other columns in their files than ``schemas.tables`` says, because that is a third smaller:

``trades``: a ``trade_id`` that is a UUID as the exchange writes it (lower case, with hyphens) is its 16 bytes in
``trade_uuid``; one that is a whole number as text is that number in ``trade_number``; any other text stays in
``trade_id``. Exactly one of the three is there.

``tickers``: a decimal is a whole number in ``<column>_mantissa``, of value mantissa x 10^exponent. Columns of one unit
share an exponent: ``price_exponent``, ``size_exponent``, ``value_exponent`` (money) or ``ratio_exponent``.

``engine.stored_rows`` turns rows from one form into the other and back; the SQL views show the tables' own columns.
Version 1 files hold the tables' own columns. They stay readable.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from schemas.columns import column
from schemas.names import Table
from schemas.tables import TICKER_FIELDS, schema_of

__all__ = [
    "EXPONENT_OF",
    "MANTISSA",
    "RESHAPED",
    "TRADE_ID_COLUMNS",
    "plain_schema",
    "stored_schema",
    "written_schema",
]

MANTISSA: Final = pa.decimal128(38, 0)
"""Of a DECIMAL(38,18), whatever its exponent."""
TRADE_ID_COLUMNS: Final = ("trade_id", "trade_uuid", "trade_number")

_SIZES = (
    "open_interest", "single_open_interest", "volume_24h", "bid1_size", "ask1_size", "pre_quantity", "bid_size",
    "ask_size", "total_volume",
)  # fmt: skip
_VALUES = ("open_interest_value", "single_open_interest_value", "turnover_24h", "total_turnover")
_RATIOS = (
    "price_change_24h", "funding_rate", "funding_interval_hour", "funding_cap", "basis_rate", "basis_rate_year",
    "delivery_fee_rate", "bid_iv", "ask_iv", "mark_price_iv", "delta", "gamma", "vega", "theta", "change_24h",
)  # fmt: skip
_EXPONENTS = (
    *dict.fromkeys(_SIZES, "size_exponent").items(),
    *dict.fromkeys(_VALUES, "value_exponent").items(),
    *dict.fromkeys(_RATIOS, "ratio_exponent").items(),
)

EXPONENT_OF: Final = {
    field.column: dict(_EXPONENTS).get(field.column, "price_exponent")
    for field in TICKER_FIELDS
    if field.kind == "decimal"
}
"""Which exponent a decimal column of `tickers` has; what is no size, value or ratio is a price."""


def _trades(field: pa.Field) -> list[pa.Field]:
    if field.name != "trade_id":
        return [field]
    return [
        column("trade_id", pa.string(), "The exchange's id, where it is neither of the next two.", null=True),
        column("trade_uuid", pa.binary(16), "The id's 16 bytes, where it is a UUID.", null=True),
        column("trade_number", pa.int64(), "The id, where it is a whole number.", null=True),
    ]


def _tickers(field: pa.Field) -> list[pa.Field]:
    if field.name == "line":  # the exponents come behind the fields
        names = ("price_exponent", "size_exponent", "value_exponent", "ratio_exponent")
        return [*(column(name, pa.int8(), f"Exponent of the {name[:-9]} columns.") for name in names), field]
    exponent = EXPONENT_OF.get(field.name)
    if exponent is None:
        return [field]
    meaning = f"`{field.name}` = mantissa x 10^{exponent}."
    return [column(f"{field.name}_mantissa", MANTISSA, meaning, null=True)]


_STORED: Final = {Table.TRADES: _trades, Table.TICKERS: _tickers}
RESHAPED: Final = frozenset(_STORED)
"""The tables whose files have other columns since schema version 2."""


def written_schema(table: Table) -> pa.Schema:
    """The schema that a table's files are written with: its own, or what is stored for it."""
    schema = schema_of(table)
    stored = _STORED.get(table)
    if stored is None:
        return schema
    return pa.schema([part for field in schema for part in stored(field)], metadata=schema.metadata)


def stored_schema(table: Table) -> pa.Schema:
    """The schema that Parquet readers find in a table's files."""
    return plain_schema(written_schema(table))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """A schema with names as plain texts, and without metadata."""
    return pa.schema(
        [
            pa.field(
                field.name,
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
                nullable=field.nullable,
            )
            for field in schema
        ]
    )
