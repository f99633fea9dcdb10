"""Rows that come from answers of REST histories. Pure."""

from __future__ import annotations

from typing import Any, Final

from engine.bybit.histories import is_history, read_page
from schemas.errors import ExchangeError
from schemas.history_tables import HISTORY_SCHEMAS
from schemas.names import Table
from schemas.notes import RestAnswer

__all__ = ["HistoryRows"]

NS_PER_DAY: Final = 86_400 * 10**9


class HistoryRows:
    """Collects the rows of one segment.

    Args:
        collector: written into every row.

    Attributes:
        rows: per table, rows with the table's columns, and ``key``: symbol and UTC day of the answer. Histories have no
            push time, and a file per day of theirs would hold a handful of rows.
        malformed: rows and answers that could not be read.
    """

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self.rows: dict[Table, list[dict[str, Any]]] = {table: [] for table in HISTORY_SCHEMAS}
        self.malformed = 0

    def answer(self, answer: RestAnswer, receive_ns: int, sequence: int) -> None:
        """Take a REST answer; those of other endpoints make no row."""
        if not is_history(answer.path):
            return
        try:
            page = read_page(answer.path, answer.body.encode())
        except ExchangeError:  # a refusal is on record too
            self.malformed += 1
            return
        self.malformed += page.malformed
        self.rows[page.table] += [
            {
                "key": (symbol, receive_ns // NS_PER_DAY),
                "sequence": sequence,
                "collector": self._collector,
                "receive_time": receive_ns,
                **columns,
            }
            for symbol, columns in page.rows
        ]
