"""Where the page's figures come from: status files, locks and shared books of a data directory. Only reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from recorder.serving.feed_table import Told
from recorder.status import is_held, live_status
from schemas.errors import TapebookError
from schemas.names import FeedState

__all__ = ["Books", "Key", "LiveBook", "Shared", "Statuses"]

MOST_COLLECTORS: Final = 256
OPENED_AT_ONCE: Final = 400
"""Books that are opened in one go, so that the page goes on meanwhile."""


class Statuses:
    """Reads what collectors told last; a file that has not changed is not read again.

    Args:
        data: the data directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._read: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}

    def read(self) -> list[Told]:
        """Return what every collector told last, by name; those that never told anything are left out."""
        found: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        told = []
        for path in sorted((self._data / "journal").glob("*/status.json"))[:MOST_COLLECTORS]:
            collector = path.parent.name
            try:
                stamp = path.stat().st_mtime_ns, path.stat().st_ino
            except OSError:
                continue
            known = self._read.get(collector)
            status = (
                known[1] if known is not None and known[0] == stamp else live_status(self._data, collector)
            )
            if status is None:
                if known is None:
                    continue
                stamp, status = known
            found[collector] = stamp, status
            told.append(Told(collector, bool(status["running"]) and is_held(self._data, collector), status))
        self._read = found
        return told


class LiveBook(Protocol):
    """What a shared book offers (``engine.SharedBook``)."""

    def begin(self) -> int:
        """Return what changes when the book does."""

    def state(self) -> FeedState:
        """Return the state, STALE when the writer is gone."""

    def trouble(self) -> str:
        """Say why."""

    def read(self, depth: int | None = None) -> Any:
        """Return a consistent copy."""


Key = tuple[str, str]
"""Collector and topic."""


class Shared(NamedTuple):
    """A book that may be opened.

    Attributes:
        token: of its writer's start; another one has other memory.
        open: returns the book; raises TapebookError when it can't.
    """

    token: int
    open: Callable[[], LiveBook]


class Books:
    """The shared books of a data directory, opened once, and again when their collector has started anew.

    Args:
        list_shared: returns every book that may be opened; raises TapebookError when there are none.

    Attributes:
        words: why books are missing, where they are.
    """

    def __init__(self, list_shared: Callable[[], Mapping[Key, Shared]]) -> None:
        self._list = list_shared
        self._books: dict[Key, LiveBook] = {}
        self._tokens: dict[Key, int] = {}
        self.words = ""

    @property
    def books(self) -> Mapping[Key, LiveBook]:
        """Those that are open."""
        return self._books

    def refresh(self) -> None:
        """Open what has come, let go of what has gone, open anew what was left by its writer."""
        self.words = ""
        listed: Mapping[Key, Shared] = {}
        try:
            listed = self._list()
        except TapebookError as error:
            self.words = str(error)
        books: dict[Key, LiveBook] = {}
        tokens: dict[Key, int] = {}
        opened = 0
        for key, shared in listed.items():
            if self._tokens.get(key) == shared.token:
                books[key], tokens[key] = self._books[key], shared.token
            elif opened < OPENED_AT_ONCE:
                opened += 1
                try:
                    books[key], tokens[key] = shared.open(), shared.token
                except TapebookError as error:
                    self.words = str(error)
        self._books, self._tokens = books, tokens  # whole, for readers in another thread
