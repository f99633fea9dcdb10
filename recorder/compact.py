"""Compact: a day's small files of a table and symbol become one, ordered, dense and quick to search.

What counts changes in one write of the manifest: the merged files' lines and one that takes the replaced ones back.
Killed at any point before, the archive is what it was; behind it, what it shall be. Before that write the merged file
is read back and must hold exactly the rows of the files that it replaces, whose bytes are checked first. Those stay on
the disk for a while, so that readers that have them in their lists can finish.

The bytes of a merged file depend on its rows alone: a late segment, merged into a file of the day by the next
compaction, gives what compacting all at once would have given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from recorder.file_places import sha256_of
from recorder.leftovers import GRACE_S, delete_replaced, find_leftovers
from recorder.manifest import Manifest, append_manifest, read_manifest
from recorder.manifest_checkpoint import shorten_manifest
from recorder.manifest_lines import same_directory
from recorder.merge_rows import Source, merged_rows
from recorder.merged_files import MergedFile
from recorder.parquet_files import sync_directory
from recorder.roll import roll_lock
from recorder.row_digest import RowDigest
from recorder.row_groups import ArchiveReader
from recorder.version import SOFTWARE
from recorder.waiting_days import WaitingDay, waiting_days
from schemas.errors import Corrupt, StoreError
from schemas.manifest import ManifestCompaction, ManifestFile
from schemas.names import Table
from schemas.time import format_date

__all__ = [
    "Compacted",
    "Compaction",
    "Group",
    "Interrupted",
    "compact_data",
    "compact_quiet_days",
    "merge_group",
    "waiting_groups",
]

QUIET_NS: Final = 3_600 * 10**9
"""A day is over once it is, and nothing of it was received for so long: some rows come late."""

GROUPS_PER_COMMIT: Final = 64
"""Days of a table and symbol that are committed, and made last, together."""

YIELD_S: Final = 0.02
"""Between commits, so that a roll that waits for the lock gets it."""


class Interrupted(Exception):
    """What ``breathe`` raises to give up the group at hand; what was committed before counts."""


class Group(NamedTuple):
    """The files of one collector, table, symbol and date; some of them not merged yet."""

    collector: str
    table: str
    category: str
    symbol: str
    date: str
    files: list[ManifestFile]

    @property
    def directory(self) -> str:
        """Where they are, relative to the archive."""
        return self.files[0].path.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.collector} {self.date} {self.table} {self.symbol}"


class Compacted(NamedTuple):
    """One group that was merged."""

    group: Group
    merged: ManifestFile

    @property
    def bytes_before(self) -> int:
        """Bytes of the files that were replaced."""
        return sum(file.bytes for file in self.group.files)


@dataclass(slots=True)
class Compaction:
    """What a compaction did.

    Attributes:
        done: what was merged, in order.
        damaged: files that could not be merged, and why: their days are as they were.
        dropped_lines: dead lines that were left out of manifests.
        deleted_files, deleted_bytes: what was replaced earlier, or left behind by a crash.
        waiting: whether it was stopped before everything was done.
    """

    done: list[Compacted] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    deleted_files: int = 0
    deleted_bytes: int = 0
    dropped_lines: int = 0
    waiting: bool = False


def waiting_groups(
    manifest: Manifest,
    *,
    before: str | None = None,
    collector: str | None = None,
    quiet_since_ns: int | None = None,
) -> list[Group]:
    """Return the groups that have files which are not merged yet, oldest day first.

    Args:
        manifest: as it is now.
        before: only days before this one, ``YYYY-MM-DD``.
        collector: only this one's.
        quiet_since_ns: only days of a collector of which nothing was received since.
    """
    groups: dict[tuple[str, str, str, str, str], list[ManifestFile]] = {}
    busy: set[tuple[str, str]] = set()
    for file in manifest.files:
        if (before is not None and file.date >= before) or collector not in (None, file.collector):
            continue
        key = file.date, file.collector, file.table, file.category, file.symbol
        groups.setdefault(key, []).append(file)
        if quiet_since_ns is not None and file.receive_ns is not None and file.receive_ns[1] > quiet_since_ns:
            busy.add((file.date, file.collector))
    return [
        Group(key[1], key[2], key[3], key[4], key[0], files)
        for key, files in sorted(groups.items())
        if key[:2] not in busy and any(file.last_segment is None for file in files)
    ]


def compact_data(
    data: Path,
    *,
    before: str | None = None,
    collector: str | None = None,
    quiet_since_ns: int | None = None,
    grace_s: float = GRACE_S,
    on_begun: Callable[[Group, int, int], None] = lambda _group, _number, _of: None,
    should_stop: Callable[[], bool] = lambda: False,
    breathe: Callable[[], None] = lambda: None,
    sweep: bool = True,
) -> Compaction:
    """Merge what waits to be merged. Takes and gives back ``roll_lock`` again and again, so that rolls get their turn.

    Args:
        data: the data directory.
        before, collector, quiet_since_ns: see ``waiting_groups``.
        grace_s: how long replaced files stay on the disk.
        on_begun: told of each group, its number from 1, and of how many there are.
        should_stop: asked between groups.
        breathe: called again and again while it works; it may wait.
        sweep: look for what crashes left behind in the whole archive, and not only where something was merged.

    Raises:
        StoreError: the disk refused, or the manifest cannot be read.
    """
    result = Compaction()
    archive = data / "archive"
    number = 0
    merged: set[str] = set()
    passed: set[WaitingDay] = set()  # of which nothing is to be merged after all, or something is damaged
    while True:
        with roll_lock(data, wait=True):
            days = [
                day
                for day in waiting_days(
                    archive, before=before, collector=collector, quiet_since_ns=quiet_since_ns
                )
                if day not in passed
            ]
            if days:
                at_once = {
                    day.directory: day
                    for day in days[:GROUPS_PER_COMMIT]
                    if day.collector == days[0].collector
                }
                manifest = read_manifest(archive, same_directory(at_once.__contains__))
                groups = waiting_groups(manifest, collector=days[0].collector)
                passed |= set(at_once.values()) - {at_once[group.directory] for group in groups}
                commit = _Commit(archive, manifest, days[0].collector)
                total = number + len(days)
                for group in groups:
                    if should_stop():
                        result.waiting = True
                        break
                    number += 1
                    on_begun(group, number, total)
                    try:
                        commit.add(group, breathe)
                    except Interrupted:
                        result.waiting = True
                        break
                    except Corrupt as error:
                        result.damaged[_relative(archive, error.path, group)] = error.why
                        passed.add(at_once[group.directory])
                    except StoreError as error:
                        stored = [
                            file.path
                            for file in group.files
                            if manifest.place(file.path) != archive / file.path
                        ]
                        if not stored:
                            raise
                        result.damaged[stored[0]] = f"is only in an object store now: {error}"
                        passed.add(at_once[group.directory])
                done = commit.write()
                merged.update(one.group.directory for one in done)
                result.done += done
            if result.waiting or not days:
                _clean(data, grace_s, result, None if sweep else merged)
                if not result.waiting:
                    for path in sorted((archive / "manifest").glob("*.jsonl")):
                        result.dropped_lines += shorten_manifest(archive, path.stem)
                return result
        time.sleep(YIELD_S)


def compact_quiet_days(
    data: Path,
    *,
    now_ns: int,
    breathe: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Compaction:
    """Merge the days that are over by a clock, and of which nothing has come for an hour; other arguments as above."""
    return compact_data(
        data,
        before=format_date(now_ns),
        quiet_since_ns=now_ns - QUIET_NS,
        breathe=breathe,
        should_stop=should_stop,
        sweep=False,
    )


class _Commit:
    """Groups of one collector that come to count together."""

    def __init__(self, archive: Path, manifest: Manifest, collector: str) -> None:
        self.collector = collector
        self.done: list[Compacted] = []
        self._archive = archive
        self._manifest = manifest

    def add(self, group: Group, breathe: Callable[[], None]) -> None:
        """Merge a group's files into one, which counts for nobody yet."""
        sources = [Source(file, self._manifest.place(file.path)) for file in group.files]
        for source in sources:
            breathe()
            digest = sha256_of(source.path)
            if digest != source.file.sha256:
                raise Corrupt(
                    source.path,
                    f"sha256 is {digest[:16]}…, expected {source.file.sha256[:16]}…: the file was altered",
                )
        merged = merge_group(self._archive, self._manifest, sources, breathe)
        self.done.append(Compacted(group, merged))

    def write(self) -> list[Compacted]:
        """Make the files last, and then count, in one write."""
        if self.done:
            for directory in sorted({(self._archive / one.merged.path).parent for one in self.done}):
                sync_directory(directory)
            removed = [file.path for one in self.done for file in one.group.files]
            line = ManifestCompaction(self.collector, time.time_ns(), len(self.done), removed, SOFTWARE)
            append_manifest(self._archive, self.collector, [*(one.merged for one in self.done), line])
        return self.done


