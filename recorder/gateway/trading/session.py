"""One private or trade connection: what goes out to it, and when it ends."""

from __future__ import annotations

import asyncio
from typing import Final

from recorder.gateway.connection import text_message
from recorder.gateway.faults import Deed
from recorder.gateway.ledger import Ledger
from recorder.gateway.trading.faults import OrderFaults
from schemas.errors import ConfigError

__all__ = ["Session", "active_seconds"]

MAX_BACKLOG_BYTES: Final = 16 * 1024 * 1024
_LONGEST_S: Final = 600
_SHORTEST_S: Final = 30


def active_seconds(text: str | None) -> int:
    """Read ``max_active_time``: how long a connection lives without pings and data.

    Raises:
        ConfigError: neither ``30s`` to ``600s`` nor ``1m`` to ``10m``.
    """
    if text is None:
        return _LONGEST_S
    number, unit = text[:-1], text[-1:]
    seconds = 0
    if number.isascii() and number.isdecimal() and len(number) < 5 and unit in ("s", "m"):
        seconds = int(number) * (60 if unit == "m" else 1)
    if not _SHORTEST_S <= seconds <= _LONGEST_S:
        raise ConfigError(f"max_active_time {text[:20]!r}: expected 30s to 600s, or 1m to 10m")
    return seconds


class Session:
    """The sending half of a connection, written at once.

    Attributes:
        number: from 1 in order of opening, public connections counted in; the ledger's name of it.
        generation: of the trade service that it was opened to.
        topics: subscribed, on private connections.
        is_half_open: whether a fault has made it swallow whatever comes, from either side.
        is_ending: whether it is being closed.
    """

    def __init__(
        self,
        number: int,
        transport: asyncio.Transport,
        faults: OrderFaults,
        ledger: Ledger | None,
        *,
        generation: int = 0,
        active_s: int = _LONGEST_S,
    ) -> None:
        self.number = number
        self.generation = generation
        self.topics: dict[str, None] = {}
        self.faults = faults
        self._transport = transport
        self._ledger = ledger
        self._active_s = active_s
        self._opened_s = self._seen_s = asyncio.get_running_loop().time()
        self.is_half_open = False
        self.is_ending = False

    def __repr__(self) -> str:
        return f"<Session {self.number}, {len(self.topics)} topics>"

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return not self._transport.is_closing()

    def touch(self) -> None:
        """Note that the connection is in use."""
        self._seen_s = asyncio.get_running_loop().time()

    def is_idle(self, now_s: float) -> bool:
        """Whether it was quiet for longer than it may be."""
        return now_s - self._seen_s > self._active_s

    def is_older(self, now_s: float, seconds: float) -> bool:
        """Whether it has been open for longer than that."""
        return now_s - self._opened_s > seconds

    def send(self, payload: bytes) -> None:
        """Send a message; whoever leaves too much unread is disconnected."""
        if not self.is_open or self.is_half_open:
            return
        self._transport.write(text_message(payload))
        if self._transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            self.abort(Deed.SLOW_READER)

    def tell(self, payload: bytes, topic: str) -> None:
        """Send a private frame."""
        if not self.is_open or self.is_half_open:
            return
        self.touch()
        deed = self.faults.next_frame()
        if deed is Deed.PRIVATE_CUT:
            self.abort(deed)
            return
        if deed is Deed.PRIVATE_HALF_OPEN:
            self.go_silent(deed)
            return
        self.send(payload)
        if self._ledger is not None:
            self._ledger.event("told", self.number, topic=topic)

    def go_silent(self, why: str) -> None:
        """Swallow whatever comes from here on, from either side; TCP stays up."""
        self.is_half_open = True
        if self._ledger is not None:
            self._ledger.fault(self.number, why)
            self._ledger.flush()

    def abort(self, why: str | None = None) -> None:
        """Drop the connection."""
        if self._ledger is not None and why is not None:
            self._ledger.fault(self.number, why)
            self._ledger.flush()
        self._transport.abort()
