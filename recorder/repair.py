"""Repair: what is damaged is made again out of what is whole, and what can't be is named.

``verify`` says what is wrong; then files of the archive are rolled, and merged, again from the journal, a manifest is
made again from the journal and from its own lines that can still be read, and what counts for nobody is deleted. In the
end ``verify`` has the last word. Nothing is deleted that can't be made again: what is replaced by something else than
it was stays beside it as ``.damaged``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from recorder.compact import merge_group
from recorder.file_places import sha256_of
from recorder.findings import Finding, Subject, Verification
from recorder.journal import segments
from recorder.leftovers import find_leftovers, merged_name
from recorder.manifest import Manifest, append_manifest, read_manifest, rolled_files
from recorder.merge_rows import Source
from recorder.parquet_files import sync_directory
from recorder.repair_adopt import adopt_merged
from recorder.repair_journal import repair_segment
from recorder.repair_manifest import manifests_to_remake, remake_manifest, set_aside
from recorder.roll import Rolled, roll_data, roll_fully, roll_lock
from recorder.verify import verify
from recorder.version import SOFTWARE
from schemas.errors import Corrupt, StoreError, TapebookError
from schemas.manifest import ManifestCompaction, ManifestFile, ManifestSegment

__all__ = ["Action", "Fate", "Repair", "repair"]

Key = tuple[str, int]


class Fate(StrEnum):
    """What became of something that was wrong."""

    REBUILT = "rebuilt"
    DELETED = "deleted"
    LOST = "lost"
    """It could not be made again, and was left as it is."""
    PLANNED = "planned"
    """It would be looked at: nothing was done, because nothing should be."""


class Action(msgspec.Struct, frozen=True):
    """What was done about one file.

    Attributes:
        where: the file.
        fate: what became of it.
        what: what was wrong, and how it was made again or why not.
    """

    where: str
    fate: Fate
    what: str

    def __str__(self) -> str:
        return f"{self.fate.value:<8}  {self.where}: {self.what}"


@dataclass(slots=True)
class Repair:
    """What a repair found and did.

    Attributes:
        actions: in order.
        before, after: what ``verify`` said; after is None when nothing was done.
    """

    actions: list[Action] = field(default_factory=list)
    before: Verification | None = None
    after: Verification | None = None

    @property
    def is_well(self) -> bool:
        """Whether everything is as it should be now."""
        lost = any(action.fate is Fate.LOST for action in self.actions)
        return not lost and self.after is not None and not self.after.failures

    def add(self, where: object, fate: Fate, what: str) -> None:
        """Note what was done."""
        self.actions.append(Action(str(where), fate, what))


def repair(data: Path, *, dry_run: bool = False, progress: Callable[[str], None] = lambda _: None) -> Repair:
    """Make again what is damaged in a data directory, as far as it can be.

    Args:
        data: the data directory.
        dry_run: only say what is wrong; nothing is changed.
        progress: told what is being looked at.

    Raises:
        StoreError: the disk refuses, or something was written by a newer tapebook.
    """
    result = Repair()
    archive = data / "archive"
    with _disk_errors(data), _turn(data, dry_run=dry_run):
        for leaving in archive.glob(".repair-*.tmp"):
            if not dry_run:
                shutil.rmtree(leaving, ignore_errors=True)
        for path, why in manifests_to_remake(archive):
            _remake(data, path, why, result, dry_run=dry_run)
        if dry_run and result.actions:
            return result  # without its manifest the rest can't be judged
        result.before = verify(data, progress=progress)
        failures = result.before.failures
        if dry_run:
            _add_each(failures, Fate.PLANNED, result)
            _delete_leftovers(data, result, dry_run=True)
            return result
        for finding in failures:
            if finding.subject is Subject.JOURNAL:
                _repair_segment(data, finding, result)
        suspects = {f.collector for f in failures if f.subject is Subject.MANIFEST and f.collector}
        for collector in sorted(suspects):
            why = next(f.what for f in failures if f.subject is Subject.MANIFEST and f.collector == collector)
            _remake(data, archive / "manifest" / f"{collector}.jsonl", why, result, dry_run=False)
        adopt_merged(data, lambda where, what: result.add(where, Fate.REBUILT, what))
        _remake_files(data, {f.where: f for f in failures if f.subject is Subject.FILE}, result)
        _roll(data, result)
        _merge_again(data, result)
        _delete_leftovers(data, result, dry_run=False)
    progress("everything once more")
    result.after = verify(data, progress=progress)
    _add_each(result.after.failures, Fate.LOST, result)
    return result


@contextmanager
def _turn(data: Path, *, dry_run: bool) -> Iterator[None]:
    """Hold ``roll_lock``; who only looks at what can't be written to, a copy that is mounted to be read, needs none."""
    lock = data / "archive" / "roll.lock"
    if dry_run and not os.access(lock if lock.exists() else lock.parent, os.W_OK):
        yield
        return
    with roll_lock(data, wait=True):
        yield


