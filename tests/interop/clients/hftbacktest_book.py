"""Run by an interpreter that has hftbacktest: the book that it arrives at, as it goes through an .npz by milliseconds.

Prints one JSON object: nanoseconds since the epoch -> [best bid, its size, best ask, its size].
"""

from __future__ import annotations

import json
import sys
from typing import Any

import hftbacktest as peer
import numpy as np
from hftbacktest.data import validate_event_order
from hftbacktest.types import event_dtype


def main(path: str) -> dict[int, list[float]]:
    """Read the file as its documentation says."""
    array: Any = np.load(path)["data"]
    assert array.dtype == event_dtype
    validate_event_order(array)
    asset = (
        peer.BacktestAsset()
        .data([path])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(0.5)
        .lot_size(0.001)
        .last_trades_capacity(10)
    )
    market = peer.HashMapMarketDepthBacktest([asset])
    seen = {}
    while market.elapse(1_000_000) == 0:
        depth = market.depth(0)
        now_ns = int(market.current_timestamp)
        seen[now_ns] = [depth.best_bid, depth.best_bid_qty, depth.best_ask, depth.best_ask_qty]
    # the array may end between two steps
    depth = market.depth(0)
    seen[int(array["local_ts"][-1])] = [
        depth.best_bid,
        depth.best_bid_qty,
        depth.best_ask,
        depth.best_ask_qty,
    ]
    market.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
