"""How long from frames' bytes to Arrow tables, the books being applied and checked on the way?"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from benchmarks.contenders import CoreBatch, Orjson, quotes_of
from benchmarks.feed import Feed, with_books
from benchmarks.timing import Contender, Quotes, check_quotes, machine, time_all
from schemas.errors import DataError
from schemas.names import RowKind

__all__ = ["HELD_BYTES", "CoreColumns", "columns", "message_rows"]

HELD_BYTES = 4 << 20
"""Rows that are held before they are handed over as tables."""


class CoreColumns(Contender):
    """Ours in batches as ``CoreBatch``, and each frame's rows as Arrow tables of the archive's schemas."""

    name = "tapebook_columns"

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._batch = CoreBatch(feed)
        self.tables: list[pa.Table] = []

    def prepare(self) -> None:
        """Empty books, no rows."""
        self._batch.engine = self._feed.engine(columns=True)
        self.tables = []

    def run(self) -> None:
        """Apply batch by batch, and take the rows whenever ``HELD_BYTES`` of them are held, and at the end."""
        engine, tables = self._batch.engine, self.tables
        for batch in self._batch.batches:
            engine.apply_batch(*batch)
            if engine.row_bytes > HELD_BYTES:
                tables += engine.take_rows("benchmark").values()
        tables += engine.take_rows("benchmark").values()

    def quotes(self) -> Quotes:
        """The best levels. Raises DataError unless the tables have every row that the engine counted."""
        engine = self._batch.engine
        expected = sum(int(engine.feed_counters(index)["rows"] or 0) for index in range(engine.feed_count))
        found = sum(map(message_rows, self.tables))
        if found != expected:
            raise DataError(
                f"{self.name}: found {found} rows in the tables, expected the {expected} that were made"
            )
        return quotes_of(engine, self._feed)


def message_rows(table: pa.Table) -> int:
    """Rows of a table without keyframes, which no message made."""
    if "update_id" not in table.column_names:
        return int(table.num_rows)
    kinds = table.column("kind").unify_dictionaries().combine_chunks()
    codes, names = kinds.indices.to_numpy(), kinds.dictionary.to_pylist()
    return int((codes != names.index(RowKind.KEYFRAME.value)).sum())


def columns(feed: Feed, whole: Feed, repetitions: int) -> dict[str, Any]:
    """Time the way to tables for one topic's frames and for those of a whole feed, each beside orjson.loads."""
    return {
        "benchmark": "columns",
        "unit": "ns per frame",
        "held_bytes": HELD_BYTES,
        "repetitions": repetitions,
        **_measured(feed, repetitions),
        "whole_feed": _measured(whole, repetitions),
        **machine(["tapebook", "orjson", "numpy", "pyarrow"]),
    }


def _measured(feed: Feed, repetitions: int) -> dict[str, Any]:
    tables = CoreColumns(feed)
    contenders: list[Contender] = [tables, CoreBatch(feed), Orjson(feed)]
    check_quotes(contenders, quotes_of(with_books(feed), feed))
    rows = sum(table.num_rows for table in tables.tables)
    table_bytes = sum(table.nbytes for table in tables.tables)
    times = time_all(contenders, repetitions, len(feed.frames))
    return {
        **feed.describe(),
        "rows_per_frame": round(rows / len(feed.frames), 3),
        "table_bytes_per_frame": round(table_bytes / len(feed.frames), 1),
        **times.result(),
    }
