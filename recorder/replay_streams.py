"""Frames of an archive's feeds, written from their rows again, a bounded piece at a time, and what else acts.

What comes out has the content of what was received, not its spelling: numbers are trimmed, and keys stand in one order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.core.wire import Renderer
from engine.wire_columns import wire_columns
from engine.wire_forms import learn_form
from recorder.archive import Archive
from recorder.feed_rows import Clock, FeedSpan, are_full, feed_history, integers, moments_ns
from recorder.ranges.book_range import Stretch, book_range
from recorder.row_groups import ArchiveReader
from schemas.errors import DataError
from schemas.names import Category, GapCause, RowKind, Table
from schemas.tables import schema_of
from schemas.wire import WireForm, WireKind

__all__ = ["Act", "Piece", "Stream", "book_streams", "trade_streams", "trades_topic"]

Int64s = npt.NDArray[np.int64]

PIECE_ROWS: Final = 4_096
LAST: Final = int(np.iinfo(np.int64).max)
LEAST: Final = int(np.iinfo(np.int64).min)

_BOOK: Final = (
    '{{"topic":"{topic}","type":"snapshot","ts":1723161300123,"data":{{"s":"{symbol}","b":[["1.5","2.5"]],'
    '"a":[["3.5","4.5"]],"u":7654321{seq}}}{cts}}}'
)
_SEQ: Final = ',"seq":987654321'
_CTS: Final = ',"cts":1723161300119'
_TRADE: Final = (
    '{{"topic":"{topic}","type":"snapshot","ts":1723161300123,"data":[{{"T":1723161300119,"s":"{symbol}","S":"Buy",'
    '"v":"1.5","p":"2.5","i":"e1"{more}}}]}}'
)
_TRADE_MORE: Final = {
    "tick_direction": ',"L":"PlusTick"',
    "is_block": ',"BT":false',
    "is_rpi": ',"RPI":false',
    "cross_sequence": _SEQ,
    "mark_price": ',"mP":"1.5"',
    "index_price": ',"iP":"1.5"',
    "mark_iv": ',"mIv":"1.5"',
    "trade_iv": ',"iv":"1.5"',
}
"""What a trade may have beside, by its column: that depends on the product line, and on where the rows come from."""


class Act(NamedTuple):
    """What is done to the engine beside frames.

    Attributes:
        key: when, by the clock of the merge.
        sequence: behind which record's frame, or before it.
        widen: exponents' decimals that come into force with the record, of ``symbol``; None: the feed goes stale.
    """

    key: int
    sequence: int
    topic: str
    symbol: str
    widen: tuple[int, int] | None
    cause: str = GapCause.DISCONNECT.value


class Piece(NamedTuple):
    """Some frames of one feed in order, and what acts among them.

    Attributes:
        keys: when each comes, never falling: receive time's running maximum.
        told: whether a strategy is told of it, or it only makes the book that the range begins with.
    """

    payload: bytes
    offsets: Int64s
    keys: Int64s
    receive_ns: Int64s
    sequences: Int64s
    told: npt.NDArray[np.bool_]
    acts: list[Act]


class Stream(NamedTuple):
    """Frames of one feed.

    Attributes:
        bound: no frame comes before this.
        pieces: the frames, read when they are asked for.
    """

    bound: int
    pieces: Iterator[Piece]


def trades_topic(category: str, symbol: str) -> str:
    """The topic that brings a symbol's trades: those of options come by their coin."""
    return f"publicTrade.{symbol.partition('-')[0] if category == Category.OPTION else symbol}"


def _form(kind: WireKind, topic: str, symbol: str, **parts: str) -> WireForm:
    template = _TRADE if kind == "trades" else _BOOK
    frame = template.format(topic=topic, symbol=symbol, **parts)
    form = learn_form(kind, topic, symbol, frame.encode(), None)
    if form is None:
        raise DataError(f"{topic} of {symbol}: frames of such names can't be written")
    return WireForm(form.topic, form.frame, form.each, dict.fromkeys(form.numbers, "trimmed"))


