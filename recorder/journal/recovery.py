"""Recovery: what a kill or a power cut left open becomes a sealed segment, and nothing is thrown away.

It can be killed at any instruction and run again with the same result. Its steps, in order:

1. take the segment's lock (held by a live writer: left alone);
2. copy what follows the last good batch to ``.torn``, on the disk before anything is cut;
3. cut the segment there and rename it ``.arrows.sealing``: from now on, a piece of a closing note at its end
   is ours;
4. append the closing note, whose every byte follows from what is kept and set aside, and the end-of-stream
   marker;
5. rename it ``.arrows``.
"""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from recorder.journal.disk import Disk, disk_errors
from recorder.journal.files import OPEN, SEALED, SEALING, SegmentFile, segment_path, segments, torn_files
from recorder.journal.format import ROW_BYTES, BatchEncoder, ClosingNote, HeaderDamaged
from recorder.journal.frame import END_OF_STREAM
from recorder.journal.lock import try_lock
from recorder.journal.reader import Batch, SegmentReader
from schemas.errors import StoreError

__all__ = ["Recovery", "recover"]

_CHUNK_BYTES: Final = 1 << 20
_THEN: Final = "run the recovery again"


class Recovery(NamedTuple):
    """What was done to one segment.

    Attributes:
        segment: its sealed file; absent when not even a header could be kept (then ``torn`` is all there is).
        batches_kept, rows_kept, bytes_kept: what it holds, header included and closing note not.
        bytes_set_aside: in the segment's ``.torn`` files.
        torn: the last of these files, or None.
    """

    segment: Path
    batches_kept: int
    rows_kept: int
    bytes_kept: int
    bytes_set_aside: int
    torn: Path | None


def recover(data: Path, collector: str | None = None, *, disk: Disk = Disk()) -> list[Recovery]:  # noqa: B008
    """Seal every segment that its writer left open; a segment whose writer lives is left alone.

    Args:
        data: the data directory.
        collector: only this one's; by default all.
        disk: the system calls; tests give one that fails.

    Returns:
        One entry per segment that was open.

    Raises:
        StoreError: the disk refuses (nothing is lost; run again), or a file is of a newer format.
        Corrupt: a file with a segment's name is none, or not in its place. Like every error it is raised once
            all other segments are recovered, and the file concerned is untouched.
    """
    done: list[Recovery] = []
    failed: StoreError | None = None
    for found in segments(data, collector):
        if found.state != "open":
            continue
        try:
            recovery = _recover(found, disk)
        except StoreError as error:
            failed = failed or error
            continue
        if recovery is not None:
            done.append(recovery)
    if failed is not None:
        raise failed
    return done


