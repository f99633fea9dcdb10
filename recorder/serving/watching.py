"""All that the page shows, put together: one hub with its channels, fed with what was read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from recorder.serving.book_view import Book, BookView
from recorder.serving.events import Events
from recorder.serving.feed_table import BookSource, FeedTable, Told, Trust
from recorder.serving.hub import Hub, Listener
from recorder.serving.lateness_view import LatenessView
from recorder.serving.summary import Summary

__all__ = ["MOST_BOOKS", "Refused", "Watching", "take_word"]

MOST_BOOKS: Final = 32
"""Books that are looked at at once, whoever asks for how many."""
KEPT_MS: Final = 60_000
"""A book whose page was closed is looked at for so long, so that its picture is there when somebody comes back."""
ALWAYS: Final = ("summary", "feeds", "lateness", "events")
_BOOK: Final = "book/"


class Refused(Exception):
    """What a browser said makes no sense."""


class _Word(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser says: how many messages it has shown, and what it listens to."""

    seen: int | None = None
    listen: list[str] | None = None


_WORDS: Final = msgspec.json.Decoder(_Word)


class Watching:
    """What is shown, and who listens.

    Args:
        data: name of the data directory.
        version_text: of tapebook.
        now_ms: wall clock.
        login: whether one has to log in.
    """

    def __init__(self, data: str, version_text: str, now_ms: int, *, login: bool = False) -> None:
        self.hub = Hub()
        self.feeds = FeedTable()
        self.summary = Summary(data, version_text, login=login)
        self.lateness = LatenessView()
        self.events = Events(now_ms)
        self.hub.channels.update(
            summary=self.summary, feeds=self.feeds, lateness=self.lateness, events=self.events
        )
        self._views: dict[str, BookView] = {}
        self._left_ms: dict[str, int] = {}
        self._books: Mapping[tuple[str, str], Book] = {}
        self._words = ""

    def take(
        self,
        told: list[Told],
        books: Mapping[tuple[str, str], Book],
        trusted: Mapping[tuple[str, str], Trust],
        *,
        wall_ns: int,
        monotonic_ns: int,
        words: str = "",
    ) -> None:
        """Take what collectors told last.

        Args:
            told: by every collector.
            books: shared ones, by collector and topic; words: why some are missing.
            trusted: what each feed's last day is worth.
            wall_ns, monotonic_ns: now.
        """
        self._books = books
        self._words = words
        sources: Mapping[tuple[str, str], BookSource] = books
        self.feeds.let_go(sources)
        self.events.add(self.feeds.take(told, trusted), wall_ns // 1_000_000)
        self.summary.take(told, wall_ns)
        self.lateness.take(told, monotonic_ns)
        listened = self.hub.listened()
        for name in list(self._views):
            if name in listened:
                self._left_ms.pop(name, None)
            elif wall_ns // 1_000_000 - self._left_ms.setdefault(name, wall_ns // 1_000_000) > KEPT_MS:
                self._forget(name)
        for view in self._views.values():
            book, why = self._book_of(view.collector, view.topic)
            if book is not view.book or (book is None and why != view.words):
                view.turn_to(book, why)

    def look(self, now_ms: int) -> None:
        """Look into the shared books, as far as somebody wants to see them; ``now_ms`` is wall clock."""
        wanted = self.hub.wanted()
        if "feeds" in wanted:
            sources: Mapping[tuple[str, str], BookSource] = self._books
            self.events.add(self.feeds.look(sources), now_ms)
        for name, view in self._views.items():
            if name in wanted or name in self._left_ms:
                view.look(now_ms)

    def is_watched(self) -> bool:
        """Whether there is anything to look for."""
        wanted = self.hub.wanted()
        return "feeds" in wanted or any(name in wanted for name in self._views)

    def hear(self, listener: Listener, text: str | bytes) -> None:
        """Do what a browser says.

        Raises:
            Refused: it is not what our page would say.
        """
        word = take_word(text)
        if word.seen is not None:
            listener.has_seen(word.seen)
        if word.listen is not None:
            for name in word.listen:
                if name.startswith(_BOOK):
                    self._begin(name)
                elif name not in ALWAYS:
                    raise Refused(f"no channel {name[:80]!r}")
            listener.listen(word.listen)

    def _begin(self, name: str) -> None:
        collector, _, topic = name.removeprefix(_BOOK).partition("/")
        row = self.feeds.row(collector, topic)
        if row is None:
            raise Refused(f"no feed {topic[:80]!r} of {collector[:80]!r}")
        if name in self._views:
            return
        if len(self._views) >= MOST_BOOKS:
            listened = self.hub.listened()
            spare = next((other for other in self._views if other not in listened), None)
            if spare is None:
                raise Refused(f"{MOST_BOOKS} books are being looked at already")
            self._forget(spare)
        book, why = self._book_of(collector, topic)
        view = BookView(collector, row.category, topic, book, why)
        self._views[name] = self.hub.channels[name] = view

    def _forget(self, name: str) -> None:
        del self._views[name]
        self._left_ms.pop(name, None)
        self.hub.drop(name)

    def _book_of(self, collector: str, topic: str) -> tuple[Book | None, str]:
        book = self._books.get((collector, topic))
        return book, "" if book is not None else self._words or "its collector doesn't share this book"


def take_word(text: str | bytes) -> _Word:
    """Decode what a browser says. Raises Refused."""
    try:
        return _WORDS.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused(f"not understood: {error}") from None
