"""The rows of an answer: a stream of Arrow batches that becomes what its reader likes to work with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from schemas.errors import ConfigError

__all__ = ["Result"]


class Result:
    """Rows in batches, as they are made; iterate once.

    Whoever stops early closes it, or forgets it: what made the rows stops then.

    Attributes:
        schema: Arrow schema of the batches.
        types: DuckDB's names of the column types where the rows come from SQL; they tell apart what Arrow does not
            (HUGEINT, DECIMAL). Otherwise Arrow's names.
    """

    __slots__ = ("_batches", "schema", "types")

    def __init__(
        self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], types: Sequence[str] | None = None
    ) -> None:
        self.schema = schema
        self.types = [str(type_) for type_ in schema.types] if types is None else list(types)
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the remaining rows to any library that speaks Arrow, batch by batch."""
        return self.reader().__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        """Stop making rows, and let go of what makes them; there is no need to if all were read."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()

    def reader(self) -> pa.RecordBatchReader:
        """Return the remaining rows as Arrow's own stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches)

    def table(self) -> pa.Table:
        """Return all remaining rows at once."""
        return pa.Table.from_batches(list(self), self.schema)

    def pandas(self) -> Any:
        """Return all remaining rows as a pandas DataFrame. Raises ConfigError where pandas is not installed."""
        try:
            import pandas  # noqa: F401  # pyarrow makes the frame; here its absence gets a sentence
        except ImportError:
            raise _absent("pandas") from None
        return self.table().to_pandas()

    def polars(self) -> Any:
        """Return all remaining rows as a polars DataFrame. Raises ConfigError where polars is not installed."""
        try:
            import polars
        except ImportError:
            raise _absent("polars") from None
        return polars.from_arrow(self.table())


def _absent(library: str) -> ConfigError:
    return ConfigError(
        f".{library}() needs {library}, which is not installed: pip install {library}; "
        "without it .table() gives the same rows as an Arrow table"
    )
