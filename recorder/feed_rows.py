"""One order-book feed of an archive, read exactly and sparingly: its spans, its gaps, its rows near a moment.

Rows come straight from Parquet as integers, so that a nanosecond is a nanosecond whatever the SQL engine does
with time zones. Files and row groups that lie wholly before the moment asked for are never opened for it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.event_wire import NO_SYMBOL
from engine.stored_rows import restore
from recorder.archive import Archive
from recorder.feed_files import FeedFiles, FeedGroup
from recorder.file_places import parquet_source
from schemas.columns import EXCHANGE
from schemas.errors import StoreError
from schemas.manifest import ManifestFile, ManifestSegment
from schemas.names import RowKind, Table
from schemas.tables import book_topic, schema_of
from schemas.time import NS_PER_MS

__all__ = [
    "NO_MOMENT",
    "Clock",
    "FeedGap",
    "FeedHistory",
    "FeedRows",
    "FeedSpan",
    "are_full",
    "feed_history",
    "integers",
    "moments_ns",
]

Int64s = npt.NDArray[np.int64]

NO_MOMENT: Final = int(np.iinfo(np.int64).min)


class Clock(StrEnum):
    """Which of the three clocks a moment is read on (design section 3)."""

    MATCH = "match"
    PUSH = "push"
    RECEIVE = "receive"

    @property
    def column(self) -> str:
        """The clock's column in the tables."""
        return f"{self.value}_time"


@dataclass(frozen=True, slots=True)
class FeedSpan:
    """One recording of a feed without interruption, or interrupted by gaps only.

    Attributes:
        collector: who recorded it.
        run_ns: start of the recording run.
        start_ns, end_ns: receive times between which the feed was recorded.
        first_sequence: ordinal of the record that began it.
        end_sequence: where the next span of the same feed and collector begins; None for the last one.
    """

    collector: str
    run_ns: int
    start_ns: int
    end_ns: int
    first_sequence: int
    end_sequence: int | None = None


@dataclass(frozen=True, slots=True)
class FeedGap:
    """A span in which the feed is not trustworthy; ``end_ns`` is None while nothing has healed it.

    One that ``names_no_topic`` is a frame too damaged to tell whose it was; it starts when that was received.
    """

    collector: str
    cause: str
    start_ns: int
    end_ns: int | None
    start_match_ns: int | None
    end_match_ns: int | None
    names_no_topic: bool = False


@dataclass(frozen=True, slots=True)
class FeedHistory:
    """When a feed was recorded, and when it was not to be trusted.

    Attributes:
        spans: latest recorded first.
        gaps: by start, one each: the closed one where a later segment healed it.
    """

    spans: list[FeedSpan]
    gaps: list[FeedGap]


def feed_history(archive: Archive, category: str, symbol: str, topic: str) -> FeedHistory:
    """Return a feed's history; it is read once per archive.

    Pieces of coverage that follow each other without a break are one span. So are pieces of one run whose break
    lies inside a gap: a feed that is subscribed anew to heal it is stale in between, not unrecorded.
    """
    known = _HISTORIES.setdefault(archive, {})
    history = known.get((category, symbol, topic))
    if history is None:
        gaps = _gaps(archive, category, symbol, topic)
        spans = _spans(archive, category, symbol, topic, gaps)
        if topic == book_topic(Table.BOOK_UPDATES, 1, symbol):
            # A frame too damaged to tell its topic may have been of this feed, and no update id would show it.
            gaps += _gaps(archive, category, NO_SYMBOL, "")
            gaps.sort(key=lambda gap: gap.start_ns)
        history = FeedHistory(spans, gaps)
        known[category, symbol, topic] = history
    return history


_HISTORIES: Final[WeakKeyDictionary[Archive, dict[tuple[str, str, str], FeedHistory]]] = WeakKeyDictionary()


def _gaps(archive: Archive, category: str, symbol: str, topic: str) -> list[FeedGap]:
    rows = _small_table(archive, Table.GAPS, category, symbol, topic)
    healed: list[FeedGap] = []
    latest: dict[tuple[str, str, int], FeedGap] = {}
    for row in rows.sort_by([("collector", "ascending"), ("sequence", "ascending")]).to_pylist():
        gap = FeedGap(
            row["collector"],
            row["cause"],
            row["start_time"],
            row["end_time"],
            _ms_to_ns(row["start_match_time"]),
            _ms_to_ns(row["end_match_time"]),
            topic == "",
        )
        key = gap.collector, gap.cause, gap.start_ns
        if gap.end_ns is None:
            latest[key] = gap
        else:  # what was open at a segment's end; the next gap may begin at the same good frame
            latest.pop(key, None)
            healed.append(gap)
    return sorted([*healed, *latest.values()], key=lambda gap: gap.start_ns)


