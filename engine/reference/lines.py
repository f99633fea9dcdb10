"""One feed over several lines, readable: which of their frames the feed follows (docs/lines.md).

Books with consecutive ids: whoever brings the next id is followed, and a line that is ahead waits for the others.
Trades: their ids say it. Level 1 and tickers: a copy has the same bytes; while the lines prove to carry the same bytes,
whoever is first is followed, else only the elected line is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, NamedTuple

from engine.reference.messages import Kind
from schemas.names import FeedState

__all__ = ["Carrier", "Copy", "FeedView", "Loss", "Merge", "Said", "Verdict"]

SECOND_NS: Final = 10**9
WAIT_NS: Final = SECOND_NS
OVERLAP_NS: Final = SECOND_NS // 2
HURT_NS: Final = 2 * SECOND_NS
SILENCE_NS: Final = 10 * SECOND_NS
UNANSWERED: Final = 3
CARRIERS: Final = 8
COPIES: Final = 128
ALIKE: Final = 8
MOST_ALIKE: Final = 32
INT64_MAXIMUM: Final = 2**63 - 1
MISS: Final = 4


class Verdict(Enum):
    """What becomes of a frame."""

    TAKE = auto()
    COPY = auto()
    """Another line has brought it, or will: nothing happens."""
    LATE = auto()
    """What was followed lacks it, and it can't be put where it belongs any more."""


