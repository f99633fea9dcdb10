"""What rows don't say of a segment's records, so that the archive can hand every record back byte for byte.

Each frame is held against what its rows and its feed's wire form would write. What comes out equal needs nothing more;
everything else goes into ``raw_records``: records as they were, forms and their changes, and, where a frame repeats
another one's bytes, which. Pure; the same records give the same, however they are cut into batches (docs/capture.md).
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec
import numpy as np
import pyarrow as pa

from engine.arrow_rows import column_of, split_by_day
from engine.core.feeds import Engine
from engine.core.wire import WireCheck
from engine.event_wire import EVENT_KEYS, event_topic, learn_event_form, render_event
from engine.topics import parse_feed
from engine.wire_forms import learn_form
from schemas.names import RecordKind, Table
from schemas.notes import Close, decode_note
from schemas.raw_tables import FORM, OPEN, REPEAT
from schemas.tables import schema_of
from schemas.wire import WireForm, WireKind, encode_form

__all__ = ["RawRecords", "closing_payload"]

Column = np.ndarray[Any, Any]
NS_PER_DAY: Final = 86_400 * 10**9
DRIVEN: Final = -1
"""Rows of a frame that a driver read: it keeps its own."""
LEARNED_AT_ONCE: Final = 64
"""So many frames of a feed that don't fit are learned from; behind them only each that doubles their number."""
ROW_BYTES: Final = 250
"""What a row takes in memory beside its payload, roughly: Python's numbers and a tuple of them."""
NOTE: Final = int(RecordKind.NOTE)
_CLOSE: Final = b'{"note":"close"'


