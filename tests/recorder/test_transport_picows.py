"""picows' connection held against websockets': the same bytes in the same chunks, without sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.uri import parse_uri

from recorder.transport import Connection
from recorder.transport_picows import PicowsConnection

pytest.importorskip("picows", reason="picows isn't installed: pip install 'tapebook[picows]'")

LIMIT = 300
"""Longest message, in bytes."""

BROKEN = "the peer broke the protocol"
OVERSIZE = "the peer sent an oversize message"
INSIDE = "the connection ended in the middle of a message"


class FakeTransport:
    """What is written is kept."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close


class Told(NamedTuple):
    """What an owner and a server hear of a connection."""

    calls: list[list[bytes]]
    reason: str
    sent: list[tuple[int, bytes]]

    @property
    def end(self) -> str:
        """The reason, without the words of whoever found the fault."""
        return next((words for words in (BROKEN, OVERSIZE) if self.reason.startswith(words)), self.reason)


def frame(first: int, payload: bytes) -> bytes:
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 126]) + struct.pack("!H", len(payload)) + payload


def sent_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Opcodes and payloads of what a client has sent; of a closing frame only the code."""
    out = []
    while data:
        opcode, size, mask = data[0] & 0x0F, data[1] & 0x7F, data[2:6]
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data[6 : 6 + size]))
        out.append((opcode, payload[:2] if opcode == 8 else payload))
        data = data[6 + size :]
    return out


def converse(kind: type[Connection], frames: bytes, cuts: list[int]) -> Told:
    """A server accepts and says that, in chunks that are cut there, then hangs up."""

    async def talk() -> Told:
        calls: list[list[bytes]] = []
        reasons: list[str] = []
        connection = kind(parse_uri("ws://h/"), lambda got, _: calls.append(got), reasons.append, LIMIT)
        transport = FakeTransport()
        connection.connection_made(transport)  # type: ignore[arg-type]
        key = transport.written.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
        transport.written = b""
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        data = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frames
        )
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        for start, end in pairwise(places):
            connection.data_received(data[start:end])
        connection.eof_received()
        connection.connection_lost(None)
        await connection.handshake
        assert connection.received_bytes == len(data)
        assert connection.messages == sum(map(len, calls))
        (reason,) = reasons
        return Told(calls, reason, sent_frames(transport.written))

    return asyncio.run(talk())


# A ping has no payload here: between fragments websockets counts it against the length of the message.
DATA = st.builds(frame, st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x80, 0x00]), st.binary(max_size=LIMIT + 9))
WHOLE = st.builds(frame, st.sampled_from([0x81, 0x82]), st.binary(max_size=20))
CONTROL = st.sampled_from([frame(0x89, b""), frame(0x8A, b"")])
CLOSE = st.builds(
    lambda code, words: frame(0x88, struct.pack("!H", code) + words),
    st.sampled_from([999, 1000, 1001, 1005, 1006, 1015, 3000, 4999, 5000]),
    st.sampled_from([b"", b"restart", b"\xff"]),
)
CUTS = st.lists(st.integers(0, 1_500), max_size=8)


@given(st.lists(st.one_of(WHOLE, DATA, CONTROL), max_size=8), st.one_of(st.just(b""), CLOSE), CUTS)
@example([frame(0x01, b"x" * 200), frame(0x81, b"y" * 200)], b"", [])
@example([frame(0x01, b"x" * 200), frame(0x80, b"y" * 101)], b"", [])
@example([frame(0x01, b"x" * 200), frame(0x80, b"y" * 100)], frame(0x88, b""), [])
@example([frame(0x01, b"x")], frame(0x88, b"\x03\xe8"), [])
def test_frames_in_any_order_and_chunks_come_to_the_same(
    frames: list[bytes], last: bytes, cuts: list[int]
) -> None:
    data = b"".join(frames) + last
    ours, theirs = converse(PicowsConnection, data, cuts), converse(Connection, data, cuts)
    assert ours.calls == theirs.calls
    if last and theirs.end == OVERSIZE:
        return  # it may count the closing frame as well
    assert ours.end == theirs.end
    if ours.end != BROKEN:  # which of several faults of a closing frame comes first is nobody's concern
        assert ours.sent == theirs.sent
    assert [opcode for opcode, _ in ours.sent] == [opcode for opcode, _ in theirs.sent]


NOISE = st.one_of(st.binary(max_size=14), st.builds(frame, st.integers(0, 255), st.binary(max_size=9)))


@given(st.lists(WHOLE, max_size=4), NOISE, CUTS)
@example([], b"\x08\x01", [])
def test_noise_ends_both_after_the_same_messages(frames: list[bytes], noise: bytes, cuts: list[int]) -> None:
    data = b"".join(frames) + noise
    ours, theirs = converse(PicowsConnection, data, cuts), converse(Connection, data, cuts)
    if "payload len" in ours.reason:  # lengths that aren't written in the shortest way: websockets takes them
        assert ours.calls == theirs.calls[: len(ours.calls)]
        return
    assert ours.calls == theirs.calls
    # picows refuses by a frame's header what websockets waits for
    early = theirs.end in (INSIDE, OVERSIZE) and ours.end == BROKEN
    assert early or ours.end == theirs.end
