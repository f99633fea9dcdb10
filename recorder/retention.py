"""Retention: journal segments that are older, or more, than asked for are removed, oldest first, by the roller.

Only what the archive has is removed: sealed segments whose rolling is committed, and then only when a check of that
very segment agrees. The newest segment of a collector always stays: its numbers go on from there.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from recorder.journal import Disk, SegmentFile, segments
from recorder.journal.disk import disk_errors
from recorder.journal.recompress import held
from recorder.manifest import Manifest, read_manifest
from recorder.status_text import amount
from schemas.manifest import ManifestSegment
from schemas.time import format_ns

__all__ = ["Keep", "Prune", "Retained", "enforce", "prune_rolled", "removable"]

log = logging.getLogger("tapebook")

Prune = Callable[[SegmentFile], str | None]
"""Proves that a segment can go and removes it; or says why not, and leaves it."""

_CHUNK_BYTES: Final = 1 << 20


class Keep(msgspec.Struct, frozen=True):
    """How much of the journal stays.

    Attributes:
        age_ns: what ended longer ago goes; None for any age.
        bytes: of all files of the journal; the oldest go until there are no more; None for any size.
    """

    age_ns: int | None = None
    bytes: int | None = None

    def __bool__(self) -> bool:
        return self.age_ns is not None or self.bytes is not None


class Retained(msgspec.Struct):
    """What a pass did.

    Attributes:
        removed, removed_bytes: segments that went.
        refused: why others stayed, by their name ``<collector>/<start_ns>``.
        over_bytes: how much more there is than asked for, of what can't go.
    """

    removed: int = 0
    removed_bytes: int = 0
    refused: dict[str, str] = msgspec.field(default_factory=dict)
    over_bytes: int = 0


def removable(
    files: Iterable[SegmentFile], rolled: Mapping[tuple[str, int], ManifestSegment]
) -> list[tuple[int, SegmentFile]]:
    """(when it ended, segment) of those that may go at all, in the order in which they would.

    Args:
        files: of the journal, as ``segments`` lists them.
        rolled: what the manifest has.
    """
    files = list(files)
    newest = {file.collector: file.start_ns for file in files}  # they are sorted by start
    found = [
        (rolled[file.collector, file.start_ns].end_ns, file)
        for file in files
        if file.state == "sealed"
        and file.start_ns != newest[file.collector]
        and (file.collector, file.start_ns) in rolled
    ]
    return sorted(found, key=lambda each: (each[0], each[1].collector, each[1].start_ns))


def enforce(
    data: Path, keep: Keep, prune: Prune, *, now_ns: int, should_stop: Callable[[], bool]
) -> Retained:
    """Remove what is not to be kept any longer, as far as ``prune`` agrees.

    Args:
        data: the data directory.
        keep: how much stays.
        prune: removes one segment, or refuses.
        now_ns: wall clock.
        should_stop: asked between segments.

    Raises:
        Corrupt, StoreError: the manifest can't be read, or the disk fails.
    """
    done = Retained()
    if not keep:
        return done
    files = segments(data)
    total = sum(file.size for file in files)
    for end_ns, file in removable(files, read_manifest(data / "archive").segments):
        too_old = keep.age_ns is not None and end_ns < now_ns - keep.age_ns
        if not too_old and (keep.bytes is None or total <= keep.bytes):
            continue
        if should_stop():
            break
        refusal = prune(file)
        if refusal is not None:
            done.refused[f"{file.collector}/{file.start_ns}"] = refusal
            continue
        total -= file.size
        done.removed += 1
        done.removed_bytes += file.size
        ended = format_ns(end_ns)
        log.info("%s: removed from the journal (%s, ended %s)", file.path, amount(file.size), ended)
    if keep.bytes is not None:
        done.over_bytes = max(0, total - keep.bytes)
    return done


def prune_rolled(data: Path, *, disk: Disk = Disk()) -> Prune:  # noqa: B008 (has no state)
    """Removes a segment once every file it was rolled to, or that took such a file's place, is whole by its sha256.

    Args:
        data: the data directory.
        disk: the system calls.
    """
    archive = data / "archive"
    manifest: Manifest = read_manifest(archive)
    whole: dict[str, bool] = {}  # a merged file holds many segments

    def prune(file: SegmentFile) -> str | None:
        found = manifest.segments.get((file.collector, file.start_ns))
        if found is None:
            return "not rolled"
        for each in manifest.files:
            if each.collector != file.collector or not (
                each.segment <= file.start_ns <= (each.last_segment or each.segment)
            ):
                continue
            try:
                if each.path not in whole:
                    whole[each.path] = _sha256(archive / each.path) == each.sha256
            except OSError as error:
                return f"{each.path}: {error.strerror or error}"
            if not whole[each.path]:
                return f"{each.path}: not what was rolled"
        with held(file.path) as is_ours:
            if not is_ours:
                return "in use"
            with disk_errors(file.path, "removing it", "go on"):
                file.path.unlink()
                disk.sync_directory(file.path.parent)
        return None

    return prune


def _sha256(path: Path) -> str:
    running = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            running.update(chunk)
    return running.hexdigest()
