"""Export as plain Parquet: a file a table, prices and sizes as decimals in place of mantissas and exponents."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recorder.archive import Archive
from recorder.exporting.selection import (
    ExportSelection,
    at_most_one_collector,
    rows_of,
    spans_of,
    time_column,
)
from recorder.output import make_directory, new_file, remove_stale
from schemas.columns import DECIMAL
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["ExportedTable", "decimals", "export_parquet", "plain_rows"]

_LEFT_OUT: Final = frozenset({Table.RAW_RECORDS})
_SPANS: Final = frozenset({Table.GAPS, Table.COVERAGE})
_SUFFIX: Final = "_mantissa"


class ExportedTable(NamedTuple):
    """A file that was written."""

    path: str
    table: str
    rows: int


def export_parquet(
    archive: Archive,
    chosen: ExportSelection,
    directory: Path,
    tables: list[str] | None = None,
    *,
    told: Callable[[str], None] = lambda _: None,
) -> list[ExportedTable]:
    """Write a symbol's rows of a span, each table as ``DIRECTORY/<table>.parquet``; those without rows make no file.

    Args:
        archive: opened.
        chosen: which rows.
        directory: made if it is missing; files of the same names are replaced, and removed where there are no rows.
        tables: only these.
        told: handed a sentence about each file that was removed.

    Raises:
        ConfigError: no such table, several collectors, or a directory that can be none.
        NoData: no table has such rows.
        StoreError: the disk refuses.
    """
    known = [table for table in Table if table not in _LEFT_OUT and time_column(table) is not None]
    unknown = sorted(set(tables or ()) - {table.value for table in known})
    if unknown:
        raise ConfigError(f"--tables {','.join(unknown)}: expected some of {', '.join(known)}")
    wanted = [table for table in known if tables is None or table.value in tables]
    chosen = at_most_one_collector(archive, wanted, chosen) or chosen
    done = []
    without_rows = []
    for table in wanted:
        where = "applied" if "applied" in schema_of(table).names else "true"
        rows = 0
        path = directory / f"{table.value}.parquet"
        of_spans = table in _SPANS
        result = (
            spans_of(archive, table, chosen) if of_spans else rows_of(archive, table, chosen, where=where)
        )
        batches = (plain_rows(batch) for batch in result if batch.num_rows)
        first = next(batches, None)
        if first is None:
            without_rows.append(path)
            continue
        make_directory(directory, data=archive.data)
        with (
            new_file(path, data=archive.data) as out,
            pq.ParquetWriter(out, first.schema, compression="zstd") as writer,
        ):
            for batch in chain([first], batches):
                writer.write_table(batch)
                rows += batch.num_rows
        done.append(ExportedTable(str(path), table.value, rows))
    if not done:
        raise NoData(
            f"{archive.data}: no rows of {chosen.category} {chosen.symbol} in that span; "
            "`tapebook status` tells what there is"
        )
    remove_stale(without_rows, told)
    return done


def plain_rows(batch: pa.RecordBatch) -> pa.Table:
    """Put decimals in place of mantissas: ``price_mantissa`` becomes ``price``; exponents go."""
    names = batch.schema.names
    columns: list[pa.Array] = []
    fields: list[pa.Field] = []
    for name, column in zip(names, batch.columns, strict=True):
        if name in ("price_exponent", "size_exponent"):
            continue
        if name.endswith(_SUFFIX):
            exponent = batch.column(names.index("size_exponent" if "size" in name else "price_exponent"))
            name, column = name[: -len(_SUFFIX)], decimals(column, exponent)
        columns.append(column)
        fields.append(pa.field(name, column.type))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def decimals(mantissas: pa.Array, exponents: pa.Array) -> pa.Array:
    """Mantissas, or lists of them, x 10^exponent of their row, as DECIMAL(38,18), exactly."""
    scales = -np.asarray(exponents.to_numpy(zero_copy_only=False), np.int64)
    if pa.types.is_list(mantissas.type):
        values = mantissas.flatten()
        lengths = np.asarray(mantissas.value_lengths().to_numpy(zero_copy_only=False), np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _scaled(values, np.repeat(scales, lengths)))
    return _scaled(mantissas, scales)


def _scaled(values: pa.Array, scales: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pa.Array:
    if not len(values):
        return pa.array([], DECIMAL)
    edges = np.flatnonzero(np.diff(scales)) + 1
    starts = [0, *edges.tolist(), len(scales)]
    pieces = []
    for start, end in pairwise(starts):
        numbers = np.asarray(values.slice(start, end - start).to_numpy(zero_copy_only=False), np.int64)
        wide = np.empty((len(numbers), 2), np.int64)  # a decimal is an int128, low half first
        wide[:, 0], wide[:, 1] = numbers, numbers >> 63
        exact = pa.Array.from_buffers(
            pa.decimal128(38, int(scales[start])), len(numbers), [None, pa.py_buffer(wide.tobytes())]
        )
        pieces.append(exact.cast(DECIMAL))
    return pa.concat_arrays(pieces)
