"""One line: a connection slot that is kept open, its session, and what comes out of it."""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
import time
from collections.abc import Callable, Iterable

from engine.bybit.backoff import Backoff
from engine.bybit.events import (
    Dead,
    Pong,
    Refused,
    SessionEvent,
    Silent,
    Subscribed,
    Unexplained,
    Unsubscribed,
)
from engine.bybit.limits import CONNECTS_PER_WINDOW
from engine.bybit.session import StreamSession
from engine.freshness import Resyncs, needs_snapshot
from engine.timing import Timing
from recorder.capture import CONTROL, Capture, is_answer
from recorder.network import Spending
from recorder.transport import Connection, connect
from recorder.warnings import Warnings
from schemas import notes
from schemas.errors import ConfigError, ConnectError, TapebookError
from schemas.names import Category

__all__ = ["CATCH_UP_NS", "FIRST_ATTEMPTS", "Line"]

FIRST_ATTEMPTS = 3
"""An exchange that no line ever reached is given up after so many attempts; one that was is tried for ever."""

CATCH_UP_NS = 10**9
"""How long a line that reads again is not judged by what it has heard."""

AMPLE_CONNECTS = CONNECTS_PER_WINDOW // 2
"""Below it a connection that had held proves nothing: the backoff goes on."""

_NOT_YET = "nothing trades there now, or its phase has no book yet; it is asked for again"
_NOTHING_PROVED = (
    "this socket acknowledges whatever it is asked, and only what exists delivers: check that the symbol is still "
    "listed and that it has this topic; it is asked for again"
)
_SILENT = dict.fromkeys(Category, _NOT_YET) | dict.fromkeys(
    (Category.OPTION, Category.SPREAD), _NOTHING_PROVED
)
"""What it means that an acknowledged topic stays without its first frame (protocol section 2.3)."""

log = logging.getLogger("tapebook")


