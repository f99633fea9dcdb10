"""The simulated market's other topics: repeatable, and consistent with its trades."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from engine.core.feeds import Engine
from engine.market import Market, MarketFrame
from engine.market.events import KLINE_INTERVALS, candle_bounds_ms
from schemas.names import Category

START_NS = 1_760_000_000_123_456_789
SECOND = 10**9
LINEAR = [
    "kline.1.BTCUSDT", "kline.3.ETHUSDT", "allLiquidation.BTCUSDT", "allLiquidation.ETHUSDT", "insurance.USDT",
    "adlAlert.USDT", "priceLimit.BTCUSDT", "system.status", "publicTrade.BTCUSDT", "publicTrade.ETHUSDT",
]  # fmt: skip


def play(market: Market, topics: list[str], seconds: int, step_ms: int = 1_000) -> list[MarketFrame]:
    frames = [frame for frame in map(market.follow, topics) if frame is not None]
    end_ns = market.now_ns + seconds * SECOND
    while market.now_ns < end_ns:
        frames += market.advance(min(end_ns, market.now_ns + step_ms * 10**6))
    return frames


@pytest.fixture(scope="module")
def frames() -> list[MarketFrame]:
    return play(Market(7, Category.LINEAR, ["BTCUSDT", "ETHUSDT"], start_ns=START_NS, rate=2), LINEAR, 190)


def said(frames: list[MarketFrame], topic: str) -> list[dict[str, Any]]:
    return [json.loads(frame.payload) for frame in frames if frame.topic == topic]


def test_the_same_frames_in_any_steps() -> None:
    runs = [
        play(Market(5, Category.LINEAR, start_ns=START_NS), topics, 70, step_ms)
        for step_ms, topics in ((1_000, LINEAR), (170, [*LINEAR, "orderbook.50.BTCUSDT"]))
    ]
    wanted = [[(f.time_ns, f.topic, f.payload) for f in run if f.topic in LINEAR] for run in runs]
    assert wanted[0] == wanted[1]


def test_klines_are_what_the_trades_make(frames: list[MarketFrame]) -> None:
    trades: dict[int, list[tuple[Decimal, Decimal, int]]] = defaultdict(list)
    for message in said(frames, "publicTrade.BTCUSDT"):
        for trade in message["data"]:
            trades[trade["T"] // 60_000 * 60_000].append(
                (Decimal(trade["p"]), Decimal(trade["v"]), trade["T"])
            )
    confirmed = [m for m in said(frames, "kline.1.BTCUSDT") if m["data"][0]["confirm"]]
    starts = [m["data"][0]["start"] for m in confirmed]
    assert starts == list(range(starts[0], starts[0] + 60_000 * len(starts), 60_000))
    assert len(starts) == 3
    for message in confirmed[1:]:  # the first candle had begun before
        (candle,) = message["data"]
        made = trades[candle["start"]]
        prices = [price for price, _, _ in made]
        assert Decimal(candle["open"]) == prices[0]
        assert Decimal(candle["close"]) == prices[-1]
        assert Decimal(candle["high"]) == max(prices)
        assert Decimal(candle["low"]) == min(prices)
        assert Decimal(candle["volume"]) == sum(size for _, size, _ in made)
        assert Decimal(candle["turnover"]) == sum(price * size for price, size, _ in made)
        assert candle["timestamp"] == made[-1][2]
        assert candle["end"] == candle["start"] + 59_999
        assert message["ts"] > candle["end"]
    pushed = [m["ts"] for m in said(frames, "kline.1.BTCUSDT")]
    assert max(b - a for a, b in pairwise(pushed)) <= 60_000


def test_a_kline_without_trades_is_said_once_a_minute_and_goes_on_from_the_last_price() -> None:
    market = Market(7, Category.SPOT, ["LTCUSDT"], start_ns=START_NS, rate=0.001)
    messages = said(play(market, ["kline.1.LTCUSDT"], 200), "kline.1.LTCUSDT")
    candles = [m["data"][0] for m in messages]
    assert [c["confirm"] for c in candles].count(True) >= 3
    quiet = [c for c in candles if c["volume"] == "0" or not Decimal(c["volume"])]
    assert quiet
    assert all(c["open"] == c["close"] == c["high"] == c["low"] for c in quiet)


def test_liquidations_are_trades_and_move_the_pools(frames: list[MarketFrame]) -> None:
    liquidations = said(frames, "allLiquidation.BTCUSDT")
    assert liquidations
    trades = {
        (t["T"], t["v"], "Sell" if t["S"] == "Buy" else "Buy"): Decimal(t["p"])
        for m in said(frames, "publicTrade.BTCUSDT")
        for t in m["data"]
    }
    for message in liquidations:
        assert message["ts"] % 500 == 0
        for item in message["data"]:
            filled = trades[item["T"], item["v"], item["S"]]
            assert (Decimal(item["p"]) < filled) == (item["S"] == "Buy")
    pools = said(frames, "insurance.USDT")
    assert pools
    named = {pool["symbols"] for m in pools for pool in m["data"]}
    assert {"BTCUSDT"} <= named <= {"BTCUSDT", "ETHUSDT"}
    alerts = {m["ts"]: m["data"] for m in said(frames, "adlAlert.USDT")}
    assert len(alerts) == 190
    for message in pools:
        told = {pool["s"]: Decimal(str(pool["b"])) for pool in alerts[message["ts"]]}
        for pool in message["data"]:
            assert Decimal(pool["balance"]) == told[pool["symbols"]]


def test_price_limits_and_the_status(frames: list[MarketFrame]) -> None:
    limits = said(frames, "priceLimit.BTCUSDT")
    assert len(limits) > 600
    assert all(Decimal(m["data"]["buyLmt"]) > Decimal(m["data"]["sellLmt"]) for m in limits)
    states = [m["data"][0]["state"] for m in said(frames, "system.status")]
    assert set(states) == {"scheduled", "ongoing", "completed"}
    assert all(a != b for a, b in pairwise(states))


def test_the_engine_reads_all_of_it(frames: list[MarketFrame]) -> None:
    engine = Engine(Category.LINEAR, columns=True)
    for topic in LINEAR:
        engine.add_feed(topic)
    for i, frame in enumerate(frames):
        assert engine.apply(frame.payload, frame.time_ns, i) >= 0
    assert engine.counters()["drift"] == 0
    rows = sum(table.num_rows for table in engine.take_rows("c").values())
    data = [json.loads(frame.payload)["data"] for frame in frames]
    assert rows == sum(len(d) if isinstance(d, list) else 1 for d in data)


@pytest.mark.parametrize("interval", KLINE_INTERVALS)
def test_candles_lie_side_by_side(interval: str) -> None:
    at = 1_709_200_000_000  # 2024-02-29
    for _ in range(40):
        start, end = candle_bounds_ms(interval, at)
        assert start <= at < end
        assert candle_bounds_ms(interval, end - 1) == (start, end)
        at = end
    first = datetime.fromtimestamp(start / 1000, UTC)
    if interval == "W":
        assert first.weekday() == 0
    if interval == "M":
        assert (first.day, first.hour) == (1, 0)


def test_what_other_categories_have() -> None:
    inverse = Market(1, Category.INVERSE, start_ns=START_NS)
    assert inverse.has_topic("insurance.inverse")
    assert not inverse.has_topic("insurance.USDT")
    spot = Market(1, Category.SPOT, start_ns=START_NS)
    symbol = spot.instruments[0].symbol
    assert spot.has_topic(f"priceLimit.{symbol}")
    assert not spot.has_topic(f"allLiquidation.{symbol}")
    option = Market(1, Category.OPTION, start_ns=START_NS)
    assert not option.has_topic(f"kline.1.{option.instruments[0].symbol}")
    messages = said(play(inverse, ["kline.1.BTCUSD", "adlAlert.inverse"], 3), "adlAlert.inverse")
    assert {pool["c"] for pool in messages[0]["data"]} == {"BTC", "ETH", "SOL", "XRP"}
    assert spot.followed == frozenset()