def merge_group(
    archive: Path, manifest: Manifest, sources: Sequence[Source], breathe: Callable[[], None] = lambda: None
) -> ManifestFile:
    """Write the merged file of some files of one collector, table, symbol and date below ``archive``.

    Returns:
        Its line, for the caller to commit.

    Raises:
        Corrupt: a file can't be read, or the merged one does not hold the rows that the sources have.
        StoreError: the disk refused.
    """
    table = Table(sources[0].file.table)
    collector = sources[0].file.collector
    segments = [segment for key, segment in manifest.segments.items() if key[0] == collector]
    expected, found = RowDigest(), RowDigest()
    merged = MergedFile(archive, [source.file for source in sources], segments)
    try:
        for rows in merged_rows(table, sources, expected.add):
            merged.append(rows)
            breathe()
        merged.close()
        with ArchiveReader(merged.path, merged.table) as reader:
            for rows in reader.batches(reader.groups):
                found.add(rows)
                breathe()
        listed = sum(source.file.rows for source in sources)
        if expected.rows != listed:
            raise Corrupt(sources[0].path, f"its day has {expected.rows} rows, the manifest says {listed}")
        if expected != found:
            raise StoreError(
                f"{merged.path}: holds {found!r}, its sources {expected!r}: it was not taken, and they were left "
                "alone; look at the disk and the memory of this machine, then `tapebook compact` again"
            )
        return merged.finish()
    except BaseException:
        merged.discard()
        raise


def _clean(data: Path, grace_s: float, result: Compaction, directories: set[str] | None) -> None:
    """Delete what counts for nobody, in some directories or in all; what was replaced stays for its grace."""
    archive = data / "archive"
    if result.waiting or directories == set():
        _count(result, delete_replaced(archive, grace_s=grace_s))
        return
    _count(result, delete_replaced(archive, grace_s=grace_s, everything=True))
    wanted = None if directories is None else same_directory(directories.__contains__)
    manifest = read_manifest(archive, wanted)
    for leftover in list(find_leftovers(data, manifest, directories)):
        if leftover.why in ("temporary", "orphan"):
            (archive / leftover.path).unlink(missing_ok=True)
            _count(result, (1, leftover.bytes))


def _count(result: Compaction, deleted: tuple[int, int]) -> None:
    result.deleted_files += deleted[0]
    result.deleted_bytes += deleted[1]


def _relative(archive: Path, path: object, group: Group) -> str:
    text = str(path)
    prefix = f"{archive}/"
    return text.removeprefix(prefix) if text.startswith(prefix) else group.files[0].path
