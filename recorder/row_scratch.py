"""What a roll sets aside because memory is short: an unnamed file beside the archive.

Nothing of it outlives the process, however that ends. Any thread may put and get.
"""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from schemas.errors import StoreError

__all__ = ["Place", "RowScratch"]

PIECE_BYTES: Final = 256 << 10
"""Rows are written in pieces of this size: whole tables beside themselves would be twice the memory."""


class Place(NamedTuple):
    """Where something lies in the scratch file."""

    offset: int
    length: int


class RowScratch:
    """Tables, or bytes, put aside and read back, in the archive's file system. Close it when done.

    Args:
        directory: where the file is made, once something is put; made too if need be.

    Attributes:
        written_bytes: of all that was put so far.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1
        self._lock = threading.Lock()
        self.written_bytes = 0

    def put(self, rows: pa.Table) -> Place:
        """Write rows and say where they are. Raises StoreError."""
        with self._lock:
            start = self.written_bytes
            try:
                file = pa.PythonFile(_End(self), "w")
                with (
                    pa.BufferedOutputStream(file, PIECE_BYTES) as pieces,
                    pa.ipc.new_stream(pieces, rows.schema) as stream,
                ):
                    stream.write_table(rows)
            except OSError as error:
                raise self._failure(error) from error
            return Place(start, self.written_bytes - start)

    def put_bytes(self, content: bytes) -> Place:
        """Write bytes and say where they are. Raises StoreError."""
        with self._lock:
            start = self.written_bytes
            try:
                _End(self).write(content)
            except OSError as error:
                raise self._failure(error) from error
            return Place(start, len(content))

    def get(self, place: Place) -> pa.Table:
        """Rows that were put. Raises StoreError."""
        return pa.ipc.open_stream(self.get_bytes(place)).read_all()

    def get_bytes(self, place: Place) -> bytes:
        """Bytes that were put. Raises StoreError."""
        parts: list[bytes] = []
        at, left = place
        while left:
            try:
                part = os.pread(self._descriptor, left, at)
            except OSError as error:
                raise StoreError(
                    f"{self._directory}: what was set aside cannot be read back: {error}; mend the disk, then "
                    "`tapebook roll` again"
                ) from error
            if not part:
                raise StoreError(
                    f"{self._directory}: what was set aside is gone: found the end of the file at {at}, "
                    f"expected {left} more bytes; `tapebook roll` again"
                )
            parts.append(part)
            at += len(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the space back. Harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, content: memoryview) -> None:
        if self._descriptor < 0:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = _unnamed(self._directory)
        while content:
            count = os.pwrite(self._descriptor, content, self.written_bytes)
            self.written_bytes += count
            content = content[count:]

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self._directory}: rows that wait for their row group could not be set aside: {error}; the journal "
            "still has everything: free space or mend the disk, then `tapebook roll` again"
        )


class _End:
    """The scratch file's end, for pyarrow to write to."""

    closed = False

    def __init__(self, scratch: RowScratch) -> None:
        self._scratch = scratch

    def write(self, content: Any) -> int:
        self._scratch._append(memoryview(content))
        return len(content)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file is the scratch's."""


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
