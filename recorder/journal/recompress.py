"""Recompression: a sealed segment's small batches become few large ones, compressed; its records stay what they were.

A group commit of a few frames is mostly metadata, and compresses badly. The new file is written beside the old one as
``<start_ns>.arrows.tmp``, read back and held against the old record by record, commit by commit and by its content
hash, put on the disk and renamed over it. Killed at any instruction, the old file or the new one is there, whole; a
``.tmp`` is written anew by the next pass. Readers that have the old file open go on with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa

from recorder.journal.disk import Disk, disk_errors
from recorder.journal.files import SEALED, SegmentFile, segments
from recorder.journal.format import COMPRESSED_VERSION, MAX_COMMITS, BatchEncoder, Commits, SegmentGone
from recorder.journal.frame import END_OF_STREAM
from recorder.journal.lock import try_lock
from recorder.journal.reader import Batch, SegmentReader
from schemas.errors import StoreError

__all__ = ["LEAST_BYTES", "LEVEL", "Recompressed", "Stopped", "held", "recompress", "remove_leavings"]

LEVEL: Final = 6
"""Of zstd: 1 costs a quarter of the time and leaves a tenth more, 9 half more time for a twentieth less."""
BATCH_BYTES: Final = 4 << 20
"""Bytes of a batch before compression: what a reader holds at once. Larger ones compress no better."""
LEAST_BYTES: Final = 64 << 10
"""Smaller segments are left as they are."""
TMP: Final = ".tmp"
_THEN: Final = "recompress again; the segment is as it was"


class Recompressed(NamedTuple):
    """What became of a segment.

    Attributes:
        segment: its file.
        bytes_before, bytes_after: of the file.
        records: in it.
        batches_before, batches_after: in the file, the closing note's included.
    """

    segment: Path
    bytes_before: int
    bytes_after: int
    records: int
    batches_before: int
    batches_after: int


class Stopped(Exception):
    """A pass was asked to end; the segment is as it was."""


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a sealed segment against others who would replace or remove it; False where another does, or it is gone."""
    with disk_errors(path, "locking it", _THEN):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = None
    if descriptor is None:
        yield False
        return
    try:
        is_ours = False
        with disk_errors(path, "locking it", _THEN), suppress(FileNotFoundError):
            # Replaced between the opening and the lock, the name is another file's.
            is_ours = try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat())
        yield is_ours  # what its user meets is none of this function's errors
    finally:
        os.close(descriptor)


def remove_leavings(data: Path, collector: str | None = None) -> None:
    """Remove what killed passes left of a copy; a pass that lives holds its segment, and is left alone."""
    for directory in {found.path.parent for found in segments(data, collector)}:
        for leaving in directory.glob(f"*{SEALED}{TMP}"):
            segment = leaving.with_suffix("")
            with held(segment) as is_ours, disk_errors(leaving, "removing it", "go on"):
                if is_ours or not segment.exists():
                    leaving.unlink(missing_ok=True)


