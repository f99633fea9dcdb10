"""What became of every message over several lines: published, sent on which connections, hit by which faults, brought
by which lines, recorded in which row. Ledger, journal and archive side by side; nothing is judged here."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from recorder.journal import Record
from schemas.names import RecordKind, Table
from schemas.notes import Disconnected, Stale, Subscribed, Unsubscribed, decode_note, decode_session
from tests.faults.sent import Arrival, Sent, match_arrivals
from tests.ledger import Entry
from tests.recorded import PLAIN_TABLES, Recorded

__all__ = ["Account", "Brought", "Carried", "Damage", "End", "Message", "Row", "Silence", "account_of"]

_TOPIC: Final = re.compile(rb'"topic":"([^"]*)"')

ENDINGS: Final = ("close", "cut", "cut_one", "slow_reader", "half_open")
"""Faults behind which a connection brings nothing any more."""


class Brought(NamedTuple):
    """A line delivered a message whole."""

    sequence: int
    receive_ns: int
    line: int
    connection: int


@dataclass(eq=False)
class Message:
    """One message that the exchange published, for all or (rebuilt) for one subscriber.

    Attributes:
        place: among the topic's messages.
        listening: connections that were subscribed to its topic, and neither closed nor dead.
        sent: connections that its bytes went to, damaged ones too.
        befallen: faults of it, by connection.
        brought: whole, in the journal's order.
    """

    place: int
    entry: Entry
    listening: frozenset[int] = frozenset()
    sent: set[int] = field(default_factory=set)
    befallen: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    brought: list[Brought] = field(default_factory=list)

    def __str__(self) -> str:
        update_id = "" if self.entry.u is None else f", u={self.entry.u}"
        return f"message {self.place}{update_id} (crc32 {self.entry.crc32})"


class Row(NamedTuple):
    """A row of the archive that a message made; ``values`` are its columns."""

    sequence: int
    receive_ns: int
    applied: bool
    message: Message
    values: dict[str, Any]


class Damage(NamedTuple):
    """An undecodable frame arrived; ``topic`` is what its bytes still tell."""

    sequence: int
    receive_ns: int
    line: int
    topic: str | None


class End(NamedTuple):
    """A connection was lost."""

    sequence: int
    receive_ns: int
    line: int
    connection: int
    reason: str


class Silence(NamedTuple):
    """The recorder gave a topic up for another reason than a frame."""

    sequence: int
    receive_ns: int
    topic: str
    cause: str


class Carried(NamedTuple):
    """A line carries a topic from a record on, by its subscription or its first frame."""

    sequence: int
    receive_ns: int
    connection: int


class Account:
    """Everything about one recording, by topic.

    Attributes:
        messages: published, in order.
        rows: in the archive's order. trades: rows as they are, for one message makes many.
        connections: of each line.
        last_ns: when the last frame came.
    """

    def __init__(self, recorded: Recorded, sent: Sent, arrivals: dict[int, Arrival | int]) -> None:
        self.sent = sent
        self.messages: defaultdict[str, list[Message]] = defaultdict(list)
        self.rows: defaultdict[str, list[Row]] = defaultdict(list)
        self.trades: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.connections: defaultdict[int, set[int]] = defaultdict(set)
        self.damages: list[Damage] = []
        self.ends: list[End] = []
        self.silences: list[Silence] = []
        self.payloads = {frame.sequence: frame.payload for frame in recorded.frames}
        self.last_ns = max((frame.receive_ns for frame in recorded.frames), default=0)
        self._of_entry: dict[int, Message] = {}
        self._of_sequence: dict[int, Message] = {}
        self._carried: defaultdict[tuple[str, int], list[Carried | End]] = defaultdict(list)
        self._read_ledger()
        for record in recorded.records:
            self._read_record(record, arrivals.get(record.sequence))
        self._read_rows(recorded)

    # ---- what was published, and what befell it ----

    def _read_ledger(self) -> None:
        latest: dict[tuple[str | None, str | None], Message] = {}
        damaged: dict[int, Message] = {}
        held: dict[tuple[int, str | None, str | None], Message] = {}
        listening: defaultdict[str, frozenset[int]] = defaultdict(frozenset)
        for entry in self.sent.entries:
            at = entry.topic, entry.crc32
            if entry.event == "close" or entry.fault in ENDINGS:
                for topic, connections in listening.items():
                    listening[topic] = connections - {entry.connection}
            elif entry.event in ("subscribe", "unsubscribe"):
                assert entry.topic is not None
                one = {entry.connection}
                known = listening[entry.topic]
                listening[entry.topic] = known | one if entry.event == "subscribe" else known - one
            if entry.event == "published":
                assert entry.topic is not None
                of_topic = self.messages[entry.topic]
                latest[at] = message = Message(len(of_topic), entry, listening[entry.topic])
                of_topic.append(message)
            elif entry.event == "fault" and entry.crc32 is not None:
                assert entry.fault is not None
                # one that was held back may be lost after all
                message = held.pop((entry.connection, *at), latest[at])
                message.befallen[entry.connection].add(entry.fault)
                if entry.fault == "corrupt":
                    damaged[entry.connection] = message
                elif entry.fault == "reorder":
                    held[entry.connection, *at] = message
            elif entry.event == "frame":
                if entry.fault == "corrupt":
                    message = damaged.pop(entry.connection)
                else:  # the same words may have been published for another connection since it was held back
                    message = held.pop((entry.connection, *at), latest[at])
                message.sent.add(entry.connection)
                self._of_entry[id(entry)] = message

    # ---- what arrived ----

    def _read_record(self, record: Record, arrival: Arrival | int | None) -> None:
        if record.kind == RecordKind.FRAME:
            assert isinstance(arrival, Arrival)
            self._read_frame(record, arrival)
        elif record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(arrival, int):
                self.connections[record.line].add(arrival)
            if isinstance(event, Subscribed):
                assert isinstance(arrival, int)
                for topic in event.topics:
                    self._carried[topic, record.line].append(
                        Carried(record.sequence, record.receive_ns, arrival)
                    )
            elif isinstance(event, Disconnected | Unsubscribed):
                assert isinstance(arrival, int)
                is_clean = isinstance(event, Unsubscribed) or event.clean
                reason = "" if isinstance(event, Unsubscribed) else event.reason
                end = End(record.sequence, record.receive_ns, record.line, arrival, reason)
                if not is_clean:
                    self.ends.append(end)
                for topic, line in self._carried:
                    if line == record.line and (not isinstance(event, Unsubscribed) or topic in event.topics):
                        self._carried[topic, line].append(end)
        elif record.kind == RecordKind.NOTE:
            note = decode_note(record.payload)
            if isinstance(note, Stale):
                self.silences.append(Silence(record.sequence, record.receive_ns, note.topic, note.cause))

    def _read_frame(self, record: Record, arrival: Arrival) -> None:
        if arrival.entry.fault == "corrupt":
            names = (found.decode(errors="replace") for found in _TOPIC.findall(record.payload))
            topic = next((name for name in names if name in self.messages), None)
            self.damages.append(Damage(record.sequence, record.receive_ns, record.line, topic))
            return
        message = self._of_entry[id(arrival.entry)]
        message.brought.append(Brought(record.sequence, record.receive_ns, record.line, arrival.connection))
        self._of_sequence[record.sequence] = message
        assert arrival.entry.topic is not None
        spans = self._carried[arrival.entry.topic, record.line]
        if not spans or isinstance(spans[-1], End):
            spans.append(Carried(record.sequence, record.receive_ns, arrival.connection))

    def carried(self, topic: str, line: int, sequence: int) -> Carried | None:
        """Since when a line carries a topic, as of just before a record; None while it doesn't."""
        spans = self._carried.get((topic, line), [])
        number = bisect_right(spans, sequence - 1, key=lambda span: span.sequence) - 1
        found = spans[number] if number >= 0 else None
        return found if isinstance(found, Carried) else None

    def company(self, topic: str, sequence: int) -> tuple[int, int]:
        """Records between which the same lines carried a topic: the later of their beginnings up to this one, and the
        next beginning or end of any."""
        begun, ended = -1, 2**63
        for (name, _), spans in self._carried.items():
            if name != topic:
                continue
            number = bisect_right(spans, sequence, key=lambda span: span.sequence)
            if number:
                begun = max(begun, spans[number - 1].sequence)
            if number < len(spans):
                ended = min(ended, spans[number].sequence)
        return begun, ended

    # ---- what was recorded ----

    def _read_rows(self, recorded: Recorded) -> None:
        for row in recorded.rows(Table.BOOK_UPDATES):
            if row["kind"] != "keyframe":
                self._add_row(f"orderbook.{row['depth']}.{row['symbol']}", row)
        for row in recorded.rows(Table.TICKERS):
            self._add_row(f"tickers.{row['symbol']}", row)
        for table in PLAIN_TABLES:
            for row in recorded.rows(table):
                message = self._of_sequence.get(row["sequence"])
                topic = "" if message is None else message.entry.topic or ""
                self._add_row(topic, row | {"applied": True})
        for row in recorded.rows(Table.TRADES):
            self.trades[f"publicTrade.{row['symbol']}"].append(row)

    def _add_row(self, topic: str, row: dict[str, Any]) -> None:
        message = self._of_sequence.get(row["sequence"])
        assert message is not None, (
            f"{topic}: a row of record {row['sequence']}, which is no frame: it is invented"
        )
        assert message.entry.topic == topic, (
            f"{topic}: a row of record {row['sequence']}, which brought no message of it: it is invented"
        )
        self.rows[topic].append(Row(row["sequence"], row["receive_time"], row["applied"], message, row))

    def applied(self, topic: str) -> list[Row]:
        """Rows that made the topic's state."""
        return [row for row in self.rows[topic] if row.applied]

    def frames_of(self, topic: str) -> Iterator[tuple[Brought, Message]]:
        """Everything of a topic that arrived whole over any line, in the journal's order."""
        return iter(
            sorted(
                ((brought, message) for message in self.messages[topic] for brought in message.brought),
                key=lambda pair: pair[0].sequence,
            )
        )

    def decoded(self, sequence: int) -> Any:
        """A frame's own words."""
        return json.loads(self.payloads[sequence])


def account_of(recorded: Recorded, entries: list[Entry]) -> Account:
    """Put a recording beside the ledger of who sent it.

    Raises:
        AssertionError: something that was recorded was never sent.
    """
    sent = Sent(entries)
    return Account(recorded, sent, match_arrivals(recorded.records, sent))
