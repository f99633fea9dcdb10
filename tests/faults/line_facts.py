"""What the judges of a recording over several lines look at."""

from __future__ import annotations

from typing import Any, Final

from tests.faults.account import Account
from tests.recorded import Recorded

__all__ = ["WAIT_NS", "Gap", "LineFacts"]

WAIT_NS: Final = 1_000_000_000
"""So long a message may wait for another line."""

Gap = dict[str, Any]


class LineFacts:
    """A recording, what the exchange and the network did meanwhile, and the numbers of the lines."""

    def __init__(self, recorded: Recorded, account: Account, lines: range) -> None:
        self.recorded = recorded
        self.account = account
        self.lines = lines
        self._gaps: dict[str, list[Gap]] = {}
        for gap in recorded.gaps:
            self._gaps.setdefault(gap["topic"], []).append(gap)

    def is_in_gap(self, topic: str, from_ns: int, to_ns: int) -> bool:
        return any(
            gap["start_ns"] <= from_ns and (gap["end_ns"] is None or to_ns <= gap["end_ns"])
            for gap in self._gaps.get(topic, ())
        )
