"""A private or trade socket that is kept: authenticated, pinged, opened anew when it ends (sections 2.1, 2.2, 7.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final

from engine.bybit.backoff import Backoff
from engine.bybit.limits import MISSED_PONGS
from execution.desk.replies import (
    Authenticated,
    OrderReply,
    Pong,
    PrivateRows,
    Subscribed,
    Unreadable,
    read_private,
    read_trade,
)
from execution.desk.signers import Signer
from execution.desk.wire import PING, auth_message, private_auth_message, subscribe_message
from execution.exchange_clock import ExchangeClock
from execution.spending import spend
from recorder.network import Network
from recorder.transport import Connection, connect
from schemas.errors import ConnectError, ExchangeError

__all__ = ["KeptSocket"]

Message = OrderReply | PrivateRows

_ANSWER_S: Final = 5.0
_GRACE_S: Final = 3.0
_NANOSECONDS: Final = 1_000_000_000
_ALREADY: Final = 20001
_LASTING: Final = frozenset({10001, 10003, 10004, 10005, 10010})
"""Refusals of an authentication that trying again does not change."""
_PRIVATE_TRIES: Final = 3
"""The private socket refuses in words alone: a few attempts tell what lasts."""

log = logging.getLogger("tapebook")


class KeptSocket:
    """One socket and its successors.

    Args:
        url: of the stream.
        topics: what is subscribed; a trade socket has none, and nothing can be subscribed there.
        on_message: gets the number of the connection and what came; must not raise.
        on_up: called when a connection is ready, with its number.
        on_down: called with the number of a connection that had been ready, once it is gone, and why.
        ask_clock: asks for the exchange's time; done after an authentication was refused, before the next attempt.
        ping_s: between two pings; a connection without a sign of life since the last two of them is dropped.

    Attributes:
        connections: opened so far; their numbers begin with 1.
        failed: why nothing more is tried; None while it goes on.
        unreadable: frames that were nothing known.
    """

    def __init__(
        self,
        network: Network,
        url: str,
        signer: Signer,
        clock: ExchangeClock,
        *,
        topics: Sequence[str] = (),
        on_message: Callable[[int, Message], None],
        on_up: Callable[[int], None],
        on_down: Callable[[int, str], None],
        ask_clock: Callable[[], Awaitable[None]],
        random: Random | None = None,
        ping_s: float = 20.0,
    ) -> None:
        self._network = network
        self._url = url
        self._signer = signer
        self._clock = clock
        self.topics = list(topics)
        self._on_message = on_message
        self._on_up = on_up
        self._on_down = on_down
        self._ask_clock = ask_clock
        self._ping_s = ping_s
        self._backoff = Backoff(random or Random(), base_ns=200_000_000, cap_ns=10_000_000_000)
        self._current: Connection | None = None
        self._ready: set[int] = set()
        self._answers: dict[int, asyncio.Queue[Authenticated | Subscribed]] = {}
        self._ended = asyncio.Event()
        self._unanswered = 0
        self._refusals = 0
        self._retiring: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.failed: str | None = None
        self.unreadable = 0

    def __repr__(self) -> str:
        state = "failed" if self.failed else "up" if self.is_up else "down"
        return f"<KeptSocket {self._url.partition('?')[0]} {state} connections={self.connections}>"

    @property
    def is_up(self) -> bool:
        """Whether a message can be sent to an authenticated connection."""
        current = self._current
        return current is not None and self.connections in self._ready and current.is_open

    def send(self, message: bytes) -> int:
        """Send a message and return the number of the connection that took it.

        Raises:
            ConnectError: from `is_up` false, nothing was sent; otherwise it may have been.
        """
        if self._current is None:
            raise ConnectError(f"{self!r}: there is no connection")
        self._current.send(message)
        return self.connections

    async def run(self) -> None:
        """Keep a connection open until cancelled, or until the exchange refuses for good (see `failed`)."""
        try:
            while self.failed is None:
                await asyncio.sleep(self._backoff.next_delay_ns() / _NANOSECONDS)
                await spend(self._network.connects)
                try:
                    await self._live()
                except ExchangeError as error:
                    log.warning("%s", error)
        finally:
            current, self._current = self._current, None
            if current is not None:
                current.abort("closed by us")
            for task in self._retiring:
                task.cancel()

    def renew(self) -> None:
        """Open another connection at once, and let the present one answer what is under way for a while (10019)."""
        current = self._current
        if current is None:
            return
        self._current = None
        self._backoff.reset()
        task = asyncio.ensure_future(_retire(current))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        self._ended.set()

    async def _live(self) -> None:
        """Open one connection, and stay until it is over."""
        self._ended = ended = asyncio.Event()
        self.connections += 1
        number = self.connections
        answers = self._answers[number] = asyncio.Queue(maxsize=16)
        read = read_private if self.topics else read_trade

        def on_frames(frames: list[bytes], _: int) -> None:
            self._unanswered = 0
            for frame in frames:
                self._take(number, read(frame))

        def on_closed(reason: str) -> None:
            ended.set()
            self._answers.pop(number, None)
            if not answers.full():
                answers.put_nowait(Subscribed(False, reason))
            if number in self._ready:
                self._ready.discard(number)
                self._on_down(number, reason)

        connection = await connect(
            self._url,
            on_frames=on_frames,
            on_closed=on_closed,
            ssl=self._network.ssl,
            kind=self._network.kind,
        )
        self._current = connection
        try:
            await self._introduce(connection, number, answers)
        except BaseException:
            self._current = None
            connection.abort("the introduction failed")
            raise
        self._ready.add(number)
        self._refusals = self._unanswered = 0
        self._backoff.reset()
        self._on_up(number)
        while not ended.is_set():
            if self._unanswered >= MISSED_PONGS:
                connection.abort("no sign of life")
                break
            # Counted in pings and not in seconds: what a busy program hasn't read yet is not missing.
            self._unanswered += 1
            connection.send(PING)
            try:
                async with asyncio.timeout(self._ping_s):
                    await ended.wait()
            except TimeoutError:
                continue

    async def _introduce(
        self, connection: Connection, number: int, answers: asyncio.Queue[Authenticated | Subscribed]
    ) -> None:
        """Authenticate, and subscribe where there is something to."""
        make = private_auth_message if self.topics else auth_message
        connection.send(make(self._signer, self._clock.now_ms(), f"auth-{number}"))
        answer = await self._answer(answers)
        if isinstance(answer, Authenticated) and answer.code not in (0, _ALREADY):
            self._refusals += 1
            words = (
                f"{self._url.partition('?')[0]}: the authentication was refused: {answer.words or 'no text'} "
                f"(code {answer.code}): check the key, where it was made, what it may do, and this system's clock"
            )
            if answer.code in _LASTING or self._refusals >= _PRIVATE_TRIES:
                self.failed = words
            else:
                # A computer that slept has fallen behind, and what it signs is over before it is sent.
                await self._ask_clock()
            raise ExchangeError(words)
        if self.topics:
            connection.send(subscribe_message(self.topics, f"subscribe-{number}"))
            subscribed = await self._answer(answers)
            if isinstance(subscribed, Subscribed) and not subscribed.success:
                raise ExchangeError(
                    f"{self._url}: not subscribed to all of {self.topics}: {subscribed.words}"
                )
        if not connection.is_open:
            raise ConnectError(f"{connection!r}: it ended during the introduction")

    async def _answer(self, answers: asyncio.Queue[Authenticated | Subscribed]) -> Authenticated | Subscribed:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await answers.get()
        except TimeoutError:
            raise ConnectError(f"{self._url.partition('?')[0]}: no answer within {_ANSWER_S:g} s") from None

    def _take(
        self, number: int, message: Pong | Authenticated | Subscribed | OrderReply | PrivateRows | Unreadable
    ) -> None:
        if isinstance(message, OrderReply | PrivateRows):
            self._on_message(number, message)
        elif isinstance(message, Authenticated | Subscribed):
            answers = self._answers.get(number)
            if answers is not None and not answers.full():
                answers.put_nowait(message)
        elif isinstance(message, Unreadable):
            self.unreadable += 1


async def _retire(connection: Connection) -> None:
    try:
        await asyncio.sleep(_GRACE_S)
    finally:
        connection.abort("renewed")
