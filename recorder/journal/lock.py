"""One process per collector: an advisory lock on ``DATA/journal/<collector>/lock``."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from recorder.journal.disk import disk_errors
from recorder.journal.files import journal_directory
from schemas.errors import ConfigError, StoreError

__all__ = ["CollectorLock", "is_locked", "only_one", "take_lock", "try_lock"]


def try_lock(descriptor: int) -> bool:
    """Take the exclusive ``flock`` of an open file unless another holds it. Raises ``OSError`` otherwise."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_lock(descriptor: int) -> bool:
    """Take the lock as `try_lock`, a few times: who only looks (`is_locked`) has it for a moment."""
    for _ in range(GLANCES):
        if try_lock(descriptor):
            return True
        time.sleep(GLANCE_S)
    return try_lock(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file; False where it can't be seen."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # shared, so that two who look at once don't take each other for the holder
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def only_one(path: Path, taken: str) -> Iterator[None]:
    """Hold a lock file, which is made, its directory too.

    Args:
        path: the file.
        taken: what to say where another process holds it.

    Raises:
        ConfigError: another process holds it.
        StoreError: it can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be opened: {error.strerror}; is the data directory writable?"
        ) from error
    try:
        if not take_lock(descriptor):
            raise ConfigError(taken)
        yield
    finally:
        os.close(descriptor)


GLANCES: Final = 5
"""`tapebook status` takes a lock for a moment to see whether anybody has it."""
GLANCE_S: Final = 0.02


class CollectorLock:
    """Holds a collector's name in a data directory; a context manager.

    The system drops the lock when the process ends, however it ends. The file stays and names the last
    holder.

    Args:
        data: the data directory; the collector's part of it is created.
        collector: its name.

    Raises:
        ConfigError: the name is not allowed, or another process records under it (named by its pid).
        StoreError: the directory cannot be made or locked.
    """

    def __init__(self, data: Path, collector: str) -> None:
        self._directory = journal_directory(data, collector)
        self._data = data
        self._collector = collector
        self._path = self._directory / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        with disk_errors(self._path, "locking the collector's directory"):
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                held = take_lock(descriptor)
                if held:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                else:
                    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            except BaseException:
                os.close(descriptor)
                raise
        if not held:
            os.close(descriptor)
            raise ConfigError(
                f"collector {self._collector!r} is already recording into {self._data} "
                f"(process {holder or 'unknown'}); stop that process, or choose another name with --name"
            )
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
