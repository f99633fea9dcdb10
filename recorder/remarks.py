"""What is said beside the rows of a query, since they do not say it themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from engine.event_wire import NO_SYMBOL
from recorder.archive import Archive
from recorder.open_segments import not_asked_yet, overlooked, unread
from recorder.ranges.function import Kind
from recorder.render import MAX_TABLE_ROWS, Format
from recorder.result import Result
from recorder.sql.calls import tables_read
from recorder.sql.functions import TABLE_FUNCTIONS
from schemas.names import Category, Table
from schemas.time import NS_PER_MS, format_ns

__all__ = ["OnlyRow", "remarks"]

_MOST_SYMBOLS_NAMED: Final = 5
# What each collector that is subscribed to it records, so that rows of two are the same said twice.
_OF_EACH: Final = (
    Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.KLINES, Table.LIQUIDATIONS,
    Table.INSURANCE, Table.ADL_ALERTS, Table.PRICE_LIMITS, Table.SYSTEM_STATUS,
)  # fmt: skip
_OF_TICKERS: Final = frozenset(("deliveries", "funding_rates", "index_prices", "mark_prices"))
_DESCRIBES: Final = re.compile(r"\s*(?:explain|describe|desc|show)\b", re.I)
_ASKED: Final = frozenset((*Table, *_OF_TICKERS, "candles", "instruments_now", "lateness", *TABLE_FUNCTIONS))
_OF_TRADES: Final = frozenset(("bars", "trades_with_quotes"))


class OnlyRow:
    """Looks at the rows of a query while they pass: an aggregate of nothing has one row all the same.

    Args:
        result: the rows.
    """

    def __init__(self, result: Result) -> None:
        self._rows = 0
        self._first: pa.RecordBatch | None = None
        self.result = Result(result.schema, self._watched(result), result.types)

    @property
    def says_nothing(self) -> bool:
        """Whether there was one row, and nothing in it but zeros and nulls."""
        return (
            self._rows == 1
            and self._first is not None
            and not any(column[0].as_py() for column in self._first.columns)
        )

    def _watched(self, result: Result) -> Iterator[pa.RecordBatch]:
        for batch in result:
            if batch.num_rows:
                self._first = batch if self._rows == 0 else None
                self._rows += batch.num_rows
            yield batch


def remarks(archive: Archive, sql: str, style: Format, rows: int, *, says_nothing: bool = False) -> list[str]:
    """Return what is to be said of a query, line by line.

    Args:
        archive, sql, style: what was asked.
        rows: how many it gave.
        says_nothing: they are an aggregate of nothing, as far as one can see.
    """
    if rows == 0:
        return [*_recorded(archive, sql), *not_asked_yet(archive.open_segments)]
    lines = [*_recorded_twice(archive, sql), *_not_in_it(archive, sql, says_nothing)]
    if style is Format.TABLE and rows > MAX_TABLE_ROWS:
        lines.append(
            f"only the first {MAX_TABLE_ROWS} rows are shown; "
            "narrow the query, or take all with --format csv, json or parquet"
        )
    return lines


def _not_in_it(archive: Archive, sql: str, says_nothing: bool) -> list[str]:
    """Return what is recorded and not among the rows, since its segment is open."""
    words = set(re.findall(r"\w+", sql.lower()))
    if (
        not archive.open_segments
        or _DESCRIBES.match(sql)
        or not any(word.removesuffix("_raw") in _ASKED for word in words)
    ):
        return []
    segments = unread(archive, _categories(sql))
    return not_asked_yet(segments if says_nothing else overlooked(archive, segments))


def _categories(sql: str) -> list[str]:
    """The product lines that a query names; in quotes, since spread is a function and a column too."""
    literals = set(re.findall(r"'(\w+)'", sql))
    return [category.value for category in Category if category in literals]


def _recorded_twice(archive: Archive, sql: str) -> list[str]:
    """Return where rows come of two collectors at once, so that sums count them twice, for who does not say which."""
    words = set(re.findall(r"\w+", sql.lower()))
    if words & {"collector", "distinct"}:
        return []
    lines = []
    read = {name.removesuffix("_raw") for name in tables_read(sql)}
    asked = _categories(sql) or [*Category]
    for table in _OF_EACH:
        names = [table.value, *(sorted(_OF_TICKERS) if table is Table.TICKERS else ())]
        name = next((name for name in names if name in read), None)
        if name is None:
            continue
        found = [pair for pair in archive.manifest.symbols(table) if pair[0] in asked]
        named = [pair for pair in found if pair[1].lower() in sql.lower()] or found
        for category, symbol in named:
            spans: dict[str, list[tuple[int, int]]] = {}
            for file in archive.files(table, category=category, symbol=symbol):
                if file.receive_ns is not None:
                    spans.setdefault(file.collector, []).append(file.receive_ns)
            if len(spans) > 1 and _overlap(spans.values()):
                feed = category if symbol == NO_SYMBOL else f"{category} {symbol}"
                lines.append(
                    f"{name}: {feed} was recorded by {' and '.join(sorted(spans))} at once, and "
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
