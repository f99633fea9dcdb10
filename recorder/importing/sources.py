"""What an import reads: a file as a stream of frames, each with a receive stamp and a place in the file."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, NamedTuple, Protocol, cast

import pyarrow as pa

from schemas.errors import ConfigError, DataError
from schemas.notes import ImportedTrades

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_NS",
    "Answer",
    "Bad",
    "Fingerprint",
    "Found",
    "Source",
    "Trades",
    "excerpt",
    "fingerprint",
    "lines_of",
    "name_of",
    "opened",
    "reading",
]

MAX_LINE_BYTES: Final = 16 << 20
MAX_NS: Final = 9 * 10**18
"""The year 2255: behind it there is room for everything that is reckoned with a stamp."""
_BUFFER_BYTES: Final = 256 << 10
_SUFFIXES: Final = (".gz", ".zst", ".zip", ".jsonl", ".ndjson", ".json", ".txt", ".log", ".csv", ".data")


class Found(NamedTuple):
    """A frame to be recorded.

    Attributes:
        position: ordinal in the file, from 1.
        receive_ns: its receive stamp.
        payload: the frame.
    """

    position: int
    receive_ns: int
    payload: bytes


class Trades(NamedTuple):
    """Rows of a trade file to be recorded; ``position`` is the last one's."""

    position: int
    receive_ns: int
    record: ImportedTrades


class Answer(NamedTuple):
    """Rows of a history to be recorded, as the answer to the REST request that would have brought them.

    ``position`` is the last row's; ``path`` has the query.
    """

    position: int
    receive_ns: int
    path: str
    body: bytes


class Bad(NamedTuple):
    """Something that can't be a frame.

    Attributes:
        position: ordinal in the file, from 1.
        place: where it is, for people: ``line 17``.
        found, expected: what was there instead of what.
    """

    position: int
    place: str
    found: str
    expected: str


class Fingerprint(NamedTuple):
    """A file's size and the SHA-256 of its bytes."""

    size: int
    sha256: str


class Source(Protocol):
    """A file that can be read from its beginning any number of times, always with the same result.

    Attributes:
        path: of the file.
        form: what kind of file it is.
        overlaps: neighbouring files of this form repeat each other's ends.
        read_bytes: how far the last reading is, of the file's size.
    """

    form: ClassVar[str]
    overlaps: ClassVar[bool]
    path: Path
    read_bytes: int

    def items(self) -> Iterator[Found | Trades | Answer | Bad]:
        """Yield what is in the file, in order. Raises DataError where it can't be read on."""


def fingerprint(path: Path) -> Fingerprint:
    """Read a file once, for its SHA-256. Raises ConfigError where it can't be."""
    size = 0
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            what = "a directory" if path.is_dir() else "something else" if path.exists() else "nothing"
            raise ConfigError(f"{path}: found {what}, expected a file to import")
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(1 << 20):
                size += len(chunk)
                digest.update(chunk)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return Fingerprint(size, digest.hexdigest())


@contextmanager
def reading(path: Path) -> Iterator[list[int]]:
    """Turn what reading a damaged file raises into a DataError; the list's first number is the line reached."""
    reached = [0]
    try:
        yield reached
    except (
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        pa.ArrowException,
    ) as error:
        raise DataError(
            f"{path}: cannot be read on after line {reached[0]}: {error}; expected a whole file: fetch or copy it again"
        ) from error


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked if its name ends in ``.gz`` or ``.zst``."""
    path = source.path
    with ExitStack() as stack:
        raw = stack.enter_context(_Counted(path, source))
        if path.suffix == ".gz":
            yield cast(BinaryIO, io.BufferedReader(stack.enter_context(gzip.open(raw)), _BUFFER_BYTES))
        elif path.suffix == ".zst":
            stream = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
            yield cast(BinaryIO, io.BufferedReader(stream, _BUFFER_BYTES))
        else:
            yield cast(BinaryIO, io.BufferedReader(raw, _BUFFER_BYTES))


class _Counted(io.FileIO):
    """A file that tells its source how far it has been read."""

    def __init__(self, path: Path, source: Source) -> None:
        super().__init__(path)
        self._source = source
        source.read_bytes = 0

    def readinto(self, buffer: object, /) -> int:
        count = super().readinto(buffer)  # type: ignore[arg-type]
        self._source.read_bytes = self.tell()
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(-1 if size is None else size)
        self._source.read_bytes = self.tell()
        return chunk or b""


def lines_of(file: BinaryIO, reached: list[int]) -> Iterator[tuple[int, bytes]]:
    """Yield (number, line) without line ends; of a line that is too long what comes first, and more than allowed."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        reached[0] = number
        stripped = line.rstrip(b"\r\n")
        if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
        yield number, stripped


def excerpt(line: bytes) -> str:
    """The beginning of a line, for a message."""
    if len(line) > MAX_LINE_BYTES:
        return f"a line of more than {MAX_LINE_BYTES:,} bytes"
    text = line[:60].decode(errors="backslashreplace")
    return repr(text) + ("…" if len(line) > 60 else "")


def name_of(path: Path) -> str:
    """A collector's name out of a file's: without the endings that tell its form, and characters that names lack."""
    name = path.name
    while (suffix := Path(name).suffix.lower()) in _SUFFIXES and len(name) > len(suffix):
        name = name[: -len(suffix)]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".")[:64] or "import"
