"""Where a whole number is due nothing else is taken: a float that is cut would be another moment, depth or feed."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.core.book import Book
from engine.core.delays import Delays
from engine.core.drive import Driver, Strategy
from engine.core.feeds import Engine
from engine.core.pages import bit_runs
from engine.core.publisher import book_bytes
from engine.core.replay import BookReplay, replay_books
from engine.core.sample import Sampler
from engine.core.wire import WireCheck
from engine.sampling import depth_profile, order_flow, snapshots
from tests.engine.core.shared_memory import Published

TOPIC = "orderbook.50.BTCUSDT"
CORE = Path(__file__).parents[3] / "engine" / "core"
NONE: Any = np.zeros(0, np.int64)
FRAME = (
    b'{"topic":"orderbook.50.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"BTCUSDT","b":[["100","1"]],'
    b'"a":[["101","1"]],"u":7,"seq":7},"cts":1}'
)
ROWS = pa.RecordBatch.from_pylist([], pa.schema([]))


class Made:
    """One of everything."""

    def __init__(self) -> None:
        self.engine = Engine("linear")
        self.engine.add_feed(TOPIC)
        self.published = Published(self.engine, ring_bytes=1 << 16)
        self.engine.apply(FRAME, 1, 1)
        self.driver = Driver(self.engine, Strategy())
        self.view, self.book = self.engine.book(0), Book(5)
        self.shared, self.tape = self.published.book(0), self.published.tape()
        self.replay, self.delays = BookReplay(50), Delays()
        self.wire = WireCheck(self.engine)


# What takes whole numbers, and one of them each.
TAKEN: dict[str, Callable[[Made, Any], object]] = {
    "apply receive_ns": lambda made, n: made.engine.apply(b"{}", n, 1),
    "apply sequence": lambda made, n: made.engine.apply(b"{}", 1, n),
    "apply line": lambda made, n: made.engine.apply(b"{}", 1, 1, n),
    "quote receive_ns": lambda made, n: made.engine.quote(b"{}", n, 1),
    "quote sequence": lambda made, n: made.engine.quote(b"{}", 1, n),
    "subscribed": lambda made, n: made.engine.subscribed(TOPIC, n, 1),
    "disconnect": lambda made, n: made.engine.disconnect(n, 1, 1),
    "stale": lambda made, n: made.engine.stale(TOPIC, "silence", n, 1),
    "widen": lambda made, n: made.engine.widen("BTCUSDT", n, 1, 1, 1),
    "restate": lambda made, n: made.engine.restate("orderbook.full.BTCUSDT", [], n, 1),
    "set_digest update_id": lambda made, n: made.engine.set_digest(TOPIC, n, 1),
    "set_digest digest": lambda made, n: made.engine.set_digest(TOPIC, 1, n),
    "backfill": lambda made, n: made.engine.backfill(b"{}", n, 1),
    "good": lambda made, n: made.engine.good(0, (1, 1, 0), n),  # type: ignore[arg-type]
    "good match_ms": lambda made, n: made.engine.good(0, (1, 1, 0), 1, n),  # type: ignore[arg-type]
    "heard at": lambda made, n: made.engine.heard(0, (n, 1, 0)),  # type: ignore[arg-type]
    "engine.book": lambda made, n: made.engine.book(n - 1),
    "engine.state": lambda made, n: made.engine.state(n - 1),
    "engine.best": lambda made, n: made.engine.best(n - 1),
    "engine.levels": lambda made, n: made.engine.levels(0, n),
    "take_rows": lambda made, n: made.engine.take_rows("linear", n),
    "driver.apply receive_ns": lambda made, n: made.driver.apply(b"{}", n, 1),
    "driver.apply sequence": lambda made, n: made.driver.apply(b"{}", 1, n),
    "driver.apply line": lambda made, n: made.driver.apply(b"{}", 1, 1, n),
    "driver.acted": lambda made, n: made.driver.acted(n, 1),
    "driver.disconnect": lambda made, n: made.driver.disconnect(n, 1, 1),
    "Book": lambda made, n: Book(n),
    "bids": lambda made, n: made.view.bids(n),
    "asks": lambda made, n: made.book.asks(n),
    "cumulative_size": lambda made, n: made.view.cumulative_size(n),
    "load": lambda made, n: made.book.load(NONE, NONE, NONE, NONE, n - 1, 0),
    "book.apply": lambda made, n: made.book.apply(NONE, NONE, NONE, NONE, 0, n - 1),
    "changes_of": lambda made, n: made.view.changes_of(NONE, NONE, NONE, NONE, 0, n - 1),
    "BookReplay": lambda made, n: BookReplay(n),
    "BookReplay.bids": lambda made, n: made.replay.bids(n),
    "BookReplay.asks": lambda made, n: made.replay.asks(n),
    "replay_books": lambda made, n: replay_books({}, n),
    "Sampler depth": lambda made, n: Sampler("levels", n, "match_time", every_ns=1),
    "Sampler every_ns": lambda made, n: Sampler("levels", 50, "match_time", every_ns=n),
    "Sampler begin_ns": lambda made, n: Sampler("levels", 50, "match_time", every_ns=1, begin_ns=n),
    "Sampler bands": lambda made, n: Sampler("bands", 50, "match_time", every_ns=1, bands=(n,)),
    "snapshots every_ns": lambda made, n: snapshots(ROWS, every_ns=n),
    "snapshots every_updates": lambda made, n: snapshots(ROWS, every_updates=n),
    "snapshots levels": lambda made, n: snapshots(ROWS, every_ns=1, levels=n),
    "snapshots origin_ns": lambda made, n: snapshots(ROWS, every_ns=1, origin_ns=n),
    "order_flow start_ns": lambda made, n: order_flow(ROWS, every_ns=1, start_ns=n),
    "depth_profile end_ns": lambda made, n: depth_profile(ROWS, bands_bps=[1], every_ns=1, end_ns=n),
    "shared.read": lambda made, n: made.shared.read(n),
    "shared.unchanged": lambda made, n: made.shared.unchanged(n),
    "tape.read": lambda made, n: made.tape.read(n),
    "control.topic": lambda made, n: made.published.reads.topic(n - 1),
    "control.trouble": lambda made, n: made.published.reads.trouble(n),
    "beat": lambda made, n: made.published.publisher.beat(n),
    "wants_book": lambda made, n: made.published.publisher.wants_book(n - 1),
    "book_bytes": lambda made, n: book_bytes(n),
    "delays": lambda made, n: made.delays.add(n),
    "bit_runs": lambda made, n: bit_runs(np.zeros(1, np.uint8), n),
    "wire.symbol": lambda made, n: made.wire.symbol(n - 1),
}
ODD = [1.0, 1.5, float("nan"), float("inf"), np.float64(1), Decimal(1), Fraction(1), "1"]


@pytest.mark.parametrize("name", TAKEN)
def test_nothing_but_whole_numbers(name: str) -> None:
    take = TAKEN[name]
    for number in (1, np.int64(1), np.uint8(1), np.int32(1)):
        take(Made(), number)
    made = Made()
    for number in ODD:
        with pytest.raises(TypeError, match=r"integer|whole number|unsupported operand"):
            take(made, number)
    assert (made.engine.messages(0), made.engine.feed_count) == (1, 1)


def test_words_for_numbers_that_are_not_whole() -> None:
    with pytest.raises(TypeError, match=r"found every_ns=1\.5, expected a whole number"):
        snapshots(ROWS, every_ns=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"found levels=2\.0, expected a whole number"):
        snapshots(ROWS, every_ns=1, levels=2.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bids", "asks", "BookReplay.bids", "engine.levels"])
def test_fewer_than_none(name: str) -> None:
    made = Made()
    with pytest.raises(ValueError, match="found -1 levels, expected 0 or more"):
        TAKEN[name](made, -1)
    TAKEN[name](made, 10**30)
    TAKEN[name](made, 0)


def test_every_module_that_takes_numbers_asks_for_whole_ones() -> None:
    number = r"(?:u?int\d*_t|int|unsigned|size_t) \w+"
    takes = re.compile(rf"^(?:    )?def (?!__getbuffer__)\w+\(.*?\b{number}", re.MULTILINE)
    found = {path.stem: path.read_text() for path in sorted(CORE.glob("*.pyx"))}
    taking = {stem for stem, text in found.items() if takes.search(text)}
    assert taking >= {"book", "feeds", "drive", "sample", "replay", "shared"}
    asking = {stem for stem, text in found.items() if "from engine.core.whole cimport" in text}
    assert taking <= asking
