"""What the archive says of the past: gaps, what happened at a moment, what share of the last day can be trusted.

Everything here blocks; the server asks it in a thread of its own, one question at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from recorder.archive import Archive, open_archive
from recorder.manifest import Manifest
from recorder.plots.known import Range, known_feeds
from recorder.plots.spans import overlap, total
from recorder.plots.steps import duration_text
from recorder.serving.moment import Moment
from recorder.sql.database import Settings
from schemas.errors import TapebookError
from schemas.names import Table
from schemas.time import NS_PER_MS, NS_PER_SECOND, format_date, format_ns, parse_time

__all__ = ["MOST_GAPS", "STRIP", "Answer", "History", "Trust"]

MOST_GAPS: Final = 300
NEWEST_DAYS: Final = 7
KEPT_PARTS: Final = 4
"""Of the archive, opened for questions of the same days that come again."""
STRIP: Final = 48
"""Pieces of the last day."""
DAY_NS: Final = 86_400 * NS_PER_SECOND
TRUST_NS: Final = 600 * NS_PER_SECOND
LONG_NS: Final = 1_200 * NS_PER_SECOND
"""The archive is that much behind a recorder that is well, at most: a segment of 15 minutes, and its roll."""
MEMORY_LIMIT: Final = "512MB"

Answer = dict[str, Any]

_GAPS: Final = """
SELECT collector, category, topic, cause, healed_by, epoch_ns(start_time), epoch_ns(end_time),
    first_update_id, last_update_id
