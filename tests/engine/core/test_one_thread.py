"""An engine is one thread's: who touches it while another thread's batch is being taken is told so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from engine.core.feeds import Engine
from schemas.names import Category

TOPIC = "orderbook.50.BTCUSDT"
PATIENCE_S = 60.0


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
]


def test_whoever_comes_while_a_batch_is_taken_is_refused() -> None:
    engine = Engine(Category.LINEAR, columns=True)
    engine.add_feed(TOPIC)
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