class Loss(NamedTuple):
    """A gap that the lines show: its cause, and where it begins if not behind the feed's last good frame."""

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
    """Where the gap that is open began."""


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
class Merge:
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

    # Who carries the feed

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

    # What becomes of a frame

    def admit(self, feed: FeedView, line: int, said: Said) -> Verdict:
        """Decide; ``loss`` is a gap that is to be opened first."""
        self.loss = None
        carrier = self.find(line)
        if carrier is None or not carrier.up:
            carrier = self.join(line, said.receive_ns)
        if carrier is None:
            return Verdict.COPY
        verdict = Verdict.TAKE
        if feed.has_consecutive_ids:
            verdict = self._book(feed, carrier, said)
        elif feed.kind is not Kind.TRADES:
            verdict = self._copy(feed, carrier, said)
        carrier.heard_ns = said.receive_ns
        if feed.kind is not Kind.TRADES and verdict is not Verdict.COPY:
            self.waiting_ns = None
        return verdict

    def _wait(self, receive_ns: int) -> bool:
        if self.waiting_ns is None or receive_ns < self.waiting_ns:
            self.waiting_ns = receive_ns
        return receive_ns - self.waiting_ns <= WAIT_NS

    # Books with consecutive ids

    def _book(self, feed: FeedView, carrier: Carrier, said: Said) -> Verdict:
        u, last = said.update_id, feed.update_id
        assert u is not None
        if feed.state is not FeedState.LIVE or last is None:
            if said.is_snapshot and (u == 1 or (last is not None and u < last)):
                self._begin_chain(carrier)
            carrier.position = u
            return Verdict.TAKE
        newer = older = False
        if said.cross_sequence is not None and feed.cross_sequence is not None:
            newer = said.cross_sequence > feed.cross_sequence
            older = said.cross_sequence < feed.cross_sequence
        if said.is_snapshot:
            # A chain that has moved on has a newer sequence than its first snapshot: the same one begins another chain.
            same = u < last and said.cross_sequence is not None and said.cross_sequence == feed.cross_sequence
            begins = newer or (u == 1 and not older and (same or 1 not in feed.seen))
            return self._snapshot(feed, carrier, said.receive_ns, u, last, begins=begins, older=older)
        if u > last and older:
            return Verdict.COPY
        if u <= last and newer:
            carrier.position = INT64_MAXIMUM
            return self._wait_or_take(carrier, last, said.receive_ns)
        carrier.position = u if carrier.position is None else max(u, carrier.position)
        if u <= last:
            return Verdict.COPY
        return Verdict.TAKE if u == last + 1 else self._wait_or_take(carrier, last, said.receive_ns)

    def _snapshot(
        self,
        feed: FeedView,
        carrier: Carrier,
        receive_ns: int,
        u: int,
        last: int,
        *,
        begins: bool,
        older: bool,
    ) -> Verdict:
        leads = carrier.line == feed.line and carrier.position is not None
        restarts = u <= last and begins
        # One that skips what another line may still bring is ahead, whoever brings it.
        skips = u > last + 1 and self.may_be_brought(last + 1, carrier.line)
        if (leads and not skips) or restarts:
            if restarts or u < last:
                self._begin_chain(carrier)
            carrier.position = u
            return Verdict.TAKE
        if older and u > last and not leads:
            return Verdict.COPY
        carrier.position = u
        if u <= last:
            return Verdict.COPY
        verdict = self._wait_or_take(carrier, last, receive_ns)
        if verdict is Verdict.TAKE and u > last + 1:
            self.loss = Loss("lost")
        return verdict

    def _begin_chain(self, carrier: Carrier) -> None:
        for other in self.carriers:
            if other is not carrier:
                other.position = None

    def _wait_or_take(self, carrier: Carrier, last: int, receive_ns: int) -> Verdict:
        """Wait while a line that hasn't passed the feed's last id may still bring the next."""
        if self.may_be_brought(min(last + 1, INT64_MAXIMUM), carrier.line) and self._wait(receive_ns):
            return Verdict.COPY
        return Verdict.TAKE

    def may_be_brought(self, u: int, line: int) -> bool:
        """Whether a line other than this one may still bring an update id."""
        others = [other for other in self.up() if other.line != line]
        return any(other.position is None or other.position < u for other in others)

    # Feeds without ids

    def _copy(self, feed: FeedView, carrier: Carrier, said: Said) -> Verdict:
        live = feed.state is FeedState.LIVE
        # what answers a subscription is its line's own
        is_opening = carrier.line not in self.opened or (feed.needs_snapshot and said.is_snapshot)
        is_elected = carrier.line == self.elected
        place = carrier.place
        self.opened.add(carrier.line)
        if is_elected:
            self.unanswered = 0
        if feed.needs_snapshot and not live and said.is_snapshot:
            self.forgotten += len(self.copies)
            self.copies.clear()
            for other in self.carriers:
                other.met = other is carrier
            self.elected = carrier.line
            self.head_ms = self.chain_ms = said.push_ms
            self._remember(carrier, said, taken=True, opening=is_opening)
            return Verdict.TAKE
        is_alike = self.alike >= ALIKE and carrier.met
        same = [i for i, copy in enumerate(self.copies) if copy.payload == said.payload]
        fresh = [i for i in same if carrier.line not in self.copies[i].lines]
        # what it has brought before and nobody has followed comes first: from a slower line
        may_lead = is_elected or (is_alike and not self._has_pending(carrier))
        if fresh:
            copy = self.copies[fresh[0]]
            copy.lines.add(carrier.line)
            follows = may_lead and not copy.taken and (live or not feed.needs_snapshot)
            untold = carrier.untold
            skipped = self._skipped(carrier, fresh[0], is_alike) if copy.taken else []
            if skipped and live:
                self.loss = Loss("lost", self._start_at(self._before(min(one.push_ms for one in skipped))))
                self._settle(self._untold(carrier))
            lost = self._compare(carrier, fresh[0], said, is_taken=copy.taken or follows)
            if skipped and not live:  # what doesn't lie in this gap makes another one
                carrier.untold = untold
            if not follows:
                return Verdict.COPY
            is_late = self._is_passed(carrier, place, said.push_ms, live=live)
            if live and is_late:
                self.loss = Loss("lost", self._start_at(self._before(said.push_ms)))
            elif live and lost:
                # behind what was followed ahead of it, or what shows where this line stood, whichever is newer
                self.loss = Loss("lost", self._start_at(max(place, self._before(min(lost)))))
            copy.taken = True
            if is_late:
                return Verdict.LATE
            return self._take(feed, fresh[0])
        if feed.needs_snapshot and not live:
            self._remember(carrier, said, taken=False, opening=is_opening)
            return Verdict.TAKE
        if live and said.push_ms < self.chain_ms and self._wait(said.receive_ns):
            return Verdict.COPY
        if same and not (may_lead and said.push_ms >= self.head_ms):
            return Verdict.COPY
        if not may_lead:
            return self._unfollowed(feed, carrier, said, is_opening)
        if is_alike:
            is_late = self._is_passed(carrier, place, said.push_ms, live=live)
        else:
            is_late = live and carrier.met and self._is_behind(carrier, said.push_ms, carrier.since_ns)
        if is_late:
            self.loss = Loss("lost", self._start_at(self._before(said.push_ms))) if live else None
            self._remember(carrier, said, taken=True, opening=is_opening)
            return Verdict.LATE
        if live and self._is_behind(carrier, said.push_ms, -1) and self._wait(said.receive_ns):
            return Verdict.COPY  # the line before it has brought that, in its own words
        if is_elected and not carrier.met:  # what was before says nothing of it
            carrier.met, carrier.place = True, self.forgotten + len(self.copies)
        if feed.line != carrier.line or said.push_ms > self.head_ms or not live:
            self.head_ms = said.push_ms
        self._remember(carrier, said, taken=True, opening=is_opening, again=bool(same))
        return self._take(feed, len(self.copies) - 1)

    def _take(self, feed: FeedView, found: int) -> Verdict:
        """The feed follows a frame; a gap that is open ends with it, and holds what came in its time, ahead of it."""
        taken = self.copies[found]
        self.head_ms = max(self.head_ms, taken.push_ms)
        gap_ns = feed.gap_ns if feed.state is not FeedState.LIVE else None
        if self.loss is not None:
            gap_ns = self.loss.start[0] if self.loss.start is not None else feed.good_ns
        for copy in self.copies[:found]:
            if gap_ns is not None and copy.receive_ns >= gap_ns and copy.push_ms <= taken.push_ms:
                copy.exempt = copy.exempt or not copy.taken
        return Verdict.TAKE

    def _is_behind(self, carrier: Carrier, push_ms: int, since_ns: int) -> bool:
        """Whether what was followed from this moment on is newer than a frame of this time, and others brought it."""
        return push_ms < self.head_ms and any(
            copy.taken
            and copy.push_ms > push_ms
            and copy.receive_ns > since_ns
            and carrier.line not in copy.lines
            for copy in self.copies
        )

    def _is_passed(self, carrier: Carrier, place: int, push_ms: int, *, live: bool) -> bool:
        """Whether something was followed that comes behind a frame of this time which it brings only now.

        At the same time it is what this line hasn't brought: of the two nobody can tell which is the older one.
        In a gap too: unless the exchange's clock was set back, which this line shows then.
        """
        if push_ms > self.head_ms:
            return False
        if live and push_ms < self.head_ms:
            return True
        return any(
            copy.taken
            and copy.push_ms >= push_ms
            and copy.receive_ns > carrier.since_ns
            and carrier.line not in copy.lines
            for copy in self.copies[max(0, place + 1 - self.forgotten) :]
        )

    def _unfollowed(self, feed: FeedView, carrier: Carrier, said: Said, is_opening: bool) -> Verdict:
        """A frame of a line that is not followed is remembered; unless the elected one has fallen silent."""
        elected = self.find(self.elected)
        assert elected is not None
        self.unanswered += 1
        silence_ns = said.receive_ns - max(elected.heard_ns, elected.since_ns)
        if self.unanswered < UNANSWERED or silence_ns <= SILENCE_NS:
            self._remember(carrier, said, taken=False, opening=is_opening)
            return Verdict.COPY
        self._remember(carrier, said, taken=not feed.needs_snapshot, opening=is_opening)
        if feed.state is FeedState.LIVE:
            self.loss = Loss("silence")
        self.elected = carrier.line
        self.unanswered = 0
        self.head_ms = said.push_ms
        return self._take(feed, len(self.copies) - 1)

    def _remember(
        self, carrier: Carrier, said: Said, *, taken: bool, opening: bool, again: bool = False
    ) -> None:
        self.copies.append(
            Copy(
                said.payload,
                said.push_ms,
                said.match_ms,
                said.receive_ns,
                {carrier.line},
                taken,
                opening,
                not carrier.met,
                again,
            )
        )
        if len(self.copies) > COPIES:
            del self.copies[0]
            self.forgotten += 1

    def _compare(self, carrier: Carrier, found: int, said: Said, *, is_taken: bool) -> list[int]:
        """Learn from a copy whether the lines are alike; return when what only others brought was pushed."""
        missed, own = 0, False
        lost: list[int] = []
        if carrier.met:
            for copy in self.copies[max(0, carrier.place + 1 - self.forgotten) : found]:
                own = own or copy.lines == {carrier.line}
                if copy.push_ms > said.push_ms or copy.receive_ns <= carrier.since_ns:
                    continue  # of a line that is further ahead, or from before this one was subscribed
                if not copy.exempt and carrier.line not in copy.lines:
                    missed += 1
                    if not copy.taken:
                        lost.append(copy.push_ms)
        self.alike = max(0, min(MOST_ALIKE, self.alike + 1 - MISS * missed))
        for one in self.up():  # it has met those who were before it, and they it, in what is followed
            if one.line in self.copies[found].lines:
                if one is carrier or not one.met:
                    one.place = max(one.place, self.forgotten + found)
                if not is_taken:
                    continue
                # what it brought behind this one, before the others came so far, counts from now on
                behind = len(self.copies) if one is carrier else found + 1
                for copy in self.copies[behind:] if not one.met else []:
                    counts = one.line in copy.lines and not copy.opening  # that is a line's own
                    copy.exempt = copy.exempt and not counts
                one.untold = max(one.untold, self.forgotten + behind)
                one.met = True
        return [] if own else lost

    def _untold(self, carrier: Carrier) -> list[Copy]:
        """What a line has brought behind all by which it was compared, and nobody has followed."""
        if not carrier.met:
            return []
        return [
            copy
            for copy in self.copies[max(0, carrier.untold - self.forgotten) :]
            if carrier.line in copy.lines and not (copy.taken or copy.opening or copy.exempt)
        ]

    def _skipped(self, carrier: Carrier, found: int, is_alike: bool) -> list[Copy]:
        """A line brings what was followed already: what it brought before that, and the line that was followed did not.

        That it lacks others' frames as well says that each line has words of its own, unless they proved to be alike.
        """
        push_ms = self.copies[found].push_ms
        untold = [copy for copy in self._untold(carrier) if copy.push_ms <= push_ms]
        lacks = any(
            copy.taken
            and carrier.line not in copy.lines
            and not copy.opening
            and not copy.again
            and copy.push_ms <= push_ms
            and copy.receive_ns > carrier.since_ns
            for copy in self.copies[max(0, carrier.place + 1 - self.forgotten) : found]
        )
        return untold if is_alike or not lacks else []

    def _settle(self, copies: list[Copy]) -> None:
        """What nobody followed of these lies in a gap, or is told by one."""
        for copy in copies:
            copy.exempt = copy.exempt or not copy.taken

    def _start_at(self, place: int) -> tuple[int, int | None] | None:
        if place < 0 or place < self.forgotten:
            return None
        copy = self.copies[place - self.forgotten]
        return copy.receive_ns, copy.match_ms

    def _before(self, push_ms: int) -> int:
        """The ordinal of the newest frame that was followed and is older than this time, or -1."""
        for i, copy in reversed(list(enumerate(self.copies))):
            if copy.taken and copy.push_ms < push_ms:
                return self.forgotten + i
        return -1

    # What befalls the lines

    def drop(self, feed: FeedView, line: int, receive_ns: int) -> tuple[bool, int] | None:
        """A line is gone. Returns whether the feed goes on without a gap, and the line that leads it then.

        ``loss`` is where the gap begins, if not behind the last good frame.
        """
        self.loss = None
        lost = self.find(line)
        if lost is None or not lost.up:
            return None
        lost.up = lost.met = False
        lost.position = None
        up = self.up()
        if not up:
            return False, feed.line
        led = self.elected == line
        if led or feed.has_consecutive_ids or feed.kind is Kind.TRADES:
            able = [carrier for carrier in up if self._can_succeed(feed, carrier, receive_ns)]
            able.sort(key=lambda carrier: not carrier.met)
            goes_on, following = bool(able), (able or up)[0].line
            if not able and feed.state is FeedState.LIVE and not feed.has_consecutive_ids:
                untold = [copy for carrier in up for copy in self._untold(carrier)]
                oldest_ms = min((copy.push_ms for copy in untold), default=self.head_ms + 1)
                if oldest_ms <= self.head_ms:
                    self.loss = Loss("disconnect", self._start_at(self._before(oldest_ms)))
                self._settle(untold)
        else:
            goes_on, following = True, self.elected
        if led:
            self.elected = following
            self.unanswered = 0
        return goes_on, following if feed.line == line else feed.line

    def _can_succeed(self, feed: FeedView, carrier: Carrier, receive_ns: int) -> bool:
        if feed.has_consecutive_ids:
            return (
                carrier.position is not None
                and feed.update_id is not None
                and carrier.position <= feed.update_id
            )
        if self._has_pending(carrier) or self._untold(carrier):
            return False
        return receive_ns - carrier.since_ns >= OVERLAP_NS

    def _has_pending(self, carrier: Carrier) -> bool:
        """Whether it has brought what nobody has followed, and what comes behind all that was."""
        from_ms = (
            self.head_ms if self.alike > 0 else self.head_ms + 1
        )  # if the lines say the same, it is another
        is_newest = True  # nothing was followed since
        for i, copy in reversed(list(enumerate(self.copies))):
            if copy.taken:
                is_newest = False
            elif carrier.line in copy.lines and not copy.opening and (is_newest or copy.push_ms >= from_ms):
                was_compared = self.forgotten + i < carrier.untold and copy.push_ms <= self.head_ms
                if not was_compared:
                    return True
        return False

    def is_covered(self, feed: FeedView, line: int, receive_ns: int, sequence: int) -> bool:
        """A damaged frame of a line may have been of this feed: whether another can be trusted to bring it."""
        hurt = self.find(line)
        if hurt is None or not hurt.up:
            return feed.state is FeedState.LIVE
        others = [other for other in self.up() if other is not hurt]
        if feed.state is not FeedState.LIVE:
            others = []
        if feed.has_consecutive_ids:
            last = feed.update_id if feed.update_id is not None else -1
            covered = any(other.position is None or other.position <= last for other in others)
        else:
            covered = any(
                receive_ns - other.since_ns >= OVERLAP_NS
                and (other.hurt_ns is None or receive_ns - other.hurt_ns > HURT_NS)
                for other in others
            )
        hurt.hurt_ns, hurt.hurt_sequence = receive_ns, sequence
        return covered

    def was_hurt(self, sequence: int) -> bool:
        """Whether a frame was damaged since the one of this sequence."""
        return any(carrier.hurt_sequence > sequence for carrier in self.carriers)