FROM gaps
WHERE epoch_ns(start_time) < $1 AND coalesce(epoch_ns(end_time), $2) >= $2 AND contains(lower(topic), $3)
ORDER BY start_time DESC, topic
LIMIT $4
"""
_AT: Final = """
WITH covering AS (
    SELECT DISTINCT category, topic, collector FROM coverage
    WHERE epoch_ns(start_time) <= $1 AND epoch_ns(end_time) > $1 AND contains(lower(topic), $2)
), broken AS (
    SELECT DISTINCT category, topic, collector FROM gaps
    WHERE epoch_ns(start_time) <= $1 AND contains(lower(topic), $2)
        AND (epoch_ns(end_time) > $1
            OR (end_time IS NULL AND (category, topic, collector) IN
                (SELECT (category, topic, collector) FROM covering)))
), trusted AS (
    SELECT DISTINCT category, topic FROM
    (SELECT category, topic, collector FROM covering EXCEPT SELECT category, topic, collector FROM broken)
), known AS (
    SELECT category, topic FROM covering UNION SELECT category, topic FROM broken
)
SELECT (SELECT count(*) FROM known), (SELECT count(*) FROM trusted)
"""
_BEFORE: Final = """
SELECT max(epoch_ns(end_time)) FROM coverage WHERE epoch_ns(end_time) <= $1 AND contains(lower(topic), $2)
"""
_AFTER: Final = """
SELECT min(epoch_ns(start_time)) FROM coverage WHERE epoch_ns(start_time) > $1 AND contains(lower(topic), $2)
"""


class Trust(NamedTuple):
    """What the archive has of a feed's last day.

    Attributes:
        share: of what was recorded, how much can be trusted, 0..1.
        strip: a character for each piece of the day: ``.`` nothing recorded (yet), ``x`` something was lost in it,
            ``1``..``9`` recorded in part, ``#`` whole.
    """

    share: float
    strip: str


class History:
    """Asks the archive of a data directory. Only files of gaps and coverage, of the days in question, are looked at.

    Args:
        data: the directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._whole: Archive | None = None
        self._asked: Archive | None = None
        self._parts: dict[tuple[str, str, tuple[Table, ...]], Archive] = {}
        self._signature: tuple[Any, ...] = ()
        self._trusted: tuple[tuple[Any, ...], int, dict[tuple[str, str], Trust]] | None = None

    def close(self) -> None:
        """Close the archive."""
        for part in self._parts.values():
            part.close()
        self._parts.clear()
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def interrupt(self) -> None:
        """Stop what is being asked; for other threads."""
        asked = self._asked
        if asked is not None:
            asked.interrupt()

    def gaps(self, moment: Moment | None, feed: str, now_ns: int) -> Answer:
        """Return the gaps around a moment, or the newest, and what can be said of the moment in a sentence.

        Args:
            moment: around which; None for the newest of the last ``NEWEST_DAYS`` that are on record.
            feed: part of a topic, in any case; empty for all.
            now_ns: wall clock.
        """
        feed = feed.lower()
        answer: Answer = {"gaps": [], "more": False, "sentence": ""}
        try:
            end_ns = self._end()
            if end_ns is None:
                answer["sentence"] = (
                    "Nothing is in the archive yet: a segment of the journal is rolled once it is sealed."
                )
                return answer
            span = (
                Range(end_ns - NEWEST_DAYS * DAY_NS, end_ns + 1)
                if moment is None
                else Range(moment.start_ns, moment.end_ns)
            )
            with self._days(*_dates(span), Table.GAPS, Table.COVERAGE) as archive:
                rows = _rows(archive, _GAPS, [span.end_ns, span.start_ns, feed, MOST_GAPS + 1])
            answer["more"] = len(rows) > MOST_GAPS
            answer["gaps"] = [_gap(row) for row in rows[:MOST_GAPS]]
            answer["sentence"] = self._sentence(moment, feed, end_ns, now_ns, len(answer["gaps"]))
        except TapebookError as error:
            answer["sentence"] = str(error)
        return answer

    def trusted(self, now_ns: int) -> dict[tuple[str, str], Trust]:
        """Return what the archive has of each feed's last day, by category and topic; up to ``TRUST_NS`` old where
        nothing was rolled since.

        Raises:
            TapebookError: the archive can't be read.
        """
        self._opened()
        known = self._trusted
        if known is not None and known[0] == self._signature and now_ns - known[1] < TRUST_NS:
            return known[2]
        range_ = Range(now_ns - DAY_NS, now_ns)
        edges = np.linspace(range_.start_ns, range_.end_ns, STRIP + 1).astype(np.int64)
        found = {}
        with self._days(*_dates(range_), Table.GAPS, Table.COVERAGE) as archive:
            for feed, its in known_feeds(archive, range_, fetched_is_trusted=False):
                recorded, lost = total(its.recorded), total(its.lost)
                if recorded:
                    strip = _strip(overlap(its.recorded, edges), overlap(its.lost, edges), np.diff(edges))
                    found[feed.category, feed.topic] = Trust(1 - lost / recorded, strip)
        self._trusted = self._signature, now_ns, found
        return found

    def _opened(self) -> Archive:
        """The whole archive, of which nothing but the manifest is ever read."""
        manifests = sorted((self._data / "archive" / "manifest").glob("*.jsonl"))
        signature = tuple(
            (path.name, found.st_size, found.st_mtime_ns) for path in manifests for found in [path.stat()]
        )
        if self._whole is None or signature != self._signature:
            self.close()
            # What is sealed and not rolled yet would have to be rolled for us; the collector's roller does that.
            self._whole = open_archive(self._data, include_sealed=False)
            self._signature = signature
        return self._whole

    @contextmanager
    def _days(self, first: str, last: str, *tables: Table) -> Iterator[Archive]:
        """An archive of nothing but some tables' files of some days: years of others are not even opened."""
        whole = self._opened()
        key = first, last, tables
        asked = self._parts.pop(key, None)
        if asked is None:
            manifest = whole.manifest
            files = [file for table in tables for file in manifest.select(table, dates=(first, last))]
            asked = Archive(
                whole.data, Manifest(manifest.archive, files, manifest.segments), masked=True,
                scratch=None, scratch_paths=frozenset(), warnings=[], settings=Settings(MEMORY_LIMIT, 1),
            )  # fmt: skip
        self._parts[key] = asked  # the newest is the last
        while len(self._parts) > KEPT_PARTS:
            self._parts.pop(next(iter(self._parts))).close()
        self._asked = asked
        try:
            yield asked
        finally:
            self._asked = None

    def _coverage_dates(self) -> list[str]:
        return sorted({file.date for file in self._opened().manifest.select(Table.COVERAGE)})

    def _end(self) -> int | None:
        """Until when something is on record."""
        dates = self._coverage_dates()
        if not dates:
            return None
        with self._days(dates[-1], dates[-1], Table.COVERAGE) as archive:
            end_ns: int | None = _rows(archive, "SELECT max(epoch_ns(end_time)) FROM coverage", [])[0][0]
        return end_ns

    def _near(self, at_ns: int, feed: str) -> tuple[int | None, int | None]:
        """When the record before a moment without any ended, and when the next began."""
        first, last = _dates(Range(at_ns, at_ns))
        dates = self._coverage_dates()
        before = max((date for date in dates if date <= last), default=first)
        after = min((date for date in dates if date >= first), default=last)
        near: list[int | None] = []
        for day, query in ((before, _BEFORE), (after, _AFTER)):
            # a day beside it too: a span that begins before midnight is filed under the day that it began
            days = [date for date in dates if abs(_day(date) - _day(day)) <= 1] or [day]
            with self._days(days[0], days[-1], Table.COVERAGE) as archive:
                near.append(_rows(archive, query, [at_ns, feed])[0][0])
        return near[0], near[1]

    def _sentence(self, moment: Moment | None, feed: str, end_ns: int, now_ns: int, gaps: int) -> str:
        behind = f"The archive goes to {_clock(end_ns)}"
        if now_ns - end_ns > LONG_NS:
            behind += f", {duration_text(now_ns - end_ns)} ago"
        if moment is None:
            return f"{behind}; gaps since then are counted with the feeds, and are listed here once they are rolled."
        if moment.at_ns >= end_ns:
            return f"{behind}; what came later is in the journal, and is told here once it is rolled."
        with self._days(
            *_dates(Range(moment.start_ns, moment.end_ns)), Table.GAPS, Table.COVERAGE
        ) as archive:
            known, trusted = _rows(archive, _AT, [moment.at_ns, feed])[0]
        when = _clock(moment.at_ns)
        if known == 1:
            whole = "and could be trusted" if trusted else "but in a gap"
            return f"At {when} 1 feed was recorded, {whole}; {_many(gaps)} around it."
        if known:
            whole = "all of them could be trusted" if trusted == known else f"{known - trusted:,} in a gap"
            return f"At {when} {known:,} feeds were recorded, {whole}; {_many(gaps)} around it."
        before, after = self._near(moment.at_ns, feed)
        near = [f"the record before it ends at {_clock(before)}"] if before is not None else []
        near += [f"the next begins at {_clock(after)}"] if after is not None else []
        return f"At {when} nothing was recorded{''.join(f'; {words}' for words in near)}."


