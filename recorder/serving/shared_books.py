"""The books that collectors share (``recorder.live_books``), as the page takes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recorder.serving.sources import Books, Key, LiveBook

__all__ = ["shared_books"]


def shared_books(data: Path) -> Books:
    """Return the books of a data directory; none are opened yet."""

    def every() -> Iterable[Key]:
        return ()

    def opened(key: Key) -> LiveBook:
        raise NotImplementedError

    return Books(every, opened)
