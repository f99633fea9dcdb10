"""A Parquet file that is written row group by row group, and takes next to no memory between them.

pyarrow's writer keeps what the footer will say of each row group, 10 to 50 KB in memory, until the file ends: of a long
segment, or of thousands of files at once, that is more than all rows. So a writer is closed after a few row groups, its
footer is caught and set aside, and the next one goes on where it ended, in the same file; at the end the footers become
one. The bytes are those that one writer would have written.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recorder import thrift
from recorder.encodings import Profile, open_writer
from recorder.hashed_file import HashedFile
from recorder.row_scratch import Place, RowScratch
from recorder.thrift import I16, I64, LIST, STRUCT, Struct
from schemas.names import Table

__all__ = ["GroupedFile", "joined"]

GROUPS_OF_A_WRITER: Final = 16
"""After so many row groups a writer is closed: what it says of them is 1 MB at most, and a new one costs 0.3 ms."""
BUFFER_BYTES: Final = 64 << 10
"""Parquet writes page by page; the file is written and hashed in pieces of this size."""

# of parquet.thrift
_ROWS, _ROW_GROUPS = 3, 4
_ORDINAL: Final = 7
_MOST_ORDINAL: Final = 2**15 - 1
_GROUPS_DEEP: Final = 2
"""Row groups are taken apart; what is said of each column stays as it is."""
_TAIL: Final = 8
"""The length of the footer and ``PAR1``."""
_EMPTY_LIST: Final = 2
"""Bytes of a list without elements, at the front of a struct."""


class GroupedFile:
    """One Parquet file, begun with its first row group.

    Args:
        path: where; its directory is made if need be.
        table, how: what is written, and how.
        scratch: where footers wait.
    """

    def __init__(self, path: Path, table: Table, how: Profile, scratch: RowScratch) -> None:
        self._path = path
        self._table = table
        self._profile = how
        self._scratch = scratch
        self._file: HashedFile | None = None
        self._stretch: _Stretch | None = None
        self._sink: Any = None
        self._writer: Any = None
        self._groups = 0  # of this writer
        self._all_groups = self._all_rows = 0
        self._footers = array("q")  # of writers that were closed: offset and length

    @property
    def is_begun(self) -> bool:
        """Whether there is a row group."""
        return self._file is not None

    @property
    def length(self) -> int:
        """Bytes of the file so far."""
        return 0 if self._file is None else self._file.length

    @property
    def writers(self) -> int:
        """Writers that were closed before the file's end."""
        return len(self._footers) // 2

    def write(self, rows: pa.Table, *, resting: bool) -> None:
        """Write rows as one row group.

        Args:
            rows: as ``engine.stored_rows.store`` makes them.
            resting: keep neither writer nor descriptor afterwards.

        Raises:
            OSError: the file cannot be written.
            StoreError: the scratch file cannot.
        """
        if self._writer is None:
            self._open()
        self._writer.write_table(rows, row_group_size=max(rows.num_rows, 1))
        self._groups += 1
        self._all_groups += 1
        self._all_rows += rows.num_rows
        if resting or self._groups == GROUPS_OF_A_WRITER:
            self._footers.extend(self._scratch.put_bytes(self._close()))
        if resting:
            assert self._file is not None
            self._file.rest()

    def finish(self) -> str:
        """Write the footer, sync and close; returns the file's sha256. Raises as ``write``."""
        assert self._file is not None
        if self._footers:
            last = [self._close()] if self._writer is not None else []
            for piece in joined(self._all_footers(last), self._all_rows, self._all_groups):
                self._file.write(piece)
        else:
            self._writer.close()
            self._sink.flush()
            self._writer = self._sink = None
        return self._file.finish()

    def abandon(self) -> None:
        """Let go of the file as it is, which is no Parquet file."""
        if self._stretch is not None:
            self._stretch.catch()  # what is held back would be written when it is collected
        for one in (self._writer, self._sink, self._file):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.close()
        self._writer = self._sink = None

    def _open(self) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = HashedFile(self._path)
        at = self._file.length
        self._stretch = _Stretch(self._file, at)
        self._sink = pa.BufferedOutputStream(pa.PythonFile(self._stretch, "w"), BUFFER_BYTES)
        self._writer = open_writer(self._sink, self._table, self._profile, at)
        self._groups = 0

    def _close(self) -> bytes:
        """Close the writer; returns the footer that it would end the file with."""
        assert self._stretch is not None
        self._sink.flush()
        self._stretch.catch()
        self._writer.close()
        self._sink.close()
        self._writer = self._sink = None
        return self._stretch.caught()

    def _all_footers(self, last: list[bytes]) -> Iterable[bytes]:
        numbers = iter(self._footers)
        for offset, length in zip(numbers, numbers, strict=True):
            yield self._scratch.get_bytes(Place(offset, length))
        yield from last


class _Stretch:
    """The file, for one writer: it begins again from the front, and that is left out; and so may be its footer.

    Args:
        file: where the rest goes.
        length: of what is left out.
    """

    closed = False

    def __init__(self, file: HashedFile, length: int) -> None:
        self._file = file
        self._before = length
        self._caught: list[bytes] | None = None

    def write(self, content: Any) -> int:
        if self._caught is not None:
            self._caught.append(bytes(content))
        elif self._before:
            count = min(self._before, len(content))
            self._before -= count
            if count < len(content):
                self._file.write(memoryview(content)[count:])
        else:
            self._file.write(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """The file is its owner's."""

    def catch(self) -> None:
        """Keep what comes from here on from the file."""
        self._caught = []

    def caught(self) -> bytes:
        return b"".join(self._caught or ())


def joined(footers: Iterable[bytes], rows: int, groups: int) -> Iterator[bytes]:
    """The end of a file with the row groups of all these footers, in their order, piece by piece.

    Args:
        footers: with ``PAR1`` behind, as a file ends.
        rows, groups: how many there are in all.

    Raises:
        ValueError: one of them is none, or there are fewer or more row groups.
    """
    rest: Struct = {}
    length = found = 0
    for content in footers:
        footer, end = thrift.decode(content[:-_TAIL], _GROUPS_DEEP)
        if end != len(content) - _TAIL or content[-4:] != b"PAR1":
            raise ValueError("found no footer where pyarrow writes one")
        pieces = bytearray()
        if not rest:
            footer[_ROWS] = (I64, rows)
            before = {field: value for field, value in footer.items() if field < _ROW_GROUPS}
            rest = {field: value for field, value in footer.items() if field > _ROW_GROUPS}
            # without the byte that ends a struct: the row groups come first, and what is said behind them
            pieces += thrift.encode(before | {_ROW_GROUPS: (LIST, (STRUCT, [b""] * groups))})[:-1]
        for group in footer[_ROW_GROUPS][1][1]:
            # not every version of pyarrow numbers them; the number has 16 bits, and may be left out
            if group.pop(_ORDINAL, None) is not None and found <= _MOST_ORDINAL:
                group[_ORDINAL] = (I16, found)
            pieces += thrift.encode(group)
            found += 1
        length += len(pieces)
        yield bytes(pieces)
    if found != groups:
        raise ValueError(f"found {found} row groups in the footers, expected {groups}")
    behind = thrift.encode({_ROW_GROUPS: (LIST, (STRUCT, [])), **rest})[_EMPTY_LIST:]
    yield behind + (length + len(behind)).to_bytes(4, "little") + b"PAR1"
