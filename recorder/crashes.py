"""What a run that ended without a word left open: the gap that the next run has to own up to."""

from __future__ import annotations

from pathlib import Path

from engine.topics import parse_feed
from recorder.journal import SegmentReader, segments
from recorder.roll import replay_segment
from schemas.names import GapCause
from schemas.notes import Crashed, OpenGap

__all__ = ["crashed_feeds"]


def crashed_feeds(data: Path, collector: str) -> list[Crashed]:
    """Replay the collector's last segment if a crash ended it. Recover the journal first.

    Returns:
        One note per feed that had delivered something: a gap from its last good frame on, or the gap that was open
        already when the crash came.
    """
    sealed = [segment for segment in segments(data, collector) if segment.state == "sealed"]
    if not sealed:
        return []
    with SegmentReader(sealed[-1].path) as reader:
        closing = reader.read_closing()
    if closing is None or closing.reason != "recovered":
        return []
    _, replay = replay_segment(sealed[-1].path, lambda _: None)
    out = []
    for index, topic in enumerate(replay.engine.topics()):
        state = replay.engine.checkpoint(index)
        if state.receive_ns is None and state.gap is None:
            continue
        consecutive = parse_feed(replay.category, topic)[1] > 1
        gap = state.gap
        if gap is None:
            assert state.receive_ns is not None
            gap = OpenGap(
                GapCause.CRASH.value,
                state.receive_ns,
                state.match_ms,
                state.update_id + 1 if consecutive and state.update_id is not None else None,
            )
        out.append(Crashed(topic=topic, gap=gap, update_id=state.update_id, trade_ids=state.trade_ids))
    return out
