"""One journal segment, driven through the engine into archive rows. Pure: record batches in, Arrow tables out.

The same records give the same rows in the same order, however they are cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from engine.arrow_rows import column_of
from engine.core.feeds import Engine
from engine.drivers.events import NO_SYMBOL
from engine.events import Event, EventKind
from engine.history_rows import HistoryRows
from engine.instruments import InstrumentLog
from engine.raw_records import RawRecords
from engine.recorded import apply_answer, apply_note, apply_session, checkpoints
from engine.topics import parse_feed
from engine.upkeep_rows import UpkeepRows
from schemas.names import Category, RecordKind, Table
from schemas.notes import (
    Begin,
    Close,
    Digest,
    Ended,
    FeedCheckpoint,
    FetchedTrades,
    Note,
    OpenGap,
    Rest,
    RestAnswer,
    Subscribed,
    Unsubscribed,
    decode_note,
    decode_rest,
    decode_session,
)
from schemas.tables import schema_of

__all__ = ["Key", "Mismatch", "Replay", "day_of_ns", "symbol_of"]

Key = tuple[Table, str, int]
"""Table, symbol, UTC day since 1970-01-01: one archive file of a segment."""

NS_PER_DAY = 86_400 * 10**9
MAX_MISMATCHES = 1000


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The live book and its replay differ: topic, update id and sequence of the note, both digests."""

    topic: str
    update_id: int
    sequence: int
    live: str
    replayed: str


@dataclass(slots=True)
class _Span:
    start_ns: int
    sequence: int
    messages_before: int
    lines: set[int] = field(default_factory=set)


def day_of_ns(ns: int) -> int:
    """UTC day since 1970-01-01 of a moment in nanoseconds."""
    return ns // NS_PER_DAY


def symbol_of(category: Category, topic: str) -> str:
    """The symbol under which rows about a topic are filed; ``_`` where the topic is unknown or names none."""
    if not topic:
        return NO_SYMBOL
    kind, _, symbol = parse_feed(category, topic)
    return symbol or (NO_SYMBOL if kind == "driven" else topic.split(".", 1)[1])


