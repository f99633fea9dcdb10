"""A connection whose frames picows parses; all else is `recorder.transport`'s, websockets' protocol included.

Opening, TLS, the closing handshake and what is sent go through websockets' Sans-I/O protocol as ever. Once the
connection is open, bytes go to picows' parser instead; the few frames that are no data (pings, the closing one) are
given to the protocol, so that they are answered and told of in the same way.
"""

from __future__ import annotations

from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.uri import WebSocketURI

from recorder.picows_frames import load_parser
from recorder.transport import Connection, OnClosed, OnFrames

__all__ = ["PicowsConnection"]

_HEAD_END: Final = b"\r\n\r\n"
_FINAL: Final = 0x80
"""The bit of a frame that is a message's last."""
_MOST_REASON: Final = 100
"""Characters; a closing frame has room for 123 bytes (RFC 6455 section 5.5)."""


class PicowsConnection(Connection):
    """One open connection; made by `recorder.transport.connect`.

    Raises:
        ConfigError: picows isn't installed, or can't be used.
    """

    def __init__(
        self, uri: WebSocketURI, on_frames: OnFrames, on_closed: OnClosed, max_frame_bytes: int
    ) -> None:
        super().__init__(uri, on_frames, on_closed, max_frame_bytes)
        self._max_frame_bytes = max_frame_bytes
        self._parser = load_parser()(max_frame_bytes)
        self._last = b""

    def _parse(self, data: bytes) -> list[bytes]:
        if not self._established:
            data = self._open_with(data)
        if not data or self._protocol.parser_exc is not None or self._protocol.close_rcvd is not None:
            return []
        parser = self._parser
        messages = parser.feed(data)
        if parser.controls:
            for opcode, payload in parser.controls:
                self._protocol.receive_data(bytes([_FINAL | opcode, len(payload)]) + payload)
            parser.controls.clear()
            self._protocol.events_received()
        if parser.fault:
            self._fail()
        return messages

    def _is_inside_message(self) -> bool:
        return self._parser.is_inside

    def _open_with(self, data: bytes) -> bytes:
        """Give the protocol the response to the opening request; what comes after it are frames, and returned."""
        before = len(self._last)
        end = (self._last + data).find(_HEAD_END)
        size = len(data) if end < 0 else end + len(_HEAD_END) - before
        self._last = (self._last + data)[1 - len(_HEAD_END) :]
        self._protocol.receive_data(data[:size])
        if self._protocol.state is State.CONNECTING:
            # No upgrade: what follows is the body, of which the protocol keeps the beginning.
            self._protocol.receive_data(data[size:])
            size = len(data)
        self._protocol.events_received()
        return data[size:]

    def _fail(self) -> None:
        """End the connection as the protocol does when it finds the fault itself."""
        code, words = CloseCode(self._parser.fault_code), self._parser.fault
        too_big = code is CloseCode.MESSAGE_TOO_BIG
        error = PayloadTooBig(None, self._max_frame_bytes) if too_big else ProtocolError(words)
        self._protocol.fail(code, str(error)[:_MOST_REASON])
        self._protocol.parser_exc = error
