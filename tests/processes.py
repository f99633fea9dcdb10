"""Our commands as processes of their own: started, waited for, signalled and always ended.

Output goes to files, never to pipes that nobody reads. Every wait is bounded and ends with what the process said.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = [
    "PATIENCE_S",
    "ROOT",
    "Finished",
    "Running",
    "Tally",
    "alive",
    "children_of",
    "gateway",
    "json_lines",
    "recording",
    "tapebook",
    "wait_until",
]

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 60.0
"""How long a test waits for what must happen; passing it is a failure, coming near it is none."""

_LISTENING = re.compile(r"listening on (wss?://\S+)")


class Finished(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


def _command(arguments: Sequence[object]) -> list[str]:
    return [sys.executable, "-m", "recorder", *map(str, arguments)]


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll until the condition holds; fail with ``what`` when it never does."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience_s:g} s in vain: {what}")
        time.sleep(0.01)


def json_lines(text: str) -> list[dict[str, Any]]:
    """Decode one object a line."""
    return [json.loads(line) for line in text.splitlines() if line]


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def children_of(pid: int) -> list[int]:
    """Process ids of the direct children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if child]
    except FileNotFoundError:
        return []


class Tally:
    """How many lines of a file that grows hold certain words; each look reads only what is new.

    Args:
        path: of the file, which need not be there yet.
        words: what a line must hold, all of it.
    """

    def __init__(self, path: Path, *words: str) -> None:
        self._path = path
        self._words = [word.encode() for word in words]
        self._offset = 0
        self._count = 0

    def __call__(self) -> int:
        """Look, and return the count so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
            self._offset += len(whole)
            self._count += sum(all(word in line for word in self._words) for line in whole.splitlines())
        return self._count


class Running:
    """A command in the background; a context manager that never leaves it running.

    Args:
        arguments: of ``tapebook``.
        scratch: directory for its output; one per process.
        preexec: called in the child before the command starts.
    """

    def __init__(
        self, arguments: Sequence[object], scratch: Path, *, preexec: Callable[[], None] | None = None
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._out, self._err = scratch / "out", scratch / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                _command(arguments),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=_environment(),
                preexec_fn=preexec,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._err.read_text(errors="replace")

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        """Poll until the condition holds; fail at once when the process ends before."""

        def holds() -> bool:
            if condition():
                return True
            if self.process.poll() is not None and not condition():
                raise AssertionError(f"ended with {self.process.returncode} before {what}:\n{self.err}")
            return False

        wait_until(holds, what, patience_s)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def wait(self, patience_s: float = PATIENCE_S) -> Finished:
        """Wait for its end."""
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {patience_s:g} s:\n{self.err}") from None
        return Finished(code, self.out, self.err)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Finished:
        """Signal it and wait for its end."""
        self.process.send_signal(number)
        return self.wait()


def tapebook(
    *arguments: object,
    patience_s: float = 120.0,
    preexec: Callable[[], None] | None = None,
) -> Finished:
    """Run a command to its end."""
    done = subprocess.run(
        _command(arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        env=_environment(),
        timeout=patience_s,
        check=False,
        preexec_fn=preexec,
    )
    return Finished(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


class _Gateway(NamedTuple):
    url: str
    running: Running


@contextmanager
def gateway(scratch: Path, *arguments: object) -> Iterator[_Gateway]:
    """A gateway on a free port; it must end by itself, with 0, when it is told to."""
    with Running(["gateway", "--port", 0, *arguments], scratch) as running:
        running.until(lambda: _LISTENING.search(running.out) is not None, "the gateway listened")
        found = _LISTENING.search(running.out)
        assert found is not None
        yield _Gateway(found[1], running)
        done = running.stop()
        assert done.code == 0, f"the gateway ended with {done.code}: {done.err}"


def recording(
    scratch: Path, endpoint: str, data: Path, *arguments: object, preexec: Callable[[], None] | None = None
) -> Running:
    """Start ``tapebook record``; every option but endpoint and data is the caller's."""
    return Running(["record", "--endpoint", endpoint, "--data", data, *arguments], scratch, preexec=preexec)
