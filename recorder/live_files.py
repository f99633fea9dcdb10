"""Where live books lie: a directory of shared memory per start of a collector, and a link to it in the data directory.

::

    /dev/shm/tapebook-<uid>/<id of the data directory>/<collector>/<token>/     control, tape, <feed>.book
    <data>/live/<collector>  ->  that directory

Where there is no /dev/shm the user's runtime directory serves, and else the data directory itself. All of it is
readable by the user who records, and by nobody else. A recorder holds a lock on its control file: what nobody holds
was left behind by one that was killed, and whoever starts next takes it away.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["CONTROL", "LIVE", "TAPE", "Homes", "book_name", "hold", "live_link", "remove_directory"]

LIVE: Final = "live"
CONTROL: Final = "control"
TAPE: Final = "tape"
SHARED_MEMORY: Final = Path("/dev/shm")
TRIES: Final = 20
BEGINNING_S: Final = 60
"""A start that is younger may not have its lock yet; what is looked at now and then by others is none of those."""
_TOKEN: Final = re.compile(r"[0-9a-f]{16}")
_OURS: Final = re.compile(r"control|tape|[0-9]{1,9}\.book")


def book_name(feed: int) -> str:
    """Name of a feed's book in its directory."""
    return f"{feed}.book"


def live_link(data: Path, collector: str) -> Path:
    """The link to the directory of a collector's last start."""
    return data / LIVE / collector


class Homes:
    """The places where a collector's directories may be, the best first.

    Args:
        data: the data directory.
        collector: its name.
    """

    def __init__(self, data: Path, collector: str) -> None:
        data = data.resolve()  # a link leads to where it is, from wherever it is followed
        name = hashlib.sha256(str(data).encode()).hexdigest()[:16]
        user = f"tapebook-{os.getuid()}"
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        self._roots: list[tuple[Path, Path]] = [
            (root, root / user / name / collector)
            for root in (SHARED_MEMORY, *([Path(runtime)] if runtime else []))
        ]
        self._users = [root / user for root, _ in self._roots]
        self._roots.append((data, data / LIVE / ".memory" / collector))

    def make(self, token: int) -> tuple[Path, list[str]]:
        """Make the directory of a start. Returns it, and why no better place was taken.

        Raises:
            OSError: there is no place at all.
        """
        refused: list[str] = []
        for number, (root, home) in enumerate(self._roots):
            try:
                if not root.is_dir():
                    raise NotADirectoryError(0, "no such directory", str(root))
                directory = home / f"{token:016x}"
                _make_private(directory, root)
                return directory, refused
            except OSError as error:
                if number == len(self._roots) - 1:
                    raise
                refused.append(f"{home}: {error.strerror}")
        raise AssertionError

    def earlier(self, but: Path) -> Iterator[Path]:
        """Directories of other starts of this collector, which are dead.

        One that lives records into other data of the same path: two containers may share memory and nothing else.
        """
        for _, home in self._roots:
            for path in _directories(home):
                if _TOKEN.fullmatch(path.name) and path != but and not _is_held(path):
                    yield path

    def abandoned(self, but: Path) -> Iterator[Path]:
        """Directories that collectors of whatever data, which were killed, left in shared memory."""
        for user in self._users:
            for place in _directories(user):
                for home in _directories(place):
                    starts = _directories(home)
                    for path in starts:
                        if _TOKEN.fullmatch(path.name) and path != but and _is_abandoned(path):
                            yield path
                    if not starts:
                        _remove_empty(home)


def remove_directory(directory: Path) -> None:
    """Remove a start's directory with what we put into it, and the directories above it that are empty then."""
    try:
        for path in sorted(directory.iterdir()):
            if _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        return  # something in it is not ours
    _remove_empty(directory.parent)


def _remove_empty(home: Path) -> None:
    """A collector's home and what is above it up to the user's, as far as nobody uses it."""
    with contextlib.suppress(OSError):
        for place in (home, *list(home.parents)[:2]):
            if place.name == LIVE:
                break
            place.rmdir()


def hold(directory: Path) -> int:
    """Lock a start's control file for as long as the descriptor that this returns is open."""
    descriptor = os.open(directory / CONTROL, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_abandoned(directory: Path) -> bool:
    try:
        if time.time() - directory.lstat().st_mtime < BEGINNING_S:
            return False
    except OSError:
        return False  # somebody takes it away
    return not _is_held(directory)


def _is_held(directory: Path) -> bool:
    try:
        os.close(hold(directory))
    except FileNotFoundError:
        return False  # it never came so far
    except OSError:
        return True
    return False


def _directories(place: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        if _is_private(place):
            return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink())
    return []


def _make_private(directory: Path, root: Path) -> None:
    """Make a directory below one that others may write to; each level must be ours and nobody else's.

    Another recorder that ends takes away levels that are empty, perhaps one that was made just now: it is made again.
    """
    for tries_left in reversed(range(TRIES)):
        level = root
        try:
            for part in directory.relative_to(root).parts:
                level = level / part
                level.mkdir(mode=0o700, exist_ok=True)
                if not _is_private(level):
                    raise PermissionError(0, "is not this user's own, or open to others", str(level))
            return
        except FileNotFoundError:
            if not tries_left:
                raise


def _is_private(directory: Path) -> bool:
    found = directory.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not stat.S_IMODE(found.st_mode) & 0o022
    )
