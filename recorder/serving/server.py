"""The page's server: aiohttp around ``recorder.serving.watching``. It reads and serves; it writes nothing anywhere.

Nothing of a request is logged. Connections, messages and questions are bounded; who is slow harms nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from ssl import SSLContext
from typing import Any, Final, NamedTuple, cast

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from recorder.serving.access import Access
from recorder.serving.door import FORM_BYTES, Door, answer_of
from recorder.serving.history import History, Trust
from recorder.serving.hub import Listener
from recorder.serving.moment import moment_of
from recorder.serving.pages import HEADERS, load_assets
from recorder.serving.sources import Books, Statuses
from recorder.serving.watching import Refused, Watching
from recorder.version import VERSION
from schemas.errors import ConfigError, TapebookError

__all__ = ["MOST_BROWSERS", "MOST_CONNECTIONS", "Options", "PageServer"]

MOST_BROWSERS: Final = 64
MOST_CONNECTIONS: Final = 256
MOST_QUESTIONS: Final = 4
"""Asked of the archive and not answered yet."""
ANSWER_S: Final = 20.0
SEND_S: Final = 20.0
"""A browser that takes nothing for so long is let go."""
WORD_BYTES: Final = 4096
STATUS_S: Final = 1.0
TRUST_S: Final = 30.0
HEARTBEAT_S: Final = 20.0

log = logging.getLogger("tapebook")

_ENCODER: Final = msgspec.json.Encoder()


class Options(NamedTuple):
    """What is served, where and to whom.

    Attributes:
        data: the data directory.
        host, port: to listen on; port 0 takes a free one.
        access: who may see it.
        tls: certificate and key, where it speaks https.
        rate: most updates a second.
    """

    data: Path
    host: str
    port: int
    access: Access
    tls: SSLContext | None = None
    rate: float = 30.0


class PageServer:
    """Serves one data directory.

    Args:
        options: what, where and to whom.
        statuses, books: what is read, once a second; ``read`` and ``refresh`` may block.
        history: the archive's side.
    """

    def __init__(self, options: Options, statuses: Statuses, books: Books, history: History) -> None:
        self._options = options
        self._statuses = statuses
        self._books = books
        self._history = history
        self._assets = load_assets()
        self._door = Door(options.access, self._assets, secure=options.tls is not None)
        self.watching = Watching(
            options.data.resolve().name,
            VERSION,
            time.time_ns() // 1_000_000,
            login=options.access.needs_token,
        )
        self._browsers: dict[Listener, asyncio.Event] = {}
        self._sockets: set[web.WebSocketResponse] = set()
        self._woken = asyncio.Event()
        self._looked_at = asyncio.Event()
        self._trusted: dict[tuple[str, str], Trust] = {}
        self._questions = 0
        self._asking = ThreadPoolExecutor(1, "archive")
        self._reading = ThreadPoolExecutor(1, "status")
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self.failures = 0
        """Readings that could not be made sense of; the page goes on with the last good one."""

    async def start(self) -> str:
        """Listen; returns the root URL.

        Raises:
            ConfigError: the address can't be listened on.
        """
        options = self._options
        app = web.Application(middlewares=[self._door.guard], client_max_size=FORM_BYTES)
        self._door.add_routes(app.router)
        app.router.add_get("/", self._page)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/live", self._live)
        app.router.add_get("/gaps", self._gaps)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=10, shutdown_timeout=2)
        await self._runner.setup()
        handler = self._runner.server
        assert handler is not None

        def connection() -> asyncio.Protocol:
            if len(handler.connections) >= MOST_CONNECTIONS:
                return _Full()
            made = handler()
            self._door.opened(made)
            return made

        try:
            self._server = await asyncio.get_running_loop().create_server(
                connection, options.host, options.port, ssl=options.tls, backlog=64
            )
        except OSError as error:
            await self.stop()
            raise ConfigError(
                f"--bind: cannot listen on {options.host}:{options.port}: {error.strerror or error}"
            ) from None
        address = self._server.sockets[0].getsockname()
        self._door.cookie = f"tapebook-{address[1]}"
        await self._trying(self._read)
        self._tasks = [
            asyncio.create_task(task())
            for task in (self._keep_reading, self._keep_looking, self._keep_judging)
        ]
        scheme = "http" if options.tls is None else "https"
        return f"{scheme}://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}"

    async def stop(self) -> None:
        """Say goodbye to every browser and close the port."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._server is not None:
            self._server.close()
            self._server = None
        bye = [socket.close(code=WSCloseCode.GOING_AWAY) for socket in self._sockets]
        await asyncio.gather(*bye, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._history.interrupt()
        self._asking.submit(self._history.close)
        self._asking.shutdown()
        self._reading.shutdown()

    # What comes in

    async def _page(self, request: web.Request) -> web.Response:
        return answer_of(request, self._assets["index.html"])

    async def _static(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None or asset.kind == "text/html":
            raise web.HTTPNotFound
        return answer_of(request, asset)

    async def _gaps(self, request: web.Request) -> web.Response:
        query = request.query
        now_ns = time.time_ns()
        try:
            at, within = query.get("at", ""), query.get("within", "300")
            if not within.isascii() or not within.isdigit() or len(within) > 6:
                raise ConfigError("expected a span in whole seconds")
            moment = moment_of(at, int(within), now_ns) if at.strip() else None
        except ConfigError as error:
            return web.json_response({"sentence": str(error), "gaps": []}, status=400)
        feed = query.get("feed", "")[:80]
        if self._questions >= MOST_QUESTIONS:
            raise web.HTTPServiceUnavailable(reason="Too many questions at once")
        self._questions += 1
        try:
            asked = asyncio.get_running_loop().run_in_executor(
                self._asking, self._history.gaps, moment, feed, now_ns
            )
            try:
                answer = await asyncio.wait_for(asyncio.shield(asked), ANSWER_S)
            except TimeoutError:
                self._history.interrupt()
                with suppress(TapebookError):
                    await asked
                raise web.HTTPGatewayTimeout(reason="The archive took too long") from None
        finally:
            self._questions -= 1
        return web.Response(body=_ENCODER.encode(answer), content_type="application/json")

    # What goes out

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self._browsers) >= MOST_BROWSERS:
            raise web.HTTPServiceUnavailable(reason="Too many browsers at once")
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=WORD_BYTES, compress=False, timeout=2.0
        )
        if not socket.can_prepare(request).ok:
            raise web.HTTPBadRequest(reason="Expected a WebSocket")
        socket.headers.update(HEADERS)
        listener, event = Listener(), asyncio.Event()
        self._browsers[listener] = event
        self._looked_at.set()
        self.watching.hub.listeners.add(listener)
        sending: asyncio.Task[None] | None = None
        try:
            await socket.prepare(request)
            self._sockets.add(socket)
            sending = asyncio.create_task(self._send(socket, request, listener, event))
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
                    break
                try:
                    self.watching.hear(listener, message.data)
                except Refused as refused:
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=str(refused).encode()[:120])
                    break
                event.set()
                self._woken.set()
        finally:
            self.watching.hub.listeners.discard(listener)
            del self._browsers[listener]
            self._sockets.discard(socket)
            if sending is not None:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        return socket

    async def _send(
        self, socket: web.WebSocketResponse, request: web.Request, listener: Listener, event: asyncio.Event
    ) -> None:
        while True:
            await event.wait()
            event.clear()
            for message in self.watching.hub.due(listener):
                try:
                    async with asyncio.timeout(SEND_S):
                        await socket.send_str(message)
                except TimeoutError:
                    if request.transport is not None:
                        request.transport.abort()
                    return
                except ConnectionError:
                    return

    def _wake(self) -> None:
        for event in self._browsers.values():
            event.set()

    # What is read

    async def _read(self) -> None:
        told = await asyncio.get_running_loop().run_in_executor(self._reading, self._read_once)
        self.watching.take(
            told,
            self._books.books,
            self._trusted,
            wall_ns=time.time_ns(),
            monotonic_ns=time.monotonic_ns(),
            words=self._books.words,
        )

    def _read_once(self) -> Any:
        told = self._statuses.read()
        self._books.refresh()
        return told

    async def _trying(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something that may fail on files of another version, or half a one; then the page shows what it knows."""
        try:
            await work()
        except Exception:
            if not self.failures:
                log.exception("what was found could not be understood; the page goes on with what it knows")
            self.failures += 1

    async def _keep_reading(self) -> None:
        while True:
            await asyncio.sleep(STATUS_S)
            await self._trying(self._read)
            self._door.close_silent()
            self._wake()

    async def _keep_looking(self) -> None:
        pause_s = 1 / self._options.rate
        while True:
            if not self.watching.is_watched():
                self._woken.clear()
                await self._woken.wait()
            began = time.monotonic()
            await self._trying(self._look)
            self._wake()
            await asyncio.sleep(max(pause_s - (time.monotonic() - began), pause_s / 4))

    async def _look(self) -> None:
        self.watching.look(time.time_ns() // 1_000_000)

    async def _keep_judging(self) -> None:
        """Ask the archive now and then what the last day is worth, as long as somebody looks."""
        while True:
            await self._looked_at.wait()
            await self._trying(self._judge)
            await asyncio.sleep(TRUST_S)
            if not self._browsers:
                self._looked_at.clear()

    async def _judge(self) -> None:
        with suppress(TapebookError):  # said where one asks
            self._trusted = await asyncio.get_running_loop().run_in_executor(
                self._asking, self._history.trusted, time.time_ns()
            )


class _Full(asyncio.Protocol):
    """What a connection gets when there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wide = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        wide.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        wide.close()
