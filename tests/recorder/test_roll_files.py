"""A segment's files, written by one thread or by several."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from engine.replay import Key
from recorder import parquet_files, roll, roll_files
from recorder.journal import SegmentInfo, segments
from recorder.parquet_files import ArchiveFile
from recorder.roll import roll_data, roll_segment
from recorder.roll_files import RollFiles
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.names import Table
from tests.recorder.archives import NOON_NS, small_row_groups, table_of
from tests.recorder.recordings import files_of, record_day

DAY = NOON_NS // 86_400_000_000_000
INFO = SegmentInfo("linear", "linear", "gateway", "ws://x", "test", 7, 7)


def _rows(start: int, stop: int) -> pa.Table:
    return table_of(
        Table.COVERAGE,
        [
            {"sequence": i, "start_time": NOON_NS + i, "end_time": NOON_NS + i + 1, "topic": f"t{i % 3}"}
            for i in range(start, stop)
        ],
    )


def _keys(count: int) -> list[Key]:
    return [(Table.COVERAGE, f"S{number}", DAY) for number in range(count)]


@pytest.mark.parametrize("jobs", [2, 3, 8])
def test_several_threads_write_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    record_day(tmp_path / "data", steps=200, rotate_at=(90,))
    small_row_groups(monkeypatch, rows=11)
    monkeypatch.setattr(roll, "MAX_HELD_BYTES", 5_000)
    monkeypatch.setattr(roll, "MAX_RECORDS", 16)
    monkeypatch.setattr(parquet_files, "MAX_WAITING_BYTES", 3_000)
    writers: set[str] = set()
    write = ArchiveFile._write

    def watched(file: ArchiveFile, *, is_last: bool = False) -> None:
        writers.add(threading.current_thread().name)
        write(file, is_last=is_last)

    monkeypatch.setattr(ArchiveFile, "_write", watched)
    for segment in segments(tmp_path / "data"):
        expected = roll_segment(segment.path, tmp_path / "one")
        assert writers == {threading.main_thread().name}
        writers.clear()
        assert roll_segment(segment.path, tmp_path / "several", jobs=jobs) == expected
        assert writers
        assert threading.main_thread().name not in writers
        writers.clear()
    assert files_of(tmp_path / "several") == files_of(tmp_path / "one")


def test_a_file_is_one_threads_at_a_time_and_gets_its_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy: set[str] = set()
    append = ArchiveFile.append

    def alone(file: ArchiveFile, rows: pa.Table) -> None:
        assert file.relative not in busy
        busy.add(file.relative)
        append(file, rows)
        busy.remove(file.relative)

    monkeypatch.setattr(ArchiveFile, "append", alone)
    keys = _keys(5)
    with RollFiles(tmp_path, INFO, jobs=4) as files:
        for start in range(0, 60, 3):
            files.take({key: _rows(start, start + 3) for key in keys})
        entries = files.finish()
    assert [entry.symbol for entry in entries] == [key[1] for key in keys]
    assert {entry.rows for entry in entries} == {60}
    assert len({(tmp_path / entry.path).read_bytes() for entry in entries}) == 1
    assert {entry.sequence for entry in entries} == {(0, 59)}


def _roll_six(archive: Path, jobs: int) -> None:
    with RollFiles(archive, INFO, jobs=jobs) as files:
        files.take({key: _rows(0, 5) for key in _keys(6)})
        files.take({})


@pytest.mark.parametrize("jobs", [1, 4])
def test_a_failure_in_any_thread_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    small_row_groups(monkeypatch, rows=2)
    (tmp_path / "coverage" / "category=linear").mkdir(parents=True)
    (tmp_path / "coverage" / "category=linear" / "symbol=S3").write_text("in the way")
    with pytest.raises(StoreError, match=r"S3.*the journal still has everything"):
        _roll_six(tmp_path, jobs)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["symbol=S3"]


def test_memory_is_given_back_where_there_are_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    monkeypatch.setattr(roll_files, "give_back", lambda: given.append(True))
    monkeypatch.setattr(roll_files, "MANY_FILES", 2)
    with RollFiles(tmp_path, INFO) as files:
        for number, keys in enumerate((_keys(2), _keys(3))):
            rows = {key: _rows(0, 1) for key in keys}
            files.take(rows)
            assert (len(given), rows) == (number, {})
            # of the rows nothing stays in memory: they would be in each other's way
            assert (files.held.bytes == 0) == bool(number)


def test_directories_are_named_once_the_deepest_first(tmp_path: Path) -> None:
    with RollFiles(tmp_path, INFO) as files:
        files.take({key: _rows(0, 1) for key in _keys(2)})
        files.finish()
        found = [str(path.relative_to(tmp_path)) for path in files.directories()]
    date = "date=2024-08-08"
    assert found == [
        f"coverage/category=linear/symbol=S0/{date}",
        f"coverage/category=linear/symbol=S1/{date}",
        "coverage/category=linear/symbol=S0",
        "coverage/category=linear/symbol=S1",
        "coverage/category=linear",
        "coverage",
        ".",
    ]


def test_a_directory_is_rolled_with_several_threads(tmp_path: Path) -> None:
    record_day(tmp_path, steps=60, rotate_at=(30,))
    rolled = roll_data(tmp_path, jobs=3)
    assert len(rolled) == 2
    for one in rolled:
        for entry in one.entries:
            if isinstance(entry, ManifestFile):
                assert (tmp_path / "archive" / entry.path).stat().st_size == entry.bytes
