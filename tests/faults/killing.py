"""Processes that die at a chosen system call: the shim (``kill_shim.c``) and the forks that it kills.

Importing our packages takes longer than most commands. So a parent that has imported everything, and done nothing yet,
forks a process for each run: what runs in it is the real command, in a process of its own, and the kill is the
system's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from schemas.errors import TapebookError

__all__ = ["CALLS", "ON_SOCKETS", "Blow", "Ended", "Mode", "build_shim", "is_loaded", "run_forked"]

CALLS: Final = (
    "write", "fsync", "rename", "create", "unlink", "truncate", "mkdir", "connect", "send", "receive", "close",
)  # fmt: skip
"""Kinds of calls as the shim numbers them."""
ON_SOCKETS: Final = CALLS[7:]
PATIENCE_S: Final = 120.0
SOURCE: Final = Path(__file__).with_name("kill_shim.c")


class Mode(IntEnum):
    """What happens at the chosen call; numbers are the shim's."""

    COUNT = 0
    BEFORE = 1
    """Killed before it."""
    AFTER = 2
    TORN = 3
    """Half of the bytes are written, and then it is killed."""
    FAIL = 4
    """No kill: the call fails."""


class Blow(NamedTuple):
    """What is to befall a process.

    Attributes:
        at: the number of the call, from 1.
        mode: what happens there.
        error: errno of a call that fails.
        power: whether the machine loses power with it, so that what was not synced may be gone.
    """

    at: int = 0
    mode: Mode = Mode.COUNT
    error: int = 0
    power: bool = False


class Ended(NamedTuple):
    """How a forked process ended.

    Attributes:
        code: as of ``waitstatus_to_exitcode``: -9 when it was killed.
        calls: kinds of the calls that were counted, in order; empty when it was killed.
    """

    code: int
    calls: tuple[str, ...] = ()


def build_shim(directory: Path) -> Path:
    """Compile the shim with the system's compiler."""
    made = directory / "kill_shim.so"
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", made, SOURCE, "-ldl", "-lpthread"],
        check=True,
    )
    return made


def is_loaded() -> bool:
    """Whether this process has the shim."""
    return hasattr(ctypes.CDLL(None), "shim_arm")


def run_forked(
    below: Path, blow: Blow, work: Callable[[], int | None], output: Path, *, port: int = 0
) -> Ended:
    """Run ``work`` in a fork of this process; calls below the directory are counted, and the blow falls at one.

    With a port, calls that speak with the server there are counted too.

    What it prints goes to ``output``. A ``TapebookError`` gives its exit code, any other exception 70.
    """
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        code = 70
        try:
            _redirect(output)
            shim = ctypes.CDLL(None)
            shim.shim_arm(
                os.fsencode(below), port, ctypes.c_long(blow.at), int(blow.mode), blow.error, int(blow.power)
            )
            code = _code_of(work)
            shim.shim_disarm()
            os.write(tell, bytes(_trace(shim)))
        finally:
            os._exit(code)
    os.close(tell)
    calls = bytearray()
    deadline = time.monotonic() + PATIENCE_S
    os.set_blocking(told, False)
    while True:
        try:
            while more := os.read(told, 1 << 16):
                calls += more
        except BlockingIOError:
            pass
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(told)
            raise AssertionError(f"it hung for {PATIENCE_S:g} s")
        time.sleep(0.002)
    while more := _read(told):
        calls += more
    os.close(told)
    return Ended(os.waitstatus_to_exitcode(status), tuple(CALLS[kind] for kind in calls))


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


def _redirect(output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)


def _code_of(work: Callable[[], int | None]) -> int:
    try:
        code = work() or 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except TapebookError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _trace(shim: ctypes.CDLL) -> bytes:
    shim.shim_trace.restype = ctypes.POINTER(ctypes.c_ubyte)
    shim.shim_calls.restype = ctypes.c_long
    return bytes(shim.shim_trace()[: min(shim.shim_calls(), 60_000)])
