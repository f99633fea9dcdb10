"""The conversation of one public connection, without the connection (sections 2.1 and 2.3).

Bytes and time go in; bytes to write and events come out. Nothing here waits, draws lots or looks at a clock,
so the same input always gives the same output. ``now_ns`` must come from a monotonic clock.

The owner of a connection does this::

    session.opened(now_ns)                        # the handshake is done
    session.received(now_ns)                      # for every chunk that arrives
    session.control(frame, now_ns)                # for every frame without a topic
    if topic in session.awaiting_data:
        session.data(topic, now_ns)               # for every frame with one
    session.tick(now_ns)                          # at `next_deadline_ns`, or a few times a second
    for message in session.to_send(): ...         # after any of these
    for event in session.events(): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Final, Literal

import msgspec

from engine.bybit.control import Acknowledgement, Unreadable, excerpt, read_control
from engine.bybit.control import Pong as PongFrame
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
from engine.bybit.limits import arguments_per_request, check_connection
from engine.bybit.patience import FirstData, Heartbeat, SessionOptions
from engine.bybit.topics import TopicKind
from schemas.names import Category

__all__ = ["SessionOptions", "StreamSession"]

_MAXIMUM_UNEXPLAINED: Final = 16
_MAXIMUM_EXPIRED: Final = 64
_ALREADY_SUBSCRIBED: Final = "already subscribed"
_NAMED_TOPIC: Final = "topic:"
_NO_SNAPSHOT_PREFIXES: Final = (
    *(f"{kind.value}." for kind in TopicKind if not kind.has_first_snapshot),
    "orderbook.full.",
)
_COUNTERS: Final = (
    "control_frames",
    "pings",
    "pongs",
    "unasked_pongs",
    "requests",
    "repeated_requests",
    "acknowledgements",
    "late_acknowledgements",
    "rejected_requests",
    "refused_topics",
    "resyncs",
    "silent_topics",
    "oversize",
    "undecodable",
    "unknown_shape",
    "unmatched",
)

_Op = Literal["subscribe", "unsubscribe"]


class _State(Enum):
    NEW = "new"
    OPEN = "open"
    DEAD = "dead"
    CLOSED = "closed"


class _Phase(Enum):
    """Where a topic that is asked for stands."""

    QUEUED = "queued"
    SUBSCRIBING = "subscribing"
    SUBSCRIBED = "subscribed"
    RESYNCING = "resyncing"
    UNSUBSCRIBING = "unsubscribing"


class _Request(msgspec.Struct):
    """A request, queued or in flight."""

    op: _Op
    topics: tuple[str, ...]
    resync: bool = False
    request_id: str = ""
    attempts: int = 0
    deadline_ns: int = 0


class StreamSession:
    """The state machine of one public connection, from its opening to its end; not reused afterwards.

    Args:
        category: of the connection's path.
        options: timeouts and windows.

    Attributes:
        awaiting_data: topics whose first frame since they were subscribed has not been seen; only for these
            `data` needs to be called.
        counters: what happened, by name.
    """

    def __init__(self, category: Category, *, options: SessionOptions | None = None) -> None:
        self._category = category
        self._options = options or SessionOptions()
        self._state = _State.NEW
        self._topics: dict[str, _Phase] = {}
        self._queue: deque[_Request] = deque()
        self._in_flight: dict[str, _Request] = {}
        self._expired: deque[str] = deque(maxlen=_MAXIMUM_EXPIRED)
        self._serial = 0
        self._opened_ns: int | None = None
        self._lifetime_ns: int | None = None
        self._heartbeat = Heartbeat(self._options)
        self._first_data = FirstData(self._options.first_data_timeout_ns)
        self._outbox: list[bytes] = []
        self._events: list[SessionEvent] = []
        self._unexplained_pending = 0
        self.awaiting_data: Final = self._first_data.awaiting
        self.counters: Final = dict.fromkeys(_COUNTERS, 0)

    def __repr__(self) -> str:
        phases = [phase.value for phase in self._topics.values()]
        counts = "".join(f" {phase.value}={phases.count(phase.value)}" for phase in _Phase)
        return (
            f"<StreamSession {self._category} {self._state.value}{counts} in_flight={len(self._in_flight)} "
            f"requests_queued={len(self._queue)} awaiting_data={len(self.awaiting_data)} "
            f"pings_open={self._heartbeat.pings_open}>"
        )

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that is asked for, whatever has come of it so far; refused ones have left."""
        return tuple(topic for topic, phase in self._topics.items() if phase is not _Phase.UNSUBSCRIBING)

    def is_subscribed(self, topic: str) -> bool:
        """Whether a topic is acknowledged."""
        return self._topics.get(topic) is _Phase.SUBSCRIBED

    def begins_with_a_frame(self, topic: str) -> bool:
        """Whether a topic's subscription is answered by a frame, however quiet the market is (section 3)."""
        return not topic.startswith(_NO_SNAPSHOT_PREFIXES)

    @property
    def settled(self) -> bool:
        """Whether every request so far has had its answer."""
        return self._state is _State.OPEN and not self._queue and not self._in_flight

    @property
    def lifetime_ns(self) -> int | None:
        """How long the connection was open; null before it is closed, 0 if it never opened."""
        return self._lifetime_ns

    # -- the connection ------------------------------------------------------------------------------------

    def opened(self, now_ns: int) -> None:
        """Start: a ping goes out at once (section 2.1, options), then everything subscribed so far.

        Raises:
            RuntimeError: a session serves one connection.
        """
        if self._state is not _State.NEW:
            raise RuntimeError(f"{self!r} was opened before: make a new session for each connection")
        self._state = _State.OPEN
        self._opened_ns = now_ns
        self._heartbeat.last_received_ns = now_ns
        self._ping(now_ns)
        self._pump(now_ns)

    def closed(self, now_ns: int) -> None:
        """The connection is gone; nothing is sent or timed any more. Events not drained yet stay."""
        self._state = _State.CLOSED
        self._lifetime_ns = max(0, now_ns - self._opened_ns) if self._opened_ns is not None else 0
        self._halt()

    def received(self, now_ns: int) -> None:
        """Something arrived, whatever it was: the connection is alive."""
        self._heartbeat.last_received_ns = now_ns

    def data(self, topic: str, now_ns: int) -> None:
        """A frame of this topic arrived; it may come before the acknowledgement (section 2.3)."""
        self._heartbeat.last_received_ns = now_ns
        self.awaiting_data.discard(topic)

    def to_send(self) -> list[bytes]:
        """Return the messages to write, in order, and forget them. Each is one compact JSON text frame."""
        outbox, self._outbox = self._outbox, []
        return outbox

    def events(self) -> list[SessionEvent]:
        """Return what happened since the last call and forget it."""
        pending, self._events = self._events, []
        self._unexplained_pending = 0
        return pending

    # -- topics --------------------------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str], now_ns: int) -> None:
        """Ask for topics, in batches the category allows; those asked for already are left alone.

        Raises:
            ConfigError: the connection would carry more than its limits; nothing was subscribed.
        """
        wanted = [
            topic
            for topic in dict.fromkeys(topics)
            if self._topics.get(topic, _Phase.UNSUBSCRIBING) is _Phase.UNSUBSCRIBING
        ]
        check_connection(self._category, [*dict.fromkeys([*self._topics, *wanted])])
        self._enqueue_subscribe(wanted)
        self._pump(now_ns)

    def unsubscribe(self, topics: Iterable[str], now_ns: int) -> None:
        """End topics; unknown ones are ignored. One that was never sent ends at once."""
        ended: list[str] = []
        sent: list[str] = []
        for topic in dict.fromkeys(topics):
            match self._topics.get(topic):
                case None | _Phase.UNSUBSCRIBING:
                    pass
                case _Phase.QUEUED:
                    self._forget(topic)
                    ended.append(topic)
                case _Phase.RESYNCING:
                    # Its unsubscribe is on its way already.
                    self._topics[topic] = _Phase.UNSUBSCRIBING
                case _:
                    self._topics[topic] = _Phase.UNSUBSCRIBING
                    self.awaiting_data.discard(topic)
                    sent.append(topic)
        if ended:
            self._events.append(Unsubscribed(tuple(ended)))
        for batch in self._batches(sent):
            self._queue.append(_Request("unsubscribe", batch))
        self._pump(now_ns)

    def resync(self, topic: str, now_ns: int) -> bool:
        """Ask for a fresh snapshot: unsubscribe, then subscribe, this topic alone (section 4, rule 10).

        Returns:
            False when the topic isn't subscribed at the moment, for one because a resync is under way.
        """
        if self._state is not _State.OPEN or self._topics.get(topic) is not _Phase.SUBSCRIBED:
            return False
        self.counters["resyncs"] += 1
        self._topics[topic] = _Phase.RESYNCING
        self.awaiting_data.discard(topic)
        self._queue.append(_Request("unsubscribe", (topic,), resync=True))
        self._pump(now_ns)
        return True

    # -- frames without a topic ----------------------------------------------------------------------------

    def control(self, frame: bytes, now_ns: int) -> None:
        """Take in a frame without a topic. Never raises, whatever the bytes are."""
        self._heartbeat.last_received_ns = now_ns
        self.counters["control_frames"] += 1
        read = read_control(frame)
        if isinstance(read, Unreadable):
            self._unexplained(read.cause, frame)
        elif isinstance(read, PongFrame):
            self._pong(read, now_ns)
        elif self._state is not _State.OPEN or not self._acknowledge(read, now_ns):
            self._unexplained("unmatched", frame)
        self._pump(now_ns)

    def _unexplained(self, cause: str, frame: bytes) -> None:
        self.counters[cause] += 1
        # A flood is counted in full, and told about only so far that memory stays bounded.
        if self._unexplained_pending < _MAXIMUM_UNEXPLAINED:
            self._unexplained_pending += 1
            self._events.append(Unexplained(cause, excerpt(frame), len(frame)))

    def _pong(self, pong: PongFrame, now_ns: int) -> None:
        if not self._heartbeat.pings_open:
            self.counters["unasked_pongs"] += 1
            return
        self.counters["pongs"] += 1
        self._events.append(Pong(self._heartbeat.ponged(pong.request_id, now_ns), now_ns, pong.exchange_ms))

    def _acknowledge(self, answer: Acknowledgement, now_ns: int) -> bool:
        if answer.request_id in self._expired:
            self.counters["late_acknowledgements"] += 1
            return True
        request = self._request_of(answer)
        if request is None:
            return False
        self.counters["acknowledgements"] += 1
        del self._in_flight[request.request_id]
        if request.op == "unsubscribe":
            self._end(request, answer)
        else:
            self._begin(request, answer, now_ns)
        return True

    def _request_of(self, answer: Acknowledgement) -> _Request | None:
        """Find the request an answer belongs to: by id, else by topics, else the oldest it can mean."""
        if answer.request_id:
            return self._in_flight.get(answer.request_id)
        named = {*answer.succeeded, *answer.failed}
        topic = _named_topic(answer.words)
        if topic:
            named.add(topic)
        for request in self._in_flight.values():
            if named:
                if not named.isdisjoint(request.topics):
                    return request
            elif answer.op == request.op or (
                not answer.op and self._category in (Category.OPTION, Category.SPREAD)
            ):
                return request
        return None

    def _begin(self, request: _Request, answer: Acknowledgement, now_ns: int) -> None:
        """A subscribe request was answered."""
        failed = set(answer.failed).intersection(request.topics)
        succeeded = set(answer.succeeded).intersection(request.topics)
        for topic in request.topics:
            if topic in failed:
                self._refuse(topic, answer.words or "listed under failTopics")
        if answer.success:
            self._begun([topic for topic in request.topics if topic not in failed], now_ns, fresh=True)
            return
        self.counters["rejected_requests"] += 1
        self._begun([topic for topic in request.topics if topic in succeeded], now_ns, fresh=True)
        topics = tuple(topic for topic in request.topics if topic not in failed and topic not in succeeded)
        if not topics:
            return
        # Each answer settles a topic or makes smaller requests, so this ends whatever the exchange says.
        already = _ALREADY_SUBSCRIBED in answer.words.lower()
        named = _named_topic(answer.words)
        if already and (len(topics) == 1 or request.attempts > 1):
            # A request is taken or rejected whole, so one active topic of a repeated request means that the
            # first copy had been taken.
            self._begun(topics, now_ns, fresh=False)
        elif already and named in topics:
            self._begun((named,), now_ns, fresh=False)
            self._retry("subscribe", [tuple(topic for topic in topics if topic != named)])
        elif failed or succeeded:
            self._retry("subscribe", [topics])
        elif len(topics) == 1:
            self._refuse(topics[0], answer.words or "refused without a word")
        else:
            self._retry("subscribe", _split(topics, named))

    def _begun(self, topics: Iterable[str], now_ns: int, *, fresh: bool) -> None:
        """These topics are active; those that start with a snapshot must now show it."""
        begun = [topic for topic in topics if self._topics.get(topic) is _Phase.SUBSCRIBING]
        for topic in begun:
            self._topics[topic] = _Phase.SUBSCRIBED
            if not topic.startswith(_NO_SNAPSHOT_PREFIXES):
                self._first_data.arm(topic, now_ns)
        if begun:
            self._events.append(Subscribed(tuple(begun), fresh))

    def _refuse(self, topic: str, words: str) -> None:
        if self._topics.get(topic) is not _Phase.SUBSCRIBING:
            return
        self._forget(topic)
        self.counters["refused_topics"] += 1
        self._events.append(Refused(topic, words))

    def _end(self, request: _Request, answer: Acknowledgement) -> None:
        """An unsubscribe request was answered."""
        if not answer.success:
            self.counters["rejected_requests"] += 1
            if len(request.topics) > 1:
                self._retry("unsubscribe", _split(request.topics, _named_topic(answer.words)))
                return
        self._events.append(Unsubscribed(request.topics, "" if answer.success else answer.words))
        self._ended(request.topics)

    def _ended(self, topics: Iterable[str]) -> None:
        """These topics are no longer active: forget them, or ask again where that was the point."""
        for topic in topics:
            match self._topics.get(topic):
                case _Phase.UNSUBSCRIBING:
                    self._forget(topic)
                case _Phase.RESYNCING:
                    self._enqueue_subscribe([topic])
                case _:
                    pass

    # -- requests ------------------------------------------------------------------------------------------

    def _batches(self, topics: Sequence[str]) -> Iterable[tuple[str, ...]]:
        size = arguments_per_request(self._category)
        return (tuple(topics[start : start + size]) for start in range(0, len(topics), size))

    def _enqueue_subscribe(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self._topics[topic] = _Phase.QUEUED
        for batch in self._batches(topics):
            self._queue.append(_Request("subscribe", batch))

    def _retry(self, op: _Op, parts: Sequence[tuple[str, ...]]) -> None:
        """Put the parts of a rejected request at the head of the queue."""
        for part in reversed(parts):
            if op == "subscribe":
                for topic in part:
                    self.awaiting_data.discard(topic)
                    if self._topics.get(topic) is _Phase.SUBSCRIBING:
                        self._topics[topic] = _Phase.QUEUED
            self._queue.appendleft(_Request(op, part))

    def _pump(self, now_ns: int) -> None:
        """Send queued requests as far as the window allows."""
        while (
            self._state is _State.OPEN
            and self._queue
            and len(self._in_flight) < self._options.requests_in_flight
        ):
            request = self._queue.popleft()
            if request.op == "subscribe":
                # Some may have been unsubscribed, or sent with another request, while this one was queued.
                request.topics = tuple(t for t in request.topics if self._topics.get(t) is _Phase.QUEUED)
            if request.topics:
                request.request_id = self._next_id(request.op[0])
                self._in_flight[request.request_id] = request
                self._send(request, now_ns)

    def _send(self, request: _Request, now_ns: int) -> None:
        options = self._options
        self.counters["requests"] += 1
        request.attempts += 1
        request.deadline_ns = now_ns + (
            options.resync_timeout_ns if request.resync else options.acknowledgement_timeout_ns
        )
        if request.op == "subscribe":
            for topic in request.topics:
                self._topics[topic] = _Phase.SUBSCRIBING
                self._first_data.expect(topic)
        self._outbox.append(
            msgspec.json.encode({"req_id": request.request_id, "op": request.op, "args": request.topics})
        )

    def _ping(self, now_ns: int) -> None:
        self.counters["pings"] += 1
        request_id = self._next_id("p")
        self._heartbeat.pinged(request_id, now_ns)
        self._outbox.append(msgspec.json.encode({"req_id": request_id, "op": "ping"}))

    def _next_id(self, letter: str) -> str:
        self._serial += 1
        return f"{letter}{self._serial}"

    def _forget(self, topic: str) -> None:
        self._topics.pop(topic, None)
        self._first_data.forget(topic)

    # -- time ----------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> None:
        """Do what is due: pings, repeats of requests, silent topics, the verdict on a dead connection."""
        if self._state is not _State.OPEN:
            return
        reason = self._heartbeat.verdict(now_ns)
        overdue = [request for request in self._in_flight.values() if now_ns >= request.deadline_ns]
        for request in overdue:
            reason = reason or self._overdue(request, now_ns)
        if reason:
            self._die(reason)
            return
        if self._heartbeat.ping_due(now_ns):
            self._ping(now_ns)
        for topic in self._first_data.silent(now_ns):
            self.counters["silent_topics"] += 1
            self._events.append(Silent(topic))
        self._pump(now_ns)

    def next_deadline_ns(self) -> int | None:
        """Return when `tick` has something to do at the latest; null when the session isn't open."""
        if self._state is not _State.OPEN:
            return None
        deadlines = [self._heartbeat.deadline_ns()]
        deadlines.extend(request.deadline_ns for request in self._in_flight.values())
        first_data_ns = self._first_data.deadline_ns()
        return min(deadlines) if first_data_ns is None else min(*deadlines, first_data_ns)

    def _overdue(self, request: _Request, now_ns: int) -> str | None:
        """A request was not acknowledged in time; returns why the connection is dead, if it is."""
        if request.resync:
            self._expire(request)
            (topic,) = request.topics
            if self._topics.get(topic) is _Phase.UNSUBSCRIBING:
                self._events.append(Unsubscribed(request.topics, "not acknowledged"))
            self._ended(request.topics)
            return None
        if request.op == "subscribe":
            # Data is as good as an acknowledgement.
            self._begun([t for t in request.topics if t not in self.awaiting_data], now_ns, fresh=True)
            request.topics = tuple(t for t in request.topics if self._topics.get(t) is _Phase.SUBSCRIBING)
            if not request.topics:
                self._expire(request)
                return None
        if request.attempts > 1:
            return (
                f"{request.op} request {request.request_id} ({len(request.topics)} topics, the first is "
                f"{request.topics[0]}) was not acknowledged after {request.attempts} attempts"
            )
        self.counters["repeated_requests"] += 1
        self._send(request, now_ns)
        return None

    def _expire(self, request: _Request) -> None:
        del self._in_flight[request.request_id]
        self._expired.append(request.request_id)

    def _die(self, reason: str) -> None:
        self._state = _State.DEAD
        self._halt()
        self._events.append(Dead(reason))

    def _halt(self) -> None:
        self._queue.clear()
        self._in_flight.clear()
        self._first_data.clear()
        self._outbox.clear()


def _named_topic(words: str) -> str:
    """Return the topic an error text names after ``topic:``, or an empty string."""
    return words.rpartition(_NAMED_TOPIC)[2].strip() if _NAMED_TOPIC in words else ""


def _split(topics: tuple[str, ...], named: str) -> list[tuple[str, ...]]:
    """Split a rejected request: the topic that was named from the rest, or into halves when none was."""
    if named in topics:
        return [(named,), tuple(topic for topic in topics if topic != named)]
    middle = len(topics) // 2
    return [topics[:middle], topics[middle:]]
