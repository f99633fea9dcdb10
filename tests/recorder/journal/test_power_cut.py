"""A power cut at every moment, by policy: what the disk was never told to keep is gone, what was reported is not.

The disk is simulated: of each file it keeps what was written before its last fsync, and of names those that were there
at the last fsync of the directory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from recorder.journal import (
    Commit,
    Disk,
    JournalOptions,
    JournalWriter,
    SegmentReader,
    journal_directory,
    recover,
    segments,
)
from schemas.errors import ConfigError
from schemas.names import Fsync
from tests.recorder.journal.support import INFO, START_NS, payload

STEP_NS = 300_000_000
ROWS = 3
NOTE = 10 * ROWS
"""Sequence of the first segment's closing note."""


class Moment(NamedTuple):
    """What would be on the disk if the power went now.

    Attributes:
        files: content by name.
        synced: sequence of the last frame that had been reported as synced, -1 before any.
        written: of the last frame that had been reported as written.
        now_ns: the clock.
    """

    files: dict[str, bytes]
    synced: int
    written: int
    now_ns: int


class Remembering(Disk):
    """Passes everything on, and remembers what would survive behind each call."""

    def __init__(self, directory: Path, now: list[int]) -> None:
        self._directory = directory
        self._now = now
        self._kept: dict[int, bytes] = {}  # content by inode, as of its last fsync
        self._names: dict[str, int] = {}  # as of the last fsync of the directory
        self.synced = self.written = -1
        self.moments: list[Moment] = []

    def told(self, commit: Commit) -> None:
        last = commit.last_sequence - commit.segment.name.endswith(".arrows")  # the closing note is no frame
        if commit.synced:
            self.synced = last
        self.written = max(self.written, last)
        self._remember()

    def _remember(self) -> None:
        files = {name: self._kept.get(inode, b"") for name, inode in self._names.items()}
        self.moments.append(Moment(files, self.synced, self.written, self._now[0]))

    def write_at(self, descriptor: int, data: memoryview, offset_bytes: int) -> int:
        taken = super().write_at(descriptor, data, offset_bytes)
        self._remember()
        return taken

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        size = os.fstat(descriptor).st_size
        self._kept[os.fstat(descriptor).st_ino] = os.pread(descriptor, size, 0)
        self._remember()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._remember()

    def sync_directory(self, directory: Path) -> None:
        super().sync_directory(directory)
        self._names = {path.name: path.stat().st_ino for path in directory.iterdir()}
        self._remember()


def recorded(data: Path, options: JournalOptions) -> Remembering:
    """Two segments of ten commits each, the clock moving by 0.3 s between commits."""
    now = [0]
    directory = journal_directory(data, "linear")
    directory.mkdir(parents=True)
    disk = Remembering(directory, now)
    journal = JournalWriter(
        directory,
        INFO,
        next_sequence=0,
        options=options,
        on_commit=disk.told,
        clock=lambda: now[0],
        disk=disk,
    )
    for commit in range(20):
        now[0] += STEP_NS
        if commit == 10:
            journal.rotate(START_NS + 10, [])
        for _ in range(ROWS):
            sequence = journal._next_sequence
            journal.append(START_NS + sequence, 0, 0, payload(sequence))
        journal.flush()
        while (disk.synced if options.fsync is Fsync.COMMIT else disk.written) < sequence:
            pass
    journal.close()
    return disk


def survivors(data: Path, moment: Moment) -> list[int]:
    """Sequences that a recovery finds after the cut."""
    directory = journal_directory(data, "linear")
    directory.mkdir(parents=True)
    for name, content in moment.files.items():
        (directory / name).write_bytes(content)
    recover(data)
    found = []
    for file in segments(data):
        assert file.state == "sealed", f"{file.path}: nothing was torn"
        with SegmentReader(file.path) as reader:
            found += [record.sequence for record in reader.records() if record.kind == 0]
            for record in reader.records():
                assert record.kind or record.payload == payload(record.sequence)
    return found


@pytest.mark.parametrize("fsync", Fsync)
def test_what_was_reported_survives_and_the_loss_is_bounded(fsync: Fsync, tmp_path: Path) -> None:
    disk = recorded(tmp_path / "made", JournalOptions(fsync=fsync, fsync_interval_s=1))
    assert len(disk.moments) > 40
    worst_ns = 0
    for number, moment in enumerate(disk.moments):
        found = survivors(tmp_path / str(number), moment)
        last = found[-1] if found else -1
        assert last >= moment.synced
        # frames were made three at a time, 0.3 s apart: how many are lost tells how long ago the first of them came
        lost = [sequence for sequence in range(last + 1, moment.written + 1) if sequence != NOTE]
        commits_lost = -(-len(lost) // ROWS)
        worst_ns = max(worst_ns, commits_lost * STEP_NS)
    syncs = [
        after.synced > before.synced for before, after in zip(disk.moments, disk.moments[1:], strict=False)
    ]
    if fsync is Fsync.COMMIT:
        assert worst_ns <= STEP_NS
        assert sum(syncs) == 20
    elif fsync is Fsync.INTERVAL:
        assert STEP_NS < worst_ns <= 1_000_000_000 + 2 * STEP_NS
        assert 4 <= sum(syncs) <= 9
    else:
        assert fsync is Fsync.NEVER
        assert worst_ns >= 9 * STEP_NS  # all of an open segment
        assert sum(syncs) == 2  # of the two that were sealed
    assert survivors(tmp_path / "end", disk.moments[-1]) == [*range(30), *range(31, 61)]


def test_the_bounds_of_the_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fsync_interval_s = 0"):
        recorded(tmp_path, JournalOptions(fsync_interval_s=0))
