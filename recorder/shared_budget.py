"""Budgets that all processes of this machine share: a small file per thing that is counted, and its lock.

The file holds the times of the last takings, as many as the limit allows in a window, on the monotonic clock: that one
is the same for all processes of a boot and is never set. A taking is one write of eight bytes under the lock, so that a
killed process leaves the file whole. Layout, little endian: 8 bytes magic, 16 bytes boot id, the limit and the window
in ns as uint64, then a time in ns (int64, 0 for none) per taking, in no order.

A file that is damaged is set aside, and nine tenths of the limit count as taken just now: it isn't known what was. One
of an earlier boot counts as taken when it was last written. Without a usable file, or when whoever holds its lock
doesn't let go of it, this process counts for itself alone, and says so.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import struct
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from engine.bybit.backoff import Budget

__all__ = ["SharedBudget", "boot_id", "state_directory"]

log = logging.getLogger("tapebook")

_MAGIC: Final = b"tapebkb1"
_HEAD: Final = struct.Struct("<8s16sQQ")
_MOST_FILES: Final = 256
_PATIENCE_NS: Final = 5_000_000_000
_BUSY_NS: Final = 5_000_000


def state_directory(given: str = "") -> Path:
    """Return where processes leave what they tell each other: what is given, else ``tapebook`` in the user's state."""
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    if not home.startswith("/"):
        home = os.environ.get("XDG_RUNTIME_DIR", "") if not os.environ.get("HOME") else ""
    return (Path(home) if home else Path("~/.local/state").expanduser()) / "tapebook"


def boot_id() -> bytes:
    """Return 16 bytes that change with every boot; zeros where the system doesn't tell."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))[
            :16
        ]
    except (OSError, ValueError):
        return bytes(16)


class _Unusable(Exception):
    """The file can't serve; the message says why."""


