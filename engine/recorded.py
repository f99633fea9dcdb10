"""What a record that is not a frame does to the engine: one place for the live recorder and for every replay.

The recorder appends the record to the journal first and then calls these functions with its sequence; a replay reads
the record and calls the same functions. So both walk through the same states.
"""

from __future__ import annotations

from engine.bybit.full_sync import frames_of
from engine.core.feeds import Engine
from engine.instruments import InstrumentLog
from engine.trade_backfill import read_fetched
from engine.trade_files import read_imported
from schemas.names import FeedState
from schemas.notes import (
    Begin,
    Crashed,
    Disconnected,
    Ended,
    FeedCheckpoint,
    Feeds,
    FetchedTrades,
    FullBook,
    ImportedTrades,
    Note,
    Rest,
    Session,
    Shared,
    Stale,
    Subscribed,
    Unsubscribed,
    Widened,
)

__all__ = ["apply_answer", "apply_note", "apply_session", "checkpoints"]


def checkpoints(engine: Engine, instruments: InstrumentLog, run: int) -> list[Note]:
    """The notes with which a segment begins that goes on from here, so that it stands alone.

    Args:
        engine: as it is now.
        instruments: what is known of them.
        run: start_ns of the recording run.
    """
    ours = [feed for feed in range(engine.feed_count) if not engine.ended(feed)]
    return [
        Begin(run=run, continued=True),
        engine.shared(),
        *(engine.checkpoint(feed) for feed in ours),
        instruments.checkpoint(),
    ]


def apply_session(engine: Engine, event: Session, *, receive_ns: int, sequence: int, line: int) -> None:
    """Let a session event act on the feeds: an acknowledgement, or a line that is gone."""
    if isinstance(event, Subscribed):
        for topic in event.topics:
            engine.subscribed(topic, receive_ns, sequence, line)
    elif isinstance(event, Unsubscribed):
        for topic in event.topics:
            engine.unsubscribed(topic, receive_ns, sequence, line)
    elif isinstance(event, Disconnected) and not event.clean:
        engine.disconnect(line, receive_ns, sequence)


def apply_answer(engine: Engine, answer: Rest, *, receive_ns: int, sequence: int) -> bool:
    """Let a REST answer act on the feeds that live on such answers.

    Returns:
        Whether it holds everything that a gap of trades had lost; of imported trades, whether they were taken.
    """
    if isinstance(answer, FullBook):
        engine.restate(answer.topic, frames_of(answer), receive_ns, sequence)
    elif isinstance(answer, FetchedTrades):
        lost = read_fetched(answer, engine.category)
        taken = lost.frame is None or engine.backfill(lost.frame, receive_ns, sequence) == "ok"
        return taken and lost.reaches_back and lost.joins
    elif isinstance(answer, ImportedTrades):
        frame = read_imported(answer)
        return frame is not None and engine.backfill(frame, receive_ns, sequence, imported=True) == "ok"
    return False


def apply_note(engine: Engine, note: Note, *, receive_ns: int, sequence: int) -> None:
    """Let a note act on the feeds. Digests, beginnings and ends change nothing."""
    if isinstance(note, Feeds):
        for topic in note.topics:
            engine.add_feed(topic)
    elif isinstance(note, Ended):
        for topic in note.topics:
            engine.end_feed(topic, receive_ns, sequence)
    elif isinstance(note, Shared):
        engine.restore_shared(note)
    elif isinstance(note, FeedCheckpoint):
        engine.restore(note)
    elif isinstance(note, Stale):
        engine.stale(note.topic, note.cause, receive_ns, sequence)
    elif isinstance(note, Crashed):
        engine.restore(
            FeedCheckpoint(
                topic=note.topic,
                state=FeedState.STALE.value,
                line=0,
                update_id=note.update_id,
                gap=note.gap,
                trade_ids=note.trade_ids,
            )
        )
    elif isinstance(note, Widened) and note.source == "instruments":
        engine.widen(note.symbol, note.price_decimals, note.size_decimals, receive_ns, sequence)
