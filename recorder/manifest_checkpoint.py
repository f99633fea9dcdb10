"""A manifest made short again: lines of files that were merged away, and are gone, are left out.

An append-only manifest of 500 symbols has some 200,000 lines a day, of which 2,500 count once the day is compacted, and
every reader parses all of them. So a compaction that finds more dead lines than others writes the manifest anew: the
lines that count, and those of replaced files that still lie on the disk, in their order, and behind them a
``checkpoint`` line with the hash of what they stand for. All segment lines stay, and the chain with them. It takes the
manifest's place by a rename: who reads has the one or the other, and both come to the same, which is proved before. The
longer one stays beside it (``.before``) until the next time, for a repair that may want its lines.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

import msgspec

from recorder.manifest import ManifestState, before_path, manifest_entries, manifest_path, parse_manifest
from recorder.parquet_files import sync_directory
from recorder.version import SOFTWARE
from recorder.whole_files import write_synced
from schemas.errors import StoreError
from schemas.manifest import (
    Entry,
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
    encode_lines,
)

__all__ = ["LEAST_DROPPED", "shorten_manifest"]

LEAST_DROPPED: Final = 1000
"""Fewer lines are not worth the writing."""


def shorten_manifest(
    archive: Path, collector: str, *, least: int | None = None, counting: int | None = None
) -> int:
    """Leave out the dead lines of a collector's manifest, if they are many. Hold ``roll_lock`` meanwhile.

    Args:
        archive: its root.
        collector: whose.
        least: so many dead lines there must be; by default ``LEAST_DROPPED``, and as many as others.
        counting: how many files, segments and pruned ones it comes to, if that is known: then it is not parsed in vain.

    Returns:
        How many lines were left out; 0: nothing was written.

    Raises:
        Corrupt: the manifest can't be read.
        StoreError: the disk refused, or what was to be written doesn't come to the same; the manifest is as it was.
    """
    path = manifest_path(archive, collector)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error}") from error
    lines = content.count(b"\n")
    needed = max(LEAST_DROPPED, lines // 2) if least is None else least
    if counting is not None and lines - counting < needed:
        return 0
    state = parse_manifest(path, content)
    whole = content[: content.rfind(b"\n") + 1]
    entries = manifest_entries(path, whole)
    on_disk = {each for each in state.replaced if (archive / each).exists()}
    kept = _kept(entries, state, on_disk)
    marks = [entry for entry in entries if isinstance(entry, ManifestCheckpoint)]
    dropped = len(entries) - len(kept) - len(marks)
    if dropped < (max(LEAST_DROPPED, len(kept)) if least is None else least):
        return 0
    before = sum(mark.dropped for mark in marks)
    digest = hashlib.sha256(whole).hexdigest()
    mark = ManifestCheckpoint(collector, time.time_ns(), before + dropped, digest, SOFTWARE)
    new = encode_lines([*kept, mark])
    _prove(path, state, parse_manifest(path, new), on_disk)
    _replace(path, new)
    return dropped


def _kept(entries: list[Entry], state: ManifestState, on_disk: set[str]) -> list[Entry]:
    kept: list[Entry] = []
    merged = 0  # file lines right before a compaction's, as far as they are kept
    for entry in entries:
        match entry:
            case ManifestFile():
                if state.files.get(entry.path) == entry or entry.path in on_disk:
                    kept.append(entry)
                    merged += entry.last_segment is not None
            case ManifestCompaction():
                removed = [each for each in entry.removed if each in on_disk]
                if merged or removed:
                    kept.append(msgspec.structs.replace(entry, files=merged, removed=removed))
                merged = 0
            case ManifestSegment():
                kept.append(entry)
                merged = 0
            case ManifestPruned():
                if state.pruned[entry.collector, entry.segment] == entry:
                    kept.append(entry)
            case ManifestCheckpoint():
                pass
    return kept


def _prove(path: Path, old: ManifestState, new: ManifestState, on_disk: set[str]) -> None:
    """Whether both come to the same, but for what was replaced and is gone. Raises StoreError."""
    for name in ("files", "segments", "pruned", "links"):
        if getattr(old, name) != getattr(new, name):
            raise StoreError(
                f"{path}: without its dead lines it would come to other {name}: it was left as it is, with all of its "
                "lines; please report this"
            )
    if new.replaced != {each: old.replaced[each] for each in on_disk}:
        raise StoreError(
            f"{path}: without its dead lines it would know other replaced files; it was left as it is"
        )


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".tmp")
    try:
        new.unlink(missing_ok=True)
        os.link(path, new)
        new.replace(before_path(path))
        write_synced(new, content)
        new.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: could not be written anew: {error}; it is as it was, and counts"
        ) from error
