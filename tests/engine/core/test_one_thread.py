"""An engine is one thread's: who touches it while another thread's batch is being taken is told so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from engine.core import feeds
from engine.core.book import Book
from engine.core.drive import Driver, Strategy
from engine.core.feeds import Engine
from engine.core.publisher import Publisher
from engine.drivers import Stamp, driven
from schemas.names import Category
from tests.engine.core.shared_memory import Published

TOPIC = "orderbook.50.BTCUSDT"
KLINE = "kline.5.BTCUSDT"
PATIENCE_S = 200.0


def frame(update_id: int) -> bytes:
    data = (
        f'{{"s":"BTCUSDT","b":[["100","{update_id}"]],"a":[["101","1"]],"u":{update_id},"seq":{update_id}}}'
    )
    kind = "snapshot" if update_id == 7 else "delta"
    return f'{{"topic":"{TOPIC}","type":"{kind}","ts":1,"data":{data},"cts":1}}'.encode()


def batch(first: int, count: int) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    return columns_of([frame(first + i) for i in range(count)])


def columns_of(frames: list[bytes]) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    """What a batch takes."""
    count = len(frames)
    return (
        np.frombuffer(b"".join(frames), np.uint8),
        np.cumsum([0, *map(len, frames)], dtype=np.int32),
        np.zeros(count, np.int64),
        np.arange(count, dtype=np.int64),
        np.zeros(count, np.uint16),
        np.zeros(count, np.uint8),
    )


def asked_of_books() -> list[Callable[[Engine], object]]:
    """Whatever of a book reads its levels."""
    names = ["best_bid", "best_ask", "crossed", "spread", "mid_doubled", "mid", "microprice"]
    names += ["bid_levels", "ask_levels", "bid_prices", "ask_sizes"]
    calls: dict[str, tuple[object, ...]] = {
        "recomputed_digest": (),
        "bids": (),
        "asks": (3,),
        "cumulative_size": (),
        "imbalance": (5,),
        "depth_within": (1,),
        "depth_profile": (2, 1),
        "cost_to_fill": ("buy", 1),
        "size_for_notional": ("sell", 1),
        "changes_of": (*(np.zeros(0, np.int64) for _ in range(4)), 0, 0),
    }
    properties: list[Callable[[Engine], object]] = [partial(_read, name, None) for name in names]
    return properties + [partial(_read, name, arguments) for name, arguments in calls.items()]


def _read(name: str, arguments: tuple[object, ...] | None, engine: Engine) -> object:
    found = getattr(BOOKS[engine], name)
    return found if arguments is None else found(*arguments)


BOOKS: dict[Engine, Book] = {}
DRIVERS: dict[Engine, Driver] = {}


def asked_of_drivers() -> list[Callable[[Engine], object]]:
    """Whatever a driver does to its engine, or reads of it."""
    payloads, offsets, receive_ns, sequences, _, _ = batch(7, 3)
    places = offsets.astype(np.int64)
    frames = (payloads, places[:-1], places[1:], receive_ns, sequences, np.zeros(1, np.int32))
    return [
        lambda engine: DRIVERS[engine].apply(b"{}", 0, 0),
        lambda engine: DRIVERS[engine].apply_all(*frames),
        lambda engine: DRIVERS[engine].apply_all(*frames, told=False),
        lambda engine: DRIVERS[engine].acted(0, 0),
        lambda engine: DRIVERS[engine].said(),
        lambda engine: DRIVERS[engine].disconnect(9, 0, 0),
        lambda engine: DRIVERS[engine].stale("orderbook.50.ETHUSDT", "silence", 0, 0),
        lambda engine: Driver(engine, Strategy()),
    ]


# What changes nothing that counts here if it comes a moment too late.
ASKED: list[Callable[[Engine], object]] = [
    lambda engine: engine.apply(b"{}", 0, 0),
    lambda engine: engine.quote(b"{}", 0, 0),
    lambda engine: engine.apply_batch(*batch(1, 0)),
    lambda engine: engine.add_feed(TOPIC),
    lambda engine: engine.levels(0),
    lambda engine: engine.checkpoint(0),
    lambda engine: engine.exponents("BTCUSDT"),
    lambda engine: engine.shared(),
    lambda engine: engine.disconnect(9, 0, 0),
    lambda engine: engine.end_feed("orderbook.50.ETHUSDT", 0, 0),
    lambda engine: engine.take_events(),
    lambda engine: engine.take_rows("c"),
    lambda engine: engine.row_bytes,
    *asked_of_books(),
    *asked_of_drivers(),
]


def begun(engine: Engine, columns: tuple[np.ndarray, ...]) -> threading.Thread:  # type: ignore[type-arg]
    """A thread whose batch is being taken, or was, if this one had to wait for its turn."""
    taker = threading.Thread(target=engine.apply_batch, args=columns)
    taker.start()
    while taker.is_alive():
        try:
            engine.messages(0)
        except RuntimeError:
            break
    return taker


def test_whoever_comes_while_a_batch_is_taken_is_refused() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(TOPIC)
    engine.add_feed("orderbook.50.ETHUSDT")
    BOOKS[engine] = engine.book(0)
    DRIVERS[engine] = Driver(engine, Strategy())
    count, update_id = 200_000, 7
    refused: dict[int, str] = {}
    end = time.monotonic() + PATIENCE_S
    while len(refused) < len(ASKED) and time.monotonic() < end:
        taker = begun(engine, batch(update_id, count))
        for number, ask in enumerate(ASKED):
            if number in refused:
                continue
            try:
                ask(engine)
            except RuntimeError as error:
                refused[number] = str(error)
            else:
                break  # the batch was over
        taker.join()
        update_id += count
    assert set(refused) == set(range(len(ASKED)))
    assert all("another thread is applying a batch" in said for said in refused.values())
    assert engine.messages(0) == update_id - 7
    for ask in asked_of_books():  # and are answered again
        ask(engine)


TRIES = 200
MANY = 200_000


class Beside(Strategy):
    """While it is told of a book, another thread begins a batch."""

    def __init__(self) -> None:
        self.told = 0
        self.takers: list[threading.Thread] = []

    def begin(self, engine: Engine) -> None:
        self.engine, self.columns = engine, batch(8, MANY)

    def on_book(self, feed: int, at: object) -> None:
        self.told += 1
        self.takers.append(begun(self.engine, self.columns))


def test_a_batch_that_begins_between_two_frames_of_a_driver() -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed(TOPIC)
    beside = Beside()
    driver = Driver(engine, beside)
    payloads, offsets, receive_ns, sequences, _, _ = batch(7, 1)
    places = offsets.astype(np.int64)
    with pytest.raises(RuntimeError, match="another thread is applying a batch"):
        driver.apply_all(payloads, places[:-1], places[1:], receive_ns, sequences, np.zeros(TRIES, np.int32))
    for taker in beside.takers:
        taker.join()
    assert engine.messages(0) == beside.told + MANY * len(beside.takers)
    assert engine.digest(0) == engine.recomputed_digest(0)


def test_a_publisher_waits_for_the_batch() -> None:
    engine = Engine(Category.LINEAR)
    engine.add_feed(TOPIC)
    columns = batch(7, MANY)
    for ask in (Publisher.close, lambda publisher: publisher.beat(1)):
        said = ""
        for _ in range(TRIES):
            publisher = Published(engine).publisher
            taker = begun(engine, columns)
            try:
                ask(publisher)
            except RuntimeError as error:
                said = str(error)
            taker.join()
            publisher.close()
            if said:
                break
        assert "another thread is applying a batch" in said


class Slow:
    """Reads the frames of a feed in Python, and meanwhile another thread begins a batch."""

    def __init__(self, quiet: object) -> None:
        self.quiet = quiet
        self.columns = batch(7, MANY)
        self.takers: list[threading.Thread] = []

    def driver(self, engine: Engine, feed: int, topic: str, rows: object) -> Slow:
        self.engine = engine
        return self

    def frame(self, frame: bytes, at: Stamp) -> None:
        self.takers.append(begun(self.engine, self.columns))


def test_a_batch_that_begins_while_python_reads_a_frame_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(driven(Category.LINEAR, KLINE).quiet)
    monkeypatch.setattr(feeds, "driven", lambda category, topic: slow)
    engine = Engine(Category.LINEAR)
    engine.add_feed(TOPIC)
    engine.add_feed(KLINE)
    frames = [f'{{"topic":"{KLINE}"}}'.encode()] * TRIES
    with pytest.raises(RuntimeError, match="another thread is applying a batch"):
        engine.apply_batch(*columns_of(frames))
    for taker in slow.takers:
        taker.join()
    assert engine.messages(0) == MANY * len(slow.takers)
    assert engine.digest(0) == engine.recomputed_digest(0)
