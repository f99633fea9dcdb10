"""What the columns of the archive's tables are made of: types with one meaning each, and columns that many have."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

__all__ = ["COLLECTOR", "DECIMAL", "EXCHANGE", "NAME", "RECEIVE", "RECEIVE_TIME", "SEQUENCE", "column"]

RECEIVE: Final = pa.timestamp("ns", tz="UTC")
EXCHANGE: Final = pa.timestamp("ms", tz="UTC")
DECIMAL: Final = pa.decimal128(38, 18)
NAME: Final = pa.dictionary(pa.int8(), pa.string())


def column(name: str, type_: pa.DataType, meaning: str, *, null: bool = False) -> pa.Field:
    """A column with one sentence of meaning, which travels in the files."""
    return pa.field(name, type_, nullable=null, metadata={"meaning": meaning})


SEQUENCE: Final = column(
    "sequence", pa.int64(), "Ordinal, in its collector's journal, of the record this row comes from."
)
COLLECTOR: Final = column("collector", pa.string(), "Name of the collector that recorded the row.")
RECEIVE_TIME: Final = column("receive_time", RECEIVE, "When the record was made (our wall clock, ns).")
