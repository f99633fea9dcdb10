"""What is exported: one symbol's rows of a span, of one collector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from recorder.archive import Archive, Result
from schemas.errors import ConfigError, NoData
from schemas.names import Category, Table
from schemas.tables import FULL_DEPTH, schema_of

__all__ = [
    "ExportSelection",
    "at_most_one_collector",
    "book_depth",
    "one_collector",
    "rows_of",
    "spans_of",
    "time_column",
]


class ExportSelection(NamedTuple):
    """One symbol's rows.

    Attributes:
        category, symbol: whose.
        from_ns, to_ns: span of receive time, its end not included; None where it is open.
        collector: only this one's.
        depth: of the order book; None for the only one, or 50.
    """

    category: str
    symbol: str
    from_ns: int | None = None
    to_ns: int | None = None
    collector: str | None = None
    depth: int | None = None


def time_column(table: Table) -> str | None:
    """The column by which a table's rows are in a span; None where it has none."""
    names = schema_of(table).names
    return next((name for name in ("receive_time", "start_time") if name in names), None)


def rows_of(
    archive: Archive,
    table: Table,
    chosen: ExportSelection,
    columns: str = "*",
    *,
    view: str = "",
    where: str = "true",
) -> Result:
    """A table's rows in the order of their sequence, those of one frame as the frame had them."""
    clauses, values = _clauses(chosen)
    if chosen.collector is not None:
        values.append(chosen.collector)
        clauses.append(f"collector = ${len(values)}")
    moment = time_column(table)
    for bound, sign in ((chosen.from_ns, ">="), (chosen.to_ns, "<")):
        if bound is not None and moment is not None:
            values.append(bound)
            clauses.append(f"epoch_ns({moment}) {sign} ${len(values)}")
    # Rows of one frame share their sequence: their place in the file is their order, which a sort alone would lose.
    return archive.sql(
        f"SELECT {'* EXCLUDE (export_place)' if columns == '*' else columns} FROM ("
        f"SELECT *, row_number() OVER () AS export_place FROM {view or table.value + '_raw'} "
        f"WHERE {' AND '.join(clauses)} AND ({where})) ORDER BY collector, sequence, export_place",
        values,
    )


def spans_of(archive: Archive, table: Table, chosen: ExportSelection) -> Result:
    """Gaps or spans of coverage that have a part in the span, each once; what nothing has ended goes on to its end.

    With the symbol's own come those that are filed elsewhere: trades of an option are a topic of its base coin, and a
    frame so damaged that its topic can't be told may have been this symbol's.
    """
    feed = chosen.symbol.partition("-")[0] if chosen.category == Category.OPTION else chosen.symbol
    values: list[Any] = [chosen.category, chosen.symbol, feed, f"publicTrade.{feed}"]
    whose = "symbol = $2 OR (symbol = $3 AND topic = $4)"
    clauses = ["category = $1", f"({whose})"]
    if table is Table.GAPS:
        recorders = f"SELECT collector FROM coverage WHERE category = $1 AND ({whose})"
        clauses[1] = f"({whose} OR (symbol = '_' AND topic = '' AND collector IN ({recorders})))"
    for column, value, clause in (
        ("collector", chosen.collector, "{} = ${}"),
        ("end_time", chosen.from_ns, "({0} IS NULL OR epoch_ns({0}) >= ${1})"),
        ("start_time", chosen.to_ns, "epoch_ns({}) < ${}"),
    ):
        if value is not None:
            values.append(value)
            clauses.append(clause.format(column, len(values)))
    order = "ORDER BY collector, start_time, topic, sequence"
    return archive.sql(f"SELECT * FROM {table.value} WHERE {' AND '.join(clauses)} {order}", values)


def _clauses(chosen: ExportSelection) -> tuple[list[str], list[Any]]:
    return ["category = $1", "symbol = $2"], [chosen.category, chosen.symbol]


def one_collector(archive: Archive, tables: Sequence[Table], chosen: ExportSelection) -> ExportSelection:
    """Name the collector whose rows they are.

    Raises:
        ConfigError: several have recorded the symbol, or the one that was named hasn't.
        NoData: none has.
    """
    narrowed = at_most_one_collector(archive, tables, chosen)
    if narrowed is not None:
        return narrowed
    known = sorted(
        {f"{category} {symbol}" for table in tables for category, symbol in archive.manifest.symbols(table)}
    )
    raise NoData(
        f"{archive.data}: nothing of {chosen.category} {chosen.symbol} is recorded; there is "
        + (", ".join(known[:8]) or "nothing at all")
        + (f" and {len(known) - 8} more" if len(known) > 8 else "")
    )


def at_most_one_collector(
    archive: Archive, tables: Sequence[Table], chosen: ExportSelection
) -> ExportSelection | None:
    """Name the collector whose rows they are; None where none has any. Raises ConfigError as ``one_collector``."""
    names = sorted(
        {
            found.collector
            for table in tables
            for found in archive.files(table, category=chosen.category, symbol=chosen.symbol)
        }
    )
    if not names:
        return None
    if chosen.collector is not None:
        if chosen.collector not in names:
            raise ConfigError(
                f"--collector: found {chosen.collector!r}, expected one of those that have recorded {chosen.symbol}: "
                + ", ".join(names)
            )
        return chosen
    if len(names) > 1:
        raise ConfigError(
            f"{chosen.symbol} was recorded by {', '.join(names)}: name one with --collector, so that "
            "nothing comes twice"
        )
    return chosen._replace(collector=names[0])


def book_depth(archive: Archive, chosen: ExportSelection) -> int | None:
    """The depth of the book to export; None where no book is recorded. Raises ConfigError where it must be named."""
    found = rows_of(archive, Table.BOOK_UPDATES, chosen, "depth", where="kind <> 'keyframe'").table()
    depths = sorted(set(found["depth"].to_pylist()))
    if chosen.depth is not None:
        if chosen.depth not in depths:
            raise ConfigError(f"--depth {chosen.depth}: found {_named(depths) or 'no book'} in that span")
        return chosen.depth
    if not depths:
        return None
    if len(depths) == 1 or 50 in depths:
        return depths[0] if len(depths) == 1 else 50
    raise ConfigError(f"{chosen.symbol} has books of depth {_named(depths)}: name one with --depth")


def _named(depths: list[int]) -> str:
    return ", ".join("full" if depth == FULL_DEPTH else str(depth) for depth in depths)
