"""What lies in an archive and counts for nobody: temporary files, orphans of a crash, files that were replaced.

Nothing is deleted that can't be made again: a file that no line names goes only when its segments are known, so that
the manifest would name it if it counted, or the journal can make it again. Hold ``roll_lock`` meanwhile.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from recorder.journal import segments
from recorder.manifest import Manifest
from schemas.errors import StoreError
from schemas.names import Table

__all__ = ["GRACE_S", "Leftover", "delete_replaced", "find_leftovers", "is_ours", "merged_name"]

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
            be ours, or of segments that nobody knows; or ``damaged``: set aside by a repair. These are never deleted.
        bytes: its size.
    """

    path: str
    why: str
    bytes: int


def delete_replaced(
    manifest: Manifest, *, grace_s: float = GRACE_S, everything: bool = False
) -> tuple[int, int]:
    """Delete files that compactions replaced more than a grace time ago.

    Args:
        manifest: as it is now.
        grace_s: how long they stay.
        everything: also those that were replaced days ago, which hardly ever are there still.

    Returns:
        Number and bytes of the files deleted.

    Raises:
        StoreError: the disk refused.
    """
    now_ns = time.time_ns()
    count = size = 0
    for path, time_ns in manifest.replaced.items():
        age_s = (now_ns - time_ns) / 1e9
        if age_s < grace_s or (age_s > grace_s + RECENT_S and not everything):
            continue
        target = manifest.archive / path
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
    known = set(manifest.segments) | {(segment.collector, segment.start_ns) for segment in segments(data)}
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
            yield Leftover(path, "orphan" if _can_be_made_again(path, known) else "foreign", size)


def is_ours(name: str) -> bool:
    """Whether a file has a name such as rolls and compactions give."""
    return _NAME.fullmatch(name) is not None


def merged_name(name: str) -> tuple[str, int, int] | None:
    """Return collector, first and last segment of a merged file's name; None for other names."""
    found = _NAME.fullmatch(name)
    if found is None or found["last"] is None:
        return None
    return found["collector"], int(found["first"]), int(found["last"])


def _can_be_made_again(path: str, known: set[tuple[str, int]]) -> bool:
    found = _NAME.fullmatch(path.rpartition("/")[2])
    if found is None:
        return False
    starts = [int(found["first"]), int(found["last"] or found["first"])]
    return all((found["collector"], start_ns) in known for start_ns in starts)


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
