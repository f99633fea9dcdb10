"""The books that collectors share (``recorder.live_books``), as the page takes them: all of a data directory.

``live_books.open_book`` looks for one symbol among all; a page has all of them, and finds each collector's table once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from engine.core.shared import SharedBook, SharedControl
from recorder import live_books
from recorder.live_files import book_name, live_link
from recorder.serving.sources import Books, Key, LiveBook, Shared
from recorder.shared_memory import map_file
from schemas.errors import ConfigError

__all__ = ["list_shared", "shared_books"]


def shared_books(data: Path) -> Books:
    """Return the books of a data directory; none are opened yet."""
    return Books(partial(list_shared, data))


def list_shared(data: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> Mapping[Key, Shared]:
    """Return what opens each shared book, by collector and topic.

    Raises:
        ConfigError: there are none, and why.
    """
    found: dict[Key, Shared] = {}
    for collector in sorted({feed.collector for feed in live_books.live_feeds(data)}):
        try:
            control = live_books.open_control(data, collector)
        except ConfigError:
            continue  # it ended just now; the others' books are there
        for topic in control.topics():
            if topic.capacity:
                path = live_link(data, collector) / book_name(topic.feed)
                found[collector, topic.topic] = Shared(control.token, partial(_open, path, control, clock))
    return found


def _open(path: Path, control: SharedControl, clock: Callable[[], int]) -> LiveBook:
    try:
        return SharedBook(map_file(path), control, clock)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
