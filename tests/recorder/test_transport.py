"""The transport against real loopback sockets: either client, on both event loops."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.uri import parse_uri

from recorder import transport
from recorder.transport import Connection, connect
from recorder.transports import connection_kind
from schemas.errors import ConfigError, ConnectError
from schemas.names import Transport

Run = Callable[[Coroutine[Any, Any, None]], None]
Handler = Callable[["Peer"], Awaitable[None]]

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario to its end; anything that reaches the loop's exception handler fails it."""

    def runner(scenario: Coroutine[Any, Any, None]) -> None:
        stray: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))
            async with asyncio.timeout(50):
                await scenario

        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(main())
        assert [context for context in stray if "frame handler" not in context["message"]] == []

    return runner


@pytest.fixture(params=list(Transport), autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Connection]:
    """The client under test; every owner of a test connects with it."""
    if request.param is Transport.PICOWS and importlib.util.find_spec("picows") is None:
        pytest.skip("picows isn't installed: pip install 'tapebook[picows]'")
    made = connection_kind(request.param)
    monkeypatch.setattr(Owner, "kind", made)
    return made


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0) -> bytes:
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return head + b"\x7f" + struct.pack("!Q", len(payload)) + payload


class Peer:
    """The server's end of a raw connection, after (or before) the handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request = b""

    async def read_request(self) -> str:
        self.request = await self.reader.readuntil(b"\r\n\r\n")
        key = self.request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        position = self.request.lower().index(b"sec-websocket-key: ") + len(b"sec-websocket-key: ")
        exact = self.request[position : position + len(key)]
        digest = hashlib.sha1(exact + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        return base64.b64encode(digest).decode()

    async def accept(self, extra: bytes = b"") -> None:
        answer = await self.read_request()
        head = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {answer}\r\n\r\n"
        )
        await self.write(head.encode() + extra)

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        mask = await self.reader.readexactly(4)
        masked = await self.reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(masked))


@asynccontextmanager
async def raw_server(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A TCP server that speaks byte by byte; yields its URL and ends with every connection closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, **options)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'wss' if options.get('ssl') else 'ws'}://127.0.0.1:{port}/v5/public/linear"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Owner:
    """Collects what a connection hands over."""

    kind = Connection

    def __init__(self) -> None:
        self.calls: list[tuple[list[bytes], int]] = []
        self.reasons: list[str] = []

    def frames(self, messages: list[bytes], receive_ns: int) -> None:
        self.calls.append((messages, receive_ns))

    @property
    def messages(self) -> list[bytes]:
        return [message for messages, _ in self.calls for message in messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - the condition is about a synchronous callback
            await asyncio.sleep(0.001)

    async def connect(self, url: str, **options: Any) -> Connection:
        return await connect(
            url, on_frames=self.frames, on_closed=self.reasons.append, kind=self.kind, **options
        )

    async def closed(self) -> str:
        await self.until(lambda: bool(self.reasons))
        # A second call would come soon after the first.
        await asyncio.sleep(0.01)
        (reason,) = self.reasons
        return reason


# -- messages ----------------------------------------------------------------------------------------------


def test_messages_come_as_bytes_in_order_and_requests_go_out(run: Run) -> None:
    async def scenario() -> None:
        got: list[bytes | str] = []

        async def handler(server: ServerConnection) -> None:
            got.append(await server.recv())
            for number in range(100):
                await server.send(f'{{"n":{number}}}' if number % 2 else b"%d" % number)
            await server.wait_closed()

        async with serve(handler, "127.0.0.1", 0) as server:
            owner = Owner()
            port = server.sockets[0].getsockname()[1]
            connection = await owner.connect(f"ws://127.0.0.1:{port}/v5/public/linear")
            assert connection.is_open
            before = time.time_ns()
            connection.send('{"op":"ping","π":1}'.encode())
            await owner.until(lambda: len(owner.messages) == 100)
            assert owner.messages == [b'{"n":%d}' % n if n % 2 else b"%d" % n for n in range(100)]
            assert all(type(message) is bytes for message in owner.messages)
            assert all(before <= stamp <= time.time_ns() for _, stamp in owner.calls)
            assert f"127.0.0.1:{port}" in repr(connection)
            assert "open" in repr(connection)
            assert "messages=100" in repr(connection)
            await connection.close()
            assert got == ['{"op":"ping","π":1}']
        assert await owner.closed() == "closed by us"
        assert not connection.is_open
        assert "closed (closed by us)" in repr(connection)

    run(scenario())


def test_a_message_is_in_the_socket_when_send_returns(run: Run) -> None:
    """Whatever the loop: nothing of it runs between the call and the look."""

    async def scenario() -> None:
        peers: list[Peer] = []

        async def handler(peer: Peer) -> None:
            peers.append(peer)
            await peer.accept()
            await asyncio.Event().wait()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            theirs = peers[0].writer.get_extra_info("socket").fileno()
            with socket.socket(fileno=os.dup(theirs)) as peer:
                connection.send(b"{}")
                assert select.select([peer], [], [], 20) == ([peer], [], [])
                head, size, *rest = peer.recv(100)
            assert (head, size) == (0x81, 0x82)
            assert bytes(byte ^ rest[index] for index, byte in enumerate(rest[4:])) == b"{}"
            connection.abort()

    run(scenario())


def test_a_full_socket_keeps_messages_whole_and_in_order(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAXIMUM_UNSENT_BYTES", 1 << 30)

    async def scenario() -> None:
        go = asyncio.Event()
        got: list[bytes | str] = []

        async def handler(server: ServerConnection) -> None:
            await go.wait()
            while True:
                got.append(await server.recv())

        async with serve(handler, "127.0.0.1", 0, max_size=1 << 20, max_queue=1) as server:
            owner = Owner()
            port = server.sockets[0].getsockname()[1]
            connection = await owner.connect(f"ws://127.0.0.1:{port}/")
            sizes = [600_000, 3, 125, 126, 65_535, 65_536, 600_000, 7] * 8
            sent = [bytes([97 + number % 26]) * size for number, size in enumerate(sizes)]
            for message in sent:
                connection.send(message)
            go.set()
            await owner.until(lambda: len(got) == len(sent))
            assert [str(message).encode() for message in got] == sent
            await connection.close()

    run(scenario())


def test_a_message_after_the_end_is_refused(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await asyncio.Event().wait()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            connection.abort()
            with pytest.raises(ConnectError, match="only be sent while"):
                connection.send(b"{}")

    run(scenario())


def test_all_messages_of_a_chunk_come_in_one_call(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.read_frame()
            await peer.write(b"".join(frame(TEXT, b"%d" % n) for n in range(50)))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            connection.send(b"go")
            await owner.until(lambda: len(owner.messages) == 50)
            assert len(owner.calls) == 1
            connection.abort()
            await owner.closed()

    run(scenario())


def test_messages_in_the_chunk_of_the_handshake_are_not_lost(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept(frame(TEXT, b"early"))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await owner.until(lambda: owner.messages == [b"early"])
            connection.abort()

    run(scenario())


def test_no_compression_is_offered(run: Run) -> None:
    async def scenario() -> None:
        seen: list[bytes] = []

        async def handler(peer: Peer) -> None:
            await peer.accept()
            seen.append(peer.request)
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await connection.close(0.05)
            assert seen[0].startswith(b"GET /v5/public/linear HTTP/1.1\r\n")
            assert b"sec-websocket-extensions" not in seen[0].lower()

    run(scenario())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_sizes_and_byte_by_byte_fragments(run: Run, size: int) -> None:
    payload = bytes(index % 251 for index in range(size))

    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.write(frame(BINARY, payload))
            third = size // 3
            await peer.write(frame(TEXT, payload[:third], final=False))
            await peer.write(frame(PING, b"between"))
            await peer.write(frame(CONTINUATION, b"", final=False))
            await peer.write(frame(CONTINUATION, payload[third : 2 * third], final=False))
            for byte in frame(CONTINUATION, payload[2 * third :])[:12]:
                await peer.write(bytes([byte]))
                await asyncio.sleep(0)
            await peer.write(frame(CONTINUATION, payload[2 * third :])[12:])
            assert await peer.read_frame() == (PONG, b"between")
            await peer.write(frame(TEXT, b"end"))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await owner.until(lambda: bool(owner.messages) and owner.messages[-1] == b"end")
            assert owner.messages == [payload, payload, b"end"]
            connection.abort()

    run(scenario())


def test_invalid_utf8_is_handed_over_as_it_came(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.write(
                frame(TEXT, b'{"a":"\xff\xfe\xc3"}') + frame(TEXT, b"\x00") + frame(TEXT, b"fine")
            )
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await owner.until(lambda: len(owner.messages) == 3)
            assert owner.messages == [b'{"a":"\xff\xfe\xc3"}', b"\x00", b"fine"]
            assert connection.is_open
            connection.abort()

    run(scenario())


# -- ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (frame(TEXT, b"12345")[:4], "in the middle of a message"),
        (frame(TEXT, b"12345", final=False), "in the middle of a message"),
        (b"\x81", "in the middle of a message"),
        (b"", "without a closing handshake"),
        (frame(CLOSE, struct.pack("!H", 1001) + b"restart"), "closed by the peer: 1001 (going away) restart"),
        (frame(CLOSE), "closed by the peer"),
        (frame(TEXT, b"x" * 1_001), "oversize"),
        (b"\x81\x7f" + struct.pack("!Q", 1 << 62), "oversize"),
        (frame(TEXT, b"x" * 600, final=False) + frame(CONTINUATION, b"x" * 600), "oversize"),
        (frame(3, b"x"), "broke the protocol"),
        (frame(TEXT, b"x", reserved=0x40), "broke the protocol"),
        (frame(CONTINUATION, b"x"), "broke the protocol"),
        (frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), "broke the protocol"),
        (frame(PING, b"x" * 126), "broke the protocol"),
        (b"\x81\x81abcdx", "broke the protocol"),
        (frame(CLOSE, b"\x00"), "broke the protocol"),
        (b"GET / HTTP/1.1\r\n\r\n", "broke the protocol"),
    ],
)
def test_every_end_is_told_once_and_keeps_what_came_before(
    run: Run, last: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An end must not need the deadline that stands behind it.
    monkeypatch.setattr(transport, "CLOSE_GRACE_S", 60)

    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.write(frame(TEXT, b"good") + last)
            if reason.startswith(("in the middle", "without")):
                return
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url, max_frame_bytes=1_000)
            assert reason in await owner.closed()
            assert owner.messages == [b"good"]
            assert not connection.is_open
            with pytest.raises(ConnectError, match="only be sent while"):
                connection.send(b"late")
            await connection.close()
            connection.abort()
            connection.pause_reading()
            connection.resume_reading()
            assert len(owner.reasons) == 1

    run(scenario())


def test_a_reset_is_told(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.read_frame()
            peer.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            peer.writer.transport.abort()

        async with raw_server(handler) as url:
            owner = Owner()
            (await owner.connect(url)).send(b"go")
            assert "lost" in await owner.closed()

    run(scenario())


def test_a_peer_that_never_answers_the_close_is_dropped(run: Run) -> None:
    async def scenario() -> None:
        seen: list[tuple[int, bytes]] = []

        async def handler(peer: Peer) -> None:
            await peer.accept()
            seen.append(await peer.read_frame())
            await peer.write(frame(TEXT, b"still talking"))
            await asyncio.Event().wait()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await connection.close(0.1)
            assert await owner.closed() == "closed by us"
            assert owner.messages == [b"still talking"]
            assert seen == [(CLOSE, struct.pack("!H", 1000))]

    run(scenario())


def test_a_frame_handler_that_raises_ends_the_connection_and_nothing_else(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept(frame(TEXT, b"one"))
            await peer.reader.read()

        def broken(messages: list[bytes], receive_ns: int) -> None:
            raise KeyError("oops")

        async with raw_server(handler) as url:
            owner = Owner()
            await connect(url, on_frames=broken, on_closed=owner.reasons.append, kind=owner.kind)
            assert await owner.closed() == "the frame handler failed: KeyError: 'oops'"

    run(scenario())


# -- pressure ----------------------------------------------------------------------------------------------


def test_a_paused_connection_leaves_the_bytes_with_the_sender(run: Run) -> None:
    total = 3_000
    payload = b"x" * 10_000

    async def scenario() -> None:
        sent = 0

        async def handler(peer: Peer) -> None:
            nonlocal sent
            await peer.accept()
            for _ in range(total):
                await peer.write(frame(TEXT, payload))
                sent += 1
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            connection.pause_reading()
            connection.pause_reading()
            assert "paused" in repr(connection)
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.1)
            assert sent < total
            held = len(owner.messages)
            assert held < total
            connection.resume_reading()
            connection.resume_reading()
            await owner.until(lambda: len(owner.messages) == total)
            assert all(message == payload for message in owner.messages)
            connection.abort()

    run(scenario())


def test_pausing_from_inside_the_handler_stops_after_the_chunk(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.read_frame()
            for number in range(100):
                await peer.write(frame(TEXT, b"%d" % number) + frame(BINARY, b"x" * 400_000))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            holder: list[Connection] = []

            def pausing(messages: list[bytes], receive_ns: int) -> None:
                owner.frames(messages, receive_ns)
                holder[0].pause_reading()

            holder.append(
                await connect(url, on_frames=pausing, on_closed=owner.reasons.append, kind=owner.kind)
            )
            holder[0].send(b"go")
            for calls in range(1, 6):
                await owner.until(lambda expected=calls: len(owner.calls) == expected)  # type: ignore[misc]
                await asyncio.sleep(0.02)
                assert len(owner.calls) == calls
                holder[0].resume_reading()
            holder[0].abort()

    run(scenario())


def test_closing_while_paused_does_not_wait_for_what_will_not_be_read(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            while True:
                await peer.write(frame(TEXT, b"x" * 10_000))

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            connection.pause_reading()
            await asyncio.sleep(0.05)
            before = len(owner.messages)
            # The scenario's own limit is shorter.
            await connection.close(60)
            assert await owner.closed() == "closed by us"
            assert len(owner.messages) == before

    run(scenario())


def test_a_peer_that_does_not_read_is_given_up(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAXIMUM_UNSENT_BYTES", 100_000)

    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await asyncio.Event().wait()

        async with raw_server(handler, limit=1_024) as url:
            owner = Owner()
            connection = await owner.connect(url)

            def send_on() -> None:
                for _ in range(10_000):
                    connection.send(b"x" * 50_000)

            with pytest.raises(ConnectError, match="stopped reading"):
                send_on()
            assert "stopped reading" in await owner.closed()

    run(scenario())


def test_bytes_that_nobody_takes_do_not_keep_a_finished_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAXIMUM_UNSENT_BYTES", 1 << 30)
    monkeypatch.setattr(transport, "CLOSE_GRACE_S", 0.05)

    async def scenario() -> None:
        go = asyncio.Event()

        async def handler(peer: Peer) -> None:
            await peer.accept()
            await go.wait()
            await peer.write(frame(CLOSE, struct.pack("!H", 1001)))
            await asyncio.Event().wait()

        async with raw_server(handler, limit=1_024) as url:
            owner = Owner()
            connection = await owner.connect(url)
            for _ in range(100):
                connection.send(b"x" * 500_000)
            go.set()
            assert "closed by the peer: 1001" in await owner.closed()

    run(scenario())


def test_a_flood_of_pings_is_answered(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept()
            await peer.write(frame(PING, b"p") * 20_000)
            for _ in range(20_000):
                assert await peer.read_frame() == (PONG, b"p")
            await peer.write(frame(TEXT, b"done"))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            connection = await owner.connect(url)
            await owner.until(lambda: owner.messages == [b"done"])
            connection.abort()

    run(scenario())


# -- opening -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nblocked",
            ["HTTP 403", "mainland China", "blocked"],
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ["HTTP 404", "category"]),
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", ["HTTP 429", "wait"]),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: wss://other.example/\r\nContent-Length: 0\r\n\r\n",
            ["301", "other.example"],
        ),
        (b"HTTP/1.1 503 No\r\n\r\n" + b"x" * 5_000, ["HTTP 503", "later", "x" * 300]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ["HTTP 200", "check the endpoint"]),
        (b"HTTP/1.1 101 OK\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", ["no WebSocket server"]),
        (b"SSH-2.0-OpenSSH_9\r\n", ["no WebSocket server"]),
        (b"\x00" * 100_000, ["no WebSocket server"]),
        (b"", ["no WebSocket server"]),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\n",
            ["no WebSocket server", "Accept"],
        ),
    ],
)
def test_other_answers_to_the_handshake_are_explained(run: Run, response: bytes, words: list[str]) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.read_request()
            await peer.write(response)

        async with raw_server(handler) as url:
            owner = Owner()
            with pytest.raises(ConnectError) as failure:
                await owner.connect(url)
            for word in ["127.0.0.1:", *words]:
                assert word in str(failure.value)
            assert len(str(failure.value)) < 1_000
            await asyncio.sleep(0.01)
            assert owner.reasons == []
            assert owner.messages == []

    run(scenario())


def test_a_server_that_says_nothing_is_given_up(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await asyncio.Event().wait()

        async with raw_server(handler) as url:
            owner = Owner()
            with pytest.raises(ConnectError, match=r"within 0\.05 s"):
                await owner.connect(url, open_timeout_s=0.05)
            await asyncio.sleep(0.01)
            assert owner.reasons == []

    run(scenario())


def test_a_refused_port_and_a_name_without_address(run: Run) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        owner = Owner()
        with pytest.raises(ConnectError, match=rf"127\.0\.0\.1:{port}: refused the connection"):
            await owner.connect(f"ws://127.0.0.1:{port}/")
        with pytest.raises(ConnectError, match=r"name.invalid:80: .*(resolved|check)"):
            await owner.connect("ws://name.invalid/")

    run(scenario())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "ws://", "127.0.0.1", "ws://127.0.0.1:port/", "ws://h/#x"]
)
async def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="ws://127"):
        await Owner().connect(url)


def test_cancelling_the_opening_leaves_nothing_behind(run: Run) -> None:
    async def scenario() -> None:
        reached = asyncio.Event()
        gone = asyncio.Event()

        async def handler(peer: Peer) -> None:
            await peer.read_request()
            reached.set()
            await peer.reader.read()
            gone.set()

        async with raw_server(handler) as url:
            owner = Owner()
            task = asyncio.ensure_future(owner.connect(url))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()
            assert owner.reasons == []

    run(scenario())


def test_cancelling_at_the_very_moment_of_opening_tells_nobody(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept(frame(TEXT, b"early"))
            await peer.reader.read()

        async with raw_server(handler) as url:
            owner = Owner()
            # The first message comes with the handshake: the connection is open, its opener not yet told.
            opening = asyncio.ensure_future(
                connect(
                    url,
                    on_frames=lambda *_: opening.cancel() and None,
                    on_closed=owner.reasons.append,
                    kind=owner.kind,
                )
            )
            with pytest.raises(asyncio.CancelledError):
                await opening
            await asyncio.sleep(0.02)
            assert owner.reasons == []

    run(scenario())


async def test_the_failure_of_a_disowned_opening_is_nobodys_exception(kind: type[Connection]) -> None:
    connection = kind(parse_uri("ws://127.0.0.1/"), lambda *_: None, lambda _: None, 1_000)
    connection.disown()
    connection.connection_lost(OSError("gone"))
    assert connection.handshake.cancelled()


def test_a_connection_lost_during_the_handshake_is_explained(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.read_request()
            peer.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            peer.writer.transport.abort()

        async with raw_server(handler) as url:
            owner = Owner()
            with pytest.raises(ConnectError, match="during the opening handshake"):
                await owner.connect(url)
            assert owner.reasons == []

    run(scenario())


# -- TLS ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself; key and certificate in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is needed to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    key, cert = path.with_suffix(".key"), path.with_suffix(".crt")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(key.read_bytes() + cert.read_bytes())
    return path


def test_tls(run: Run, certificate: Path) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.accept(frame(TEXT, b"secret"))
            assert (await peer.read_frame())[0] == CLOSE
            await peer.write(frame(CLOSE, struct.pack("!H", 1000)))

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        async with raw_server(handler, ssl=context) as url:
            owner = Owner()
            with pytest.raises(ConnectError, match="certificate is not trusted"):
                await owner.connect(url)
            trusting = ssl.create_default_context(cafile=str(certificate))
            connection = await owner.connect(url, ssl=trusting)
            await owner.until(lambda: owner.messages == [b"secret"])
            await connection.close()
            assert await owner.closed() == "closed by us"

    run(scenario())


def test_tls_to_a_plain_port_is_explained(run: Run) -> None:
    async def scenario() -> None:
        async def handler(peer: Peer) -> None:
            await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await peer.reader.read()

        async with raw_server(handler) as url:
            with pytest.raises(ConnectError, match="TLS failed"):
                await Owner().connect(url.replace("ws://", "wss://"))

    run(scenario())
