"""Archives made by hand: rows written with pyarrow from the table schemas, and manifest lines about them."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import store
from recorder import parquet_files
from recorder.encodings import Profile, Purpose, open_writer, profile
from recorder.manifest import append_manifest
from schemas.manifest import FeedEnds, ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import schema_of
from schemas.time import format_date

MS = 1_000_000
NOON_NS = 1_723_118_400_000_000_000  # 2024-08-08T12:00:00Z

_DEFAULTS: dict[str, Any] = {
    "collector": "linear",
    "depth": 50,
    "kind": "delta",
    "applied": True,
    "price_exponent": -2,
    "size_exponent": -3,
    "line": 0,
    "source": "stream",
    "side": "buy",
    "trade_id": "t",
    "keys": 0,
    "messages": 1,
    "lines": 1,
    "topic": "orderbook.50.BTCUSDT",
    "cause": "lost",
}
_MANTISSAS = ("bid_price_mantissa", "bid_size_mantissa", "ask_price_mantissa", "ask_size_mantissa")


def table_of(table: Table, rows: list[dict[str, Any]]) -> pa.Table:
    """Build a table; times are integers of the column's own unit, absent columns get a default or null."""
    schema = schema_of(table)
    columns = []
    for field in schema:
        fallback: Any = [] if field.name in _MANTISSAS else _DEFAULTS.get(field.name)
        values = [row.get(field.name, fallback) for row in rows]
        if pa.types.is_timestamp(field.type):
            columns.append(pa.array(values, pa.int64()).cast(field.type))
        elif pa.types.is_dictionary(field.type):
            columns.append(pa.array(values, pa.string()).dictionary_encode().cast(field.type))
        elif pa.types.is_decimal(field.type):
            columns.append(pa.array([None if v is None else Decimal(v) for v in values], field.type))
        else:
            columns.append(pa.array(values, field.type))
    return pa.Table.from_arrays(columns, schema=schema)


class HandmadeArchive:
    """Write segments into ``data``; each call of ``segment`` is one committed roll."""

    def __init__(self, data: Path, collector: str = "linear", category: str = "linear") -> None:
        self.data = data
        self.collector = collector
        self.category = category
        self.archive = data / "archive"

    def segment(
        self,
        start_ns: int,
        tables: dict[tuple[Table, str], list[dict[str, Any]]],
        *,
        run_ns: int | None = None,
        commit: bool = True,
        row_group_rows: int = 1 << 16,
        schema_version: int = 1,
    ) -> list[ManifestFile | ManifestSegment]:
        """Write the rows of a segment, one file per table, symbol and UTC date, and return the lines."""
        entries: list[ManifestFile | ManifestSegment] = []
        sequences: list[int] = [0]
        for (table, symbol), rows in tables.items():
            by_date: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                row.setdefault("collector", self.collector)
                sequences.append(row["sequence"])
                moment = row["push_time"] * MS if "push_time" in row else row.get("receive_time", start_ns)
                by_date.setdefault(format_date(moment), []).append(row)
            for date, part in by_date.items():
                entries.append(
                    self._file(start_ns, table, symbol, date, part, row_group_rows, schema_version)
                )
        entries.append(
            ManifestSegment(
                collector=self.collector,
                category=self.category,
                environment="gateway",
                segment=start_ns,
                run=start_ns if run_ns is None else run_ns,
                end_ns=start_ns + 1,
                files=len(entries),
                records=1,
                frames=1,
                sequence=(min(sequences[1:], default=0), max(sequences)),
                undecodable={},
                repeats=0,
                ended="stopped",
                software="test",
            )
        )
        if commit:
            append_manifest(self.archive, self.collector, entries)
        return entries

    def _file(
        self,
        start_ns: int,
        table: Table,
        symbol: str,
        date: str,
        rows: list[dict[str, Any]],
        group: int,
        version: int,
    ) -> ManifestFile:
        path = (
            f"{table.value}/category={self.category}/symbol={quote(symbol, safe='')}/date={date}/"
            f"{self.collector}-{start_ns}.parquet"
        )
        target = self.archive / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if version == 1:
            pq.write_table(table_of(table, rows), target, row_group_size=group)
        else:
            with open_writer(target, table, profile("compact", table)) as writer:
                writer.write_table(store(table, table_of(table, rows)), row_group_size=group)
        receive = "receive_time" if table not in (Table.GAPS, Table.COVERAGE) else "start_time"
        return ManifestFile(
            path=path,
            table=table.value,
            category=self.category,
            symbol=symbol,
            date=date,
            collector=self.collector,
            segment=start_ns,
            rows=len(rows),
            bytes=target.stat().st_size,
            sha256=hashlib.sha256(target.read_bytes()).hexdigest(),
            sequence=_span(rows, "sequence"),
            receive_ns=_span(rows, receive),
            match_ms=_span(rows, "match_time"),
            push_ms=_span(rows, "push_time"),
            update_id=_span(rows, "update_id"),
            cross_sequence=_span(rows, "cross_sequence"),
            gaps=0,
            feeds=_feeds(table, symbol, rows),
            schema_version=version,
            software="test",
        )


def _span(rows: list[dict[str, Any]], column: str) -> tuple[int, int] | None:
    values = [row[column] for row in rows if row.get(column) is not None]
    return (min(values), max(values)) if values else None


def _feeds(table: Table, symbol: str, rows: list[dict[str, Any]]) -> dict[str, FeedEnds]:
    if table is Table.RPI_BOOK_UPDATES:
        return {f"orderbook.rpi.{symbol}": FeedEnds(len(rows))}
    if table is not Table.BOOK_UPDATES:
        return {}
    depths = [row.get("depth", 50) for row in rows]
    return {f"orderbook.{depth}.{symbol}": FeedEnds(depths.count(depth)) for depth in sorted(set(depths))}


def small_row_groups(monkeypatch: pytest.MonkeyPatch, *, rows: int = 65_536, levels: int = 2 << 20) -> None:
    """Have files written in row groups of so many rows and levels."""

    def small(purpose: Purpose, table: Table) -> Profile:
        return profile(purpose, table)._replace(row_group_rows=rows, row_group_levels=levels)

    monkeypatch.setattr(parquet_files, "profile", small)
