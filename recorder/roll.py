"""Roll: sealed journal segments become Parquet files, by replaying them through the engine.

The same segment gives the same bytes, whoever rolls it and when. A segment shows up in the archive whole or not at
all: its files take their names first, and one manifest line at the end makes them count.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from engine.replay import Key, Mismatch, Replay
from recorder.journal import FORMAT_VERSION, Recovery, SegmentFile, SegmentReader, recover, segments
from recorder.leftovers import delete_replaced
from recorder.manifest import append_manifest, read_segments
from recorder.parquet_files import sync_directory
from recorder.roll_files import RollFiles
from recorder.version import SOFTWARE
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.manifest import Entry, ManifestFile, ManifestSegment, SegmentHeader
from schemas.names import Category, RecordKind

__all__ = [
    "Rolled",
    "pending_segments",
    "replay_segment",
    "report_recoveries",
    "roll_data",
    "roll_fully",
    "roll_lock",
    "roll_segment",
]

log = logging.getLogger("tapebook")

HELD_BYTES = 24 << 20
"""Rows that a replay of few symbols holds before the largest piles go to the files, until half of it is left: whole
row groups mostly, so that hardly any row is copied to wait for others."""
HELD_BYTES_A_SYMBOL = 192 << 10
"""Of many symbols more are held, so that their rows go in pieces that are worth the handling,"""
MAX_HELD_BYTES = 32 << 20
"""but never more than this; half of it where threads write what was handed over before."""
MAX_RECORDS = 8192
"""Records that are replayed in one go: between them somebody looks at how many rows are held."""

_ENDED = {"rotated": "rotated", "recovered": "crashed"}


@dataclass(frozen=True, slots=True)
class Rolled:
    """What became of one segment: its manifest lines, how many live digests it had, and which of them the replay did
    not arrive at."""

    segment: Path
    entries: list[Entry]
    mismatches: list[Mismatch]
    digests: int

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(entry.rows for entry in self.entries if isinstance(entry, ManifestFile))


def replay_segment(
    path: Path,
    take: Callable[[dict[Key, pa.Table]], None],
    breathe: Callable[[], None] = lambda: None,
    *,
    hashed: bool = False,
    shared: bool = False,
) -> tuple[SegmentReader, Replay]:
    """Drive one sealed segment through the engine; ``take`` gets rows as they come, in order, and ``breathe`` is called
    between batches. The reader has the content hash if it is to be ``hashed``. ``shared``: what was handed over stays
    in memory while more comes.

    Raises:
        Corrupt: the segment is torn or altered.
        StoreError: it can't be read.
    """
    with SegmentReader(path, hashed=hashed) as reader:
        info = reader.info
        replay = Replay(info.collector, Category(info.category), info.start_ns)
        held = False
        for batch in reader:
            breathe()
            for start in range(0, batch.table.num_rows, MAX_RECORDS):
                records = batch.table.slice(start, MAX_RECORDS)
                # A note about the last frame may come first, so rows wait until a frame follows.
                if held and records.column("kind")[0].as_py() == RecordKind.FRAME:
                    take(replay.take_rows(_most_held(replay, shared) // 2))
                    held = False
                replay.batch(records)
                held = held or replay.row_bytes > _most_held(replay, shared)
        end_ns = replay.close_ns if replay.close_ns is not None else replay.last_receive_ns
        take(replay.finish(end_ns))
        return reader, replay


def _most_held(replay: Replay, shared: bool) -> int:
    """Bytes of rows that may be held before some of them go to the files."""
    most = MAX_HELD_BYTES // 2 if shared else MAX_HELD_BYTES
    return min(max(HELD_BYTES, HELD_BYTES_A_SYMBOL * replay.engine.symbol_count), most)


def roll_segment(segment_path: Path, out_archive: Path, jobs: int = 1) -> list[Entry]:
    """Write one sealed segment's Parquet files below ``out_archive`` and return their manifest lines.

    The caller appends the lines; until then the files count for nobody. Written again, the files are the same, whatever
    the number of threads (``jobs``).
    """
    return roll_fully(segment_path, out_archive, jobs=jobs).entries


def roll_fully(
    segment_path: Path,
    archive: Path,
    breathe: Callable[[], None] = lambda: None,
    jobs: int = 1,
    *,
    as_recorded: bool = False,
) -> Rolled:
    """As ``roll_segment``, and say what the replay found.

    ``as_recorded`` takes the content hash from the closing note, if whoever wrote the segment took it; otherwise, and
    for whoever checks a segment, the records are hashed, and the note is held against that.
    """
    with SegmentReader(segment_path) as reader:
        info = reader.info
        note = reader.read_closing() if as_recorded else None
    hashed = note is None or note.content_sha256 is msgspec.UNSET
    with RollFiles(archive, info, jobs) as files:
        reader, replay = replay_segment(segment_path, files.take, breathe, hashed=hashed, shared=jobs > 1)
        entries: list[Entry] = list(files.finish())
        for directory in files.directories():
            sync_directory(directory)
    counters = replay.engine.counters()
    closing = reader.closing
    reason = closing.reason if closing is not None else "recovered"
    entries.append(
        ManifestSegment(
            collector=info.collector,
            category=info.category,
            environment=info.environment,
            segment=info.start_ns,
            run=info.run_start_ns,
            end_ns=replay.close_ns if replay.close_ns is not None else replay.last_receive_ns,
            files=len(entries),
            records=replay.records,
            frames=replay.frames,
            # the header's: where a recovery kept no record, the closing note has a number behind what is torn
            sequence=(reader.first_sequence, replay.last_sequence or 0),
            undecodable=counters["undecodable"],
            repeats=sum(
                int(replay.engine.feed_counters(i)["repeats"] or 0)
                for i in range(len(replay.engine.topics()))
            ),
            ended=_ENDED.get(reason, "stopped"),
            software=SOFTWARE,
            content_sha256=_content(reader),
            # as it was written: that it has been compressed since changes nothing of what it says
            header=SegmentHeader(info.endpoint, info.software, reader.first_sequence, FORMAT_VERSION),
        )
    )
    return Rolled(segment_path, entries, replay.mismatches, replay.digests)


def _content(reader: SegmentReader) -> str | None:
    """Hash of the records that were read, or the one that the closing note among them tells."""
    if reader.content is not None:
        return reader.content.hexdigest()
    told = reader.closing.content_sha256 if reader.closing is not None else None
    return told if isinstance(told, str) else None


def report_recoveries(recoveries: Iterable[Recovery]) -> None:
    """Say what became of the segments that a crash left behind."""
    for recovery in recoveries:
        log.warning(
            "%s: recovered after a crash: %d rows in %d batches kept, %d bytes set aside",
            recovery.segment.name, recovery.rows_kept, recovery.batches_kept, recovery.bytes_set_aside,
        )  # fmt: skip


def pending_segments(data: Path) -> list[SegmentFile]:
    """Sealed segments that the manifest doesn't have yet, oldest first."""
    rolled = read_segments(data / "archive").segments
    waiting = [
        segment
        for segment in segments(data)
        if segment.state == "sealed" and (segment.collector, segment.start_ns) not in rolled
    ]
    return sorted(waiting, key=lambda segment: (segment.start_ns, segment.collector))