def _spans(
    archive: Archive, category: str, symbol: str, topic: str, gaps: Sequence[FeedGap]
) -> list[FeedSpan]:
    spans: list[FeedSpan] = []
    for piece in _coverage_pieces(archive, category, symbol, topic):
        last = spans[-1] if spans else None
        if last is None or last.collector != piece.collector:
            spans.append(piece)
        elif last.end_ns == piece.start_ns or (last.run_ns == piece.run_ns and _bridged(last, piece, gaps)):
            spans[-1] = replace(last, end_ns=max(last.end_ns, piece.end_ns))
        else:
            spans[-1] = replace(last, end_sequence=piece.first_sequence)
            spans.append(piece)
    return sorted(spans, key=lambda span: (span.start_ns, span.collector), reverse=True)


class _Cut(NamedTuple):
    """Where a prefix ends: the sequence of the first row after it, and when that was received; None where none is."""

    sequence: int | None
    receive_ns: int | None


class FeedRows:
    """The rows of one feed within one span, in ``sequence`` order.

    Args:
        archive: where they are.
        table: ``book_updates``, or ``rpi_book_updates``.
        category, symbol, depth: which feed.
        span: which recording of it.
        clock: the clock that moments are given on.
    """

    def __init__(
        self,
        archive: Archive,
        table: Table,
        category: str,
        symbol: str,
        depth: int,
        span: FeedSpan,
        clock: Clock,
    ) -> None:
        self._span = span
        self._clock = clock
        files = [
            file
            for file in archive.files(table, category=category, symbol=symbol, collector=span.collector)
            if file.sequence is not None
            and file.sequence[1] >= span.first_sequence
            and (span.end_sequence is None or file.sequence[0] < span.end_sequence)
        ]
        self._files = FeedFiles(files, archive.path, depth)
        self._last_cut: tuple[int, _Cut] | None = None

    def may_reach(self, at_ns: int) -> bool:
        """Whether the span reaches to a moment on the clock, or ends before it but for rows without a reading.

        Reads as little as it can: often the manifest says it, and else the rows near the moment, or the last ones.
        """
        if self._clock is Clock.RECEIVE:
            return self._span.start_ns <= at_ns <= self._span.end_ns
        if not self._may_reach(at_ns):
            return False
        if self._cut(at_ns).sequence is not None:
            return True
        end_ns = self._end_ns()
        return end_ns is not None and at_ns <= end_ns

    def _may_reach(self, at_ns: int) -> bool:
        return self._may_overlap(at_ns, at_ns + 1)

    def _may_overlap(self, start_ns: int, end_ns: int) -> bool:
        known = [span for file in self._files.files if (span := self._range_ns(file)) is not None]
        if not known:
            return False
        first_ns = min((file.receive_ns[0] for file in self._files.files if file.receive_ns), default=0)
        silence_ns = max(self._span.end_ns - first_ns, 0)
        return (
            min(low for low, _ in known) < end_ns and start_ns <= max(high for _, high in known) + silence_ns
        )

    def reach_ns(self) -> tuple[int, int] | None:
        """Return from when to when the span reaches on the clock; None where no row has a reading of it.

        The end is the clock's latest reading moved on by the time for which the recording lasted after the last row.
        """
        if self._clock is Clock.RECEIVE:
            return self._span.start_ns, self._span.end_ns
        low, end_ns = self._edge_ns(min), self._end_ns()
        return None if low is None or end_ns is None else (low, end_ns)

    def _end_ns(self) -> int | None:
        high = self._edge_ns(max)
        for piece in self._files.backwards(self._span.end_sequence, ["receive_time"]):
            rows = self._in_span(piece.rows)
            if rows.num_rows and high is not None:
                return high + max(self._span.end_ns - int(moments_ns(rows, "receive_time")[-1]), 0)
        return None

    def before(self, at_ns: int, columns: list[str]) -> Iterator[pa.Table]:
        """Yield the rows of the longest prefix whose running maximum of the clock is at most ``at_ns``.

        The prefix comes in pieces, the last piece first; rows keep their order within a piece. A row without
        a reading of the clock stays with the row before it. Of the columns, those named and those that order rows.
        """
        cut = self._cut(at_ns)
        below = self._span.end_sequence if cut.sequence is None else cut.sequence
        for piece in self._files.backwards(below, columns):
            rows = self._in_span(piece.rows)
            if rows.num_rows:
                yield rows

    def answers(self, start_ns: int, end_ns: int) -> tuple[int, int] | None:
        """Return the part of a span of the clock in which a book of these rows is the answer; ends are not included.

        It is one part: from the first full book on, up to where the recording ends. None where there is none.
        """
        if self._clock is Clock.RECEIVE:
            start_ns, end_ns = max(start_ns, self._span.start_ns), min(end_ns, self._span.end_ns + 1)
        if start_ns >= end_ns or not self._may_overlap(start_ns, end_ns):
            return None
        if self.full_before(start_ns) is None:
            first_ns = self._first_full_ns()
            if first_ns is None:
                return None
            start_ns = max(start_ns, first_ns)
        if self._clock is not Clock.RECEIVE and self._cut(end_ns - 1).sequence is None:
            last_ns = self._end_ns()
            if last_ns is None:
                return None
            end_ns = min(end_ns, last_ns + 1)
        return (start_ns, end_ns) if start_ns < end_ns else None

    def full_before(self, at_ns: int) -> int | None:
        """Return the sequence of the last full book of the prefix that ``before`` gives, None where it has none."""
        cut = self._cut(at_ns)
        below = self._span.end_sequence if cut.sequence is None else cut.sequence
        for piece in self._files.backwards(below, ["applied"]):
            full = np.flatnonzero(are_full(self._in_span(piece.rows)))
            if full.size:
                return int(integers(self._in_span(piece.rows), "sequence")[full[-1]])
        return None

    def _first_full_ns(self) -> int | None:
        """Where the clock stands with the first full book: its running maximum, or else its first reading."""
        reached_ns = NO_MOMENT
        found = False
        for piece in self._files.forwards(["applied", self._clock.column], self._span.first_sequence):
            rows = self._in_span(piece.rows)
            moments = moments_ns(rows, self._clock.column)
            full = np.flatnonzero(are_full(rows))[:1]
            if found:
                moments = moments[moments != NO_MOMENT]
                if moments.size:
                    return int(moments[0])
                continue
            reached_ns = max(
                reached_ns, int(moments[: int(full[0]) + 1 if full.size else None].max(initial=NO_MOMENT))
            )
            if full.size:
                if reached_ns != NO_MOMENT:
                    return reached_ns
                found = True
                moments = moments[moments != NO_MOMENT]
                if moments.size:
                    return int(moments[0])
        return None

    def since(self, sequence: int, columns: list[str]) -> Iterator[pa.Table]:
        """Yield some columns of the rows from a sequence on, in order, about a row group at a time."""
        for piece in self._files.forwards(columns, max(sequence, self._span.first_sequence)):
            rows = self._in_span(piece.rows)
            if rows.num_rows:
                yield rows
            end = self._span.end_sequence
            if end is not None and piece.groups and min(group.low for group in piece.groups) >= end:
                return

    def close(self) -> None:
        """Close the files; they are opened again where that is needed."""
        self._files.close()

    def cut_receive_ns(self, at_ns: int) -> int | None:
        """Return the receive time of the first row after the prefix, None where there is none."""
        return self._cut(at_ns).receive_ns

    def _cut(self, at_ns: int) -> _Cut:
        if self._last_cut is None or self._last_cut[0] != at_ns:
            self._last_cut = (at_ns, self._find_cut(at_ns))
        return self._last_cut[1]

    def _find_cut(self, at_ns: int) -> _Cut:
        # The running maximum is at most T up to the first row whose own reading is later than T. Rows of one sequence
        # have the same readings, so that the sequence alone says where that is.
        found = _Cut(None, None)
        for file in self._files.files:
            if found.sequence is not None and file.sequence is not None and file.sequence[0] > found.sequence:
                break
            reach = self._range_ns(file)
            if reach is not None and reach[1] <= at_ns:
                continue
            for group in self._files.groups(file):
                span = self._group_range_ns(group)
                if (span is not None and span[1] <= at_ns) or (
                    found.sequence is not None and group.low > found.sequence
                ):
                    continue
                rows = self._in_span(
                    self._files.rows(group, ["sequence", "receive_time", self._clock.column])
                )
                later = np.flatnonzero(moments_ns(rows, self._clock.column) > at_ns)
                if later.size:
                    sequence = int(integers(rows, "sequence")[later[0]])
                    if found.sequence is None or sequence < found.sequence:
                        found = _Cut(sequence, int(moments_ns(rows, "receive_time")[later[0]]))
        return found

    def _edge_ns(self, choose: Callable[[list[int]], int]) -> int | None:
        """Return the feed's first (``min``) or last (``max``) reading of the clock, out of few files."""
        side = 0 if choose is min else 1
        edge: int | None = None
        ranges = [(span, file) for file in self._files.files if (span := self._range_ns(file)) is not None]
        for span, file in sorted(ranges, key=lambda pair: pair[0][side], reverse=choose is max):
            if edge is not None and choose([edge, span[side]]) == edge:
                break
            for group in self._files.groups(file):
                reach = self._group_range_ns(group)
                if edge is not None and reach is not None and choose([edge, reach[side]]) == edge:
                    continue
                rows = self._in_span(self._files.rows(group, ["sequence", self._clock.column]))
                moments = moments_ns(rows, self._clock.column)
                moments = moments[moments != NO_MOMENT]
                if moments.size:
                    own = int(moments.max() if choose is max else moments.min())
                    edge = own if edge is None else choose([edge, own])
        return edge

    def _in_span(self, rows: pa.Table) -> pa.Table:
        sequences = integers(rows, "sequence")
        mask = sequences >= self._span.first_sequence
        if self._span.end_sequence is not None:
            mask &= sequences < self._span.end_sequence
        return rows if mask.all() else rows.filter(pa.array(mask))

    def _range_ns(self, file: ManifestFile) -> tuple[int, int] | None:
        if self._clock is Clock.RECEIVE:
            return file.receive_ns
        return _scaled(file.match_ms if self._clock is Clock.MATCH else file.push_ms)

    def _group_range_ns(self, group: FeedGroup) -> tuple[int, int] | None:
        span = group.group.spans.get(self._clock.column)
        return span if self._clock is Clock.RECEIVE else _scaled(span)


