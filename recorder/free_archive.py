"""Files of the archive leave this disk once an object store has them: published, and proved to be there (places.md).

Proved is, file by file: the published manifest has it with the same sha256; the bytes here have that hash; and the
object holds those bytes (by its MD5 tag, or read back). Then the list of what is only there says so
(``recorder.stored_only``), and only then it is removed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recorder.manifest import Manifest, parse_manifest, read_manifest
from recorder.manifest_lines import same_directory
from recorder.object_store import ObjectStore, content_of
from recorder.roll import roll_lock
from recorder.stored_only import StoredLine, append_stored
from recorder.upload import JOBS, manifest_key
from recorder.version import SOFTWARE
from schemas.errors import StoreError
from schemas.manifest import ManifestFile
from schemas.time import format_date

__all__ = ["Freed", "free_archive"]

DAY_NS: Final = 86_400 * 10**9
AT_ONCE: Final = 256
"""Files that are said, and removed, together."""


@dataclass(slots=True)
class Freed:
    """What was removed from this disk.

    Attributes:
        files, bytes: that were.
        kept: paths of files that should go and stay, and why.
        waiting: whether it was stopped before everything was done.
    """

    files: int = 0
    bytes: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    waiting: bool = False


def free_archive(
    data: Path,
    store: ObjectStore,
    *,
    age_ns: int,
    now_ns: int,
    merged_only: bool = False,
    jobs: int = JOBS,
    should_stop: Callable[[], bool] = lambda: False,
    breathe: Callable[[], None] = lambda: None,
) -> Freed:
    """Remove files of days that ended long enough ago, oldest first, as far as the store is proved to have them.

    Args:
        data: the data directory.
        store: that it is uploaded to.
        age_ns: how long after its end (UTC) a day stays here.
        now_ns: wall clock.
        merged_only: leave days of a table and symbol alone that wait for their compaction.
        jobs: files that are looked at at once.
        should_stop: asked between files.
        breathe: called between files; it may wait.

    Raises:
        Corrupt, StoreError: a manifest can't be read, or the store or the disk fails.
    """
    done = Freed()
    archive = data / "archive"
    last_date = format_date(now_ns - age_ns - DAY_NS)
    may_go = same_directory(  # of what is here still: most of a long manifest has gone before
        lambda directory: directory.rpartition("date=")[2] <= last_date and (archive / directory).is_dir()
    )
    manifest = read_manifest(archive, may_go)
    for collector in sorted({file.collector for file in manifest.files}):
        key = manifest_key(collector)
        published = parse_manifest(store.file(key), store.read(key) or b"", may_go).files
        wanted = [
            file
            for file in _over(manifest, collector, last_date, merged_only)
            if file.path in published
            and published[file.path].sha256 == file.sha256
            and (archive / file.path).exists()
        ]
        with ThreadPoolExecutor(jobs, thread_name_prefix="free") as pool:
            for start in range(0, len(wanted), AT_ONCE):
                proved: list[ManifestFile] = []
                for batch in _batches(wanted[start : start + AT_ONCE], jobs):
                    breathe()
                    if should_stop():
                        done.waiting = True
                        break
                    whys = pool.map(lambda file: _why_not(archive, store, file), batch)
                    for file, why in zip(batch, whys, strict=True):
                        if why is None:
                            proved.append(file)
                        else:
                            done.kept[file.path] = why
                _remove(data, store, collector, proved, done)
                if done.waiting:
                    return done
    return done


def _over(manifest: Manifest, collector: str, last_date: str, merged_only: bool) -> list[ManifestFile]:
    """The files of days up to one, the oldest first."""
    found = [
        file
        for file in manifest.files
        if file.collector == collector
        and file.date <= last_date
        and not (merged_only and any(each.last_segment is None for each in manifest.beside(file)))
    ]
    return sorted(found, key=lambda file: (file.date, file.path))


def _batches(files: list[ManifestFile], size: int) -> Iterator[list[ManifestFile]]:
    for start in range(0, len(files), size):
        yield files[start : start + size]


def _why_not(archive: Path, store: ObjectStore, file: ManifestFile) -> str | None:
    """Why a file must stay here; None if the store is proved to have it."""
    path = archive / file.path
    try:
        content = content_of(path)
    except FileNotFoundError:
        return None  # a compaction has replaced it meanwhile
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    if content.sha256 != file.sha256:
        return f"sha256 is {content.sha256[:16]}…, expected {file.sha256[:16]}…: run `tapebook repair`"
    if not store.holds(file.path, content):
        return f"{store.file(file.path)} is not what was published: `tapebook upload --check` sends it again"
    return None


def _remove(data: Path, store: ObjectStore, collector: str, proved: list[ManifestFile], done: Freed) -> None:
    if not proved:
        return
    archive = data / "archive"
    with roll_lock(data, wait=True):  # nobody merges them meanwhile
        directories = {file.path.rpartition("/")[0] for file in proved}
        manifest = read_manifest(archive, same_directory(directories.__contains__))
        counting = {file.path: file.sha256 for file in manifest.files}
        files = [file for file in proved if counting.get(file.path) == file.sha256]
        if not files:
            return
        line = StoredLine(store.url, time.time_ns(), [file.path for file in files], SOFTWARE)
        append_stored(archive, collector, line)
        for file in files:
            path = archive / file.path
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{path}: can't be removed: {error}") from error
            done.files += 1
            done.bytes += file.bytes
            with contextlib.suppress(OSError):  # others of that day are there still
                path.parent.rmdir()
