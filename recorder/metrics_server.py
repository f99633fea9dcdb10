"""A small HTTP server in a recorder's own loop: ``/metrics`` for Prometheus, ``/status`` as JSON, ``/healthz``.

It must not disturb the recording: an answer is made at most once a second, whoever asks, and at most a few requests are
answered at a time. It knows no secret and changes nothing, but it tells what is recorded, so it listens on the loopback
address unless another is given.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import web

from recorder.health import troubles
from recorder.metrics import CONTENT_TYPE, exposition
from schemas.errors import ConfigError

__all__ = ["LOOPBACK", "MetricsServer", "parse_address", "serving"]

LOOPBACK: Final = "127.0.0.1"
FRESH_NS: Final = 1_000_000_000
AT_ONCE: Final = 8

Statuses = Callable[[], list[dict[str, Any]]]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def parse_address(text: str, *, option: str = "--metrics") -> tuple[str, int]:
    """Split ``HOST:PORT``, ``:PORT`` or ``PORT``; no host is the loopback address, an IPv6 one stands in brackets.

    Args:
        text: what was given.
        option: as what.

    Raises:
        ConfigError: it is none of them.
    """
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in bare and bare == host):
        raise ConfigError(
            f"{option}: found {text!r}, expected HOST:PORT or PORT, such as 127.0.0.1:9464 or [::1]:9464"
        )
    return (bare if colon and bare else LOOPBACK), int(port)


class MetricsServer:
    """Answers from what the collectors tell.

    Args:
        statuses: asked for the present statuses, as ``recorder.metrics.exposition`` takes them.
        clock: monotonic, in ns.
    """

    def __init__(self, statuses: Statuses, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._statuses = statuses
        self._clock = clock
        self._told: list[dict[str, Any]] = []
        self._told_ns: int | None = None
        self._made: dict[str, bytes] = {}
        self._answering = 0
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> str:
        """Listen; returns the root URL. Port 0 takes a free one.

        Raises:
            ConfigError: the address can't be listened on.
        """
        app = web.Application(middlewares=[self._bound], client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=16).start()
        except OSError as error:
            await self.stop()
            raise ConfigError(
                f"--metrics: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from None
        address = self._runner.addresses[0]
        return f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}"

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _bound(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._answering >= AT_ONCE:
            return web.Response(status=503, text="too many requests at once\n", headers={"Retry-After": "1"})
        self._answering += 1
        try:
            return await handler(request)
        finally:
            self._answering -= 1

    def _present(self) -> list[dict[str, Any]]:
        now_ns = self._clock()
        if self._told_ns is None or now_ns - self._told_ns >= FRESH_NS:
            wall_ns = time.time_ns()
            self._told = [
                {"troubles": troubles(status, running=status["running"], now_ns=wall_ns), **status}
                for status in self._statuses()
            ]
            self._told_ns = now_ns
            self._made.clear()
        return self._told

    def _once(self, name: str, make: Callable[[list[dict[str, Any]]], bytes]) -> bytes:
        told = self._present()
        if name not in self._made:
            self._made[name] = make(told)
        return self._made[name]

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._once("metrics", exposition), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        body = self._once("status", lambda told: msgspec.json.encode({"collectors": told}))
        return web.Response(body=body, content_type="application/json")

    async def _healthz(self, _: web.Request) -> web.Response:
        told = self._present()
        words = [f"{status['collector']}: {each}\n" for status in told for each in status["troubles"]]
        if not any(status["running"] for status in told):
            words.append("nothing is recording\n")
        return web.Response(status=503 if words else 200, text="".join(words) or "ok\n")


@asynccontextmanager
async def serving(address: str, statuses: Statuses) -> AsyncIterator[str | None]:
    """Serve while the block runs; an empty address serves nothing. Yields the root URL, or None.

    Raises:
        ConfigError: a wrong address, or one that can't be listened on.
    """
    if not address:
        yield None
        return
    server = MetricsServer(statuses)
    url = await server.start(*parse_address(address))
    try:
        yield url
    finally:
        await server.stop()
