"""What a query for one minute of a day reads of a compacted book, by rows a row group, and what a row takes then."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq

from benchmarks.feed import Feed
from benchmarks.replay import Segment
from benchmarks.timing import machine
from recorder import merged_files
from recorder.compact import merge_group
from recorder.encodings import profile
from recorder.manifest import read_manifest
from recorder.merge_rows import Source
from recorder.roll import roll_data
from schemas.names import Table

__all__ = ["ranges"]

ROWS = (8_192, 16_384, 32_768, 65_536, 131_072)
MINUTE_NS = 60 * 10**9
DAY_NS = 86_400 * 10**9


def ranges(feed: Feed) -> dict[str, Any]:
    """Compact the frames of one order-book feed with several sizes of row groups.

    Args:
        feed: of one depth; of its symbols, the one with the most rows counts. Nothing is repeated, because zstd would
            find that: it takes some 280,000 generated frames to fill a row group of the largest size.
    """
    with Segment(feed) as segment:
        archive = segment.data / "archive"
        roll_data(segment.data)
        manifest = read_manifest(archive)
        files = manifest.select(Table.BOOK_UPDATES)
        file = max(files, key=lambda each: each.rows)
        assert file.receive_ns is not None
        span_ns = file.receive_ns[1] - file.receive_ns[0]
        figures = {}
        for rows in ROWS:
            how = profile("compact", Table.BOOK_UPDATES)._replace(row_group_rows=rows)
            if "max_rows_per_page" in how.writer:
                how = how._replace(writer={**how.writer, "max_rows_per_page": rows})
            with patch.object(merged_files, "profile", lambda *_, how=how: how):
                made = merge_group(archive, manifest, [Source(file, archive / file.path)])
            figures[str(rows)] = _figures(archive / made.path, file.rows, span_ns)
            (archive / made.path).unlink()
        return {
            "benchmark": "ranges",
            "unit": "bytes",
            **feed.describe(),
            "rows": file.rows,
            "rows_per_second": round(file.rows / (span_ns / 1e9), 1),
            "row_groups": figures,
            **machine(["tapebook", "pyarrow", "duckdb"]),
        }


def _figures(path: Path, rows: int, span_ns: int) -> dict[str, Any]:
    """Of one file: a row, and what is read of a day of such rows for one minute, on average over all minutes."""
    found = pq.read_metadata(path)
    column = next(i for i in range(found.num_columns) if found.schema.column(i).path == "receive_time")
    touched = 0.0
    size = 0
    for number in range(found.num_row_groups):
        group = found.row_group(number)
        statistics = group.column(column).statistics
        length = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
        size += length
        # a group is read for every minute that begins up to a minute before it, or in it
        touched += length * (statistics.max_raw - statistics.min_raw + MINUTE_NS) / (span_ns + MINUTE_NS)
    day = DAY_NS / span_ns
    return {
        "bytes_per_row": round((size + found.serialized_size) / rows, 2),
        "seconds_per_group": round(span_ns / 1e9 / found.num_row_groups, 1),
        "footer_of_a_day": round(found.serialized_size * day),
        "one_minute_of_a_day": round(touched + found.serialized_size * day),
        "share_of_the_day": round(
            (touched + found.serialized_size * day) / ((size + found.serialized_size) * day), 5
        ),
    }
