"""The gateway's ledger by connection, and each journalled frame beside the ledger's line about it."""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from recorder.journal import Record
from schemas.names import RecordKind
from schemas.notes import Connected, Control, decode_session
from tests.ledger import Entry

__all__ = ["Arrival", "Sent", "match_arrivals"]


class Sent:
    """The ledger by connection."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.frames: defaultdict[int, list[Entry]] = defaultdict(list)
        self.faults_of: defaultdict[int, list[Entry]] = defaultdict(list)
        self.number_of: dict[str, int] = {}
        self.opened: list[int] = []
        self.faults: Counter[str] = Counter()
        for entry in entries:
            if entry.event == "frame":
                self.frames[entry.connection].append(entry)
            elif entry.event == "fault":
                assert entry.fault is not None
                self.faults[entry.fault] += 1
                self.faults_of[entry.connection].append(entry)
            elif entry.event == "open":
                assert entry.conn_id is not None
                self.number_of[entry.conn_id] = entry.connection
                self.opened.append(entry.connection)


class Arrival(NamedTuple):
    """One journalled frame: the connection it came over and the ledger's line about it."""

    connection: int
    entry: Entry


class _Span:
    """Records of one line between two of its connections."""

    def __init__(self) -> None:
        self.identity: str | None = None
        self.frames: list[Record] = []
        self.sequences: list[int] = []


def match_arrivals(records: list[Record], sent: Sent) -> dict[int, Arrival | int]:
    """Match frames with the ledger (claim 1); session events of a line get their connection's number."""
    spans: list[_Span] = []
    current: dict[int, _Span] = {}
    for record in records:
        if record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(event, Connected):
                current[record.line] = _Span()
                spans.append(current[record.line])
            if (span := current.get(record.line)) is None:
                continue
            span.sequences.append(record.sequence)
            if isinstance(event, Control) and span.identity is None:
                span.identity = _identity(event.text)
        elif record.kind == RecordKind.FRAME:
            current[record.line].frames.append(record)
    arrivals: dict[int, Arrival | int] = {}
    known = {sent.number_of[span.identity] for span in spans if span.identity is not None}
    nameless = iter([number for number in sent.opened if number not in known])
    for span in spans:
        number = sent.number_of[span.identity] if span.identity is not None else _match(span, nameless, sent)
        for sequence in span.sequences:
            arrivals[sequence] = number
        lines = sent.frames[number]
        assert len(span.frames) <= len(lines), f"connection {number}: more frames than were sent"
        for record, entry in zip(span.frames, lines, strict=False):
            assert f"{zlib.crc32(record.payload):08x}" == entry.crc32, (
                f"connection {number}: record {record.sequence} is not what was sent next: {entry}"
            )
            arrivals[record.sequence] = Arrival(number, entry)
    return arrivals


def _identity(text: str) -> str | None:
    identity = json.loads(text).get("conn_id")
    return identity if isinstance(identity, str) else None


def _match(span: _Span, nameless: Iterator[int], sent: Sent) -> int:
    """A connection that never answered is known by what it sent, or doesn't matter."""
    for number in nameless:
        checksums = [f"{zlib.crc32(record.payload):08x}" for record in span.frames]
        if checksums == [entry.crc32 for entry in sent.frames[number][: len(checksums)]]:
            return number
    raise AssertionError(f"no connection of the ledger sent what {span.sequences} received")


_ENDS: Final = {
    "closed by the peer": ("close",),
    "in the middle of a message": ("cut",),
    "without a closing handshake": ("cut", "cut_one", "slow_reader", "close"),
    "connection was lost": ("cut", "cut_one", "slow_reader", "close"),
    "were not answered": ("half_open", "late"),
    "nothing was received": ("half_open", "late"),
    "was not acknowledged": ("half_open", "late", "lost_ack", "slow_ack"),
}
"""What can make a connection end with these words."""


def explain_end(sent: Sent, connection: int, reason: str) -> None:
    """Every connection that ends does so because of a fault that the ledger has about it."""
    for words, deeds in _ENDS.items():
        if words in reason:
            assert any(fault.fault in deeds for fault in sent.faults_of[connection]), (
                f"connection {connection} ended ({reason}) without a fault"
            )
            return
    raise AssertionError(f"connection {connection}: no fault ends a connection like this: {reason}")
