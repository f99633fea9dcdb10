"""Topics of the exchange, and what is none."""

from __future__ import annotations

import pytest

from engine.core import feeds
from engine.topics import parse_feed
from schemas.errors import ConfigError
from schemas.names import Category


@pytest.mark.parametrize(
    ("category", "topic", "expected"),
    [
        (Category.LINEAR, "orderbook.50.BTCUSDT", ("book", 50, "BTCUSDT")),
        (Category.OPTION, "orderbook.25.XRP-30OCT26-0.4-P-USDT", ("book", 25, "XRP-30OCT26-0.4-P-USDT")),
        (Category.SPOT, "orderbook.full.BTCUSDT", ("book", 32767, "BTCUSDT")),
        (Category.INVERSE, "orderbook.rpi.BTCUSD", ("rpi", 50, "BTCUSD")),
        (Category.SPOT, "publicTrade.BTCUSDT", ("trades", 0, "BTCUSDT")),
        (Category.OPTION, "publicTrade.BTC", ("trades", 0, "")),
        (Category.LINEAR, "tickers.BTCUSDT", ("ticker", 0, "BTCUSDT")),
    ],
)
def test_topics(category: Category, topic: str, expected: tuple[str, int, str]) -> None:
    assert parse_feed(category, topic) == expected


@pytest.mark.parametrize(
    "topic",
    ["", "orderbook", "orderbook.50", "orderbook.50.", "orderbook.x.Y", "orderbook.0.Y", "orderbook.1001.Y",
     "orderbook.-1.Y", "kline.1", "kline..Y", "tickers.", "tickers", "publicTrade.", "allLiquidation.",
     "orderbook.rpi.", "orderbook.full", "orderbook.RPI.Y", "orderbook.\u00b2.Y", "orderbook.\u0665.Y",
     "orderbook.050.Y", "orderbook." + 5_000 * "9" + ".Y"],
)  # fmt: skip
def test_topics_that_are_none(topic: str) -> None:
    with pytest.raises(ConfigError, match=r"expected orderbook\.DEPTH\.SYMBOL"):
        parse_feed(Category.LINEAR, topic)


def test_it_is_to_be_had_beside_the_engine() -> None:
    assert feeds.parse_feed is parse_feed
