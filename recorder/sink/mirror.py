"""The other end: an engine on another machine that follows a collector's messages, with its books and a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from engine.core.drive import Driver, Strategy
from engine.core.feeds import Engine
from engine.recorded import apply_answer, apply_note, apply_session
from recorder.sink.messages import LINE, OMITTED, RECEIVE_NS, SEGMENT, SEQUENCE
from schemas import notes
from schemas.names import Category, FeedState, GapCause

__all__ = ["Mirror"]

_MAKE_ANEW: Final = (notes.Begin, notes.Shared, notes.FeedCheckpoint)
"""What a segment begins with for those who begin with it."""
_AT_FIRST: Final = (*_MAKE_ANEW, notes.Feeds, notes.Instruments, notes.Crashed)


class Mirror:
    """Takes a collector's messages, in order, and goes through the states that the collector's engine went through.

    It begins with the first ``segment`` message, which has everything behind it that is needed. Messages that come
    twice are taken once. Where one is missing, books are stale at once, and it begins anew with the next segment.

    Args:
        strategy: told of everything, as live; ``begin`` again whenever it begins anew.
        prefix: of the subjects.

    Attributes:
        engine: with the books; None before the first segment. Another one where it begins anew.
        sequence: of the last record.
        lost: how often messages were missing.
    """

    def __init__(self, strategy: Strategy | None = None, *, prefix: str = "tapebook") -> None:
        self.engine: Engine | None = None
        self.sequence = -1
        self.lost = 0
        self._strategy = strategy or Strategy()
        self._driver: Driver | None = None
        self._prefix = f"{prefix}."
        self._run = -1
        self._start_ns = -1  # of the newest segment
        self._follows = False
        self._fresh = False

    def take(self, subject: str, data: bytes, headers: Mapping[str, str] | None) -> None:
        """Take a message; those that are no records of the journal are nothing to it.

        Args:
            subject, data, headers: as received.

        Raises:
            ValueError: it is none of tapebook's.
        """
        place = subject.removeprefix(self._prefix)
        if place == subject or "." not in place:
            raise ValueError(
                f"found subject {subject}, expected {self._prefix}COLLECTOR.frame.… and the like"
            )
        kind = place.split(".", 2)[1]
        if kind in ("state", "gap", "top"):
            return
        if headers is None or SEQUENCE not in headers:
            raise ValueError(f"{subject}: found no {SEQUENCE}, expected a message of `tapebook nats`")
        sequence = int(headers[SEQUENCE])
        if kind == "segment":
            self._segment(data, sequence)
            return
        if not self._follows:
            return
        if sequence <= self.sequence:
            if kind == "break" and self._withdraws(data, headers):
                self._lose(sequence)
            return
        if kind == "break" or sequence != self.sequence + 1 or OMITTED in headers:
            self._lose(sequence)
            return
        self.sequence = sequence
        self._record(kind, data, int(headers[RECEIVE_NS]), sequence, int(headers[LINE]))

    def _segment(self, data: bytes, sequence: int) -> None:
        """One begins with this record; for who has followed the run so far it is only the next one."""
        info = msgspec.json.decode(data)
        self._fresh = False
        if self._follows and info["start_ns"] <= self._start_ns:
            return
        self._start_ns = info["start_ns"]
        if self._follows and sequence == self.sequence + 1 and info["run_start_ns"] == self._run:
            return
        if self._follows and sequence != self.sequence + 1:
            self.lost += 1
        self._disbelieve(sequence)
        self.engine, self._driver = Engine(Category(info["category"])), None
        self._follows = self._fresh = True
        self._run = info["run_start_ns"]
        self.sequence = sequence - 1

    def _withdraws(self, data: bytes, headers: Mapping[str, str]) -> bool:
        """Whether a break takes back what was taken: its numbers come again, for other records."""
        said = msgspec.json.decode(data)
        return said.get("kind") == "withdrawn" and int(headers[SEGMENT]) >= self._start_ns

    def _lose(self, sequence: int) -> None:
        self.lost += 1
        self._follows = False
        self._disbelieve(sequence)

    def _disbelieve(self, sequence: int) -> None:
        """Whoever holds a book of the engine must not take it for live."""
        if self.engine is None:
            return
        driver = self._driving(self.engine)
        for feed, topic in enumerate(self.engine.topics()):
            if self.engine.state(feed) is FeedState.LIVE:
                receive_ns = self.engine.last_receive_ns(feed) or 0
                driver.stale(topic, GapCause.LOST.value, receive_ns, sequence)

    def _driving(self, engine: Engine) -> Driver:
        """The strategy begins once the engine has what the segment began with."""
        if self._driver is None:
            self._driver = Driver(engine, self._strategy)
        return self._driver

    def _record(self, kind: str, data: bytes, receive_ns: int, sequence: int, line: int) -> None:
        engine = self.engine
        assert engine is not None
        if kind == "frame":
            self._driving(engine).apply(data, receive_ns, sequence, line)
        elif kind == "note":
            note = notes.decode_note(data)
            if isinstance(note, _MAKE_ANEW) and not self._fresh:
                return  # the collector's own engine had it all, and so has this one
            if self._driver is not None or not isinstance(note, _AT_FIRST):
                self._driving(engine)
            apply_note(engine, note, receive_ns=receive_ns, sequence=sequence)
            if self._driver is not None:
                self._driver.acted(receive_ns, sequence)
        elif kind == "session":
            driver = self._driving(engine)
            apply_session(
                engine, notes.decode_session(data), receive_ns=receive_ns, sequence=sequence, line=line
            )
            driver.acted(receive_ns, sequence)
        elif kind == "rest":
            driver = self._driving(engine)
            apply_answer(engine, notes.decode_rest(data), receive_ns=receive_ns, sequence=sequence)
            driver.acted(receive_ns, sequence)
        engine.take_events()
