"""What a roll holds in memory doesn't grow with the segment: neither of many symbols nor of few, and no writer stays.

What malloc has handed out is counted, not what a process has resident, which the machine has a say in.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.growth_memory import allocated_bytes
from recorder import grouped_file, parquet_files, roll, roll_files
from recorder.grouped_file import GroupedFile
from recorder.journal import SegmentFile, segments
from recorder.parquet_files import ArchiveFile, Held
from recorder.roll import roll_segment
from schemas.manifest import Entry, ManifestFile
from tests.recorder.archives import small_row_groups
from tests.recorder.recordings import BOOK, TICKER, TRADES, Tape, market

LONGER = 4


@pytest.fixture(autouse=True)
def _by_malloc() -> Iterator[None]:
    """Arrow's memory is malloc's, as in every process that rolls."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    yield
    pa.set_memory_pool(before)


def _recorded(data: Path, symbols: int, steps: int) -> SegmentFile:
    names = [f"S{number:02}USDT" for number in range(symbols)]
    tape = Tape(data, [topic.replace("BTCUSDT", name) for topic in (BOOK, TRADES, TICKER) for name in names])
    frames = (
        frame.replace(b"BTCUSDT", name.encode())
        for step in range(steps)
        for frame in market(step, step + 1)
        if b"orderbook.1." not in frame
        for name in names
    )
    tape.frames(frames, step_ns=1_000, flush_every=200)
    tape.stop()
    return segments(data)[0]


class _Watch:
    """The most that is held when a row group is written: bytes of malloc, Python's objects, row groups in writers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[GroupedFile] = []
        self.begin()
        init, write = GroupedFile.__init__, GroupedFile.write

        def begun(file: GroupedFile, *given: Any) -> None:
            init(file, *given)
            self.files.append(file)

        def watched(file: GroupedFile, rows: pa.Table, *, resting: bool) -> None:
            write(file, rows, resting=resting)
            self.bytes = max(self.bytes, (allocated_bytes() or 0) - self._bytes_before)
            self.objects = max(self.objects, sys.getallocatedblocks() - self._objects_before)
            self.groups = max(
                self.groups, sum(file._groups for file in self.files if file._writer is not None)
            )

        monkeypatch.setattr(GroupedFile, "__init__", begun)
        monkeypatch.setattr(GroupedFile, "write", watched)

    def begin(self) -> None:
        gc.collect()
        self.files.clear()
        self._bytes_before, self._objects_before = allocated_bytes() or 0, sys.getallocatedblocks()
        self.bytes = self.objects = self.groups = 0


@pytest.mark.skipif(allocated_bytes() is None, reason="malloc doesn't say what it has handed out")
@pytest.mark.parametrize(("symbols", "steps", "is_crowded"), [(7, 120, True), (2, 480, False)])
def test_a_segment_four_times_as_long_takes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symbols: int, steps: int, is_crowded: bool
) -> None:
    small_row_groups(monkeypatch, rows=20)
    monkeypatch.setattr(roll, "HELD_BYTES", 30_000)
    monkeypatch.setattr(parquet_files, "MAX_WAITING_BYTES", 60_000)
    monkeypatch.setattr(roll, "HELD_BYTES_A_SYMBOL", 0)
    monkeypatch.setattr(roll, "MAX_RECORDS", 64)
    monkeypatch.setattr(roll_files, "MANY_FILES", 12)
    monkeypatch.setattr(parquet_files, "MOST_OPEN", 4)
    monkeypatch.setattr(grouped_file, "GROUPS_OF_A_WRITER", 4)
    watch = _Watch(monkeypatch)
    peaks = []
    entries: list[Entry] = []
    crowded: list[bool] = []
    relieve = Held.relieve

    def relieved(held: Held) -> None:
        relieve(held)
        crowded.append(held.is_crowded)

    monkeypatch.setattr(Held, "relieve", relieved)
    for number, times in enumerate((1, 1, LONGER)):  # the first one warms up
        segment = _recorded(tmp_path / str(number), symbols, steps * times)
        crowded.clear()
        entries = []
        watch.begin()
        entries = roll_segment(segment.path, tmp_path / "archive")
        peaks.append((watch.bytes, watch.objects))
        assert crowded[-1] == is_crowded
        # far more row groups than any writer knows of
        rows = sum(entry.rows for entry in entries if isinstance(entry, ManifestFile))
        assert 0 < watch.groups <= 4 * 4 + 1 < rows // 20
    _, (few_bytes, few_objects), (many_bytes, many_objects) = peaks
    assert many_bytes < 1.25 * few_bytes
    assert many_objects < 1.25 * few_objects


def test_only_so_many_files_keep_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_row_groups(monkeypatch, rows=20)
    monkeypatch.setattr(roll, "HELD_BYTES", 20_000)
    monkeypatch.setattr(roll, "HELD_BYTES_A_SYMBOL", 0)
    monkeypatch.setattr(roll, "MAX_RECORDS", 64)
    segment = _recorded(tmp_path / "data", 6, 120)
    written = []
    for most in (0, 2, 1_000):
        monkeypatch.setattr(parquet_files, "MOST_OPEN", most)
        with monkeypatch.context() as patch:
            watch = _Watch(patch)
            entries = roll_segment(segment.path, tmp_path / str(most))
        resting = sum(file.writers > 0 for file in watch.files)
        of_groups = sum(entry.rows > 20 for entry in entries if isinstance(entry, ManifestFile))
        assert resting == max(of_groups - most, 0)
        written.append(entries)
    assert written[0] == written[1] == written[2]


def test_what_is_set_aside_is_in_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows came at a time: what says where they are is memory too."""
    monkeypatch.setattr(parquet_files, "MOST_PIECES", 3)
    segment = _recorded(tmp_path / "data", 2, 120)
    expected = roll_segment(segment.path, tmp_path / "at once")
    pieces: list[int] = []
    set_aside = ArchiveFile.set_aside

    def counted(file: ArchiveFile) -> None:
        set_aside(file)
        pieces.append(len(file._aside) // 2)

    monkeypatch.setattr(ArchiveFile, "set_aside", counted)
    monkeypatch.setattr(roll, "HELD_BYTES", 2_000)
    monkeypatch.setattr(roll, "HELD_BYTES_A_SYMBOL", 0)
    monkeypatch.setattr(roll, "MAX_RECORDS", 16)
    monkeypatch.setattr(roll_files, "MANY_FILES", 1)
    assert roll_segment(segment.path, tmp_path / "in pieces") == expected
    assert max(pieces) == 3
