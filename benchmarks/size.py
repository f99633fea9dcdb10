"""How many bytes of Parquet a frame becomes, as rolled and as compacted, and what queries over these cost."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.feed import Feed, topic_of
from benchmarks.replay import Segment
from benchmarks.timing import machine
from recorder.archive import open_archive
from recorder.compact import compact_data
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from schemas.errors import ConfigError, DataError
from schemas.tables import book_of_topic

__all__ = ["size"]

READ_FRAMES = 300_000
"""Queries are timed over so many frames, repeated if there are fewer: else planning is all that is timed."""
LEAST_READ_FRAMES = 50_000
PASSES = 5
QUERIES = {
    "one_minute": "SELECT count(*) FROM book_updates WHERE push_time BETWEEN (SELECT min(push_time) FROM book_updates) "
    "AND (SELECT min(push_time) + INTERVAL 1 MINUTE FROM book_updates)",
    "book_columns": "SELECT max(update_id), sum(cross_sequence % 10), max(receive_time) FROM book_updates",
    "levels_of_depth_50": "SELECT sum(list_sum(bid_size_mantissa)) FROM book_updates_raw WHERE depth = 50",
    "levels": "SELECT sum(list_sum(bid_size_mantissa)), sum(list_sum(ask_price_mantissa)) FROM book_updates_raw",
    "volume": "SELECT symbol, sum(size_mantissa) FROM trades GROUP BY symbol",
    "trade_ids": "SELECT max(trade_id) FROM trades",
    "one_ticker_column": "SELECT max(mark_price) FROM tickers",
    "four_ticker_columns": "SELECT max(mark_price), max(index_price), max(turnover_24h), max(bid1_size) FROM tickers",
}


def size(feed: Feed, topic: str) -> dict[str, Any]:
    """Journal, roll and compact these frames, and say what is left of each of them, in bytes.

    Args:
        feed: the frames.
        topic: an order-book feed whose rows are looked at by themselves; the first symbol's, where it names none.

    Raises:
        ConfigError: there is no such order-book feed.
    """
    wanted = next((known for known in feed.topics if f"{known}.".startswith(f"{topic}.")), None)
    if wanted is None or book_of_topic(wanted) is None:
        books = ", ".join(known for known in feed.topics if book_of_topic(known) is not None)
        raise ConfigError(f"--topic {topic}: expected an order-book feed of the frames: {books}")
    frames = sum(topic_of(frame) == wanted for frame in feed.frames)
    with Segment(feed) as segment:
        archive = segment.data / "archive"
        roll_data(segment.data)
        rolled = _figures(archive, len(feed.frames), wanted, frames)
        compact_data(segment.data, grace_s=0)
        compacted = _figures(archive, len(feed.frames), wanted, frames)
        raw_bytes = sum(map(len, feed.frames))
        return {
            "benchmark": "size",
            "unit": "bytes per frame",
            **feed.describe(),
            "raw": round(raw_bytes / len(feed.frames), 2),
            "journal": round(segment.path.stat().st_size / len(feed.frames), 2),
            "topic": wanted,
            "topic_frames": frames,
            "figures": {
                "roll": rolled,
                "compact": compacted,
            },
            "queries_ms": _queries(feed),
            **machine(["tapebook", "pyarrow", "duckdb"]),
        }


def _queries(feed: Feed) -> dict[str, Any]:
    """Processor time of queries over the rolled and the compacted archive, and how many frames these have."""
    repeats = max(1, READ_FRAMES // len(feed.frames)) if len(feed.frames) >= LEAST_READ_FRAMES else 1
    with Segment(feed, repeats) as segment:
        roll_data(segment.data)
        rolled = _timed(segment.data)
        compact_data(segment.data, grace_s=0)
        compacted = _timed(segment.data)
    if rolled[1] != compacted[1]:
        raise DataError("the compacted archive answers other than the rolled one, expected the same")
    return {"frames": repeats * len(feed.frames), "roll": rolled[0], "compact": compacted[0]}


def _timed(data: Path) -> tuple[dict[str, float], list[Any]]:
    """The best time of each query, ms, and the answers."""
    times: dict[str, float] = {}
    answers: list[Any] = []
    with open_archive(data) as archive:
        for name, query in QUERIES.items():
            best = float("inf")
            for _ in range(PASSES):
                start = time.process_time_ns()
                answer = archive.sql(query).table()
                best = min(best, (time.process_time_ns() - start) / 1e6)
            times[name] = round(best, 1)
            answers.append(
                [sorted(map(str, column.to_pylist())) for column in answer.cast(_plain(answer)).columns]
            )
    return times, answers


def _plain(answer: pa.Table) -> pa.Schema:
    """Times as integers: Python's have no nanoseconds."""
    return pa.schema(
        [
            (field.name, pa.int64() if pa.types.is_timestamp(field.type) else field.type)
            for field in answer.schema
        ]
    )


def _figures(archive: Path, frames: int, topic: str, topic_frames: int) -> dict[str, Any]:
    """What the files that count are made of."""
    files = read_manifest(archive).files
    tables: dict[str, int] = defaultdict(int)
    metadata = 0
    feed_bytes = 0.0
    feed_columns: dict[str, int] = defaultdict(int)
    book = book_of_topic(topic)
    assert book is not None
    for file in files:
        found = pq.read_metadata(archive / file.path)
        tables[file.table] += file.bytes
        metadata += found.serialized_size
        if (file.table, file.symbol) == (book[0].value, book[2]):
            feed_bytes += _of_depth(found, file.bytes, book[1], feed_columns)
    total = sum(tables.values())
    return {
        "archive": round(total / frames, 2),
        "tables": {name: round(count / frames, 3) for name, count in sorted(tables.items())},
        "footers": round(metadata / frames, 3),
        "manifest": round(sum(path.stat().st_size for path in (archive / "manifest").iterdir()) / frames, 3),
        "files": len(files),
        # rolled row groups mix depths, so that no part of them is one feed's
        "topic": round(feed_bytes / topic_frames, 2) if feed_bytes else None,
        "topic_columns": {name: round(count / topic_frames, 3) for name, count in feed_columns.items()},
    }


def _of_depth(found: pq.FileMetaData, length: int, depth: int, columns: dict[str, int]) -> float:
    """Bytes of the row groups that have this depth only, and their share of what isn't in any row group."""
    groups = [found.row_group(number) for number in range(found.num_row_groups)]
    counted = [
        (group, sum(group.column(i).total_compressed_size for i in range(group.num_columns)))
        for group in groups
    ]
    rest = length - sum(count for _, count in counted)
    total = 0.0
    for group, count in counted:
        paths = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        spans = paths["depth"].statistics
        if spans is None or not spans.has_min_max or not spans.min == spans.max == depth:
            continue
        total += count + rest / len(groups)
        for name, column in paths.items():
            columns[name.split(".")[0]] += column.total_compressed_size
    return total
