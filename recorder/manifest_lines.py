"""The lines of a manifest, read piece by piece: those that are wanted whole, of the others what tells of which file.

A year of 500 symbols has some 800,000 lines, each of which would be 2 KB of objects. Who rolls, compacts or prunes
needs the segments and a few files: the rest is looked at (well-formed, of this version and collector) and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from schemas.errors import Corrupt, StoreError
from schemas.manifest import (
    MANIFEST_VERSION,
    Entry,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
)
from schemas.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from recorder.object_store import StoredFile

__all__ = [
    "FileLine",
    "Line",
    "Wanted",
    "check_line",
    "no_files",
    "read_lines",
    "same_directory",
    "whole_lines",
]


class FileLine(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="file"):
    """Of a ``file`` line that is not wanted: which file it is of; attributes as of ``ManifestFile``."""

    path: str
    table: str
    category: str
    symbol: str
    date: str
    collector: str
    segment: int
    receive_ns: tuple[int, int] | None
    schema_version: int
    last_segment: int | None = None
    version: int = 1


Line = Entry | FileLine

Wanted = Callable[[str], bool]
"""Says of a path whether its lines are wanted; of all files of one directory it must say the same."""

PIECE_BYTES: Final = 1 << 20

_DECODER: Final[msgspec.json.Decoder[Entry]] = msgspec.json.Decoder(Entry)
_LIGHT: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(
    FileLine | ManifestSegment | ManifestCompaction | ManifestPruned | ManifestCheckpoint
)


class _Header(msgspec.Struct):
    """The two keys that every version of a line has."""

    event: str
    version: int = 1


_HEADER: Final = msgspec.json.Decoder(_Header)

# A file's path must say what its line says, since the views take category, symbol and date from the path.
_PATH_SLASHES: Final = 4


def no_files(_path: str) -> bool:
    """``Wanted`` by who needs the segments alone."""
    return False


def same_directory(wanted: Callable[[str], bool]) -> Wanted:
    """Return a ``Wanted`` that goes by a path's directory, which it gives, asked for once in a row."""
    last, answer = "", False

    def ask(path: str) -> bool:
        nonlocal last, answer
        directory = path.rpartition("/")[0]
        if directory != last:
            last, answer = directory, wanted(directory)
        return answer

    return ask


def read_lines(
    path: Path | StoredFile, content: bytes | Path | None = None, wanted: Wanted | None = None
) -> Iterator[list[Line]]:
    """Yield a manifest's whole lines in their order, as many at a time as come well.

    Args:
        path: the manifest.
        content: its bytes, or the file that has them, where they are not to be read from the path.
        wanted: of which files the lines are to be whole; None for all.

    Raises:
        Corrupt: a whole line is none, is of another collector, or a wanted one leads elsewhere than it says.
        StoreError: lines or files come from a newer tapebook.
        OSError: as it comes.
    """
    number, collector = 0, path.stem
    with _opened(path, content) as stream:
        for piece in whole_lines(stream):
            lines = _decode(path, number, piece, wanted)
            for line in lines:
                number += 1
                if (
                    type(line) is not FileLine
                    or line.collector != collector
                    or line.version > MANIFEST_VERSION
                    or line.schema_version > SCHEMA_VERSION
                ):
                    check_line(path, number, line)
            yield lines


def check_line(path: Path | StoredFile, number: int, line: Line) -> None:
    """Raise Corrupt for a line of another collector, or whose path leads elsewhere than it says; StoreError for one
    of a newer tapebook, or of a file that one wrote."""
    if line.version > MANIFEST_VERSION:
        raise _newer(path, line.version)
    if line.collector != path.stem:
        raise Corrupt(path, f"line {number} is of collector {line.collector!r}, expected {path.stem!r}")
    if type(line) is ManifestFile:
        _check_path(path, number, line)
    if isinstance(line, ManifestFile | FileLine) and line.schema_version > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: line {number} names a file of schema version {line.schema_version}, written by a newer "
            f"tapebook; this one reads up to version {SCHEMA_VERSION}: upgrade tapebook"
        )


def whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the whole lines of a stream, many at a time. A last one without its newline is the trace of a crash."""
    rest: list[bytes] = []
    while piece := stream.read(PIECE_BYTES):
        end = piece.rfind(b"\n") + 1
        if not end:
            rest.append(piece)
            continue
        yield b"".join((*rest, piece[:end]))
        rest = [piece[end:]]


def _opened(path: Path | StoredFile, content: bytes | Path | None) -> BinaryIO:
    if isinstance(content, bytes):
        return BytesIO(content)
    file = path if content is None else content
    assert isinstance(file, Path)
    return file.open("rb")


def _decode(path: Path | StoredFile, before: int, piece: bytes, wanted: Wanted | None) -> list[Line]:
    try:
        if wanted is None:
            return list(_DECODER.decode_lines(piece))
        lines = _LIGHT.decode_lines(piece)
        whole = [at for at, line in enumerate(lines) if type(line) is FileLine and wanted(line.path)]
        if whole:
            texts = piece.split(b"\n")[:-1]
            if len(texts) != len(lines):  # blank lines, which count for nothing
                return [
                    _LIGHT.decode(msgspec.json.encode(line))
                    if isinstance(line, ManifestFile) and not wanted(line.path)
                    else line
                    for line in _DECODER.decode_lines(piece)
                ]
            for at in whole:
                lines[at] = _DECODER.decode(texts[at])
    except (msgspec.DecodeError, RecursionError):
        raise _explanation(path, before, piece) from None
    return lines


def _explanation(path: Path | StoredFile, before: int, piece: bytes) -> StoreError:
    """Find the line that the decoder stumbled on and return what is wrong with it."""
    for number, line in enumerate(piece.split(b"\n")[:-1], before + 1):
        try:
            _DECODER.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            try:
                version = _HEADER.decode(line).version
            except (msgspec.DecodeError, RecursionError):
                version = 0
            if version > MANIFEST_VERSION:
                return _newer(path, version)
            return Corrupt(path, f"line {number} is not a manifest line: {error}")
    return Corrupt(path, "its lines cannot be read together, although each is a manifest line")


def _newer(path: Path | StoredFile, version: int) -> StoreError:
    return StoreError(
        f"{path}: manifest version {version} was written by a newer tapebook; "
        f"this one reads up to version {MANIFEST_VERSION}: upgrade tapebook"
    )


def _check_path(path: Path | StoredFile, number: int, file: ManifestFile) -> None:
    parts = file.path.split("/")
    if (
        len(parts) != _PATH_SLASHES + 1
        or parts[0] != file.table
        or parts[1] != f"category={file.category}"
        or not parts[2].startswith("symbol=")
        or parts[3] != f"date={file.date}"
        or not parts[4].endswith(".parquet")
        or "\0" in file.path
    ):
        raise Corrupt(
            path,
            f"line {number} names {file.path!r}; expected "
            f"{file.table}/category={file.category}/symbol=…/date={file.date}/<name>.parquet",
        )
