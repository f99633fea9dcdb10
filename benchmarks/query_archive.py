"""A large archive to ask questions of: a quarter of an hour of two busy symbols, repeated with later clocks.

The first quarter goes the whole way, through capture, journal and roll; the others are its rows with clocks, ids and
sequences moved on, written by the roller's own files. Deterministic: the same archive whenever and wherever it is made.
"""

from __future__ import annotations

from heapq import merge
from itertools import takewhile
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.feed import CATEGORY, Feed, feed_of
from benchmarks.market import generated_topic
from benchmarks.replay import COLLECTOR, Segment
from engine.replay import Key
from engine.stored_rows import store
from recorder.archive import open_archive
from recorder.compact import compact_data
from recorder.encodings import open_writer, profile
from recorder.journal import SegmentInfo
from recorder.manifest import append_manifest
from recorder.parquet_files import file_path
from recorder.roll import replay_segment
from recorder.roll_files import RollFiles
from recorder.version import SOFTWARE
from schemas.errors import ConfigError
from schemas.manifest import Entry, ManifestFile, ManifestSegment
from schemas.names import Table
from schemas.tables import schema_of

__all__ = ["DAY_START_NS", "PERIOD_NS", "SYMBOLS", "make_archive", "make_many_files", "make_plain_trades"]

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
PERIOD_NS: Final = 900 * 10**9
DAY_START_NS: Final = 1_723_075_200 * 10**9
"""2024-08-08T00:00:00Z."""
DAY: Final = DAY_START_NS // (86_400 * 10**9)
MS: Final = 10**6
TOPICS: Final = ("orderbook.50", "publicTrade")
TABLES: Final = (Table.BOOK_UPDATES, Table.TRADES, Table.COVERAGE)
_MOST_FRAMES: Final = 200_000
_DONE: Final = "made.txt"


def make_archive(data: Path, hours: float, *, compacted: bool = False) -> None:
    """Make the archive of so many hours of both symbols in a directory, unless it is there.

    Raises:
        ConfigError: something else is there, or an archive of other hours.
    """
    periods = round(hours * 3600 * 10**9 / PERIOD_NS)
    wanted = f"{periods} periods of {PERIOD_NS} ns, {'compacted' if compacted else 'rolled'}, {SOFTWARE}\n"
    marker = data / _DONE
    if marker.exists():
        if marker.read_text() != wanted:
            raise ConfigError(
                f"{data}: holds an archive of {marker.read_text().strip()}, expected {wanted.strip()}; name another"
            )
        return
    if data.exists() and any(data.iterdir()):
        raise ConfigError(
            f"{data}: holds something else; name a directory that is empty, or does not exist yet"
        )
    feed = _quarter()
    rows = _rolled(feed)
    records = 1 + max(pc.max(each.column("sequence")).as_py() for each in rows.values())
    archive = data / "archive"
    archive.mkdir(parents=True)
    for number in range(periods):
        append_manifest(archive, COLLECTOR, _write(archive, rows, number, records))
    if compacted:
        compact_data(data, grace_s=0)
    (data / "journal").mkdir(exist_ok=True)
    marker.write_text(wanted)


def make_plain_trades(data: Path, symbol: str) -> Path:
    """Write a symbol's trades as somebody would who has no mantissas: doubles, in one file. Returns where."""
    path = data / f"plain-{symbol}.parquet"
    if not path.exists():
        with open_archive(data) as archive:
            rows = archive.sql(
                "SELECT match_time, receive_time, sequence, side::VARCHAR AS side, price, size FROM trades "
                "WHERE symbol = $1 ORDER BY sequence",
                [symbol],
            ).table()
        pq.write_table(rows, path.with_suffix(".tmp"), compression="zstd")
        path.with_suffix(".tmp").rename(path)
    return path


