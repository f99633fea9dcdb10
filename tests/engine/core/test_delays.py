"""Which frames say how late the exchange's data is, and under which class they are counted."""

from __future__ import annotations

import json

import pytest

from engine.core.feeds import Engine
from tests.recorder.recordings import BOOK, MS, START_NS, TICKER, TOP, TRADES, book, ticker, trade

NOW_MS = START_NS // MS


class Watched:
    """An engine that measures; ``take`` lets a frame arrive so many milliseconds after it was pushed."""

    def __init__(self, *topics: str) -> None:
        self.engine = Engine("linear")
        self.engine.measure_delays()
        self.sequence = 0
        for topic in topics:
            self.engine.subscribed(topic, START_NS, 0)

    def take(self, frame: bytes, late_ms: int, at_ms: int = NOW_MS) -> None:
        self.sequence += 1
        self.engine.apply(frame, (at_ms + late_ms) * MS, self.sequence)

    def counts(self) -> dict[str, tuple[int, int]]:
        return {name: (match.count, push.count) for name, (match, push) in self.engine.delays().items()}


def test_deltas_trades_and_tickers_by_class() -> None:
    watched = Watched(BOOK, TRADES, TICKER)
    watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS), 900)
    watched.take(book("delta", 6, [("1", "2")], [], NOW_MS), 3)
    watched.take(book("delta", 7, [("1", "3")], [], NOW_MS), 5)
    watched.take(trade("a", "1", "1", NOW_MS), 7)
    watched.take(ticker("snapshot", NOW_MS, lastPrice="1"), 800)
    watched.take(ticker("delta", NOW_MS, lastPrice="2"), 9)
    assert watched.counts() == {"orderbook.50": (2, 2), "publicTrade": (1, 1), "tickers": (0, 1)}
    match, push = watched.engine.delays()["orderbook.50"]
    # the books of these tests were matched a millisecond before they were pushed
    assert (push.min_ns, push.max_ns, push.sum_ns) == (3 * MS, 5 * MS, 8 * MS)
    assert (match.min_ns, match.max_ns) == (4 * MS, 6 * MS)
    assert watched.engine.delays()["publicTrade"][0].max_ns == 8 * MS
    assert watched.engine.delays()["tickers"][1].max_ns == 9 * MS


def test_a_keep_alive_of_level_1_is_as_old_as_what_it_repeats() -> None:
    watched = Watched(TOP)
    watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS, TOP), 1)
    watched.take(book("snapshot", 6, [("1", "2")], [("2", "1")], NOW_MS, TOP), 2)
    for number in range(1, 4):
        watched.take(book("snapshot", 6, [("1", "2")], [("2", "1")], NOW_MS, TOP), 3000 * number)
    watched.take(book("snapshot", 7, [("1", "3")], [("2", "1")], NOW_MS, TOP), 4)
    assert watched.counts() == {"orderbook.1": (2, 2)}
    assert watched.engine.delays()["orderbook.1"][1].max_ns == 4 * MS


def test_a_snapshot_in_between_says_nothing_of_match_time() -> None:
    """An idle book's snapshot carries its last change's time (protocol 3.1); its push time is true."""
    watched = Watched(BOOK)
    watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS), 1)
    watched.take(book("snapshot", 9, [("1", "1")], [("2", "1")], NOW_MS), 2)
    assert watched.counts() == {"orderbook.50": (0, 1)}


def test_what_a_feed_could_not_use_is_not_counted() -> None:
    watched = Watched(BOOK, TRADES)
    watched.take(book("delta", 6, [("1", "2")], [], NOW_MS), 3)  # no snapshot yet
    watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS), 1)
    watched.take(book("delta", 9, [("1", "2")], [], NOW_MS), 3)  # a break
    watched.take(book("delta", 10, [("1", "2")], [], NOW_MS), 3)
    watched.take(trade("a", "1", "1", NOW_MS), 1)
    watched.take(trade("a", "1", "1", NOW_MS), 5000)  # the same trade again
    watched.take(b'{"topic":"publicTrade.BTCUSDT"', 5000)
    assert watched.counts() == {"publicTrade": (1, 1)}


def test_a_symbol_may_hold_dots() -> None:
    topic = "orderbook.25.XRP-30OCT26-0.4-P-USDT"
    watched = Watched(topic)
    watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS, topic), 1)
    watched.take(book("delta", 6, [("1", "2")], [], NOW_MS, topic), 1)
    assert watched.counts() == {"orderbook.25": (1, 1)}


def test_clocks_that_disagree() -> None:
    watched = Watched(TRADES)
    watched.take(trade("a", "1", "1", NOW_MS), -250)
    assert watched.engine.delays()["publicTrade"][1].min_ns == -250 * MS


def test_only_who_asked_is_measured() -> None:
    engine = Engine("linear")
    engine.subscribed(TRADES, START_NS, 0)
    engine.apply(trade("a", "1", "1", NOW_MS), START_NS, 1)
    assert engine.delays() == {}
    engine.measure_delays()
    engine.measure_delays()
    engine.apply(trade("b", "1", "1", NOW_MS), START_NS + MS, 2)
    assert engine.delays()["publicTrade"][1].count == 1


@pytest.mark.parametrize("classes", [24, 30])
def test_more_classes_than_there_is_room_for(classes: int) -> None:
    topics = [f"orderbook.{depth}.BTCUSDT" for depth in range(1, classes + 1)]
    watched = Watched(*topics)
    for number, topic in enumerate(topics):
        watched.take(book("snapshot", 5, [("1", "1")], [("2", "1")], NOW_MS, topic), 1)
        kind = "snapshot" if number == 0 else "delta"
        watched.take(book(kind, 6, [("1", "2")], [("2", "1")], NOW_MS, topic), 1)
    delays = watched.engine.delays()
    assert list(delays) == [f"orderbook.{depth}" for depth in range(1, 24)] + ["other"]
    assert sum(push.count for _, push in delays.values()) == classes
    assert delays["other"][1].count == classes - 23


def test_other_topics() -> None:
    """RPI books are judged like books; what a driver reads counts by its push time."""
    rpi, candles = "orderbook.rpi.BTCUSDT", "kline.1.BTCUSDT"
    watched = Watched(rpi, candles)
    for update_id, kind, late_ms in ((5, "snapshot", 900), (6, "delta", 2), (9, "snapshot", 3)):
        data = {"s": "BTCUSDT", "b": [["1", "1", "0"]], "a": [], "u": update_id, "seq": update_id}
        said = {"topic": rpi, "type": kind, "ts": NOW_MS, "data": data, "cts": NOW_MS - 1}
        watched.take(json.dumps(said, separators=(",", ":")).encode(), late_ms)
    candle = {
        "start": NOW_MS, "end": NOW_MS + 59_999, "interval": "1", "open": "1", "close": "1", "high": "1", "low": "1",
        "volume": "1", "turnover": "1", "confirm": False, "timestamp": NOW_MS,
    }  # fmt: skip
    for late_ms in (700, 4, 5):
        said = {"topic": candles, "data": [candle], "ts": NOW_MS, "type": "snapshot"}
        watched.take(json.dumps(said, separators=(",", ":")).encode(), late_ms)
    delays = watched.engine.delays()
    assert watched.counts()["orderbook.rpi"] == (1, 2)
    assert delays["orderbook.rpi"][0].max_ns == 3 * MS
    assert delays["kline.1"][1].max_ns == 5 * MS
