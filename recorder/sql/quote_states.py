"""What the best bid and ask were before each moment of matching: states to which trades are joined as of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.core.replay import BookReplay
from recorder.feed_rows import NO_MOMENT, Clock, FeedGap, integers, moments_ns
from recorder.ranges.book_range import BOOK_PARAMETERS, BookRange, Stretch, book_range
from recorder.ranges.function import Arguments, RangeFunction
from schemas.errors import NoData
from schemas.names import RowKind, Table
from schemas.tables import book_of_topic
from schemas.time import NS_PER_MS

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["QUOTE_STATES"]

Int64s = npt.NDArray[np.int64]
Columns = dict[str, npt.NDArray[Any]]

_NEARLY_ALL: Final = 0.99
_LAST: Final = int(np.iinfo(np.int64).max)
_SCHEMA: Final = pa.schema(
    [
        pa.field("from_ms", pa.int64()),
        pa.field("from_sequence", pa.int64()),
        pa.field("quote_ms", pa.int64()),
        *(pa.field(name, pa.float64()) for name in ("bid_price", "bid_size", "ask_price", "ask_size")),
        pa.field("trusted", pa.bool_()),
    ]
)


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    book = _quickest(archive, arguments)
    starts = [_up(part.start_ns) for part in book.stretches[1:]]
    for part, next_ms in zip(book.stretches, [*starts, None], strict=True):
        yield from _states(book, part)
        if next_ms is None or next_ms > _up(part.end_ns):
            yield _batch({**_row(_NOTHING), "from_ms": np.array([_up(part.end_ns)])})


def _up(ns: int) -> int:
    """The first millisecond at or after a moment."""
    return -(-ns // NS_PER_MS)


def _row(row: dict[str, Any]) -> Columns:
    return {name: np.array([value]) for name, value in row.items()}


def _quickest(archive: Archive, arguments: Arguments) -> BookRange:
    """The book that is sent most often, the shallowest, of those that cover the range nearly as well as any."""
    if arguments["topic"] is not None:
        return book_range(archive, arguments)
    category, symbol = arguments["category"], arguments["symbol"]
    depths = {
        known[1]: topic
        for topic in archive.manifest.topics(category, symbol)
        if (known := book_of_topic(topic)) is not None and known[0] is Table.BOOK_UPDATES
    }
    found: list[tuple[int, BookRange]] = []
    for depth in sorted(depths):
        try:
            book = book_range(archive, {**arguments, "topic": depths[depth]})
        except NoData:
            continue
        found.append((sum(part.end_ns - part.start_ns for part in book.stretches), book))
    if not found:
        return book_range(archive, arguments)  # which says what there is
    most_ns = max(covered_ns for covered_ns, _ in found)
    return next(book for covered_ns, book in found if covered_ns >= _NEARLY_ALL * most_ns)


def _states(book: BookRange, part: Stretch) -> Iterator[pa.RecordBatch]:
    replay = BookReplay(book.depth)
    reached_ns, batches = part.led_batches((Clock.MATCH.column, Clock.RECEIVE.column, "cross_sequence"))
    line = _Line(part, reached_ns)
    for batch in batches:
        yield from line.take(_columns(replay.best(batch), pa.Table.from_batches([batch])))
        if line.is_over:
            return
    yield from line.end()


class _Line:
    """States in order, each in force from its place on: of a moment of matching and a sequence in it.

    Places never step back, as in "as of": what comes later in the feed is in force later.
    """

    def __init__(self, part: Stretch, reached_ns: int) -> None:
        self._start_ms, self._end_ms = _up(part.start_ns), _up(part.end_ns)
        self._gaps = deque(sorted(part.gaps, key=lambda gap: gap.start_ns))
        reached_ms = -(2**62) if reached_ns == NO_MOMENT else reached_ns // NS_PER_MS
        self._reached = (reached_ms, -1)
        self._held: Columns | None = None  # the last state, until it is clear that the next has another place
        self.is_over = False

    def take(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """Take the next rows, and yield what is in force before the last of them."""
        if self._held is None:  # a whole book comes first, which heals whatever was before it
            while self._gaps and self._gaps[0].start_ns < columns["receive_ns"][0]:
                self._gaps.popleft()
        before = self._reached
        self._put_in_order(columns)
        columns = self._with_gaps(columns, before)
        yield from self._up_to_last(columns)
        self.is_over = self._reached[0] >= self._end_ms

    def end(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left; gaps that began behind the last row are in it."""
        if self._held is None:
            return
        last_ns = int(self._held["receive_ns"][0])
        for gap in self._gaps:
            place = self._gap_place(gap, self._reached, last_ns)
            self._reached = place
            yield from self._up_to_last(_row(_nothing_from(place, last_ns)))
        yield from self._inside(self._held)

    def _up_to_last(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """Yield states but for the last, and of each place only what is in force behind it.

        What lies before the stretch is in force from its beginning on.
        """
        early = columns["from_ms"] < self._start_ms
        columns["from_ms"] = np.where(early, self._start_ms, columns["from_ms"])
        columns["from_sequence"] = np.where(early, -1, columns["from_sequence"])
        if self._held is not None:
            columns = {name: np.concatenate([self._held[name], columns[name]]) for name in columns}
        places = np.stack([columns["from_ms"], columns["from_sequence"]])
        last_of_place = np.append((places[:, 1:] != places[:, :-1]).any(axis=0), False)
        self._held = _picked(columns, np.array([len(last_of_place) - 1]))
        yield from self._inside(_picked(columns, np.flatnonzero(last_of_place)))

    def _inside(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        columns = _picked(columns, np.flatnonzero(columns["from_ms"] < self._end_ms))
        if len(columns["from_ms"]):
            yield _batch(columns)

    def _with_gaps(self, columns: Columns, before: tuple[int, int]) -> Columns:
        """Insert, behind the last good row before each gap, that there is nothing to be trusted from there on.

        Where the row behind the gap has a place that is no later, that row alone says what is in force.
        """
        receive_ns = np.maximum.accumulate(columns["receive_ns"])
        while self._gaps and self._gaps[0].start_ns < receive_ns[-1]:
            gap = self._gaps.popleft()
            first, at = (int(np.searchsorted(receive_ns, gap.start_ns, side)) for side in ("left", "right"))
            if gap.start_match_ns is not None:
                # frames of one read share a stamp: their match time tells behind which of them the gap begins
                good = np.flatnonzero(columns["match_ns"][first:at] == gap.start_match_ns)
                at = first + int(good[0]) + 1 if good.size else at
            while columns["is_copy"][at] and receive_ns[at] == gap.start_ns:
                at += 1  # keyframes have the stamps of what they copy; the last row is later than the gap's beginning
            place_before = _place(columns, at - 1) if at else before
            last_ns = int(receive_ns[at - 1]) if at else gap.start_ns
            place = self._gap_place(gap, place_before, last_ns)
            if place < _place(columns, at):
                row = _nothing_from(place, last_ns)
                columns = {name: np.insert(values, at, row[name]) for name, values in columns.items()}
                receive_ns = np.maximum.accumulate(columns["receive_ns"])
        return columns

    def _gap_place(self, gap: FeedGap, before: tuple[int, int], last_ns: int) -> tuple[int, int]:
        """From where on a gap counts: the millisecond behind the last good one, as far as that is known."""
        if gap.start_match_ns is not None:
            start_ms = gap.start_match_ns // NS_PER_MS
        else:
            start_ms = before[0] + max(gap.start_ns - last_ns, 0) // NS_PER_MS
        return max((start_ms + 1, -1), before)

    def _put_in_order(self, columns: Columns) -> None:
        """Let no place be before one of an earlier row."""
        moments = np.concatenate([[self._reached[0]], columns["from_ms"]])
        sequences = np.concatenate([[self._reached[1]], columns["from_sequence"]])
        order = np.lexsort((sequences, moments))
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order))
        highest = order[np.maximum.accumulate(ranks)][1:]
        columns["from_ms"], columns["from_sequence"] = moments[highest], sequences[highest]
        self._reached = int(columns["from_ms"][-1]), int(columns["from_sequence"][-1])


