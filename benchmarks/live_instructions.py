"""What publishing a book costs the writer in instructions, read by nobody and by 64 processes: it must be the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.feed import Feed, with_books
from benchmarks.instructions import build, count_frames, tool
from schemas.errors import ConfigError, DataError

__all__ = ["FRAMES", "READERS", "instructions", "paced_readers"]

READERS: Final = 64
FRAMES: Final = 2_000
WARM: Final = 400


def instructions(feed: Feed, directory: Path, reader: Path) -> dict[str, Any]:
    """Count instructions per frame: published to nobody's memory, to memory that nobody reads, and to 64 readers.

    Args:
        feed: frames of order books; the first 2,000 are counted with.
        directory: for what is built and published.
        reader: ``live_reader``, compiled.

    Returns:
        ``instructions`` with its counts; or under ``instructions_missing`` why there are none.
    """
    try:
        valgrind, compiler = tool("valgrind"), tool("cc")
    except ConfigError as error:
        return {"instructions_missing": str(error)}
    feed = feed.head(FRAMES)
    engine = with_books(feed)
    digests = 0
    for index in range(engine.feed_count):
        digests ^= engine.digest(index)
    program = build(compiler, directory)
    frames = directory / "frames"
    frames.write_bytes(b"".join(len(frame).to_bytes(4, "little") + frame for frame in feed.frames))
    published = directory / "published"
    published.mkdir(exist_ok=True)

    def counted(publish: Path | None) -> int:
        return count_frames(valgrind, program, frames, WARM, False, feed, digests, publish).totals["Ir"]

    alone, unread = counted(None), counted(published)
    # the harness maps the very file that the readers have
    with paced_readers(reader, published / "0.book", READERS):
        read = counted(published)
    units = len(feed.frames) - WARM
    return {
        "instructions": {
            "unit": "per frame",
            "published_to_nobody": round(alone / units, 1),
            "published": round(unread / units, 1),
            f"published_to_{READERS}_readers": round(read / units, 1),
            "publishing": round((unread - alone) / units, 1),
            "same_with_readers": read == unread,
        }
    }


@contextmanager
def paced_readers(reader: Path, file: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    """So many processes that look at a book's file a thousand times a second each."""
    process = subprocess.Popen(
        [str(reader), "paced", str(file), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise DataError(f"the readers ended with {process.wait()} before they read")
        time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
