"""One segment while it is written: create, append, sync, seal. Blocking; the writer's thread uses it."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from recorder.journal.content import ContentHash
from recorder.journal.disk import Disk, disk_errors
from recorder.journal.files import NEW, OPEN, SEALED, segment_path
from recorder.journal.format import BatchEncoder, ClosingNote, Pending, SegmentInfo, build_batch
from recorder.journal.lock import try_lock
from schemas.errors import StoreError
from schemas.names import RecordKind

__all__ = ["HASHED_BYTES", "OpenSegment"]

HASHED_BYTES: Final = 256 << 10
"""So much waits at most, besides a commit, for being hashed."""
_THEN = "start the collector again: it recovers by itself"


class OpenSegment:
    """A segment's file, created, locked and with its header written.

    Attributes:
        path: ``<start_ns>.arrows.open``; once sealed, ``<start_ns>.arrows``.
        batches, rows: written so far.
        last_sequence: of the last record written; one less than the first when there is none.
        offset_bytes: length of the file's whole batches.

    Raises:
        StoreError: the file cannot be made, or one of that start is there already.
    """

    def __init__(self, directory: Path, info: SegmentInfo, first_sequence: int, disk: Disk) -> None:
        self.path = segment_path(directory, info.start_ns, OPEN)
        self.batches = 0
        self.rows = 0
        self.last_sequence = first_sequence - 1
        self._disk = disk
        self._directory = directory
        self._sealed_path = segment_path(directory, info.start_ns, SEALED)
        self._last_receive_ns = info.start_ns
        self._last_monotonic_ns = 0
        self._content = ContentHash()
        self._unhashed: list[pa.RecordBatch] = []
        self._unhashed_bytes = 0
        self._encoder = BatchEncoder(info, first_sequence)
        header = self._encoder.header
        self.offset_bytes = len(header)
        new = segment_path(directory, info.start_ns, NEW)
        with disk_errors(new, f"creating a segment ({len(header)} bytes)", _THEN):
            self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                # Locked and with its header before it has a segment's name, so that a recovery that runs at
                # this moment sees it whole or not at all.
                if not try_lock(self._descriptor):
                    raise OSError(errno.EBUSY, "locked by another process")
                disk.write_all(self._descriptor, header, 0)
                disk.sync(self._descriptor)
                for taken in (self.path, self._sealed_path):
                    if taken.exists():
                        raise OSError(errno.EEXIST, "taken", str(taken))
                disk.rename(new, self.path)
                disk.sync_directory(directory)
            except BaseException:
                os.close(self._descriptor)
                with suppress(OSError):
                    new.unlink()
                raise

    def append(self, first_sequence: int, monotonic_ns: int, records: Sequence[Pending]) -> None:
        """Write one group commit of consecutive records; when it returns they are the system's to keep.

        Raises:
            StoreError: not written; the file ends with the last whole batch, if the disk lets it be cut.
        """
        batch = build_batch(first_sequence, records)
        encoded = self._encoder.encode(self.batches, monotonic_ns, batch)
        self._write(encoded)
        self._unhashed.append(batch)
        self._unhashed_bytes += len(encoded)
        self.batches += 1
        self.rows += len(records)
        self.last_sequence = first_sequence + len(records) - 1
        self._last_receive_ns = records[-1][0]
        self._last_monotonic_ns = monotonic_ns

    def hash(self, least_bytes: int = 0) -> None:
        """Take what was appended into the content hash, if it is that much; small commits together."""
        if not self._unhashed or self._unhashed_bytes < least_bytes:
            return
        self._content.update(pa.Table.from_batches(self._unhashed).combine_chunks().to_batches()[0])
        self._unhashed = []
        self._unhashed_bytes = 0

    def sync(self) -> None:
        """Put everything written on the disk. Raises ``StoreError``."""
        with disk_errors(self.path, f"syncing {self.offset_bytes} bytes", _THEN):
            self._disk.sync(self._descriptor)

    def seal(self, reason: str, sequence: int) -> None:
        """End the segment with its closing note, put it on the disk and give it its final name.

        Args:
            reason: goes into the note.
            sequence: the note's own.

        Raises:
            StoreError: not sealed; what was written before stays readable and is recovered later.
        """
        self.hash()
        note = ClosingNote(reason, self.batches, self.rows, self.last_sequence)
        # The note carries the last record's stamps: a recovery, which has no other, writes the same.
        record = (self._last_receive_ns, 0, RecordKind.NOTE, msgspec.json.encode(note.as_content()))
        self._content.update(build_batch(sequence, [record]))
        note = msgspec.structs.replace(note, content_sha256=self._content.hexdigest())
        encoded = self._encoder.encode_closing(
            note, sequence=sequence, receive_ns=self._last_receive_ns, monotonic_ns=self._last_monotonic_ns
        )
        self._write(memoryview(encoded))
        self.sync()
        with disk_errors(self.path, f"renaming it to {self._sealed_path.name}", _THEN):
            if self._sealed_path.exists():
                raise OSError(errno.EEXIST, "taken", str(self._sealed_path))
            self._disk.rename(self.path, self._sealed_path)
            self._disk.sync_directory(self._directory)
        self.path = self._sealed_path
        self.batches += 1
        self.rows += 1
        self.last_sequence = sequence
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock. Harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, encoded: memoryview) -> None:
        try:
            with disk_errors(self.path, f"writing {len(encoded)} bytes at offset {self.offset_bytes}", _THEN):
                self._disk.write_all(self._descriptor, encoded, self.offset_bytes)
        except StoreError:
            with suppress(OSError):
                self._disk.truncate(self._descriptor, self.offset_bytes)
            raise
        self.offset_bytes += len(encoded)