def recompress(
    found: SegmentFile,
    *,
    level: int = LEVEL,
    disk: Disk = Disk(),  # noqa: B008 (has no state)
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Recompressed | None:
    """Compress one sealed segment in place.

    Args:
        found: the segment.
        level: zstd's.
        disk: the system calls; tests give one that fails.
        breathe: called again and again while it works; it may wait.
        should_stop: asked as often.

    Returns:
        What became of it; None when it is small, compressed already, not sealed any more, or somebody else's now.

    Raises:
        Corrupt: the segment is torn or altered; it is left as it is.
        StoreError: the disk refuses, or the copy differs from the segment, which is left as it is.
        Stopped: ``should_stop`` said so.
    """
    path = found.path
    if found.state != "sealed" or found.size < LEAST_BYTES:
        return None
    with held(path) as is_ours:
        if not is_ours:
            return None
        try:
            with SegmentReader(path) as reader:
                if reader.info.format_version >= COMPRESSED_VERSION:
                    return None
        except SegmentGone:
            return None

        def between() -> None:
            breathe()
            if should_stop():
                raise Stopped

        return _Pass(path, level, disk, between).run()


class _Pass:
    """The steps for one segment that is held."""

    def __init__(self, path: Path, level: int, disk: Disk, between: Callable[[], None]) -> None:
        self._path = path
        self._copy = path.with_name(path.name + TMP)
        self._level = level
        self._disk = disk
        self._between = between

    def run(self) -> Recompressed:
        try:
            with disk_errors(self._copy, "writing the compressed copy", _THEN):
                descriptor = os.open(self._copy, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
                try:
                    before = self._write(descriptor)
                    self._disk.sync(descriptor)
                finally:
                    os.close(descriptor)
            after = self._compare(before)
            with disk_errors(self._copy, "renaming it over the segment", _THEN):
                self._disk.rename(self._copy, self._path)
                self._disk.sync_directory(self._path.parent)
        except BaseException as error:
            # After a kill (which tests play with an exception that is none) there would be nobody to remove it.
            if isinstance(error, Exception):
                with suppress(OSError):
                    self._copy.unlink()
            raise
        return after

    def _write(self, descriptor: int) -> Recompressed:
        with SegmentReader(self._path) as reader:
            info = msgspec.structs.replace(reader.info, format_version=COMPRESSED_VERSION)
            encoder = BatchEncoder(info, reader.first_sequence, level=self._level)
            self._disk.write_all(descriptor, encoder.header, 0)
            offset, number = len(encoder.header), 0
            for group in _groups(reader):
                self._between()
                encoded = encoder.encode(
                    number, group[0].monotonic_ns, _joined([batch.table for batch in group]), _commits(group)
                )
                self._disk.write_all(descriptor, encoded, offset)
                offset, number = offset + len(encoded), number + 1
            self._disk.write_all(descriptor, END_OF_STREAM, offset)
            return Recompressed(
                self._path,
                reader.size_bytes,
                offset + len(END_OF_STREAM),
                reader.rows + 1,
                reader.batches + 1,
                number,
            )

    def _compare(self, told: Recompressed) -> Recompressed:
        """Read both files again, and hold every record and every commit of the copy against the segment's."""
        with (
            SegmentReader(self._path, hashed=True) as before,
            SegmentReader(self._copy, hashed=True) as after,
        ):
            commits = iter(before)
            for joined in after:
                self._between()
                at = 0
                for rows, stamp in zip(joined.commits.rows, joined.commits.monotonic_ns, strict=True):
                    commit = next(commits, None)
                    if (
                        commit is None
                        or commit.monotonic_ns != stamp
                        or not commit.table.equals(joined.table.slice(at, rows))
                    ):
                        raise self._differs(f"at batch {joined.number}, row {at}")
                    at += rows
            if next(commits, None) is not None:
                raise self._differs("by what the segment has at its end")
            assert before.content is not None
            assert after.content is not None
            if before.content.hexdigest() != after.content.hexdigest() or before.closing != after.closing:
                raise self._differs("in its content hash")
            return told

    def _differs(self, where: str) -> StoreError:
        return StoreError(
            f"{self._copy}: the compressed copy differs from the segment {where}; the segment is left as it is: "
            "check the memory and the drive of this machine"
        )


def _groups(reader: SegmentReader) -> Iterator[list[Batch]]:
    """Batches to be joined, in order; the closing note's stays by itself, so that it is found from the end."""
    group: list[Batch] = []
    size = 0
    for batch in reader:
        if group and (
            size >= BATCH_BYTES or len(group) == MAX_COMMITS or reader.closing is not None
        ):  # fmt: skip
            yield group
            group, size = [], 0
        group.append(batch)
        size += batch.table.nbytes
    if group:
        yield group


def _joined(tables: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(tables).combine_chunks().to_batches()[0]


def _commits(group: list[Batch]) -> Commits:
    return Commits(
        group[0].commits.first,
        list(chain.from_iterable(batch.commits.rows for batch in group)),
        list(chain.from_iterable(batch.commits.monotonic_ns for batch in group)),
    )
