"""Merged files whose lines are lost: listed again, where the files that they replaced are gone.

So an archive comes back whose manifest is an old copy, or lost its end, though its journal was pruned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from recorder.compact import merge_group
from recorder.file_places import sha256_of
from recorder.leftovers import find_leftovers, merged_name
from recorder.manifest import Manifest, append_manifest, read_manifest
from recorder.merge_rows import Source
from recorder.version import SOFTWARE
from schemas.errors import Corrupt
from schemas.manifest import ManifestCompaction, ManifestFile

__all__ = ["adopt_merged"]


def adopt_merged(data: Path, told: Callable[[Path, str], None]) -> None:
    """List merged files again that no line names, in place of files that are missing. Hold ``roll_lock`` meanwhile.

    A file is taken when its bytes have the hash that its name bears, and it has exactly as many rows as the lines say
    of the files in its span; it is merged with itself, which proves it readable and gives its line.

    Args:
        data: the data directory.
        told: handed each file, and what was done.

    Raises:
        StoreError: the disk refuses.
    """
    manifest = read_manifest(data / "archive")
    if not any(manifest.is_missing(file.path) for file in manifest.files):
        return
    for leftover in list(find_leftovers(data, manifest)):
        found = merged_name(leftover.path.rpartition("/")[2])
        if found is None or leftover.why not in ("orphan", "foreign"):
            continue
        files = _in_span(manifest, leftover.path, *found)
        if not any(manifest.is_missing(file.path) for file in files):
            continue
        where = manifest.archive / leftover.path
        try:
            if sha256_of(where)[:12] != where.stem.rpartition("-")[2]:
                continue
            source = Source(_line(files, leftover.path, found[1], found[2]), where)
            made = merge_group(manifest.archive, manifest, [source])
        except (Corrupt, ValueError):
            continue  # it is left alone, and named in the end
        line = ManifestCompaction(found[0], time.time_ns(), 1, [file.path for file in files], SOFTWARE)
        append_manifest(manifest.archive, found[0], [made, line])
        manifest = read_manifest(manifest.archive)
        told(
            where,
            f"no line of the manifest named it: listed again, for {len(files)} files that it had replaced",
        )


def _in_span(manifest: Manifest, path: str, collector: str, first: int, last: int) -> list[ManifestFile]:
    directory = path.rpartition("/")[0]
    return [
        file
        for file in manifest.files
        if file.collector == collector
        and file.path.rpartition("/")[0] == directory
        and first <= file.segment
        and (file.last_segment or file.segment) <= last
    ]


def _line(files: list[ManifestFile], path: str, first: int, last: int) -> ManifestFile:
    """What a merging of the files would have been told of; its rows tell the rest."""
    sequences = [file.sequence for file in files if file.sequence is not None]
    return msgspec.structs.replace(
        files[0],
        path=path,
        segment=first,
        last_segment=last,
        rows=sum(file.rows for file in files),
        gaps=sum(file.gaps for file in files),
        sequence=(min(low for low, _ in sequences), max(high for _, high in sequences))
        if sequences
        else None,
        feeds={topic: ends for file in files for topic, ends in file.feeds.items()},
    )
