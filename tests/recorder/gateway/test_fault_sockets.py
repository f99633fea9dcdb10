"""Faults as a client meets them, over real sockets, and what the ledger says of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.gateway import Gateway, GatewayOptions, parse_faults
from recorder.gateway.books import Feeds, topic_of
from schemas.names import Category
from tests.recorder.lines import until

Make = Callable[..., Any]

BOOK = "orderbook.50.BTCUSDT"
TOPICS = [BOOK, "orderbook.1.BTCUSDT", "tickers.BTCUSDT", "publicTrade.BTCUSDT"]


def options(tmp_path: Path, faults: str, **more: Any) -> GatewayOptions:
    simulated: dict[str, Any] = {} if "replay" in more else {"simulate": 7, "category": Category.LINEAR}
    ledger = tmp_path / "ledger.jsonl"
    plan = parse_faults([faults])
    return GatewayOptions(**{**simulated, "speed": 10.0, "faults": plan, "ledger": ledger, **more})


def told(tmp_path: Path, event: str = "fault") -> list[dict[str, Any]]:
    lines = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


async def quiet(client: Any, seconds: float = 0.3) -> bool:
    """Whether nothing at all arrives for a while, the connection being open."""
    try:
        async with asyncio.timeout(seconds):
            await client.receive()
    except TimeoutError:
        return True
    return False


async def test_half_open_swallows_in_both_directions_and_stays_up(join: Make, tmp_path: Path) -> None:
    async with Gateway(options(tmp_path, "half_open=0.02,seed=5")) as gateway:
        client, other = await join(gateway), await join(gateway)
        await client.subscribe(BOOK)
        while not told(tmp_path):
            await quiet(client, 0.1)  # the last frame may come before the ledger tells of it
        while not await quiet(client, 0.1):
            pass
        await client.send({"op": "ping", "req_id": "anybody?"})
        await client.send({"op": "subscribe", "args": ["tickers.BTCUSDT"]})
        await client.socket.ping()
        assert await quiet(client)
        assert not any(answer.get("req_id") == "anybody?" for answer in client.answers)
        assert (await other.ask({"op": "ping"}))["ret_msg"] == "pong"
        (fault,) = told(tmp_path)
        assert (fault["fault"], fault["connection"], fault["topic"]) == ("half_open", 1, BOOK)
        assert [line["topic"] for line in told(tmp_path, "subscribe")] == [BOOK]
        # Not even a goodbye is answered: the client gives up waiting.
        await client.socket.close()
        assert client.socket.protocol.close_rcvd is None
        await until(lambda: told(tmp_path, "close"), "the end of the connection")


async def test_a_gateway_ends_although_a_connection_is_half_open(join: Make, tmp_path: Path) -> None:
    async with Gateway(options(tmp_path, "half_open=1")) as gateway:
        client = await join(gateway)
        await client.subscribe(BOOK)
        assert await quiet(client, 0.1)
    with pytest.raises(ConnectionClosed):
        await client.receive()


async def test_late_frames_leave_in_one_burst_in_their_order(join: Make, tmp_path: Path) -> None:
    async with Gateway(options(tmp_path, "late=0.05,delay=0.2,seed=2")) as gateway:
        client = await join(gateway)
        await client.subscribe(*TOPICS)
        while sum(fault["fault"] == "late" for fault in told(tmp_path)) < 4:
            await client.receive()
        feeds = Feeds(Category.LINEAR)
        for frame in client.frames:
            feeds.apply(topic_of(frame) or "", frame)
        assert feeds.snapshot(BOOK, 0) is not None
        clock = asyncio.get_running_loop().time
        pauses, last_s = [], clock()
        while max(pauses, default=0.0) < 0.15:
            await client.receive()
            pauses.append(clock() - last_s)
            last_s = clock()


@pytest.mark.parametrize("deed", ["data_first", "slow_ack"])
async def test_data_before_the_acknowledgement(join: Make, tmp_path: Path, deed: str) -> None:
    async with Gateway(options(tmp_path, f"{deed}=1,delay=0.2")) as gateway:
        client = await join(gateway)
        await client.send({"op": "subscribe", "req_id": "s1", "args": TOPICS})
        await client.receive()
        assert client.frames
        assert not client.answers
        while not client.answers:
            await client.receive()
        assert (client.answers[0]["success"], client.answers[0]["req_id"]) == (True, "s1")
        (fault,) = told(tmp_path)
        assert (fault["fault"], fault["connection"], fault["topics"]) == (deed, 1, TOPICS)


async def test_lost_and_double_acknowledgements(join: Make, tmp_path: Path) -> None:
    async with Gateway(options(tmp_path, "double_ack=1")) as gateway:
        client = await join(gateway)
        await client.subscribe(BOOK)
        await client.ask({"op": "ping"})
        assert [answer["op"] for answer in client.answers[:2]] == ["subscribe", "subscribe"]
    async with Gateway(options(tmp_path, "lost_ack=1")) as gateway:
        client = await join(gateway)
        await client.send({"op": "subscribe", "args": [BOOK]})
        await client.until(5)
        assert (await client.ask({"op": "ping"}))["ret_msg"] == "pong"
        assert len(client.answers) == 1


@pytest.mark.parametrize("category", [Category.LINEAR, Category.OPTION])
async def test_a_refused_topic_is_named_in_the_exchanges_words(
    join: Make, tmp_path: Path, category: Category
) -> None:
    async with Gateway(options(tmp_path, "refuse=1,seed=1", category=category)) as gateway:
        client = await join(gateway, category.value)
        url = f"http://127.0.0.1:{gateway.port}/v5/market/instruments-info"
        query = {"category": category.value, "baseCoin": "BTC"}
        async with aiohttp.ClientSession() as session, session.get(url, params=query) as response:
            symbol = (await response.json())["result"]["list"][0]["symbol"]
        trades = "BTC" if category is Category.OPTION else symbol
        topics = [f"tickers.{symbol}", f"publicTrade.{trades}"]
        answer = await client.subscribe(*topics)
        if category is Category.OPTION:
            (refused,) = answer["data"]["failTopics"]
            assert answer["data"]["successTopics"] == [topic for topic in topics if topic != refused]
            assert [line["topic"] for line in told(tmp_path, "subscribe")] == answer["data"]["successTopics"]
        else:
            assert answer["success"] is False
            assert answer["ret_msg"].startswith("error:handler not found,topic:")
            assert answer["ret_msg"].rpartition(":")[2] in topics
            assert not told(tmp_path, "subscribe")


@pytest.mark.parametrize(("deed", "status"), [("forbidden", 403), ("too_many", 429), ("unavailable", 503)])
async def test_refused_handshakes(join: Make, tmp_path: Path, deed: str, status: int) -> None:
    async with Gateway(options(tmp_path, f"{deed}=0.5,seed=1")) as gateway:
        joined, refusals = 0, []
        while not (joined and refusals):
            try:
                await join(gateway)
                joined += 1
            except InvalidStatus as error:
                refusals.append(error.response.status_code)
        assert set(refusals) == {status}
        assert [(fault["fault"], fault["connection"]) for fault in told(tmp_path)] == [(deed, 0)] * len(
            refusals
        )
        assert len(told(tmp_path, "open")) == joined


def assert_restarted(frames: list[bytes], topic: str) -> None:
    """Every u=1 is a snapshot of the state before it, and a chain counts on from it."""
    feeds, last, restarts = Feeds(Category.LINEAR), None, 0
    for frame in (frame for frame in frames if topic_of(frame) == topic):
        message, before = json.loads(frame), feeds.view(topic)
        feeds.apply(topic, frame)
        update_id = message["data"]["u"]
        if update_id == 1:
            restarts += 1
            after = feeds.view(topic)
            assert message["type"] == "snapshot"
            assert before is not None
            assert after is not None
            assert (after.bids, after.asks) == (before.bids, before.asks)
        else:
            assert last is None or update_id == last + 1
        last = update_id
    assert restarts >= 2


@pytest.mark.parametrize("source", ["market", "replay"])
async def test_a_restart_begins_new_chains_for_everybody(
    join: Make, make_lines: Make, write_lines: Make, tmp_path: Path, source: str
) -> None:
    more: dict[str, Any] = {}
    if source == "replay":
        more = {"replay": write_lines(make_lines(Category.LINEAR, TOPICS, 60)), "settle_seconds": 0.1}
    async with Gateway(options(tmp_path, "restart=0.2", **more)) as gateway:
        clients = [await join(gateway), await join(gateway)]
        for client in clients:
            await client.subscribe(*TOPICS)

        def restarts(client: Any) -> int:
            return sum(json.loads(frame)["data"].get("u") == 1 for frame in client.frames if b"k.50" in frame)

        while behind := [client for client in clients if restarts(client) < 3]:
            await asyncio.gather(*(client.receive() for client in behind))
        for client in clients:
            assert_restarted(client.frames, BOOK)
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{gateway.port}/v5/market/orderbook"
            query = {"category": "linear", "symbol": "BTCUSDT", "limit": "50"}
            async with session.get(url, params=query) as response:
                assert (await response.json())["result"]["u"] < 10_000
        newcomer = await join(gateway)
        await newcomer.subscribe(BOOK)
        await newcomer.until(1)
        assert json.loads(newcomer.frames[0])["data"]["u"] < 10_000
        assert sum(fault["fault"] == "restart" for fault in told(tmp_path)) >= 2


async def test_calm_after_a_while(join: Make, tmp_path: Path) -> None:
    faults = "reorder=1,restart=0.2,until=0.5,seed=1"
    async with Gateway(options(tmp_path, faults)) as gateway:
        client = await join(gateway)
        await client.subscribe(BOOK)
        await until(lambda: told(tmp_path, "calm"), "calm")
        before = told(tmp_path)
        assert {fault["fault"] for fault in before} == {"reorder", "restart"}
        await client.until(len(client.frames) + 100)
        assert told(tmp_path) == before


async def test_slow_readers_are_disconnected_even_at_full_speed(join: Make, tmp_path: Path) -> None:
    limits = options(tmp_path, "slow_reader=64", speed=None, rate=20.0)
    async with Gateway(limits) as gateway:
        slow = await join(gateway, max_queue=1)
        await slow.subscribe(*TOPICS, "orderbook.200.BTCUSDT", "orderbook.1000.BTCUSDT")
        await until(lambda: told(tmp_path), "the disconnect")
        assert [(fault["fault"], fault["connection"]) for fault in told(tmp_path)] == [("slow_reader", 1)]
        with pytest.raises(ConnectionClosed):
            await slow.until(10**9)