class Line:
    """Keeps one connection to a public stream.

    Args:
        slot: number of the line in the journal.
        url: of the stream.
        category: of the stream.
        topics: what this line carries.
        capture: where everything goes.
        resyncs: told of topics that stay silent.
        copy: which of the connections that carry the same topics this is.
        budget: of new connections, shared by all lines.
        backoff: of this line.
        ssl: TLS context for wss, or None for the default one.
        fail: called with what ends the recording as a whole.
        is_reached: whether another line has reached the exchange; then this one is never given up.
        is_covered: whether a line other than that slot carries the topic too, and is up.
        timing: how patient the line is.
        kind: the client that reads.
        warnings: where trouble is told that the exchange could make without end.
    """

    def __init__(
        self,
        slot: int,
        url: str,
        category: Category,
        topics: list[str],
        capture: Capture,
        resyncs: Resyncs,
        *,
        copy: int = 0,
        budget: Spending,
        backoff: Backoff,
        ssl: tls.SSLContext | None,
        fail: Callable[[TapebookError], None],
        is_reached: Callable[[], bool] = lambda: False,
        is_covered: Callable[[str, int], bool] = lambda _topic, _slot: False,
        timing: Timing | None = None,
        kind: type[Connection] = Connection,
        warnings: Warnings | None = None,
    ) -> None:
        self.slot = slot
        self.copy = copy
        self.url = url
        self.topics = list(topics)
        self.refused: dict[str, str] = {}
        self.acknowledged = False
        self.connects = 0
        self.connected = False
        self.changed_ns: int | None = None
        self.data_ns = 0
        self.heard_ns = 0
        self.frames = 0
        self.bytes = 0
        self.round_trip_ns: int | None = None
        self.last_pong: Pong | None = None
        self.last_reason = ""
        self.last_error: ConnectError | None = None
        self.answered = False
        self._category = category
        self._capture = capture
        self._resyncs = resyncs
        self._budget = budget
        self._backoff = backoff
        self._ssl = ssl
        self._fail = fail
        self._is_reached = is_reached
        self._is_covered = is_covered
        self._timing = timing or Timing()
        self._kind = kind
        self._warnings = warnings or Warnings(log)
        self._connection: Connection | None = None
        self._session: StreamSession | None = None
        self._closed = asyncio.Event()
        self._opened_ns = 0
        self._stopping = False
        self._paused = False
        self._hearing_ns = 0
        self._told_silent: set[str] = set()
        self._unasked: list[str] = []
        self._leaving: set[str] = set()

    def __repr__(self) -> str:
        return f"<Line {self.slot} connects={self.connects} {self._session!r} {self._connection!r}>"

    # ---- for the collector ----

    async def run(self) -> None:
        """Connect, and connect again whenever the line is lost, until ``stop``."""
        while not self._stopping:
            wait_ns = self._budget.wait_ns(time.monotonic_ns())
            if wait_ns or not self._budget.take(time.monotonic_ns()):
                await asyncio.sleep(max(wait_ns, 10_000_000) / 1e9)
                continue
            status = None
            try:
                await self._connect()
            except ConnectError as error:
                hopeless = error.lasting or self._backoff.failures + 1 >= FIRST_ATTEMPTS
                if hopeless and not self.connects and not self._is_reached():
                    self._fail(error)
                    return
                self.last_error, status = error, error.status
                log.warning("line %d: %s", self.slot, error)
            else:
                await self._closed.wait()
            if not self._stopping:
                await asyncio.sleep(self._backoff.next_delay_ns(status) / 1e9)

    def add(self, topics: Iterable[str], now_ns: int) -> None:
        """Carry these topics too."""
        fresh = [topic for topic in topics if topic not in self.topics]
        self._leaving.difference_update(fresh)
        self.topics += fresh
        self._unasked += fresh
        self._ask(now_ns)

    def _ask(self, now_ns: int) -> None:
        """Subscribe what was added. While topics that leave still count, there may be no room for it: then later."""
        if self._session is None or not self.connected:
            return
        try:
            self._session.subscribe(self._unasked, now_ns)
        except ConfigError:
            return
        self._unasked.clear()
        self._pump()

    def remove(self, topics: Iterable[str], now_ns: int) -> None:
        """Carry these topics no longer."""
        gone = set(topics)
        self.topics = [topic for topic in self.topics if topic not in gone]
        self._unasked = [topic for topic in self._unasked if topic not in gone]
        for topic in gone:
            self.refused.pop(topic, None)
        if self._session is not None and self.connected:
            self._leaving |= gone
            self._session.unsubscribe(gone, now_ns)
            self._pump()
        else:
            self._capture.session(self.slot, notes.Unsubscribed(topics=sorted(gone)))

    @property
    def is_barren(self) -> bool:
        """Whether the exchange refused everything that the line is to carry."""
        return bool(self.topics) and all(topic in self.refused for topic in self.topics)

    def take_over_refused(self, other: Line) -> list[str]:
        """Answer for what another line was refused; it is not asked for here, and the other one has nothing left."""
        topics, other.topics = other.topics, []
        self.topics += topics
        self.refused |= other.refused
        other.refused = {}
        return topics

    async def retire(self) -> None:
        """Close a connection that has nothing to carry any more; nothing that it carried is lost by that."""
        if self.connected:
            self._capture.session(self.slot, notes.Disconnected(reason="nothing left to carry", clean=True))
        await self.stop()
        # What was not acknowledged before it closed is carried no longer all the same: otherwise the loss of the lines
        # that carry it now would look as if this one were still there.
        if self._leaving:
            self._capture.session(self.slot, notes.Unsubscribed(topics=sorted(self._leaving)))
            self._leaving.clear()

    async def stop(self) -> None:
        """Close the connection for good; frames that come until it is closed are still recorded."""
        self._stopping = True
        connection = self._connection
        if connection is not None:
            await connection.close(2.0)
        self._closed.set()

    def tick(self, now_ns: int) -> None:
        """Let the session look at the time (monotonic). Not while nobody reads, for then pongs and acknowledgements
        wait in the socket, and not before they had a moment to come out of it."""
        if self._session is not None and self.connected and not self._paused and now_ns >= self._hearing_ns:
            self._session.tick(now_ns)
            self._pump()
            if self._unasked:
                self._ask(now_ns)

    def is_subscribed(self, topic: str) -> bool:
        """Whether the exchange has acknowledged the topic on the connection that is up now."""
        return self.connected and self._session is not None and self._session.is_subscribed(topic)

    def delivers(self, topic: str) -> bool:
        """Whether it has sent something of it since."""
        session = self._session
        return (
            self.connected
            and session is not None
            and session.is_subscribed(topic)
            and topic not in session.awaiting_data
        )

    def begins_with_a_frame(self, topic: str) -> bool:
        """Whether a subscription of this topic is answered by a frame at once, however quiet it is."""
        return self._session is not None and self._session.begins_with_a_frame(topic)

    def resync(self, topic: str, now_ns: int) -> None:
        """Subscribe one topic anew."""
        if self._session is not None and self.connected:
            self._session.resync(topic, now_ns)
            self._pump()

    def lose(self, reason: str) -> None:
        """Tear the connection down; ``run`` opens another."""
        if self._connection is not None and self.connected:
            log.warning("line %d: %s: reconnecting", self.slot, reason)
            self.last_reason = reason
            self._connection.abort()

    def pause(self, paused: bool) -> None:
        """Leave bytes in the socket while the disk is behind."""
        if self._paused and not paused and self._session is not None:
            now_ns = time.monotonic_ns()
            self._session.received(now_ns)
            self._hearing_ns = now_ns + CATCH_UP_NS
        self._paused = paused
        if self._connection is not None:
            (self._connection.pause_reading if paused else self._connection.resume_reading)()

    # ---- the connection ----

    async def _connect(self) -> None:
        self._closed.clear()
        self.last_reason = ""
        session = StreamSession(self._category, options=self._timing.session)
        self._session = session
        self.acknowledged = False
        connection = await connect(
            self.url, on_frames=self._on_frames, on_closed=self._on_closed, ssl=self._ssl, kind=self._kind
        )
        if self._closed.is_set() or self._stopping:  # lost before anybody could use it
            await connection.close(0.1)
            return
        self._connection = connection
        self.connected = True
        self.changed_ns = time.time_ns()
        self.connects += 1
        self._opened_ns = time.monotonic_ns()
        self._capture.session(self.slot, notes.Connected(url=self.url))
        session.opened(self._opened_ns)
        self._unasked.clear()
        session.subscribe([topic for topic in self.topics if topic not in self.refused], self._opened_ns)
        if self._paused:
            connection.pause_reading()
        self._pump()

    def _on_closed(self, reason: str) -> None:
        was_connected, self.connected = self.connected, False
        self._connection = None
        self.changed_ns = time.time_ns() if was_connected else self.changed_ns
        if was_connected and self._session is not None:
            now_ns = time.monotonic_ns()
            self._session.closed(now_ns)
            is_steady = now_ns - self._opened_ns >= self._timing.steady_ns
            # Connections that are made as fast as they break would use up what all collectors have together.
            if is_steady and self._budget.left(now_ns) >= AMPLE_CONNECTS:
                self._backoff.reset()
            if not self._stopping:
                self.last_reason = self.last_reason or reason
                log.warning("line %d: connection lost: %s", self.slot, self.last_reason)
                self._leaving.clear()
                try:
                    self._capture.session(self.slot, notes.Disconnected(reason=self.last_reason))
                except TapebookError as error:
                    self._fail(error)
                for topic in self.topics:
                    self._forget_resync(topic)
        self._closed.set()

    def _forget_resync(self, topic: str) -> None:
        """A new subscription will bring the snapshot, or nothing will; another line may still be asked for it."""
        if not self._is_covered(topic, self.slot):
            self._resyncs.forget(topic)

    def _on_frames(self, frames: list[bytes], receive_ns: int) -> None:
        session = self._session
        assert session is not None
        self.heard_ns = now_ns = time.monotonic_ns()
        session.received(now_ns)
        try:
            start = 0
            for i, frame in enumerate(frames):
                if is_answer(frame):
                    self._data(frames[start:i], receive_ns, now_ns)
                    start = i + 1
                    self._answer(frame, receive_ns, now_ns)
            self._data(frames[start:] if start else frames, receive_ns, now_ns)
            self._pump()
        except TapebookError as error:
            self._fail(error)

    def _data(self, frames: list[bytes], receive_ns: int, now_ns: int) -> None:
        if not frames:
            return
        session = self._session
        assert session is not None
        awaiting = session.awaiting_data
        results = self._capture.frame_list(self.slot, frames, receive_ns)
        self.frames += len(frames)
        self.bytes += sum(map(len, frames))
        if not awaiting and CONTROL not in results:
            if max(results) >= 0:
                self.data_ns = now_ns
            return
        topics = self._capture.topics
        for frame, result in zip(frames, results, strict=True):
            if result == CONTROL:
                session.control(frame, now_ns)
            elif result >= 0:
                # what answers a subscription says nothing about the market being alive
                if topics[result] in awaiting:
                    session.data(topics[result], now_ns)
                else:
                    self.data_ns = now_ns

    def _answer(self, frame: bytes, receive_ns: int, now_ns: int) -> None:
        assert self._session is not None
        try:
            text = frame.decode()
        except UnicodeDecodeError:  # then it is no answer, only damage
            self._capture.frame_list(self.slot, [frame], receive_ns)
            return
        self._capture.control(self.slot, text, receive_ns)
        self._session.control(frame, now_ns)

    def _pump(self) -> None:
        """Write what the session wants written, and hear what it has to say."""
        session, connection = self._session, self._connection
        if session is None or connection is None or not self.connected:
            return
        if connection.is_open:  # otherwise it is ending, and says why itself
            try:
                for message in session.to_send():
                    connection.send(message)
            except ConnectError as error:
                self.lose(str(error))
                return
        for event in session.events():
            self._event(event)
        if not self.acknowledged and session.settled:
            self.acknowledged = True

    def _event(self, event: SessionEvent) -> None:
        if isinstance(event, Subscribed):
            self.answered = True
            self._capture.session(self.slot, notes.Subscribed(topics=list(event.topics)))
            # Deltas may come although the snapshot before them was lost: then nothing but patience shows it.
            for topic in event.topics:
                if needs_snapshot(self._category, topic):
                    self._resyncs.want(topic, time.monotonic_ns(), patient=True)
        elif isinstance(event, Unsubscribed):
            assert self._session is not None
            gone = [topic for topic in event.topics if topic not in self._session.topics]
            self._leaving.difference_update(event.topics)
            if gone:
                self._capture.session(self.slot, notes.Unsubscribed(topics=gone))
        elif isinstance(event, Refused):
            log.error(
                "%s: refused by the exchange: %s: check the symbol and the category; the other topics go on",
                event.topic, event.words,
            )  # fmt: skip
            self.refused[event.topic] = event.words
            self._forget_resync(event.topic)
            self._capture.session(self.slot, notes.Refused(topic=event.topic, words=event.words))
        elif isinstance(event, Silent):
            if event.topic not in self._told_silent:
                self._told_silent.add(event.topic)
                log.warning(
                    "%s: acknowledged, but no first frame came: %s", event.topic, _SILENT[self._category]
                )
            # A new subscription is a new chance for every topic, not only where its snapshot is needed.
            self._resyncs.want(event.topic, time.monotonic_ns())
        elif isinstance(event, Pong):
            if event.round_trip_ns is not None:
                self.round_trip_ns = event.round_trip_ns
                if event.exchange_ms is not None:
                    self.last_pong = event
        elif isinstance(event, Unexplained):
            kind = f"line {self.slot}: a message without a topic ({event.cause})"
            self._warnings.tell(kind, f": {event.excerpt}")
        elif isinstance(event, Dead):
            self.lose(event.reason)
