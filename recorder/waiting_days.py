"""Which days of a table and symbol have files that are not merged yet, found without their lines in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from recorder.leftovers import merged_name, segments_of
from recorder.manifest_lines import FileLine, no_files, read_lines
from schemas.errors import StoreError
from schemas.manifest import ManifestCompaction, ManifestSegment

__all__ = ["WaitingDay", "waiting_days"]


class WaitingDay(NamedTuple):
    """The files of one collector, table, symbol and date; they are sorted by day.

    Attributes:
        directory: where they are, relative to the archive.
    """

    date: str
    collector: str
    table: str
    category: str
    symbol: str
    directory: str


def waiting_days(
    archive: Path,
    *,
    before: str | None = None,
    collector: str | None = None,
    quiet_since_ns: int | None = None,
) -> list[WaitingDay]:
    """Return the days that have files which are not merged yet, or seem to: the oldest first.

    A file whose segment was rolled again behind a checkpoint may count for nobody; who reads the lines sees it.

    Args:
        archive: its root.
        before: only days before this one, ``YYYY-MM-DD``.
        collector: only this one's.
        quiet_since_ns: only days of a collector of which nothing was received since.

    Raises:
        Corrupt, StoreError: a manifest can't be read.
    """
    found: list[WaitingDay] = []
    try:
        for path in sorted((archive / "manifest").glob("*.jsonl")):
            if collector not in (None, path.stem):
                continue
            lines = _Lines(before, quiet_since_ns)
            for piece in read_lines(path, wanted=no_files):
                lines.take(piece)
            found += lines.waiting()
    except OSError as error:
        raise StoreError(f"{archive / 'manifest'}: cannot be read: {error}") from error
    return sorted(found)


class _Lines:
    """One collector's."""

    def __init__(self, before: str | None, quiet_since_ns: int | None) -> None:
        self._before = before
        self._quiet_since_ns = quiet_since_ns
        self._segments: dict[str, set[int]] = {}  # of files that are not merged, by directory
        self._days: dict[str, WaitingDay] = {}
        self._busy: set[str] = set()
        self._pending: list[FileLine] = []

    def take(self, lines: Iterable[object]) -> None:
        for line in lines:
            if isinstance(line, FileLine):
                self._file(line)
            elif isinstance(line, ManifestSegment):
                for file in self._pending:
                    if file.segment == line.segment:
                        directory = file.path.rpartition("/")[0]
                        self._segments.setdefault(directory, set()).add(file.segment)
                        if directory not in self._days:
                            self._days[directory] = WaitingDay(
                                file.date, file.collector, file.table, file.category, file.symbol, directory
                            )
                self._pending = [file for file in self._pending if file.segment != line.segment]
            elif isinstance(line, ManifestCompaction):
                for path in line.removed:
                    self._remove(path)

    def _file(self, line: FileLine) -> None:
        if self._before is not None and line.date >= self._before:
            return
        if (
            self._quiet_since_ns is not None
            and line.receive_ns is not None
            and line.receive_ns[1] > self._quiet_since_ns
        ):
            self._busy.add(line.date)
        if line.last_segment is None:
            self._pending.append(line)

    def _remove(self, path: str) -> None:
        directory, _, name = path.rpartition("/")
        waiting, span = self._segments.get(directory), segments_of(name)
        if waiting is None or span is None or merged_name(name) is not None:
            return
        waiting.discard(span[0])
        if not waiting:
            del self._segments[directory], self._days[directory]

    def waiting(self) -> list[WaitingDay]:
        return [day for day in self._days.values() if day.date not in self._busy]
