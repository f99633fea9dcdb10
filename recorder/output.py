"""Where a command's rows go: standard output, whose reader may leave early, or a file that appears whole."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ConfigError, StoreError

__all__ = ["make_directory", "new_file", "refuse_recording", "remove_stale", "standard_output"]


@contextmanager
def standard_output() -> Iterator[BinaryIO]:
    """Give standard output in binary; a reader that left (``| head``) ends the block quietly.

    Raises:
        StoreError: it cannot be written (a full disk behind a redirection).
    """
    out = sys.stdout.buffer
    try:
        yield out
        out.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit, which must not fail either.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, out.fileno())
        os.close(devnull)
    except OSError as error:
        raise StoreError(f"standard output cannot be written: {error}") from error


@contextmanager
def new_file(path: Path, *, data: Path) -> Iterator[BinaryIO]:
    """Give a file that takes its name once the block ends well, and leaves no trace otherwise.

    Args:
        path: the file; replaced if it exists.
        data: the data directory, whose journal and archive are refused as places to write to.

    Raises:
        ConfigError: the file would lie among the recording.
        StoreError: it cannot be written.
    """
    target = path.resolve()
    refuse_recording(path, data, "file")
    temporary = target.with_name(f"{target.name}.tmp")
    try:
        with open(temporary, "wb") as out:
            yield out
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise StoreError(f"{path}: cannot be written: {error}") from error
        raise


def make_directory(path: Path, *, data: Path) -> None:
    """Make a directory for files that are written, unless it is there.

    Args:
        path: the directory.
        data: the data directory, whose journal and archive are refused as places to write to.

    Raises:
        ConfigError: it would lie among the recording, or there is something else of its name.
        StoreError: it cannot be made.
    """
    refuse_recording(path, data, "directory")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        found = next(each for each in (path, *path.parents) if each.exists())
        raise ConfigError(f"{found}: expected a directory, found a file; name another with -o") from error
    except OSError as error:
        raise StoreError(
            f"{path}: the directory cannot be made: {error.strerror or error}; name another with -o"
        ) from error


def remove_stale(path: Path) -> bool:
    """Take away what an earlier export left under a name that this one has no rows for; tells whether there was any.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"{path}: of an earlier export, and cannot be removed: {error.strerror or error}; take it away, it has "
            "nothing to do with what is beside it now"
        ) from error
    return True


def refuse_recording(path: Path, data: Path, what: str) -> None:
    """Refuse a place for a ``what`` that lies among the recording of a data directory. Raises ConfigError then."""
    target = path.resolve()
    for part in ("journal", "archive"):
        if target.is_relative_to((data / part).resolve()):
            raise ConfigError(
                f"{path} lies in {data / part}, which holds the recording; choose another {what}"
            )
