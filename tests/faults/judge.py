"""What a recording made under faults must be, judged from three accounts that share no code with the recorder.

* the gateway's ledger: what it sent on each connection, what it did wrong, what it published whether anybody got
  it or not, and the checksum of each book behind that;
* the journal: frames and session events in the recorder's own order, bytes vouched for by the ledger's checksums;
* the archive: rows and gaps, as a user gets them.

Claims, all of them held (`judge` raises `AssertionError` for the first that isn't true):

1. *Nothing invented, nothing swallowed after it arrived.* The frames journalled of each connection are the first
   ones that the ledger says were sent on it, in order, byte for byte.
2. *Rows and gaps are exactly* what the state machine of tests/ledger.py makes of those frames and the session
   events between them.
3. *What can be seen to be lost is in ``gaps``.* Of a topic with consecutive ids every published message between two
   recorded ones is recorded too, or the second of them heals a gap. What a new chain hides cannot
   be seen, because its ids begin anew.
   A topic without ids cannot show a loss over one line; of it only 1 and 2 are claimed.
   Over several lines 2, this and the next are what tests/faults/judge_lines.py claims, for every topic.
4. *Every gap is due to a fault*: the ledger has one, on that connection, of a kind and at a place that explains it.
5. *No book differs.* At every row behind which the book is LIVE, the levels added up from the archive's rows have
   the checksum that the gateway's book had at the same ``u`` and ``seq``; so do the live engine's books, looked at
   while the recording ran.
6. ``verify`` finds nothing.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from recorder.journal import Record
from schemas.names import Category, RecordKind, Table
from schemas.notes import (
    Disconnected,
    Stale,
    Subscribed,
    decode_note,
    decode_session,
)
from tests.faults.account import Account
from tests.faults.judge_lines import hold_lines
from tests.faults.sent import Arrival, Sent, explain_end, match_arrivals
from tests.ledger import Entry, Feed, Oracle, is_chain, read_ledger
from tests.recorded import Recorded, assert_verified, hold

__all__ = ["Judged", "Sample", "book_checksum", "hold_recording", "judge"]

Levels = Iterable[tuple[int, int]]


class Sample(NamedTuple):
    """A LIVE book of the running engine; levels are mantissas, best first."""

    topic: str
    update_id: int
    cross_sequence: int | None
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    price_exponent: int
    size_exponent: int


@dataclass
class Judged:
    """Figures of a recording that was found right."""

    frames: int = 0
    rows: int = 0
    books: int = 0
    samples: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    gaps: Counter[str] = field(default_factory=Counter)


def judge(
    data: Path, ledger: Path, category: Category, samples: Iterable[Sample] = (), *, lines: int = 1
) -> Judged:
    """Hold a recording against the ledger.

    Raises:
        AssertionError: a claim that isn't true.
    """
    found = hold_recording(
        Recorded(data, category.value), read_ledger(ledger), category, samples, lines=lines
    )
    assert_verified(data)
    return found


def hold_recording(
    recorded: Recorded,
    entries: list[Entry],
    category: Category,
    samples: Iterable[Sample] = (),
    *,
    lines: int,
) -> Judged:
    """Assert all claims but the last one; returns the figures."""
    sent = Sent(entries)
    arrivals = match_arrivals(recorded.records, sent)
    found = Judged(frames=len(recorded.frames), faults=sent.faults)
    if lines == 1:
        oracle = _Witness(category, sent)
        for record in recorded.records:
            oracle.record(record, arrivals.get(record.sequence))
        hold(recorded, oracle.finish())
    else:
        hold_lines(recorded, Account(recorded, sent, arrivals), lines)
    found.gaps = Counter(gap["cause"] for gap in recorded.gaps)
    truth = _truth(entries)
    topics = {arrival.entry.topic for arrival in arrivals.values() if isinstance(arrival, Arrival)}
    for topic in sorted(topic for topic in topics if topic is not None):
        if is_chain(topic):
            rows, books = _check_chain(recorded, topic, entries, truth)
            found.rows += rows
            found.books += books
    for sample in samples:
        found.samples += 1
        checksum = book_checksum(
            sample.bids, sample.asks, sample.price_exponent, sample.size_exponent, _depth(sample.topic)
        )
        _compare(truth, sample.topic, sample.update_id, sample.cross_sequence, checksum, "the live book")
    return found


# ---- rows, gaps and their reasons ----


class _Witness(Oracle):
    """Walks through the journal; asks of every gap that opens what it is due to (claims 2 and 4)."""

    def __init__(self, category: Category, sent: Sent) -> None:
        super().__init__(category)
        self._sent = sent
        self._now = 0

    def record(self, record: Record, arrival: Arrival | int | None) -> None:
        if record.kind == RecordKind.FRAME:
            assert isinstance(arrival, Arrival)
            self._now = arrival.connection
            self.frame(arrival.entry, record.payload)
        elif record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(event, Subscribed):
                self.subscribed(event.topics)
            elif isinstance(event, Disconnected) and not event.clean:
                assert isinstance(arrival, int)
                self._now = arrival
                explain_end(self._sent, arrival, event.reason)
                self.disconnected()
        elif record.kind == RecordKind.NOTE:
            note = decode_note(record.payload)
            if isinstance(note, Stale):
                self._explain_silence(note)
                self.stale(note.topic, note.cause)

    def arrive(self, connection: int) -> None:
        """Ends of connections are told by the journal here."""

    def lose(self, feed: Feed, cause: str, entry: Entry | None = None) -> None:
        if cause == "lost":
            assert entry is not None
            self._explain_loss(feed, entry)
        super().lose(feed, cause, entry)

    def _of(self, *deeds: str) -> list[Entry]:
        return [fault for fault in self._sent.faults_of[self._now] if fault.fault in deeds]

    def _explain_loss(self, feed: Feed, entry: Entry) -> None:
        """Every id that is missing was dropped, held back, damaged or swallowed on this connection."""
        assert entry.u is not None
        assert feed.update_id is not None
        faults = self._of("drop", "reorder", "corrupt", "stall", "cut")
        of_topic = [fault for fault in faults if fault.topic == feed.topic]
        befallen = {fault.u for fault in of_topic}
        # A snapshot that is held back comes behind the delta that should follow it.
        befallen |= {fault.u + 1 for fault in of_topic if fault.fault == "reorder" and fault.u is not None}
        if any(fault.fault == "reorder" and fault.crc32 == entry.crc32 for fault in of_topic):
            return  # the message is an old one that was held back over a restart
        if entry.rebuilt and (of_topic or self._of(*_RESYNCS)):
            return  # the recorder itself has subscribed anew, and a fault made it do so
        missing = set(range(feed.update_id + 1, entry.u)) - befallen
        assert not missing, (
            f"{feed.topic}: a gap before u={entry.u}, and nothing befell {sorted(missing)[:5]}"
        )

    def missed(self, feed: Feed) -> None:
        """No snapshot, because it was dropped, held back, damaged or swallowed."""
        befallen = [
            fault for fault in self._of("drop", "reorder", "corrupt", "stall") if fault.topic == feed.topic
        ]
        assert befallen, f"{feed.topic}: no snapshot on connection {self._now}, and nothing befell it"

    def _explain_silence(self, note: Stale) -> None:
        assert note.cause == "silence"
        everything = self._of("half_open", "late")
        of_topic = [fault for fault in self._of("stall") if fault.topic == note.topic]
        assert everything or of_topic, f"{note.topic}: silent on connection {self._now} without a fault"


_RESYNCS: Final = ("late", "lost_ack", "slow_ack", "double_ack")
"""Faults of no topic after which a recorder may ask for a snapshot although it has one by then."""


# ---- books ----

Truth = dict[tuple[str, int, int | None], set[str]]


def _truth(entries: list[Entry]) -> Truth:
    truth: defaultdict[tuple[str, int, int | None], set[str]] = defaultdict(set)
    for entry in entries:
        if entry.event == "published" and entry.book is not None:
            assert entry.topic is not None
            assert entry.u is not None
            truth[entry.topic, entry.u, entry.seq].add(entry.book)
    return truth


def _compare(
    truth: Truth, topic: str, update_id: int, sequence: int | None, checksum: str, what: str
) -> None:
    known = truth.get((topic, update_id, sequence))
    assert known is not None, f"{topic}: {what} has u={update_id}, seq={sequence}, which was never published"
    assert checksum in known, f"{topic}: {what} at u={update_id} differs from the gateway's"


def _check_chain(recorded: Recorded, topic: str, entries: list[Entry], truth: Truth) -> tuple[int, int]:
    """Claims 3 and 5 for one topic; returns (rows, books compared)."""
    _, depth, symbol = topic.split(".", 2)
    published = [e for e in entries if e.event == "published" and e.topic == topic]
    reached = 0
    healing = {gap["end_ns"] for gap in recorded.gaps if gap["topic"] == topic}
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    last: tuple[int, int] | None = None
    rows = books = 0
    for row in recorded.rows(Table.BOOK_UPDATES, symbol):
        if row["depth"] != int(depth):
            continue
        if row["kind"] == "keyframe":
            assert _sides(row) == (bids, asks), (
                f"{topic}: the keyframe at u={row['update_id']} is not the book"
            )
            continue
        rows += 1
        if not row["applied"]:
            continue
        changes = _sides(row)
        if row["kind"] == "snapshot":
            bids, asks = changes
        else:
            for side, changed in zip((bids, asks), changes, strict=True):
                side.update(changed)
                for price in [price for price, size in changed.items() if not size]:
                    del side[price]
        at = row["cross_sequence"], row["update_id"]
        # A snapshot that was held back may lie before the row before it: nothing is skipped then.
        searched = [*range(reached, len(published)), *range(reached)]
        here = next((n for n in searched if _place(published[n]) == at), reached)
        if last is not None and row["kind"] == "snapshot" and at[1] > last[1]:
            unseen = [entry.u for entry in published[reached + 1 : here] if not entry.rebuilt]
            assert not unseen or row["receive_time"] in healing, (
                f"{topic}: u={unseen[0]} is missing between {last[1]} and {at[1]}, and no gap says so"
            )
        reached = here
        last = at
        books += 1
        _compare(truth, topic, at[1], at[0], _checksum(bids, asks, int(depth)), "the recorded book")
    return rows, books


def _place(entry: Entry) -> tuple[int | None, int | None]:
    return entry.seq, entry.u


def _sides(row: dict[str, Any]) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    def side(name: str) -> dict[Decimal, Decimal]:
        return {
            Decimal(price).scaleb(row["price_exponent"]): Decimal(size).scaleb(row["size_exponent"])
            for price, size in zip(row[f"{name}_price_mantissa"], row[f"{name}_size_mantissa"], strict=True)
        }

    return side("bid"), side("ask")


def book_checksum(bids: Levels, asks: Levels, price_exponent: int, size_exponent: int, depth: int) -> str:
    """Return the checksum of a book in mantissas, as docs/gateway.md defines it."""
    mine, theirs = (
        {Decimal(p).scaleb(price_exponent): Decimal(s).scaleb(size_exponent) for p, s in side}
        for side in (bids, asks)
    )
    return _checksum(mine, theirs, depth)


def _checksum(bids: dict[Decimal, Decimal], asks: dict[Decimal, Decimal], depth: int) -> str:
    sides = [sorted(bids, reverse=True)[:depth], sorted(asks)[:depth]]
    texts = [
        ";".join(f"{_plain(price)}:{_plain(side[price])}" for price in prices)
        for side, prices in zip((bids, asks), sides, strict=True)
    ]
    return f"{zlib.crc32('|'.join(texts).encode()):08x}"


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _depth(topic: str) -> int:
    return int(topic.split(".", 2)[1])
