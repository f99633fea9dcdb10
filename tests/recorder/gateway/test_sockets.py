"""What both sides of the gateway do with a client's socket: let in, hear, say goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from recorder.gateway import sockets
from recorder.gateway.faults import Deed, FaultPlan
from recorder.gateway.sockets import Door, has_left, hear, new_socket

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


def test_there_is_room_for_so_many() -> None:
    door = Door(2, "connections", None, lambda _: None)
    assert door.refusal(1) is None
    refusal = door.refusal(2)
    assert refusal is not None
    assert (refusal.status, refusal.text) == (429, "2 connections are open already\n")


def test_faults_refuse_and_are_told_of_until_all_is_calm() -> None:
    told: list[Deed] = []
    door = Door(9, "connections", FaultPlan({Deed.FORBIDDEN: 1.0}), told.append)
    refusal = door.refusal(0)
    assert refusal is not None
    assert (refusal.status, told) == (403, [Deed.FORBIDDEN])
    door.calm()
    assert door.refusal(0) is None


@asynccontextmanager
async def client_of(serve: Serve) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async def answer(request: web.Request) -> web.WebSocketResponse:
        socket = new_socket()
        await socket.prepare(request)
        await serve(socket)
        return socket

    application = web.Application()
    application.router.add_get("/", answer)
    async with (
        TestServer(application, host="127.0.0.1") as server,
        aiohttp.ClientSession() as session,
        session.ws_connect(server.make_url("/"), autoping=False) as client,
    ):
        yield client


async def test_what_a_client_says_is_heard_and_pings_are_answered() -> None:
    heard: list[bytes] = []

    async def serve(socket: web.WebSocketResponse) -> None:
        heard.extend([request async for request in hear(socket, lambda: False, lambda: False)])
        await socket.close()

    async with client_of(serve) as client:
        await client.send_str("text")
        await client.send_bytes(b"bytes")
        await client.ping(b"there?")
        pong = await client.receive(timeout=60)
        assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"there?")
        await client.close()
    assert heard == [b"text", b"bytes"]


async def test_of_a_half_open_connection_nothing_is_heard_until_it_is_gone() -> None:
    heard: list[bytes] = []
    is_gone, ended = asyncio.Event(), asyncio.Event()

    async def serve(socket: web.WebSocketResponse) -> None:
        heard.extend([request async for request in hear(socket, lambda: True, is_gone.is_set)])
        ended.set()

    async with client_of(serve) as client:
        await client.send_str("text")
        await client.ping(b"there?")
        closing = asyncio.create_task(client.close())
        await asyncio.sleep(3 * sockets._HALF_OPEN_LOOK_S)
        assert not ended.is_set()
        is_gone.set()
        await asyncio.wait_for(ended.wait(), 60)
        await closing
    assert heard == []


async def test_a_goodbye_is_answered_or_the_client_is_to_be_cut_off() -> None:
    left: list[bool] = []

    async def serve(socket: web.WebSocketResponse) -> None:
        left.append(await has_left(socket))

    async with client_of(serve) as client:
        assert (await client.receive(timeout=60)).type is aiohttp.WSMsgType.CLOSE
        assert client.close_code == aiohttp.WSCloseCode.GOING_AWAY
    assert left == [True]
