"""The driver: a strategy is told what the engine took, and of nothing else; wrong arguments touch no memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.core.drive import Driver, FanOut, Strategy
from engine.core.feeds import UNDECODABLE, UNKNOWN_TOPIC, Engine
from engine.strategy import Moment, TradeSeen
from schemas.names import Category, FeedState
from tests.recorder.recordings import BOOK, TRADES, book, trade

KLINE = b'{"topic":"kline.5.BTCUSDT","data":[{"start":1672324800000,"end":1672325099999,"interval":"5","open":"16649.5","close":"16677","high":"16677","low":"16608","volume":"2.081","turnover":"34666.4005","confirm":false,"timestamp":1672324988882}],"ts":1672324988882,"type":"snapshot"}'  # noqa: E501


class Told(Strategy):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_book(self, feed: int, at: Moment) -> None:
        self.calls.append(("book", feed, at.sequence))

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
        self.calls.append(("trades", feed, at.sequence, [each.price for each in trades]))

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        self.calls.append(("state", feed, at.sequence, state))


def driven(*topics: str) -> tuple[Driver, Told]:
    engine = Engine(Category.LINEAR)
    for topic in topics:
        engine.add_feed(topic)
    told = Told()
    return Driver(engine, told), told


def test_what_the_engine_took_is_told_and_no_repeat() -> None:
    driver, told = driven(BOOK, TRADES)
    assert driver.apply(book("snapshot", 5, [("1.0", "2")], [], 1000), 10, 1) == 0
    assert driver.said() == ([(10, 2)], [])
    driver.apply(book("delta", 6, [("1.0", "0")], [("2.0", "1")], 1001), 11, 2)
    driver.apply(book("delta", 6, [("1.0", "0")], [("2.0", "1")], 1001), 12, 3)  # a repeat
    driver.apply(book("delta", 9, [("1.0", "7")], [], 1002), 13, 4)  # two are missing
    driver.apply(trade("a", "1.5", "1", 1003), 14, 5)
    driver.apply(trade("a", "1.5", "1", 1003), 15, 6)  # a repeat
    assert told.calls == [
        ("state", 0, 1, FeedState.LIVE),
        ("book", 0, 1),
        ("book", 0, 2),
        ("state", 0, 4, FeedState.STALE),
        ("state", 1, 5, FeedState.LIVE),
        ("trades", 1, 5, [15]),
    ]


def test_what_is_no_frame_of_a_feed() -> None:
    driver, told = driven(BOOK)
    driver.apply(book("snapshot", 5, [("1.0", "2")], [], 1000), 10, 1)
    told.calls.clear()
    assert driver.apply(b'{"topic":"orderbook.50.XRPUSDT"}', 11, 2) == UNKNOWN_TOPIC
    assert driver.apply(b'{"topic":"orderbook.50.BTCUSDT","type":"delta"', 12, 3) == UNDECODABLE
    assert told.calls == [("state", 0, 3, FeedState.STALE)]
    driver.apply(book("snapshot", 8, [("1.0", "2")], [], 1000), 13, 4)
    driver.disconnect(0, 14, 5)
    driver.apply(book("snapshot", 9, [("1.0", "2")], [], 1000), 15, 6)
    driver.stale(BOOK, "silence", 16, 7)
    states = [call[3] for call in told.calls if call[0] == "state"]
    live, stale = FeedState.LIVE, FeedState.STALE
    assert states == [stale, live, stale, live, stale]


def test_feeds_that_come_later_and_feeds_that_python_reads() -> None:
    driver, told = driven(BOOK)
    for number in range(40):
        driver.engine.add_feed(f"orderbook.50.S{number}USDT")
    late = driver.engine.add_feed("orderbook.50.LATEUSDT")
    kline = driver.engine.add_feed("kline.5.BTCUSDT")
    driver.apply(book("snapshot", 5, [("1.0", "2")], [], 1000, "orderbook.50.LATEUSDT"), 10, 1)
    assert driver.apply(KLINE, 11, 2) == kline
    assert told.calls == [
        ("state", late, 1, FeedState.LIVE),
        ("book", late, 1),
        ("state", kline, 2, FeedState.LIVE),
    ]


def columns(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def test_frames_out_of_a_buffer() -> None:
    driver, told = driven(BOOK)
    frames = [book("snapshot", 5, [("1.0", "2")], [], 1000), book("delta", 6, [("1.1", "2")], [], 1001)]
    buffer = np.frombuffer(b"".join(frames), np.uint8)
    cut = len(frames[0])
    given = (buffer, columns(cut, 0), columns(len(buffer), cut), columns(11, 10), columns(2, 1))
    driver.apply_all(*given, np.array([1], np.int32), told=False)
    assert told.calls == []
    driver.apply_all(*given, np.array([0], np.int32))
    assert told.calls == [("book", 0, 2)]


@pytest.mark.parametrize(
    ("starts", "ends", "order"),
    [
        (columns(0), columns(9), [0]),
        (columns(-1), columns(2), [0]),
        (columns(3), columns(2), [0]),
        (columns(0), columns(2), [1]),
        (columns(0), columns(2), [-1]),
        (columns(0), columns(2, 3), [0]),
    ],
)
def test_arguments_that_lead_elsewhere(starts: Any, ends: Any, order: list[int]) -> None:
    driver, _ = driven(BOOK)
    buffer = np.zeros(8, np.uint8)
    with pytest.raises(ValueError, match=r"found .*, expected one"):
        driver.apply_all(buffer, starts, ends, columns(0), columns(0), np.array(order, np.int32))


def test_only_strategies_are_driven() -> None:
    with pytest.raises(TypeError):
        Driver(Engine(Category.LINEAR), object())  # type: ignore[arg-type]


def test_what_acts_beside_frames() -> None:
    """Acknowledgements are no news; a feed of trades becomes live with a message; what was fetched is not told."""
    driver, told = driven(BOOK, TRADES)
    engine = driver.engine
    for topic in (BOOK, TRADES):
        engine.subscribed(topic, 10, 1)
    driver.acted(10, 1)
    assert told.calls == []
    driver.apply(book("snapshot", 5, [("1.0", "2")], [], 1000), 11, 2)
    driver.apply(trade("a", "1.5", "1", 1003), 12, 3)
    engine.disconnect(0, 13, 4)
    driver.acted(13, 4)
    for topic in (BOOK, TRADES):
        engine.subscribed(topic, 14, 5)
    driver.acted(14, 5)
    assert engine.backfill(trade("b", "1.5", "1", 1004), 15, 6) == "ok"
    driver.acted(15, 6)
    driver.apply(trade("c", "1.5", "1", 1005), 16, 7)
    engine.end_feed(TRADES, 17, 8)
    driver.acted(17, 8)
    assert told.calls == [
        ("state", 0, 2, FeedState.LIVE),
        ("book", 0, 2),
        ("state", 1, 3, FeedState.LIVE),
        ("trades", 1, 3, [15]),
        ("state", 0, 4, FeedState.STALE),
        ("state", 1, 4, FeedState.STALE),
        ("state", 1, 7, FeedState.LIVE),
        ("trades", 1, 7, [15]),
        ("state", 1, 8, FeedState.EMPTY),
    ]


class Breaking(Told):
    """Raises in one of its methods."""

    def __init__(self, method: str, error: BaseException) -> None:
        super().__init__()
        self.method, self.error = method, error

    def _maybe(self, method: str) -> None:
        if method == self.method:
            raise self.error

    def begin(self, engine: Engine) -> None:
        self._maybe("begin")

    def on_book(self, feed: int, at: Moment) -> None:
        self._maybe("book")

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
        self._maybe("trades")

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        self._maybe("state")


@pytest.mark.parametrize("method", ["begin", "book", "trades", "state"])
@pytest.mark.parametrize("error", [ValueError("a mistake"), KeyboardInterrupt()])
def test_one_of_many_that_raises_is_detached(method: str, error: BaseException) -> None:
    failures: list[tuple[Strategy, BaseException]] = []
    slow: list[Strategy] = []
    ticks = iter(range(0, 10**6, 7))
    fan_out = FanOut(
        lambda *what: failures.append(what), lambda strategy, _: slow.append(strategy), 6, lambda: next(ticks)
    )
    before, breaking, behind = Told(), Breaking(method, error), Told()
    for strategy in (before, breaking, behind):
        fan_out.add(strategy)
    engine = Engine(Category.LINEAR)
    for topic in (BOOK, TRADES):
        engine.add_feed(topic)
    driver = Driver(engine, fan_out)
    driver.apply(book("snapshot", 5, [("1.0", "2")], [], 1000), 11, 2)
    driver.apply(trade("a", "1.5", "1", 1003), 12, 3)
    assert failures == [(breaking, error)]
    assert fan_out.strategies == (before, behind)
    assert before.calls == behind.calls
    assert [call[0] for call in before.calls] == ["state", "book", "state", "trades"]
    assert slow.count(before) == 4
    late = Breaking("begin", ValueError())
    with pytest.raises(ValueError):  # noqa: PT011 (the caller's own)
        fan_out.add(late)
    fan_out.remove(before)
    fan_out.remove(before)
    assert fan_out.strategies == (behind,)
