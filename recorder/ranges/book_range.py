"""Which recording of a book answers for which part of a range, and its rows, ready for the core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import pyarrow as pa

from recorder.archive import Archive
from recorder.book_state import topics_by_depth
from recorder.feed_rows import NO_MOMENT, Clock, FeedGap, FeedRows, feed_history
from recorder.ranges.function import Arguments, Kind, Parameter, Untrusted
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.tables import LEVEL_COLUMNS, book_of_topic
from schemas.time import NS_PER_SECOND, format_ns

__all__ = ["BOOK_PARAMETERS", "BookRange", "Stretch", "book_range", "deep_enough"]

_MOST_SPANS_NAMED: Final = 4
_MOST_BATCH_ROWS: Final = 16_384
_ROW_COLUMNS: Final = ("applied", "update_id", *LEVEL_COLUMNS, "price_exponent", "size_exponent")

BOOK_PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        Parameter("category", Kind.TEXT, "Product line, e.g. linear."),
        Parameter("symbol", Kind.TEXT, "Symbol, e.g. BTCUSDT."),
        Parameter("t0", Kind.MOMENT, "Beginning of the range, included."),
        Parameter("t1", Kind.MOMENT, "End of the range, not included."),
        Parameter(
            "topic",
            Kind.TEXT,
            "Topic, e.g. orderbook.50; the deepest recorded one that covers the range.",
            None,
        ),
        Parameter("clock", Kind.CLOCK, "Clock that moments are on.", Clock.MATCH),
        Parameter(
            "untrusted",
            Kind.UNTRUSTED,
            "What becomes of rows of a time that lies in a gap.",
            Untrusted.LEAVE_OUT,
        ),
    )
}
"""Parameters that functions over order books have in common, by name."""


class Stretch(NamedTuple):
    """A part of a range that one recording answers.

    Attributes:
        collector: who recorded it.
        start_ns, end_ns: from when to when on the clock, the end not included.
        gaps: of the recording.
    """

    collector: str
    start_ns: int
    end_ns: int
    gaps: list[FeedGap]
    feed: FeedRows

    def batches(self, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        """Yield the rows from the last full book at the start on, to the end of the recording, a batch at a time.

        Args:
            columns: more columns than those that make the book.
        """
        since = self.feed.full_before(self.start_ns)
        assert since is not None  # by the choice of start_ns
        return self._since(since, columns)

    def led_batches(self, columns: tuple[str, ...]) -> tuple[int, Iterator[pa.RecordBatch]]:
        """Return the same from the last full book before the start on, if any, and where the clock stands then.

        So what the first messages at the start change is known. Where there is none, the first rows are as of the
        start, whatever their own readings.
        """
        since = self.feed.full_before(self.start_ns - 1)
        if since is None:
            return self.start_ns, self.batches(columns)
        return NO_MOMENT, self._since(since, columns)

    def rows(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield the same rows as ``batches``, these columns of them, as they lie in files."""
        since = self.feed.full_before(self.start_ns)
        assert since is not None  # by the choice of start_ns
        return self.feed.since(since, columns)

    def _since(self, sequence: int, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
        try:
            for rows in self.feed.since(sequence, list(dict.fromkeys([*_ROW_COLUMNS, *columns]))):
                yield from rows.to_batches(max_chunksize=_MOST_BATCH_ROWS)
        finally:
            self.feed.close()


class BookRange(NamedTuple):
    """A range of a feed: its parts that were recorded, in order of time. What lies between them was not.

    Attributes:
        topic: in full.
        depth: of the topic.
    """

    topic: str
    depth: int
    clock: Clock
    stretches: list[Stretch]


def book_range(archive: Archive, arguments: Arguments, *, levels: int | None = None) -> BookRange:
    """Return what an archive has of the range that some arguments name.

    Args:
        archive: the archive.
        arguments: category, symbol, t0, t1, topic and clock.
        levels: how many levels a side are asked for.

    Raises:
        ConfigError: the topic is no order book that ranges are made of.
        NoData: the symbol, topic or depth was not recorded, or nothing in the range was; what is near is named.
    """
    category, symbol, clock = arguments["category"], arguments["symbol"], arguments["clock"]
    start_ns, end_ns = arguments["t0"], arguments["t1"]
    topics = _topics(archive, category, symbol, arguments["topic"], levels)
    found: list[tuple[int, BookRange]] = []
    for topic in topics:
        book = _recorded(archive, category, symbol, topic, clock, start_ns, end_ns)
        found.append((sum(part.end_ns - part.start_ns for part in book.stretches), book))
        if found[-1][0] == end_ns - start_ns:
            break
    most_ns = max(covered_ns for covered_ns, _ in found)
    # Topics of one recording begin and end some moments apart, and a restart lies in many a range.
    slack_ns = max(most_ns // 100, min(most_ns // 10, NS_PER_SECOND))
    best = next(book for covered_ns, book in found if covered_ns >= most_ns - slack_ns)
    if not best.stretches and end_ns > start_ns:
        raise NoData(_nothing(archive, category, symbol, topics, clock, start_ns, end_ns))
    return best


def _topics(
    archive: Archive, category: str, symbol: str, wanted: str | None, levels: int | None
) -> list[str]:
    """The topics that can answer, the deepest first."""
    topics = topics_by_depth(archive, category, symbol, wanted)
    known = book_of_topic(topics[0])
    if known is not None and known[0] is not Table.BOOK_UPDATES:
        if wanted is not None:
            raise ConfigError(
                f"{topics[0]} has two sizes a level, which ranges don't show; choose another topic"
            )
        raise NoData(
            f"of {category} {symbol} only {topics[0]} was recorded, whose two sizes a level ranges don't show"
        )
    return topics if levels is None else deep_enough(topics, category, symbol, wanted, levels)


def deep_enough(topics: list[str], category: str, symbol: str, wanted: str | None, levels: int) -> list[str]:
    """Return those of the topics, deepest first, that have so many levels a side.

    Raises:
        NoData: none has; the message says how many there are.
    """
    deep = [topic for topic in topics if _depth(topic) >= levels]
    if not deep:
        deepest, most = topics[0], _depth(topics[0])
        raise NoData(
            f"found depth {levels}, but the deepest recorded book of {category} {symbol} is {deepest}; "
            f"ask for at most {most}"
            if wanted is None
            else f"found depth {levels}, but {deepest} has {most} levels a side; ask for no more"
        )
    return deep


def _depth(topic: str) -> int:
    known = book_of_topic(topic)
    assert known is not None
    return known[1]


def _recorded(
    archive: Archive, category: str, symbol: str, topic: str, clock: Clock, start_ns: int, end_ns: int
) -> BookRange:
    """The latest recording answers wherever it has a book; what it leaves open is for those before it."""
    history = feed_history(archive, category, symbol, topic)
    depth = _depth(topic)
    open_parts = [(start_ns, end_ns)] if start_ns < end_ns else []
    stretches: list[Stretch] = []
    for span in history.spans:
        if not open_parts:
            break
        rows = FeedRows(archive, Table.BOOK_UPDATES, category, symbol, depth, span, clock)
        gaps = [
            gap for gap in history.gaps if gap.collector == span.collector and gap.start_ns <= span.end_ns
        ]
        still_open = []
        for low, high in open_parts:
            part = rows.answers(low, high)
            if part is None:
                still_open.append((low, high))
                continue
            stretches.append(Stretch(span.collector, *part, gaps, rows))
            still_open += [piece for piece in ((low, part[0]), (part[1], high)) if piece[0] < piece[1]]
        open_parts = still_open
    return BookRange(topic, depth, clock, sorted(stretches, key=lambda part: part.start_ns))


def _nothing(
    archive: Archive, category: str, symbol: str, topics: list[str], clock: Clock, start_ns: int, end_ns: int
) -> str:
    head = f"nothing of {category} {symbol} was recorded from {format_ns(start_ns)} to {format_ns(end_ns)} on the "
    reaches = [
        (*reach, topic)
        for topic in topics
        for span in feed_history(archive, category, symbol, topic).spans
        if (
            reach := FeedRows(
                archive, Table.BOOK_UPDATES, category, symbol, _depth(topic), span, clock
            ).reach_ns()
        )
        is not None
    ]
    if not reaches:
        return f"{head}{clock.value} clock, nor at any other time"
    reaches.sort(key=lambda reach: max(reach[0] - end_ns, start_ns - reach[1], 0))
    near = [
        f"{format_ns(low)} to {format_ns(high)} ({topic})" for low, high, topic in reaches[:_MOST_SPANS_NAMED]
    ]
    return f"{head}{clock.value} clock; nearest: {', '.join(near)}"
