"""What the manifest says of a file, held against the file: its name, its rows, their ranges and feeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from recorder.file_places import FilePlace, size_of
from recorder.row_groups import ArchiveReader
from recorder.row_ranges import BOOK_TABLES, RANGED, Ranges, RunRanges, receive_range
from schemas.errors import TapebookError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["wrong_in_line"]


def wrong_in_line(
    path: FilePlace, file: ManifestFile, segments: Sequence[ManifestSegment]
) -> list[tuple[str, Any, Any]]:
    """Return what a file's line says and the file doesn't: key, found in the line, expected of the file.

    A file that can't be read has nothing to say here.

    Args:
        path: where the file is.
        file: the line.
        segments: of its collector.
    """
    table = Table(file.table)
    stem = f"{file.collector}-{file.segment}"
    if file.last_segment is not None:
        stem += f"-{file.last_segment}-{file.sha256[:12]}"
    wrong: list[tuple[str, Any, Any]] = []
    name = file.path.rpartition("/")[2]
    if name != f"{stem}.parquet":
        wrong.append(("path", name, f"{stem}.parquet"))
    ranges = Ranges(table, file.symbol)
    runs = RunRanges(table, file.symbol, segments)
    rows = 0
    wanted = {*RANGED, *(("depth", "digest") if table in BOOK_TABLES else ())}
    columns = [column for column in schema_of(table).names if column in wanted]
    try:
        with ArchiveReader(path, table) as reader:
            for part in reader.batches(reader.groups, columns):
                ranges.note(part)
                if file.last_segment is not None:
                    runs.note(part)
                rows += part.num_rows
        size = size_of(path)
    except (TapebookError, OSError, KeyError, ValueError, pa.ArrowException):
        return wrong
    expected = {
        "rows": rows,
        "bytes": size,
        "sequence": ranges.of("sequence"),
        "receive_ns": receive_range(ranges),
        "match_ms": ranges.of("match_time"),
        "push_ms": ranges.of("push_time"),
        "update_id": ranges.of("update_id"),
        "cross_sequence": ranges.of("cross_sequence"),
        "feeds": ranges.feeds,
        "runs": runs.runs() if file.last_segment is not None else None,
    }
    return wrong + [
        (key, getattr(file, key), value) for key, value in expected.items() if getattr(file, key) != value
    ]
