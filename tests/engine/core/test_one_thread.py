"""An engine is one thread's: who touches it while another thread's batch is being taken is told so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from engine.core.book import Book
from engine.core.feeds import Engine
from schemas.names import Category

TOPIC = "orderbook.50.BTCUSDT"
PATIENCE_S = 200.0


def frame(update_id: int) -> bytes:
    data = (
        f'{{"s":"BTCUSDT","b":[["100","{update_id}"]],"a":[["101","1"]],"u":{update_id},"seq":{update_id}}}'
    )
    kind = "snapshot" if update_id == 7 else "delta"
    return f'{{"topic":"{TOPIC}","type":"{kind}","ts":1,"data":{data},"cts":1}}'.encode()


def batch(first: int, count: int) -> tuple[np.ndarray, ...]:  # type: ignore[type-arg]
    frames = [frame(first + i) for i in range(count)]
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
]


def test_whoever_comes_while_a_batch_is_taken_is_refused() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(TOPIC)
    BOOKS[engine] = engine.book(0)
    count, update_id = 200_000, 7
    refused: dict[int, str] = {}
    end = time.monotonic() + PATIENCE_S
    while len(refused) < len(ASKED) and time.monotonic() < end:
        columns = batch(update_id, count)
        taker = threading.Thread(target=engine.apply_batch, args=columns)
        taker.start()
        while taker.is_alive():
            # it has not begun, or has ended, as long as this is answered
            try:
                engine.messages(0)
            except RuntimeError:
                pass
            else:
                continue
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