_NOTHING: Final[dict[str, Any]] = {
    "from_ms": 0,
    "from_sequence": -1,
    "quote_ms": -1,
    "bid_price": np.nan,
    "bid_size": np.nan,
    "ask_price": np.nan,
    "ask_size": np.nan,
    "trusted": False,
    "receive_ns": 0,
    "match_ns": NO_MOMENT,
    "is_copy": False,
}
"""A state without a quote that may be trusted."""


def _columns(best: pa.Table, rows: pa.Table) -> Columns:
    own_ns, sequences = moments_ns(rows, Clock.MATCH.column), integers(rows, "cross_sequence")
    known = own_ns != NO_MOMENT
    columns: Columns = {
        "from_ms": np.where(known, own_ns // NS_PER_MS, -(2**62)),
        "from_sequence": np.where(sequences != NO_MOMENT, sequences, _LAST),
        "quote_ms": np.where(known, own_ns // NS_PER_MS, -1),
        "trusted": np.asarray(best["trusted"]),
        "receive_ns": moments_ns(rows, Clock.RECEIVE.column),
        "match_ns": own_ns,
        "is_copy": np.asarray(pc.equal(rows["kind"].cast(pa.string()), RowKind.KEYFRAME.value)),
    }
    for unit in ("price", "size"):
        exponents = np.asarray(best[f"{unit}_exponent"]).astype(np.float64)
        for side in ("bid", "ask"):
            mantissas = best[f"{side}_{unit}_mantissa"]
            values = np.asarray(mantissas.fill_null(0)).astype(np.float64) / 10.0**-exponents
            columns[f"{side}_{unit}"] = np.where(np.asarray(mantissas.is_valid()), values, np.nan)
    return columns


def _nothing_from(place: tuple[int, int], receive_ns: int) -> dict[str, Any]:
    return {**_NOTHING, "from_ms": place[0], "from_sequence": place[1], "receive_ns": receive_ns}


def _place(columns: Columns, at: int) -> tuple[int, int]:
    return int(columns["from_ms"][at]), int(columns["from_sequence"][at])


def _picked(columns: Columns, places: npt.NDArray[np.intp]) -> Columns:
    return {name: values[places] for name, values in columns.items()}


def _batch(columns: Columns) -> pa.RecordBatch:
    arrays = []
    for field in _SCHEMA:
        values = columns[field.name]
        absent = np.isnan(values) if pa.types.is_floating(field.type) else values == -1
        mask = absent if field.name not in ("from_ms", "from_sequence", "trusted") else None
        arrays.append(pa.array(values, field.type, mask=mask))
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


QUOTE_STATES: Final = RangeFunction(
    "quote_states",
    "The best bid and ask behind each message of a book, and from when on there is none to be trusted.",
    tuple(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1", "topic")),
    lambda _: _SCHEMA,
    _run,
)
