"""Files that are whole, on the disk, before anything counts on them. Each function raises OSError as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["append_lines", "sync_directories", "write_synced"]


def sync_directories(*directories: Path) -> None:
    """Make the names in some directories last, one after the other."""
    for directory in directories:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file and make its bytes last; it is for the caller to give it the name that counts."""
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def append_lines(path: Path, lines_at: Callable[[int, int], bytes]) -> None:
    """Append lines in one write and make their bytes last, or leave the file as it was.

    A torn last line, left behind by a crash, is cut off first. One writer at a time.

    Args:
        path: the file; it and its directory are made where they are missing. The directory is not synced.
        lines_at: gives the lines, each with its newline, for a descriptor of the file and where they will begin.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = _whole_lines_bytes(descriptor)
        os.ftruncate(descriptor, end)
        payload = lines_at(descriptor, end)
        try:
            written = os.pwrite(descriptor, payload, end)
            if written != len(payload):
                raise OSError(f"only {written} of {len(payload)} bytes were written")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _whole_lines_bytes(descriptor: int) -> int:
    """Return the offset behind the last newline, reading backwards from the end."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - 65_536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
