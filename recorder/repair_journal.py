"""A damaged segment of the journal: what can be saved of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from recorder.journal import SegmentReader, recover
from recorder.journal.files import OPEN, SEALED
from recorder.manifest import read_manifest
from recorder.rebuild import Unprovable
from recorder.rebuild_command import write_segment
from recorder.repair_manifest import set_aside
from schemas.errors import Corrupt, StoreError

__all__ = ["repair_segment"]


def repair_segment(data: Path, path: Path) -> tuple[bool, str]:
    """Make a sealed segment that is damaged whole again. Hold ``roll_lock`` meanwhile.

    One that was rolled before is made again from the archive, and proved to have the records that it had; if that can't
    be, it is left as it is. Of one that wasn't rolled, what comes before the damage is kept, as a recovery would keep
    it, so that it can be rolled; the whole of it stays beside it.

    Returns:
        Whether nothing is missing now, and what was done.
    """
    collector, start_ns = path.parent.name, int(path.name.removesuffix(SEALED))
    manifest = read_manifest(data / "archive")
    entry = manifest.segments.get((collector, start_ns))
    if entry is not None:
        aside = set_aside(path, keep=True) if _is_whole(path) else None
        try:
            found = write_segment(manifest, entry, path)
        except (Corrupt, Unprovable) as error:
            if aside is not None:
                aside.unlink()  # the file itself is there still
            return False, f"the archive can't hand its records back, and it is left as it is: {error}"
        kept = "" if aside is None else f"; what was in its place is {aside.name}"
        return True, f"its {found.records} records were made again from the archive{kept}"
    aside = path.with_name(path.name + ".damaged")
    try:
        if not aside.exists():
            shutil.copy2(path, aside)
        path.rename(path.with_name(f"{start_ns}{OPEN}"))
    except OSError as error:
        raise StoreError(f"{path}: can't be set aside: {error}; mend the disk, then repair again") from error
    rows = sum(done.rows_kept for done in recover(data, collector) if done.segment == path)
    return False, f"the {rows} records before the damage are kept and rolled; the whole file is {aside.name}"


def _is_whole(path: Path) -> bool:
    """Whether a file can be read as a segment, whosever records it has."""
    try:
        with SegmentReader(path) as reader:
            for _ in reader:
                pass
    except StoreError:
        return False
    return True
