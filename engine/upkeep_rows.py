"""Rows that come from notes: how far off our clock was, which books were audited. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from schemas.names import Table
from schemas.notes import Audited, ClockOffset, ClockStepped, Note

__all__ = ["UpkeepRows"]

NS_PER_DAY: Final = 86_400 * 10**9
NO_SYMBOL: Final = "_"
_FITS: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")


class UpkeepRows:
    """Collects the rows of one segment.

    Args:
        collector: written into every row.
        symbol_of: under which symbol the rows about a topic are filed.

    Attributes:
        rows: per table, rows with the table's columns, and ``key``: symbol and UTC day of their file.
    """

    def __init__(self, collector: str, symbol_of: Callable[[str], str]) -> None:
        self._collector = collector
        self._symbol_of = symbol_of
        self.rows: dict[Table, list[dict[str, Any]]] = {Table.CLOCK_OFFSETS: [], Table.AUDITS: []}

    def note(self, note: Note, receive_ns: int, sequence: int) -> None:
        """Take a note; those that are not about upkeep make no row."""
        if isinstance(note, ClockOffset):
            self._add(
                Table.CLOCK_OFFSETS, NO_SYMBOL, receive_ns, sequence,
                method=note.method, offset_ns=note.offset_ns, error_ns=note.error_ns,
                round_trip_ns=note.round_trip_ns, step_ns=None,
            )  # fmt: skip
        elif isinstance(note, ClockStepped):
            self._add(
                Table.CLOCK_OFFSETS, NO_SYMBOL, receive_ns, sequence,
                method="step", offset_ns=None, error_ns=None, round_trip_ns=None, step_ns=note.step_ns,
            )  # fmt: skip
        elif isinstance(note, Audited):
            ours, theirs = _decimals(note.ours), _decimals(note.theirs)
            self._add(
                Table.AUDITS, self._symbol_of(note.topic), receive_ns, sequence,
                topic=note.topic, against=note.against, outcome=note.outcome, comparisons=note.comparisons,
                update_id=note.update_id, cross_sequence=note.cross_sequence, levels=note.levels,
                side=note.side, level=note.level, our_price=ours[0], our_size=ours[1],
                their_price=theirs[0], their_size=theirs[1], disbelieved=note.disbelieved,
            )  # fmt: skip

    def _add(self, table: Table, symbol: str, receive_ns: int, sequence: int, **columns: Any) -> None:
        self.rows[table].append(
            {
                "key": (symbol, receive_ns // NS_PER_DAY),
                "sequence": sequence,
                "collector": self._collector,
                "receive_time": receive_ns,
                **columns,
            }
        )


def _decimals(level: tuple[str, str] | None) -> tuple[Decimal | None, Decimal | None]:
    return (None, None) if level is None else (_decimal(level[0]), _decimal(level[1]))


def _decimal(text: str) -> Decimal | None:
    """What the other side wrote may be anything; what is no DECIMAL(38,18) is null."""
    return Decimal(text) if _FITS.fullmatch(text) else None
