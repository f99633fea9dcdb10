"""What a run that ended without a word left open: the gap that the next run has to own up to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.core.feeds import Engine
from engine.topics import parse_feed
from recorder.journal import SegmentReader, segments
from recorder.roll import replay_segment
from schemas.names import Category, GapCause, RecordKind
from schemas.notes import (
    Begin,
    Close,
    Crashed,
    Ended,
    FeedCheckpoint,
    Feeds,
    Instruments,
    OpenGap,
    Shared,
    decode_note,
)

__all__ = ["crashed_feeds"]

_UNENDED: Final = ("recovered", "rotated")
"""How the last segment of a run is closed that had no time to say its end: what was open was recovered, or another one
was about to begin, of which nothing came to the disk."""

_FIRST: Final = (Begin, Feeds, Shared, FeedCheckpoint, Instruments, Crashed, Ended, Close)
"""What a segment begins with, so that it stands alone; several commits where there are many feeds. (And its end.)"""


def crashed_feeds(data: Path, collector: str) -> list[Crashed]:
    """Replay the collector's last segment if a crash ended it. Recover the journal first.

    A segment whose first notes a crash cut off says nothing of some feeds, or of any: then the one before it does.

    Returns:
        One note per feed that had delivered something: a gap from its last good frame on, or the gap that was open
        already when the crash came.
    """
    found: dict[str, Crashed | None] = {}
    for segment in reversed([one for one in segments(data, collector) if one.state == "sealed"]):
        with SegmentReader(segment.path) as reader:
            closing = reader.read_closing()
        if closing is None or closing.reason not in _UNENDED:
            break
        _, replay = replay_segment(segment.path, lambda _: None)
        for topic, crashed in _left_open(replay.engine, replay.category).items():
            found.setdefault(topic, crashed)
        if closing.reason == "rotated" or _stands_alone(segment.path):
            break
    return [crashed for crashed in found.values() if crashed is not None]


def _stands_alone(path: Path) -> bool:
    """Whether something came behind its first notes, which are whole then."""
    with SegmentReader(path) as reader:
        for record in reader.records():
            if record.kind != RecordKind.NOTE or not isinstance(decode_note(record.payload), _FIRST):
                return True
    return False


def _left_open(engine: Engine, category: Category) -> dict[str, Crashed | None]:
    """By topic, of those that had delivered something; None for one that had ended."""
    found: dict[str, Crashed | None] = {}
    for index, topic in enumerate(engine.topics()):
        state = engine.checkpoint(index)
        gap = state.gap
        if engine.ended(index):
            found[topic] = None
            continue
        if state.receive_ns is None and gap is None:
            continue
        consecutive = parse_feed(category, topic)[1] > 1
        if gap is None:
            assert state.receive_ns is not None
            gap = OpenGap(
                GapCause.CRASH.value,
                state.receive_ns,
                state.match_ms,
                state.update_id + 1 if consecutive and state.update_id is not None else None,
            )
        found[topic] = Crashed(topic=topic, gap=gap, update_id=state.update_id, trade_ids=state.trade_ids)
    return found
