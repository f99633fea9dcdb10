"""A server of the page over a recorder that only pretends, in the test's own loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from recorder.serving.access import Access
from recorder.serving.history import History
from recorder.serving.server import Options, PageServer
from recorder.serving.sources import Books
from tests.processes import PATIENCE_S
from tests.recorder.serving.pretend import PretendRecorder

TOKEN = "a-token-that-nobody-guesses-0123"


class Served:
    """A running server.

    Attributes:
        server: itself.
        recorder: what it shows.
        url: of its root, without a slash at the end.
    """

    def __init__(self, server: PageServer, recorder: PretendRecorder, url: str) -> None:
        self.server = server
        self.recorder = recorder
        self.url = url

    @property
    def host(self) -> str:
        """As a browser would say it."""
        return self.url.partition("://")[2]

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Mapping[str, str], str]:
        """Return status, headers and text of an answer; redirections are not followed."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, allow_redirects=False, **options) as answer,
        ):
            return answer.status, answer.headers, await answer.text()


@asynccontextmanager
async def serving(
    data: Path, recorder: PretendRecorder, *, token: str | None = None, port: int = 0
) -> AsyncIterator[Served]:
    """Serve while the block runs."""
    options = Options(data, "127.0.0.1", port, Access(token))
    statuses: Any = recorder
    server = PageServer(options, statuses, Books(recorder.shared), History(data))
    url = await server.start()
    try:
        yield Served(server, recorder, url)
    finally:
        await server.stop()


async def heard(socket: aiohttp.ClientWebSocketResponse, channel: str) -> dict[str, Any]:
    """Return the next message of a channel; every message is acknowledged."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            message: dict[str, Any] = json.loads(await socket.receive_str())
            seen = getattr(socket, "_test_seen", 0) + 1
            socket._test_seen = seen  # type: ignore[attr-defined]
            await socket.send_str(json.dumps({"seen": seen}))
            if message["channel"] == channel:
                return message
