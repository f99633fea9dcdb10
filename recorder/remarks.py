"""What is said beside the rows of a query, since they do not say it themselves."""

from __future__ import annotations

import re
from typing import Final

from recorder.archive import Archive
from recorder.open_segments import not_asked_yet
from recorder.ranges.function import Kind
from recorder.render import MAX_TABLE_ROWS, Format
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.names import Table
from schemas.time import NS_PER_MS, format_ns

__all__ = ["remarks"]

_MOST_SYMBOLS_NAMED: Final = 5
_OF_TRADES: Final = frozenset(("bars", "trades_with_quotes"))


def remarks(archive: Archive, sql: str, style: Format, rows: int) -> list[str]:
    """Return what is to be said of a query that gave so many rows, line by line."""
    if rows == 0:
        return [*_recorded(archive, sql), *not_asked_yet(archive.open_segments)]
    if style is Format.TABLE and rows > MAX_TABLE_ROWS:
        return [
            f"only the first {MAX_TABLE_ROWS} rows are shown; "
            "narrow the query, or take all with --format csv, json or parquet"
        ]
    return []


def _recorded(archive: Archive, sql: str) -> list[str]:
    """Return what there is, for a query that found nothing: the tables and symbols that it names, or some."""
    words = set(re.findall(r"\w+", sql.lower()))
    lines = ["no rows"]
    functions = [function for name, function in TABLE_FUNCTIONS.items() if name in words]
    asked = {Table.TRADES if function.name in _OF_TRADES else Table.BOOK_UPDATES for function in functions}
    if "mark" not in words and any(
        each.kind is Kind.UNTRUSTED for function in functions for each in function.parameters
    ):
        lines.append("rows that may not be trusted are left out; untrusted := 'mark' shows them")
    for table in Table:
        if table not in asked and table.value not in words and f"{table.value}_raw" not in words:
            continue
        symbols = archive.manifest.symbols(table)
        named = [pair for pair in symbols if pair[1].lower() in sql.lower()] or symbols
        for category, symbol in named[:_MOST_SYMBOLS_NAMED]:
            spans = [span.receive_ns for span in archive.ranges(category, symbol, table) if span.receive_ns]
            pushed = [span.push_ms for span in archive.ranges(category, symbol, table) if span.push_ms]
            if pushed:
                low, high = min(pushed)[0] * NS_PER_MS, max(span[1] for span in pushed) * NS_PER_MS
                lines.append(
                    f"{table.value}: {category} {symbol} {format_ns(low)} to {format_ns(high)} (push time)"
                )
            elif spans:
                low, high = min(spans)[0], max(span[1] for span in spans)
                lines.append(
                    f"{table.value}: {category} {symbol} {format_ns(low)} to {format_ns(high)} (receive time)"
                )
        if not symbols:
            none = "none is on record" if table is Table.GAPS else "nothing was recorded"
            lines.append(f"{table.value}: {none}")
        elif len(named) > _MOST_SYMBOLS_NAMED:
            lines.append(f"{table.value}: and {len(named) - _MOST_SYMBOLS_NAMED} more symbols")
    return lines
