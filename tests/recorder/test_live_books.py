"""Live books by their files: published, found, opened, replaced, taken away; and every way in which they can't be."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.feeds import Engine
from engine.shared import BookChange
from recorder import live_books, live_files, live_publisher, shared_memory
from recorder.journal import CollectorLock
from recorder.live_books import LiveFeed, live_feeds, open_book, open_control, open_tape
from recorder.live_publisher import LivePublisher, parse_live_depth
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.names import Category, FeedState
from tests.engine.core.test_shared import frame

BOOK = "orderbook.50.BTCUSDT"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of the test's own, and no other."""
    place = tmp_path / "shm"
    place.mkdir()
    monkeypatch.setattr(live_files, "SHARED_MEMORY", place)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return place


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory."""
    (tmp_path / "data" / "journal").mkdir(parents=True)
    return tmp_path / "data"


class Begin:
    """Begins publishing engines of topics; ends them in any case."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.running: list[LivePublisher] = []

    def __call__(
        self, *topics: str, category: Category = Category.LINEAR, **config: object
    ) -> tuple[Engine, LivePublisher]:
        engine = Engine(category)
        for topic in topics:
            engine.add_feed(topic)
        settings = RecordConfig(**{"data": str(self._data), "category": category, **config})  # type: ignore[arg-type]
        publisher = LivePublisher(settings, engine, "gateway")
        publisher.begin()
        self.running.append(publisher)
        return engine, publisher

    def lose(self, publisher: LivePublisher) -> None:
        """Leave a publisher as a kill leaves it: with its files, and without a last word."""
        publisher._publisher = publisher._directory = None
        assert publisher._lock is not None
        os.close(publisher._lock)
        publisher._lock = None


@pytest.fixture
def begin(data: Path) -> Iterator[Begin]:
    """Of the data directory, if no other is named."""
    begin = Begin(data)
    yield begin
    for publisher in begin.running:
        publisher.close()


def snapshot(engine: Engine, topic: str = BOOK, price: str = "100.5") -> None:
    engine.apply(frame(topic, "snapshot", [[price, "1.5"]], [["101", "3"]], 7), 1000, 1)


async def _beats(publisher: LivePublisher, until: Callable[[], bool]) -> None:
    task = asyncio.create_task(publisher.beat())
    for _ in range(2000):
        if until():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert until()


# ---- published and read ----


def test_published_found_read_and_taken_away(begin: Begin, data: Path, memory: Path) -> None:
    engine, publisher = begin(BOOK, "orderbook.1.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.rpi.BTCUSDT")
    assert live_feeds(data) == [
        LiveFeed("linear", Category.LINEAR, "BTCUSDT", BOOK),
        LiveFeed("linear", Category.LINEAR, "BTCUSDT", "orderbook.1.BTCUSDT"),
    ]
    book, tape = open_book(data, "BTCUSDT"), open_tape(data)
    assert book.topic == BOOK
    assert open_book(data, "BTCUSDT", topic="orderbook.1").topic == "orderbook.1.BTCUSDT"
    assert open_book(data, "BTCUSDT", topic="orderbook.1.BTCUSDT", collector="linear").depth == 1
    assert book.state() is FeedState.EMPTY
    snapshot(engine)
    assert book.best() == (1005, 15, 1010, 30)
    assert abs(book.read().published_ns - live_books.time.monotonic_ns()) < 60 * 10**9
    assert [type(entry).__name__ for entry in tape.read()] == ["StateChange", "BookChange"]
    assert open_control(data, "linear").pid == os.getpid()
    status = publisher.status()
    assert status is not None
    assert (status["books"], status["told"], status["trouble"]) == (2, 2, "")
    assert status["bytes"] == 2112 + 544 + 768 + (8 << 20)
    publisher.close()
    publisher.close()
    assert (book.trouble(), book.best(), tape.trouble()) == ("writer gone", None, "writer gone")
    assert list(memory.rglob("*")) == []
    assert list((data / "live").iterdir()) == []


