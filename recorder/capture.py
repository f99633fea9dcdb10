"""Capture: stamp, append, apply. Every frame goes into the journal first and into the engine second, in one step.

What the engine then has to say (digests, widened exponents) and what happens around the frames (acknowledgements,
disconnects, silence) becomes records too, in the same order, so that a replay of the journal walks through exactly the
states that the live engine walked through.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable

from engine.core.delays import Delays
from engine.core.drive import Driver
from engine.core.feeds import CONTROL, Engine
from engine.events import Event, EventKind
from engine.instruments import InstrumentLog
from engine.recorded import apply_answer, apply_note, apply_session, checkpoints
from recorder.journal import JournalWriter
from schemas.names import FeedState, RecordKind
from schemas.notes import (
    Begin,
    Control,
    Crashed,
    Digest,
    Disconnected,
    End,
    Ended,
    Feeds,
    FetchedTrades,
    FullBook,
    ImportedTrades,
    Note,
    Rest,
    RestAnswer,
    Session,
    Stale,
    Widened,
    encode,
)

__all__ = ["CONTROL", "Capture", "is_answer"]

OnEvent = Callable[[Event], None]


class Capture:
    """The one place where records are made, for all lines of a collector.

    Args:
        engine: live, without columns.
        journal: open, and empty so far.
        run: start_ns of the recording run.
        on_event: told of gaps and undecodable frames, after they are recorded.
        clock: wall clock in nanoseconds.

    Attributes:
        watchers: by feed, who is shown each of its frames once the engine has taken it.
        on_session: told of session events, after they are recorded.
    """

    def __init__(
        self,
        engine: Engine,
        journal: JournalWriter,
        *,
        run: int,
        on_event: OnEvent,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.engine = engine
        self.journal = journal
        self.run = run
        self.frames = 0
        self.frame_bytes = 0
        self.feed_bytes: list[int] = []
        self.topics: list[str] = []
        self.gaps: Counter[str] = Counter()
        self.instruments = InstrumentLog()
        self.applied = Delays()
        self.watchers: dict[int, Callable[[bytes], None]] = {}
        self.on_session: Callable[[int, Session], None] = lambda _line, _event: None
        self._on_event = on_event
        self._clock = clock
        self._driver: Driver | None = None
        self._apply = engine.apply

    def drive(self, driver: Driver) -> None:
        """Have frames taken by a driver of the engine from here on, so that its strategy hears of everything."""
        self._driver = driver
        self._apply = driver.apply

    def begin(self, topics: list[str], crashed: Iterable[Crashed]) -> None:
        """The first records of a run: what is ours, and what the run before this one left open."""
        self.note(Begin(run=self.run, continued=False))
        self.note(Feeds(topics=topics))
        self.note(self.instruments.checkpoint())
        crashed = list(crashed)
        for note in crashed:
            self.note(note)
            self.gaps[note.topic] += 1
        # What isn't asked for any more, because it was delisted meanwhile, say, ends here: nothing would ever heal it.
        self.end_feeds(note.topic for note in crashed if note.topic not in set(topics))
        self.topics = self.engine.topics()
        self.feed_bytes = [0] * len(self.topics)

    def add_feeds(self, topics: Iterable[str]) -> None:
        """More topics are ours from here on; those that were before are left alone."""
        fresh = [topic for topic in topics if not self._has(topic)]
        if fresh:
            self.note(Feeds(topics=fresh))
            self.topics = self.engine.topics()
            self.feed_bytes += [0] * (len(self.topics) - len(self.feed_bytes))

    def end_feeds(self, topics: Iterable[str]) -> None:
        """These topics are ours no longer; their coverage ends now."""
        ended = [topic for topic in topics if self._has(topic)]
        if ended:
            self.note(Ended(topics=ended))

    def _has(self, topic: str) -> bool:
        feed = self.engine.feed_index(topic)
        return feed >= 0 and not self.engine.ended(feed)

    def frame_list(self, line: int, frames: list[bytes], receive_ns: int) -> list[int]:
        """Record frames of one line; returns what each was to the engine (a feed, or a negative result)."""
        append, apply, engine = self.journal.append, self._apply, self.engine
        feed_bytes, watchers = self.feed_bytes, self.watchers
        results = []
        for frame in frames:
            result = apply(frame, receive_ns, append(receive_ns, line, 0, frame), line)
            results.append(result)
            if result >= 0:
                feed_bytes[result] += len(frame)
                if result in watchers:
                    watchers[result](frame)
            self.frame_bytes += len(frame)
            if engine.pending:
                self._drain(receive_ns)
        self.frames += len(frames)
        self.applied.add(self._clock() - receive_ns, len(frames))
        return results

    def control(self, line: int, text: str, receive_ns: int) -> None:
        """Record an answer to a request of ours, as received."""
        self.journal.append(receive_ns, line, RecordKind.SESSION, encode(Control(text=text)))

    def session(self, line: int, event: Session) -> None:
        """Record a session event and let it act on the feeds."""
        receive_ns = self._clock()
        sequence = self.journal.append(receive_ns, line, RecordKind.SESSION, encode(event))
        apply_session(self.engine, event, receive_ns=receive_ns, sequence=sequence, line=line)
        self._acted(receive_ns, sequence)
        self.on_session(line, event)

    def note(self, note: Note) -> None:
        """Record a note and let it act on the feeds."""
        receive_ns = self._clock()
        sequence = self.journal.append(receive_ns, 0, RecordKind.NOTE, encode(note))
        self.instruments.note(note, receive_ns, sequence)
        apply_note(self.engine, note, receive_ns=receive_ns, sequence=sequence)
        self._acted(receive_ns, sequence)

    def rest(self, path: str, body: bytes) -> None:
        """Record a REST answer that is about to be used, and let it act on the feeds."""
        self._answer(RestAnswer(path=path, body=body.decode("utf-8", "replace")))

    def full_book(self, topic: str, path: str, body: bytes, deltas: list[bytes]) -> None:
        """Record the full book that a REST answer gave and the deltas behind it, and begin the feed anew with them."""
        text = body.decode("utf-8", "replace")
        self._answer(FullBook(topic=topic, path=path, body=text, deltas=[delta.decode() for delta in deltas]))

    def fetched_trades(self, fetched: FetchedTrades) -> bool:
        """Record trades that were fetched back, and take those that the stream has not brought.

        Returns:
            Whether nothing is missing any more.
        """
        return self._answer(fetched)

    def imported_trades(self, trades: ImportedTrades) -> bool:
        """Record trades out of a history file, and take them. Returns whether they could be taken."""
        return self._answer(trades)

    def _answer(self, answer: Rest) -> bool:
        receive_ns = self._clock()
        sequence = self.journal.append(receive_ns, 0, RecordKind.REST, encode(answer))
        if isinstance(answer, RestAnswer):
            self.instruments.answer(answer, receive_ns, sequence)
        whole = apply_answer(self.engine, answer, receive_ns=receive_ns, sequence=sequence)
        self._acted(receive_ns, sequence)
        return whole

    def announce(self, symbol: str, price_decimals: int, size_decimals: int) -> None:
        """Record and apply the decimals that instruments-info announces."""
        self.note(
            Widened(
                symbol=symbol,
                price_decimals=price_decimals,
                size_decimals=size_decimals,
                source="instruments",
            )
        )

    def stale(self, topic: str, cause: str) -> None:
        """Declare a feed stale for a reason that no frame shows."""
        if self.engine.state(self.engine.feed_index(topic)) is FeedState.LIVE:
            self.note(Stale(topic=topic, cause=cause))

    def rotate(self) -> None:
        """Close the segment and begin the next with everything it needs to stand alone."""
        now_ns = self._clock()
        self.journal.append(now_ns, 0, RecordKind.NOTE, encode(End(reason="rotated")))
        notes = checkpoints(self.engine, self.instruments, self.run)
        self.journal.rotate(now_ns, [(now_ns, 0, int(RecordKind.NOTE), encode(note)) for note in notes])

    def finish(self, lines: Iterable[int]) -> None:
        """The last records of a run that ends on purpose: no gap, only an end."""
        for line in lines:
            self.session(line, Disconnected(reason="the recording ends", clean=True))
        self.note(End(reason="stopped"))

    def _acted(self, receive_ns: int, sequence: int) -> None:
        """Something else than a frame has acted on the engine."""
        if self._driver is not None:
            self._driver.acted(receive_ns, sequence)
        self._drain(receive_ns)

    def _drain(self, receive_ns: int) -> None:
        if not self.engine.pending:
            return
        for event in self.engine.take_events():
            if event.kind is EventKind.DIGEST:
                assert event.update_id is not None
                note: Note = Digest(
                    topic=event.topic, update_id=event.update_id, digest=f"{event.digest:016x}"
                )
                self.journal.append(receive_ns, event.line, RecordKind.NOTE, encode(note))
            elif event.kind is EventKind.WIDENED:
                note = Widened(
                    symbol=event.symbol,
                    price_decimals=event.price_decimals,
                    size_decimals=event.size_decimals,
                    source="frame",
                )
                self.journal.append(receive_ns, event.line, RecordKind.NOTE, encode(note))
            else:
                if event.kind is EventKind.GAP_OPENED:
                    self.gaps[event.topic] += 1
                self._on_event(event)


def is_answer(frame: bytes) -> bool:
    """Whether a frame can only be an answer to us: no topic, and a key that answers have (protocol 2.1, 2.3)."""
    return b'"topic"' not in frame and (
        b'"op"' in frame or b'"success"' in frame or b'"COMMAND_RESP"' in frame or b'"retCode"' in frame
    )
