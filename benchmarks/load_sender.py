"""A lean gateway for the load benchmark: it sends frames built before, at the times of an open-loop schedule.

``python -m benchmarks.load_sender CYCLE --rate R --seconds S`` prints ``listening on ws://…`` and, when it is done, one
JSON object: when the schedule began (wall clock), how many frames went out and how late they were written. It waits for
nobody: what a reader leaves unread gathers in memory, up to a limit that ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks.load_frames import Cycle, Part
from recorder.gateway.dialect import Action, Dialect
from schemas.names import Category

__all__ = ["Sender"]

MOST_UNREAD_BYTES: Final = 512 << 20
_QUIET_S: Final = 1.0


class _Client(asyncio.Protocol):
    """One connection: handshake and requests through websockets' protocol, frames straight to the socket."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._protocol = ServerProtocol(max_size=1 << 20)
        self._dialect = Dialect(Category.LINEAR, "load", sender.has_symbol)
        self.transport: asyncio.Transport | None = None
        self.topics: dict[str, None] = {}
        self.part: Part | None = None
        self.is_open = False
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        self.is_open = False

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Request):
                protocol.send_response(protocol.accept(event))
                self.is_open = protocol.handshake_exc is None
                if self.is_open:
                    self._sender.clients.append(self)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._answer(bytes(event.data))
        assert self.transport is not None
        if writes := b"".join(protocol.data_to_send()):
            self.transport.write(writes)
        elif protocol.handshake_exc is not None:
            self.transport.close()

    def _answer(self, request: bytes) -> None:
        answer = self._dialect.answer(request, self.topics, time.time_ns() // 1_000_000)
        if answer.action is Action.SUBSCRIBE:
            self.topics.update(dict.fromkeys(answer.topics))
            self._sender.subscribed_s = time.monotonic()
        self._protocol.send_text(answer.payload)


class Sender:
    """Serves one run.

    Args:
        cycle: what is sent.
        rate: frames a second, all connections together.
        seconds: length of the schedule.
        tick_s: how often what is due is written.
    """

    def __init__(self, cycle: Cycle, rate: float, seconds: float, tick_s: float) -> None:
        self._cycle = cycle
        self._rate = rate
        self._total = int(rate * seconds)
        self._tick_s = tick_s
        self._symbols = {topic.rpartition(".")[2] for topic in cycle.topics}
        self.clients: list[_Client] = []
        self.subscribed_s = 0.0

    def has_symbol(self, symbol: str) -> bool:
        """Whether the symbol is one of the cycle's."""
        return symbol in self._symbols

    async def run(self) -> dict[str, Any]:
        """Wait for the subscriptions to everything, send the schedule; returns the account."""
        server = await asyncio.get_running_loop().create_server(lambda: _Client(self), "127.0.0.1", 0)
        print(f"listening on ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        wanted = len(self._cycle.topics)
        while (  # noqa: ASYNC110 - a look now and then is all that is needed
            sum(len(client.topics) for client in self.clients) < wanted
            or time.monotonic() < self.subscribed_s + _QUIET_S
        ):
            await asyncio.sleep(0.05)
        for client in self.clients:
            client.part = self._cycle.part(client.topics)
            client.part.stamp(0)
        account = await self._send()
        # Whoever is still reading gets all of it.
        for _ in range(1_000):
            if not any(client.is_open and self._unread(client) for client in self.clients):
                break
            await asyncio.sleep(0.01)
        return account

    async def _send(self) -> dict[str, Any]:
        count, rate, total = self._cycle.count, self._rate, self._total
        lateness, weights, unread = [], [], 0
        cpu_s, start_wall_ns, start_s = time.process_time(), time.time_ns(), time.monotonic()
        sent = 0
        while sent < total:
            now_s = time.monotonic() - start_s
            due = min(total, int(now_s * rate))
            if due > sent:
                lateness.append(now_s - sent / rate)
                weights.append(due - sent)
                while sent < due:
                    cycle, start = divmod(sent, count)
                    stop = min(count, start + due - sent)
                    if start == 0 and cycle:
                        for client in self.clients:
                            assert client.part is not None
                            client.part.stamp(cycle)
                    self._write(start, stop)
                    sent += stop - start
                unread = max(unread, *map(self._unread, self.clients))
                if unread > MOST_UNREAD_BYTES:
                    break
            await asyncio.sleep(self._tick_s)
        seconds = time.monotonic() - start_s
        late = np.repeat(np.array(lateness), np.array(weights)) * 1e3
        return {
            "start_ns": start_wall_ns,
            "sent": sent,
            "seconds": seconds,
            "late_ms": {"p50": float(np.quantile(late, 0.5)), "p99": float(np.quantile(late, 0.99))},
            "late_max_ms": float(late.max()),
            "most_unread_bytes": unread,
            "cpu_us_per_frame": (time.process_time() - cpu_s) / sent * 1e6,
            "connections": [
                {"topics": list(client.topics), "is_open": client.is_open} for client in self.clients
            ],
        }

    def _write(self, start: int, stop: int) -> None:
        for client in self.clients:
            assert client.part is not None
            assert client.transport is not None
            messages = client.part.slice(start, stop)
            if messages and client.is_open:
                client.transport.write(messages)

    @staticmethod
    def _unread(client: _Client) -> int:
        assert client.transport is not None
        return client.transport.get_write_buffer_size() if client.is_open else 0


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_sender")
    parser.add_argument("cycle", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tick-ms", type=float, default=1.0)
    arguments = parser.parse_args()
    sender = Sender(Cycle.read(arguments.cycle), arguments.rate, arguments.seconds, arguments.tick_ms / 1000)
    uvloop.run(_run(sender))


async def _run(sender: Sender) -> None:
    print(json.dumps(await sender.run()), flush=True)
    # Connections stay until whoever started this has no use for them any more.
    await asyncio.Event().wait()


if __name__ == "__main__":
    _main()
