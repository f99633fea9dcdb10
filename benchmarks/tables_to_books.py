"""Rows of the archive back to books: the contender that ``replay`` and ``book`` share."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.columns import HELD_BYTES
from benchmarks.contenders import symbol_of
from benchmarks.feed import Feed, batches
from benchmarks.timing import Contender, Quotes
from engine.core.feeds import Engine
from engine.core.replay import BookReplay
from schemas.names import Table

__all__ = ["TablesToBooks"]


class TablesToBooks(Contender):
    """Rows of ``book_updates`` back to books, with the best bid and ask behind each row: one ``nogil`` call a table."""

    name = "tapebook_tables_to_books"

    def __init__(self, feed: Feed) -> None:
        engine = feed.engine(columns=True)
        parts: dict[str, list[pa.Table]] = {topic: [] for topic in feed.topics}
        for batch in batches(feed):
            engine.apply_batch(*batch)
            if engine.row_bytes > HELD_BYTES:
                _file(engine, parts)
        _file(engine, parts)
        self._tables = parts
        self._replays: dict[str, BookReplay] = {}
        self._best: dict[str, pa.RecordBatch] = {}

    def prepare(self) -> None:
        """Empty books."""
        self._replays = {topic: BookReplay(int(topic.split(".")[1])) for topic in self._tables}
        self._best = {}

    def run(self) -> None:
        """Replay table by table."""
        for topic, tables in self._tables.items():
            best = self._replays[topic].best
            for table in tables:
                self._best[topic] = best(table)

    def quotes(self) -> Quotes:
        """The best levels behind the last row of each topic."""
        return {
            topic: tuple(best.column(i)[-1].as_py() for i in range(4)) for topic, best in self._best.items()
        }


def _file(engine: Engine, parts: dict[str, list[pa.Table]]) -> None:
    """Take the rows held and file them by topic, which a column of a table does not name."""
    for (table, symbol, _), rows in engine.take_rows("benchmark").items():
        for topic, tables in parts.items():
            if table is Table.BOOK_UPDATES and symbol_of(topic) == symbol:
                own = rows.filter(pc.equal(rows.column("depth"), int(topic.split(".")[1])))
                if own.num_rows:
                    tables.append(own.combine_chunks())
