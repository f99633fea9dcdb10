"""Small journals for the tests, and disks that fail when told to."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from recorder.journal import (
    Commit,
    Disk,
    JournalOptions,
    JournalWriter,
    SegmentInfo,
    journal_directory,
    segments,
)
from schemas.errors import StoreError

NIGHTLY = os.environ.get("TAPEBOOK_NIGHTLY") == "1"
"""Whether every case of what is exhaustive is to be tried, and not each third."""

START_NS = 1_700_000_000_000_000_000
INFO = SegmentInfo("linear", "linear", "gateway", "ws://127.0.0.1:1", "tapebook test", START_NS, START_NS)


def writer(
    data: Path,
    *,
    next_sequence: int = 0,
    start_ns: int = START_NS,
    options: JournalOptions = JournalOptions(),  # noqa: B008
    on_commit: Callable[[Commit], None] | None = None,
    on_sealed: Callable[[Path], None] | None = None,
    clock: Callable[[], int] = lambda: 1_000,
    disk: Disk = Disk(),  # noqa: B008
) -> JournalWriter:
    info = SegmentInfo("linear", "linear", "gateway", "ws://127.0.0.1:1", "tapebook test", START_NS, start_ns)
    return JournalWriter(
        journal_directory(data, "linear"),
        info,
        next_sequence=next_sequence,
        options=options,
        on_commit=on_commit,
        on_sealed=on_sealed,
        clock=clock,
        disk=disk,
    )


def payload(sequence: int) -> bytes:
    """A payload that tells its sequence, of varying length."""
    return b"%d:" % sequence + bytes((sequence + i) % 256 for i in range(sequence * 7 % 61))


def fill(journal: JournalWriter, batches: int, rows: int) -> None:
    """Append so many group commits of so many derivable records."""
    for _ in range(batches):
        for _ in range(rows):
            sequence = journal._next_sequence
            taken = journal.append(START_NS + sequence, sequence % 3, 0, payload(sequence))
            assert taken == sequence
        journal.flush()


def left_open(data: Path, batches: int = 4, rows: int = 3) -> tuple[Path, list[Commit]]:
    """A segment as a kill leaves it: written, unlocked, not sealed. Returns it with its returned commits."""
    commits: list[Commit] = []
    disk = FailingDisk("sync", after=1)  # the header is synced, the seal is not
    journal = writer(data, on_commit=commits.append, disk=disk, options=JournalOptions(fsync_interval_s=3600))
    fill(journal, batches, rows)
    try:
        journal.close()
    except StoreError:
        pass
    else:
        raise AssertionError("the seal was meant to fail")
    path = commits[-1].segment
    with path.open("r+b") as file:
        file.truncate(commits[-1].offset_bytes)
    return path, commits


def sealed_segment(data: Path, batches: int = 3, rows: int = 4, next_sequence: int = 0) -> Path:
    journal = writer(data, next_sequence=next_sequence)
    fill(journal, batches, rows)
    journal.close()
    return segments(data)[-1].path


def place(data: Path, content: bytes, name: str = f"{START_NS}.arrows") -> Path:
    path = journal_directory(data, "linear") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class FailingDisk(Disk):
    """Refuses one kind of call, after it was made so many times, always with the same error.

    Args:
        call: ``write_at``, ``sync``, ``truncate`` or ``rename``.
        after: calls of it that succeed first.
        code: the errno.
        partial: bytes that the failing write takes before (by a short write).
    """

    def __init__(self, call: str, after: int, code: int = errno.ENOSPC, partial: int = 0) -> None:
        self._call = call
        self._left = after
        self._code = code
        self._partial = partial

    def _meet(self, call: str) -> None:
        if call != self._call:
            return
        if self._left <= 0:
            raise OSError(self._code, "injected")
        self._left -= 1

    def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
        if self._call == "write_at" and self._left <= 0 and self._partial:
            taken, self._partial = self._partial, 0
            return super().write_at(descriptor, data[:taken], offset_bytes)
        self._meet("write_at")
        return super().write_at(descriptor, data, offset_bytes)

    def sync(self, descriptor: int) -> None:
        self._meet("sync")
        super().sync(descriptor)

    def truncate(self, descriptor: int, length_bytes: int) -> None:
        self._meet("truncate")
        super().truncate(descriptor, length_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._meet("rename")
        super().rename(source, target)


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it and go on."""


class KillingDisk(Disk):
    """Dies at the n-th call that changes the disk: before it, or, for a write, with half of it done."""

    def __init__(self, survive: int) -> None:
        self.left = survive

    def _meet(self) -> None:
        if self.left <= 0:
            raise Killed
        self.left -= 1

    def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
        if self.left <= 0:
            super().write_at(descriptor, data[: len(data) // 2], offset_bytes)
        self._meet()
        return super().write_at(descriptor, data, offset_bytes)

    def sync(self, descriptor: int) -> None:
        self._meet()
        super().sync(descriptor)

    def truncate(self, descriptor: int, length_bytes: int) -> None:
        self._meet()
        super().truncate(descriptor, length_bytes)

    def rename(self, source: Path, target: Path) -> None:
        self._meet()
        super().rename(source, target)

    def sync_directory(self, directory: Path) -> None:
        self._meet()
        super().sync_directory(directory)


class GatedDisk(Disk):
    """Lets no write through (but the header's) until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self._header_written = False

    def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
        if self._header_written:
            assert self.gate.wait(30)
        self._header_written = True
        return super().write_at(descriptor, data, offset_bytes)
