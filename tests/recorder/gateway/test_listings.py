"""Symbols of a simulated market that come and go."""

from __future__ import annotations

import pytest

from engine.market import Market
from recorder.gateway.listings import parse_listings
from recorder.gateway.options import GatewayOptions
from schemas.errors import ConfigError
from schemas.names import Category

START_NS = 1_795_600_000_000_000_000
SECOND = 1_000_000_000


def test_parsing() -> None:
    assert parse_listings("--list", ["ADAUSDT@5", "A@0.5, B@1"]) == (("ADAUSDT", 5.0), ("A", 0.5), ("B", 1.0))
    for text in ("ADAUSDT", "ADAUSDT@", "@5", "A@-1", "A@1e3", "A@99999", "A B@1"):
        with pytest.raises(ConfigError, match="expected SYMBOL@SECONDS"):
            parse_listings("--list", [text])


def test_they_need_a_market_and_its_category() -> None:
    with pytest.raises(ConfigError, match="--category"):
        GatewayOptions(simulate=1, listings=(("ADAUSDT", 1.0),))
    with pytest.raises(ConfigError, match="option symbol 'ADA-USDT'"):
        Market(1, Category.OPTION, start_ns=START_NS, listings=(("ADA-USDT", 1.0),))


def market(steps_ns: int) -> tuple[list[bytes], list[tuple[float, list[str]]]]:
    made = Market(
        7,
        Category.LINEAR,
        start_ns=START_NS,
        symbol_count=2,
        listings=(("SOLUSDT", 1.0),),
        delistings=(("ETHUSDT", 2.0),),
    )
    frames: list[bytes] = []
    listed: list[tuple[float, list[str]]] = []
    for topic in (
        "tickers.BTCUSDT",
        "tickers.ETHUSDT",
        "orderbook.50.ETHUSDT",
        "publicTrade.ETHUSDT",
        "priceLimit.ETHUSDT",
    ):
        made.follow(topic)
    for now_ns in range(START_NS, START_NS + 3 * SECOND + 1, steps_ns):
        frames += [frame.payload for frame in made.advance(now_ns)]
        if now_ns == START_NS + SECOND:
            for topic in (
                "tickers.SOLUSDT",
                "orderbook.50.SOLUSDT",
                "publicTrade.SOLUSDT",
                "priceLimit.SOLUSDT",
            ):
                made.follow(topic)
        listed.append(((now_ns - START_NS) / SECOND, [i.symbol for i in made.instruments]))
    return frames, listed


def test_the_market_lists_and_delists_on_time_in_whatever_steps() -> None:
    frames, listed = market(SECOND // 10)
    for seconds, symbols in listed:
        assert ("SOLUSDT" in symbols) == (seconds >= 1.0)
        assert ("ETHUSDT" in symbols) == (seconds < 2.0)
    assert market(SECOND // 2)[0] == frames
    for topic in (b"tickers.", b"orderbook.50.", b"priceLimit."):
        for symbol in (b"ETHUSDT", b"SOLUSDT"):
            assert any(topic + symbol in frame for frame in frames)


def test_what_will_go_is_announced_and_what_came_says_since_when() -> None:
    made = Market(
        7,
        Category.LINEAR,
        start_ns=START_NS,
        symbol_count=2,
        listings=(("SOLUSDT", 1.0),),
        delistings=(("ETHUSDT", 2.0),),
    )
    by_symbol = {i.symbol: i for i in made.instruments}
    assert by_symbol["ETHUSDT"].delivery_ms == (START_NS + 2 * SECOND) // 1_000_000
    assert by_symbol["BTCUSDT"].delivery_ms == 0
    made.advance(START_NS + SECOND)
    by_symbol = {i.symbol: i for i in made.instruments}
    assert by_symbol["SOLUSDT"].launch_ms == (START_NS + SECOND) // 1_000_000
    spot = Market(7, Category.SPOT, start_ns=START_NS, delistings=(("ETHUSDT", 2.0),))
    assert {i.delivery_ms for i in spot.instruments} == {0}