def _dates(span: Range) -> tuple[str, str]:
    """The days that files about a span may be filed under, a day more to each side."""
    return format_date(max(0, span.start_ns - DAY_NS)), format_date(span.end_ns + DAY_NS)


def _day(date: str) -> int:
    return parse_time(f"{date}T00:00:00Z") // DAY_NS


def _many(gaps: int) -> str:
    return (
        "no gap is on record"
        if not gaps
        else "1 gap is on record"
        if gaps == 1
        else f"{gaps:,} gaps are on record"
    )


def _clock(ns: int) -> str:
    return f"{format_ns(ns)[:19].replace('T', ' ')} UTC"


def _rows(archive: Archive, query: str, parameters: list[object]) -> list[tuple[Any, ...]]:
    table = archive.sql(query, parameters).table()
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _gap(row: tuple[Any, ...]) -> Answer:
    collector, category, topic, cause, healed_by, start_ns, end_ns, first, last = row
    return {
        "collector": collector,
        "category": category,
        "topic": topic,
        "cause": cause,
        "healed_by": healed_by,
        "start_ms": start_ns // NS_PER_MS,
        "end_ms": None if end_ns is None else end_ns // NS_PER_MS,
        "lasted": None if end_ns is None else duration_text(end_ns - start_ns),
        # as text: a browser's numbers are exact up to 2**53 only
        "first_update_id": None if first is None else str(first),
        "last_update_id": None if last is None else str(last),
    }


def _strip(recorded: Any, lost: Any, whole: Any) -> str:
    out = []
    for has, lacks, length in zip(recorded.tolist(), lost.tolist(), whole.tolist(), strict=True):
        part = has / length
        out.append(
            "x" if lacks else "." if not has else "#" if part > 0.995 else str(min(9, max(1, int(part * 10))))
        )
    return "".join(out)
