"""The archive's Parquet files: where they lie, how they are encoded, and how they appear whole or not at all.

The bytes of a file depend on its rows alone: row groups are cut by count, never by when rows arrived.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.replay import Key
from recorder.version import SOFTWARE
from schemas.errors import StoreError
from schemas.manifest import FeedEnds, ManifestFile
from schemas.names import Table
from schemas.tables import SCHEMA_VERSION, book_topic, schema_of

__all__ = ["ROW_GROUP_ROWS", "ArchiveFile", "date_of_day", "file_path", "sync_directory"]

ROW_GROUP_ROWS = 65_536
COMPRESSION = "zstd"
COMPRESSION_LEVEL = 6

# Integers that grow by small steps: differences compress far better than the values.
_DELTA = {
    Table.BOOK_UPDATES: (
        "sequence", "receive_time", "push_time", "match_time", "update_id", "cross_sequence",
        "bid_price_mantissa.list.element", "ask_price_mantissa.list.element",
    ),
    Table.RPI_BOOK_UPDATES: (
        "sequence", "receive_time", "push_time", "match_time", "update_id", "cross_sequence",
        "bid_price_mantissa.list.element", "ask_price_mantissa.list.element",
    ),
    Table.TRADES: ("sequence", "receive_time", "push_time", "match_time", "price_mantissa", "cross_sequence"),
    Table.TICKERS: ("sequence", "receive_time", "push_time", "cross_sequence"),
    Table.GAPS: (),
    Table.COVERAGE: (),
    Table.INSTRUMENTS: (),
    Table.KLINES: ("sequence", "receive_time", "push_time", "match_time"),
    Table.LIQUIDATIONS: ("sequence", "receive_time", "push_time", "match_time"),
    Table.INSURANCE: ("sequence", "receive_time", "push_time"),
    Table.ADL_ALERTS: ("sequence", "receive_time", "push_time"),
    Table.PRICE_LIMITS: ("sequence", "receive_time", "push_time"),
    Table.SYSTEM_STATUS: ("sequence", "receive_time", "push_time"),
}  # fmt: skip


def date_of_day(day: int) -> str:
    """``YYYY-MM-DD`` of a count of UTC days since 1970-01-01."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()


def file_path(key: Key, category: str, collector: str, segment_ns: int) -> str:
    """Path of a segment's file relative to the archive; symbols are percent-encoded (design, "Archive")."""
    table, symbol, day = key
    return (
        f"{table.value}/category={category}/symbol={quote(symbol, safe='')}/date={date_of_day(day)}/"
        f"{collector}-{segment_ns}.parquet"
    )


