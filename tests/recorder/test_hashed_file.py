"""A file hashed while it is written, that may let go of its descriptor in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from recorder.hashed_file import HashedFile


def _descriptors(path: Path) -> int:
    held = Path("/proc/self/fd").iterdir()
    return sum(one.exists() and one.samefile(path) for one in held)


@pytest.mark.parametrize("rests", [(), (0,), (1, 2), (0, 1, 2, 3)])
def test_it_is_what_was_written(tmp_path: Path, rests: tuple[int, ...]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"from before")
    file = HashedFile(path)
    pieces = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    for number, piece in enumerate(pieces):
        assert file.write(piece) == len(piece)
        if number in rests:
            file.rest()
            file.rest()
            assert _descriptors(path) == 0
        else:
            assert _descriptors(path) == 1
    assert file.tell() == file.length == 11
    assert file.finish() == hashlib.sha256(b"onetwothree").hexdigest()
    assert path.read_bytes() == b"onetwothree"
    assert _descriptors(path) == 0


def test_closed_is_closed(tmp_path: Path) -> None:
    file = HashedFile(tmp_path / "file")
    file.close()
    with pytest.raises(ValueError, match="nothing can be written"):
        file.write(b"more")


def test_whoever_else_wrote_there_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = HashedFile(path)
    file.write(b"mine")
    file.rest()
    path.write_bytes(b"someone's")
    with pytest.raises(OSError, match="found 9 bytes, expected 4"):
        file.write(b"more")
