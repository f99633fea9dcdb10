"""The SQL views and macros over the archive, as statements to run on a DuckDB connection.

The SQL itself lies in ``schemas/sql``. Two session variables feed it: ``<table>_files``, the list of Parquet
files of a table, and ``masked``, whether rows that no state may be built on are hidden.

===================  =======================================================================================
view                 shows
===================  =======================================================================================
``<table>_raw``      every row as recorded, with ``category``, ``symbol`` and ``date`` in front
``book_updates``     rows that a book took (all when not masked), prices and sizes as lists of doubles beside
``rpi_book_updates`` the same of RPI books, which have two sizes a level
``trades``           all trades, ``price`` and ``size`` as doubles beside
``tickers``          rows that may be believed (all when not masked)
``gaps``             one row per gap: the closed one where a later segment healed it
``coverage``         one row per span: pieces that follow each other without a break are joined
``instruments``      what instruments-info says, whenever that changed; ``instruments_now`` is its latest state
``clock_offsets``    how far the exchange's clock is from ours, with error bounds, and jumps of ours
``funding_history``  fundings as ``backfill`` fetched them; so ``reference_klines`` (candles of trades, mark price,
                     index price and premium), ``open_interest`` and ``delivery_prices``
``audits``           books held against REST and against other depths, and what came of it
``klines``, ...      every row of the tables of `schemas.event_tables`: each is complete in itself
``raw_records``      what no other table says of the journal's records
``lateness``         how late each book, trade and ticker message came, in milliseconds
``candles``          one row per candle of ``klines``: the final one, or the last that was heard of it
``mark_prices``,     what ``tickers`` carries of these, one row per message that named it
``index_prices``,
``funding_rates``,
``deliveries``
===================  =======================================================================================
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from schemas.names import Table
from schemas.tables import SCHEMAS, TICKER_FIELDS

__all__ = ["MASKED_VARIABLE", "files_variable", "view_statements"]

MASKED_VARIABLE: Final = "masked"


def files_variable(table: Table) -> str:
    """Return the name of the session variable that holds a table's files."""
    return f"{table.value}_files"


def view_statements() -> str:
    """Return the SQL that creates all macros and views; the session variables must be set before it runs."""
    raw = _sql("raw")
    return "\n".join(
        (
            _sql("macros"),
            *(raw.format(table=table.value, **_symbol(table)) for table in Table),
            *(_sql(table.value) for table in Table),
            _sql("lateness"),
            _sql("of_tickers").format(**{field.key: 1 << bit for bit, field in enumerate(TICKER_FIELDS)}),
        )
    )


def _symbol(table: Table) -> dict[str, str]:
    """Where a table's symbols are: in its rows if it has that column, else in the path of its files."""
    if "symbol" in SCHEMAS[table].names:
        return {"symbol": "symbol", "excluded": "filename, symbol"}
    return {"symbol": "url_decode(substr(string_split(filename, '/')[-3], 8))", "excluded": "filename"}


def _sql(name: str) -> str:
    return (files("schemas") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