class SharedBudget:
    """At most ``limit`` takings in any span of ``window_ns``, by all processes that name the same file.

    Args:
        directory: where the file is; made if need be.
        name: what is counted, such as ``connects-stream.bybit.com``.
        limit: takings per window.
        window_ns: length of the sliding window.
        clock: monotonic, in nanoseconds; the same for all processes.
        boot: id of this boot of the machine.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        limit: int,
        window_ns: int,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        boot: bytes | None = None,
    ) -> None:
        self._own = Budget(limit, window_ns)
        self._directory = directory
        self.path = directory / f"{re.sub(r'[^A-Za-z0-9.-]', '_', name)[:100]}.budget"
        self._limit = limit
        self._window_ns = window_ns
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._nothing = array("q", bytes(8 * limit))
        self._busy_since_ns: int | None = None
        self._told = False

    def __repr__(self) -> str:
        return f"<SharedBudget {self.path} limit={self._limit} window_ns={self._window_ns}>"

    # ---- as Spending ----

    def wait_ns(self, now_ns: int) -> int:
        """Return how long to wait until one may be taken; 0 when one may be taken now."""
        taken = self._look()
        if taken is None:
            return self._own.wait_ns(now_ns)
        return max(0, min(taken) + self._window_ns - self._clock()) if min(taken) else 0

    def left(self, now_ns: int) -> int:
        """Return how many may be taken now."""
        taken = self._look()
        if taken is None:
            return self._own.left(now_ns)
        since_ns = self._clock() - self._window_ns
        return sum(not taken_ns or taken_ns <= since_ns for taken_ns in taken)

    def take(self, now_ns: int) -> bool:
        """Take one if there is one and nobody else is taking at this moment; returns whether it was taken."""
        try:
            descriptor = self._locked()
            if descriptor is None:
                return self._take_own_if_stuck(now_ns)
            try:
                is_taken = self._take(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._tell(error.strerror or str(error))
            return self._own.take(now_ns)
        except _Unusable as error:
            self._tell(str(error))
            return self._own.take(now_ns)
        self._busy_since_ns = None
        if is_taken:
            self._own.take(now_ns)  # what is known if the file fails later
        return is_taken

    # ---- the file ----

    def _take(self, descriptor: int) -> bool:
        now_ns = self._clock()
        taken = self._read(descriptor, now_ns)
        oldest_ns = min(taken)
        if oldest_ns and oldest_ns + self._window_ns > now_ns:
            return False
        os.pwrite(descriptor, struct.pack("<q", now_ns), _HEAD.size + 8 * taken.index(oldest_ns))
        return True

    def _take_own_if_stuck(self, now_ns: int) -> bool:
        """Somebody holds the lock: that is a matter of microseconds, unless it was stopped in the middle."""
        if self._busy_since_ns is None:
            self._busy_since_ns = now_ns
        if now_ns - self._busy_since_ns < _PATIENCE_NS:
            return False
        self._tell("another process holds its lock and doesn't let go")
        return self._own.take(now_ns)

    def _look(self) -> array[int] | None:
        """Read without the lock: good enough to know how long to wait."""
        try:
            descriptor = self._open(create=False)
        except FileNotFoundError:
            return self._nothing
        except (OSError, _Unusable):
            return None
        try:
            taken, boot = self._parse(os.pread(descriptor, self._size + 1, 0))
        except _Unusable:
            return self._nothing  # whoever takes sets it aside
        finally:
            os.close(descriptor)
        return taken if boot == self._boot else self._nothing

    @property
    def _size(self) -> int:
        return _HEAD.size + 8 * self._limit

    def _open(self, *, create: bool) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_CREAT if create else 0)
        descriptor = os.open(self.path, flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _Unusable("it is no ordinary file")
        return descriptor

    def _locked(self) -> int | None:
        """Open the file and lock it; None while another process has it."""
        for _ in range(8):
            if not self.path.exists():
                self._directory.mkdir(parents=True, exist_ok=True)
                self._tidy()
            descriptor = self._open(create=True)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It may have been set aside or tidied away between opening and locking.
                if os.path.samestat(os.fstat(descriptor), self.path.stat(follow_symlinks=False)):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        return None

    def _read(self, descriptor: int, now_ns: int) -> array[int]:
        """The takings in a locked file, which is put right where it has to be."""
        content = os.pread(descriptor, self._size + 1, 0)
        if not content:
            return self._write(descriptor, [])
        try:
            taken, boot = self._parse(content)
        except _Unusable as error:
            log.warning(
                "%s: found a damaged file (%s): it is set aside as .damaged, and nine tenths of the %d per %g s count "
                "as used",
                self.path, error, self._limit, self._window_ns / 1e9,
            )  # fmt: skip
            # A copy goes aside; the file that others may be waiting for stays in its place.
            _write_anew(self.path.with_suffix(".damaged"), content)
            return self._write(descriptor, [now_ns] * (self._limit * 9 // 10))
        if boot != self._boot:
            age_ns = max(0, time.time_ns() - os.fstat(descriptor).st_mtime_ns)
            return self._write(descriptor, [max(1, now_ns - age_ns)] * sum(map(bool, taken)))
        return taken

    def _parse(self, content: bytes) -> tuple[array[int], bytes]:
        """The takings, and the boot they are of."""
        if len(content) != self._size:
            raise _Unusable(f"{len(content)} bytes, {self._size} were expected")
        magic, boot, limit, window_ns = _HEAD.unpack_from(content)
        if (magic, limit, window_ns) != (_MAGIC, self._limit, self._window_ns):
            raise _Unusable("it counts something else")
        taken = _times(content)
        if min(taken) < 0 or (boot == self._boot and max(taken) > self._clock()):
            raise _Unusable("it holds times that can't be")
        return taken, boot

    def _write(self, descriptor: int, taken: list[int]) -> array[int]:
        whole = array("q", [*taken, *[0] * (self._limit - len(taken))])
        head = _HEAD.pack(_MAGIC, self._boot, self._limit, self._window_ns)
        os.pwrite(descriptor, head + struct.pack(f"<{self._limit}q", *whole), 0)
        os.ftruncate(descriptor, self._size)
        return whole

    def _tidy(self) -> None:
        """Before another file is made: remove those that count nothing any more, so that they stay few."""
        for path in sorted(self._directory.glob("*.budget"))[:_MOST_FILES]:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if self._is_over(descriptor):
                        path.unlink()
                finally:
                    os.close(descriptor)

    def _is_over(self, descriptor: int) -> bool:
        content = os.pread(descriptor, 1 << 16, 0)
        if len(content) < _HEAD.size + 8 or (len(content) - _HEAD.size) % 8 or content[:8] != _MAGIC:
            return False
        _, boot, _, window_ns = _HEAD.unpack_from(content)
        if boot == self._boot:
            return max(_times(content)) + int(window_ns) < self._clock()
        return os.fstat(descriptor).st_mtime_ns + int(window_ns) < time.time_ns()

    def _tell(self, why: str) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "%s: cannot be used (%s): the limit of %d per %g s is kept by this process alone; give another "
                "--state-dir where several collectors run",
                self.path, why, self._limit, self._window_ns / 1e9,
            )  # fmt: skip


def _times(content: bytes) -> array[int]:
    count = (len(content) - _HEAD.size) // 8
    return array("q", struct.unpack_from(f"<{count}q", content, _HEAD.size))


def _write_anew(path: Path, content: bytes) -> None:
    """Write a file under a name that may be anything now, a link to somewhere else for one."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, content)
        finally:
            os.close(descriptor)
