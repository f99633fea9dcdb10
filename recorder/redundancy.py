"""What lines save, and lines that carry less than they should (docs/lines.md)."""

from __future__ import annotations

from typing import Final

from engine.core.feeds import Engine
from recorder.lines import LineSet
from schemas.names import FeedState

__all__ = ["Laggards", "line_shares"]

COUNTS: Final = ("taken", "repeats", "ahead", "saved")
LOOK_NS: Final = 5 * 10**9
PATIENCE_NS: Final = 10 * 10**9
ENOUGH: Final = 20
"""Frames of the others, while a line brings none: less than that may be chance."""


def line_shares(engine: Engine) -> dict[int, dict[str, int]]:
    """Sums over all feeds, by line: frames that were followed (``taken``), ``repeats``, ``ahead``, and ``saved``."""
    sums: dict[int, dict[str, int]] = {}
    for feed in range(engine.feed_count):
        for share in engine.lines(feed):
            found = sums.setdefault(share.line, dict.fromkeys(COUNTS, 0))
            for name in COUNTS:
                found[name] += getattr(share, name)
    return sums


class Laggards:
    """Finds topics that a line should bring and doesn't, while another one does, and subscribes them anew.

    No gap shows them, for the other line covers them: until that one is lost too.

    Args:
        engine: whose feeds are watched.
        lines: that carry them.
    """

    def __init__(self, engine: Engine, lines: LineSet) -> None:
        self._engine = engine
        self._lines = lines
        self._looked_ns: int | None = None
        self._heard: dict[tuple[str, int], tuple[int, int, int]] = {}
        self.count = 0

    def tick(self, now_ns: int) -> list[tuple[str, int]]:
        """Look, every few seconds (monotonic). Returns the topics and slots that were subscribed anew."""
        if self._looked_ns is not None and now_ns - self._looked_ns < LOOK_NS:
            return []
        self._looked_ns = now_ns
        return [
            (topic, slot)
            for feed, topic in enumerate(self._engine.topics())
            if self._engine.state(feed) is FeedState.LIVE
            for slot in self._behind(feed, topic, now_ns)
        ]

    def _behind(self, feed: int, topic: str, now_ns: int) -> list[int]:
        shares = self._engine.lines(feed)
        if len(shares) < 2:
            return []
        frames = {share.line: share.frames for share in shares}
        found = []
        for line in self._lines.lines_of(topic):
            if not line.is_subscribed(topic):
                self._heard.pop((topic, line.slot), None)
                continue
            own = frames.get(line.slot, 0)
            others = sum(frames.values()) - own
            before = self._heard.get((topic, line.slot))
            if before is None or before[0] != own:
                self._heard[topic, line.slot] = own, others, now_ns
            elif others - before[1] >= ENOUGH and now_ns - before[2] >= PATIENCE_NS:
                line.resync(topic, now_ns)
                self._heard[topic, line.slot] = own, others, now_ns
                self.count += 1
                found.append(line.slot)
        return found