class Replay:
    """Turn the records of one segment into rows.

    Args:
        collector: written into every row.
        category: what the frames are.
        start_ns: when the segment was begun.
    """

    def __init__(self, collector: str, category: Category, start_ns: int) -> None:
        self.collector = collector
        self.category = category
        self.start_ns = start_ns
        self.engine = Engine(category, columns=True)
        self.records = 0
        self.frames = 0
        self.first_sequence: int | None = None
        self.last_sequence: int | None = None
        self.last_receive_ns = start_ns
        self.begin: Begin | None = None
        self.close: Close | None = None
        self.close_ns: int | None = None
        self._digests = 0  # those that the engine has not met in passing
        self.mismatches: list[Mismatch] = []
        self._raw = RawRecords(self.engine, collector)
        self._histories = HistoryRows(collector)
        self._upkeep = UpkeepRows(collector, lambda topic: symbol_of(category, topic))
        self._gaps: list[dict[str, Any]] = []
        self._coverage: list[dict[str, Any]] = []
        self._spans: dict[str, _Span] = {}
        self._left: set[str] = set()
        self._instruments = InstrumentLog()
        self._instrument_rows: list[dict[str, Any]] = []

    def batch(self, batch: pa.RecordBatch) -> None:
        """Take the next batch of records (the journal's columns)."""
        if batch.num_rows == 0:
            return
        kinds = _numpy(batch.column("kind"), np.uint8)
        sequences = _numpy(batch.column("sequence"), np.int64)
        receive_ns = _numpy(batch.column("receive_ns"), np.int64)
        lines = _numpy(batch.column("line"), np.uint16)
        payload = batch.column("payload")
        offsets, data = _binary(payload)
        if self.first_sequence is None:
            self.first_sequence = int(sequences[0])
        self.last_sequence = int(sequences[-1])
        self.last_receive_ns = int(receive_ns[-1])
        self.records += len(kinds)
        self.frames += int(np.count_nonzero(kinds == RecordKind.FRAME))
        at = 0
        made = self._raw.begin(data, offsets, receive_ns, sequences, lines, kinds)
        while at < len(kinds):
            start = at
            at = self.engine.apply_batch(data, offsets, receive_ns, sequences, lines, kinds, at, made=made)
            self._raw.frames(start, at)
            if self.engine.pending:
                self._events(self.engine.take_events())
            if at < len(kinds):
                self._raw.record(at)
                self._record(
                    int(kinds[at]),
                    data[offsets[at] : offsets[at + 1]].tobytes(),
                    int(receive_ns[at]),
                    int(sequences[at]),
                    int(lines[at]),
                )
                at += 1
        self._raw.end()

    @property
    def digests(self) -> int:
        """Live digests so far."""
        return self._digests + self.engine.digests_met

    @property
    def row_bytes(self) -> int:
        """Memory that rows not yet taken use."""
        return self.engine.row_bytes + self._raw.bytes

    @property
    def remembered_bytes(self) -> int:
        """Memory of frames that copies of theirs may follow; it doesn't grow with a segment."""
        return self._raw.remembered_bytes

    def checkpoints(self, run: int) -> list[Note]:
        """The notes with which a segment begins that goes on from here."""
        return checkpoints(self.engine, self._instruments, run)

    def take_rows(self, keep_bytes: int = 0) -> dict[Key, pa.Table]:
        """Rows of the market tables made so far, but for the smallest piles, up to ``keep_bytes``.

        A note about the last frame must have been seen.
        """
        out = self.engine.take_rows(self.collector, keep_bytes)
        if self._raw.bytes > keep_bytes // 16:  # fewer aren't worth a table
            self._raw.take(out)
        return out

    def finish(self, end_ns: int) -> dict[Key, pa.Table]:
        """Close the books at the segment's end: the last rows, gaps (open ones too) and coverage."""
        for index, topic in enumerate(self.engine.topics()):
            gap = self.engine.open_gap(index)
            if gap is not None:
                self._open_gap(topic, gap, end_ns)
            self._cover(topic, index)
            if topic in self._spans:
                self._end_span(topic, end_ns)
        for line in self.engine.shared().lines:
            if line.gap is not None:
                self._open_gap("", line.gap, end_ns)
        out = self.take_rows()
        out.update(_tables(Table.GAPS, self._gaps))
        out.update(_tables(Table.COVERAGE, self._coverage))
        out.update(_tables(Table.INSTRUMENTS, self._instrument_rows))
        for table, rows in [*self._upkeep.rows.items(), *self._histories.rows.items()]:
            out.update(_tables(table, rows))
        return out

    # ---- records ----

    def _record(self, kind: int, payload: bytes, receive_ns: int, sequence: int, line: int) -> None:
        if kind == RecordKind.NOTE:
            note = decode_note(payload)
            if isinstance(note, Digest):  # one that its book doesn't agree with, or written in another way
                self._digest(note, sequence)
            else:
                self._note(note, receive_ns, sequence)
        elif kind == RecordKind.SESSION:
            event = decode_session(payload)
            apply_session(self.engine, event, receive_ns=receive_ns, sequence=sequence, line=line)
            if isinstance(event, Subscribed):
                for topic in event.topics:
                    self._begin_span(topic, receive_ns, sequence).lines.add(line)
            elif isinstance(event, Unsubscribed):
                # unless another line carries it
                gone = [topic for topic in event.topics if self._has_left(topic)]
                self._end_spans(gone, receive_ns)
        elif kind == RecordKind.REST:
            self._answer(decode_rest(payload), receive_ns, sequence)
        if self.engine.pending:
            self._events(self.engine.take_events())

    def _has_left(self, topic: str) -> bool:
        index = self.engine.feed_index(topic)
        return index >= 0 and self.engine.has_left(index)

    def _answer(self, answer: Rest, receive_ns: int, sequence: int) -> None:
        if isinstance(answer, RestAnswer):
            self._keep_instruments(self._instruments.answer(answer, receive_ns, sequence), receive_ns)
            self._histories.answer(answer, receive_ns, sequence)
        whole = apply_answer(self.engine, answer, receive_ns=receive_ns, sequence=sequence)
        if isinstance(answer, FetchedTrades) and whole:
            self._healed_by_backfill(answer, sequence)

    def _healed_by_backfill(self, fetched: FetchedTrades, sequence: int) -> None:
        """Nothing is missing any more: say so in the gap's row, or in another where an earlier segment has that."""
        for row in self._gaps:
            if (row["topic"], row["cause"], row["start_time"], row["end_time"]) == (
                fetched.topic, fetched.cause, fetched.start_ns, fetched.end_ns,
            ):  # fmt: skip
                row["healed_by"], row["sequence"] = "backfill", sequence
                return
        self._gaps.append(
            self._gap_row(
                fetched.topic,
                sequence=sequence,
                day=day_of_ns(fetched.end_ns),
                start_time=fetched.start_ns,
                end_time=fetched.end_ns,
                start_match_time=fetched.start_match_ms,
                end_match_time=fetched.end_match_ms,
                first_update_id=None,
                last_update_id=None,
                cause=fetched.cause,
                healed_by="backfill",
            )
        )

    def _keep_instruments(self, rows: list[dict[str, Any]], receive_ns: int) -> None:
        """Instruments of a category share a file: most rows come once, and all at once."""
        place = {"key": ("_", day_of_ns(receive_ns)), "collector": self.collector}
        self._instrument_rows += [place | row for row in rows]

    def _note(self, note: Note, receive_ns: int, sequence: int) -> None:
        self._keep_instruments(self._instruments.note(note, receive_ns, sequence), receive_ns)
        if isinstance(note, Ended):
            self._end_spans(note.topics, receive_ns)
        apply_note(self.engine, note, receive_ns=receive_ns, sequence=sequence)
        if isinstance(note, FeedCheckpoint):
            if note.left:
                self._left.add(note.topic)
            elif note.subscribed or note.receive_ns is not None:
                lines = [note.line] if note.merge is None else [c.line for c in note.merge.carriers if c.up]
                self._begin_span(note.topic, self.start_ns, sequence).lines.update(lines)
        elif isinstance(note, Begin):
            self.begin = note
            self.start_ns = receive_ns
        elif isinstance(note, Close):
            self.close = note
            self.close_ns = receive_ns
        else:
            self._upkeep.note(note, receive_ns, sequence)

    def _digest(self, note: Digest, sequence: int) -> None:
        index = self.engine.feed_index(note.topic)
        self._digests += 1
        if index >= 0 and self.engine.update_id(index) == note.update_id:
            replayed = f"{self.engine.digest(index):016x}"
            if replayed == note.digest:
                self.engine.set_digest(note.topic, note.update_id, int(note.digest, 16))
                return
        else:
            replayed = "no such state"
        # the archive gets what the live engine said, so that the difference stays visible in it
        if index >= 0:
            self.engine.set_digest(note.topic, note.update_id, int(note.digest, 16))
        if len(self.mismatches) < MAX_MISMATCHES:
            self.mismatches.append(Mismatch(note.topic, note.update_id, sequence, note.digest, replayed))

    # ---- gaps and coverage ----

    def _events(self, events: list[Event]) -> None:
        for event in events:
            if event.kind != EventKind.GAP_CLOSED:
                continue
            self._gaps.append(
                self._gap_row(
                    event.topic,
                    sequence=event.sequence,
                    day=day_of_ns(event.receive_ns),
                    start_time=event.start_ns,
                    end_time=event.receive_ns,
                    start_match_time=event.start_match_ms,
                    end_match_time=event.match_ms,
                    first_update_id=event.first_update_id,
                    last_update_id=event.last_update_id,
                    cause=event.detail,
                    healed_by=event.healed_by,
                )
            )

    def _open_gap(self, topic: str, gap: OpenGap, end_ns: int) -> None:
        self._gaps.append(
            self._gap_row(
                topic,
                sequence=self.last_sequence or 0,
                day=day_of_ns(end_ns),
                start_time=gap.start_ns,
                end_time=None,
                start_match_time=gap.start_match_ms,
                end_match_time=None,
                first_update_id=gap.first_update_id,
                last_update_id=None,
                cause=gap.cause,
                healed_by=None,
            )
        )

    def _gap_row(self, topic: str, *, day: int, **columns: Any) -> dict[str, Any]:
        symbol = symbol_of(self.category, topic)
        return {"key": (symbol, day), "collector": self.collector, "topic": topic, **columns}

    def _begin_span(self, topic: str, start_ns: int, sequence: int) -> _Span:
        span = self._spans.get(topic)
        if span is None:
            index = self.engine.feed_index(topic)
            before = self.engine.messages(index) if index >= 0 else 0
            span = self._spans[topic] = _Span(start_ns, sequence, before)
        return span

    def _cover(self, topic: str, index: int) -> None:
        """Frames may come before the first acknowledgement: then coverage began with the first of them."""
        first = self.engine.first(index) if index >= 0 else None
        if first is None or topic in self._left:
            return
        span = self._spans.get(topic)
        if span is None:
            self._spans[topic] = _Span(first[0], first[1], 0, {0})
        elif span.messages_before and first[1] < span.sequence and first[0] >= self.start_ns:
            span.start_ns, span.sequence, span.messages_before = first[0], first[1], 0

    def _end_spans(self, topics: list[str], end_ns: int) -> None:
        for topic in topics:
            self._cover(topic, self.engine.feed_index(topic))
            self._end_span(topic, end_ns)

    def _end_span(self, topic: str, end_ns: int) -> None:
        span = self._spans.pop(topic, None)
        if span is None:
            return
        self._left.add(topic)
        index = self.engine.feed_index(topic)
        self._coverage.append(
            {
                "key": (symbol_of(self.category, topic), day_of_ns(span.start_ns)),
                "sequence": span.sequence,
                "collector": self.collector,
                "topic": topic,
                "start_time": span.start_ns,
                "end_time": end_ns,
                "messages": self.engine.messages(index) - span.messages_before if index >= 0 else 0,
                "lines": max(len(span.lines), 1),
            }
        )


def _tables(table: Table, rows: list[dict[str, Any]]) -> dict[Key, pa.Table]:
    """Group rows by their ``key`` into tables, in order of their records."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row.pop("key"), []).append(row)
    schema = schema_of(table)
    return {
        (table, symbol, day): pa.Table.from_arrays(
            [column_of([row[f.name] for row in group], f.type) for f in schema], schema=schema
        )
        for (symbol, day), group in groups.items()
    }


def _numpy(array: pa.Array, dtype: Any) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(array.to_numpy(zero_copy_only=True), dtype=dtype)


def _binary(array: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Offsets and bytes of a binary column without copying the bytes."""
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    payload = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    return bounds, payload
