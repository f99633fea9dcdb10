"""Records on their way back into a segment: their payloads in an unnamed file, and in memory where each lies there."""

from __future__ import annotations

import mmap
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from schemas.errors import StoreError

__all__ = ["Column", "Place", "Places", "Scratch"]

Column = np.ndarray[Any, Any]


class Place(NamedTuple):
    """Records beside one another in the scratch file, column by column."""

    sequence: Column
    receive_ns: Column
    line: Column
    kind: Column
    offset: Column
    length: Column


class Scratch:
    """An unnamed file in the archive's file system, or, where that can't be written, in that of temporary files."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self.length = 0

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BufferError):
            if self._map is not None:
                self._map.close()
        if self._file is not None:
            self._file.close()

    def append(self, content: bytes) -> int:
        """Write at the end; returns where it begins. Raises StoreError."""
        at = self.length
        try:
            if self._file is None:
                self._file = self._open()
            self._file.write(content)
        except OSError as error:
            raise StoreError(
                f"{self._archive}: records could not be set aside while a segment is rebuilt: {error}; free some space"
            ) from error
        self.length += len(content)
        return at

    def _open(self) -> BinaryIO:
        try:
            return tempfile.TemporaryFile(dir=self._archive)
        except OSError:
            return tempfile.TemporaryFile()

    def map(self) -> mmap.mmap | bytes:
        """Everything that was written."""
        if self._file is None or not self.length:
            return b""
        try:
            self._file.flush()
            self._map = mmap.mmap(self._file.fileno(), self.length, access=mmap.ACCESS_READ)
        except OSError as error:
            raise StoreError(f"{self._archive}: the scratch file can't be read: {error}") from error
        return self._map


class Places:
    """Where records lie in the scratch file."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._parts: list[Place] = []

    def add(
        self,
        sequence: Column,
        receive_ns: Column,
        line: Column,
        kind: Column,
        payloads: bytes,
        length: Column,
    ) -> None:
        """Records, their payloads one after the other."""
        at = self._scratch.append(payloads)
        ends = np.cumsum(length)
        offset = at + ends - length
        self._parts.append(
            Place(
                sequence.astype(np.int64),
                receive_ns.astype(np.int64),
                line.astype(np.uint16),
                kind.astype(np.uint8),
                offset.astype(np.int64),
                length.astype(np.uint32),
            )
        )

    def all(self) -> Place:
        """All records in the order of the journal."""
        joined = Place(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))
        self._parts = []
        order = np.argsort(joined.sequence, kind="stable")
        return Place(*(column[order] for column in joined))
