"""What tests of range functions share: asking one, random recordings, and moments as integers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa

from recorder.archive import Archive
from recorder.feed_rows import Clock
from recorder.ranges import FUNCTIONS
from schemas.errors import NoData
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import BOOK, COVERAGE, GAPS, NOON_MS, Recording, cover, moment_of, record

__all__ = ["ask", "ask_or_none", "random_archive", "random_range", "rows_of", "simple", "span_of", "times"]


def ask(archive: Archive, name: str, t0_ns: int, t1_ns: int, **named: Any) -> pa.Table:
    """The answer for linear BTCUSDT; ``every`` in nanoseconds."""
    function = FUNCTIONS[name]
    if isinstance(named.get("every"), int):
        named["every"] = f"{named['every']}ns"
    arguments = function.bind(["linear", "BTCUSDT", f"{t0_ns}ns", f"{t1_ns}ns"], named)
    return pa.Table.from_batches(list(function.run(archive, arguments)), function.schema(arguments))


def ask_or_none(archive: Archive, name: str, t0_ns: int, t1_ns: int, **named: Any) -> pa.Table | None:
    """The same, None where nothing was recorded."""
    try:
        return ask(archive, name, t0_ns, t1_ns, **named)
    except NoData:
        return None


def times(table: pa.Table) -> list[int]:
    """Column ``time`` as nanoseconds."""
    found: list[int] = table["time"].cast(pa.int64()).to_pylist()
    return found


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Rows, with ``time`` as nanoseconds."""
    place = table.schema.get_field_index("time")
    rows: list[dict[str, Any]] = table.set_column(place, "time", table["time"].cast(pa.int64())).to_pylist()
    return rows


def simple(data: Path, rows: list[dict[str, Any]], gaps: list[dict[str, Any]] | None = None) -> Path:
    """An archive of one recording of ten seconds from noon on."""
    tables = {BOOK: rows, COVERAGE: [cover(0, 0, 10_000)]}
    if gaps:
        tables[GAPS] = gaps
    HandmadeArchive(data).segment(NOON_NS, tables)
    return data


def random_archive(data: Path, rng: random.Random, most: int = 3) -> list[Recording]:
    """Some random recordings of the same market time, one after the other."""
    archive = HandmadeArchive(data)
    recordings: list[Recording] = []
    sequence, start_ns = 1, NOON_NS
    for _ in range(rng.randrange(1, most + 1)):
        recording, sequence = record(rng, archive, sequence, NOON_MS, start_ns)
        recordings.append(recording)
        start_ns = recording.end_ns + rng.randrange(1, 300 * MS)
    return recordings


def span_of(recordings: list[Recording], clock: Clock) -> tuple[int, int]:
    """The first and the last moment of any row."""
    moments = [moment_of(each, clock) for recording in recordings for each in recording.rows]
    return min(moments), max(moments)


def random_range(
    rng: random.Random, recordings: list[Recording], clock: Clock, every_ns: int
) -> tuple[int, int]:
    """A range around the recordings, or one that begins within them."""
    first, last = span_of(recordings, clock)
    t0, t1 = first - 5 * every_ns, last + 60 * every_ns
    return rng.choice((t0, rng.randrange(t0, t1))), t1
