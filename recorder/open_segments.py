"""What is recorded and can't be asked yet: the segments that are being written, of which readers know nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from recorder.journal.files import SegmentFile, journal_directory
from recorder.journal.lock import is_locked
from recorder.journal.reader import SegmentReader
from schemas.errors import TapebookError
from schemas.names import Table
from schemas.time import format_ns

if TYPE_CHECKING:
    from recorder.archive import Archive

__all__ = ["not_asked_yet", "overlooked", "unread"]


def not_asked_yet(segments: Sequence[SegmentFile]) -> list[str]:
    """Return a sentence for each collector that has a segment open, for who asked and found nothing.

    Args:
        segments: open ones, of a data directory's journal.
    """
    newest = {
        segment.collector: segment for segment in sorted(segments, key=lambda segment: segment.start_ns)
    }
    return [_sentence(segment) for _, segment in sorted(newest.items())]


def unread(
    archive: Archive,
    categories: Collection[str],
    *,
    symbol: str | None = None,
    tables: Collection[Table] = (),
    collector: str | None = None,
    end_ns: int | None = None,
) -> list[SegmentFile]:
    """Return the open segments that may have something of what was asked for.

    Args:
        archive: what was asked.
        categories: the product lines that count; any if there are none.
        symbol, tables: who has recorded before, but never this symbol in one of these tables, is no concern.
        collector: only this one's.
        end_ns: only what was begun before.
    """
    known: dict[str, str] = {}
    for segment in archive.manifest.segments.values():
        known.setdefault(segment.collector, segment.category)
    recorders = {
        file.collector
        for table in tables
        for category in categories
        for file in archive.files(table, category=category, symbol=symbol)
    }
    return [
        segment
        for segment in archive.open_segments
        if (collector is None or segment.collector == collector)
        and (end_ns is None or segment.start_ns < end_ns)
        and (not categories or (known.get(segment.collector) or _category(segment)) in categories)
        and (not tables or segment.collector not in known or segment.collector in recorders)
    ]


def overlooked(archive: Archive, segments: Sequence[SegmentFile]) -> list[SegmentFile]:
    """Return those of open segments that even one who has rows should hear of.

    They are what a killed recorder left, and what a collector writes of which the archive has nothing yet. That the
    last minutes of a recording are missing while it goes on needs no saying each time.
    """
    known = {collector for collector, _ in archive.manifest.segments}
    return [
        segment
        for segment in segments
        if (segment.collector not in known or not _is_being_written(segment))
        and segment.path.exists()  # else it was sealed meanwhile, by a recorder that ended well
    ]


def _category(segment: SegmentFile) -> str | None:
    """The product line that a segment's header names; None where it can't be read."""
    try:
        with SegmentReader(segment.path, lenient=True) as reader:
            return reader.info.category
    except TapebookError:
        return None


def _is_being_written(segment: SegmentFile) -> bool:
    return is_locked(journal_directory(segment.path.parents[2], segment.collector) / "lock")


def _sentence(segment: SegmentFile) -> str:
    since, name = format_ns(segment.start_ns), segment.collector
    data = segment.path.parents[2]
    if _is_being_written(segment):
        return (
            f"what {name!r} records since {since} can be asked once the segment that it is writing is sealed: "
            "after 15 minutes (--segment-seconds), or when the recorder ends"
        )
    return (
        f"what {name!r} recorded since {since} lies in a segment that was never sealed, since its recorder was "
        f"killed: `tapebook roll --data {data}` recovers it, and so does its next start"
    )
