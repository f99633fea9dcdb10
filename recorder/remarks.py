"""What is said beside the rows of a query, since they do not say it themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
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
_READ: Final = re.compile(r"\b(?:from|join)\s+(trades|book_updates)(?:_raw)?\b(?!\s*\()")
_OF_TRADES: Final = frozenset(("bars", "trades_with_quotes"))


def remarks(archive: Archive, sql: str, style: Format, rows: int) -> list[str]:
    """Return what is to be said of a query that gave so many rows, line by line."""
    if rows == 0:
        return [*_recorded(archive, sql), *not_asked_yet(archive.open_segments)]
    lines = _recorded_twice(archive, sql)
    if style is Format.TABLE and rows > MAX_TABLE_ROWS:
        lines.append(
            f"only the first {MAX_TABLE_ROWS} rows are shown; "
            "narrow the query, or take all with --format csv, json or parquet"
        )
    return lines


def _recorded_twice(archive: Archive, sql: str) -> list[str]:
    """Return where rows come of two collectors at once, so that sums count them twice, for who does not say which."""
    words = set(re.findall(r"\w+", sql.lower()))
    if words & {"collector", "distinct"}:
        return []
    lines = []
    read = set(_READ.findall(sql.lower()))
    for table in (Table.TRADES, Table.BOOK_UPDATES):
        if table.value not in read:
            continue
        found = archive.manifest.symbols(table)
        named = [pair for pair in found if pair[1].lower() in sql.lower()] or found
        for category, symbol in named:
            spans: dict[str, list[tuple[int, int]]] = {}
            for file in archive.files(table, category=category, symbol=symbol):
                if file.receive_ns is not None:
                    spans.setdefault(file.collector, []).append(file.receive_ns)
            if len(spans) > 1 and _overlap(spans.values()):
                lines.append(
                    f"{table.value}: {category} {symbol} was recorded by {' and '.join(sorted(spans))} at once, and "
                    "the rows of each are there: column collector tells them apart"
                )
                break
    return lines


def _overlap(owners: Iterable[list[tuple[int, int]]]) -> bool:
    """Whether a span of one overlaps one of another."""
    reached: dict[int, int] = {}
    for low, high, owner in sorted((*span, number) for number, spans in enumerate(owners) for span in spans):
        if any(end > low for other, end in reached.items() if other != owner):
            return True
        reached[owner] = max(reached.get(owner, high), high)
    return False


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
