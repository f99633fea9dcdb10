"""A file of the archive wherever it is: on this disk, or in an object store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, TypeAlias

from recorder.object_store import CHUNK_BYTES, StoredFile, StoredReader
from schemas.errors import Corrupt, StoreError

__all__ = ["FilePlace", "not_there", "open_place", "parquet_source", "sha256_of", "size_of"]

FilePlace: TypeAlias = Path | StoredFile


def open_place(place: FilePlace) -> IO[bytes] | StoredReader:
    """Open a file for reading. Raises OSError, StoreError."""
    return open(place, "rb") if isinstance(place, Path) else place.open()


def parquet_source(place: FilePlace) -> Path | StoredReader:
    """Return what pyarrow opens as a Parquet file: of a path it maps what it needs. Raises OSError, StoreError."""
    return place if isinstance(place, Path) else place.open()


def not_there(place: FilePlace | str) -> StoreError:
    """Return what is to be said of a file of the manifest that is missing, whoever has wanted to read it."""
    return StoreError(
        f"{place}: the manifest names it, but it is not there; run `tapebook verify`, or, if the archive was "
        "compacted long after it was opened here, open it again"
    )


def size_of(place: FilePlace) -> int:
    """Return a file's size. Raises OSError, StoreError."""
    if isinstance(place, Path):
        return place.stat().st_size
    with place.open() as reader:
        return reader.seek(0, 2)


def sha256_of(place: FilePlace) -> str:
    """Return the hash of a file's bytes, hex.

    Raises:
        Corrupt: it is not there.
        StoreError: it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open_place(place) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        raise Corrupt(place, "missing, although the manifest lists it") from None
    except OSError as error:
        raise StoreError(f"{place}: cannot be read: {error}") from error
    return digest.hexdigest()
