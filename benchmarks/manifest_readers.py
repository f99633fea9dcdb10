"""What readers of a manifest take, each in a process of its own: its processor time, and the most memory it had.

python -m benchmarks.manifest_readers READER ARCHIVE
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from recorder.compact import GROUPS_PER_COMMIT
from recorder.manifest import manifest_around, read_manifest, read_segments
from recorder.manifest_checkpoint import shorten_manifest
from recorder.manifest_lines import same_directory
from recorder.waiting_days import waiting_days

__all__ = ["COLLECTOR", "READERS", "reading"]

COLLECTOR: Final = "linear"


def _compact(archive: Path) -> int:
    days = {day.directory for day in waiting_days(archive)[:GROUPS_PER_COMMIT]}
    return len(read_manifest(archive, same_directory(days.__contains__)).files)


READERS: Final[dict[str, Callable[[Path], int]]] = {
    "none": lambda _: 0,
    "roll": lambda archive: len(read_segments(archive).segments),
    "prune": lambda archive: len(manifest_around(archive, (COLLECTOR, 1)).files),
    "compact": _compact,
    "whole": lambda archive: len(read_manifest(archive).files),
    "checkpoint": lambda archive: shorten_manifest(archive, COLLECTOR),
}
"""By name: nothing (the libraries alone), what a roll or a retention reads, what pruning one segment does, what each 64
files of a compaction do, what a query does, and what a checkpoint takes, which changes the manifest."""


def reading(reader: str, archive: Path) -> dict[str, Any]:
    """Let a reader read in a process of its own."""
    command = [sys.executable, "-m", __name__, reader, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _peak_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def main(reader: str, archive: str) -> None:
    """Read, and print what it took."""
    began = time.process_time()
    found = READERS[reader](Path(archive))
    seconds = time.process_time() - began
    print(json.dumps({"found": found, "cpu_seconds": round(seconds, 3), "peak_mib": _peak_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
