"""An order book as it was at a moment of the past (design section 6, "As of T").

The answer is the state after the longest prefix, in ``sequence`` order of one coverage span, whose running
maximum of the chosen clock is at most T; of several spans that cover T, the latest recorded one. A book is
never built across a gap: inside one, the last good book is shown and called stale.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
import numpy as np
import pyarrow as pa

from engine.core.book import Book
from engine.rpi_book import RpiBook, apply_levels, load_levels
from recorder.archive import Archive
from recorder.feed_rows import (
    NO_MOMENT,
    Clock,
    FeedGap,
    FeedRows,
    FeedSpan,
    are_full,
    feed_history,
    integers,
    moments_ns,
)
from recorder.feed_trust import Prefix, stale_after
from schemas.errors import ConfigError, Corrupt, NoData
from schemas.names import FeedState, Table
from schemas.tables import LEVEL_COLUMNS, RPI_LEVEL_COLUMNS, book_of_topic, book_topic
from schemas.time import format_ns

__all__ = ["BookAnswer", "book_at", "choose_topic", "latest_book", "topics_by_depth"]

_MOST_SPANS_NAMED: Final = 4
_ROW_COLUMNS: Final = (
    "applied", "update_id", "cross_sequence", "price_exponent", "size_exponent",
    "receive_time", "push_time", "match_time",
)  # fmt: skip


class BookAnswer(msgspec.Struct, frozen=True):
    """A book as it was.

    Attributes:
        category, symbol, topic, collector: which feed, and who recorded it.
        clock, at_ns: what was asked for.
        state: ``live``, or ``stale`` when the moment lies in a gap; then the book is the last good one.
        gap: the cause of that gap; None when live.
        update_id, cross_sequence: of the message that made this state.
        match_ns, push_ns, receive_ns: its three times; match and cross sequence may be unknown (None).
        price_exponent, size_exponent: of the mantissas.
        bids, asks: (price, size) mantissas, of RPI books (price, size, RPI size), best first, at most as many as the
            topic's depth.
    """

    category: str
    symbol: str
    topic: str
    collector: str
    clock: Clock
    at_ns: int
    state: FeedState
    gap: str | None
    update_id: int
    cross_sequence: int | None
    match_ns: int | None
    push_ns: int
    receive_ns: int
    price_exponent: int
    size_exponent: int
    bids: list[tuple[int, ...]]
    asks: list[tuple[int, ...]]

    @property
    def age_ns(self) -> int:
        """How old the state was at the moment asked for, on the same clock."""
        moment = {Clock.MATCH: self.match_ns, Clock.PUSH: self.push_ns, Clock.RECEIVE: self.receive_ns}[
            self.clock
        ]
        return self.at_ns - (self.push_ns if moment is None else moment)


def choose_topic(archive: Archive, category: str, symbol: str, wanted: str | None) -> str:
    """Return the full topic that was asked for, or the deepest recorded book of the symbol, RPI last.

    Raises:
        ConfigError: the text is no order-book topic of this symbol.
        NoData: it was not recorded; the message names what was.
    """
    recorded = {
        (found[0] is Table.BOOK_UPDATES, found[1]): topic
        for topic in archive.manifest.topics(category, symbol)
        if (found := book_of_topic(topic)) is not None and found[2] == symbol
    }
    if wanted is None:
        if not recorded:
            raise NoData(
                f"no order book of {category} {symbol} was recorded{_nearest_symbols(archive, symbol)}"
            )
        return recorded[max(recorded)]
    asked = book_of_topic(wanted)
    if asked is None or asked[2] not in ("", symbol):
        raise ConfigError(
            f"topic {wanted!r} is no order book of {symbol}; "
            "write it like orderbook.50, orderbook.full or orderbook.rpi"
        )
    topic = book_topic(asked[0], asked[1], symbol)
    if topic not in recorded.values():
        others = ", ".join(recorded[place] for place in sorted(recorded))
        raise NoData(
            f"{topic} of {category} was not recorded; "
            + (f"recorded: {others}" if others else f"nor any other depth{_nearest_symbols(archive, symbol)}")
        )
    return topic


def book_at(
    archive: Archive, category: str, symbol: str, topic: str, at_ns: int, clock: Clock = Clock.MATCH
) -> BookAnswer:
    """Return a feed's book as of a moment.

    Args:
        archive: where it was recorded.
        category, symbol, topic: the feed; the topic in full, ``orderbook.50.BTCUSDT``.
        at_ns: the moment, nanoseconds since the epoch.
        clock: the clock that the moment is on.

    Raises:
        ConfigError: the topic is no order book.
        NoData: the moment lies outside coverage, or before the first book; the message names what is near.
        Corrupt: the rows cannot be what was written.
    """
    answer = _answer(archive, category, symbol, topic, at_ns, clock)
    if isinstance(answer, BookAnswer):
        return answer
    raise NoData(_nothing(f"{category} {topic}", at_ns, clock, answer))


def topics_by_depth(archive: Archive, category: str, symbol: str, wanted: str | None) -> list[str]:
    """Return the topics that may answer, in full, the deepest first: the one that is wanted, or all recorded ones.

    ``orderbook.rpi`` is among them only if it is wanted, or nothing else was recorded.

    Raises:
        ConfigError, NoData: as of ``choose_topic``.
    """
    chosen = choose_topic(archive, category, symbol, wanted)
    if wanted is not None:
        return [chosen]
    depths = {
        known[1]: topic
        for topic in archive.manifest.topics(category, symbol)
        if (known := book_of_topic(topic)) is not None
        and known[0] is Table.BOOK_UPDATES
        and known[2] == symbol
    }
    return [depths[depth] for depth in sorted(depths, reverse=True)] or [chosen]


def latest_book(
    archive: Archive, category: str, symbol: str, at_ns: int, topics: Sequence[str], clock: Clock
) -> BookAnswer:
    """Return the book as of a moment of the first of some topics that has one then.

    Args:
        archive, category, symbol, at_ns, clock: as of ``book_at``.
        topics: in full; ``topics_by_depth`` has those that were recorded.

    Raises:
        ConfigError, NoData, Corrupt: as of ``book_at``. If another recorded topic has a book then, the message says so.
    """
    reaches: list[_Reach] = []
    for topic in topics:
        answer = _answer(archive, category, symbol, topic, at_ns, clock)
        if isinstance(answer, BookAnswer):
            return answer
        reaches += answer
    # Only who is about to get nothing waits for a look at what was not asked for.
    others = [each for each in topics_by_depth(archive, category, symbol, None) if each not in topics]
    having = [
        topic
        for topic in others
        if isinstance(_answer(archive, category, symbol, topic, at_ns, clock), BookAnswer)
    ]
    feed = f"{category} {topics[0] if len(topics) == 1 else symbol}"
    hint = f"; {' and '.join(having)} {'has' if len(having) == 1 else 'have'} a book then" if having else ""
    raise NoData(_nothing(feed, at_ns, clock, reaches, with_topic=len(topics) > 1) + hint)


class _Reach(NamedTuple):
    """From when to when on the clock a collector recorded a topic."""

    low_ns: int
    high_ns: int
    collector: str
    topic: str


def _answer(
    archive: Archive, category: str, symbol: str, topic: str, at_ns: int, clock: Clock
) -> BookAnswer | list[_Reach]:
    """The book, or when there are books."""
    found = book_of_topic(topic)
    if found is None or found[2] != symbol:
        raise ConfigError(
            f"topic {topic!r} is no order book of {symbol}; write it like orderbook.50.{symbol}"
        )
    table, depth, _ = found
    history = feed_history(archive, category, symbol, topic)
    columns = [*_ROW_COLUMNS, *(RPI_LEVEL_COLUMNS if table is Table.RPI_BOOK_UPDATES else LEVEL_COLUMNS)]
    spans: list[tuple[FeedSpan, FeedRows]] = []
    for span in history.spans:
        rows = FeedRows(archive, table, category, symbol, depth, span, clock)
        spans.append((span, rows))
        good = _last_good(rows, at_ns, columns) if rows.may_reach(at_ns) else None
        if good is None:
            continue
        times = {each: int(moments_ns(good.rows, each.column)[-1]) for each in Clock}
        if times[clock] == NO_MOMENT and ((reach := rows.reach_ns()) is None or at_ns < reach[0]):
            continue
        cause = _gap_cause(
            [gap for gap in history.gaps if gap.collector == span.collector and gap.start_ns <= span.end_ns],
            Prefix(times, good.last_receive_ns, rows.cut_receive_ns(at_ns), good.is_followed),
            clock,
            at_ns,
        )
        book = _replayed(archive, topic, table, depth, good.rows)
        update_id, cross_sequence, match_ns = (
            int(integers(good.rows, "update_id")[-1]),
            int(integers(good.rows, "cross_sequence")[-1]),
            times[Clock.MATCH],
        )
        return BookAnswer(
            category=category,
            symbol=symbol,
            topic=topic,
            collector=span.collector,
            clock=clock,
            at_ns=at_ns,
            state=FeedState.LIVE if cause is None else FeedState.STALE,
            gap=cause,
            update_id=update_id,
            cross_sequence=None if cross_sequence == NO_MOMENT else cross_sequence,
            match_ns=None if match_ns == NO_MOMENT else match_ns,
            push_ns=times[Clock.PUSH],
            receive_ns=times[Clock.RECEIVE],
            price_exponent=book.price_exponent,
            size_exponent=book.size_exponent,
            bids=[*book.bids()],
            asks=[*book.asks()],
        )
    return [
        _Reach(*reach, span.collector, topic)
        for span, rows in spans
        if (reach := rows.reach_ns()) is not None
    ]


class _Good(NamedTuple):
    """The last row of a prefix that the book took, and the rows before it from a full book on.

    Attributes:
        rows: a snapshot or keyframe, then deltas; the last one is the state.
        last_receive_ns: when the last row of the prefix was received, be it one that the book could not take.
        is_followed: whether a later update that the book could not take comes behind the last good row.
    """

    rows: pa.Table
    last_receive_ns: int
    is_followed: bool


def _last_good(rows: FeedRows, at_ns: int, columns: list[str]) -> _Good | None:
    held: pa.Table | None = None
    last_receive_ns: int | None = None
    latest_refused = NO_MOMENT
    for piece in rows.before(at_ns, columns):
        applied = integers(piece, "applied") != 0
        if last_receive_ns is None:
            last_receive_ns = int(moments_ns(piece, "receive_time")[-1])
        end = piece.num_rows
        if held is None:
            taken = np.flatnonzero(applied)
            end = int(taken[-1]) + 1 if taken.size else 0
            refused = integers(piece, "update_id")[end:]
            latest_refused = max(latest_refused, int(refused.max(initial=NO_MOMENT)))
        # A gap heals by a full book alone: nothing is missing between the newest one and the last good row.
        full = np.flatnonzero(are_full(piece)[:end])
        start = int(full[-1]) if full.size else 0
        piece = piece.slice(start, end - start).filter(pa.array(applied[start:end]))
        held = piece if held is None else pa.concat_tables([piece, held])
        if full.size:
            is_followed = latest_refused > int(integers(held, "update_id")[-1])
            return _Good(held.combine_chunks(), last_receive_ns, is_followed)
        if held.num_rows == 0:
            held = None
    return None


def _gap_cause(gaps: list[FeedGap], prefix: Prefix, clock: Clock, at_ns: int) -> str | None:
    """Return the cause of the gap of the span that the moment lies in, if any."""
    for gap in gaps:
        after_ns = stale_after(gap, prefix, clock)
        if after_ns is not None and (at_ns > after_ns or after_ns == NO_MOMENT):
            return gap.cause
    return None


def _replayed(archive: Archive, topic: str, table: Table, depth: int, rows: pa.Table) -> Book | RpiBook:
    is_rpi = table is Table.RPI_BOOK_UPDATES
    book: Book | RpiBook = RpiBook(depth) if is_rpi else Book(depth)
    offsets, values = [], []
    for side in RPI_LEVEL_COLUMNS if is_rpi else LEVEL_COLUMNS:
        lists = cast("pa.ListArray[Any]", rows[side].combine_chunks())
        offsets.append(lists.offsets.to_numpy())
        values.append(np.asarray(lists.values.to_numpy(), dtype=np.int64))
    price_exponents, size_exponents = integers(rows, "price_exponent"), integers(rows, "size_exponent")
    for row in range(rows.num_rows):
        levels = [its[start[row] : start[row + 1]] for start, its in zip(offsets, values, strict=True)]
        take = apply_levels if row else load_levels
        try:
            take(book, levels, (int(price_exponents[row]), int(size_exponents[row])))
        except ValueError as error:
            sequence = int(integers(rows, "sequence")[row])
            raise Corrupt(
                archive.manifest.archive,
                f"{topic}: the row of sequence {sequence} cannot be applied: {error}; run `tapebook verify`",
            ) from error
    return book


def _nothing(feed: str, at_ns: int, clock: Clock, reaches: list[_Reach], *, with_topic: bool = False) -> str:
    def distance(reach: _Reach) -> int:
        return max(reach.low_ns - at_ns, at_ns - reach.high_ns, 0)

    head = f"no book of {feed} at {format_ns(at_ns)} on the {clock.value} clock"
    if not reaches:
        return f"{head}: nothing of it was recorded"
    near = [
        f"{format_ns(each.low_ns)} to {format_ns(each.high_ns)} "
        f"({f'{each.topic}, ' if with_topic else ''}{each.collector})"
        for each in sorted(reaches, key=distance)[:_MOST_SPANS_NAMED]
    ]
    within = any(distance(reach) == 0 for reach in reaches)
    why = "its recording had no snapshot yet" if within else "outside of what was recorded"
    return f"{head}: {why}; recorded: {', '.join(near)}"


def _nearest_symbols(archive: Archive, symbol: str) -> str:
    known = sorted(
        {
            name
            for table in (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES)
            for _, name in archive.manifest.symbols(table)
        }
    )
    near = difflib.get_close_matches(symbol, known, n=5, cutoff=0.5) or known[:5]
    return f"; recorded symbols near it: {', '.join(near)}" if near else "; no order book at all was recorded"
