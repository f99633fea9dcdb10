"""A simulated exchange over real sockets: every category, consistent books, REST that agrees with the stream."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from engine.market import BOOK_DEPTHS
from recorder.gateway import Gateway, GatewayOptions
from recorder.gateway.books import Feeds, topic_of
from schemas.names import Category

Make = Callable[..., Any]


def options(**more: Any) -> GatewayOptions:
    return GatewayOptions(**{"simulate": 7, "speed": 20.0, **more})


async def rest(gateway: Gateway, path: str, **query: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{gateway.port}/v5/market/{path}"
    async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
        body: dict[str, Any] = await response.json()
        assert body["retCode"] == 0, body
        result: dict[str, Any] = body["result"]
        return result


@pytest.mark.parametrize("category", Category)
async def test_every_category_is_served(join: Make, category: Category) -> None:
    async with Gateway(options()) as gateway:
        if category is Category.SPREAD:
            listed = await rest(gateway, "../spread/instrument", baseCoin="BTC")
        else:
            listed = await rest(gateway, "instruments-info", category=category.value, baseCoin="BTC")
        symbol = listed["list"][0]["symbol"]
        depths = BOOK_DEPTHS[category]
        topics = [*(f"orderbook.{depth}.{symbol}" for depth in depths), f"tickers.{symbol}"]
        client = await join(gateway, category.value)
        answer = await client.subscribe(
            *topics, "publicTrade." + ("BTC" if category is Category.OPTION else symbol)
        )
        assert answer["success"] is True
        await client.until({Category.OPTION: 25, Category.SPREAD: 60}.get(category, 150))
        firsts: dict[str, Any] = {}
        last: dict[str, int] = {}
        for frame in client.frames:
            message = json.loads(frame)
            topic = message["topic"]
            firsts.setdefault(topic, message)
            if topic.startswith("orderbook."):
                update_id = message["data"]["u"]
                assert update_id - last.get(topic, update_id - 1) in (0, 1)
                last[topic] = update_id
        assert set(topics) <= set(firsts)
        assert all(firsts[topic]["type"] == "snapshot" for topic in topics)


async def test_rest_agrees_with_the_stream_at_equal_update_id(join: Make) -> None:
    async with Gateway(options()) as gateway:
        client = await join(gateway)
        topic = "orderbook.1000.ETHUSDT"
        await client.subscribe(topic)
        state, seen = Feeds(Category.LINEAR), {}
        agreed = 0
        for _ in range(8):
            polled = await rest(gateway, "orderbook", category="linear", symbol="ETHUSDT", limit="1000")
            while polled["u"] not in seen:
                await client.receive()
                for frame in client.frames:
                    info = state.apply(topic, frame)
                    view = state.book("ETHUSDT", (1000,))
                    assert view is not None
                    seen[info.update_id] = view
                client.frames.clear()
            view = seen[polled["u"]]
            assert [list(level) for level in view.bids] == polled["b"]
            assert [list(level) for level in view.asks] == polled["a"]
            assert (view.cross_sequence, view.match_ms) == (polled["seq"], polled["cts"])
            agreed += 1
        assert agreed == 8


async def test_a_second_subscriber_continues_the_same_chain(join: Make) -> None:
    topic = "orderbook.50.BTCUSDT"
    async with Gateway(options()) as gateway:
        first, second = await join(gateway), await join(gateway)
        await first.subscribe(topic)
        await first.until(20)
        await second.subscribe(topic)
        await second.until(20)
        await first.until(len(first.frames) + 60)
        whole, late = Feeds(Category.LINEAR), Feeds(Category.LINEAR)
        views = {}
        for frame in first.frames:
            update_id = whole.apply(topic, frame).update_id
            views[update_id] = whole.book("BTCUSDT", (50,))
        shared = 0
        for frame in second.frames:
            update_id = late.apply(topic, frame).update_id
            mine, theirs = late.book("BTCUSDT", (50,)), views.get(update_id)
            if theirs is not None and mine is not None:
                assert (mine.bids, mine.asks) == (theirs.bids, theirs.asks)
                shared += 1
        assert shared > 10


async def test_the_clock_is_now(join: Make) -> None:
    async with Gateway(options(speed=1.0, category=Category.LINEAR)) as gateway:
        client = await join(gateway)
        await client.subscribe("orderbook.1.BTCUSDT")
        await client.until(3)
        assert abs(json.loads(client.frames[-1])["ts"] - time.time() * 1e3) < 5_000
        assert "linear: simulate 7" in repr(gateway)


async def test_full_speed_waits_for_its_readers(join: Make) -> None:
    async with Gateway(options(speed=None)) as gateway:
        quiet = await rest(gateway, "time")
        await asyncio.sleep(0.05)
        assert await rest(gateway, "time") == quiet
        client = await join(gateway)
        topics = [f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200)]
        await client.subscribe(*topics)
        await client.until(2_000)
        feeds = Feeds(Category.LINEAR)
        for frame in client.frames:
            feeds.apply(topic_of(frame) or "", frame)
        for topic in topics:
            assert feeds.snapshot(topic, 0) is not None, f"{topic} lost a delta"
        times = [json.loads(frame)["ts"] for frame in client.frames]
        assert times[-1] - times[0] > 5_000


async def test_the_full_book_comes_as_deltas_alone_the_rpi_book_with_its_snapshot(join: Make) -> None:
    async with Gateway(options(speed=None)) as gateway:
        client = await join(gateway)
        assert (await client.subscribe("orderbook.rpi.BTCUSDT", "orderbook.full.BTCUSDT"))["success"]
        await client.until(30)
        kinds: dict[str, list[str]] = {}
        for frame in client.frames:
            kinds.setdefault(topic_of(frame) or "", []).append(json.loads(frame)["type"])
        assert set(kinds["orderbook.full.BTCUSDT"]) == {"delta"}
        assert kinds["orderbook.rpi.BTCUSDT"][:3] == ["snapshot", "delta", "delta"]


async def test_known_topics_that_the_market_never_sends_are_silent(join: Make) -> None:
    async with Gateway(options(category=Category.OPTION)) as gateway:
        listed = await rest(gateway, "instruments-info", category="option", baseCoin="BTC")
        topic = f"tickers.{listed['list'][0]['symbol']}"
        client = await join(gateway, "option")
        assert (await client.subscribe("kline.1.BTC-6JAN23-18000-C", topic))["success"]
        await client.until(5)
        await client.unsubscribe("kline.1.BTC-6JAN23-18000-C")
        assert {topic_of(frame) for frame in client.frames} == {topic}


async def test_the_status_has_a_path_of_its_own_with_nothing_else_on_it(join: Make) -> None:
    async with Gateway(options(category=Category.OPTION)) as gateway:
        client = await join(gateway, "misc/status")
        assert not (await client.subscribe("tickers.BTCUSDT"))["success"]
        assert (await client.subscribe("system.status"))["success"]
        await client.until(2)
        assert {topic_of(frame) for frame in client.frames} == {"system.status"}
    async with Gateway(options(category=Category.LINEAR)) as gateway:
        client = await join(gateway, "linear")
        assert not (await client.subscribe("system.status"))["success"]


async def test_one_category_only(join: Make) -> None:
    async with Gateway(options(category=Category.OPTION)) as gateway:
        await join(gateway, "option")
        with pytest.raises(Exception, match="404"):
            await join(gateway, "linear")