def _scaled(span: tuple[int, int] | None) -> tuple[int, int] | None:
    return None if span is None else (span[0] * NS_PER_MS, span[1] * NS_PER_MS)


def are_full(rows: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows are whole books that the live book took."""
    is_delta = pc.equal(rows["kind"].cast(pa.string()), RowKind.DELTA.value)
    return np.asarray(pc.and_not(rows["applied"], is_delta).to_numpy(), dtype=np.bool_)


def integers(rows: pa.Table, column: str) -> Int64s:
    """Return a column of integers or times as they are stored; null becomes the lowest int64."""
    values = rows[column].cast(pa.int64())
    if values.null_count:
        values = values.fill_null(pa.scalar(NO_MOMENT, pa.int64()))
    return np.asarray(values.to_numpy(), dtype=np.int64)


def moments_ns(rows: pa.Table, column: str) -> Int64s:
    """Return a time column as nanoseconds; null becomes ``NO_MOMENT``, which is before every moment."""
    values = integers(rows, column)
    if rows.schema.field(column).type == EXCHANGE:
        return np.where(values == NO_MOMENT, NO_MOMENT, values * NS_PER_MS)
    return values


def _coverage_pieces(archive: Archive, category: str, symbol: str, topic: str) -> list[FeedSpan]:
    """Return coverage as it was written, each piece with its run, by collector in the order of recording."""
    rolled: dict[str, list[ManifestSegment]] = {}
    for segment in archive.manifest.segments.values():
        rolled.setdefault(segment.collector, []).append(segment)
    for its_segments in rolled.values():
        its_segments.sort(key=_first_sequence)
    pieces = []
    for row in _small_table(archive, Table.COVERAGE, category, symbol, topic).to_pylist():
        its_segments = rolled.get(row["collector"], [])
        first_sequence, run_ns = row["sequence"], 0
        # The record that began the piece lies in the last segment that begins at or before it.
        index = bisect_right(its_segments, first_sequence, key=_first_sequence) - 1
        if index >= 0:
            run_ns = its_segments[index].run
            if row["start_time"] == its_segments[index].segment:
                # Carried over: the keyframe that stands for what came before bears the sequence of its last message.
                first_sequence = its_segments[index - 1].sequence[1] + 1 if index else 0
        pieces.append(FeedSpan(row["collector"], run_ns, row["start_time"], row["end_time"], first_sequence))
    return sorted(pieces, key=lambda piece: (piece.collector, piece.first_sequence))


def _first_sequence(segment: ManifestSegment) -> int:
    return segment.sequence[0]


def _bridged(earlier: FeedSpan, later: FeedSpan, gaps: Sequence[FeedGap]) -> bool:
    return any(
        gap.collector == earlier.collector
        and gap.start_ns <= earlier.end_ns
        and (gap.end_ns is None or gap.end_ns >= later.start_ns)
        for gap in gaps
    )


def _small_table(archive: Archive, table: Table, category: str, symbol: str, topic: str) -> pa.Table:
    """Return a feed's rows of ``gaps`` or ``coverage``, times as integers of their unit."""
    schema = schema_of(table)
    parts = [schema.empty_table()]
    try:
        for file in archive.files(table, category=category, symbol=symbol):
            source = parquet_source(archive.path(file))
            with pq.ParquetFile(source, page_checksum_verification=True) as opened:
                found = restore(table, opened.read(use_threads=False))
            parts.append(found.filter(pc.equal(found.column("topic"), topic)))
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{error}\nrun `tapebook verify` to see which files are damaged") from error
    rows = pa.concat_tables(parts)
    plain = [
        pa.field(field.name, pa.int64() if pa.types.is_timestamp(field.type) else field.type)
        for field in schema
    ]
    return pa.table([rows[field.name].cast(field.type) for field in plain], schema=pa.schema(plain))


def _ms_to_ns(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else moment_ms * NS_PER_MS
