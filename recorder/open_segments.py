"""What is recorded and can't be asked yet: the segments that are being written, of which readers know nothing."""

from __future__ import annotations

from collections.abc import Sequence

from recorder.journal.files import SegmentFile, journal_directory
from recorder.journal.lock import is_locked
from schemas.time import format_ns

__all__ = ["not_asked_yet"]


def not_asked_yet(segments: Sequence[SegmentFile]) -> list[str]:
    """Return a sentence for each collector that has a segment open, for who asked and found nothing.

    Args:
        segments: open ones, of a data directory's journal.
    """
    newest = {
        segment.collector: segment for segment in sorted(segments, key=lambda segment: segment.start_ns)
    }
    return [_sentence(segment) for _, segment in sorted(newest.items())]


def _sentence(segment: SegmentFile) -> str:
    since, name = format_ns(segment.start_ns), segment.collector
    data = segment.path.parents[2]
    if is_locked(journal_directory(data, name) / "lock"):
        return (
            f"what {name!r} records since {since} can be asked once the segment that it is writing is sealed: "
            "after 15 minutes (--segment-seconds), or when the recorder ends"
        )
    return (
        f"what {name!r} recorded since {since} lies in a segment that was never sealed, since its recorder was "
        f"killed: `tapebook roll --data {data}` recovers it, and so does its next start"
    )
