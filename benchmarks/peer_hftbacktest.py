"""hftbacktest as a contender: its backtest over its own binary events, made from the frames beforehand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from decimal import Decimal
from math import gcd
from typing import Any

import numpy as np
import orjson

from benchmarks.contenders import Decimals
from benchmarks.feed import Feed
from benchmarks.timing import Contender, Quotes, mantissas
from schemas.errors import DataError

__all__ = ["Hftbacktest"]


class Hftbacktest(Contender):
    """hftbacktest replaying its already decoded binary, one backtest a topic, best of both sides after each frame.

    Args:
        feed: order-book frames.
        decimals: of prices and sizes.
        kind: its book: ``hash_map`` or ``roi_vector``.
    """

    def __init__(self, feed: Feed, decimals: Decimals, kind: str) -> None:
        self.name = f"hftbacktest_{kind}_already_decoded"
        self._decimals = decimals
        self._roi = kind == "roi_vector"
        self._module = importlib.import_module("hftbacktest")
        self._kernel = _quote_kernel(self._roi)
        self._events = {topic: _events(feed, topic, decimals[topic], self._module) for topic in feed.topics}
        self._frames = {
            topic: int(events["local_ts"][-1]) // 1_000 for topic, (events, _) in self._events.items()
        }
        self._backtests: dict[str, Any] = {}
        self._found: dict[str, tuple[int, float, float, float, float]] = {}

    def prepare(self) -> None:
        """Backtests before their first event."""
        for backtest in self._backtests.values():
            backtest.close()
        self._backtests = {topic: self._backtest(topic) for topic in self._events}

    def _backtest(self, topic: str) -> Any:
        events, tick = self._events[topic]
        price_decimals, size_decimals = self._decimals[topic]
        asset = (
            self._module.BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0, 0)
            .tick_size(float(Decimal(tick).scaleb(-price_decimals)))
            .lot_size(float(Decimal(1).scaleb(-size_decimals)))
            .last_trades_capacity(0)
        )
        if not self._roi:
            return self._module.HashMapMarketDepthBacktest([asset])
        prices = events["px"]
        asset = asset.roi_lb(float(prices.min())).roi_ub(float(prices.max()))
        return self._module.ROIVectorMarketDepthBacktest([asset])

    def run(self) -> None:
        """Wait for each frame in its compiled loop."""
        kernel = self._kernel
        self._found = {topic: kernel(backtest) for topic, backtest in self._backtests.items()}

    def quotes(self) -> Quotes:
        """The best levels."""
        for topic, (frames, *_) in self._found.items():
            if frames != self._frames[topic]:
                raise DataError(f"{self.name} woke {frames} times on {topic}, expected {self._frames[topic]}")
        return {
            topic: mantissas(
                (round(value, self._decimals[topic][i % 2]) for i, value in enumerate(quote)),
                self._decimals[topic],
            )
            for topic, (_, *quote) in self._found.items()
        }


def _quote_kernel(roi: bool) -> Callable[[Any], tuple[int, float, float, float, float]]:
    """A compiled loop over a backtest: (frames, bid, bid size, ask, ask size)."""
    njit = importlib.import_module("numba").njit

    # Its ROI-vector book answers best_bid_qty with the price, so there the size is asked for by tick.
    @njit  # type: ignore[untyped-decorator]
    def by_tick(backtest: Any) -> tuple[int, float, float, float, float]:
        frames = 0
        bid = bid_size = ask = ask_size = 0.0
        status = 2
        while status == 2:
            status = backtest.wait_next_feed(False, 1_000_000_000_000_000)
            depth = backtest.depth(0)
            bid, bid_size = depth.best_bid, depth.bid_qty_at_tick(depth.best_bid_tick)
            ask, ask_size = depth.best_ask, depth.ask_qty_at_tick(depth.best_ask_tick)
            frames += 1
        return frames, bid, bid_size, ask, ask_size

    @njit  # type: ignore[untyped-decorator]
    def by_quantity(backtest: Any) -> tuple[int, float, float, float, float]:
        frames = 0
        bid = bid_size = ask = ask_size = 0.0
        status = 2
        while status == 2:
            status = backtest.wait_next_feed(False, 1_000_000_000_000_000)
            depth = backtest.depth(0)
            bid, bid_size = depth.best_bid, depth.best_bid_qty
            ask, ask_size = depth.best_ask, depth.best_ask_qty
            frames += 1
        return frames, bid, bid_size, ask, ask_size

    kernel: Callable[[Any], tuple[int, float, float, float, float]] = by_tick if roi else by_quantity
    return kernel


def _events(feed: Feed, topic: str, decimals: tuple[int, int], module: Any) -> tuple[Any, int]:
    """One topic as events of its documented layout, and the tick: the greatest step that all prices share.

    Events are for the local side only, so that it keeps one book instead of two. Times are the frames' ordinals in
    microseconds: each wait then ends after exactly one frame.
    """
    rows: list[tuple[int, int, int, float, float, int, int, float]] = []
    tick = 0
    frames = 0
    for frame in feed.frames:
        message = orjson.loads(frame)
        if message["topic"] != topic:
            continue
        frames += 1
        snapshot = message["type"] == "snapshot"
        kind = module.DEPTH_SNAPSHOT_EVENT if snapshot else module.DEPTH_EVENT
        for key, side in (("b", module.BUY_EVENT), ("a", module.SELL_EVENT)):
            levels = message["data"][key]
            common = side | module.LOCAL_EVENT
            stamp = frames * 1_000
            if snapshot and levels:
                clear = module.DEPTH_CLEAR_EVENT | common
                rows.append((clear, stamp, stamp, float(levels[-1][0]), 0.0, 0, 0, 0.0))
            for price, size in levels:
                tick = gcd(tick, int(Decimal(price).scaleb(decimals[0])))
                rows.append((kind | common, stamp, stamp, float(price), float(size), 0, 0, 0.0))
    dtype = importlib.import_module("hftbacktest.types").event_dtype
    return np.array(rows, dtype=dtype), tick
