"""A connection without a socket: what the line says is kept, what the exchange says is played."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from schemas.errors import ConnectError
from tests.processes import PATIENCE_S

OnFrames = Callable[[list[bytes], int], None]
OnClosed = Callable[[str], None]


class FakeConnection:
    """One connection, as `recorder.transport.Connection` looks to a line."""

    def __init__(self, url: str, on_frames: OnFrames, on_closed: OnClosed) -> None:
        self.url = url
        self.sent: list[dict[str, Any]] = []
        self.is_connected = True
        self.closing = False
        self.paused = False
        self.deaf = False
        self._on_frames = on_frames
        self._on_closed = on_closed

    @property
    def is_open(self) -> bool:
        return self.is_connected and not self.closing

    def send(self, text: bytes) -> None:
        if self.deaf or not self.is_open:
            raise ConnectError("the peer has stopped reading")
        self.sent.append(json.loads(text))

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    async def close(self, timeout_s: float = 5.0) -> None:
        self.drop("closed by us")

    def abort(self, reason: str = "aborted by us") -> None:
        asyncio.get_running_loop().call_soon(self.drop, reason)

    # ---- the exchange's side ----

    def deliver(self, *frames: bytes) -> None:
        """One chunk of frames arrives."""
        self._on_frames(list(frames), time.time_ns())

    def drop(self, reason: str) -> None:
        """The connection is gone; only the first time counts."""
        if self.is_connected:
            self.is_connected = False
            self._on_closed(reason)

    def requests(self, op: str) -> list[dict[str, Any]]:
        return [message for message in self.sent if message["op"] == op]

    def topics(self, op: str) -> list[str]:
        return [topic for request in self.requests(op) for topic in request["args"]]

    def acknowledge(self, op: str = "subscribe", *, refuse: str = "", words: str = "") -> None:
        """Answer every request of a kind, also those that the answers lead to: yes, or no where it names a topic."""
        while requests := self.requests(op):
            self.sent = [message for message in self.sent if message["op"] != op]
            for request in requests:
                self.deliver(answer(request, words if refuse in request["args"] else ""))


def answer(request: dict[str, Any], words: str = "") -> bytes:
    """The acknowledgement of linear and inverse (protocol section 2.3)."""
    value = {"success": not words, "ret_msg": words, "conn_id": "c", "op": request["op"]}
    return json.dumps(value | {"req_id": request["req_id"]}).encode()


class FakeExchange:
    """What `recorder.line.connect` becomes: hands out connections, or refuses to.

    Args:
        failures: so many attempts fail first.
        error: what they fail with.
        on_connect: told of each new connection, before the line has it.
    """

    def __init__(
        self,
        *,
        failures: int = 0,
        error: ConnectError | None = None,
        on_connect: Callable[[FakeConnection], None] = lambda _: None,
    ) -> None:
        self.failures = failures
        self.error = error
        self.attempts = 0
        self.connections: list[FakeConnection] = []
        self._on_connect = on_connect

    async def connect(
        self,
        url: str,
        *,
        on_frames: OnFrames,
        on_closed: OnClosed,
        ssl: object = None,
        kind: object = None,
    ) -> FakeConnection:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.attempts <= self.failures:
            raise self.error or ConnectError(f"{url}: nobody listens")
        connection = FakeConnection(url, on_frames, on_closed)
        self.connections.append(connection)
        self._on_connect(connection)
        return connection


async def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Let the loop run until something holds; a bound ends a test that waits for ever."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise AssertionError(f"{what} did not come within {PATIENCE_S:g} s")
        await asyncio.sleep(0.001)
