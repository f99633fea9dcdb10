"""Mappings: private files, memory that is there when it is written, nothing kept open."""

from __future__ import annotations

import gc
import os
import stat
from pathlib import Path

import pytest

from recorder import shared_memory
from recorder.shared_memory import clock_gettime_address, make_file, map_file, reserve


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


def _mappings(path: Path) -> int:
    maps = Path("/proc/self/maps")
    return maps.read_text().count(str(path)) if maps.exists() else 0


def test_what_one_writes_another_reads(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    before = _descriptors()
    written = make_file(path, 5000)
    read = map_file(path)
    assert _descriptors() == before
    assert (len(written), len(read)) == (5000, 5000)
    assert read.readonly
    assert not written.readonly
    assert bytes(read) == bytes(5000)
    written[4999] = 7
    assert read[4999] == 7
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_mapping_ends_with_its_last_view(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    memory = make_file(path, 5000)
    view = memory[10:20]
    del memory
    gc.collect()
    view[0] = 3
    assert map_file(path)[10] == 3
    del view
    gc.collect()
    assert _mappings(path) == 0


def test_files_are_never_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        make_file(path, 100)
    assert path.read_bytes() == b"somebody's"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(OSError, match=r"symbolic|levels|link"):
        map_file(link)


def test_memory_that_is_not_there_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        make_file(tmp_path / "memory", 100)
    assert list(tmp_path.iterdir()) == []


def test_a_part_may_be_reserved_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory"
    memory = make_file(path, 1 << 20, reserved=4096)
    used = path.stat().st_blocks
    reserve(path, 4096, 65536)
    assert path.stat().st_blocks > used or not hasattr(os, "posix_fallocate")
    memory[70000] = 1
    # where the system can't reserve, zeros do
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    assert bytes(make_file(tmp_path / "other", 100)) == bytes(100)


def test_only_files_with_something_in_them_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("empty", "pipe"):
        with pytest.raises(OSError, match="no regular file"):
            map_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "nothing")


def test_a_mapping_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        mmap = staticmethod(lambda *_: shared_memory._FAILED)

    monkeypatch.setattr(shared_memory, "_LIBC", Failing)
    with pytest.raises(OSError):  # noqa: PT011 (whatever errno was)
        make_file(tmp_path / "memory", 100)
    assert list(tmp_path.iterdir()) == []


def test_the_clock() -> None:
    assert clock_gettime_address()
