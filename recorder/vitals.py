"""What a recorder takes of its machine: memory, and disk space at the rate at which it fills."""

from __future__ import annotations

import os
import resource
import sys
from collections import deque
from pathlib import Path
from typing import Any

__all__ = ["Vitals", "resident_bytes"]

SECOND_NS = 1_000_000_000
SAMPLE_NS = 10 * SECOND_NS
SAMPLES = 60
"""Ten minutes: the rate over them is the present rate."""


def resident_bytes() -> int:
    """Memory that this process has resident; its peak where the system doesn't tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10
    return pages * os.sysconf("SC_PAGE_SIZE")


class Vitals:
    """Watches the disk and the memory.

    Args:
        directory: on the file system that fills up.
        floor_bytes: free space at which recording ends; 0 for never.
    """

    def __init__(self, directory: Path, floor_bytes: int = 0) -> None:
        self._directory = directory
        self._floor_bytes = floor_bytes
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)

    def told(self, now_ns: int, journal_bytes: int) -> dict[str, Any]:
        """The status section: free and total bytes, journal bytes of this run and their rate, resident memory.

        Args:
            now_ns: monotonic.
            journal_bytes: accepted for the journal in this run.
        """
        if not self._samples or now_ns - self._samples[-1][0] >= SAMPLE_NS:
            self._samples.append((now_ns, journal_bytes))
        then_ns, then_bytes = self._samples[0]
        passed_ns = now_ns - then_ns
        # a rate over less than a sample's time would be noise
        rate = (journal_bytes - then_bytes) * SECOND_NS / passed_ns if passed_ns >= SAMPLE_NS else None
        try:
            found = os.statvfs(self._directory)
        except OSError:
            free = total = None
        else:
            free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        return {
            "disk_free_bytes": free,
            "disk_total_bytes": total,
            "disk_floor_bytes": self._floor_bytes,
            "journal_bytes": journal_bytes,
            "journal_bytes_per_second": rate,
            "resident_bytes": resident_bytes(),
        }
