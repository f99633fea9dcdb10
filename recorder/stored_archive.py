"""Reading an archive in an object store: what its manifest names, and nothing else of the store.

DuckDB gets the files through a file system of Python's kind (fsspec) that knows just the manifest's files, by the name
``tapebook://archive/<path>``; so a query reaches nothing else, and what it reads is never listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recorder.manifest import Manifest, manifest_of, parse_manifest
from recorder.object_store import ObjectStore
from schemas.errors import ConfigError, StoreError
from schemas.manifest import ManifestFile

__all__ = ["STORED_ROOT", "read_stored_manifest", "stored_files"]

STORED_ROOT: Final = "tapebook://archive"

_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


def read_stored_manifest(store: ObjectStore) -> Manifest:
    """Read every collector's manifest as it is published.

    Raises:
        ConfigError: nothing is published there.
        Corrupt: a manifest's line is none.
        StoreError: the store fails, or the lines come from a newer tapebook.
    """
    keys = store.names("manifest", ".jsonl")
    found = [(store.file(key), store.read(key)) for key in keys]
    states = [parse_manifest(file, content) for file, content in found if content is not None]
    if not states:
        raise ConfigError(
            f"{store}: no archive is published there; name the URL that `tapebook upload --to` was given"
        )
    return manifest_of(Path(str(store)), states)


def stored_files(store: ObjectStore, files: Iterable[ManifestFile]) -> Any:
    """Return the file system through which DuckDB reads these files. Raises ConfigError where fsspec is missing."""
    try:
        from fsspec.spec import AbstractFileSystem
    except ImportError:
        raise ConfigError("queries over an object store need fsspec: pip install 'tapebook[s3]'") from None

    class StoredFiles(AbstractFileSystem):  # type: ignore[misc]
        protocol = "tapebook"
        cachable = False

        def __init__(self, sizes: dict[str, int]) -> None:
            super().__init__()
            self.sizes = sizes

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("tapebook://")

        def info(self, path: str, **_: Any) -> dict[str, Any]:
            path = self._strip_protocol(path)
            if path not in self.sizes:
                raise FileNotFoundError(path)
            return {"name": path, "size": self.sizes[path], "type": "file", "islink": False}

        def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
            found = self.info(path)
            return [found] if detail else [found["name"]]

        def glob(self, path: str, **_: Any) -> list[str]:
            path = self._strip_protocol(path)
            return [path] if path in self.sizes else []

        def modified(self, _path: str) -> datetime:
            return _LONG_AGO  # files of the archive never change

        def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
            if mode != "rb":
                raise PermissionError("an archive is only read")
            path = self._strip_protocol(path)
            if path not in self.sizes:
                raise FileNotFoundError(path)
            file = store.file(path.removeprefix("archive/"))
            try:
                return file.open()
            except FileNotFoundError as error:
                raise StoreError(
                    f"{file}: the manifest names it, but it is not there; if the archive was compacted long after it "
                    "was opened here, open it again; else run `tapebook upload --check`"
                ) from error

    return StoredFiles({f"archive/{file.path}": file.bytes for file in files})