class RawRecords:
    """Collects them while a segment is replayed.

    Args:
        engine: makes columns.
        collector: written into every row.

    Attributes:
        bytes: memory that rows not yet taken use, roughly.
        verbatim: frames that were kept as they were, of all feeds.
        forms: the wire forms in force, by feed.
    """

    def __init__(self, engine: Engine, collector: str) -> None:
        self.bytes = 0
        self.verbatim = 0
        self.forms: dict[int, WireForm] = {}
        self._engine = engine
        self._collector = collector
        self._check = WireCheck(engine)
        self._kinds: dict[int, tuple[WireKind, str, str]] = {}
        self._misses: dict[int, int] = {}
        self._topics: list[str] = []
        self._rows_of: dict[int, list[tuple[Table, str, list[Any]]]] | None = None
        self._events = engine.driven_rows
        if self._events is not None:
            self._events.recent = []
        self._made: Column = np.empty((0, 5), np.int32)
        self._batch: tuple[Column, ...] = ()
        self._found: list[tuple[int, int, bytes]] = []
        self._rows: list[tuple[int, int, int, int, bytes]] = []

    def begin(
        self,
        payloads: Column,
        offsets: Column,
        receive_ns: Column,
        sequences: Column,
        lines: Column,
        kinds: Column,
    ) -> Column:
        """Take up a batch; returns what ``Engine.apply_batch`` is to be given as ``made``."""
        if len(self._made) < len(kinds):
            self._made = np.empty((len(kinds), 5), np.int32)
        made = self._made[: len(kinds)]
        self._batch = payloads, offsets, receive_ns, sequences, lines, kinds
        self._check.begin(payloads, offsets, sequences, kinds, made)
        self._made_here = made
        return made

    def frames(self, start: int, stop: int) -> None:
        """Look at the records [start, stop) of the batch, which have just been applied.

        They are frames, and digest notes that the engine has met."""
        while (start := self._check.check(start, stop)) < stop:
            self._mismatch(start)
            start += 1
        if self._events is not None and self._events.recent is not None:
            self._events.recent.clear()
        self._rows_of = None  # of these records alone, which may have made none

    def record(self, at: int) -> None:
        """Keep a record of the batch that is no frame."""
        kind, payload = int(self._batch[5][at]), self._payload(at)
        if kind == RecordKind.NOTE and payload.startswith(_CLOSE):
            payload = closing_payload(payload)
        self._found.append((at, kind, payload))

    def end(self) -> None:
        """The batch is done: what was found in it becomes rows."""
        found = self._found
        found += [(at, REPEAT, str(sequence).encode()) for at, sequence in self._check.take_repeats()]
        found += [(at, OPEN, digits) for at, digits in self._check.take_opens()]
        found += [(at, NOTE, payload) for at, payload in self._check.take_met()]
        if not found:
            return
        found.sort(key=lambda item: (item[0], item[1]))
        self._found = []
        places = np.array([item[0] for item in found], np.int64)
        _, _, receive_ns, sequences, lines, _ = self._batch
        self._rows += zip(
            sequences[places].tolist(),
            receive_ns[places].tolist(),
            lines[places].tolist(),
            [item[1] for item in found],
            [item[2] for item in found],
            strict=True,
        )
        self.bytes += sum(ROW_BYTES + len(item[2]) for item in found)

    def take(self, out: dict[tuple[Table, str, int], pa.Table]) -> None:
        """Move all rows into ``out``."""
        if not self._rows:
            return
        sequences, receive_ns, lines, kinds, payloads = zip(*self._rows, strict=True)
        schema = schema_of(Table.RAW_RECORDS)
        rows = pa.Table.from_arrays(
            [
                pa.array(sequences, pa.int64()),
                pa.repeat(self._collector, len(self._rows)),
                column_of(receive_ns, schema.field("receive_time").type),
                pa.array(lines, pa.uint16()),
                pa.array(kinds, pa.uint8()),
                pa.array(payloads, pa.binary()),
            ],
            schema=schema,
        )
        days = np.array(receive_ns, np.int64) // NS_PER_DAY
        split_by_day(out, Table.RAW_RECORDS, "_", rows, days)
        self._rows = []
        self.bytes = 0

    @property
    def remembered_bytes(self) -> int:
        """Memory of the frames that later ones may repeat."""
        return self._check.remembered_bytes

    def _payload(self, at: int) -> bytes:
        payloads, offsets = self._batch[:2]
        return payloads[offsets[at] : offsets[at + 1]].tobytes()

    def _mismatch(self, at: int) -> None:
        feed, symbol, _, rows, _ = self._made_here[at].tolist()
        payload = self._payload(at)
        if rows == DRIVEN and feed >= 0:
            if self._is_written(at, feed, payload):
                self._check.remember(at)
                return
        elif feed >= 0 and symbol >= 0 and rows > 0 and self._has_learned(at, feed, symbol, payload):
            return
        self._found.append((at, int(self._batch[5][at]), payload))
        self._check.remember(at)
        self.verbatim += 1

    def _is_written(self, at: int, feed: int, payload: bytes) -> bool:
        """Whether the rows that a driver made of a frame give its bytes, in the feed's form or in another one."""
        found = self._events_of(int(self._batch[3][at]))
        if not found:
            self._made_here[at, 3] = 0  # it may be a copy of another line's: later ones are held against it
            return False
        table, symbol, _ = found[0]
        if table not in EVENT_KEYS or any(other[:2] != (table, symbol) for other in found):
            return False
        names = [name for name in schema_of(table).names if name != "collector"]
        rows = [dict(zip(names, row, strict=True)) for _, _, row in found]
        known = self.forms.get(feed)
        if known is not None and render_event(known, rows, symbol) == payload:
            return True
        if not self._may_learn(feed):
            return False
        topic = self._topic(feed)
        form = learn_event_form(table, topic, symbol, payload, known)
        if (
            form is None
            or event_topic(table, rows[0], symbol) != topic
            or render_event(form, rows, symbol) != payload
        ):
            return False
        self.forms[feed] = form
        self._found.append((at, FORM, encode_form(form)))
        return True

    def _topic(self, feed: int) -> str:
        if feed >= len(self._topics):
            self._topics = self._engine.topics()
        return self._topics[feed]

    def _events_of(self, sequence: int) -> list[tuple[Table, str, list[Any]]]:
        """The rows of a frame that a driver read."""
        if self._rows_of is None:
            self._rows_of = {}
            recent = self._events.recent if self._events is not None else None
            for row in recent or ():
                self._rows_of.setdefault(row[2][0], []).append(row)
        return self._rows_of.get(sequence, [])

    def _may_learn(self, feed: int) -> bool:
        """Whether a frame that didn't fit is learned from: at first each, then fewer and fewer."""
        misses = self._misses[feed] = self._misses.get(feed, 0) + 1
        return misses <= LEARNED_AT_ONCE or not misses & (misses - 1)

    def _has_learned(self, at: int, feed: int, symbol: int, payload: bytes) -> bool:
        """Whether there is another form of the feed that writes this frame; then it is in force from here on."""
        if not self._may_learn(feed):
            return False
        if feed not in self._kinds:
            topic = self._topic(feed)
            kind, _, name = parse_feed(self._engine.category, topic)
            self._kinds[feed] = cast(WireKind, kind), topic, name
        kind, topic, name = self._kinds[feed]
        known = self.forms.get(feed)
        form = learn_form(kind, topic, name or self._check.symbol(symbol), payload, known)
        if form is None or form == known:
            return False
        self._check.set_form(feed, form, kind)
        if self._check.check(at, at + 1) == at:
            self._check.set_form(feed, known, kind)
            return False
        self.forms[feed] = form
        self._found.append((at, FORM, encode_form(form)))
        return True


def closing_payload(payload: bytes) -> bytes:
    """The closing note as it counts for the content: the number of batches and the hash are the file's affair."""
    note = decode_note(payload)
    return msgspec.json.encode(note.as_content()) if isinstance(note, Close) else payload
