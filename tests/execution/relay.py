"""Stands between a client and a gateway, passes everything on, and keeps what either said on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from yarl import URL

__all__ = ["Call", "Frame", "Relay", "relay"]


class Frame(NamedTuple):
    """A message of a socket.

    Attributes:
        connection: which one, counted from 0 in the order in which they were opened.
        target: path and query of its URL.
    """

    connection: int
    target: str
    is_ours: bool
    message: dict[str, Any]


class Call(NamedTuple):
    """A REST request, as it arrived; headers in lower case."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]

    @property
    def fields(self) -> dict[str, Any]:
        """The object of a POST."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Relay:
    """What was said."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream.replace("ws://", "http://", 1)
        self._session = session
        self.root = ""
        self.frames: list[Frame] = []
        self.calls: list[Call] = []
        self.connections = 0

    def ours(self, path: str) -> list[dict[str, Any]]:
        """What the client sent to sockets of a path."""
        return [f.message for f in self.frames if f.is_ours and URL(f.target).path == path]

    def posts(self, path: str) -> list[dict[str, Any]]:
        """The objects of the client's POSTs to a path."""
        return [call.fields for call in self.calls if call.method == "POST" and call.path == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass a request or a socket on."""
        upgrade = request.headers.get("Upgrade", "").lower() == "websocket"
        return await (self._socket(request) if upgrade else self._call(request))

    async def _call(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(request.method, request.path, dict(request.query), body, headers))
        given = {
            name: value for name, value in headers.items() if name.startswith(("x-bapi", "content-type"))
        }
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(request.method, url, data=body or None, headers=given) as answer:
            told = {name: text for name, text in answer.headers.items() if name.lower().startswith("x-bapi")}
            return web.Response(status=answer.status, body=await answer.read(), headers=told)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        connection, target = self.connections, request.path_qs
        self.connections += 1
        near = web.WebSocketResponse()
        await near.prepare(request)
        async with self._session.ws_connect(self._upstream + target) as far:

            async def pump(source: Any, sink: Any, is_ours: bool) -> None:
                async for message in source:
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        continue
                    self.frames.append(Frame(connection, target, is_ours, json.loads(message.data)))
                    await sink.send_str(message.data)
                await sink.close()

            await asyncio.gather(pump(near, far, True), pump(far, near, False), return_exceptions=True)
        return near


@asynccontextmanager
async def relay(upstream: str) -> AsyncIterator[Relay]:
    """Open a relay on a port of its own."""
    async with aiohttp.ClientSession() as session:
        found = Relay(upstream, session)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", found.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            found.root = f"ws://127.0.0.1:{runner.addresses[0][1]}"
            yield found
        finally:
            await runner.cleanup()
