"""One feed over several lines, readable: which of their frames the feed follows (docs/lines.md).

Books with consecutive ids: whoever brings the next id is followed, and a line that is ahead waits for the others.
Trades: their ids say it. Level 1 and tickers: a copy has the same bytes; while the lines prove to carry the same bytes,
whoever is first is followed, else only the elected line is.
"""

from __future__ import annotations

from typing import Final

from engine.reference.carriers import SECOND_NS, Carrier, FeedView, Loss, Said, Verdict
from engine.reference.copies import Copies
from engine.reference.messages import Kind
from schemas.names import FeedState

__all__ = ["Merge"]

OVERLAP_NS: Final = SECOND_NS // 2
HURT_NS: Final = 2 * SECOND_NS
INT64_MAXIMUM: Final = 2**63 - 1


class Merge(Copies):
    """The lines of one feed."""

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
