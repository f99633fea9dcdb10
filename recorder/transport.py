"""The way a stream's bytes take: one WebSocket connection, read in one synchronous step per chunk.

A thin skin over websockets' Sans-I/O protocol, as an `asyncio.Protocol`: each chunk that leaves the socket is
stamped first, then fed to the protocol, and every message that it completed is handed over in a single call.
There is no task, no queue and no switch between the socket and the owner of the frames. Frames are bytes,
whether they are valid UTF-8 or not, because a recorder keeps what was sent.

Proxies of the environment are not used: what is recorded comes from the host that is named.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl as tls
import time
from collections.abc import Callable
from typing import Final, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from recorder.text_frames import TextFrames
from recorder.tls import certificate_advice, client_context
from schemas.errors import ConfigError, ConnectError

__all__ = ["MAXIMUM_UNSENT_BYTES", "Connection", "connect"]

MAXIMUM_UNSENT_BYTES: Final = 1 << 20
"""A peer that leaves this much unread, of requests and pongs, is given up."""

CLOSE_GRACE_S: Final = 2.0
"""How long the last bytes of a finished connection may take to leave."""

_EXCERPT_BYTES: Final = 300
_OPEN: Final = State.OPEN  # found sooner here than in its class
_NORMAL_CLOSURE: Final = 1000
_REGIONS: Final = (
    "the exchange answers 403 to addresses in the US and mainland China, and for ten minutes to an address "
    "that made too many requests: use the host of your region (--region) or another network, or wait"
)
_HTTP_ADVICE: Final = {
    403: _REGIONS,
    404: "there is no such stream: check the endpoint and the category",
    429: "too many connections: wait, then connect less often",
}

OnFrames = Callable[[list[bytes], int], None]
OnClosed = Callable[[str], None]


class Connection(asyncio.Protocol):
    """One open connection; made by `connect`.

    Attributes:
        handshake: done when the connection is open.
        messages: complete messages handed over.
        received_bytes: bytes that came out of the socket, handshake included.
    """

    def __init__(
        self, uri: WebSocketURI, on_frames: OnFrames, on_closed: OnClosed, max_frame_bytes: int
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._uri = uri
        self._on_frames = on_frames
        self._on_closed = on_closed
        # No compression is offered: inflating costs more time per message than the bytes it saves cost on the
        # wire, every message would wait for it, and a few hostile bytes could grow large.
        self._protocol = ClientProtocol(uri, extensions=None, max_size=max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._frames = TextFrames()
        self._descriptor = (
            -1
        )  # of a socket that takes our bytes as they are; valid until the transport closes
        self.handshake: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._established = False
        self._finished = False
        self._disowned = False
        self._paused = False
        self._grace: asyncio.TimerHandle | None = None
        self._partial: bytearray | None = None
        self._reason = ""
        self._addresses = ""
        self.messages = 0
        self.received_bytes = 0

    def __repr__(self) -> str:
        if self._ended.done():
            state = f"closed ({self._reason})"
        elif self._reason:
            state = f"closing ({self._reason})"
        else:
            state = self._protocol.state.name.lower()
        paused = " paused" if self._paused else ""
        return (
            f"<Connection {_host(self._uri)} {state}{paused}{self._addresses} messages={self.messages} "
            f"received_bytes={self.received_bytes}>"
        )

    # -- for the owner -------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether a message can be sent."""
        return self._protocol.state is _OPEN and not self._reason

    def send(self, text: bytes) -> None:
        """Send one text message, UTF-8.

        Its bytes are in the socket when this returns, unless the socket is full; over TLS they are where the event
        loop puts them, which with asyncio's is the socket, too, and with uvloop's a buffer until the loop goes on.

        Raises:
            ConnectError: the connection is closing or closed, or its peer has stopped reading.
        """
        transport = self._transport
        if transport is None or self._reason or self._protocol.state is not _OPEN or transport.is_closing():
            raise ConnectError(f"{self!r}: a message can only be sent while the connection is open")
        frame = self._frames.frame(text)
        if self._descriptor >= 0 and not transport.get_write_buffer_size():
            try:
                written = os.write(self._descriptor, frame)
            except OSError:
                written = 0  # the transport meets the same, and does what it does about it
            if written == len(frame):
                return
            frame = frame[written:]
        self._write(transport, frame)
        if self._reason:
            raise ConnectError(f"{self!r}: the message was not sent")

    def pause_reading(self) -> None:
        """Leave bytes in the socket until `resume_reading`; the chunk under way still arrives whole."""
        if self._transport is not None and not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again after `pause_reading`."""
        if self._transport is not None and self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    async def close(self, timeout_s: float = 5.0) -> None:
        """Close with a handshake, and without it once ``timeout_s`` is over; messages may arrive until then.

        A paused connection isn't read any more: it says goodbye and goes.
        """
        if self.is_open:
            self._reason = "closed by us"
            self._protocol.send_close(_NORMAL_CLOSURE)
            self._flush()
        if self._paused:
            self._finish()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self.abort()
            await self._ended

    def abort(self, reason: str = "aborted by us") -> None:
        """Drop the connection at once; bytes not written yet are lost."""
        self._reason = self._reason or reason
        self._finished = True
        if self._transport is not None:
            self._transport.abort()

    def disown(self) -> None:
        """Drop a connection whose opening failed: its owner never hears of it."""
        self._disowned = True
        self.handshake.cancel()
        self.abort()

    # -- for the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the opening request."""
        # uvloop's transports aren't subclasses of asyncio's, so there is nothing to check here.
        self._transport = cast("asyncio.Transport", transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        self._addresses = f" {_address(local)}->{_address(remote)}"
        own = transport.get_extra_info("socket")
        if own is not None and transport.get_extra_info("sslcontext") is None:
            self._descriptor = own.fileno()
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Stamp, parse, hand over: all that happens between a chunk and its messages."""
        receive_ns = time.time_ns()
        self.received_bytes += len(data)
        if self._finished:
            return
        protocol = self._protocol
        messages = self._parse(data)
        if not self._established:
            self._conclude_handshake()
        if messages:
            self.messages += len(messages)
            self._hand_over(messages, receive_ns)
        # Pongs, and the answer to a closing frame.
        self._flush()
        if self._established and protocol.state is not State.OPEN:
            self._conclude()

    def eof_received(self) -> None:
        """The peer has nothing more to say, so neither have we."""
        if self._finished:
            return
        self._protocol.receive_eof()
        if not self._established:
            self._conclude_handshake()
        elif not self._reason:
            self._reason = (
                "the connection ended in the middle of a message"
                if self._is_inside_message()
                else "the connection ended without a closing handshake"
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, once."""
        self._finished = True
        if self._grace is not None:
            self._grace.cancel()
        if not self._reason:
            self._reason = f"the connection was lost: {exc}" if exc else "the connection was lost"
        if not self.handshake.done():
            self.handshake.set_exception(
                ConnectError(f"{_host(self._uri)}: {self._reason} during the opening handshake: try again")
            )
        if not self._ended.done():
            self._ended.set_result(None)
        if self._established and not self._disowned:
            self._on_closed(self._reason)

    # -- inside --------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> list[bytes]:
        """Return the messages that a chunk completes; everything else about it is the protocol's."""
        self._protocol.receive_data(data)
        messages: list[bytes] = []
        for event in self._protocol.events_received():
            # The only other event is the response to the opening request.
            if isinstance(event, Frame):
                self._collect(event, messages)
        return messages

    def _is_inside_message(self) -> bool:
        """Whether the stream that has just ended did so within a message."""
        return self._partial is not None or str(self._protocol.parser_exc).startswith("stream ends")

    def _collect(self, frame: Frame, messages: list[bytes]) -> None:
        """Add a message once its last fragment is here; the protocol bounds the sum of the fragments."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                messages.append(bytes(frame.data))
            else:
                self._partial = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._partial is not None:
            self._partial += frame.data
            if frame.fin:
                messages.append(bytes(self._partial))
                self._partial = None

    def _hand_over(self, messages: list[bytes], receive_ns: int) -> None:
        try:
            self._on_frames(messages, receive_ns)
        except Exception as error:
            self._loop.call_exception_handler(
                {"message": "the frame handler failed", "exception": error, "protocol": self}
            )
            self.abort(f"the frame handler failed: {type(error).__name__}: {error}")

    def _flush(self) -> None:
        writes = self._protocol.data_to_send()
        if not writes or self._transport is None or self._transport.is_closing():
            return
        # The empty string that asks for a half-close vanishes here: connections are closed as a whole.
        self._write(self._transport, b"".join(writes))

    def _write(self, transport: asyncio.Transport, data: bytes) -> None:
        transport.write(data)
        unsent = transport.get_write_buffer_size()
        if unsent > MAXIMUM_UNSENT_BYTES:
            self.abort(f"the peer stopped reading: {unsent} bytes could not be sent")

    def _conclude_handshake(self) -> None:
        error = self._protocol.handshake_exc
        if error is None and self._protocol.state is State.CONNECTING:
            return
        if error is None:
            self._established = True
            if not self.handshake.done():
                self.handshake.set_result(None)
            return
        if not self.handshake.done():
            self.handshake.set_exception(_handshake_error(self._uri, error))
        self.abort("the opening handshake failed")

    def _conclude(self) -> None:
        """After a frame that ends the connection: say why, and go once the answer has left."""
        protocol = self._protocol
        error, close = protocol.parser_exc, protocol.close_rcvd
        if error is None and close is None:
            return
        if not self._reason:
            if isinstance(error, PayloadTooBig):
                self._reason = f"the peer sent an oversize message: {error}"
            elif error is not None:
                self._reason = f"the peer broke the protocol: {error}"
            else:
                self._reason = f"closed by the peer: {close}"
        self._finish()

    def _finish(self) -> None:
        """Close the socket once its last bytes are written, and soon in any case."""
        if self._finished or self._transport is None:
            return
        self._finished = True
        self._transport.close()
        self._grace = self._loop.call_later(CLOSE_GRACE_S, self._transport.abort)


async def connect(
    url: str,
    *,
    on_frames: OnFrames,
    on_closed: OnClosed,
    ssl: tls.SSLContext | None = None,
    open_timeout_s: float = 10.0,
    max_frame_bytes: int = 4 << 20,
    kind: type[Connection] = Connection,
) -> Connection:
    """Open a WebSocket connection.

    Args:
        url: ``ws://`` or ``wss://``, with its path.
        on_frames: gets all messages that one chunk completed, and the wall clock (ns) at which the chunk left
            the socket. If it raises, the connection is dropped.
        on_closed: gets the reason, exactly once, when a connection that had been opened is gone. Both may run
            shortly before this function returns, and neither runs when it raises.
        ssl: for ``wss``; certificates are verified against the system's authorities by default.
        open_timeout_s: for name, TCP, TLS and opening handshake together.
        max_frame_bytes: longest message, its fragments together; a longer one ends the connection.
        kind: what parses; see `recorder.transports`.

    Raises:
        ConfigError: the URL isn't one of a WebSocket.
        ConnectError: with the host, what happened and what to do.
    """
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError) as error:
        raise ConfigError(f"url {url[:200]!r}: {error}; expected one like ws://127.0.0.1:9001/path") from None
    context = (ssl or _default_context()) if uri.secure else None
    connection = kind(uri, on_frames, on_closed, max_frame_bytes)
    try:
        async with asyncio.timeout(open_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: connection, uri.host, uri.port, ssl=context
            )
            await connection.handshake
    except TimeoutError:
        connection.disown()
        raise ConnectError(
            f"{_host(uri)}: no WebSocket connection within {open_timeout_s:g} s: check the endpoint, "
            "the network or a firewall"
        ) from None
    except OSError as error:
        connection.disown()
        raise _network_error(uri, error) from None
    except BaseException:
        connection.disown()
        raise
    return connection


@functools.cache
def _default_context() -> tls.SSLContext:
    # Reading the system's authorities takes tens of milliseconds; connections share the result.
    return client_context()


def _host(uri: WebSocketURI) -> str:
    return _address((uri.host, uri.port))


def _address(name: object) -> str:
    """Return a socket's name as ``host:port``."""
    if not isinstance(name, tuple) or len(name) < 2:
        return "?"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _network_error(uri: WebSocketURI, error: OSError) -> ConnectError:
    host = _host(uri)
    if isinstance(error, socket.gaierror):
        return ConnectError(
            f"{host}: the name could not be resolved ({error.strerror}): check it, and the DNS"
        )
    if isinstance(error, tls.SSLCertVerificationError):
        return ConnectError(f"{host}: {certificate_advice(error)}", lasting=True)
    if isinstance(error, tls.SSLError):
        return ConnectError(
            f"{host}: TLS failed ({error.reason or error}): does this port speak TLS? A gateway without --tls-cert "
            "is reached over ws://"
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectError(f"{host}: refused the connection: is the server running on this port?")
    return ConnectError(f"{host}: {error.strerror or error}: check the network and the endpoint")


def _handshake_error(uri: WebSocketURI, error: Exception) -> ConnectError:
    host = _host(uri)
    if not isinstance(error, InvalidStatus):
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        return ConnectError(f"{host}: no WebSocket server: {error}{cause}: check host, port and path")
    response = error.response
    status = response.status_code
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")[:_EXCERPT_BYTES]
        advice = f"it redirects to {target!r}: give that host as the endpoint if you trust it"
    elif status >= 500:
        advice = "the server has a problem: try again later"
    else:
        advice = _HTTP_ADVICE.get(status, "check the endpoint")
    body = bytes(response.body[:_EXCERPT_BYTES]).decode("utf-8", "replace")
    return ConnectError(
        f"{host}{uri.path}: HTTP {status} instead of a WebSocket: {advice}"
        + (f"; it said {body!r}" if body else ""),
        status=status,
        lasting=status < 500,
    )
