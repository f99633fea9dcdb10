"""Prune: sealed segments of which it was proved that the archive hands them back byte for byte are deleted.

The proof is made anew for each one: the file's records, those that the archive gives, and the manifest have one content
hash. The manifest says so before the file goes. The newest segment of a collector stays: the next run begins behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from recorder.journal import SegmentFile, SegmentReader, segments
from recorder.journal.disk import Disk, disk_errors
from recorder.journal.recompress import held
from recorder.manifest import Manifest, append_manifest, manifest_around, read_segments
from recorder.rebuild import Unprovable, rebuild
from recorder.roll import roll_lock
from recorder.version import SOFTWARE
from schemas.errors import StoreError
from schemas.manifest import ManifestPruned, ManifestSegment

__all__ = ["Looked", "prune_data", "prune_segment"]


class Looked(NamedTuple):
    """What became of one segment.

    Attributes:
        segment: its file.
        records: that were proved, 0 where the proof failed.
        kept: why it was not deleted; None: it was, or would be.
        fails: something is wrong, and not only missing.
    """

    segment: SegmentFile
    records: int
    kept: str | None = None
    fails: bool = False


def prune_data(
    data: Path,
    *,
    now_ns: int,
    older_than_ns: int = 0,
    collector: str | None = None,
    dry_run: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    disk: Disk = Disk(),  # noqa: B008 (has no state)
) -> Iterator[Looked]:
    """Delete what is proved, oldest first; yield each segment that is old enough once it is decided.

    Args:
        data: the data directory.
        now_ns: the wall clock.
        older_than_ns: only segments that ended at least so long ago.
        collector: only this one's; by default all.
        dry_run: prove, and delete nothing.
        should_stop: asked between segments.
        disk: the system calls; tests give one that fails.

    Raises:
        StoreError: the manifest can't be read or appended to, or a file can't be deleted.
    """
    sealed = [segment for segment in segments(data, collector) if segment.state == "sealed"]
    newest = {segment.collector: segment.start_ns for segment in sealed}
    archive = data / "archive"
    whole: set[str] = set()
    rolled = read_segments(archive).segments
    for segment in sorted(sealed, key=lambda segment: (segment.start_ns, segment.collector)):
        if should_stop():
            return
        if segment.start_ns == newest[segment.collector]:
            continue
        key = segment.collector, segment.start_ns
        if key not in rolled:  # it may have been, since
            rolled = read_segments(archive).segments
        entry = rolled.get(key)
        if entry is None or entry.end_ns <= now_ns - older_than_ns:
            yield prune_segment(data, segment, now_ns=now_ns, dry_run=dry_run, disk=disk, whole=whole)


def prune_segment(
    data: Path,
    segment: SegmentFile,
    *,
    now_ns: int,
    dry_run: bool = False,
    disk: Disk = Disk(),  # noqa: B008 (has no state)
    whole: set[str] | None = None,
) -> Looked:
    """Prove one sealed segment and delete it; arguments and errors as of ``prune_data`` and ``rebuild``."""
    archive = data / "archive"
    key = segment.collector, segment.start_ns
    manifest = manifest_around(archive, key)  # a roll or a compaction may have gone on meanwhile
    entry = manifest.segments.get(key)
    if entry is None:
        return Looked(segment, 0, "not rolled yet")
    looked = _prove(manifest, entry, segment, whole)
    if looked.kept is None and not dry_run:
        looked = _delete(archive, segment, looked, entry, now_ns, disk)
    return looked


def _prove(
    manifest: Manifest, entry: ManifestSegment, segment: SegmentFile, whole: set[str] | None
) -> Looked:
    try:
        with SegmentReader(segment.path, hashed=True) as reader:
            for _ in reader:
                pass
            found = "" if reader.content is None else reader.content.hexdigest()
        if entry.content_sha256 is not None and found != entry.content_sha256:
            return Looked(
                segment,
                0,
                f"its records have content {found[:16]}…, the manifest speaks of {entry.content_sha256[:16]}…",
                fails=True,
            )
        return Looked(segment, rebuild(manifest, entry, whole=whole).records)
    except Unprovable as error:
        return Looked(segment, 0, str(error))
    except StoreError as error:
        return Looked(segment, 0, str(error), fails=True)


def _delete(
    archive: Path, segment: SegmentFile, looked: Looked, entry: ManifestSegment, now_ns: int, disk: Disk
) -> Looked:
    with roll_lock(archive.parent, wait=True), held(segment.path) as is_ours:
        if not is_ours:
            return looked._replace(kept="another process is at it; it is left for the next time")
        manifest, key = read_segments(archive), (segment.collector, segment.start_ns)
        if manifest.segments.get(key) != entry:
            return looked._replace(kept="it was rolled again meanwhile; it is left for the next time")
        if (
            key not in manifest.pruned
        ):  # it may be there already: said by a run that was killed, or put back since
            line = ManifestPruned(
                collector=segment.collector, segment=segment.start_ns, time_ns=now_ns, software=SOFTWARE
            )
            append_manifest(archive, segment.collector, [line])
        with disk_errors(segment.path, "deleting it", "prune again"):
            disk.unlink(segment.path)
            disk.sync_directory(segment.path.parent)
    return looked
