"""Who carries a feed over several lines, and what is remembered of them (docs/lines.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

from engine.reference.messages import Kind
from schemas.names import FeedState

__all__ = ["Carrier", "Carriers", "Copy", "FeedView", "Loss", "Said", "Verdict"]

SECOND_NS: Final = 10**9
WAIT_NS: Final = SECOND_NS
CARRIERS: Final = 8


class Verdict(Enum):
    """What becomes of a frame."""

    TAKE = auto()
    COPY = auto()
    """Another line has brought it, or will: nothing happens."""
    LATE = auto()
    """What was followed lacks it, and it can't be put where it belongs any more."""


class Loss(NamedTuple):
    """A gap that the lines show: its cause, and where it begins if not behind the feed's last good frame.

    While another one is open, it ends where that begins; it is none if that holds its beginning.
    """

    cause: str
    start: tuple[int, int | None] | None = None


class Said(NamedTuple):
    """What the merging needs to know of a frame."""

    payload: bytes
    is_snapshot: bool
    push_ms: int
    match_ms: int | None
    update_id: int | None
    cross_sequence: int | None
    receive_ns: int


class FeedView(NamedTuple):
    """What the merging needs to know of its feed, as it stands before the frame."""

    kind: Kind
    has_consecutive_ids: bool
    needs_snapshot: bool
    state: FeedState
    line: int
    update_id: int | None
    cross_sequence: int | None
    seen: frozenset[int] | set[int]
    good_ns: int | None
    """When its last good frame came."""
    gap_ns: int | None
    """From where on gaps have been told while the one that is open was: where that began, or ahead of it."""


@dataclass
class Carrier:
    """One line of a feed."""

    line: int
    since_ns: int
    up: bool = True
    met: bool = False
    position: int | None = None
    place: int = -1
    untold: int = 0
    said_ms: int = -1
    """Push time of its last frame."""
    missed_ms: int = -1
    """Push time of the newest frame that was followed, and was forgotten before this line brought it."""
    heard_ns: int = -1
    hurt_ns: int | None = None
    hurt_sequence: int = -1


@dataclass
class Copy:
    """A frame that is remembered, to know its copies."""

    payload: bytes
    push_ms: int
    match_ms: int | None
    receive_ns: int
    lines: set[int]
    taken: bool
    opening: bool
    exempt: bool
    again: bool = False


@dataclass
class Carriers:
    """The lines of one feed."""

    carriers: list[Carrier] = field(default_factory=list)
    elected: int = -1
    alike: int = 0
    unanswered: int = 0
    waiting_ns: int | None = None
    head_ms: int = -1
    chain_ms: int = -1
    forgotten: int = 0
    copies: list[Copy] = field(default_factory=list)
    opened: set[int] = field(default_factory=set)
    loss: Loss | None = None

    def find(self, line: int) -> Carrier | None:
        """Return the carrier of a line, up or not."""
        return next((carrier for carrier in self.carriers if carrier.line == line), None)

    def up(self) -> list[Carrier]:
        """Return those that carry the feed now."""
        return [carrier for carrier in self.carriers if carrier.up]

    def join(self, line: int, receive_ns: int) -> Carrier | None:
        """A line delivers, or is subscribed anew; None where there are too many."""
        carrier = Carrier(line, receive_ns)
        known = self.find(line)
        down = next((other for other in self.carriers if not other.up), None)
        if known is not None:
            self.carriers[self.carriers.index(known)] = carrier
        elif len(self.carriers) < CARRIERS:
            self.carriers.append(carrier)
        elif down is not None:
            self._forget(down.line)
            self.carriers[self.carriers.index(down)] = carrier
        else:
            return None
        self._forget(line)
        elected = self.find(self.elected)
        if elected is None or not elected.up or elected is carrier:
            self.elected = line
        return carrier

    def _forget(self, line: int) -> None:
        self.opened.discard(line)
        for copy in self.copies:
            copy.lines.discard(line)

    def leave(self, line: int) -> None:
        """The last line carries the feed no longer, on purpose."""
        for carrier in self.carriers:
            carrier.up = carrier.up and carrier.line != line

    def _wait(self, receive_ns: int) -> bool:
        if self.waiting_ns is None or receive_ns < self.waiting_ns:
            self.waiting_ns = receive_ns
        return receive_ns - self.waiting_ns <= WAIT_NS
