"""What lies in an archive and counts for nobody: temporary files, orphans of a crash, files that were replaced.

Nothing is deleted that can't be made again: a file that no line names goes only when the journal can make it again, or
when the files that count are there with at least as many rows: a manifest may have lost lines too, or be an old copy.
Hold ``roll_lock`` meanwhile.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from recorder.journal import segments
from recorder.manifest import Manifest, read_segments
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.names import Table

__all__ = [
    "GRACE_S",
    "Leftover",
    "delete_replaced",
    "find_leftovers",
    "is_ours",
    "merged_name",
    "segments_of",
]

GRACE_S: Final = 3600.0
"""How long a replaced file stays for readers that were opened before."""

RECENT_S: Final = 2 * 86_400.0
"""A roll looks for replaced files only so far back: what is older than that, a compaction finds."""

_NAME: Final = re.compile(r"(?P<collector>.+?)-(?P<first>\d+)(?:-(?P<last>\d+)-[0-9a-f]{12})?\.parquet")
_TABLES: Final = frozenset(table.value for table in Table)


class Leftover(NamedTuple):
    """A file that counts for nobody.

    Attributes:
        path: relative to the archive.
        why: ``temporary``, ``orphan`` (a crash left it), ``replaced`` (by a compaction), or ``foreign``: not known to
            be ours, of segments that nobody knows, or with rows that nothing else has; or ``damaged``: set aside by a
            repair. These are never deleted.
        bytes: its size.
    """

    path: str
    why: str
    bytes: int


def delete_replaced(archive: Path, *, grace_s: float = GRACE_S, everything: bool = False) -> tuple[int, int]:
    """Delete files that compactions replaced more than a grace time ago.

    Args:
        archive: its root.
        grace_s: how long they stay.
        everything: also those that were replaced days ago, which hardly ever are there still.

    Returns:
        Number and bytes of the files deleted.

    Raises:
        Corrupt, StoreError: a manifest can't be read, or the disk refused.
    """
    now_ns = time.time_ns()
    since_ns = 0 if everything else now_ns - int((grace_s + RECENT_S) * 1e9)
    count = size = 0
    for path, time_ns in read_segments(archive, replaced_since_ns=since_ns).replaced.items():
        if (now_ns - time_ns) / 1e9 < grace_s:
            continue
        target = archive / path
        try:
            size += target.stat().st_size
            target.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"{target}: was replaced by a merged file, and can't be deleted: {error}"
            ) from error
        count += 1
    return count, size


def find_leftovers(data: Path, manifest: Manifest, directories: set[str] | None = None) -> Iterator[Leftover]:
    """Yield what lies in the archive's table directories and counts for nobody.

    Args:
        data: the data directory.
        manifest: as it is now.
        directories: only these, relative to the archive; all by default.
    """
    alive = {file.path for file in manifest.files}
    rows = _Rows(data, manifest)
    for path, size in sorted(_files(manifest.archive, directories)):
        if path in alive:
            continue
        if path in manifest.replaced:
            yield Leftover(path, "replaced", size)
        elif re.search(r"\.damaged(\.\d+)?$", path):
            yield Leftover(path, "damaged", size)
        elif path.endswith(".parquet.tmp"):
            yield Leftover(path, "temporary", size)
        else:
            yield Leftover(path, "orphan" if rows.are_elsewhere(path) else "foreign", size)


def is_ours(name: str) -> bool:
    """Whether a file has a name such as rolls and compactions give."""
    return _NAME.fullmatch(name) is not None


def merged_name(name: str) -> tuple[str, int, int] | None:
    """Return collector, first and last segment of a merged file's name; None for other names."""
    found = _NAME.fullmatch(name)
    if found is None or found["last"] is None:
        return None
    return found["collector"], int(found["first"]), int(found["last"])


def segments_of(name: str) -> tuple[int, int] | None:
    """Return the first and the last segment that a file's name tells; None for names that are not ours."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found["first"]), int(found["last"] or found["first"]))


class _Rows:
    """Tells whether the rows of a file that no line names are somewhere else too."""

    def __init__(self, data: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._journal = {
            (segment.collector, segment.start_ns) for segment in segments(data) if segment.state == "sealed"
        }
        self._known = self._journal | manifest.segments.keys()
        self._by_directory: dict[str, list[ManifestFile]] | None = None

    def are_elsewhere(self, path: str) -> bool:
        directory, _, name = path.rpartition("/")
        found = _NAME.fullmatch(name)
        if found is None:
            return False
        collector, first = found["collector"], int(found["first"])
        last = int(found["last"] or first)
        if not {(collector, first), (collector, last)} <= self._known:
            return False
        if first == last and (collector, first) in self._journal:
            return True
        rows = _rows_of(self._manifest.archive / path)
        if rows is None:
            return {(collector, first), (collector, last)} <= self._journal
        return rows <= sum(
            file.rows
            for file in self._counting(directory)
            if file.collector == collector
            and file.segment <= last
            and first <= (file.last_segment or file.segment)
            if _is_there(self._manifest.archive / file.path, file.bytes)
            or self._manifest.stored_url(file.path) is not None
        )

    def _counting(self, directory: str) -> list[ManifestFile]:
        if self._by_directory is None:
            self._by_directory = {}
            for file in self._manifest.files:
                self._by_directory.setdefault(file.path.rpartition("/")[0], []).append(file)
        return self._by_directory.get(directory, [])


def _rows_of(path: Path) -> int | None:
    """How many rows a file has; None for what is no whole Parquet file."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return None


def _is_there(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _files(archive: Path, directories: set[str] | None) -> Iterator[tuple[str, int]]:
    if directories is None:
        tops = (
            [entry.path for entry in os.scandir(archive) if entry.name in _TABLES] if archive.is_dir() else []
        )
    else:
        tops = [str(archive / directory) for directory in directories]
    for top in tops:
        for directory, _, names in os.walk(top):
            for name in names:
                place = Path(directory, name)
                try:
                    yield str(place.relative_to(archive)), place.stat().st_size
                except FileNotFoundError:
                    continue