class ArchiveFile:
    """One Parquet file being written beside its final name; it exists for nobody until ``finish``.

    Args:
        archive: root of the archive.
        key: table, symbol and day.
        category, collector, segment_ns: which segment it is rolled from.
    """

    def __init__(self, archive: Path, key: Key, category: str, collector: str, segment_ns: int) -> None:
        self.table, self.symbol, self.day = key
        self.category, self.collector, self.segment_ns = category, collector, segment_ns
        self.relative = file_path(key, category, collector, segment_ns)
        self.path = archive / self.relative
        self._temporary = self.path.with_name(self.path.name + ".tmp")
        self._schema = schema_of(self.table)
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._ranges: dict[str, tuple[int, int]] = {}
        self._feeds: dict[str, FeedEnds] = {}
        self.rows = 0

    def append(self, rows: pa.Table) -> None:
        """Take rows that follow the ones before."""
        self._note_ranges(rows)
        self.rows += rows.num_rows
        self._pending.append(rows)
        self._pending_rows += rows.num_rows
        while self._pending_rows >= ROW_GROUP_ROWS:
            self._write(ROW_GROUP_ROWS)

    def finish(self, gaps: int) -> ManifestFile:
        """Write what is left, sync, take the final name, and describe the file for the manifest."""
        try:
            if self._pending_rows or self._writer is None:
                self._write(self._pending_rows)
            assert self._writer is not None
            self._writer.close()
            self._writer = None
            digest = hashlib.sha256()
            with open(self._temporary, "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                size = file.tell()
                os.fsync(file.fileno())
            self._temporary.rename(self.path)
        except OSError as error:
            raise self._failure(error) from error
        return ManifestFile(
            path=self.relative,
            table=self.table.value,
            category=self.category,
            symbol=self.symbol,
            date=date_of_day(self.day),
            collector=self.collector,
            segment=self.segment_ns,
            rows=self.rows,
            bytes=size,
            sha256=digest.hexdigest(),
            sequence=self._ranges.get("sequence"),
            receive_ns=self._ranges.get("receive_time") or self._ranges.get("start_time"),
            match_ms=self._ranges.get("match_time"),
            push_ms=self._ranges.get("push_time"),
            update_id=self._ranges.get("update_id"),
            cross_sequence=self._ranges.get("cross_sequence"),
            gaps=gaps,
            feeds=dict(sorted(self._feeds.items())),
            schema_version=SCHEMA_VERSION,
            software=SOFTWARE,
        )

    def discard(self) -> None:
        """Leave nothing behind, as far as the disk lets us: what went wrong before is the news."""
        with contextlib.suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        self._writer = None
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _write(self, rows: int) -> None:
        table = pa.concat_tables(self._pending) if self._pending else self._schema.empty_table()
        try:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = _writer(self._temporary, self.table, self._schema)
            # one chunk a column, so that how rows arrived leaves no trace in the encoding
            self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP_ROWS)
        except OSError as error:
            raise self._failure(error) from error
        rest = table.slice(rows)
        self._pending = [rest] if rest.num_rows else []
        self._pending_rows = rest.num_rows

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: could not be written: {error}; the journal still has everything: "
            "free space or mend the disk, then `tapebook roll` again"
        )

    def _note_ranges(self, rows: pa.Table) -> None:
        for name in (
            "sequence",
            "receive_time",
            "start_time",
            "match_time",
            "push_time",
            "update_id",
            "cross_sequence",
        ):
            if name not in rows.schema.names:
                continue
            column = rows.column(name)
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.int64())
            ends = pc.min_max(column)
            low, high = ends["min"].as_py(), ends["max"].as_py()
            if low is None:
                continue
            before = self._ranges.get(name, (low, high))
            self._ranges[name] = (min(low, before[0]), max(high, before[1]))
        if self.table in (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES):
            for depth in pc.unique(rows.column("depth")).to_pylist():
                topic = book_topic(self.table, depth, self.symbol)
                self._note_feed(topic, rows.filter(pc.equal(rows.column("depth"), depth)))

    def _note_feed(self, topic: str, rows: pa.Table) -> None:
        digests = rows.column("digest").drop_null()
        first = f"{digests[0].as_py():016x}" if len(digests) else None
        last = f"{digests[-1].as_py():016x}" if len(digests) else None
        before = self._feeds.get(topic)
        self._feeds[topic] = FeedEnds(
            rows=rows.num_rows + (before.rows if before else 0),
            first_update_id=before.first_update_id if before else rows.column("update_id")[0].as_py(),
            last_update_id=rows.column("update_id")[-1].as_py(),
            first_digest=(before.first_digest if before else None) or first,
            last_digest=last or (before.last_digest if before else None),
        )


def _writer(path: Path, table: Table, schema: pa.Schema) -> pq.ParquetWriter:
    delta = _DELTA.get(table, ())
    leaves = [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name for field in schema
    ]
    return pq.ParquetWriter(
        path,
        schema,
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=[leaf for leaf in leaves if leaf not in delta],
        column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED") or None,
        write_statistics=True,
        version="2.6",
        data_page_version="2.0",
    )


def sync_directory(path: Path) -> None:
    """Make renames in a directory last. Raises StoreError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"{path}: could not be synced: {error}; mend the disk, then try again") from error
