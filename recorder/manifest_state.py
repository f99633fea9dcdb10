"""What the lines of one collector's manifest come to, taken one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from recorder.manifest_lines import FileLine, Line
from schemas.manifest import (
    ManifestCheckpoint,
    ManifestCompaction,
    ManifestFile,
    ManifestPruned,
    ManifestSegment,
)

__all__ = ["Day", "ManifestState", "day_of"]

Day = tuple[str, str, str, str, str]


def day_of(file: ManifestFile) -> Day:
    """Return collector, table, category, symbol and date of a file."""
    return file.collector, file.table, file.category, file.symbol, file.date


@dataclass(slots=True)
class ManifestState:
    """What the lines come to, those of files that are not wanted left out; attributes as of ``Manifest``, by path where
    it lists.

    Attributes:
        short: segments whose lines a checkpoint has gone over: those of files that were merged may be missing.
        wanted: of which replaced files it is to be known; None for all.
        replaced_since_ns: or which were replaced since then.
    """

    files: dict[str, ManifestFile] = field(default_factory=dict)
    segments: dict[tuple[str, int], ManifestSegment] = field(default_factory=dict)
    pruned: dict[tuple[str, int], ManifestPruned] = field(default_factory=dict)
    listed: dict[tuple[str, int], int] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    links: list[ManifestSegment] = field(default_factory=list)
    short: set[tuple[str, int]] = field(default_factory=set)
    compactions: list[tuple[ManifestCompaction, int]] = field(default_factory=list)
    wanted: Callable[[str], bool] | None = None
    replaced_since_ns: int | None = None
    _pending: dict[tuple[str, int], dict[str, ManifestFile | FileLine]] = field(default_factory=dict)
    _merged: list[ManifestFile | FileLine] = field(default_factory=list)
    _own: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def take(self, line: Line) -> None:
        """Follow the next line."""
        match line:
            case ManifestFile() | FileLine():
                if line.last_segment is None:
                    self._pending.setdefault((line.collector, line.segment), {})[line.path] = line
                else:
                    self._merged.append(line)
            case ManifestSegment():
                self._segment((line.collector, line.segment), line)
            case ManifestCompaction():
                self._compaction(line)
            case ManifestPruned():
                self.pruned[line.collector, line.segment] = line
            case ManifestCheckpoint():
                self.short.update(self.segments)
                self.listed.update((key, segment.files) for key, segment in self.segments.items())

    def _segment(self, key: tuple[str, int], line: ManifestSegment) -> None:
        """A segment rolled again replaces what it was; what a compaction has merged stays where it is."""
        self._merged = []
        own = self._own.pop(key, set())
        for path in own:
            self.files.pop(path, None)
        if line.chain is not None:
            self.links.append(line)
        listed = self._pending.pop(key, {})
        self.segments[key] = line
        self.listed[key] = len(listed)
        committed = {
            path: file
            for path, file in listed.items()
            if isinstance(file, ManifestFile) and path not in self.replaced
        }
        if key in self.short and not committed.keys() <= own:
            for file in self._merged_before(key[1], set(committed) - own, committed):
                del committed[file]
        if committed:
            self._own[key] = set(committed)
            self.files |= committed

    def _merged_before(self, segment: int, paths: set[str], files: dict[str, ManifestFile]) -> list[str]:
        """Which of a segment's files a merged one has the rows of, whose replacement no line tells any more."""
        days = {
            day_of(other)
            for other in self.files.values()
            if other.last_segment is not None and other.segment <= segment <= other.last_segment
        }
        return [path for path in paths if day_of(files[path]) in days]

    def _compaction(self, line: ManifestCompaction) -> None:
        of_all = self.wanted is None or (
            self.replaced_since_ns is not None and line.time_ns >= self.replaced_since_ns
        )
        for path in line.removed:
            self.files.pop(path, None)
            if of_all or (self.wanted is not None and self.wanted(path)):
                self.replaced[path] = line.time_ns
        # Lines that a crash kept from being committed may lie before those of this compaction: they aren't its own.
        own = self._merged[len(self._merged) - line.files if line.files < len(self._merged) else 0 :]
        for file in own:
            if isinstance(file, ManifestFile):
                self.files[file.path] = file
            self.replaced.pop(file.path, None)
        self.compactions.append((line if self.wanted is None else _without_paths(line), len(own)))
        self._merged = []


def _without_paths(line: ManifestCompaction) -> ManifestCompaction:
    return ManifestCompaction(line.collector, line.time_ns, line.files, [], line.software, line.version)
