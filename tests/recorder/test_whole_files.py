"""Files that are appended to or written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder.whole_files import append_lines, sync_directories, write_synced


@pytest.mark.parametrize("before", [b"", b"a\n", b"a\ntorn", b"torn", b"a\n" + b"x" * 200_000])
def test_lines_come_behind_the_last_whole_one(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "new" / "lines"
    if before:
        path.parent.mkdir()
        path.write_bytes(before)
    seen = []
    append_lines(path, lambda descriptor, end: (seen.append((os.fstat(descriptor).st_size, end)), b"b\n")[1])
    whole = before[: before.rfind(b"\n") + 1]
    assert seen == [(len(whole), len(whole))]
    assert path.read_bytes() == whole + b"b\n"


def test_what_could_not_be_made_last_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\n")

    def refuse(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("recorder.whole_files.os.fsync", refuse)
    with pytest.raises(OSError, match="Input/output"):
        append_lines(path, lambda descriptor, end: b"b\n")
    assert path.read_bytes() == b"a\n"


def test_a_disk_that_takes_a_part_leaves_none_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"a\n")
    write = os.pwrite
    monkeypatch.setattr("recorder.whole_files.os.pwrite", lambda fd, data, at: write(fd, data[:1], at))
    with pytest.raises(OSError, match="only 1 of 2 bytes"):
        append_lines(path, lambda descriptor, end: b"b\n")
    assert path.read_bytes() == b"a\n"


def test_a_file_is_written_and_directories_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr("recorder.whole_files.os.fsync", watched)
    write_synced(tmp_path / "file", b"content")
    sync_directories(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]
    with pytest.raises(FileNotFoundError):
        sync_directories(tmp_path / "nothing")