@contextmanager
def roll_lock(data: Path, *, wait: bool) -> Iterator[None]:
    """Hold the directory's only right to roll. Raises ConfigError when somebody has it and ``wait`` is false."""
    path = data / "archive" / "roll.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened: {error}; is the data directory writable?") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ConfigError(
                f"{data}: another process is rolling this directory; wait for it, or use another --data"
            ) from None
        yield
    finally:
        os.close(descriptor)


def roll_data(
    data: Path,
    *,
    on_rolled: Callable[[Rolled], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    collector: str | None = None,
    breathe: Callable[[], None] = lambda: None,
    before_each: Callable[[], None] = lambda: None,
    jobs: int = 1,
) -> list[Rolled]:
    """Recover what a crash left behind and roll everything that is sealed. Hold ``roll_lock`` meanwhile.

    Args:
        data: the data directory.
        on_rolled: told of each segment once it counts.
        should_stop: asked between segments.
        collector: only this one's segments.
        breathe: called again and again while it works; it may wait.
        before_each: called before each segment; what it raises ends the rolling.
        jobs: threads that write files; what they write is the same.

    Raises:
        Corrupt, StoreError: a segment is damaged, or of a newer format; once all others are rolled. A disk that fails
            ends it at once.
    """
    done: list[Rolled] = []
    failed: StoreError | None = None
    archive = data / "archive"
    try:
        report_recoveries(recover(data, collector))
    except StoreError as error:  # of one segment; what is sealed can be rolled all the same
        failed = error
    for segment in pending_segments(data):
        if should_stop():
            break
        if collector is not None and segment.collector != collector:
            continue
        before_each()
        try:
            with SegmentReader(segment.path):  # a newer format says so at once
                pass
        except StoreError as error:
            failed = failed or error
            continue
        try:
            rolled = roll_fully(segment.path, archive, breathe, jobs, as_recorded=True)
        except Corrupt as error:
            failed = failed or error
            continue
        except msgspec.MsgspecError as error:
            failed = failed or Corrupt(segment.path, f"holds a record that can't be read: {error}")
            continue
        append_manifest(archive, segment.collector, rolled.entries)
        done.append(rolled)
        if on_rolled is not None:
            on_rolled(rolled)
    delete_replaced(archive)
    if failed is not None:
        raise failed
    return done
