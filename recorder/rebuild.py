"""Rebuild: a segment's records, made again from the archive byte for byte, and held against their content hash.

Each file is read once, in small pieces; the frames that its rows come to are written beside one another into an unnamed
scratch file. What is held in memory is where each record lies there, some 40 bytes a record, whatever the tables and
however their rows are ordered: files of one segment and merged ones give the same (docs/capture.md).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from engine.event_wire import EVENT_KEYS
from recorder.journal import ContentHash, Record
from recorder.journal.content import without_batches
from recorder.journal.format import build_batch
from recorder.manifest import Manifest
from recorder.rebuild_frames import (
    WRITTEN,
    Unprovable,
    check_bytes,
    files_of,
    read_raw,
    write_frames,
)
from recorder.record_scratch import Place, Places, Scratch
from schemas.errors import Corrupt, DataError
from schemas.manifest import ManifestSegment, SegmentHeader
from schemas.names import RecordKind
from schemas.notes import Close, decode_note

__all__ = ["Rebuilt", "Unprovable", "closing_of", "provable", "rebuild", "runs"]

BATCH_ROWS: Final = 8192
BATCH_BYTES: Final = 8 << 20

Take = Callable[[list[Record]], None]


class Rebuilt(NamedTuple):
    """A segment made again.

    Attributes:
        entry: its manifest line.
        records: all of them, the closing note included.
        frames: those that are frames.
        verbatim: frames that were kept as they came.
        content_sha256: of what was made; equal to the line's.
    """

    entry: ManifestSegment
    records: int
    frames: int
    verbatim: int
    content_sha256: str


def rebuild(
    manifest: Manifest, entry: ManifestSegment, take: Take | None = None, *, whole: set[str] | None = None
) -> Rebuilt:
    """Make a segment's records again and prove that they are those that were rolled.

    Args:
        manifest: of the archive.
        entry: the segment's line in it.
        take: given the records in order, as lists, before the proof is complete: whoever keeps them must be ready to
            throw them away. The closing note is the last one.
        whole: paths of files whose bytes were held against their sha256 before; those that are held now come to it. A
            file is not opened before, because what reads Parquet may end the process over a damaged one.

    Raises:
        Unprovable: the line or the archive lacks what is needed (rolled by an older version).
        Corrupt: what comes out is not what the line's content hash speaks of.
        StoreError: a file can't be read, or there is no room for the scratch file.
    """
    where = manifest.archive / "manifest" / f"{entry.collector}.jsonl"
    provable(entry)
    with Scratch(manifest.archive) as scratch:
        places = Places(scratch)
        whole = set() if whole is None else whole
        raw = read_raw(manifest, entry, places, whole)
        for file in files_of(manifest, entry, *WRITTEN, *EVENT_KEYS):
            check_bytes(manifest, file, whole)
            write_frames(manifest.place(file.path), file, entry, raw, places)
        records = places.all()
        _check_places(records, entry, where)
        content, frames = ContentHash(), 0
        for chunk in _chunks(records, raw.repeats, scratch.map()):
            frames += sum(record.kind == RecordKind.FRAME for record in chunk)
            _hash(content, chunk)
            if take is not None:
                take(chunk)
    found, expected = content.hexdigest(), str(entry.content_sha256)
    if found != expected:
        raise Corrupt(
            where,
            f"{entry.collector}/{entry.segment}.arrows: the archive gives records of content {found[:16]}…, expected "
            f"{expected[:16]}…: files of the archive were altered",
        )
    return Rebuilt(entry, len(records.sequence), frames, raw.verbatim, found)


def provable(entry: ManifestSegment) -> SegmentHeader:
    """What the segment's own header said. Raises Unprovable where the line lacks it, or the content hash."""
    if entry.content_sha256 is None or entry.header is None:
        raise Unprovable(
            f"{entry.collector}/{entry.segment}.arrows was rolled by a version whose archives hand no frames back; "
            "delete the archive and run `tapebook roll` to make it anew, if the journal is still there"
        )
    return entry.header


def _check_places(records: Place, entry: ManifestSegment, where: Path) -> None:
    """Say plainly what is missing or there twice; the content hash would only say that something is."""
    name = f"{entry.collector}/{entry.segment}.arrows"
    steps = np.diff(records.sequence)
    if np.any(steps == 0):
        at = int(records.sequence[np.flatnonzero(steps == 0)[0]])
        raise Corrupt(where, f"{name}: record {at} is in the archive twice")
    if len(records.sequence) != entry.records:
        holes = np.flatnonzero(steps > 1)
        after = f", the first behind {int(records.sequence[holes[0]])}" if len(holes) else ""
        raise Corrupt(
            where,
            f"{name}: the archive gives {len(records.sequence)} records, expected {entry.records}{after}",
        )


def _chunks(records: Place, repeats: dict[int, int], content: mmap.mmap | bytes) -> Iterator[list[Record]]:
    """Records in order, some at a time."""
    offsets, lengths = records.offset, records.length
    for sequence, earlier in sorted(
        repeats.items()
    ):  # the earlier one may be a repeat itself, and is resolved by then
        at, of = np.searchsorted(records.sequence, [sequence, earlier]).tolist()
        if not (earlier < sequence and records.sequence[of] == earlier):
            raise DataError(f"record {sequence} repeats record {earlier}, which is not there")
        offsets[at], lengths[at] = offsets[of], lengths[of]
    start = 0
    ends = np.cumsum(lengths.astype(np.int64))
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + BATCH_BYTES)), start + 1)
        stop = min(stop, start + BATCH_ROWS, len(ends))
        columns = (column[start:stop].tolist() for column in records)
        yield [
            Record(sequence, receive_ns, line, kind, content[offset : offset + length])
            for sequence, receive_ns, line, kind, offset, length in zip(*columns, strict=True)
        ]
        start = stop


def closing_of(record: Record) -> Close | None:
    """The closing note that a record is, or None."""
    if record.kind != RecordKind.NOTE or not record.payload.startswith(b'{"note":"close"'):
        return None
    note = decode_note(record.payload)
    return note if isinstance(note, Close) else None


def _hash(content: ContentHash, chunk: list[Record]) -> None:
    for run in runs(chunk):
        batch = build_batch(run[0].sequence, [record[1:] for record in run])
        note = closing_of(run[0]) if len(run) == 1 else None
        content.update(batch if note is None else without_batches(batch, note))


def runs(chunk: list[Record]) -> Iterator[list[Record]]:
    """Records whose sequences follow; a closing note by itself."""
    run: list[Record] = []
    for record in chunk:
        if run and (record.sequence != run[-1].sequence + 1 or closing_of(record) is not None):
            yield run
            run = []
        run.append(record)
    if run:
        yield run
