"""What gives way, and in which order, while the disk is slower than the market. Pure: time is an argument.

Nothing that was read is ever dropped. The backlog of records that wait for the disk decides:

1. *spare* (an eighth of the limit): everything that is not recording gives way. The roller pauses, audits and backfills
   wait, the status file is written less often.
2. *hold* (the limit): reading pauses. The market waits in the sockets' buffers, then at the exchange, which closes a
   consumer that is too slow; what was lost that way is a gap on record.

A level ends well below the backlog that began it, so that it doesn't flutter.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

__all__ = ["Level", "Pressure"]

SECOND_NS = 1_000_000_000


class Level(IntEnum):
    """How much has to give way."""

    EASE = 0
    SPARE = 1
    HOLD = 2


class Pressure:
    """Judges the backlog, and counts how often and how long things gave way.

    Args:
        limit_bytes: backlog at which reading pauses.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._rise = {Level.SPARE: limit_bytes // 8, Level.HOLD: limit_bytes}
        self._fall = {Level.SPARE: limit_bytes // 32, Level.HOLD: limit_bytes // 4}
        self._since_ns = 0
        self._times = {Level.SPARE: 0, Level.HOLD: 0}
        self._spent_ns = {Level.SPARE: 0, Level.HOLD: 0}
        self._held_since_ns = 0
        self._longest_hold_ns = 0
        self._peak_bytes = 0
        self.level = Level.EASE

    def update(self, now_ns: int, backlog_bytes: int) -> Level:
        """Take in the present backlog and return the level; ``now_ns`` is monotonic."""
        self._peak_bytes = max(self._peak_bytes, backlog_bytes)
        level = self.level
        for step in (Level.SPARE, Level.HOLD):
            if level < step and backlog_bytes > self._rise[step]:
                level = step
        for step in (Level.HOLD, Level.SPARE):
            if level is step and backlog_bytes < self._fall[step]:
                level = Level(step - 1)
        if level is not self.level:
            self._change(level, now_ns)
        return level

    def _change(self, level: Level, now_ns: int) -> None:
        for step in (Level.SPARE, Level.HOLD):
            if self.level >= step:
                self._spent_ns[step] += now_ns - self._since_ns
            if self.level < step <= level:
                self._times[step] += 1
        if level is Level.HOLD:
            self._held_since_ns = now_ns
        elif self.level is Level.HOLD:
            self._longest_hold_ns = max(self._longest_hold_ns, now_ns - self._held_since_ns)
        self.level, self._since_ns = level, now_ns

    def told(self, now_ns: int) -> dict[str, Any]:
        """The status section: level, how often and how long (seconds) each was in force, the longest pause of reading,
        the highest backlog and the limit. A higher level counts as the lower ones too."""
        running_ns = now_ns - self._since_ns
        spent_ns = {step: spent + running_ns * (self.level >= step) for step, spent in self._spent_ns.items()}
        hold_ns = now_ns - self._held_since_ns if self.level is Level.HOLD else 0
        return {
            "level": self.level.name.lower(),
            "spared": self._times[Level.SPARE],
            "spared_seconds": spent_ns[Level.SPARE] / SECOND_NS,
            "held": self._times[Level.HOLD],
            "held_seconds": spent_ns[Level.HOLD] / SECOND_NS,
            "longest_hold_seconds": max(self._longest_hold_ns, hold_ns) / SECOND_NS,
            "peak_backlog_bytes": self._peak_bytes,
            "limit_bytes": self._limit_bytes,
        }
