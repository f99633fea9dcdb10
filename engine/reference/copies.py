"""Feeds without ids over several lines, readable: a copy is known by its bytes (docs/lines.md).

While the lines prove to carry the same bytes, whoever is first is followed, else only the elected line is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from engine.reference.carriers import (
    SECOND_NS,
    WAIT_NS,
    Carrier,
    Carriers,
    Copy,
    FeedView,
    Loss,
    Said,
    Verdict,
)
from schemas.names import FeedState

__all__ = ["Copies"]

SILENCE_NS: Final = 10 * SECOND_NS
UNANSWERED: Final = 3
COPIES: Final = 128
ALIKE: Final = 8
MOST_ALIKE: Final = 32
MISS: Final = 4


class Copies(Carriers):
    """The lines of a feed whose frames have no ids, and the last frames that they brought."""

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
            # what a line has brought that is newer another one may bring yet: if none does, that line can't take over
            newer = [
                copy
                for copy in self.copies
                if not copy.taken and not copy.opening and copy.push_ms > said.push_ms
            ]
            self.forgotten += len(self.copies)
            self.copies = [replace(copy, exempt=True) for copy in newer]
            for other in self.carriers:
                other.met = other is carrier
            self.elected = carrier.line
            self.head_ms = self.chain_ms = said.push_ms
            self._remember(carrier, said, taken=True, opening=is_opening)
            return Verdict.TAKE
        is_alike = self.alike >= ALIKE and carrier.met
        is_far_behind = self._is_far_behind(carrier, said.push_ms)
        same = [i for i, copy in enumerate(self.copies) if copy.payload == said.payload]
        fresh = [i for i in same if carrier.line not in self.copies[i].lines]
        # what it has brought before and nobody has followed comes first: from a slower line
        may_lead = is_elected or (is_alike and not self._has_pending(carrier))
        if fresh:
            copy = self.copies[fresh[0]]
            copy.lines.add(carrier.line)
            follows = may_lead and not copy.taken and (live or not feed.needs_snapshot)
            skipped = self._skipped(carrier, fresh[0], is_alike) if copy.taken else []
            if skipped:
                self.loss = Loss("lost", self._start_at(self._before(min(one.push_ms for one in skipped))))
                self._settle(self._untold(carrier))
            lost = self._compare(carrier, fresh[0], said, is_taken=copy.taken or follows)
            if not follows:
                return Verdict.COPY
            is_late = self._is_passed(carrier, place, said.push_ms, live=live)
            if is_late:
                self.loss = Loss("lost", self._start_at(self._before(said.push_ms)))
            elif lost:
                # behind what was followed ahead of it, or what shows where this line stood, whichever is newer
                self.loss = Loss("lost", self._start_at(max(place, self._before(min(lost)))))
            copy.taken = True
            if is_late:
                return Verdict.LATE
            return self._take(feed, fresh[0])
        if is_alike and is_far_behind:
            return Verdict.COPY
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
            self.loss = Loss("lost", self._start_at(self._before(said.push_ms)))
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
        if self.loss is not None and self.loss.start is not None:
            gap_ns = self.loss.start[0] if gap_ns is None else min(gap_ns, self.loss.start[0])
        elif self.loss is not None and gap_ns is None:
            gap_ns = feed.good_ns
        for copy in self.copies[:found]:
            if gap_ns is not None and copy.receive_ns >= gap_ns and copy.push_ms <= taken.push_ms:
                copy.exempt = copy.exempt or not copy.taken
        return Verdict.TAKE

    @staticmethod
    def _is_far_behind(carrier: Carrier, push_ms: int) -> bool:
        """Whether a line is so far behind that what it brings may have been followed and forgotten.

        A line that brings older frames than before is not behind: the exchange's clock was set back.
        """
        if push_ms < carrier.said_ms:
            carrier.missed_ms = -1
        carrier.said_ms = push_ms
        return push_ms <= carrier.missed_ms

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
        # in a gap there is nothing to lose, unless it is older than what was followed
        is_patient = feed.state is FeedState.LIVE or said.push_ms <= self.head_ms
        patience_ns = SILENCE_NS if is_patient else WAIT_NS
        if self.unanswered < UNANSWERED or silence_ns <= patience_ns:
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
            oldest = self.copies.pop(0)
            self.forgotten += 1
            for one in self.carriers:
                if oldest.taken and one.line not in oldest.lines and oldest.receive_ns > one.since_ns:
                    one.missed_ms = max(one.missed_ms, oldest.push_ms)

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