class _Writer:
    """Frames from rows of one feed, and the exponents that come into force with them."""

    def __init__(self, kind: WireKind, topic: str, symbol: str) -> None:
        self._kind: WireKind = kind
        self._topic = topic
        self._symbol = symbol
        self._renderers: dict[int, Renderer] = {}
        self._decimals = (-1, -1)
        self._reached = LEAST

    def piece(self, rows: pa.Table, start_ns: int, end_ns: int) -> Piece | None:
        """Return the frames of rows before ``end_ns``; those before ``start_ns`` lead up to it. None: there is none."""
        receive_ns = moments_ns(rows, "receive_time")
        reached = np.maximum.accumulate(np.maximum(receive_ns, self._reached))
        self._reached = int(reached[-1])
        count = int(np.searchsorted(reached, end_ns, "left"))
        if count == 0:
            return None
        rows, receive_ns, reached = rows.slice(0, count), receive_ns[:count], reached[:count]
        sequences = integers(rows, "sequence")
        first = np.flatnonzero(np.diff(sequences, prepend=sequences[0] - 1))
        counts = np.diff(first, append=count)
        if self._kind != "trades":
            first, counts = np.arange(count), np.ones(count, np.int64)
        payload, offsets = self._frames(rows, first, counts)
        keys = np.maximum(reached, start_ns)
        return Piece(
            payload, np.asarray(offsets, dtype=np.int64), keys[first], receive_ns[first], sequences[first],
            reached[first] >= start_ns, self._widenings(rows, keys, sequences),
        )  # fmt: skip

    def _frames(self, rows: pa.Table, first: Int64s, counts: Int64s) -> tuple[bytes, Int64s]:
        """Write frames, each with the keys for which its rows have values; most often that is one form for all."""
        names = tuple(_TRADE_MORE) if self._kind == "trades" else ("cross_sequence", "match_time")
        there = np.zeros(len(rows), np.int64)
        for bit, name in enumerate(names):
            there |= np.asarray(rows[name].is_valid()).astype(np.int64) << bit
        which = np.bitwise_and.reduceat(there, first)
        borders = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(which)]
        payloads, offsets, at = [], [np.zeros(1, np.int64)], 0
        for start, end in pairwise(borders):
            begin, behind = int(first[start]), int(first[end - 1] + counts[end - 1])
            part = rows.slice(begin, behind - begin).combine_chunks()
            payload, own = self._renderer(int(which[start])).render(
                *wire_columns(self._kind, part), first[start:end] - begin, counts[start:end]
            )
            payloads.append(payload)
            offsets.append(np.asarray(own, dtype=np.int64)[1:] + at)
            at += len(payload)
        return b"".join(payloads), np.concatenate(offsets)

    def _renderer(self, which: int) -> Renderer:
        """What writes frames that have these of the keys that may be absent."""
        found = self._renderers.get(which)
        if found is None:
            if self._kind == "trades":
                more = "".join(text for bit, text in enumerate(_TRADE_MORE.values()) if which >> bit & 1)
                form = _form(self._kind, self._topic, self._symbol, more=more)
            else:
                parts = {"seq": _SEQ if which & 1 else "", "cts": _CTS if which & 2 else ""}
                form = _form(self._kind, self._topic, self._symbol, **parts)
            found = self._renderers[which] = Renderer(form, self._kind, self._symbol)
        return found

    def _widenings(self, rows: pa.Table, keys: Int64s, sequences: Int64s) -> list[Act]:
        pairs = np.stack([-integers(rows, "price_exponent"), -integers(rows, "size_exponent")], axis=1)
        before = np.vstack([np.array([self._decimals]), pairs[:-1]])
        acts = []
        for at in np.flatnonzero((pairs != before).any(axis=1)):
            price, size = (int(number) for number in pairs[at])
            acts.append(Act(int(keys[at]), int(sequences[at]), self._topic, self._symbol, (price, size)))
        self._decimals = (int(pairs[-1][0]), int(pairs[-1][1]))
        return acts


# ---- books ---------------------------------------------------------------------------------------------------------


def book_streams(
    archive: Archive, category: str, symbol: str, topic: str | None, t0_ns: int, t1_ns: int
) -> tuple[str, list[Stream]]:
    """Return the topic, the deepest that covers the range unless it is named, and a stream for each recording of it.

    Raises:
        NoData, ConfigError: as of ``book_range``.
    """
    arguments = {
        "category": category, "symbol": symbol, "t0": t0_ns, "t1": t1_ns, "topic": topic, "clock": Clock.RECEIVE,
    }  # fmt: skip
    book = book_range(archive, arguments)
    streams = []
    for number, part in enumerate(book.stretches):
        follows = (
            book.stretches[number + 1].start_ns == part.end_ns if number + 1 < len(book.stretches) else False
        )
        ends = not follows and part.end_ns < t1_ns
        streams.append(Stream(part.start_ns, _book_pieces(part, book.topic, symbol, ends)))
    return book.topic, streams


def _book_pieces(part: Stretch, topic: str, symbol: str, ends: bool) -> Iterator[Piece]:
    """The frames of one recording: a full book first, and no copies of it later."""
    writer = _Writer("book", topic, symbol)
    acts = _gap_acts(part, topic, symbol)
    if ends:
        acts.append(Act(part.end_ns, LAST, topic, symbol, None))
    begun = False
    columns = [
        field.name
        for field in schema_of(Table.BOOK_UPDATES)
        if field.name not in ("collector", "digest", "line")
    ]
    for rows in part.rows(columns):
        is_keyframe = pc.equal(rows["kind"].cast(pa.string()), RowKind.KEYFRAME.value)
        if not begun:
            full = np.flatnonzero(are_full(rows))
            if not full.size:
                continue
            rows = rows.slice(int(full[0]))
            is_keyframe = is_keyframe.slice(int(full[0]))
            begun = True
            head = rows.slice(0, 1)
            place = head.schema.get_field_index("kind")
            snapshot = pa.array([RowKind.SNAPSHOT.value]).dictionary_encode().cast(head.schema.types[place])
            head = head.set_column(place, head.schema.field(place), snapshot)
            rest = rows.slice(1).filter(pc.invert(is_keyframe.slice(1)))
            rows = pa.concat_tables([head, rest]).unify_dictionaries()
        else:
            rows = rows.filter(pc.invert(is_keyframe))
        for at in range(0, rows.num_rows, PIECE_ROWS):
            made = writer.piece(rows.slice(at, PIECE_ROWS).combine_chunks(), part.start_ns, part.end_ns)
            if made is None:
                break
            due, acts = _due(acts, int(made.keys[-1]))
            yield made._replace(acts=made.acts + due)
        else:
            continue
        break
    if acts:
        yield _acts_alone(acts)


