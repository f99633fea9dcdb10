"""Archive rows that drivers make, kept in the order of the journal until they are taken."""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from engine.arrow_rows import column_of
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["Rows"]

VALUE_BYTES: Final = 100
"""Memory of one value, roughly: what Python takes for a decimal."""


class Rows:
    """Rows of every driven feed of an engine.

    Attributes:
        bytes: memory that rows not yet taken use, roughly.
        recent: (table, symbol, row) since somebody emptied it; only kept where somebody made a list of it.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.recent: list[tuple[Table, str, list[Any]]] | None = None
        self._groups: dict[tuple[Table, str, int], list[list[Any]]] = {}

    def add(self, table: Table, symbol: str, day: int, row: list[Any]) -> None:
        """Add a row: the table's columns in their order, without `collector`; times as integers.

        Args:
            table: of the archive.
            symbol: whose file the row goes to.
            day: UTC day since 1970-01-01.
            row: its values.
        """
        self._groups.setdefault((table, symbol, day), []).append(row)
        self.bytes += VALUE_BYTES * len(row)
        if self.recent is not None:
            self.recent.append((table, symbol, row))

    def take(self, collector: str, out: dict[tuple[Table, str, int], pa.Table]) -> None:
        """Move all rows into `out`, as tables with the schemas of schemas.tables."""
        for key, rows in self._groups.items():
            schema = schema_of(key[0])
            columns = list(zip(*rows, strict=True))
            columns.insert(schema.get_field_index("collector"), (collector,) * len(rows))
            out[key] = pa.Table.from_arrays(
                [column_of(values, field.type) for values, field in zip(columns, schema, strict=True)],
                schema=schema,
            )
        self._groups.clear()
        self.bytes = 0
