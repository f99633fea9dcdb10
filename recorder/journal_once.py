"""Which frames of a segment made rows: those that one line would have brought, however many lines there were."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa

from engine.replay import Key
from recorder.roll import replay_segment
from schemas.names import Table

__all__ = ["frames_with_rows"]

_OF_FRAMES: Final = frozenset(
    {
        Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.KLINES, Table.LIQUIDATIONS,
        Table.INSURANCE, Table.ADL_ALERTS, Table.PRICE_LIMITS, Table.SYSTEM_STATUS,
    }
)  # fmt: skip


def frames_with_rows(path: Path) -> set[int]:
    """Sequences of a sealed segment's frames that rows come of; a copy of what another line had brought makes none.

    Raises:
        Corrupt, StoreError: as ``replay_segment``.
    """
    found: set[int] = set()

    def take(tables: dict[Key, pa.Table]) -> None:
        for (table, _, _), rows in tables.items():
            if table in _OF_FRAMES:
                found.update(rows.column("sequence").to_pylist())

    replay_segment(path, take)
    return found