@contextmanager
def _disk_errors(data: Path) -> Iterator[None]:
    """What the disk refuses ends a repair as it ends a roll."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{error.filename or data}: the repair ended there: {error.strerror or error}; mend the disk, "
            "then `tapebook repair` again: nothing was deleted that can't be made again"
        ) from error


def _add_each(failures: list[Finding], fate: Fate, result: Repair) -> None:
    """Note the first thing that is wrong with each file."""
    told = {action.where for action in result.actions if action.fate is fate}
    for finding in failures:
        if finding.where not in told:
            told.add(finding.where)
            result.add(finding.where, fate, finding.what)


# ---- the manifest ------------------------------------------------------------------------------------------------


def _remake(data: Path, path: Path, why: str, result: Repair, *, dry_run: bool) -> None:
    if dry_run:
        result.add(path, Fate.PLANNED, why)
        return
    remade = remake_manifest(data, path)
    aside = "" if remade.aside is None else f"; the old one is {remade.aside.name}"
    result.add(
        path,
        Fate.REBUILT,
        f"{why}; made again: {remade.from_journal} segments from the journal, {remade.from_lines} from its own "
        f"lines{aside}",
    )
    for where, what in remade.lost:
        result.add(where, Fate.LOST, what)


def _roll(data: Path, result: Repair) -> None:
    try:
        for rolled in roll_data(data):
            result.add(rolled.segment, Fate.REBUILT, f"was not in the manifest: rolled, {rolled.rows} rows")
    except TapebookError as error:
        if isinstance(error, StoreError) and not isinstance(error, Corrupt):
            raise
        # verify says it of the segment; the others are rolled


# ---- what counts for nobody --------------------------------------------------------------------------------------


def _merge_again(data: Path, result: Repair) -> None:
    """Merge what had been merged: files without a line, whose segments lie by themselves again."""
    manifest = read_manifest(data / "archive")
    for leftover in list(find_leftovers(data, manifest)):
        directory, _, name = leftover.path.rpartition("/")
        found = merged_name(name)
        if found is None or leftover.why != "orphan":
            continue
        collector, first, last = found
        files = [
            file
            for file in manifest.files
            if file.path.rpartition("/")[0] == directory
            and file.collector == collector
            and first <= file.segment <= last
        ]
        if all(file.last_segment is not None for file in files) or any(
            manifest.is_missing(file.path) for file in files
        ):
            continue  # what is missing has been told already
        where = manifest.archive / leftover.path
        try:
            made = merge_group(
                manifest.archive, manifest, [Source(file, manifest.place(file.path)) for file in files]
            )
        except Corrupt:
            continue  # what can't be read has been told already
        line = ManifestCompaction(collector, time.time_ns(), 1, [file.path for file in files], SOFTWARE)
        append_manifest(manifest.archive, collector, [made, line])
        manifest = read_manifest(manifest.archive)
        if made.path == leftover.path:
            result.add(where, Fate.REBUILT, "no line of the manifest named it: merged again, and listed")


def _delete_leftovers(data: Path, result: Repair, *, dry_run: bool) -> None:
    """Delete what crashes left behind."""
    manifest = read_manifest(data / "archive")
    for leftover in list(find_leftovers(data, manifest)):
        where = manifest.archive / leftover.path
        if leftover.why not in ("orphan", "temporary"):
            continue  # what was replaced stays until its grace is over
        result.add(
            where,
            Fate.PLANNED if dry_run else Fate.DELETED,
            f"{leftover.bytes} bytes that no line of the manifest names: left by a crash, or by a line that is lost",
        )
        if not dry_run:
            where.unlink(missing_ok=True)


def _repair_segment(data: Path, finding: Finding, result: Repair) -> None:
    path = Path(finding.where)
    if not path.name.endswith(".arrows"):
        result.add(path, Fate.LOST, finding.what)
        return
    is_whole, what = repair_segment(data, path)
    result.add(path, Fate.REBUILT if is_whole else Fate.LOST, f"{finding.what}; {what}")


# ---- files of the archive ----------------------------------------------------------------------------------------


def _remake_files(data: Path, wrong: dict[str, Finding], result: Repair) -> None:
    """Roll and merge files again whose bytes or rows are not what they should be."""
    manifest = read_manifest(data / "archive")
    bad = [file for file in manifest.files if str(manifest.place(file.path)) in wrong]
    if not bad:
        return
    workshop = _Workshop(data, manifest)
    with workshop:
        for file in bad:
            where = manifest.archive / file.path
            why = wrong[str(manifest.place(file.path))].what
            try:
                workshop.remake(file)
            except TapebookError as error:
                result.add(where, Fate.LOST, f"{why}; it can't be made again: {error}")
            else:
                result.add(where, Fate.REBUILT, f"{why}; made again")


class _Workshop:
    """Makes files again in a scratch directory beside the archive, and puts them in place."""

    def __init__(self, data: Path, manifest: Manifest) -> None:
        self._manifest = manifest
        self._archive = manifest.archive
        self._journal = {(f.collector, f.start_ns): f.path for f in segments(data) if f.state == "sealed"}
        self._rolled: dict[Key, Rolled] = {}
        self._scratch = Path()

    def __enter__(self) -> _Workshop:
        self._scratch = Path(tempfile.mkdtemp(prefix=".repair-", suffix=".tmp", dir=self._archive))
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def remake(self, file: ManifestFile) -> None:
        """Make one file again. Raises TapebookError when it can't be."""
        if file.last_segment is None:
            self._remake_rolled(file)
        else:
            self._remake_merged(file)

    def _remake_rolled(self, file: ManifestFile) -> None:
        key = file.collector, file.segment
        rolled = self._roll(key)
        fresh = {entry.path: entry for entry in rolled.entries if isinstance(entry, ManifestFile)}
        made = fresh.get(file.path)
        if made is None:
            raise StoreError(f"the journal's segment {key[0]}/{key[1]}.arrows has no rows for it")
        self._place(made, file.sha256)
        if made.sha256 == file.sha256:
            return
        # Other bytes than before, by another version perhaps: the segment's lines are told again.
        alive = {each.path: each for each in self._manifest.files if each.last_segment is None}
        lines = [made if path == file.path else alive.get(path, entry) for path, entry in fresh.items()]
        segment = rolled.entries[-1]
        assert isinstance(segment, ManifestSegment)
        append_manifest(self._archive, key[0], [*lines, segment])
        self._manifest = read_manifest(self._archive)

    def _remake_merged(self, file: ManifestFile) -> None:
        sources = [
            source for part in self._manifest.segments_of(file) for source in self._sources(part, file)
        ]
        if not sources:
            raise StoreError("the journal has no rows for it")
        made = merge_group(self._scratch, self._manifest, sources)
        if made.rows != file.rows:
            raise StoreError(f"what there is of it has {made.rows} rows, expected {file.rows}")
        self._place(made, file.sha256)
        if made.sha256 != file.sha256:
            line = ManifestCompaction(file.collector, time.time_ns(), 1, [file.path], SOFTWARE)
            append_manifest(self._archive, file.collector, [made, line])
            self._manifest = read_manifest(self._archive)

    def _sources(self, part: ManifestSegment, file: ManifestFile) -> list[Source]:
        """A segment's rows of a merged file: from the journal, or from the file that was replaced, while it lasts."""
        key = part.collector, part.segment
        if key in self._journal:
            return [
                Source(entry, self._scratch / entry.path)
                for entry in self._roll(key).entries
                if isinstance(entry, ManifestFile) and _day(entry) == _day(file)
            ]
        rolled = rolled_files(self._archive, key)
        found = [Source(entry, self._archive / entry.path) for entry in rolled if _day(entry) == _day(file)]
        if not rolled or not all(
            source.path.exists() and sha256_of(source.path) == source.file.sha256 for source in found
        ):
            raise StoreError(
                f"segment {key[0]}/{key[1]}.arrows is not in the journal, and the files that were merged are gone"
            )
        return found

    def _roll(self, key: Key) -> Rolled:
        rolled = self._rolled.get(key)
        if rolled is None:
            path = self._journal.get(key)
            if path is None:
                raise StoreError(f"segment {key[0]}/{key[1]}.arrows is not in the journal")
            rolled = self._rolled[key] = roll_fully(path, self._scratch)
        entry, expected = rolled.entries[-1], self._manifest.segments.get(key)
        assert isinstance(entry, ManifestSegment)
        if expected is not None and expected.content_sha256 not in (None, entry.content_sha256):
            raise StoreError(
                f"segment {key[0]}/{key[1]}.arrows has other records than those that were rolled"
            )
        return rolled

    def _place(self, made: ManifestFile, sha256: str) -> None:
        """Put a file in its place; one that was there with other bytes than this one stays beside it."""
        target = self._archive / made.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if made.sha256 != sha256 and target.exists():
            set_aside(target)
        source = self._scratch / made.path
        copy = target.with_name(target.name + ".tmp")
        shutil.copyfile(source, copy)
        with open(copy, "rb") as stream:
            os.fsync(stream.fileno())
        if sha256_of(copy) != made.sha256:
            raise StoreError(f"{copy}: what was copied is not what was written; look at the disk")
        copy.rename(target)
        sync_directory(target.parent)


def _day(file: ManifestFile) -> tuple[str, str, str, str, str]:
    return file.collector, file.table, file.category, file.symbol, file.date