def make_many_files(data: Path, count: int) -> None:
    """Make an archive of so many files, which are one and the same small file under many names."""
    marker = data / _DONE
    if marker.exists():
        return
    rows = schema_of(Table.TRADES).empty_table()
    archive = data / "archive"
    first: Path | None = None
    entries: list[Entry] = []
    for number in range(count):
        symbol = f"S{number % 500:03}USDT"
        start_ns = DAY_START_NS + number // 500 * PERIOD_NS
        path = file_path((Table.TRADES, symbol, start_ns // (86_400 * 10**9)), "linear", COLLECTOR, start_ns)
        target = archive / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if first is None:
            with open_writer(target, Table.TRADES, profile("roll", Table.TRADES)) as writer:
                writer.write_table(store(Table.TRADES, rows))
            first = target
        else:
            target.hardlink_to(first)
        ms = start_ns // MS
        entries.append(
            ManifestFile(
                path=path, table="trades", category="linear", symbol=symbol, date=path.split("date=")[1][:10],
                collector=COLLECTOR, segment=start_ns, rows=0, bytes=first.stat().st_size, sha256="0" * 64,
                sequence=(number, number), receive_ns=(start_ns, start_ns), match_ms=(ms, ms), push_ms=(ms, ms),
                update_id=None, cross_sequence=None, gaps=0, feeds={}, schema_version=2, software=SOFTWARE,
            )
        )  # fmt: skip
        if number % 500 == 499 or number == count - 1:
            entries.append(_segment(start_ns, number // 500, 1))
    append_manifest(archive, COLLECTOR, entries)
    marker.write_text(f"{count} files\n")


def _quarter() -> Feed:
    lines = merge(*(generated_topic(topic, _MOST_FRAMES)[1] for topic in TOPICS))
    first = next(lines)
    end_ns = first[0] + PERIOD_NS - 10**9
    kept = takewhile(lambda line: line[0] < end_ns, lines)
    return feed_of("generated, repeated", [first, *kept])


def _rolled(feed: Feed) -> dict[Key, pa.Table]:
    """The rows of the segment, clocks from the start of the day on."""
    with Segment(feed) as segment:
        found: dict[Key, list[pa.Table]] = {}

        def take(rows: dict[Key, pa.Table]) -> None:
            for key, table in rows.items():
                if key[0] in TABLES:
                    found.setdefault(key, []).append(table)

        replay_segment(segment.path, take)
    back_ns = feed.receive_ns[0] // 10**9 * 10**9 - DAY_START_NS
    out: dict[Key, list[pa.Table]] = {}
    for (table, symbol, _), parts in found.items():
        rows = _moved(pa.concat_tables(parts), -back_ns, 0, 0)
        out.setdefault((table, symbol, DAY), []).append(rows)
    return {key: pa.concat_tables(parts).combine_chunks() for key, parts in out.items()}


def _moved(rows: pa.Table, by_ns: int, sequence: int, ids: int) -> pa.Table:
    """Rows with clocks, sequences and ids moved on."""
    by = {"sequence": sequence, "update_id": ids, "cross_sequence": ids}
    for number, field in enumerate(rows.schema):
        column = rows.column(number)
        if pa.types.is_timestamp(field.type):
            moved = pc.add(column.cast(pa.int64()), by_ns // MS if field.type.unit == "ms" else by_ns)
        elif by.get(field.name):
            moved = pc.add(column, by[field.name])
        else:
            continue
        rows = rows.set_column(number, field, moved.cast(field.type))
    return rows


def _write(archive: Path, rows: dict[Key, pa.Table], number: int, records: int) -> list[Entry]:
    start_ns = DAY_START_NS + number * PERIOD_NS
    first = number * records
    info = SegmentInfo(
        COLLECTOR, CATEGORY.value, "gateway", "ws://benchmark", SOFTWARE, DAY_START_NS, start_ns
    )
    moved: dict[Key, pa.Table] = {}
    for (table, symbol, day), each in rows.items():
        days = number * PERIOD_NS // (86_400 * 10**9)
        part = _moved(each, number * PERIOD_NS, first, number * 10**7)
        if table is Table.COVERAGE:
            part = _covering(part, start_ns, first)
        moved[table, symbol, day + days] = part
    with RollFiles(archive, info) as files:
        files.take(moved)
        entries: list[Entry] = list(files.finish())
    entries.append(_segment(start_ns, first, records))
    return entries


def _segment(start_ns: int, first: int, records: int) -> ManifestSegment:
    return ManifestSegment(
        collector=COLLECTOR, category=CATEGORY.value, environment="gateway", segment=start_ns, run=DAY_START_NS,
        end_ns=start_ns + PERIOD_NS, files=1, records=records, frames=records,
        sequence=(first, first + records - 1), undecodable={}, repeats=0, ended="rotated", software=SOFTWARE,
    )  # fmt: skip


def _covering(rows: pa.Table, start_ns: int, first: int) -> pa.Table:
    """Coverage without a break from segment to segment."""
    for name, value in (("sequence", first), ("start_time", start_ns), ("end_time", start_ns + PERIOD_NS)):
        place = rows.schema.get_field_index(name)
        column = pa.array(np.full(rows.num_rows, value, np.int64)).cast(rows.schema.field(place).type)
        rows = rows.set_column(place, rows.schema.field(place), column)
    return rows
