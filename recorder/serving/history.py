"""What the archive says of the past: gaps, what happened at a moment, what share of the last day can be trusted.

Everything here blocks; the server asks it in a thread of its own, one question at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from recorder.archive import Archive, open_archive
from recorder.plots.known import Range, known_feeds
from recorder.plots.spans import overlap, total
from recorder.plots.steps import duration_text
from recorder.serving.moment import Moment
from schemas.errors import TapebookError
from schemas.time import NS_PER_MS, NS_PER_SECOND, format_ns

__all__ = ["MOST_GAPS", "STRIP", "Answer", "History", "Trust"]

MOST_GAPS: Final = 300
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
_NEAREST: Final = """
SELECT max(epoch_ns(end_time)) FILTER (epoch_ns(end_time) <= $1),
    min(epoch_ns(start_time)) FILTER (epoch_ns(start_time) > $1)
FROM coverage WHERE contains(lower(topic), $2)
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
    """Asks the archive of a data directory, and opens it anew once its manifest has grown.

    Args:
        data: the directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._archive: Archive | None = None
        self._signature: tuple[Any, ...] = ()
        self._trusted: tuple[tuple[Any, ...], int, dict[tuple[str, str], Trust]] | None = None

    def close(self) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    def interrupt(self) -> None:
        """Stop what is being asked; for other threads."""
        archive = self._archive
        if archive is not None:
            archive.interrupt()

    def gaps(self, moment: Moment | None, feed: str, now_ns: int) -> Answer:
        """Return the gaps around a moment, or the newest, and what can be said of the moment in a sentence.

        Args:
            moment: around which; None for the newest.
            feed: part of a topic, in any case; empty for all.
            now_ns: wall clock.
        """
        feed = feed.lower()
        start_ns, end_ns = (0, now_ns + DAY_NS) if moment is None else (moment.start_ns, moment.end_ns)
        answer: Answer = {
            "gaps": [],
            "more": False,
            "sentence": "",
            "at_ms": None if moment is None else moment.at_ns // NS_PER_MS,
            "start_ms": start_ns // NS_PER_MS,
            "end_ms": end_ns // NS_PER_MS,
            "archive_end_ms": None,
        }
        try:
            archive = self._opened()
            rows = _rows(archive, _GAPS, [end_ns, start_ns, feed, MOST_GAPS + 1])
            answer["more"] = len(rows) > MOST_GAPS
            answer["gaps"] = [_gap(row) for row in rows[:MOST_GAPS]]
            archive_end_ns = _rows(archive, "SELECT max(epoch_ns(end_time)) FROM coverage", [])[0][0]
            answer["archive_end_ms"] = None if archive_end_ns is None else archive_end_ns // NS_PER_MS
            answer["sentence"] = self._sentence(
                archive, moment, feed, archive_end_ns, now_ns, len(answer["gaps"])
            )
        except TapebookError as error:
            answer["sentence"] = str(error)
        return answer

    def trusted(self, now_ns: int) -> dict[tuple[str, str], Trust]:
        """Return what the archive has of each feed's last day, by category and topic; up to ``TRUST_NS`` old where
        nothing was rolled since.

        Raises:
            TapebookError: the archive can't be read.
        """
        archive = self._opened()
        known = self._trusted
        if known is not None and known[0] == self._signature and now_ns - known[1] < TRUST_NS:
            return known[2]
        range_ = Range(now_ns - DAY_NS, now_ns)
        edges = np.linspace(range_.start_ns, range_.end_ns, STRIP + 1).astype(np.int64)
        found = {}
        for feed, its in known_feeds(archive, range_, fetched_is_trusted=False):
            recorded, lost = total(its.recorded), total(its.lost)
            if recorded:
                strip = _strip(overlap(its.recorded, edges), overlap(its.lost, edges), np.diff(edges))
                found[feed.category, feed.topic] = Trust(1 - lost / recorded, strip)
        self._trusted = self._signature, now_ns, found
        return found

    def _opened(self) -> Archive:
        manifests = sorted((self._data / "archive" / "manifest").glob("*.jsonl"))
        signature = tuple(
            (path.name, found.st_size, found.st_mtime_ns) for path in manifests for found in [path.stat()]
        )
        if self._archive is None or signature != self._signature:
            self.close()
            # What is sealed and not rolled yet would have to be rolled for us; the collector's roller does that.
            self._archive = open_archive(
                self._data, include_sealed=False, memory_limit=MEMORY_LIMIT, threads=1
            )
            self._signature = signature
        return self._archive

    def _sentence(
        self, archive: Archive, moment: Moment | None, feed: str, end_ns: int | None, now_ns: int, gaps: int
    ) -> str:
        if end_ns is None:
            return "Nothing is in the archive yet: a segment of the journal is rolled once it is sealed."
        behind = f"The archive goes to {_clock(end_ns)}"
        if now_ns - end_ns > LONG_NS:
            behind += f", {duration_text(now_ns - end_ns)} ago"
        if moment is None:
            return f"{behind}."
        if moment.at_ns >= end_ns:
            return f"{behind}; what came later is in the journal, and is told here once it is rolled."
        known, trusted = _rows(archive, _AT, [moment.at_ns, feed])[0]
        when = _clock(moment.at_ns)
        if known:
            what = "1 feed was" if known == 1 else f"{known:,} feeds were"
            whole = "all of them could be trusted" if trusted == known else f"{known - trusted:,} in a gap"
            if known == 1:
                whole = "and could be trusted" if trusted else "but in a gap"
                return f"At {when} 1 feed was recorded, {whole}; {_many(gaps)} around it."
            return f"At {when} {what} recorded, {whole}; {_many(gaps)} around it."
        before, after = _rows(archive, _NEAREST, [moment.at_ns, feed])[0]
        near = [f"the record before it ends at {_clock(before)}"] if before is not None else []
        near += [f"the next begins at {_clock(after)}"] if after is not None else []
        return f"At {when} nothing was recorded{''.join(f'; {words}' for words in near)}."


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
