"""Rows of a file held against the rows that it should have, piece by piece; the first difference is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recorder.file_places import FilePlace
from recorder.row_groups import ArchiveReader
from recorder.row_ranges import BOOK_TABLES
from schemas.errors import Corrupt, StoreError
from schemas.names import Table
from schemas.tables import book_topic
from schemas.time import NS_PER_MS, format_ns

__all__ = ["Difference", "first_difference", "rows_of", "short"]

Keep = Callable[[pa.Table], npt.NDArray[np.bool_]]
"""Which rows are compared."""


class Difference(NamedTuple):
    """Where a file's rows begin to differ: index in the file, topic where one is concerned, and what was found."""

    row: int | None
    feed: str | None
    what: str


def rows_of(path: FilePlace, table: Table) -> Iterator[pa.Table]:
    """Yield a file's rows in their order. Raises StoreError, Corrupt."""
    with ArchiveReader(path, table) as reader:
        yield from reader.batches(reader.groups)


def first_difference(
    path: FilePlace,
    expected: Iterable[pa.Table],
    expected_rows: int,
    table: Table,
    symbol: str,
    keep: Keep | None = None,
) -> Difference | None:
    """Return where a file begins to differ from what it should hold, or None.

    Args:
        path: the file; one that isn't there differs in nothing.
        expected: its rows, in order, however they are cut.
        expected_rows: how many these are.
        table, symbol: whose rows they are.
        keep: only these rows of both are compared.
    """
    try:
        with ArchiveReader(path, table) as reader:
            if not reader.is_of_table:
                return Difference(None, None, "has other columns than its table")
            rows = sum(group.rows for group in reader.groups)
            found = _Rows(reader.batches(reader.groups), keep)
            return _compare(
                found, _Rows(expected, keep), (rows, expected_rows), table, symbol, partly=keep is not None
            )
    except Corrupt as error:
        if error.path != path:
            raise
        return Difference(None, None, f"is no Parquet file any more: {error.why}")
    except StoreError:
        if path.exists():
            raise
        return None  # said already
    except (ValueError, ArithmeticError, LookupError, MemoryError) as error:
        # an altered file may hold anything: sizes and texts that cannot be
        return Difference(None, None, f"its rows can't be read: {error}")


class _Rows:
    """A stream of rows, of which as many as are needed are in memory; each knows its place."""

    def __init__(self, batches: Iterable[pa.Table], keep: Keep | None) -> None:
        self._batches = iter(batches)
        self._keep = keep
        self._read = 0
        self.rows: pa.Table | None = None
        self.places: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def fill(self) -> int:
        """Read on if nothing is left; returns how many rows there are, 0 at the end."""
        while len(self.places) == 0:
            rows = next(self._batches, None)
            if rows is None:
                return 0
            self.places = np.arange(self._read, self._read + rows.num_rows)
            self._read += rows.num_rows
            if self._keep is not None:
                mask = self._keep(rows)
                rows, self.places = rows.filter(pa.array(mask)), self.places[mask]
            self.rows = _without_dictionaries(rows)
        return len(self.places)

    def drop(self, count: int) -> None:
        assert self.rows is not None
        self.rows, self.places = self.rows.slice(count), self.places[count:]


def _compare(
    found: _Rows, expected: _Rows, counts: tuple[int, int], table: Table, symbol: str, *, partly: bool
) -> Difference | None:
    while (left := found.fill()) and (right := expected.fill()):
        assert found.rows is not None
        assert expected.rows is not None
        count = min(left, right)
        same = _common(found.rows.slice(0, count), expected.rows.slice(0, count))
        if same < count:
            ours, theirs = _plain_row(found.rows, same), _plain_row(expected.rows, same)
            name = next((n for n in ours if ours[n] != theirs[n]), found.rows.schema.names[0])
            what = f"{name} is {short(ours[name])}, the journal says {short(theirs[name])}"
            if counts[0] != counts[1] and not partly:
                what += f" ({counts[0]} rows, the journal holds {counts[1]})"
            feed = _feed_of(expected.rows.slice(same, 1), table, symbol)
            return Difference(int(found.places[same]), feed, what)
        found.drop(count)
        expected.drop(count)
    rest = found if left else expected
    if not rest.fill():
        return None
    assert rest.rows is not None
    feed = _feed_of(rest.rows.slice(0, 1), table, symbol)
    if partly:
        what = (
            "has rows that the journal doesn't hold"
            if left
            else "ends before the rows that the journal holds"
        )
        return Difference(int(rest.places[0]) if left else None, feed, what)
    both = f"{counts[0]} rows, the journal holds {counts[1]}"
    return Difference(int(rest.places[0]), feed, f"ends after {both} ({both})")


def _common(found: pa.Table, expected: pa.Table) -> int:
    """Length of the longest common beginning."""
    if found.equals(expected):
        return int(found.num_rows)
    low, high = 0, found.num_rows - 1
    while low < high:
        middle = (low + high + 1) // 2
        if found.slice(low, middle - low).equals(expected.slice(low, middle - low)):
            low = middle
        else:
            high = middle - 1
    return low


def _without_dictionaries(rows: pa.Table) -> pa.Table:
    """Texts as they are: equal ones may be numbered differently in two files."""
    columns = [
        column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for column in rows.columns
    ]
    return pa.table(dict(zip(rows.column_names, columns, strict=True)))


def _plain_row(table: pa.Table, index: int) -> dict[str, Any]:
    """One row as plain values. Times in nanoseconds go through integers: datetime objects can't hold them."""
    row = {}
    for item, column in zip(table.schema, table.columns, strict=True):
        cell = column.slice(index, 1)
        if pa.types.is_timestamp(item.type):
            ticks = cell.cast(pa.int64())[0].as_py()
            scale = 1 if item.type.unit == "ns" else NS_PER_MS
            row[item.name] = None if ticks is None else format_ns(ticks * scale)
        else:
            row[item.name] = _plain(cell[0])
    return row


def _plain(cell: Any) -> Any:
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.cast(pa.binary()).as_py()


def short(value: object) -> str:
    """A value as text that fits into a sentence."""
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "…"


_TOPICS = {
    Table.TRADES: "publicTrade",
    Table.TICKERS: "tickers",
    Table.LIQUIDATIONS: "allLiquidation",
    Table.INSURANCE: "insurance",
    Table.ADL_ALERTS: "adlAlert",
    Table.PRICE_LIMITS: "priceLimit",
    Table.SYSTEM_STATUS: "system.status",
}


def _feed_of(row: pa.Table, table: Table, symbol: str) -> str | None:
    if row.num_rows == 0:
        return None
    if table in BOOK_TABLES:
        return book_topic(table, row.column("depth")[0].as_py(), symbol)
    if "topic" in row.schema.names:
        return str(row.column("topic")[0].as_py())
    if table is Table.INSTRUMENTS:
        return str(row.column("symbol")[0].as_py())
    if table is Table.KLINES:
        return f"kline.{row.column('interval')[0].as_py()}.{symbol}"
    if table in (Table.INSURANCE, Table.ADL_ALERTS):
        return f"{_TOPICS[table]}.{row.column('pool_group')[0].as_py()}"
    return _TOPICS.get(table, table.value) + ("" if symbol == "_" else f".{symbol}")
