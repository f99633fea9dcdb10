"""The roller: a process of its own beside a recorder, so that formatting never stands in the collector's way.

It reads words on standard input, one a line: ``sealed`` (there is something to roll), ``pause`` and ``resume`` (the
disk is needed for recording; it stops within a batch), and ``finish`` (roll what is left, then do what can be done of
the rest in some seconds, and exit 0). Between rolls it keeps house (``recorder.housekeeping``), and leaves that as soon
as there is something to roll. When its input ends without ``finish`` its parent is gone, and it ends at once: what it
was writing has no final name yet, and the next roll writes it again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from recorder.arrow_memory import give_back, keep_pages
from recorder.disk_budget import DiskBudget
from recorder.housekeeping import Housekeeping, finish_house, keep_house, publish
from recorder.plain_log import log_to_stderr
from recorder.roll import Rolled, roll_data, roll_lock
from schemas.errors import StoreError, TapebookError

__all__ = ["Roller", "main"]

FINISH_TIMEOUT_S = 3600.0
ENDING_S = 15.0
"""For what need not be done before a recorder ends, but is better done than left to the next one."""
_UNTIL_ROOM = "nothing is rolled until there is room: the journal has everything, and `tapebook roll` goes on"


class Roller:
    """The parent's handle of a roller process.

    Args:
        data: the data directory.
        housekeeping: what it does beside rolling.
    """

    def __init__(self, data: Path, housekeeping: Housekeeping = Housekeeping()) -> None:  # noqa: B008 (frozen)
        # Paths are made absolute and sys.path is handed on by hand, so that it makes no difference where we run.
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
        }
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "recorder.roller",
                str(data.resolve()),
                msgspec.json.encode(housekeeping).decode(),
                *(() if logging.getLogger("tapebook").isEnabledFor(logging.INFO) else ("quiet",)),
            ],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno() if _has_descriptor() else None,
            env=environment,
            # A signal from the terminal is for the recorder, which tells the roller when to finish.
            start_new_session=True,
        )

    def sealed(self) -> None:
        """Tell it that a segment was sealed."""
        self._say(b"sealed\n")

    def pause(self, paused: bool) -> None:
        """Let it leave the disk alone, or go on."""
        self._say(b"pause\n" if paused else b"resume\n")

    def finish(self) -> None:
        """Let it roll everything and wait for it.

        Raises:
            StoreError: it failed; the journal has everything, and ``tapebook roll`` tries again.
        """
        self._say(b"finish\n")
        try:
            code = self._process.wait(FINISH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._close()
        if code:
            raise StoreError(
                f"rolling failed (exit code {code}); the journal has everything: run `tapebook roll`, which says why"
            )

    def abandon(self) -> None:
        """Let it end at once."""
        self._close()
        self._process.wait(FINISH_TIMEOUT_S)

    def _say(self, word: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead: `finish` finds its exit code
            self._process.stdin.write(word)
            self._process.stdin.flush()

    def _close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


def _has_descriptor() -> bool:
    try:
        return sys.stderr.fileno() >= 0
    except (OSError, ValueError):
        return False


class _Listener:
    """Hears the parent, in a thread, because rolling blocks."""

    def __init__(self) -> None:
        self.work = threading.Event()
        self.finishing = False
        self.unpaused = threading.Event()
        self.unpaused.set()
        self._thread = threading.Thread(target=self._listen, name="parent", daemon=True)
        self._thread.start()

    def breathe(self) -> None:
        """Wait while paused."""
        self.unpaused.wait()

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            match line.strip():
                case b"pause":
                    self.unpaused.clear()
                case b"resume":
                    self.unpaused.set()
                case b"finish":
                    self.finishing = True
                    self.unpaused.set()
                    self.work.set()
                    return
                case _:
                    self.work.set()
        os._exit(0)


def main(arguments: list[str]) -> int:
    """Run the roller process: the data directory, its ``Housekeeping`` as JSON, ``quiet``; returns its exit code."""
    directory, *rest = arguments
    data = Path(directory)
    housekeeping = msgspec.json.decode(rest[0], type=Housekeeping) if rest else Housekeeping()
    os.nice(10)
    keep_pages()
    level = logging.ERROR if "quiet" in rest else logging.INFO
    log_to_stderr(level)
    listener = _Listener()
    budget = DiskBudget(data, housekeeping.floor_bytes, warn=lambda _: None, then=_UNTIL_ROOM)
    code = 0

    def tell(rolled: Rolled) -> None:
        _tell(rolled)
        budget.check()

    while True:
        listener.work.clear()  # first: what is said from here on is heard below, or ends the waiting
        finishing = listener.finishing
        try:
            with roll_lock(data, wait=True):
                budget.check()
                roll_data(data, on_rolled=tell, breathe=listener.breathe)
        except TapebookError as error:
            print(f"tapebook: roll: {error}", file=sys.stderr, flush=True)
            code = error.exit_code
        else:
            code = 0
        if finishing:
            if code == 0:
                _finish_house(data, housekeeping, listener)
            return code
        give_back()  # what one kind of work leaves between its pieces is of no use to the next
        _keep_house(data, housekeeping, listener)
        give_back()
        listener.work.wait()


def _keep_house(data: Path, housekeeping: Housekeeping, listener: _Listener) -> None:
    """What can wait: a failure of it is told, and tried again the next time."""
    try:
        keep_house(
            data,
            housekeeping,
            now_ns=time.time_ns(),
            breathe=listener.breathe,
            should_stop=listener.work.is_set,
            is_ending=lambda: listener.finishing,
        )
    except TapebookError as error:
        print(f"tapebook: housekeeping: {error}", file=sys.stderr, flush=True)
    try:
        publish(data, housekeeping, breathe=listener.breathe, should_stop=listener.work.is_set)
    except TapebookError as error:
        print(f"tapebook: upload: {error}", file=sys.stderr, flush=True)


def _finish_house(data: Path, housekeeping: Housekeeping, listener: _Listener) -> None:
    """What a run's last segments still want; somebody waits for the end of it, so the rest is left to the next one."""
    end_s = time.monotonic() + ENDING_S
    try:
        finish_house(
            data,
            housekeeping,
            breathe=listener.breathe,
            should_stop=lambda: time.monotonic() > end_s,
        )
    except TapebookError as error:
        print(f"tapebook: housekeeping: {error}", file=sys.stderr, flush=True)


def _tell(rolled: Rolled) -> None:
    for mismatch in rolled.mismatches:
        print(
            f"tapebook: roll: {rolled.segment}: {mismatch.topic} at update id {mismatch.update_id}: the live book's "
            f"digest was {mismatch.live}, its replay's is {mismatch.replayed}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
