"""``docs/tables.md``, written from the schemas: ``python -m schemas.describe > docs/tables.md``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from schemas.event_tables import EVENT_ROWS
from schemas.history_tables import HISTORY_ROWS
from schemas.names import Table
from schemas.raw_tables import RAW_ROW
from schemas.stored import RESHAPED, written_schema
from schemas.tables import SCHEMA_VERSION, SCHEMAS, TICKER_FIELDS

__all__ = ["ROWS", "describe_tables"]

_HEAD: Final = f"""\
# Tables

Generated from `schemas/tables.py` (schema version {SCHEMA_VERSION}) by `python -m schemas.describe`; a test
holds the two together. Files lie at `archive/<table>/category=<c>/symbol=<s>/date=<YYYY-MM-DD>/`, symbols
percent-encoded; `category`, `symbol` and `date` are columns of every view. How to query: [sql.md](sql.md).

Prices and sizes are integers beside exponents, value = mantissa x 10^exponent. Times are UTC. `null` marks
columns that may be null.

What follows is what the views show and what the engine makes. In Parquet files (schema version 2) two tables have
other columns for some of these, because that is smaller; [in the files](#in-the-files) says which.
"""

ROWS: Final[Mapping[Table, str]] = {
    Table.BOOK_UPDATES: "One order-book message, or a keyframe (the whole book) written by roll.",
    Table.RPI_BOOK_UPDATES: "One message of `orderbook.rpi`, or a keyframe written by roll.",
    Table.TRADES: "One trade.",
    Table.TICKERS: "The merged state of a ticker after a message.",
    Table.GAPS: "One span in which a feed is not trustworthy.",
    Table.COVERAGE: "One span in which a feed was recorded.",
    Table.INSTRUMENTS: (
        "What instruments-info says about an instrument, whenever that changed. All symbols of a category share files, "
        "which are filed under `_`."
    ),
    Table.CLOCK_OFFSETS: "One estimate of how far the exchange's clock is from ours, or one jump of ours.",
    Table.AUDITS: "One or more comparisons of a book with another source of the same book.",
    **HISTORY_ROWS,
    **EVENT_ROWS,
    Table.RAW_RECORDS: RAW_ROW,
}
"""What one row of each table is."""


def describe_tables() -> str:
    """Return the page, Markdown with a table of columns per archive table."""
    return "\n".join((_HEAD, *(_describe(table) for table in Table), _ticker_keys(), _in_files()))


def _describe(table: Table) -> str:
    lines = [
        f"## {table.value}",
        "",
        ROWS[table],
        "",
        "| column | type | null | meaning |",
        "|---|---|---|---|",
    ]
    for field in SCHEMAS[table]:
        meaning = field.metadata[b"meaning"].decode()
        lines.append(
            f"| `{field.name}` | {_type_name(field.type)} | {'null' if field.nullable else ''} | {meaning} |"
        )
    return "\n".join((*lines, ""))


def _ticker_keys() -> str:
    lines = ["### Bits of `tickers.keys`", "", "| bit | key of the exchange | column |", "|---|---|---|"]
    lines += [f"| {bit} | `{field.key}` | `{field.column}` |" for bit, field in enumerate(TICKER_FIELDS)]
    return "\n".join((*lines, ""))


def _in_files() -> str:
    lines = [
        "## In the files",
        "",
        "Without the views: `trades` has three columns for the id, of which one is there, and `tickers` has each",
        "decimal as a whole number, with an exponent that columns of one unit share. Files of schema version 1 have",
        "the columns above.",
        "",
        "| table | column | type in the file | meaning |",
        "|---|---|---|---|",
    ]
    for table in sorted(RESHAPED):
        for field in written_schema(table):
            if field.name in SCHEMAS[table].names and field.equals(SCHEMAS[table].field(field.name)):
                continue
            meaning = field.metadata[b"meaning"].decode()
            lines.append(f"| `{table.value}` | `{field.name}` | {_type_name(field.type)} | {meaning} |")
    return "\n".join((*lines, ""))


def _type_name(type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):
        return "text"
    if pa.types.is_string(type_):
        return "text"
    if pa.types.is_list(type_):
        return f"list of {_type_name(type_.value_type)}"
    if pa.types.is_timestamp(type_):
        return f"time, {type_.unit}"
    if pa.types.is_fixed_size_binary(type_) and not pa.types.is_decimal(type_):
        return f"{type_.byte_width} bytes"
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    return str(type_)


if __name__ == "__main__":
    sys.stdout.write(describe_tables())
