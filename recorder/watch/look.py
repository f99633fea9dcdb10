"""What a data directory says of its recorders: read, never written to, and decoded only when it has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from recorder.housekeeping import Kept, last_kept
from recorder.journal import journal_directory
from recorder.status import is_held, live_status, supervised_collectors
from schemas.errors import ConfigError

__all__ = ["Look", "Looker", "Told"]


class Told(NamedTuple):
    """A collector, as far as it is known.

    Attributes:
        collector: its name.
        live: its status file (``Collector.status``), or None if it has told nothing that can be read.
        held: a process holds its lock.
        holder: the process id that the lock names, or None.
        supervised: what a supervisor that lives says of it (state, restarts, code, words), or None.
    """

    collector: str
    live: dict[str, Any] | None
    held: bool
    holder: int | None = None
    supervised: dict[str, Any] | None = None


class Look(NamedTuple):
    """One look at a data directory.

    Attributes:
        now_ns: wall clock.
        collectors: by name.
        kept: what the roller said last, or None.
        free_bytes: of the disk, or None if it cannot be asked.
        total_bytes: likewise.
    """

    now_ns: int
    collectors: tuple[Told, ...] = ()
    kept: Kept | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None


class Looker:
    """Looks again and again.

    Args:
        data: the data directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._read: dict[str, tuple[tuple[int, int, int], dict[str, Any] | None]] = {}

    def look(self, now_ns: int) -> Look:
        """Look. What cannot be read is missing from the answer; nothing is raised for it."""
        under_supervision = supervised_collectors(self._data)
        names = {*self._names(), *under_supervision}
        try:
            found = os.statvfs(self._data)
        except OSError:
            free = total = None
        else:
            free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        return Look(
            now_ns,
            tuple(
                Told(
                    name,
                    self._live(name),
                    is_held(self._data, name),
                    self._holder(name),
                    under_supervision.get(name),
                )
                for name in sorted(names)
            ),
            last_kept(self._data),
            free,
            total,
        )

    def _names(self) -> list[str]:
        try:
            entries = list(os.scandir(self._data / "journal"))
        except OSError:
            return []
        return [entry.name for entry in entries if self._is_collector(entry.name)]

    def _is_collector(self, name: str) -> bool:
        try:
            directory = journal_directory(self._data, name)
            return any((directory / file).exists() for file in ("lock", "status.json"))
        except (ConfigError, OSError):  # a directory of somebody else's
            return False

    def _live(self, name: str) -> dict[str, Any] | None:
        try:
            found = (journal_directory(self._data, name) / "status.json").stat()
        except OSError:
            return None
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if name not in self._read or self._read[name][0] != stamp:
            self._read[name] = (stamp, live_status(self._data, name))
        return self._read[name][1]

    def _holder(self, name: str) -> int | None:
        try:
            with open(journal_directory(self._data, name) / "lock", "rb") as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return None
