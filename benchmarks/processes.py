"""What a process and its threads cost, read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from schemas.errors import DataError

__all__ = ["children", "cpu_s", "peak_bytes", "resident_bytes", "thread_cpu_s"]

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


_WATCHED: Final = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_bytes(command: Sequence[str]) -> int:
    """The most memory that a command had resident, in a process of its own.

    The system begins to count where the process that starts it is, before the command itself runs; so a small one does
    that in the place of this one, which may hold any amount.

    Raises:
        DataError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", _WATCHED, *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError(f"{' '.join(command)} failed with exit code {done.returncode}: {done.stderr[-2000:]}")
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1 << 10)


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, all threads, user and system; 0 when it is gone."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) * _TICK_S if fields else 0.0


def thread_cpu_s(pid: int) -> float:
    """Processor time of a process's first thread, the one with the event loop."""
    fields = _fields(Path(f"/proc/{pid}/task/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) * _TICK_S if fields else 0.0


def resident_bytes(pid: int) -> int:
    """Resident memory; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
