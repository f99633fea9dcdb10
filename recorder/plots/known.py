"""When feeds were recorded and could be trusted, out of the views ``coverage`` and ``gaps``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np

from recorder.archive import Archive
from recorder.feed_rows import Clock
from recorder.plots.spans import NOTHING, Spans, intersect, subtract, union
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.time import format_ns

__all__ = [
    "Feed",
    "FeedGap",
    "Known",
    "Range",
    "known_feeds",
    "known_of",
    "merged",
    "only_category",
    "recorded_range",
]

_BACKFILLED: Final = "backfill"


class Range(NamedTuple):
    """What is to be drawn: from (included) to (not included), nanoseconds."""

    start_ns: int
    end_ns: int

    def __str__(self) -> str:
        return f"{format_ns(self.start_ns)} to {format_ns(self.end_ns)}"


class Feed(NamedTuple):
    """One topic of one product line."""

    category: str
    topic: str


class FeedGap(NamedTuple):
    """A gap of a collector: nanoseconds, None where nothing has healed it, and what healed it."""

    collector: str
    start_ns: int
    end_ns: int | None
    healed_by: str | None


class Known(NamedTuple):
    """What a range has of a feed.

    Attributes:
        recorded: when some collector recorded it.
        trusted: when some collector recorded it outside of its gaps.
        gaps: how many gaps of collectors lie in the range or reach into it.
        fetched: how many more there were whose trades were fetched back.
    """

    recorded: Spans
    trusted: Spans
    gaps: int
    fetched: int

    @property
    def lost(self) -> Spans:
        """When it was recorded and nobody could be trusted."""
        return subtract(self.recorded, self.trusted)

    def absent(self, range_: Range) -> Spans:
        """When it was not recorded."""
        return subtract(union([range_]), self.recorded)


def known_feeds(
    archive: Archive,
    range_: Range,
    *,
    category: str | None = None,
    symbol: str | None = None,
    topic: str | None = None,
    clock: Clock = Clock.RECEIVE,
    fetched_is_trusted: bool = True,
) -> Iterator[tuple[Feed, Known]]:
    """Yield what is known of each feed that was recorded in a range, one feed at a time in order.

    Args:
        archive: where.
        range_: when.
        category, symbol, topic: only these; the topic in full.
        clock: what ends of gaps are read on; ours where a gap has none on the match clock, and for coverage.
        fetched_is_trusted: a gap whose trades were fetched back is none.
    """
    start, end = (
        ("start_match_time", "end_match_time") if clock is Clock.MATCH else ("start_time", "end_time")
    )
    wanted = {"category": category, "symbol": symbol, "topic": topic}
    given = {name: value for name, value in wanted.items() if value is not None}
    only = "".join(f" AND {name} = ${number}" for number, name in enumerate(given, 3))
    moments = [range_.start_ns, range_.end_ns, *given.values()]
    coverage = archive.sql(
        "SELECT category, topic, collector, epoch_ns(start_time), epoch_ns(end_time) FROM coverage "
        f"WHERE epoch_ns(end_time) > $1 AND epoch_ns(start_time) < $2{only} ORDER BY category, topic",
        moments,
    )
    gaps = archive.sql(
        f"SELECT category, topic, collector, epoch_ns(coalesce({start}, start_time)), "
        f"epoch_ns(coalesce({end}, end_time)), healed_by FROM gaps "
        "WHERE coalesce(epoch_ns(end_time), $2) >= $1 AND epoch_ns(start_time) < $2"
        f"{only} ORDER BY category, topic",
        moments,
    )
    gaps_of = groupby(_rows(gaps), key=_feed)
    waiting = next(gaps_of, None)
    for feed, rows in groupby(_rows(coverage), key=_feed):
        spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for row in rows:
            spans[row[2]].append((row[3], row[4]))
        while waiting is not None and waiting[0] < feed:
            waiting = next(gaps_of, None)
        broken = (
            [FeedGap(*row[2:]) for row in waiting[1]] if waiting is not None and waiting[0] == feed else []
        )
        yield feed, known_of(range_, spans, broken, fetched_is_trusted=fetched_is_trusted)


def merged(range_: Range, feeds: Iterator[tuple[Feed, Known]] | list[tuple[Feed, Known]]) -> Known:
    """Return when at least one of the feeds was recorded, and trusted."""
    recorded, trusted, gaps, fetched = NOTHING, NOTHING, 0, 0
    for _, known in feeds:
        recorded, trusted = _all([recorded, known.recorded]), _all([trusted, known.trusted])
        gaps, fetched = gaps + known.gaps, fetched + known.fetched
    whole = union([range_])
    return Known(intersect(recorded, whole), intersect(trusted, whole), gaps, fetched)


def only_category(archive: Archive, symbol: str) -> str:
    """Return the product line that has the symbol.

    Raises:
        ConfigError: several have it.
        NoData: none has.
    """
    pairs = sorted({pair for table in Table for pair in archive.manifest.symbols(table) if pair[1]})
    categories = sorted({category for category, its_symbol in pairs if its_symbol == symbol})
    if len(categories) > 1:
        raise ConfigError(f"{symbol} was recorded in {', '.join(categories)}; choose one with --category")
    if not categories:
        names = sorted({name for _, name in pairs})
        near = get_close_matches(symbol, names, n=5, cutoff=0.5) or names[:5]
        raise NoData(f"nothing of {symbol} was recorded" + (f"; recorded: {', '.join(near)}" if near else ""))
    return categories[0]


def recorded_range(
    archive: Archive,
    start_ns: int | None,
    end_ns: int | None,
    *,
    category: str | None = None,
    symbol: str | None = None,
    topic: str | None = None,
) -> Range:
    """Return the range that was asked for, its open ends filled in with the ends of what was recorded of it.

    Raises:
        NoData: nothing of it was recorded; the message names what was.
    """
    wanted = {"category": category, "symbol": symbol, "topic": topic}
    given = {name: value for name, value in wanted.items() if value is not None}
    where = " AND ".join(f"{name} = ${number}" for number, name in enumerate(given, 1)) or "true"
    found = archive.sql(
        f"SELECT epoch_ns(min(start_time)), epoch_ns(max(end_time)) FROM coverage WHERE {where}",
        list(given.values()),
    ).table()
    first, last = (column[0].as_py() for column in found.columns)
    what = " ".join(given.values()) or "anything"
    if first is None or last is None:
        raise NoData(f"nothing of {what} was recorded{_recorded(archive)}")
    start, end = first if start_ns is None else start_ns, last if end_ns is None else end_ns
    if end <= first or start >= last:
        when = [f"from {format_ns(start_ns)}"] if start_ns is not None else []
        when += [f"to {format_ns(end_ns)}"] if end_ns is not None else []
        raise NoData(
            f"nothing of {what} was recorded {' '.join(when)}; recorded: {format_ns(first)} to {format_ns(last)}"
        )
    return Range(start, end)


def _recorded(archive: Archive) -> str:
    rows = (
        archive.sql("SELECT category, topic FROM coverage GROUP BY ALL ORDER BY ALL LIMIT 5")
        .table()
        .to_pylist()
    )
    names = ", ".join(f"{row['category']} {row['topic']}" for row in rows)
    return f"; recorded: {names}" if names else "; the archive has no coverage at all"


def _rows(result: Any) -> Iterator[tuple[Any, ...]]:
    for batch in result:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _feed(row: tuple[Any, ...]) -> Feed:
    return Feed(row[0], row[1])


def known_of(
    range_: Range,
    spans: Mapping[str, Sequence[tuple[int, int]]],
    gaps: Iterable[FeedGap],
    *,
    fetched_is_trusted: bool = True,
) -> Known:
    """Return what is known of a feed in a range. Pure.

    Args:
        range_: when.
        spans: of each collector that recorded the feed.
        gaps: of these collectors.
        fetched_is_trusted: a gap whose trades were fetched back is none.
    """
    whole = union([range_])
    lost: dict[str, list[tuple[int, int]]] = defaultdict(list)
    count = fetched = 0
    for collector, start_ns, end_ns, healed_by in gaps:
        if healed_by == _BACKFILLED and fetched_is_trusted:
            fetched += 1
            continue
        count += 1
        # A gap that nothing has healed lasts to the end of the span that it begins in.
        after = [end for begin, end in spans.get(collector, ()) if begin <= start_ns <= end]
        lost[collector].append((start_ns, max(after, default=start_ns) if end_ns is None else end_ns))
    # What a collector owns up to have missed is a gap, be it subscribed anew or crashed, and not time it was not there.
    recorded = _all([union([*own, *lost[collector]]) for collector, own in spans.items()])
    trusted = _all([subtract(union(own), union(lost[collector])) for collector, own in spans.items()])
    return Known(intersect(recorded, whole), intersect(trusted, whole), count, fetched)


def _all(sets: list[Spans]) -> Spans:
    return union(np.concatenate([NOTHING, *sets]))
