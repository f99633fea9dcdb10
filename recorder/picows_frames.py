"""picows' frame parser by itself: bytes in, frames out, no socket.

picows parses much faster than websockets, but its own client opens sockets, follows redirects and ends connections in
its own ways. Only the parser is used here: it is given the handshake that it asks for and a socket that is none, so
that everything else about a connection stays as it is (`recorder.transport`).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import importlib
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from schemas.errors import ConfigError

__all__ = ["FrameParser", "load_parser"]

_WANTED: Final = "pip install 'tapebook[picows]', or leave transport at websockets"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_NO_FRAME: Final = 1002
_TOO_BIG: Final = 1009
_BUFFER_BYTES: Final = 1 << 17
"""What a parser begins with; it grows to what the largest message needs."""


class FrameParser(Protocol):
    """Parses the bytes of one stream, from the first frame on; made by what `load_parser` returns.

    Attributes:
        controls: pings, pongs and the closing frame that were found and not taken yet, as (opcode, payload).
        fault: why the bytes are no frames, or none that are taken; empty while all is well.
        fault_code: what to tell the peer of it (RFC 6455 section 7.4.1); 1009 for a message, its fragments together,
            that is longer than allowed.
        is_inside: whether what came so far ends within a message.

    Nothing is parsed any more after a closing frame or a fault.
    """

    controls: list[tuple[int, bytes]]
    fault: str
    fault_code: int
    is_inside: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete, in order; fragments are joined."""


class _NoSocket:
    """What picows takes for a socket: options are set on it, nothing is sent."""

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: Any) -> None:
        pass

    def getsockopt(self, *_: Any) -> int:
        return 0


class _NoTransport:
    """What picows takes for a transport. It keeps the opening request; what else is written goes nowhere."""

    def __init__(self) -> None:
        self.request = b""

    def get_extra_info(self, name: str) -> Any:
        # Something in the place of TLS keeps picows from writing to the file descriptor itself.
        return {"socket": _NoSocket(), "ssl_object": self}.get(name)

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        self.request = self.request or bytes(data)

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@functools.cache
def load_parser() -> Callable[[int], FrameParser]:
    """Return what makes a parser, given the longest message in bytes; an event loop must run where it is made.

    Raises:
        ConfigError: picows isn't installed, or is a version whose parser works otherwise.
    """
    try:
        picows: Any = importlib.import_module("picows")
    except ImportError as error:
        raise ConfigError(f"transport picows: it is not installed ({error}): {_WANTED}") from None
    try:
        make: Callable[[int], FrameParser] = _parser_class(picows)
        _check(make)
    except Exception as error:
        version = getattr(picows, "__version__", "of an unknown version")
        raise ConfigError(
            f"transport picows: picows {version} is not one that can be used here ({type(error).__name__}: {error}): "
            f"{_WANTED}"
        ) from None
    return make


def _check(make: Callable[[int], FrameParser]) -> None:
    """Parse a few frames: the parser is none of what picows promises to keep."""

    def parse() -> None:
        parser = make(10)
        messages = parser.feed(b"\x81\x02ab\x02\x01c\x89\x01p\x80\x01d\x81")
        if messages != [b"ab", b"cd"] or parser.controls != [(9, b"p")] or not parser.is_inside:
            raise ValueError(f"unexpected frames {messages!r}, {parser.controls!r}")
        parser.feed(b"\x0b")
        if parser.fault_code != _TOO_BIG:
            raise ValueError("a message that is too long was taken")

    async def parse_there() -> None:
        parse()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(parse_there())
    else:
        parse()


def _parser_class(picows: Any) -> Any:
    kinds = picows.WSMsgType
    text, binary, continuation, closing = kinds.TEXT, kinds.BINARY, kinds.CONTINUATION, kinds.CLOSE
    make = importlib.import_module("picows.picows").WSProtocol
    silent = logging.Logger("picows", logging.CRITICAL + 1)  # what it finds is told as a reason

    class Parser(picows.WSListener):  # type: ignore[misc]
        """A `FrameParser`: the listener of a picows protocol of its own."""

        def __init__(self, max_message_bytes: int) -> None:
            self.controls: list[tuple[int, bytes]] = []
            self.fault = ""
            self.fault_code = 0
            self.is_inside = False
            self._max_bytes = max_message_bytes
            self._messages: list[bytes] = []
            self._partial: bytearray | None = None
            self._tail = 0
            self._ended = False
            transport = _NoTransport()
            self._protocol = make(
                *("", "/", True, lambda *_: self, silent, True, None),  # a client without a deadline
                *(False, 10, 10, picows.WSAutoPingStrategy.PING_WHEN_IDLE, False),  # pings are handed over
                *(max_message_bytes, None, _BUFFER_BYTES),
            )
            self._protocol.connection_made(transport)
            key = transport.request.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
            self._put(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self._state = self._protocol.transport
            self._tail = 0

        def feed(self, data: bytes) -> list[bytes]:
            if self._ended:
                return []
            self._put(data)
            if self._state.is_close_frame_sent and not self._ended:
                # picows would have told the peer, and goes on parsing: what it finds then means nothing.
                sent = self._state.close_handshake.sent
                self._break(int(sent.code), sent.reason or "frames that could not be parsed")
            self.is_inside = self._partial is not None or self._tail > 0
            messages, self._messages = self._messages, []
            return messages

        def on_ws_frame(self, transport: Any, frame: Any) -> None:  # noqa: ARG002 - picows'
            if self._ended:
                return
            self._tail = frame.tail_size
            kind = frame.msg_type
            if frame.rsv1 or frame.rsv2 or frame.rsv3:
                self._break(_NO_FRAME, "reserved bits must be 0")
            elif kind is text or kind is binary:
                if frame.fin and self._partial is None:
                    self._messages.append(frame.get_payload_as_bytes())
                else:
                    self._add_fragment(frame, is_first=True)
            elif kind is continuation:
                self._add_fragment(frame, is_first=False)
            elif kind is closing and self._partial is not None:
                self._break(_NO_FRAME, "incomplete fragmented message")
            else:
                self.controls.append((int(kind), frame.get_payload_as_bytes()))
                self._ended = kind is closing

        def _add_fragment(self, frame: Any, *, is_first: bool) -> None:
            partial = self._partial or b""
            if len(partial) + frame.payload_size > self._max_bytes:
                self._break(_TOO_BIG, "the fragments of a message are too long together")
            elif is_first != (self._partial is None):
                self._break(_NO_FRAME, f"{'expected a' if is_first else 'unexpected'} continuation frame")
            elif is_first:
                self._partial = bytearray(frame.get_payload_as_bytes())
            elif self._partial is not None:
                self._partial += frame.get_payload_as_bytes()
                if frame.fin:
                    self._messages.append(bytes(self._partial))
                    self._partial = None

        def _break(self, code: int, words: str) -> None:
            self._ended = True
            self.fault, self.fault_code = words, code

        def _put(self, data: bytes) -> None:
            view = memoryview(data)
            while view:
                space = self._protocol.get_buffer(-1)
                size = min(len(view), len(space))
                space[:size] = view[:size]
                self._tail += size
                self._protocol.buffer_updated(size)
                view = view[size:]

    return Parser