def _recover(found: SegmentFile, disk: Disk) -> Recovery | None:
    with disk_errors(found.path, "opening it for recovery", _THEN):
        try:
            descriptor = os.open(found.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None  # its writer sealed it meanwhile
    try:
        with disk_errors(found.path, "locking it for recovery", _THEN):
            if not try_lock(descriptor):
                return None
            # Sealed and let go between the listing and the lock: the name is gone, or another file's.
            if not found.path.exists() or not os.path.samestat(os.fstat(descriptor), found.path.stat()):
                return None
        with disk_errors(found.path, "recovering it", _THEN):
            return _Recoverer(found, descriptor, disk).run()
    finally:
        os.close(descriptor)


class _Recoverer:
    """The steps for one locked segment."""

    def __init__(self, found: SegmentFile, descriptor: int, disk: Disk) -> None:
        self._path = found.path
        self._start_ns = found.start_ns
        self._directory = found.path.parent
        self._sealed = segment_path(self._directory, found.start_ns, SEALED)
        self._descriptor = descriptor
        self._disk = disk

    def run(self) -> Recovery:
        if self._sealed.exists():
            raise StoreError(
                f"{self._path}: {self._sealed.name} exists too, and a start has one segment; move one away"
            )
        try:
            reader = SegmentReader(self._path, lenient=True)
        except HeaderDamaged:
            return self._set_all_aside()
        with reader:
            last: Batch | None = None
            for batch in reader:
                if reader.closing is None:
                    last = batch
            tail_bytes = reader.size_bytes - reader.good_bytes
            if not self._is_ours(reader, last, tail_bytes):
                self._set_aside(reader.good_bytes, tail_bytes)
            torn = torn_files(self._directory, self._start_ns)
            set_aside_bytes = sum(file.size for file in torn)
            self._seal(reader.good_bytes, self._ending(reader, last, set_aside_bytes))
            return Recovery(
                self._sealed,
                reader.batches,
                reader.rows,
                reader.data_bytes,
                set_aside_bytes,
                torn[-1].path if torn else None,
            )

    def _is_ours(self, reader: SegmentReader, last: Batch | None, tail_bytes: int) -> bool:
        """Whether the tail is nothing, a complete segment's end, or a piece of what a recovery appended."""
        tail = os.pread(self._descriptor, min(tail_bytes, _CHUNK_BYTES), reader.good_bytes)
        if self._path.name.endswith(SEALING):
            set_aside = sum(file.size for file in torn_files(self._directory, self._start_ns))
            return len(tail) == tail_bytes and self._ending(reader, last, set_aside).startswith(tail)
        return tail_bytes == 0 or (reader.closing is not None and tail == END_OF_STREAM)

    def _ending(self, reader: SegmentReader, last: Batch | None, set_aside_bytes: int) -> bytes:
        """What has to follow the good bytes."""
        if reader.closing is not None:
            return END_OF_STREAM
        note = ClosingNote("recovered", reader.batches, reader.rows, reader.last_sequence, set_aside_bytes)
        return BatchEncoder(reader.info, reader.first_sequence).encode_closing(
            note,
            # Behind every number that the records set aside may have had: numbers are never used twice.
            sequence=reader.last_sequence + 1 + -(-set_aside_bytes // ROW_BYTES),
            receive_ns=last.table.column(1)[-1].as_py() if last else reader.info.start_ns,
            monotonic_ns=last.monotonic_ns if last else 0,
        )

    def _set_all_aside(self) -> Recovery:
        """Without a header nothing can be told apart: the whole file is kept as torn, by a rename."""
        torn = self._free_torn_path()
        self._disk.rename(self._path, torn)
        self._disk.sync_directory(self._directory)
        return Recovery(self._sealed, 0, 0, 0, os.fstat(self._descriptor).st_size, torn)

    def _set_aside(self, offset: int, length: int) -> None:
        if any(self._same(file, offset, length) for file in torn_files(self._directory, self._start_ns)):
            return  # by a recovery that was killed before it could cut the segment
        copy = self._directory / f"{self._start_ns}.torn.new"
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for done in range(0, length, _CHUNK_BYTES):
                chunk = os.pread(self._descriptor, min(_CHUNK_BYTES, length - done), offset + done)
                self._disk.write_all(descriptor, chunk, done)
            self._disk.sync(descriptor)
        finally:
            os.close(descriptor)
        self._disk.rename(copy, self._free_torn_path())
        self._disk.sync_directory(self._directory)

    def _same(self, file: SegmentFile, offset: int, length: int) -> bool:
        if file.size != length:
            return False
        with file.path.open("rb") as torn:
            return all(
                torn.read(_CHUNK_BYTES)
                == os.pread(self._descriptor, min(_CHUNK_BYTES, length - done), offset + done)
                for done in range(0, length, _CHUNK_BYTES)
            )

    def _free_torn_path(self) -> Path:
        first = self._directory / f"{self._start_ns}.torn"
        numbered = (self._directory / f"{self._start_ns}.torn.{number}" for number in count(1))
        return first if not first.exists() else next(path for path in numbered if not path.exists())

    def _seal(self, good_bytes: int, ending: bytes) -> None:
        disk, path = self._disk, self._path
        disk.truncate(self._descriptor, good_bytes)
        disk.sync(self._descriptor)
        if path.name.endswith(OPEN):
            path = segment_path(self._directory, self._start_ns, SEALING)
            disk.rename(self._path, path)
            disk.sync_directory(self._directory)
        disk.write_all(self._descriptor, ending, good_bytes)
        disk.sync(self._descriptor)
        disk.rename(path, self._sealed)
        disk.sync_directory(self._directory)