def _gap_acts(part: Stretch, topic: str, symbol: str) -> list[Act]:
    """Gaps that no row shows: the feed was silent or cut off. What came out of order, or not at all, rows do show."""
    return [
        Act(max(gap.start_ns, part.start_ns), LAST, topic, symbol, None, gap.cause)
        for gap in part.gaps
        if gap.cause != GapCause.LOST
        and gap.start_ns < part.end_ns
        and (gap.end_ns is None or (gap.end_ns > part.start_ns and gap.end_ns > gap.start_ns))
    ]


def _due(acts: list[Act], key: int) -> tuple[list[Act], list[Act]]:
    return [act for act in acts if act.key < key], [act for act in acts if act.key >= key]


def _acts_alone(acts: list[Act]) -> Piece:
    none = np.empty(0, np.int64)
    return Piece(b"", np.zeros(1, np.int64), none, none, none, np.empty(0, np.bool_), acts)


# ---- trades --------------------------------------------------------------------------------------------------------


def trade_streams(archive: Archive, category: str, symbol: str, t0_ns: int, t1_ns: int) -> list[Stream]:
    """Return a stream for each file with trades of the range, of the latest recording wherever several have some."""
    topic = trades_topic(category, symbol)
    open_parts = [(t0_ns, t1_ns)]
    streams = []
    for span in feed_history(archive, category, topic.partition(".")[2], topic).spans:
        still_open: list[tuple[int, int]] = []
        for low, high in open_parts:
            start, end = max(low, span.start_ns), min(high, span.end_ns + 1)
            if start >= end:
                still_open.append((low, high))
                continue
            still_open += [piece for piece in ((low, start), (end, high)) if piece[0] < piece[1]]
            for file in archive.files(
                Table.TRADES,
                category=category,
                symbol=symbol,
                collector=span.collector,
                receive_ns=(start, end - 1),
            ):
                if file.receive_ns is not None:
                    bound = max(start, file.receive_ns[0])
                    writer = _Writer("trades", topic, symbol)
                    streams.append(Stream(bound, _trade_pieces(archive, file, writer, span, start, end)))
        open_parts = still_open
    return streams


def _trade_pieces(
    archive: Archive, file: Any, writer: _Writer, span: FeedSpan, start_ns: int, end_ns: int
) -> Iterator[Piece]:
    held: pa.Table | None = None
    with ArchiveReader(archive.path(file), Table.TRADES, ("receive_time",)) as reader:
        groups = [
            group
            for group in reader.groups
            if "receive_time" not in group.spans
            or (group.spans["receive_time"][0] < end_ns and group.spans["receive_time"][1] >= start_ns)
        ]
        for table in reader.batches(groups):
            rows = _within(table, span, start_ns, end_ns)
            if rows.num_rows == 0:
                continue
            rows = rows if held is None else pa.concat_tables([held, rows]).unify_dictionaries()
            # The last message's trades may go on in the next batch.
            sequences = integers(rows, "sequence")
            whole = int(np.searchsorted(sequences, sequences[-1], "left"))
            held = rows.slice(whole)
            if whole:
                made = writer.piece(rows.slice(0, whole).combine_chunks(), start_ns, end_ns)
                if made is not None:
                    yield made
    if held is not None and held.num_rows:
        made = writer.piece(held.combine_chunks(), start_ns, end_ns)
        if made is not None:
            yield made


def _within(rows: pa.Table, span: FeedSpan, start_ns: int, end_ns: int) -> pa.Table:
    """Trades that the stream brought in the span and the range; those that were fetched later came to nobody then."""
    sequences, receive_ns = integers(rows, "sequence"), moments_ns(rows, "receive_time")
    mask = (sequences >= span.first_sequence) & (receive_ns >= start_ns) & (receive_ns < end_ns)
    if span.end_sequence is not None:
        mask &= sequences < span.end_sequence
    mask &= np.asarray(pc.equal(rows["source"].cast(pa.string()), "stream").to_numpy(), dtype=np.bool_)
    return rows if mask.all() else rows.filter(pa.array(mask))
