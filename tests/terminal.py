"""A real terminal for our commands: a pseudo-terminal that controls the process, and a screen that understands it."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import pyte

from tests.processes import PATIENCE_S, ROOT

__all__ = ["Terminal"]


class Terminal:
    """``tapebook`` at a terminal; a context manager that never leaves it running.

    Args:
        arguments: of ``tapebook``.
        columns, lines: of the terminal.
        environment: what differs from ours; None takes a variable away.

    Attributes:
        process: the command.
        sent: bytes that it wrote.
        raw: the last of them.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        columns: int = 80,
        lines: int = 24,
        environment: dict[str, str | None] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = os.openpty()
        self._set_size(columns, lines)
        given = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PYTHONUTF8": "1"}
        for name in ("NO_COLOR", "COLUMNS", "LINES", "PROMPT_TOOLKIT_COLOR_DEPTH"):
            given.pop(name, None)
        for name, value in (environment or {}).items():
            given.pop(name, None)
            if value is not None:
                given[name] = value
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recorder", *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=ROOT,
            env=given,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.sent = 0
        self.raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal, as a lost connection does. Again is fine."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make the window larger or smaller, as a window manager or tmux does."""
        self.screen.resize(lines, columns)
        self._set_size(columns, lines)

    def _set_size(self, columns: int, lines: int) -> None:
        # the kernel tells the terminal's processes by SIGWINCH
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def take(self, patience_s: float = 0.05) -> bool:
        """Take what has been written, if something comes in time; returns whether the terminal is still open."""
        if not select.select([self._ours], [], [], patience_s)[0]:
            return True
        try:
            found = os.read(self._ours, 1 << 16)
        except OSError:  # everybody has closed it
            return False
        self.sent += len(found)
        self.raw = (self.raw + found)[-(1 << 20) :]
        self._stream.feed(found)
        return bool(found)

    @property
    def shown(self) -> list[str]:
        """The lines of the screen."""
        return list(self.screen.display)

    @property
    def text(self) -> str:
        """The screen, for a look."""
        return "\n".join(line.rstrip() for line in self.shown)

    def until(self, condition: Callable[[str], object], what: str, patience_s: float = PATIENCE_S) -> str:
        """Take what comes until the screen fulfils something; returns the screen."""
        end = time.monotonic() + patience_s
        while not condition(self.text):
            if not self.take() and not condition(self.text):
                raise AssertionError(f"ended before {what}:\n{self.text}")
            if time.monotonic() > end:
                raise AssertionError(f"waited {patience_s:g} s in vain: {what}:\n{self.text}")
        return self.text

    def see(self, words: str) -> str:
        """Wait until something stands on the screen."""
        return self.until(lambda text: words in text, f"{words!r} on the screen")

    def end(self, number: signal.Signals | None = None) -> int:
        """Wait for its end, after a signal if one is given; returns the exit code."""
        if number is not None:
            self.process.send_signal(number)
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            self.take()
            if time.monotonic() > end:
                raise AssertionError(f"still running:\n{self.text}")
        while select.select([self._ours], [], [], 0)[0] and self.take(0):
            pass
        return self.process.returncode
