"""Where a command's rows go: standard output, whose reader may leave early, or a file that appears whole."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from schemas.errors import ConfigError, StoreError

__all__ = ["has_left", "make_directory", "new_file", "refuse_recording", "remove_stale", "standard_output"]


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
        _write_nowhere(out.fileno())
    except OSError as error:
        raise StoreError(f"standard output cannot be written: {error}") from error


def has_left(end: SystemExit) -> bool:
    """Whether a command ended because the reader of its output left (``| head``), which is no failure.

    Args:
        end: how it ended; typer makes exit code 1 of a broken pipe, whichever that is.
    """
    try:
        if not end.code:
            sys.stdout.flush()
            return False
        if not isinstance(end.__context__, BrokenPipeError):
            return False
        if _last_function(end) == "on_broken_pipe":  # rich wrote a help text, and has let the rest go nowhere
            return True
        descriptor = sys.stdout.fileno()
        asked = select.poll()
        asked.register(descriptor, 0)
        if not any(event & select.POLLERR for _, event in asked.poll(0)):
            return False  # it was another pipe
    except BrokenPipeError:
        descriptor = sys.stdout.fileno()
    except (
        OSError,
        ValueError,
    ):  # no such thing as standard output, or a full disk: told at the interpreter's end
        return False
    _write_nowhere(descriptor)
    return True


def _last_function(error: BaseException) -> str:
    """The name of the function that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else trace.tb_frame.f_code.co_name


def _write_nowhere(descriptor: int) -> None:
    """Let what comes yet go nowhere: the interpreter flushes once more at exit, which must not fail."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)


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


def remove_stale(paths: Iterable[Path], told: Callable[[str], None]) -> None:
    """Take away what an earlier export left under names that this one has no rows for.

    Args:
        paths: of those names, whether there is such a file or not.
        told: handed a sentence about each file that was removed.

    Raises:
        StoreError: one cannot be removed.
    """
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(
                f"{path}: of an earlier export, and cannot be removed: {error.strerror or error}; take it away, it has "
                "nothing to do with what is beside it now"
            ) from error
        told(f"{path}: of an earlier export, removed: there are no such rows in this one")


def refuse_recording(path: Path, data: Path, what: str) -> None:
    """Refuse a place for a ``what`` that lies among the recording of a data directory. Raises ConfigError then."""
    target = path.resolve()
    for part in ("journal", "archive"):
        if target.is_relative_to((data / part).resolve()):
            raise ConfigError(
                f"{path} lies in {data / part}, which holds the recording; choose another {what}"
            )
