"""When lines are surely known to carry the same (docs/lines.md): from then on a loss of one alone is seen."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import Final

from tests.faults.account import Account

__all__ = ["Alike"]

ALIKE: Final = 12
"""Copies, less four times the losses, from which on the lines are surely known for alike: eight are promised."""
MOST_ALIKE: Final = 32
MISS: Final = 4


class Alike:
    """How far the lines have shown by their copies that they carry the same, as of each record that arrived."""

    def __init__(self, account: Account, topic: str) -> None:
        self._sequences: list[int] = []
        self._scores: list[int] = []
        messages, score = account.messages[topic], 0
        brought: defaultdict[int, set[int]] = defaultdict(set)
        first: dict[int, int] = {}
        reached: dict[int, int] = {}
        joined: dict[int, int] = {}
        for one, message in account.frames_of(topic):
            line, place = one.line, message.place
            since = account.carried(topic, line, one.sequence + 1)
            assert since is not None
            if joined.get(line) != since.sequence:
                joined[line] = since.sequence
                reached[line] = place
            others = [places for other, places in brought.items() if other != line]
            first.setdefault(place, one.sequence)
            if (
                place not in brought[line]
                and any(place in places for places in others)
                and first[place] > max(joined.values())  # else nobody remembers it
            ):
                missed = [
                    other.place
                    for other in messages[reached[line] + 1 : place]
                    if other.place not in brought[line] and any(other.place in places for places in others)
                ]
                score = max(0, min(MOST_ALIKE, score + 1 - MISS * len(missed)))
            brought[line].add(place)
            reached[line] = max(place, reached[line])
            self._sequences.append(one.sequence)
            self._scores.append(score)

    def shown(self, from_sequence: int, to_sequence: int) -> bool:
        """Whether the lines were known for alike from one record to another."""
        start = max(bisect_right(self._sequences, from_sequence) - 1, 0)
        return min(self._scores[start : bisect_right(self._sequences, to_sequence)], default=0) >= ALIKE
