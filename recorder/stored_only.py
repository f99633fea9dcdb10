"""Files of the archive that are only in an object store any more: which, where, and how they are reached from here.

``archive/stored/<collector>.jsonl`` names what ``recorder.free_archive`` has removed from this disk, once it was proved
to be in the store. The manifest stays as it is: those files count like all others. Who needs one for a proof reads it
there (``Manifest.place``); a query of this directory leaves them out and says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from recorder.object_store import ObjectStore, StoredFile
from recorder.whole_files import append_lines, sync_directories
from schemas.errors import Corrupt, StoreError
from schemas.manifest import ManifestFile

__all__ = ["StoredLine", "StoredOnly", "append_stored", "stored_path"]

VERSION: Final = 1


class StoredLine(msgspec.Struct, frozen=True, tag_field="event", tag="stored"):
    """Files that are to be removed from this disk: written, and made last, before they are.

    Attributes:
        url: the object store, as ``--to`` named it.
        time_ns: when.
        paths: relative to ``archive/`` and, there, to the prefix.
    """

    url: str
    time_ns: int
    paths: list[str]
    software: str
    version: int = VERSION


_DECODER: Final = msgspec.json.Decoder(StoredLine)


class StoredOnly:
    """What this archive has in an object store only, as far as it was asked for; it follows what is removed later.

    Args:
        archive: its root.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._urls: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._stores: dict[str, ObjectStore] = {}

    def url_of(self, path: str) -> str | None:
        """Return where a file is that is not here; None: it is here, or nobody has it.

        Raises:
            Corrupt, StoreError: the lists can't be read, or come from a newer tapebook.
        """
        if (self._archive / path).exists():
            return None
        if path not in self._urls:
            self._read()
        return self._urls.get(path)

    def place(self, path: str) -> Path | StoredFile:
        """Return where a file of the manifest is to be read; raises as ``url_of`` and ``ObjectStore``."""
        url = self.url_of(path)
        if url is None:
            return self._archive / path
        if url not in self._stores:
            self._stores[url] = ObjectStore(url)
        return self._stores[url].file(path)

    def only(self, files: Iterable[ManifestFile]) -> dict[str, list[ManifestFile]]:
        """Return those files that are not here, by the store that has them; raises as ``url_of``."""
        found: dict[str, list[ManifestFile]] = {}
        self._read()
        if self._urls:
            for file in files:
                url = self.url_of(file.path) if file.path in self._urls else None
                if url is not None:
                    found.setdefault(url, []).append(file)
        return found

    def _read(self) -> None:
        for path in sorted((self._archive / "stored").glob("*.jsonl")):
            try:
                size = path.stat().st_size
                if size == self._seen.get(path.name):
                    continue
                content = path.read_bytes()
            except OSError as error:
                raise StoreError(f"{path}: cannot be read: {error}") from error
            self._seen[path.name] = size
            # a last line without its newline is the trace of a crash: nothing was removed yet
            for number, text in enumerate(content.split(b"\n")[:-1], 1):
                line = _decoded(path, number, text)
                self._urls |= dict.fromkeys(line.paths, line.url)


def stored_path(archive: Path, collector: str) -> Path:
    """Return where the list of a collector is."""
    return archive / "stored" / f"{collector}.jsonl"


def append_stored(archive: Path, collector: str, line: StoredLine) -> None:
    """Say which files will be removed, and make it last. Raises StoreError; nothing may be removed then."""
    path = stored_path(archive, collector)
    try:
        append_lines(path, lambda _descriptor, _end: msgspec.json.encode(line) + b"\n")
        sync_directories(path.parent, archive)
    except OSError as error:
        raise StoreError(f"{path}: could not be written: {error}; no file was removed") from error


def _decoded(path: Path, number: int, text: bytes) -> StoredLine:
    try:
        line = _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt(
            path,
            f"line {number} does not say what is in an object store: {error}; take that line out: `tapebook verify` "
            "then says which files are missed",
        ) from None
    if line.version > VERSION:
        raise StoreError(
            f"{path}: line {number} was written by a newer tapebook (version {line.version}); this one reads up to "
            f"version {VERSION}: upgrade tapebook"
        )
    return line
