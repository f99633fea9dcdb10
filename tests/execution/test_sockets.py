"""A kept socket: authenticated, pinged, renewed, and given up when the exchange refuses for good."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from execution.desk.replies import OrderReply
from execution.desk.signers import HmacSigner
from execution.exchange_clock import ExchangeClock
from execution.sockets import KeptSocket
from recorder.network import Network
from tests.execution.conftest import until

Script = Callable[[dict[str, Any]], dict[str, Any] | None]
GOOD = {"op": "auth", "retCode": 0, "retMsg": "OK"}


class Peer:
    """A server that answers by a script, and remembers what it was told."""

    def __init__(self) -> None:
        self.script: Script = lambda message: GOOD if message["op"] == "auth" else None
        self.told: list[dict[str, Any]] = []
        self.sockets: list[ServerConnection] = []
        self.server: Server | None = None

    async def __call__(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        try:
            async for text in socket:
                message = json.loads(text)
                self.told.append(message)
                answer = self.script(message)
                if answer is not None:
                    await socket.send(json.dumps(answer))
        except ConnectionClosed:
            return

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/v5/trade"


class Ends:
    """What a socket's owner hears."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, Any]] = []
        self.up: list[int] = []
        self.down: list[tuple[int, str]] = []
        self.asked = 0

    async def ask_clock(self) -> None:
        self.asked += 1


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    found = Peer()
    async with serve(found, "127.0.0.1", 0) as server:
        found.server = server
        yield found


Keep = Callable[..., Awaitable[tuple[KeptSocket, Ends]]]


@pytest.fixture
async def keep(peer: Peer) -> AsyncIterator[Keep]:
    tasks: list[asyncio.Task[None]] = []

    async def keep_one(**more: Any) -> tuple[KeptSocket, Ends]:
        ends = Ends()
        url = peer.url
        socket = KeptSocket(
            Network.of(url.removesuffix("/v5/trade")),
            url,
            HmacSigner("key", "secret-secret"),
            ExchangeClock(),
            on_message=lambda number, message: ends.messages.append((number, message)),
            on_up=ends.up.append,
            on_down=lambda number, reason: ends.down.append((number, reason)),
            ask_clock=ends.ask_clock,
            **more,
        )
        tasks.append(asyncio.create_task(socket.run()))
        return socket, ends

    yield keep_one
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_up_down_and_up_again(peer: Peer, keep: Keep) -> None:
    socket, ends = await keep()
    await until(lambda: ends.up == [1])
    assert socket.is_up
    assert peer.told[0]["op"] == "auth"
    assert peer.told[0]["args"][0] == "key"
    assert socket.send(b'{"op":"order.create"}') == 1
    peer.sockets[0].transport.abort()
    await until(lambda: ends.up == [1, 2])
    assert [number for number, _ in ends.down] == [1]
    assert socket.send(b"{}") == 2


async def test_messages_come_with_their_connection(peer: Peer, keep: Keep) -> None:
    _, ends = await keep()
    await until(lambda: ends.up == [1])
    await peer.sockets[0].send('{"reqId":"r","retCode":0,"op":"order.create","data":{"orderId":"o"}}')
    await peer.sockets[0].send("nonsense")
    await until(lambda: bool(ends.messages))
    assert ends.messages == [(1, OrderReply("r", "order.create", 0, "", "o", None))]


async def test_a_private_socket_subscribes_before_it_is_up(peer: Peer, keep: Keep) -> None:
    answers = {"auth": {"op": "auth", "success": True}, "subscribe": {"op": "subscribe", "success": True}}
    peer.script = lambda message: answers.get(message["op"])
    _, ends = await keep(topics=["order", "wallet"])
    await until(lambda: ends.up == [1])
    assert [message["op"] for message in peer.told[:2]] == ["auth", "subscribe"]
    assert peer.told[1]["args"] == ["order", "wallet"]


async def test_a_refused_subscription_is_not_up(peer: Peer, keep: Keep) -> None:
    answers: dict[str, Any] = {
        "auth": {"op": "auth", "success": True},
        "subscribe": {"success": False, "ret_msg": "no"},
    }
    peer.script = lambda message: answers.get(message["op"])
    socket, ends = await keep(topics=["order"])
    await until(lambda: socket.connections >= 2)
    assert ends.up == []


@pytest.mark.parametrize("code", [10003, 10004, 10010])
async def test_a_key_that_is_refused_ends_it(peer: Peer, keep: Keep, code: int) -> None:
    peer.script = lambda message: {"op": "auth", "retCode": code, "retMsg": "no"}
    socket, ends = await keep()
    await until(lambda: socket.failed is not None)
    assert str(code) in str(socket.failed)
    assert "secret-secret" not in str(socket.failed)
    assert ends.up == []
    assert socket.connections == 1


async def test_a_refusal_for_the_time_is_tried_again_once_the_time_was_asked_for(
    peer: Peer, keep: Keep
) -> None:
    codes = iter([10002, 0])
    peer.script = lambda message: (
        {"op": "auth", "retCode": next(codes), "retMsg": ""} if message["op"] == "auth" else None
    )
    socket, ends = await keep()
    await until(lambda: ends.up == [2])
    assert socket.failed is None
    assert ends.asked == 1


async def test_a_private_refusal_has_no_code_and_is_tried_a_few_times(peer: Peer, keep: Keep) -> None:
    peer.script = lambda message: {"op": "auth", "success": False, "ret_msg": "no"}
    socket, ends = await keep(topics=["order"])
    await until(lambda: socket.failed is not None)
    assert (socket.connections, ends.asked) == (3, 2)


async def test_already_authenticated_is_fine(peer: Peer, keep: Keep) -> None:
    peer.script = lambda message: (
        {"op": "auth", "retCode": 20001, "retMsg": ""} if message["op"] == "auth" else None
    )
    _, ends = await keep()
    await until(lambda: ends.up == [1])


async def test_without_a_sign_of_life_it_is_dropped(peer: Peer, keep: Keep) -> None:
    _, ends = await keep(ping_s=0.05)  # the peer never answers a ping
    await until(lambda: len(ends.up) >= 2)
    assert "no sign of life" in ends.down[0][1]
    assert {"op": "ping"} in peer.told


async def test_pongs_keep_it(peer: Peer, keep: Keep) -> None:
    peer.script = lambda message: GOOD if message["op"] == "auth" else {"op": "pong", "retCode": 0}
    _, ends = await keep(ping_s=0.02)
    await until(lambda: sum(message["op"] == "ping" for message in peer.told) > 10)
    assert ends.up == [1]


async def test_a_renewed_connection_still_answers(peer: Peer, keep: Keep) -> None:
    socket, ends = await keep()
    await until(lambda: ends.up == [1])
    socket.renew()
    assert not socket.is_up
    await until(lambda: ends.up == [1, 2])
    await peer.sockets[0].send('{"reqId":"late","retCode":0,"op":"order.create"}')
    await until(lambda: bool(ends.messages))
    assert ends.messages[0][0] == 1
    assert ends.down == []
    peer.sockets[0].transport.abort()
    await until(lambda: [number for number, _ in ends.down] == [1])
    assert socket.is_up
