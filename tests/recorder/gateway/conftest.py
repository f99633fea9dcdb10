"""What the gateway's tests share: a small recording, gateways over it, and clients."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from engine.market import Market
from schemas.names import Category

START_NS = 1_760_000_000_000_000_000
PATIENCE_S = 60.0

Line = tuple[int, bytes]


def market_lines(category: Category, topics: list[str], seconds: float, seed: int = 1) -> list[Line]:
    market = Market(seed, category, start_ns=START_NS)
    firsts = [frame for frame in map(market.follow, topics) if frame is not None]
    frames = firsts + market.advance(START_NS + int(seconds * 1e9))
    return [(frame.time_ns + 1_500_000, frame.payload) for frame in frames]


@pytest.fixture
def make_lines() -> Callable[..., list[Line]]:
    """Builder of recordings: ``make_lines(category, topics, seconds, seed=1)``."""
    return market_lines


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Writer of recordings: ``write_lines(lines, name="feed.txt")``."""

    def write(lines: list[Line], name: str = "feed.txt") -> Path:
        path = tmp_path / name
        data = b"".join(b"%d %b\n" % line for line in lines)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


class Client:
    """A public WebSocket client that keeps what it gets apart: answers and data frames."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: list[dict[str, Any]] = []
        self.frames: list[bytes] = []

    async def send(self, message: str | bytes | dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            payload = await self.socket.recv(decode=False)
        if b'"topic"' in payload:
            self.frames.append(payload)
        else:
            self.answers.append(json.loads(payload))
        return payload

    async def ask(self, message: str | bytes | dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its answer; data frames on the way are kept."""
        await self.send(message)
        known = len(self.answers)
        while len(self.answers) == known:
            await self.receive()
        return self.answers[-1]

    async def subscribe(self, *topics: str) -> dict[str, Any]:
        return await self.ask({"op": "subscribe", "args": list(topics)})

    async def unsubscribe(self, *topics: str) -> dict[str, Any]:
        return await self.ask({"op": "unsubscribe", "args": list(topics)})

    async def until(self, count: int) -> list[bytes]:
        """Receive until there are this many data frames."""
        while len(self.frames) < count:
            await self.receive()
        return self.frames


@pytest.fixture
async def join() -> AsyncIterator[Callable[..., Any]]:
    """Opener of clients: ``await join(gateway, "linear")``; they are closed after the test."""
    sockets: list[ClientConnection] = []

    async def open_client(gateway: Any, category: str = "linear", **options: Any) -> Client:
        # A client that has stopped reading can't take part in the closing handshake: don't wait for it.
        options = {"max_size": None, "compression": None, "close_timeout": 0.3, **options}
        socket = await connect(f"{gateway.url}/v5/public/{category}", **options)
        sockets.append(socket)
        return Client(socket)

    yield open_client
    for socket in sockets:
        await socket.close()
