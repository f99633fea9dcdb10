"""The SQL views and macros over the archive, as statements to run on a DuckDB connection.

The SQL itself lies in ``schemas/sql``. Session variables feed it: ``<table>_files``, the list of Parquet files of a
table (``<table>_files_1`` where those of schema version 1 have other columns), and ``masked``, whether rows that no
state may be built on are hidden.

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

from collections.abc import Collection
from importlib.resources import files
from typing import Final

from schemas.names import Table
from schemas.stored import EXPONENT_OF, RESHAPED
from schemas.tables import SCHEMAS, TICKER_FIELDS

__all__ = ["MASKED_VARIABLE", "files_variable", "view_statements"]

MASKED_VARIABLE: Final = "masked"


def files_variable(table: Table, *, earlier: bool = False) -> str:
    """Return the name of the session variable that holds a table's files.

    Args:
        table: one of them.
        earlier: those of schema version 1, where version 2 has other columns (``schemas.stored.RESHAPED``).
    """
    return f"{table.value}_files_1" if earlier else f"{table.value}_files"


def view_statements(earlier: Collection[Table] = ()) -> str:
    """Return the SQL that creates all macros and views; the session variables must be set before it runs.

    Args:
        earlier: the tables that have files of schema version 1 with other columns than version 2.
    """
    return "\n".join(
        (
            _sql("macros"),
            *(_raw(table, table in earlier) for table in Table),
            *(_sql(table.value) for table in Table),
            _sql("lateness"),
            _sql("of_tickers").format(**{field.key: 1 << bit for bit, field in enumerate(TICKER_FIELDS)}),
        )
    )


def _raw(table: Table, earlier: bool) -> str:
    symbol = _symbol(table)
    source = (
        f"read_parquet(getvariable('{files_variable(table)}'), hive_partitioning = false, filename = true)"
    )
    columns = f"* EXCLUDE ({symbol['excluded']})"
    if table in RESHAPED:
        columns = ",\n    ".join(_restored(table, name) for name in SCHEMAS[table].names)
    if table is Table.TICKERS:
        # once a unit, not once a column: what a query costs that reads only one of them is to understand all
        units = sorted({exponent.removesuffix("_exponent") for exponent in EXPONENT_OF.values()})
        steps = ", ".join(
            f"step_of({u}_exponent) AS {u}_step, steps_of({u}_exponent) AS {u}_steps" for u in units
        )
        source = f"(SELECT *, {steps} FROM {source})"
    more = _sql("earlier").format(table=table.value, **symbol).rstrip() if earlier else ""
    return _sql("raw").format(
        table=table.value, symbol=symbol["symbol"], columns=columns, source=source, earlier=more
    )


def _restored(table: Table, name: str) -> str:
    """A column of the table out of what its files hold; ``engine.stored_rows`` does the same in Python."""
    if table is Table.TRADES and name == "trade_id":
        return (
            "coalesce(trade_id, CAST(CAST(trade_uuid AS UUID) AS VARCHAR), CAST(trade_number AS VARCHAR)) "
            "AS trade_id"
        )
    if table is Table.TICKERS and name in EXPONENT_OF:
        unit = EXPONENT_OF[name].removesuffix("_exponent")
        return f"exact_decimal({name}_mantissa, {unit}_step, {unit}_steps) AS {name}"
    return name


def _symbol(table: Table) -> dict[str, str]:
    """Where a table's symbols are: in its rows if it has that column, else in the path of its files."""
    if "symbol" in SCHEMAS[table].names:
        return {"symbol": "symbol", "excluded": "filename, symbol"}
    return {"symbol": "url_decode(substr(string_split(filename, '/')[-3], 8))", "excluded": "filename"}


def _sql(name: str) -> str:
    return (files("schemas") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
