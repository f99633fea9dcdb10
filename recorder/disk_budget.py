"""The disk's last bytes: a warning early, and a clean end of the recording before there are none.

A recorder that meets ENOSPC loses nothing that it reported, but ends in the middle of what it was writing, and leaves
nothing to roll or repair with. So it ends by itself at a floor.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.errors import OutOfSpace

__all__ = ["EARLY", "MIN_FREE_MIB", "DiskBudget", "floor_of", "free_bytes"]

log = logging.getLogger("tapebook")

MIN_FREE_MIB: Final = 256.0
"""The floor where nobody names another."""
EARLY: Final = 4
"""So many times the floor is when it is warned first; again whenever what is above the floor has halved."""


def free_bytes(directory: Path) -> int | None:
    """What an ordinary process may still write there; None where the system doesn't tell."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent  # it will be made
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def floor_of(directory: Path, min_free_mib: float, then: str) -> DiskBudget:
    """Return the budget of a command that ends at the floor without a warning before; ``then`` is said of the end."""
    return DiskBudget(directory, int(min_free_mib * (1 << 20)), warn=lambda _: None, then=then)


class DiskBudget:
    """Watches the free space of one file system.

    Args:
        directory: on it.
        floor_bytes: below it recording ends; 0 for never.
        free: tells the free space; tests give their own.
        warn: told in words, once at a time.
        then: what is said of the end.
    """

    def __init__(
        self,
        directory: Path,
        floor_bytes: int,
        *,
        free: Callable[[Path], int | None] = free_bytes,
        warn: Callable[[str], None] = log.warning,
        then: str = "recording ends while what it has can be sealed: free some space, then start again",
    ) -> None:
        self.floor_bytes = floor_bytes
        self._directory = directory
        self._free = free
        self._warn = warn
        self._then = then
        self._warned_at = EARLY * floor_bytes

    def check(self) -> None:
        """Warn when it is time to.

        Raises:
            OutOfSpace: there is less than the floor.
        """
        if not self.floor_bytes or (free := self._free(self._directory)) is None:
            return
        if free < self.floor_bytes:
            raise OutOfSpace(
                f"{self._directory}: {free >> 20:,} MiB free, the floor is {self.floor_bytes >> 20:,} MiB "
                f"(min_free_mib); {self._then}"
            )
        if free < self._warned_at:
            self._warned_at = self.floor_bytes + (free - self.floor_bytes) // 2
            self._warn(
                f"{self._directory}: {free >> 20:,} MiB free; recording ends at {self.floor_bytes >> 20:,} MiB"
            )
        elif free > 2 * EARLY * self.floor_bytes:
            self._warned_at = EARLY * self.floor_bytes