def test_only_this_user_may_read(begin: Begin, data: Path, memory: Path) -> None:
    begin(BOOK)
    places = list(memory.rglob("*"))
    assert len(places) == 7
    for place in places:
        assert stat.S_IMODE(place.stat().st_mode) == (0o700 if place.is_dir() else 0o600)


@pytest.mark.parametrize(
    ("asked", "levels"), [("", (50, 1000)), ("20", (20, 20)), ("5000", (50, 5000)), ("all", (50, 32767))]
)
def test_the_depth_of_books(begin: Begin, data: Path, asked: str, levels: tuple[int, int]) -> None:
    begin(BOOK, "orderbook.full.BTCUSDT", live_depth=asked)
    assert open_book(data, "BTCUSDT", topic="orderbook.50").capacity == levels[0]
    deepest = open_book(data, "BTCUSDT")
    assert (deepest.topic, deepest.capacity) == ("orderbook.full.BTCUSDT", levels[1])


@pytest.mark.parametrize("wrong", ["0", "-1", "32768", "some", "5.0", "٣"])
def test_wrong_depths(wrong: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 32767 levels a side, or 'all'"):
        parse_live_depth(wrong)


async def test_new_listings_are_published(begin: Begin, data: Path) -> None:
    engine, publisher = begin(BOOK)
    tape = open_tape(data)
    for number in range(300):  # more than was reserved for
        engine.add_feed(f"orderbook.50.NEW{number}USDT")
    await _beats(publisher, lambda: len(live_feeds(data)) == 301)
    snapshot(engine, "orderbook.50.NEW299USDT")
    assert open_book(data, "NEW299USDT").best() == (1005, 15, 1010, 30)
    assert [entry.topic for entry in tape.read() if isinstance(entry, BookChange)] == [
        "orderbook.50.NEW299USDT"
    ]


async def test_the_heart_beats_and_pauses_are_told(begin: Begin, data: Path) -> None:
    _, publisher = begin(BOOK)
    control = open_control(data, "linear")
    first = control.heartbeat_ns
    await _beats(publisher, lambda: control.heartbeat_ns > first)
    publisher.pause(True)
    assert open_book(data, "BTCUSDT").trouble() == "reading paused"
    publisher.pause(False)
    assert open_book(data, "BTCUSDT").trouble() == ""


def test_two_collectors_share_a_data_directory(begin: Begin, data: Path, memory: Path) -> None:
    first, one = begin(BOOK)
    second, _ = begin(BOOK, "orderbook.200.BTCUSDT", name="deep")
    spot, _ = begin(BOOK, category=Category.SPOT)
    snapshot(first, price="1")
    snapshot(second, "orderbook.200.BTCUSDT", price="2")
    snapshot(second, price="3")
    snapshot(spot, price="4")
    assert open_book(data, "BTCUSDT").best() == (2, 15, 101, 30)
    assert open_book(data, "BTCUSDT", collector="linear").best() == (1, 15, 101, 30)
    assert open_book(data, "BTCUSDT", category="spot").best() == (4, 15, 101, 30)
    with pytest.raises(ConfigError, match="deep, linear, spot publish live books; choose one"):
        open_tape(data)
    assert open_tape(data, "deep").collector == "deep"
    assert [(feed.collector, feed.category.value) for feed in live_feeds(data)] == [
        ("deep", "linear"), ("deep", "linear"), ("linear", "linear"), ("spot", "spot"),
    ]  # fmt: skip
    one.close()
    assert {feed.collector for feed in live_feeds(data)} == {"deep", "spot"}
    assert len(list(memory.rglob("control"))) == 2


def test_of_equal_books_the_living_ones_come_first(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("orderbook.200.BTCUSDT", name="a")
    begin(BOOK, name="b")
    assert open_book(data, "BTCUSDT").collector == "a"
    control = shared_memory.map_file(data / "live" / "a" / "control", writable=True)
    struct.pack_into("<q", control, 256, 1)
    assert open_book(data, "BTCUSDT").collector == "b"
    assert open_book(data, "BTCUSDT", collector="a").trouble() == "writer dead"


# ---- deaths ----


def test_a_new_start_replaces_what_a_dead_one_left(begin: Begin, data: Path, memory: Path) -> None:
    engine, dead = begin(BOOK)
    snapshot(engine)
    book = open_book(data, "BTCUSDT")
    begin.lose(dead)
    second, _ = begin(BOOK)
    assert (book.trouble(), book.state()) == ("writer replaced", FeedState.STALE)
    assert len(list(memory.rglob("*.book"))) == 1
    again = open_book(data, "BTCUSDT")
    assert again.state() is FeedState.EMPTY
    snapshot(second, price="7")
    assert again.best() == (7, 15, 101, 30)


def test_a_living_recorder_of_other_data_of_the_same_path_is_left_alone(
    begin: Begin, data: Path, memory: Path
) -> None:
    """Two containers that share memory, each with its own /data: what lives is not ours to take away."""
    engine, other = begin(BOOK)
    snapshot(engine)
    book = open_book(data, "BTCUSDT")
    begin(BOOK)
    assert (book.trouble(), book.state()) == ("", FeedState.LIVE)
    other.tick()
    assert len(list(memory.rglob("*.book"))) == 2
    assert open_book(data, "BTCUSDT").state() is FeedState.EMPTY


def test_what_recorders_of_other_data_left_behind_is_swept_up(
    begin: Begin, data: Path, memory: Path, tmp_path: Path
) -> None:
    """Only of those that were killed: what is held, or so young that it may not be held yet, stays."""
    held, dead, young = (tmp_path / name for name in ("held", "dead", "young"))
    for other in (held, dead, young):
        (other / "journal").mkdir(parents=True)
        begin(BOOK, data=str(other))
    directories = {other: (other / "live" / "linear").resolve() for other in (held, dead, young)}
    for publisher in begin.running[1:]:
        begin.lose(publisher)
    for other in (held, dead):
        os.utime(directories[other], (0, 0))
    book = open_book(dead, "BTCUSDT")
    begin(BOOK)
    assert book.trouble() in ("", "writer dead")  # nobody took its place
    assert directories[held].exists()
    assert not directories[dead].exists()
    assert directories[young].exists()
    with pytest.raises(ConfigError, match="no recorder publishes"):
        open_book(dead, "BTCUSDT")
    assert open_book(held, "BTCUSDT").trouble() == ""


def test_directories_that_others_take_away_meanwhile_are_made_again(
    begin: Begin, data: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that ends takes what is empty with it, also what another one has made just now."""
    make, taken = Path.mkdir, []

    def interrupted(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if path.name == "linear" and path.parents[2] == memory and len(taken) < 5:
            path.parent.rmdir()
            taken.append(path)
        make(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", interrupted)
    begin(BOOK)
    assert len(taken) == 5
    assert len(list(memory.rglob("*.book"))) == 1
    # and homes that are empty are swept up by whoever starts next
    make(memory / f"tapebook-{os.getuid()}" / "0123456789abcdef" / "spot", parents=True)
    begin(BOOK, name="other")
    assert {path.name for path in (memory / f"tapebook-{os.getuid()}").rglob("*") if path.is_dir()} >= {
        "linear",
        "other",
    }
    assert not (memory / f"tapebook-{os.getuid()}" / "0123456789abcdef").exists()


def test_the_end_of_an_earlier_start_leaves_a_later_one_alone(begin: Begin, data: Path) -> None:
    _, first = begin(BOOK)
    begin(BOOK)
    first.close()
    assert open_book(data, "BTCUSDT").trouble() == ""


def test_memory_that_is_gone_with_the_machine(begin: Begin, data: Path, memory: Path) -> None:
    _, publisher = begin(BOOK)
    shutil.rmtree(memory)
    memory.mkdir()
    with pytest.raises(
        ConfigError, match="no recorder publishes live books there; start one with `tapebook record --data"
    ):
        open_book(data, "BTCUSDT")
    publisher.close()
    begin(BOOK)
    assert open_book(data, "BTCUSDT").trouble() == ""


def test_files_that_somebody_takes_away_are_made_anew(
    begin: Begin, data: Path, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As systemd does when a user's last session ends."""
    engine, publisher = begin(BOOK)
    snapshot(engine)
    book = open_book(data, "BTCUSDT")
    publisher.pause(True)
    shutil.rmtree(memory / f"tapebook-{os.getuid()}")
    for _ in range(live_publisher.LOOK_EVERY):
        publisher.tick()
    assert caplog.text.count("was taken away by somebody") == 1
    assert book.trouble() == "writer gone"
    again = open_book(data, "BTCUSDT")
    assert again.trouble() == "reading paused"
    publisher.pause(False)
    assert again.best() == (1005, 15, 1010, 30)  # as it stands
    status = publisher.status()
    assert status is not None
    assert (status["books"], status["trouble"]) == (1, "")


def test_a_recorder_that_is_started_anew_between_two_looks(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control file is of one start, the book of the next."""
    begin(BOOK)
    found = live_books._find
    starts = []

    def restarted(*arguments: object) -> object:
        out = found(*arguments)  # type: ignore[arg-type]
        if len(starts) < 2:
            starts.append(begin(BOOK))
        return out

    monkeypatch.setattr(live_books, "_find", restarted)
    assert open_book(data, "BTCUSDT").trouble() == ""
    assert len(starts) == 2


def test_one_that_is_started_anew_again_and_again(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(BOOK)
    found = live_books._find
    monkeypatch.setattr(live_books, "_find", lambda *arguments: (found(*arguments), begin(BOOK))[0])
    with pytest.raises(ConfigError, match="another start of the collector"):
        open_book(data, "BTCUSDT")


# ---- nothing to read ----


def test_who_asks_for_what_is_not_there_is_told_what_is(begin: Begin, data: Path, tmp_path: Path) -> None:
    begin(BOOK, "orderbook.50.ETHUSDT", "orderbook.rpi.XRPUSDT")
    with pytest.raises(ConfigError, match="no order book of linear BTCUSD is recorded; there is BTCUSDT"):
        open_book(data, "BTCUSD")
    with pytest.raises(ConfigError, match="no order book of spot BTCUSDT is recorded; it is in linear"):
        open_book(data, "BTCUSDT", category=Category.SPOT)
    with pytest.raises(
        ConfigError, match=r"orderbook.1.BTCUSDT of linear is not recorded; recorded: orderbook.50.BTCUSDT"
    ):
        open_book(data, "BTCUSDT", topic="orderbook.1")
    with pytest.raises(
        ConfigError, match=r"orderbook.rpi.XRPUSDT: is recorded, but its live book is not published"
    ):
        open_book(data, "XRPUSDT")
    with pytest.raises(
        ConfigError, match=r"no collector 'liner' publishes live books there; .*there is linear"
    ):
        open_book(data, "BTCUSDT", collector="liner")
    with pytest.raises(ConfigError, match="no such data directory"):
        open_book(tmp_path / "nowhere", "BTCUSDT")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"category": "lin"}, "found category 'lin', expected one of spot, linear"),
        ({"category": 5}, "found category 5, expected one of"),
        ({"topic": 5}, "found topic 5, expected a text such as 'orderbook.50'"),
        ({"symbol": 5}, "found symbol 5, expected a text such as 'BTCUSDT'"),
        ({"symbol": None}, "found symbol None, expected a text"),
        ({"collector": 5}, "found collector 5, expected a text such as 'linear'"),
    ],
)
def test_what_is_no_argument_is_said_in_words(
    begin: Begin, data: Path, arguments: dict[str, Any], words: str
) -> None:
    begin(BOOK)
    with pytest.raises(ConfigError, match=words):
        open_book(data, **{"symbol": "BTCUSDT", **arguments})


def test_nobody_publishes(data: Path, begin: Begin) -> None:
    for ask in (live_feeds, open_tape):
        with pytest.raises(ConfigError, match="no recorder publishes live books there; start one"):
            ask(data)
    _, publisher = begin(BOOK, live=False)
    assert publisher.status() is None
    with (
        CollectorLock(data, "linear"),
        pytest.raises(ConfigError, match=r"'linear' records there, but .*--no-live"),
    ):
        open_book(data, "BTCUSDT")


def test_no_tape(data: Path, begin: Begin) -> None:
    begin(BOOK, tape_mib=0)
    with pytest.raises(ConfigError, match="linear keeps no tape"):
        open_tape(data)
    assert open_book(data, "BTCUSDT").trouble() == ""


@pytest.mark.parametrize(("mib", "ring"), [(1e-9, 1 << 16), (0.001, 1 << 16), (1, 1 << 20), (3.9, 1 << 21)])
def test_the_tape_takes_no_more_than_asked_for(data: Path, begin: Begin, mib: float, ring: int) -> None:
    begin(BOOK, tape_mib=mib)
    assert (data / "live" / "linear" / "tape").stat().st_size == 768 + ring


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_another_users_books(data: Path, begin: Begin) -> None:
    begin(BOOK)
    (data / "live" / "linear" / "control").chmod(0)
    with pytest.raises(ConfigError, match="live books are private to the user who records"):
        open_book(data, "BTCUSDT")


def test_permission_denied_has_its_words(data: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(BOOK)

    def denied(path: Path) -> memoryview:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(live_books, "map_file", denied)
    with pytest.raises(ConfigError, match="control: may not be read by this user: live books are private"):
        open_book(data, "BTCUSDT")


def test_files_that_are_not_what_they_should_be_are_named(data: Path, begin: Begin) -> None:
    begin(BOOK)
    begin("orderbook.50.ETHUSDT", name="well")
    book, control, tape = (data / "live" / "linear" / name for name in ("0.book", "control", "tape"))
    memory = shared_memory.map_file(book, writable=True)
    struct.pack_into("<I", memory, 8, 9)
    with pytest.raises(ConfigError, match=r"0\.book: found version 9 of a book's file, expected 1"):
        open_book(data, "BTCUSDT")
    ring = shared_memory.map_file(tape, writable=True)
    struct.pack_into("<I", ring, 8, 9)
    with pytest.raises(ConfigError, match="tape: found version 9"):
        open_tape(data, "linear")
    # others under the names: what a writer has mapped is never cut
    whole = control.read_bytes()
    control.unlink()
    control.write_bytes(whole[:4000])
    with pytest.raises(
        ConfigError, match="control: found 4000 bytes of a collector's control file, expected"
    ):
        open_book(data, "BTCUSDT", collector="linear")
    assert {feed.collector for feed in live_feeds(data)} == {"well"}  # one's damage is not the others'
    with pytest.raises(ConfigError, match="no order book of linear BTCUSDT is recorded; there is ETHUSDT"):
        open_book(data, "BTCUSDT")
    shutil.rmtree((data / "live" / "well").resolve())
    control.write_bytes(whole[:136] + b"futures" + whole[143:])
    with pytest.raises(ConfigError, match="found category 'futures': it is damaged"):
        live_feeds(data)
    control.unlink()
    control.touch()
    with pytest.raises(ConfigError, match="control: found no regular file with something in it"):
        live_feeds(data)


# ---- no memory, no place: the recording goes on ----


def _full(descriptor: int, start: int, size: int) -> None:
    raise OSError(28, "No space left on device")


def test_no_memory_at_all(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", _full, raising=False)
    engine, publisher = begin(BOOK)
    assert "none can be published: No space left on device" in caplog.text
    status = publisher.status()
    assert status is not None
    assert (status["directory"], status["books"]) == (None, 0)
    assert "No space left" in status["trouble"]
    snapshot(engine)  # is applied as ever
    assert engine.state(0) is FeedState.LIVE
    with pytest.raises(ConfigError, match="no recorder publishes"):
        open_book(data, "BTCUSDT")


async def test_memory_that_ends_while_it_runs(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, publisher = begin(BOOK)
    monkeypatch.setattr(os, "posix_fallocate", _full, raising=False)
    engine.add_feed("orderbook.50.ETHUSDT")
    engine.add_feed("orderbook.50.XRPUSDT")
    control = open_control(data, "linear")
    await _beats(publisher, lambda: control.topic_count == 3)
    assert caplog.text.count("no memory for the book of orderbook.50.ETHUSDT") == 1
    assert "XRPUSDT" not in caplog.text
    status = publisher.status()
    assert status is not None
    assert status["without_memory"] == 2
    with pytest.raises(ConfigError, match="not where shared memory was short"):
        open_book(data, "ETHUSDT")
    assert open_book(data, "BTCUSDT").trouble() == ""
    # nor for a row of the table of topics: those that come then are not told of, and it is tried once
    for number in range(300):
        engine.add_feed(f"orderbook.50.NEW{number}USDT")
    await _beats(publisher, lambda: control.topic_count == 256)
    publisher.tick()
    status = publisher.status()
    assert status is not None
    assert status["without_memory"] == 302
    assert len(caplog.records) == 1


def test_no_memory_for_the_tape(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fallocate = os.posix_fallocate
    monkeypatch.setattr(
        os,
        "posix_fallocate",
        lambda d, start, size: fallocate(d, start, size) if size < 1 << 20 else _full(d, start, size),
    )
    engine, _ = begin(BOOK)
    snapshot(engine)
    assert "no memory for the tape of 8 MiB" in caplog.text
    with pytest.raises(ConfigError, match="linear keeps no tape"):
        open_tape(data)
    assert open_book(data, "BTCUSDT").best() is not None


async def test_what_fails_later_costs_the_live_books_alone(
    begin: Begin, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine, publisher = begin(BOOK)
    book = open_book(data, "BTCUSDT")

    def fails(*_: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(publisher, "_add_feeds", fails)
    await publisher.beat()
    assert "no more" in caplog.text
    assert book.trouble() == "writer gone"
    snapshot(engine)


def test_no_shared_memory_the_runtime_directory_serves(
    begin: Begin, data: Path, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.rmdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    begin(BOOK)
    assert len(list(runtime.rglob("*.book"))) == 1
    assert open_book(data, "BTCUSDT").trouble() == ""


def test_nor_that_then_the_data_directory_with_a_warning(
    begin: Begin, data: Path, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    memory.rmdir()
    _, publisher = begin(BOOK)
    assert f"no such directory; they lie in {data / 'live' / '.memory'}" in caplog.text
    assert len(list((data / "live" / ".memory").rglob("*.book"))) == 1
    assert len(live_feeds(data)) == 1
    publisher.close()
    assert list((data / "live").iterdir()) == []


def test_a_data_directory_by_a_relative_path(
    begin: Begin, data: Path, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.rmdir()
    monkeypatch.chdir(tmp_path)
    _, publisher = begin(BOOK, data="data")
    assert open_book("data", "BTCUSDT").trouble() == ""
    monkeypatch.chdir("/")
    assert open_book(data, "BTCUSDT").trouble() == ""
    monkeypatch.chdir(tmp_path)
    publisher.close()
    assert list((data / "live").iterdir()) == []


@pytest.mark.parametrize("what", ["open", "file"])
def test_a_place_that_is_not_ours_alone_is_not_used(
    begin: Begin, data: Path, memory: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    place = memory / f"tapebook-{os.getuid()}"
    if what == "open":
        place.mkdir()
        place.chmod(0o777)
    else:
        place.touch()
    caplog.set_level(logging.WARNING)
    begin(BOOK)
    assert str(place) in caplog.text
    assert list(place.iterdir() if what == "open" else []) == []
    assert len(live_feeds(data)) == 1


def test_a_data_directory_without_links(
    begin: Begin, data: Path, memory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (data / "live").touch()
    engine, _ = begin(BOOK)
    assert "none can be published" in caplog.text
    assert list(memory.rglob("*")) == []
    snapshot(engine)


def test_the_rest_of_a_directory_is_nobodys_to_remove(begin: Begin, data: Path, memory: Path) -> None:
    _, publisher = begin(BOOK)
    (directory,) = {path.parent for path in memory.rglob("control")}
    (directory / "notes.txt").write_text("mine")
    publisher.close()
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]
    begin(BOOK)
    assert (directory / "notes.txt").exists()
    assert open_control(data, "linear").timeout_ns == live_publisher.TIMEOUT_NS
