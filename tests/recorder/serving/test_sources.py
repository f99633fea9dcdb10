"""Where the page's figures come from: status files that may be anything, and books that come and go."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import recorder.serving.sources as sources
from recorder.journal.lock import CollectorLock
from recorder.serving.sources import Books, Shared, Statuses
from schemas.errors import ConfigError
from tests.recorder.serving.pretend import PretendBook, pretend_feed, pretend_status


def _write(data: Path, collector: str, status: Any) -> Path:
    path = data / "journal" / collector / "status.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(status if isinstance(status, bytes) else msgspec.json.encode(status))
    temporary.replace(path)
    return path


def test_what_collectors_told(tmp_path: Path) -> None:
    statuses = Statuses(tmp_path)
    assert statuses.read() == []
    _write(tmp_path, "linear", pretend_status([pretend_feed("tickers.X")]))
    (tmp_path / "journal" / "never").mkdir()
    told = statuses.read()
    assert [(each.collector, each.held, len(each.status["feeds"])) for each in told] == [("linear", False, 1)]
    with CollectorLock(tmp_path, "linear"):
        assert statuses.read()[0].held
        _write(tmp_path, "linear", pretend_status([pretend_feed("tickers.X")], running=False))
        assert not statuses.read()[0].held, "it has said goodbye"
    _write(tmp_path, "inverse", pretend_status([]))
    assert [each.collector for each in statuses.read()] == ["inverse", "linear"]


def test_a_file_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    real = sources.live_status
    monkeypatch.setattr(sources, "live_status", lambda *names: read.append(names) or real(*names))
    statuses = Statuses(tmp_path)
    _write(tmp_path, "linear", pretend_status([]))
    for _ in range(3):
        statuses.read()
    assert len(read) == 1
    path = _write(tmp_path, "linear", pretend_status([pretend_feed("tickers.X")]))
    os.utime(path, ns=(1, 1))
    assert len(statuses.read()[0].status["feeds"]) == 1


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b"{}", b'{"running":1}', b"\xff" * 100])
def test_a_status_that_is_none(tmp_path: Path, rubbish: bytes) -> None:
    """The last one that made sense stays: by its age one sees that it is old."""
    statuses = Statuses(tmp_path)
    _write(tmp_path, "linear", rubbish)
    assert statuses.read() == []
    _write(tmp_path, "linear", pretend_status([pretend_feed("tickers.X")]))
    assert len(statuses.read()) == 1
    _write(tmp_path, "linear", rubbish)
    assert len(statuses.read()[0].status["feeds"]) == 1


class Listing:
    """What may be opened, and what was."""

    def __init__(self) -> None:
        self.token = 1
        self.topics = ["a", "b"]
        self.opened: list[str] = []
        self.broken: set[str] = set()

    def __call__(self) -> dict[tuple[str, str], Shared]:
        if not self.topics:
            raise ConfigError("no recorder publishes live books there")
        return {
            ("linear", topic): Shared(self.token, lambda topic=topic: self._open(topic))
            for topic in self.topics
        }  # type: ignore[misc]

    def _open(self, topic: str) -> PretendBook:
        if topic in self.broken:
            raise ConfigError(f"{topic}: of another version")
        self.opened.append(topic)
        return PretendBook(1)


def test_books_are_opened_once_and_again_after_a_new_start() -> None:
    listing = Listing()
    books = Books(listing)
    books.refresh()
    first = dict(books.books)
    books.refresh()
    assert books.books == first
    assert (listing.opened, books.words) == (["a", "b"], "")
    listing.token = 2
    books.refresh()
    assert listing.opened == ["a", "b", "a", "b"]
    assert books.books["linear", "a"] is not first["linear", "a"]


def test_books_come_and_go() -> None:
    listing = Listing()
    books = Books(listing)
    books.refresh()
    listing.topics = ["b", "c"]
    books.refresh()
    assert set(books.books) == {("linear", "b"), ("linear", "c")}
    assert listing.opened == ["a", "b", "c"]
    listing.topics = []
    books.refresh()
    assert (dict(books.books), books.words) == ({}, "no recorder publishes live books there")
    listing.topics = ["b"]
    books.refresh()
    assert (set(books.books), books.words) == ({("linear", "b")}, "")


def test_one_that_cant_be_opened_takes_no_other_with_it() -> None:
    listing = Listing()
    listing.broken = {"a"}
    books = Books(listing)
    books.refresh()
    assert (set(books.books), books.words) == ({("linear", "b")}, "a: of another version")
    listing.broken = set()
    books.refresh()
    assert (len(books.books), books.words) == (2, "")


def test_many_are_opened_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "OPENED_AT_ONCE", 3)
    listing = Listing()
    listing.topics = list("abcdefgh")
    books = Books(listing)
    counts = []
    for _ in range(4):
        books.refresh()
        counts.append(len(books.books))
    assert counts == [3, 6, 8, 8]
