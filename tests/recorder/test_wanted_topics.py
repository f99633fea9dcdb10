"""Topics that somebody wants to hear of: of what is recorded, or refused with what is near."""

from __future__ import annotations

from typing import Any

import pytest

import recorder
from recorder.wanted_topics import check_wanted
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from schemas.names import Category

LIST = RecordConfig(
    symbols=["BTCUSDT", "ETHUSDT"], topics=["orderbook.50", "publicTrade", "tickers.XRPUSDT", "insurance"]
)
RULE = RecordConfig(symbols=["BTC*"], topics=["orderbook.50", "publicTrade"])


@pytest.mark.parametrize(
    "topic",
    [
        "orderbook",
        "orderbook.50",
        "orderbook.50.BTCUSDT",
        "publicTrade",
        "tickers",
        "tickers.XRPUSDT",
        "insurance.USDT",
    ],
)
def test_what_a_list_records(topic: str) -> None:
    check_wanted(LIST, [])
    check_wanted(LIST, ["publicTrade.ETHUSDT", topic])


@pytest.mark.parametrize(
    ("topic", "nearest"),
    [
        ("orderbok.50", "orderbook.50"),
        ("orderbook.500", "orderbook.50"),
        ("orderbook.5", "orderbook.50"),
        ("orderbook.50.BTCUSD", "orderbook.50.BTCUSDT"),
        ("orderbook.50.BTCUSDT.1", "orderbook.50.BTCUSDT"),
        ("tickers.BTCUSDT", "tickers.XRPUSDT"),
        ("publictrade", "publicTrade"),
    ],
)
def test_what_it_does_not(topic: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_wanted(LIST, ["orderbook.50", topic])
    assert str(refused.value) == (
        f"found topic {topic!r}, of which nothing is recorded; expected a prefix or a full topic of "
        f"orderbook.50, publicTrade, tickers, insurance; the nearest is {nearest!r}"
    )


def test_of_rules_only_the_prefix_is_known() -> None:
    check_wanted(RULE, ["orderbook", "orderbook.50", "orderbook.50.BTCPERP", "publicTrade.NEWUSDT"])
    for topic in ("orderbook.500", "orderbook.500.BTCPERP", "tickers.BTCPERP", "orderbok"):
        with pytest.raises(ConfigError, match=f"found topic '{topic}', of which nothing is recorded"):
            check_wanted(RULE, [topic])


def test_of_options_trades_come_by_coin() -> None:
    options = RecordConfig(
        category=Category.OPTION, symbols=["BTC-25DEC26-100000-C-USDT"], topics=["publicTrade"]
    )
    check_wanted(options, ["publicTrade.BTC"])
    with pytest.raises(ConfigError, match=r"the nearest is 'publicTrade\.BTC'"):
        check_wanted(options, ["publicTrade.BTC-25DEC26-100000-C-USDT"])


def test_symbols_of_other_shards_are_not_recorded() -> None:
    shard = RecordConfig(symbols=["BTCUSDT", "ETHUSDT"], shard="1/2", pins=["BTCUSDT=1", "ETHUSDT=2"])
    check_wanted(shard, ["orderbook.50.BTCUSDT"])
    with pytest.raises(ConfigError, match=r"found topic 'orderbook\.50\.ETHUSDT'"):
        check_wanted(shard, ["orderbook.50.ETHUSDT"])


@pytest.mark.parametrize("topic", ["", 7, None])
def test_what_is_no_text(topic: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a text such as orderbook\.50"):
        check_wanted(LIST, [topic])


def test_a_subscription_of_a_recording_is_looked_at() -> None:
    recording = recorder.live(LIST)
    recording.subscribe("orderbook.50", "publicTrade.BTCUSDT")
    with pytest.raises(ConfigError, match=r"the nearest is 'orderbook\.50'"):
        recording.subscribe("orderbok.50")
