"""What is sent of a journal: messages from records, a pure function of each segment (subjects: ``docs/nats.md``).

A segment begins with everything it needs, and its messages follow from its records alone. So a sink that begins anew
anywhere makes the same messages again, under the same names, and knows which of them it had sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from engine.core.drive import Driver, Strategy
from engine.core.feeds import CONTROL, UNKNOWN_TOPIC, Engine
from engine.events import Event, EventKind
from engine.recorded import apply_answer, apply_note, apply_session
from engine.strategy import Moment
from recorder.journal import Break, Followed, Position, SegmentInfo
from recorder.journal.reader import records_of
from recorder.sink.subjects import subject_token
from schemas import notes
from schemas.names import Category, FeedState, RecordKind

__all__ = ["Message", "MessageMaker", "Place"]

MSG_ID: Final = "Nats-Msg-Id"
SEQUENCE: Final = "Tapebook-Sequence"
SEGMENT: Final = "Tapebook-Segment"
RECEIVE_NS: Final = "Tapebook-Receive-Ns"
LINE: Final = "Tapebook-Line"
STATE: Final = "Tapebook-State"
PART: Final = "Tapebook-Part"
OMITTED: Final = "Tapebook-Omitted"

BREATH: Final = 1_000
"""Records that are read again at most before the caller is asked."""

_OF_NO_FEED: Final = {CONTROL: "_control", UNKNOWN_TOPIC: "_unknown"}


class Place(NamedTuple):
    """A message's place in its journal: how far the journal was sent once it was delivered.

    Attributes:
        start_ns, sequence: segment and record.
        part: number of the message among those of the record, from 0.
        parts: how many there are.
    """

    start_ns: int
    sequence: int
    part: int = 0
    parts: int = 1

    @property
    def position(self) -> Position:
        """From where on the journal has to be read: a record that was sent in part is read again."""
        return Position(self.start_ns, self.sequence if self.part + 1 == self.parts else self.sequence - 1)

    @classmethod
    def of_headers(cls, headers: dict[str, str]) -> Place:
        """The place that a message tells of itself. Raises KeyError or ValueError where it is none of ours."""
        part, _, parts = headers.get(PART, "0/1").partition("/")
        return cls(int(headers[SEGMENT]), int(headers[SEQUENCE]), int(part), int(parts))


class Message(NamedTuple):
    """One message.

    Attributes:
        subject, payload, headers: as they are sent.
        place: in the journal.
        receive_ns: of its record; 0 where it is about none.
        missing: what it says that no record follows under.
    """

    subject: str
    payload: bytes
    headers: dict[str, str]
    place: Place
    receive_ns: int
    missing: Break | None = None

    @property
    def is_omitted(self) -> bool:
        """Whether its payload was too large."""
        return OMITTED in self.headers


class MessageMaker:
    """Messages of one collector, in the order of its journal.

    Args:
        collector: its name.
        prefix: what every subject begins with.
        sent: the last message that was delivered, of the segment that comes first; those up to it are not made again.
        max_bytes: payloads that are larger are left out, and an empty message says so.
        tops: keep books whose best levels changed, for `take_tops`.
    """

    def __init__(
        self,
        collector: str,
        *,
        prefix: str = "tapebook",
        sent: Place | None = None,
        max_bytes: int = 1 << 20,
        tops: bool = False,
    ) -> None:
        self.collector = collector
        self.root = f"{prefix}.{subject_token(collector)}"
        self.max_bytes = max_bytes
        self._sent = sent
        self._tops = tops
        self._segment = ""
        self._teller = _TopTeller() if tops else _Teller()
        self._engine = Engine(Category.LINEAR)
        self._driver = Driver(self._engine, self._teller)
        self._topics: list[str] = []
        self._frames: list[str] = []

    def follow(self, found: Followed | Break) -> Iterator[Message | None]:
        """The messages of what a journal's follower brings; None now and then where records are only read again."""
        if isinstance(found, Break):
            yield from self._break(found)
            return
        info = found.info
        if found.begins:
            self._begin(info)
        for row, record in enumerate(records_of(found.batch.table)):
            made: list[tuple[str, bytes, dict[str, str]]] = []
            if found.begins and row == 0:
                made.append(("segment", _about(info), {}))
            made.append(self._record(*record))
            made += self._told()
            if row < found.known:
                if row % BREATH == 0:
                    yield None
            else:
                yield from self._messages(info.start_ns, record.sequence, record.receive_ns, made)

    def take_tops(self) -> list[tuple[str, bytes]]:
        """Subject and payload of each book whose best levels may have changed since the last call, as it is now."""
        if not isinstance(self._teller, _TopTeller):
            return []
        dirty, self._teller.dirty = self._teller.dirty, {}
        return [self._top(feed, at) for feed, at in dirty.items()]

    # ---- one record ----

    def _begin(self, info: SegmentInfo) -> None:
        self._segment = str(info.start_ns)
        self._engine = Engine(Category(info.category))
        self._teller.clear()
        self._driver = Driver(self._engine, self._teller)
        self._topics, self._frames = [], []

    def _record(
        self, sequence: int, receive_ns: int, line: int, kind: int, payload: bytes
    ) -> tuple[str, bytes, dict[str, str]]:
        headers = {LINE: str(line)}
        if kind == RecordKind.FRAME:
            feed = self._driver.apply(payload, receive_ns, sequence, line)
            if feed < 0:
                return f"frame.{_OF_NO_FEED.get(feed, '_undecodable')}", payload, headers
            if feed >= len(self._frames):
                self._grow()
            headers[STATE] = self._engine.state(feed).value
            return self._frames[feed], payload, headers
        try:
            subject = self._apply(sequence, receive_ns, line, kind, payload)
        except (msgspec.DecodeError, msgspec.ValidationError):  # of a newer version: it is sent as it is
            subject = f"record.{kind}"
        return subject, payload, headers

    def _apply(self, sequence: int, receive_ns: int, line: int, kind: int, payload: bytes) -> str:
        """Let a record that is no frame act on the engine; returns where it is sent."""
        if kind == RecordKind.SESSION:
            event = notes.decode_session(payload)
            apply_session(self._engine, event, receive_ns=receive_ns, sequence=sequence, line=line)
            name = f"session.{_tag(event)}"
            acts = not isinstance(event, notes.Control)
        elif kind == RecordKind.NOTE:
            note = notes.decode_note(payload)
            apply_note(self._engine, note, receive_ns=receive_ns, sequence=sequence)
            name = f"note.{_tag(note)}"
            if isinstance(note, notes.FeedCheckpoint):
                name += f".{subject_token(note.topic, dots=True)}"
                # The driver takes a feed as it finds it; whoever begins with this segment wants to hear of it.
                feed = self._engine.feed_index(note.topic)
                at = Moment(sequence, receive_ns, receive_ns // 10**6, None)
                self._teller.states.append((feed, at, self._engine.state(feed)))
            acts = not isinstance(note, notes.Digest)
        elif kind == RecordKind.REST:
            answer = notes.decode_rest(payload)
            apply_answer(self._engine, answer, receive_ns=receive_ns, sequence=sequence)
            name, acts = f"rest.{_tag(answer)}", True
        else:
            return f"record.{kind}"
        if acts:
            self._driver.acted(receive_ns, sequence)
        return name

    def _grow(self) -> None:
        self._topics = self._engine.topics()
        self._frames += [
            f"frame.{subject_token(topic, dots=True)}" for topic in self._topics[len(self._frames) :]
        ]

    def _told(self) -> list[tuple[str, bytes, dict[str, str]]]:
        """What the engine has to say behind the record."""
        out: list[tuple[str, bytes, dict[str, str]]] = []
        if self._teller.states:
            states, self._teller.states = self._teller.states, []
            for feed, at, state in states:
                topic = self._topic(feed)
                said = {
                    "topic": topic,
                    "state": state.value,
                    "sequence": at.sequence,
                    "receive_ns": at.receive_ns,
                }
                out.append((f"state.{subject_token(topic, dots=True)}", msgspec.json.encode(said), {}))
        if self._engine.pending:
            for event in self._engine.take_events():
                if event.kind in (EventKind.GAP_OPENED, EventKind.GAP_CLOSED):
                    topic = subject_token(event.topic, dots=True) if event.topic else "_"
                    out.append((f"gap.{topic}", msgspec.json.encode(_gap(event)), {}))
        return out

    def _topic(self, feed: int) -> str:
        if feed >= len(self._topics):
            self._grow()
        return self._topics[feed]

    # ---- messages ----

    def _messages(
        self, start_ns: int, sequence: int, receive_ns: int, made: list[tuple[str, bytes, dict[str, str]]]
    ) -> Iterator[Message]:
        parts = len(made)
        first = 0
        sent = self._sent
        if sent is not None:
            if sent.start_ns == start_ns and sent.sequence == sequence:
                first = sent.part + 1
            self._sent = None
        number, received = str(sequence), str(receive_ns)
        name = f"{self.collector}:{self._segment}:{number}"
        for part, (subject, payload, more) in enumerate(made):
            if part < first:
                continue
            headers = {
                MSG_ID: name if part == 0 else f"{name}:{part}",
                SEQUENCE: number,
                SEGMENT: self._segment,
                RECEIVE_NS: received,
                **more,
            }
            if parts > 1:
                headers[PART] = f"{part}/{parts}"
            if len(payload) > self.max_bytes:
                headers[OMITTED] = str(len(payload))
                payload = b""
            place = Place(start_ns, sequence, part, parts)
            yield Message(f"{self.root}.{subject}", payload, headers, place, receive_ns)

    def _break(self, found: Break) -> Iterator[Message]:
        start_ns = found.start_ns or 0
        last = found.first_sequence - 1 if found.kind == "withdrawn" else found.last_sequence
        said: dict[str, Any] = {
            "kind": found.kind,
            "first_sequence": found.first_sequence,
            "last_sequence": found.last_sequence,
        }
        if found.words:
            said["words"] = found.words
        headers = {
            MSG_ID: f"{self.collector}:{start_ns}:{found.first_sequence}-{found.last_sequence}:{found.kind}",
            SEQUENCE: str(last),
            SEGMENT: str(start_ns),
        }
        yield Message(
            f"{self.root}.break", msgspec.json.encode(said), headers, Place(start_ns, last), 0, found
        )

    def _top(self, feed: int, at: Moment) -> tuple[str, bytes]:
        topic, engine = self._topic(feed), self._engine
        book = engine.book(feed)
        is_live = engine.state(feed) is FeedState.LIVE
        said: dict[str, Any] = {
            "topic": topic,
            "state": engine.state(feed).value,
            "sequence": at.sequence,
            "receive_ns": at.receive_ns,
            "match_ms": at.match_ms,
            "update_id": engine.update_id(feed) if is_live else None,
        }
        for side, level in (("bid", book.best_bid), ("ask", book.best_ask)):
            known = is_live and level is not None
            said[side] = (
                [str(book.price(level.price)), str(book.size(level.size))] if known and level else None
            )
        return f"{self.root}.top.{subject_token(topic, dots=True)}", msgspec.json.encode(said)


class _Teller(Strategy):
    """Keeps what changed state."""

    def __init__(self) -> None:
        self.states: list[tuple[int, Moment, FeedState]] = []

    def clear(self) -> None:
        self.states = []

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        self.states.append((feed, at, state))


class _TopTeller(_Teller):
    """And which books changed."""

    def __init__(self) -> None:
        super().__init__()
        self.dirty: dict[int, Moment] = {}
        self._books: set[int] = set()

    def clear(self) -> None:
        super().clear()
        self.dirty, self._books = {}, set()

    def on_book(self, feed: int, at: Moment) -> None:
        self.dirty[feed] = at
        self._books.add(feed)

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        super().on_state(feed, at, state)
        if state is not FeedState.LIVE and feed in self._books:
            self.dirty[feed] = at


def _tag(value: msgspec.Struct) -> str:
    return str(type(value).__struct_config__.tag)


def _about(info: SegmentInfo) -> bytes:
    """What a segment says about itself, whether it is compressed by now or not."""
    said = msgspec.structs.asdict(info)
    del said["format_version"]
    return msgspec.json.encode(said)


def _gap(event: Event) -> dict[str, Any]:
    """A gap as it begins or ends; numbers that don't exist are null."""
    opened = event.kind is EventKind.GAP_OPENED
    return {
        "topic": event.topic,
        "gap": "opened" if opened else "closed",
        "cause": event.detail,
        "healed_by": None if opened else event.healed_by,
        "first_update_id": event.first_update_id,
        "last_update_id": event.last_update_id,
        "start_ns": event.start_ns,
        "start_match_ms": event.start_match_ms,
        "end_ns": None if opened else event.receive_ns,
        "end_match_ms": None if opened else event.match_ms,
    }
