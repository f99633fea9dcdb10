"""When an engine is worn: many places taken, most of them by what has ended."""

from __future__ import annotations

import pytest

import engine.wear
from engine.core.feeds import Engine
from engine.wear import is_worn
from tests.strategies import write


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.wear, "MOST_PLACES", 10)


def test_many_that_live_are_no_wear() -> None:
    core = Engine("linear")
    for number in range(20):
        assert not is_worn(core)
        core.add_feed(f"orderbook.50.S{number}USDT")
    for number in range(9):
        core.end_feed(f"orderbook.50.S{number}USDT", 1, number)
        assert not is_worn(core)
    core.end_feed("orderbook.50.S9USDT", 1, 9)
    assert is_worn(core)
    core.add_feed("orderbook.50.S9USDT")  # it is back, in the place that it had
    assert core.feed_count == 20
    assert not is_worn(core)


def test_few_places_are_no_wear() -> None:
    core = Engine("linear")
    for number in range(9):
        core.add_feed(f"tickers.S{number}USDT")
        core.end_feed(f"tickers.S{number}USDT", 1, number)
    assert not is_worn(core)


def test_symbols_of_trades_take_places_too() -> None:
    core = Engine("option")
    core.add_feed("publicTrade.BTC")
    for number in range(10):
        assert not is_worn(core)
        fill = {"i": str(number), "T": 1, "p": "2", "v": "1", "S": "Buy", "s": f"BTC-25DEC26-{number}-C"}
        frame = {"topic": "publicTrade.BTC", "ts": 1, "type": "snapshot", "data": [fill]}
        assert core.apply(write(frame), 1, number, 0) == 0
    assert core.symbol_count >= 10
    assert is_worn(core)
