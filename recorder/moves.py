"""Planned moves: topics change their connection while it runs, and none of their frames is missed.

A topic is subscribed on its new connection first. Once it delivers there it is unsubscribed on the old one; until then
both carry it, and the engine takes each frame once (`docs/lines.md`). What doesn't come through on the new connection
stays where it was. One move at a time, and a new connection only while the budget is ample: those that were lost need
it more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from engine.bybit.spread import LineLoad, Move, Spreader
from engine.timing import Timing
from recorder.line import AMPLE_CONNECTS, Line
from recorder.lines import LineSet
from recorder.network import Spending

__all__ = ["Mover"]

log = logging.getLogger("tapebook")


@dataclass(slots=True)
class _Moving:
    move: Move
    source: Line
    target: Line
    since_ns: int
    waiting: dict[str, int | None]
    """Topics that are on both, and since when the new one is known to carry them."""
    failed: int = 0


class Mover:
    """Watches the rates of a line set's topics, and moves topics where that is worth it.

    Args:
        lines: whose topics are watched and moved.
        spreader: the policy.
        budget: of new connections.
        timing: how often to look, and how patient a move is.

    Attributes:
        moves: that were begun.
        topics_moved: that changed their connection.
    """

    def __init__(
        self, lines: LineSet, spreader: Spreader, *, budget: Spending, timing: Timing | None = None
    ) -> None:
        self._lines = lines
        self._spreader = spreader
        self._budget = budget
        self._timing = timing or Timing()
        self._moving: _Moving | None = None
        self._looked_ns: int | None = None
        self.moves = 0
        self.topics_moved = 0

    def __repr__(self) -> str:
        return (
            f"<Mover moves={self.moves} topics_moved={self.topics_moved} moving={self._moving is not None}>"
        )

    def tick(self, now_ns: int) -> None:
        """Go on with the move under way, or look whether one is due; a few times a second (monotonic)."""
        if self._moving is not None:
            self._go_on(self._moving, now_ns)
        elif self._looked_ns is None or now_ns - self._looked_ns >= self._timing.look_ns:
            self._looked_ns = now_ns
            move = self._spreader.propose(
                self._loads(), now_ns, may_open=self._budget.left(now_ns) > AMPLE_CONNECTS
            )
            if move is not None:
                self._begin(move, now_ns)

    def _loads(self) -> list[LineLoad]:
        loads = []
        for line in self._lines:
            if not self._lines.is_to_category(line):
                continue
            topics = [topic for topic in line.topics if topic not in line.refused]
            if line.connected and line.acknowledged and topics:
                rates = {topic: self._lines.weight(topic) for topic in topics}
                loads.append(LineLoad(line.slot, line.copy, rates))
        return loads

    def _begin(self, move: Move, now_ns: int) -> None:
        source = self._lines.line(move.source)
        target = self._lines.open(source.copy) if move.target is None else self._lines.line(move.target)
        log.info(
            "%d topics move from line %d to %s line %d: %s",
            len(move.topics), source.slot, "the new" if move.target is None else "the", target.slot, move.why,
        )  # fmt: skip
        self.moves += 1
        self._moving = _Moving(move, source, target, now_ns, dict.fromkeys(move.topics))
        self._lines.give(target, list(move.topics))

    def _go_on(self, moving: _Moving, now_ns: int) -> None:
        source, target = moving.source, moving.target
        arrived, refused = [], []
        for topic in list(moving.waiting):
            if topic not in source.topics or topic not in target.topics:  # it is no longer recorded
                del moving.waiting[topic]
            elif topic in target.refused:
                refused.append(topic)
            elif self._has_come_through(moving, topic, now_ns):
                arrived.append(topic)
        self._settle(moving, arrived, refused)
        if moving.waiting and now_ns - moving.since_ns >= self._timing.move_ns:
            self._settle(moving, [], list(moving.waiting))
        if not moving.waiting:
            self._end(moving, now_ns)

    def _has_come_through(self, moving: _Moving, topic: str, now_ns: int) -> bool:
        """Whether the new line carries a topic for so long that the old one isn't needed any more.

        Frames that overtake each other, and what has no number that must follow another, are sorted out
        while both carry it. What comes only now and then need not come for the move's sake.
        """
        target = moving.target
        delivers = target.delivers(topic)
        if not (delivers or (target.is_subscribed(topic) and not target.begins_with_a_frame(topic))):
            moving.waiting[topic] = None
            return False
        since_ns = moving.waiting[topic]
        if since_ns is None:
            since_ns = moving.waiting[topic] = now_ns
        return now_ns - since_ns >= (self._timing.overlap_ns if delivers else self._timing.quiet_move_ns)

    def _settle(self, moving: _Moving, arrived: list[str], failed: list[str]) -> None:
        if arrived:
            self._lines.take(moving.source, arrived)
        if failed:
            self._lines.take(moving.target, failed)
        self.topics_moved += len(arrived)
        moving.failed += len(failed)
        for topic in (*arrived, *failed):
            del moving.waiting[topic]

    def _end(self, moving: _Moving, now_ns: int) -> None:
        self._moving = None
        self._spreader.moved(now_ns)
        if moving.failed:
            log.warning(
                "%d of %d topics stay on line %d: they didn't come through on line %d",
                moving.failed, len(moving.move.topics), moving.source.slot, moving.target.slot,
            )  # fmt: skip
