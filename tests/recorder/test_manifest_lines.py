"""Lines read piece by piece are those of the whole file, and what nobody wants is let go without changing the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder import manifest_lines
from recorder.manifest import append_manifest, manifest_path, read_manifest, read_segments
from recorder.manifest_lines import FileLine, no_files, read_lines, same_directory
from schemas.errors import Corrupt, StoreError
from schemas.manifest import ManifestFile, decode_line
from tests.recorder.test_manifest import file_line, segment_line


def write(archive: Path) -> Path:
    lines = [file_line(f"linear-{number}.parquet", rows=number) for number in range(1, 20)]
    other = file_line("linear-1.parquet", symbol="ETHUSDT")
    append_manifest(archive, "linear", [*lines, other, segment_line(files=20)])
    return manifest_path(archive, "linear")


@pytest.mark.parametrize("size", [1, 7, 100, 2_000, 1 << 20])
def test_pieces_of_any_size_give_all_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = write(tmp_path)
    whole = [decode_line(line) for line in path.read_bytes().splitlines()]
    monkeypatch.setattr(manifest_lines, "PIECE_BYTES", size)
    assert [line for lines in read_lines(path) for line in lines] == whole
    assert [line for lines in read_lines(path, path.read_bytes() + b'{"torn') for line in lines] == whole
    aside = path.with_name("aside.txt")
    path.rename(aside)
    assert [line for lines in read_lines(path, aside) for line in lines] == whole


@pytest.mark.parametrize("size", [100, 1 << 20])
@pytest.mark.parametrize("blank", [b"", b"\n", b" \n"])
def test_only_what_is_wanted_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, blank: bytes
) -> None:
    path = write(tmp_path)
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + blank + b"".join(rest))
    monkeypatch.setattr(manifest_lines, "PIECE_BYTES", size)
    asked: list[str] = []

    def is_ether(directory: str) -> bool:
        asked.append(directory)
        return "ETH" in directory

    found = [line for lines in read_lines(path, wanted=same_directory(is_ether)) for line in lines]
    assert [type(line) for line in found[:-1]] == [FileLine] * 19 + [ManifestFile]
    assert found[-2] == file_line("linear-1.parquet", symbol="ETHUSDT")
    assert [line.path for line in found[:-1] if isinstance(line, FileLine)] == [
        file_line(f"linear-{number}.parquet").path for number in range(1, 20)
    ]
    assert len(set(asked)) == 2
    assert read_manifest(tmp_path, same_directory(is_ether)).files == [found[-2]]


def test_what_is_not_wanted_is_looked_at_all_the_same(tmp_path: Path) -> None:
    path = write(tmp_path)
    good = path.read_bytes()
    for bad, error, words in (
        (b'{"event":"file"}', Corrupt, "line 22 is not a manifest line"),
        (b"null", Corrupt, "line 22 is not a manifest line"),
        (b"\xff", Corrupt, "line 22 is not a manifest line"),
        (good.splitlines()[0].replace(b'"version":2', b'"version":4'), StoreError, "upgrade tapebook"),
        (
            good.splitlines()[0].replace(b'"collector":"linear"', b'"collector":"spot"'),
            Corrupt,
            "line 22 is of collector 'spot'",
        ),
    ):
        path.write_bytes(good + bad + b"\n")
        for read in (read_manifest, read_segments):
            with pytest.raises(error, match=words):
                read(tmp_path)
    path.write_bytes(good + b'{"event":"file"')  # a torn one counts for nobody
    assert [line for lines in read_lines(path, wanted=no_files) for line in lines][-1] == segment_line(
        files=20
    )
