"""The system calls that change the disk, in one place, so that a test can make any one of them fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import StoreError

__all__ = ["Disk", "disk_errors"]

_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EFBIG: "raise the file size limit (ulimit -f) or lower segment_bytes",
    errno.EROFS: "mount the file system writable",
    errno.EIO: "check the drive (its own log, smartctl, dmesg)",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
}


class Disk:
    """What the journal asks of a disk. Every method raises ``OSError`` as the system does."""

    def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
        """Write once; return how many bytes were taken, possibly fewer than given."""
        return os.pwrite(descriptor, data, offset_bytes)

    def sync(self, descriptor: int) -> None:
        """Put the file's bytes and length on the disk."""
        os.fsync(descriptor)

    def truncate(self, descriptor: int, length_bytes: int) -> None:
        """Cut the file to a length."""
        os.ftruncate(descriptor, length_bytes)

    def rename(self, source: Path, target: Path) -> None:
        """Rename within one directory."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def sync_directory(self, directory: Path) -> None:
        """Put the directory's names on the disk."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def write_all(self, descriptor: int, data: bytes | memoryview, offset_bytes: int) -> None:
        """Write everything: one call where the system takes it whole, more where it does not."""
        rest = memoryview(data)
        while rest:
            taken = self.write_at(descriptor, rest, offset_bytes)
            if taken == 0:
                raise OSError(errno.EIO, "the system took none of the bytes")
            rest = rest[taken:]
            offset_bytes += taken


@contextmanager
def disk_errors(path: Path, doing: str, then: str = "try again") -> Iterator[None]:
    """Turn an ``OSError`` into a ``StoreError`` that names the file, what was being done and what to do.

    Args:
        path: the file or directory concerned.
        doing: what failed, with its numbers: ``writing 4096 bytes at offset 512``.
        then: what to do once the cause is mended.
    """
    try:
        yield
    except OSError as error:
        words = os.strerror(error.errno) if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "mend the cause")
        raise StoreError(f"{path}: {doing} failed: {words}; {advice}, then {then}") from error
