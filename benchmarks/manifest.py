"""What a manifest of many symbols costs its readers: a day's, rolled, compacted and made short, or behind many more."""

from __future__ import annotations

import tempfile
import time
from datetime import date as date_type
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.manifest_readers import READERS, reading
from benchmarks.timing import machine
from recorder.manifest import append_manifest, manifest_path, read_manifest
from recorder.manifest_checkpoint import shorten_manifest
from schemas.manifest import (
    FeedEnds,
    FileRun,
    ManifestCompaction,
    ManifestFile,
    ManifestSegment,
    SegmentHeader,
)
from schemas.names import Table

__all__ = ["manifest"]

SEGMENTS = 96
TABLES = (Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.COVERAGE)
AT_ONCE = 64
_DATE = date_type(2020, 1, 1)
_LAST_DATE = "2026-11-21"
_SPAN = (1_795_219_200_000_000_000, 1_795_305_600_000_000_000)


def manifest(symbols: int, days: int = 0) -> dict[str, Any]:
    """Write the lines of a day of so many symbols, without the files, and read them before and behind a checkpoint.

    With so many days before it, which are compacted: what each kind of reader takes before the day is compacted, and
    behind it.
    """
    with tempfile.TemporaryDirectory(prefix="tapebook-benchmark-") as directory:
        archive = Path(directory)
        path = manifest_path(archive, "linear")
        if days:
            return _long(archive, path, symbols, days)
        _compact(archive, _write(archive, symbols))
        before = _reading(archive, path)
        began = time.process_time()
        dropped = shorten_manifest(archive, "linear")
        seconds = time.process_time() - began
        return {
            "machine": machine(),
            "symbols": symbols,
            "before": before,
            "behind": _reading(archive, path),
            "checkpoint": {"dropped": dropped, "cpu_seconds": round(seconds, 3)},
        }


def _long(archive: Path, path: Path, symbols: int, days: int) -> dict[str, Any]:
    for day in range(days):
        _write_compacted(archive, symbols, day)
    replaced = _write(archive, symbols, days * SEGMENTS)
    rolled = {name: reading(name, archive) for name in READERS if name != "checkpoint"}
    before = path.stat().st_size
    _compact(archive, replaced)
    return {
        "machine": machine(),
        "symbols": symbols,
        "days": days,
        "bytes": before,
        "rolled": rolled,
        "compacted": {name: reading(name, archive) for name in READERS if name != "whole"},
        "bytes_behind": path.stat().st_size,
    }


def _reading(archive: Path, path: Path) -> dict[str, Any]:
    began = time.process_time()
    files = len(read_manifest(archive).files)
    seconds = time.process_time() - began
    content = path.read_bytes()
    return {
        "bytes": len(content),
        "lines": content.count(b"\n"),
        "files": files,
        "cpu_seconds_to_read": round(seconds, 4),
    }


def _segment(segment: int, files: int) -> ManifestSegment:
    header = SegmentHeader("wss://stream.bybit.com", "tapebook", 1, 2)
    return ManifestSegment(
        "linear", "linear", "mainnet", segment, 1, _SPAN[1], files, 9, 9, (segment, segment), {}, 0, "rotated",
        "tapebook", content_sha256=f"{segment:064x}", header=header,
    )  # fmt: skip


def _write_compacted(archive: Path, symbols: int, day: int) -> None:
    """The lines of a day that a checkpoint has left."""
    first = day * SEGMENTS + 1
    merged = [
        _file(table, symbol, first, first + SEGMENTS - 1, day)
        for table in TABLES
        for symbol in range(symbols)
    ]
    compaction = ManifestCompaction("linear", _SPAN[1], len(merged), [], "tapebook")
    segments = [_segment(first + number, 0) for number in range(SEGMENTS)]
    append_manifest(archive, "linear", [*segments, *merged, compaction])


def _write(archive: Path, symbols: int, before: int = 0) -> dict[tuple[Table, int], list[str]]:
    """The lines of a day's rolls, behind so many segments."""
    replaced: dict[tuple[Table, int], list[str]] = {}
    for segment in range(before + 1, before + SEGMENTS + 1):
        files = []
        for table in TABLES:
            for symbol in range(symbols):
                files.append(_file(table, symbol, segment, None))
                replaced.setdefault((table, symbol), []).append(files[-1].path)
        append_manifest(archive, "linear", [*files, _segment(segment, len(files))])
    return replaced


def _compact(archive: Path, replaced: dict[tuple[Table, int], list[str]]) -> None:
    """The lines of that day's compaction."""
    last = int(next(iter(replaced.values()))[-1].rpartition("-")[2].removesuffix(".parquet"))
    merged = [(_file(*key, last - SEGMENTS + 1, last), paths) for key, paths in replaced.items()]
    for start in range(0, len(merged), AT_ONCE):
        part = merged[start : start + AT_ONCE]
        removed = [path for _, paths in part for path in paths]
        compaction = ManifestCompaction("linear", _SPAN[1], len(part), removed, "tapebook")
        append_manifest(archive, "linear", [*(file for file, _ in part), compaction])


def _file(table: Table, symbol: int, segment: int, last_segment: int | None, day: int = -1) -> ManifestFile:
    date = (_DATE + timedelta(days=day + 1)).isoformat() if day >= 0 else _LAST_DATE
    name = f"linear-{segment}" if last_segment is None else f"linear-{segment}-{last_segment}-{symbol:012x}"
    is_book = table is Table.BOOK_UPDATES
    return ManifestFile(
        path=f"{table.value}/category=linear/symbol=S{symbol}USDT/date={date}/{name}.parquet",
        table=table.value, category="linear", symbol=f"S{symbol}USDT", date=date, collector="linear", segment=segment,
        rows=9000, bytes=300_000, sha256=f"{symbol:064x}", sequence=(1, 10**9), receive_ns=_SPAN,
        match_ms=(1_795_219_200_000, 1_795_305_600_000), push_ms=(1_795_219_200_000, 1_795_305_600_000),
        update_id=(10**8, 10**8 + 9000) if is_book else None, cross_sequence=(10**11, 10**11 + 10**6), gaps=0,
        feeds={f"orderbook.50.S{symbol}USDT": FeedEnds(9000, 1, 9000, "0" * 16, "1" * 16)} if is_book else {},
        schema_version=2, software="tapebook", last_segment=last_segment,
        runs=None if last_segment is None else [FileRun(1, 9000, (1, 10**9), _SPAN, None, None)],
    )  # fmt: skip
