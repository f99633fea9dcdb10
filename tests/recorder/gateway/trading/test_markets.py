"""Orders in markets that are replayed or simulated, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.names import Category
from tests.recorder.gateway.trading.conftest import Place, now_ms

D = Decimal
TOPICS = ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "tickers.BTCUSDT"]


def recording(make_lines: Callable[..., Any], topics: list[str]) -> tuple[list[Any], str]:
    """Lines, and a price that the recorded trades come by on their way down, below the first ask."""
    lines = make_lines(Category.LINEAR, topics, 4.0)
    messages = [json.loads(payload) for _, payload in lines]
    (first,) = [m for m in messages if m["topic"].startswith("orderbook.")][:1]
    sold = [
        D(trade["p"])
        for message in messages
        if message["topic"].startswith("publicTrade")
        for trade in message["data"]
        if trade["S"] == "Sell"
    ]
    price = min(sold) + D("0.1")
    assert price < D(first["data"]["a"][0][0]), "the recording does not fall: take another seed"
    return lines, str(price)


@pytest.mark.parametrize("depth", [50, 200])
async def test_a_replay_fills_an_order_that_its_trades_come_by(
    open_place: Callable[..., Any],
    make_lines: Callable[..., Any],
    write_lines: Callable[..., Path],
    depth: int,
) -> None:
    topics = [f"orderbook.{depth}.BTCUSDT", *TOPICS[1:]]
    lines, price = recording(make_lines, topics)
    place = await open_place(
        simulate=None, replay=write_lines(lines), is_retiming=True, settle_seconds=0.1, is_looping=True
    )
    private, trade = await place.private("order", "execution"), await place.trade()
    order = {
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.001",
        "price": price, "orderLinkId": "early",
    }  # fmt: skip
    # Nobody has subscribed to anything: the market runs for those who trade in it.
    reply = await trade.order("create", order)
    assert reply["retCode"] == 0, reply
    (fill, *_) = await private.rows_until(lambda row: row["orderLinkId"] == "early", "execution")
    assert (fill["isMaker"], D(fill["execPrice"])) == (True, D(price))
    assert abs(int(fill["execTime"]) - now_ms()) < 60_000
    rows = await private.rows_until(lambda row: row["orderStatus"] == "Filled")
    assert rows[0]["orderStatus"] == "New"


async def test_a_quote_at_the_touch_is_met_sooner_or_later(open_place: Callable[..., Any]) -> None:
    place = await open_place(rate=30.0, symbol_count=1, order_limit=1_000)
    private, trade = await place.private("execution"), await place.trade()
    key = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "quote"}
    bid, _ = await place.best()
    values = {**key, "side": "Buy", "orderType": "Limit", "qty": "0.001", "price": bid, "timeInForce": "GTC"}
    assert (await trade.order("create", values))["retCode"] == 0
    async with asyncio.timeout(60):
        while not private.frames:
            bid, _ = await place.best()
            reply = await trade.order("amend", {**key, "price": bid})
            assert reply["retCode"] in (0, 10001, 110008), reply  # unchanged, or filled already
            try:
                async with asyncio.timeout(0.2):
                    await private.receive()
            except TimeoutError:
                continue
    (fill,) = private.frames[0]["data"]
    assert fill["isMaker"] in (True, False)
    assert fill["execQty"] == "0.001"


async def test_a_symbol_that_is_delisted_takes_no_orders(open_place: Callable[..., Any]) -> None:
    values = {"category": "linear", "symbol": "ADAUSDT", "side": "Buy", "orderType": "Market", "qty": "100"}
    for seconds in (0.5, 5.0, 50.0):
        place = await open_place(delistings=(("ADAUSDT", seconds),), symbol_count=7)
        trade = await place.trade()
        codes = []
        while 110074 not in codes:
            codes.append((await trade.order("create", values))["retCode"])
            assert set(codes) <= {0, 10006, 110074}
            await asyncio.sleep(0.001)  # more than 3,000 requests a second are 10403
        if len(codes) > 1:
            break  # else the machine was so slow that it was gone before the first order
    assert 0 in codes


async def test_every_category_trades(open_place: Callable[..., Any]) -> None:
    place = await open_place(category=None)
    private, trade = await place.private("order", "greeks"), await place.trade()
    rows = await place.rest._session.get(
        f"{place.rest._root}/v5/market/instruments-info?category=option&baseCoin=BTC"
    )
    option = (await rows.json())["result"]["list"][0]["symbol"]
    for category, symbol, quantity in (
        ("spot", "ETHUSDT", "50"),
        ("inverse", "BTCUSD", "10"),
        ("option", option, "0.01"),
    ):
        values = {
            "category": category,
            "symbol": symbol,
            "side": "Buy",
            "orderType": "Market",
            "qty": quantity,
        }
        reply = await trade.order("create", {**values, "orderLinkId": category})
        assert reply["retCode"] == 0, reply
        rows = await private.rows_until(lambda row, category=category: row["category"] == category)
        assert rows[-1]["cumExecQty"] != "0"
    (greeks,) = await private.rows_until(lambda row: True, "greeks")
    assert greeks["baseCoin"] == "BTC"
    assert D(greeks["totalDelta"]) > 0


async def test_the_public_side_shows_nothing_of_it(open_place: Callable[..., Any]) -> None:
    """The world outside does not know of our orders: the same seed pushes the same book with and without them."""
    place: Place = await open_place(symbol_count=1)
    trade = await place.trade()
    low = await place.far_bid()
    assert (await trade.order("create", {**low, "qty": "0.123"}))["retCode"] == 0
    async with place.rest._session.get(
        f"{place.rest._root}/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=1000"
    ) as answer:
        book = (await answer.json())["result"]
    assert [low["price"], "0.123"] not in [[price, size] for price, size in book["b"]]
