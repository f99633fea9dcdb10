"""A NATS server as a process of its own, from the distribution's package; and what its streams hold."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.processes import PATIENCE_S, wait_until

__all__ = ["NatsServer", "needs_nats", "stream_messages"]

PROGRAM = shutil.which("nats-server")

needs_nats = pytest.mark.skipif(PROGRAM is None, reason="needs a NATS server (apt install nats-server)")


class NatsServer:
    """A server on a port that stays the same over its lives; a context manager that ends it.

    Args:
        scratch: where its streams and its log are.
        options: of the program.
        jetstream: whether it has streams.
    """

    def __init__(self, scratch: Path, *options: str, jetstream: bool = True) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        # Bound for as long as this lives, also while no server is there: nobody else is given the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.port: int = self._reserved.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._log = scratch / "log"
        streams = ["-js", "-sd", str(scratch / "streams")] if jetstream else []
        self._command = [PROGRAM or "", "-a", "127.0.0.1", "-p", str(self.port), *streams, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._reserved.close()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._listens, f"the server listened: {self._log}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it by a signal, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


async def stream_messages(url: str, stream: str, seen: Callable[[Any], None]) -> int:
    """Show every message that a stream holds, in its order; returns how many."""
    import nats
    from nats.js import api

    client = await nats.connect(url, allow_reconnect=False)
    try:
        manager = client.jetstream()
        state = (await manager.stream_info(stream)).state
        count = 0
        if state.messages:
            subscription = await manager.subscribe(
                "",
                stream=stream,
                ordered_consumer=True,
                config=api.ConsumerConfig(deliver_policy=api.DeliverPolicy.ALL),
            )
            while count < state.messages:
                seen(await subscription.next_msg(timeout=PATIENCE_S))
                count += 1
        return count
    finally:
        await client.close()
