"""One client's connection: what it has subscribed to, what goes out to it, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from recorder.gateway.books import FrameInfo
from recorder.gateway.faults import Deed, FaultInjector, Outcome
from recorder.gateway.ledger import Ledger
from recorder.gateway.request_faults import RequestFaults

__all__ = ["Connection", "DataFrame", "text_message"]

DataFrame = tuple[FrameInfo, bool]
"""What a frame is, and whether it was rebuilt for its subscriber."""

_HIGH_WATER_BYTES: Final = 1024 * 1024
_CUT_LOOK_S: Final = 0.005
_CUT_LOOKS: Final = 400


def text_message(payload: bytes) -> bytes:
    """Frame a payload as one unmasked, unfragmented WebSocket text message (RFC 6455 section 5.2)."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


class Connection:
    """The sending half of a connection.

    Messages gather until :meth:`flush` writes them at once; a data frame is framed once for all receivers.

    Args:
        number: from 1, in order of opening; the ledger's name of the connection.
        transport: the connection's socket.
        drain: waits until the socket takes more.
        ledger: where to account, or None.
        injector: what goes wrong, or None.
        requests: what befalls its requests, or None.
        delay_seconds: how long late frames and slow answers take.
        max_backlog_bytes: unread bytes that :meth:`flush` tolerates before it disconnects the reader.
        on_lost: called once, when the connection is given up from this side.

    Attributes:
        topics: subscribed, in order. is_open: whether anything can still be sent. is_half_open: whether a fault
            has made it swallow whatever comes, from either side.
    """

    def __init__(
        self,
        number: int,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        *,
        ledger: Ledger | None,
        injector: FaultInjector[DataFrame] | None,
        requests: RequestFaults | None = None,
        delay_seconds: float = 0.5,
        max_backlog_bytes: int,
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.number = number
        self.topics: dict[str, None] = {}
        self.is_open = True
        self.is_half_open = False
        self._transport = transport
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None
        self._cutting: asyncio.Task[None] | None = None
        self._ledger = ledger
        self._injector = injector
        self._requests = requests
        self._delay_seconds = delay_seconds
        self._held: asyncio.TimerHandle | None = None
        self._max_backlog_bytes = max_backlog_bytes
        self._on_lost = on_lost
        self._outgoing: list[bytes] = []
        transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        behind = f"{self.backlog_bytes} bytes behind"
        return f"<Connection {self.number} {state}, {len(self.topics)} topics, {behind}>"

    @property
    def backlog_bytes(self) -> int:
        """Bytes written that the socket has not taken yet."""
        return self._transport.get_write_buffer_size()

    def deliver(self, info: FrameInfo, payload: bytes, message: bytes, *, rebuilt: bool = False) -> None:
        """Send a data frame, unless a fault befalls it.

        Args:
            message: the payload framed by :func:`text_message`.
            rebuilt: whether the frame was made for this subscriber rather than taken from the source.
        """
        if not self.is_open or self.is_half_open:
            return
        if self._injector is None:
            self._outgoing.append(message)
            if self._ledger is not None:
                self._ledger.frame(self.number, info, payload, rebuilt=rebuilt)
        else:
            self._perform(self._injector.pass_frame(info.topic, payload, (info, rebuilt)))

    def subscribe(self, topic: str) -> None:
        """Note a new subscription."""
        self.topics[topic] = None
        if self._injector is not None:
            self._injector.subscribe(topic)
        if self._ledger is not None:
            self._ledger.event("subscribe", self.number, topic=topic)

    def unsubscribe(self, topic: str) -> None:
        """Note the end of a subscription."""
        self.topics.pop(topic, None)
        if self._injector is not None:
            self._perform(self._injector.unsubscribe(topic))
        if self._ledger is not None:
            self._ledger.event("unsubscribe", self.number, topic=topic)

    def fault_of(self, topics: Sequence[str], *, subscribes: bool) -> Deed | None:
        """Return what befalls a request about these topics, and note it."""
        if self._requests is None or not topics:
            return None
        deed = self._requests.next(subscribes=subscribes)
        if deed is not None and self._ledger is not None:
            self._ledger.request_fault(self.number, deed, topics)
        return deed

    def refused(self, topics: Sequence[str]) -> str:
        """Return the topic that a request is refused for."""
        assert self._requests is not None
        return self._requests.refused(topics)

    def reply(self, payload: bytes, deed: Deed | None = None) -> None:
        """Send an answer to a request, as a fault of requests has it."""
        if deed is Deed.SLOW_ACK:
            asyncio.get_running_loop().call_later(self._delay_seconds, self._reply_late, payload)
        elif deed is not Deed.LOST_ACK and self.is_open and not self.is_half_open:
            message = text_message(payload)
            self._outgoing += [message, message] if deed is Deed.DOUBLE_ACK else [message]

    def _reply_late(self, payload: bytes) -> None:
        self.reply(payload)
        self.flush()

    def calm(self) -> None:
        """No further fault; what has happened to the connection or to a topic stays as it is."""
        self.release_held()
        if self._injector is not None:
            self._injector.calm()
        if self._requests is not None:
            self._requests.calm()

    def release_held(self) -> None:
        """Send what a reorder fault holds back, because no further frame will come."""
        if self._injector is not None:
            self._perform(self._injector.release())

    def flush(self) -> None:
        """Write what has gathered, unless it is late; a reader that is too far behind is disconnected."""
        if not self._outgoing or self._held is not None:
            return
        outgoing, self._outgoing = self._outgoing, []
        if not self.is_open or self._transport.is_closing():
            return
        self._transport.write(b"".join(outgoing))
        if self.backlog_bytes > self._max_backlog_bytes:
            if self._ledger is not None:
                self._ledger.fault(self.number, Deed.SLOW_READER)
            self.abort()

    def _hold(self) -> None:
        """Be late from here on, for a while: like a stalled TCP stream, everything waits for what is in front."""
        if self._held is None:
            self.flush()
            self._held = asyncio.get_running_loop().call_later(self._delay_seconds, self._let_go)

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self.flush()

    async def drain(self) -> None:
        """Wait until the socket takes more, or the connection is gone."""
        if not self.is_open or self.backlog_bytes <= _HIGH_WATER_BYTES:
            return
        if self._draining is None or self._draining.done():
            self._draining = asyncio.ensure_future(self._await_drain())
        # Several tasks may wait for one socket; none of them may cancel it for the others.
        await asyncio.wait({self._draining})

    async def _await_drain(self) -> None:
        try:
            await self._drain()
        except ConnectionError:
            self.close()

    def close(self) -> None:
        """Send nothing more; frames that a fault still holds back are told as dropped."""
        if not self.is_open:
            return
        if self._injector is not None:
            for topic in self.topics:
                self._perform(self._injector.unsubscribe(topic))
        self._let_go()
        self.is_open = False
        self._on_lost(self)

    def abort(self) -> None:
        """Drop the TCP connection."""
        self.close()
        self._transport.abort()

    def _perform(self, outcomes: Iterable[Outcome[DataFrame]]) -> None:
        for outcome in outcomes:
            if not self.is_open or self.is_half_open:
                return
            info, rebuilt = outcome.tag
            if outcome.deed is not None and self._ledger is not None:
                self._ledger.fault(self.number, outcome.deed, info, outcome.original)
            if outcome.deed is Deed.LATE:
                self._hold()
            if outcome.payload is not None:
                self._outgoing.append(text_message(outcome.payload))
                if self._ledger is not None:
                    damage = outcome.deed if outcome.deed is Deed.CORRUPT else None
                    self._ledger.frame(self.number, info, outcome.payload, rebuilt=rebuilt, fault=damage)
            elif outcome.deed is Deed.HALF_OPEN:
                self._let_go()
                self.is_half_open = True
            elif outcome.deed is Deed.CUT:
                message = text_message(outcome.original)
                self._outgoing.append(message[: len(message) // 2])
                self.close()
                self._cutting = asyncio.ensure_future(self._abort_when_written())

    async def _abort_when_written(self) -> None:
        """Let the half frame out before the line goes dead: an abort discards what is still buffered."""
        for _ in range(_CUT_LOOKS):
            # At least one turn of the loop, because some loops write at its end only.
            await asyncio.sleep(_CUT_LOOK_S)
            if self._transport.is_closing() or self.backlog_bytes == 0:
                break
        self._transport.abort()
