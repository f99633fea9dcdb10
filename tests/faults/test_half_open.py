"""A connection that swallows packets while TCP stays up: found by missing pongs, left, and only then made anew."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path

import pytest

from engine.bybit.patience import SessionOptions
from engine.timing import Timing
from recorder.collector import Collector
from recorder.gateway import Gateway, GatewayOptions
from recorder.journal import SegmentReader, segments
from recorder.roll import roll_data
from recorder.verify import verify
from schemas import notes
from schemas.config import RecordConfig
from schemas.names import Category, RecordKind
from tests.recorder.lines import until

MS = 1_000_000
HASTY = Timing(
    session=SessionOptions(ping_interval_ns=400 * MS, silence_timeout_ns=5_000 * MS), tick_s=0.02, steady_ns=1
)
ESTABLISHED = 1  # first byte of tcp_info


class Swallows(Enum):
    """What a proxy keeps to itself."""

    NOTHING = "nothing"
    REQUESTS = "requests"
    ALL = "all"


class Proxy:
    """Passes bytes on between clients and a gateway, until it is told not to. It never closes anything by itself.

    Attributes:
        clients: their sockets, in the order they came.
        before: TCP states of the earlier clients' sockets at the moment when each came.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.swallows = Swallows.NOTHING
        self.clients: list[socket.socket] = []
        self.before: list[list[int]] = []
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            for client in self.clients:
                client.close()

    def _state(self, client: socket.socket) -> int:
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, up_writer]
        is_first_request = True
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade: websocket" in head:
            self.before.append([self._state(client) for client in self.clients])
            self.clients.append(socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())))
            is_first_request = len(self.clients) == 1
        up_writer.write(head)
        await asyncio.gather(
            self._pass_on(reader, up_writer, is_first_request, {Swallows.REQUESTS, Swallows.ALL}),
            self._pass_on(up_reader, writer, is_first_request, {Swallows.ALL}),
        )

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_hit: bool, when: set[Swallows]
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not (is_hit and self.swallows in when):
                    writer.write(data)
        except ConnectionError:
            pass


def _events(data: Path) -> list[notes.Session]:
    found = []
    for segment in segments(data):
        with SegmentReader(segment.path) as reader:
            found += [
                notes.decode_session(record.payload)
                for record in reader.records()
                if record.kind == RecordKind.SESSION
            ]
    return found


@pytest.mark.parametrize("swallows", [Swallows.REQUESTS, Swallows.ALL])
async def test_a_connection_that_swallows_packets_is_left(tmp_path: Path, swallows: Swallows) -> None:
    options = GatewayOptions(simulate=5, category=Category.LINEAR, symbol_count=1)
    async with Gateway(options) as gateway:
        proxy = Proxy(gateway.port)
        async with proxy.running() as root:
            config = RecordConfig(data=str(tmp_path), roll=False)
            topic = "orderbook.50.BTCUSDT"
            collector = Collector(config, root, [topic], crashed=[], timing=HASTY)
            task = asyncio.create_task(collector.run())
            await until(lambda: collector.is_recording and collector.capture.frames > 5, "frames")
            proxy.swallows = swallows
            await until(lambda: len(proxy.clients) > 1, "another connection")
            frames = collector.capture.frames
            await until(lambda: collector.capture.frames > frames + 5, "more frames")
            await until(lambda: collector.engine.state(0).value == "live", "a book that lives again")
            collector.stop("the test")
            await asyncio.wait_for(task, 60)
    lost = [event for event in _events(tmp_path) if isinstance(event, notes.Disconnected) and not event.clean]
    assert lost[0].reason == "2 pings in a row were not answered"
    # TCP had nothing to say against the old connection; it was given up before the new one was made
    assert proxy.before[0] == []
    assert len(proxy.before[1]) == 1
    assert proxy.before[1][0] != ESTABLISHED
    roll_data(tmp_path)
    result = verify(tmp_path)
    assert result.failures == []
    assert result.gaps >= 1
