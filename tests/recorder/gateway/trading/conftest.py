"""A gateway that trades in a simulated market, and a client that speaks to it in plain words."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect

from engine.bybit.signing import sign_request, sign_socket
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.gateway.trading.options import TradeOptions, parse_keys
from schemas.names import Category

PATIENCE_S = 60.0
KEYS = parse_keys(["demo:demo-secret", "other:other-secret:1002", "looker:looker-secret:1001:ro"])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def options(**more: Any) -> GatewayOptions:
    trade = {name: more.pop(name) for name in ("order_limit", "balances") if name in more}
    more = {"simulate": 7, "category": Category.LINEAR, "trade": TradeOptions(KEYS, **trade), **more}
    return GatewayOptions(**more)


class Socket:
    """A private or trade connection."""

    def __init__(self, socket: ClientConnection, key: str) -> None:
        self.socket = socket
        self.key = KEYS[key]
        self.frames: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self._requests = 0

    async def send(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            message: dict[str, Any] = json.loads(await self.socket.recv())
        (self.frames if "topic" in message else self.replies).append(message)
        return message

    async def ask(self, message: Any) -> dict[str, Any]:
        await self.send(message)
        known = len(self.replies)
        while len(self.replies) == known:
            await self.receive()
        return self.replies[-1]

    async def authenticate(self, **changes: Any) -> dict[str, Any]:
        expires = changes.get("expires", now_ms() + 5_000)
        signature = changes.get("signature", sign_socket(self.key.secret, expires))
        return await self.ask({"op": "auth", "args": [changes.get("key", self.key.key), expires, signature]})

    async def order(self, operation: str, values: Any, **changes: Any) -> dict[str, Any]:
        self._requests += 1
        message = {
            "reqId": f"r{self._requests}",
            "header": {"X-BAPI-TIMESTAMP": str(now_ms())},
            "op": f"order.{operation}",
            "args": [values],
            **changes,
        }
        return await self.ask({key: value for key, value in message.items() if value is not None})

    async def rows_until(
        self, condition: Callable[[dict[str, Any]], bool], topic: str = "order"
    ) -> list[dict[str, Any]]:
        """Receive until a row of a topic is as wanted; return all rows of the topic so far."""
        seen = 0
        rows: list[dict[str, Any]] = []
        while True:
            for frame in self.frames[seen:]:
                if frame["topic"] == topic:
                    rows += frame["data"]
                    if any(condition(row) for row in frame["data"]):
                        return rows
            seen = len(self.frames)
            await self.receive()


class Rest:
    """Signed REST."""

    def __init__(self, root: str, session: aiohttp.ClientSession) -> None:
        self._root = root.replace("ws", "http", 1)
        self._session = session

    async def raw(
        self, method: str, path: str, payload: str = "", key: str = "demo", **headers: str | None
    ) -> tuple[dict[str, Any], Any]:
        stamp = str(now_ms())
        own = KEYS[key]
        given = {
            "X-BAPI-API-KEY": own.key,
            "X-BAPI-TIMESTAMP": stamp,
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": sign_request(own.secret, own.key, stamp, 5000, payload),
            "Content-Type": "application/json",
        }
        for name, value in headers.items():
            given[name.replace("_", "-")] = value or ""
        url = f"{self._root}{path}" + (f"?{payload}" if method == "GET" and payload else "")
        data = payload if method == "POST" else None
        async with self._session.request(method, url, data=data, headers=given) as answer:
            return json.loads(await answer.read()), answer.headers

    async def get(self, path: str, key: str = "demo", **query: Any) -> dict[str, Any]:
        payload = "&".join(f"{name}={value}" for name, value in query.items())
        return (await self.raw("GET", path, payload, key))[0]

    async def post(self, path: str, key: str = "demo", **values: Any) -> dict[str, Any]:
        return (await self.raw("POST", path, json.dumps(values), key))[0]

    async def result(self, path: str, key: str = "demo", **query: Any) -> dict[str, Any]:
        answer = await self.get(path, key, **query)
        assert answer["retCode"] == 0, answer
        result: dict[str, Any] = answer["result"]
        return result


class Place:
    """A gateway with its clients."""

    def __init__(self, gateway: Gateway, session: aiohttp.ClientSession) -> None:
        self.gateway = gateway
        self.rest = Rest(gateway.url, session)
        self._sockets: list[ClientConnection] = []

    async def connect(self, path: str, key: str = "demo") -> Socket:
        socket = await connect(f"{self.gateway.url}{path}", compression=None, close_timeout=0.3)
        self._sockets.append(socket)
        return Socket(socket, key)

    async def private(self, *topics: str, key: str = "demo", query: str = "") -> Socket:
        socket = await self.connect(f"/v5/private{query}", key)
        assert (await socket.authenticate())["success"] is True
        if topics:
            acknowledged = await socket.ask({"op": "subscribe", "args": list(topics)})
            assert acknowledged["success"] is True, acknowledged
        return socket

    async def trade(self, key: str = "demo") -> Socket:
        socket = await self.connect("/v5/trade", key)
        assert (await socket.authenticate())["retCode"] == 0
        return socket

    async def best(self, symbol: str = "BTCUSDT", category: str = "linear") -> tuple[str, str]:
        """The best bid and ask, in the market's own text."""
        async with self.rest._session.get(
            f"{self.rest._root}/v5/market/orderbook?category={category}&symbol={symbol}&limit=1"
        ) as answer:
            book = (await answer.json())["result"]
        return book["b"][0][0], book["a"][0][0]

    async def far_bid(self, symbol: str = "BTCUSDT", category: str = "linear") -> dict[str, Any]:
        """An order that will rest for as long as a test lasts."""
        bid = (await self.best(symbol, category))[0]
        price = str(int(float(bid) * 0.97))
        return {
            "category": category,
            "symbol": symbol,
            "side": "Buy",
            "orderType": "Limit",
            "qty": "0.01",
            "price": price,
        }

    async def close(self) -> None:
        for socket in self._sockets:
            await socket.close()


@pytest.fixture
async def open_place() -> AsyncIterator[Callable[..., Any]]:
    """Opener of places: ``await open_place(category=…, faults=…)``."""
    places: list[tuple[Gateway, Place, aiohttp.ClientSession]] = []

    async def open_one(**more: Any) -> Place:
        gateway = await Gateway(options(**more)).__aenter__()
        session = aiohttp.ClientSession()
        place = Place(gateway, session)
        places.append((gateway, place, session))
        return place

    yield open_one
    for gateway, place, session in places:
        await place.close()
        await session.close()
        await gateway.__aexit__(None, None, None)


@pytest.fixture
async def place(open_place: Callable[..., Any]) -> Place:
    """A gateway that trades linear contracts."""
    found: Place = await open_place()
    return found
