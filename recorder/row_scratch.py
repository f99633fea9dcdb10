"""Rows that wait for their row group and don't fit in memory: an unnamed file beside the archive.

Nothing of it outlives the process, however that ends.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from schemas.errors import StoreError

__all__ = ["Place", "RowScratch"]


class Place(NamedTuple):
    """Where rows lie in the scratch file."""

    offset: int
    length: int


class RowScratch:
    """Tables put aside and read back, in the archive's file system. Close it when done.

    Args:
        directory: where the file is made, once something is put; made too if need be.

    Attributes:
        written_bytes: of all that was put so far.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1
        self.written_bytes = 0

    def put(self, rows: pa.Table) -> Place:
        """Write rows and say where they are. Raises StoreError."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        content = memoryview(sink.getvalue())
        place = Place(self.written_bytes, len(content))
        try:
            if self._descriptor < 0:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._descriptor = _unnamed(self._directory)
            at = 0
            while at < len(content):
                at += os.pwrite(self._descriptor, content[at:], place.offset + at)
        except OSError as error:
            raise StoreError(
                f"{self._directory}: rows that wait for their row group could not be set aside: {error}; the journal "
                "still has everything: free space or mend the disk, then `tapebook roll` again"
            ) from error
        self.written_bytes += len(content)
        return place

    def get(self, place: Place) -> pa.Table:
        """Rows that were put. Raises StoreError."""
        parts: list[bytes] = []
        at, left = place
        while left:
            try:
                part = os.pread(self._descriptor, left, at)
            except OSError as error:
                raise StoreError(
                    f"{self._directory}: rows that were set aside cannot be read back: {error}; mend the disk, then "
                    "`tapebook roll` again"
                ) from error
            if not part:
                raise StoreError(
                    f"{self._directory}: rows that were set aside are gone: found the end of the file at {at}, "
                    f"expected {left} more bytes; `tapebook roll` again"
                )
            parts.append(part)
            at += len(part)
            left -= len(part)
        return pa.ipc.open_stream(parts[0] if len(parts) == 1 else b"".join(parts)).read_all()

    def close(self) -> None:
        """Give the space back. Harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _unnamed(directory: Path) -> int:
    """A descriptor of a new file without a name."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is not None:
        try:
            return os.open(directory, os.O_RDWR | os.O_CLOEXEC | flag, 0o600)
        except OSError:  # not every file system has such files
            pass
    descriptor, name = tempfile.mkstemp(prefix=".roll-", suffix=".tmp", dir=directory)
    Path(name).unlink()
    return descriptor
