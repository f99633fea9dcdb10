"""Which connection carries which topic: packed by the exchange's limits and by frames a second. Pure.

A wake-up for a lone frame costs many times what the frame itself does, so few busy connections are cheaper than many
quiet ones; but a connection's feeds wait for each other when a packet is lost, and are lost together. So each is
filled up to a maximum of frames a second, and no further: at the start by expectation, later by what was measured.

A `Spreader` looks at the measured rates from time to time and proposes one move at a time, with so much room between
its thresholds that no move is ever undone by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from engine.bybit.limits import CONNECTIONS_PER_ADDRESS, argument_characters, fits
from engine.timing import Timing
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["LineLoad", "Move", "Spreader", "spread"]

OVER: Final = 1.25
"""A connection is too busy above this multiple of the maximum..."""
FULL: Final = 0.8
"""...and is filled by moves up to this one."""
THIN: Final = 0.5
"""Two connections that are together below this one become one."""

TOPICS_PER_MOVE: Final = 100
"""Each brings a snapshot, all at once."""


class LineLoad(msgspec.Struct, frozen=True):
    """What one connection carries.

    Attributes:
        slot: its number.
        copy: which of the connections that carry the same topics it is; topics stay within their copy.
        topics: frames per second of each.
    """

    slot: int
    copy: int
    topics: dict[str, float]

    @property
    def rate(self) -> float:
        """Frames per second of all topics."""
        return sum(self.topics.values())


class Move(msgspec.Struct, frozen=True):
    """Topics that should change their connection.

    Attributes:
        source, target: slots; the target is None for a connection that has to be opened.
        topics: at most `TOPICS_PER_MOVE`.
        why: for people.
    """

    source: int
    target: int | None
    topics: tuple[str, ...]
    why: str


def spread(
    category: Category, topics: Sequence[str], weight: Callable[[str], float], most: float
) -> list[list[str]]:
    """Split topics, in their order, over as few connections as the limits and a maximum rate allow.

    Args:
        category: of the topics.
        topics: each once.
        weight: frames per second of a topic; one that is above the maximum gets a connection of its own.
        most: frames per second of one connection.

    Raises:
        ConfigError: when they need more connections than one address may hold (section 2.4).
    """
    connections: list[list[str]] = []
    characters, rate = 0, 0.0
    for topic in topics:
        its_characters, its_rate = len(topic) + 3, weight(topic)
        if (
            not connections
            or not fits(category, len(connections[-1]) + 1, characters + its_characters)
            or rate + its_rate > most
        ):
            connections.append([])
            characters, rate = 1, 0.0
        connections[-1].append(topic)
        characters, rate = characters + its_characters, rate + its_rate
    if len(connections) > CONNECTIONS_PER_ADDRESS:
        raise ConfigError(
            f"{len(topics)} {category} topics need {len(connections)} connections, at most "
            f"{CONNECTIONS_PER_ADDRESS} per address are allowed: record fewer topics or use several addresses"
        )
    return connections


class Spreader:
    """Proposes moves between connections.

    Args:
        category: whose limits apply.
        most: frames per second that one connection should carry.
        timing: how long things must have been as they are.
    """

    def __init__(self, category: Category, most: float, timing: Timing | None = None) -> None:
        if most <= 0:
            raise ValueError(f"most {most}: expected frames per second above 0")
        self._category = category
        self._most = most
        self._timing = timing or Timing()
        self._over_since: dict[int, int] = {}
        self._thin_since: dict[tuple[int, int], int] = {}
        self._quiet_until_ns = 0

    def __repr__(self) -> str:
        return f"<Spreader {self._category} most={self._most:g}/s over={sorted(self._over_since)}>"

    def moved(self, now_ns: int) -> None:
        """A move has ended, well or not."""
        self._quiet_until_ns = now_ns + self._timing.pause_ns
        self._over_since.clear()
        self._thin_since.clear()

    def propose(self, loads: Sequence[LineLoad], now_ns: int, *, may_open: bool) -> Move | None:
        """Look at the loads, every few seconds; returns a move that is worth its cost, or None.

        Args:
            loads: of every connection that is up and takes topics.
            now_ns: monotonic.
            may_open: whether the budget has room for another connection.
        """
        if now_ns < self._quiet_until_ns:
            return None
        over = {load.slot: load for load in loads if load.rate > OVER * self._most and len(load.topics) > 1}
        self._over_since = {slot: self._over_since.get(slot, now_ns) for slot in over}
        for slot in sorted(over, key=lambda slot: -over[slot].rate):
            if now_ns - self._over_since[slot] >= self._timing.over_ns:
                move = self._relieve(over[slot], loads, may_open)
                if move is not None:
                    return move
        return self._join(loads, now_ns)

    # ---- too much on one ----

    def _relieve(self, busy: LineLoad, loads: Sequence[LineLoad], may_open: bool) -> Move | None:
        excess = busy.rate - FULL * self._most
        why = f"{busy.rate:.0f} frames/s on one connection, {self._most:.0f} are wanted at most"
        others = [load for load in loads if load.copy == busy.copy and load.slot != busy.slot]
        # The busiest that still has room: connections are filled up, not levelled.
        for other in sorted(others, key=lambda load: -load.rate):
            topics = self._chosen(busy, excess, FULL * self._most - other.rate, other)
            if sum(busy.topics[topic] for topic in topics) >= min(excess, 0.1 * self._most):
                return Move(busy.slot, other.slot, topics, why)
        if not may_open or len(loads) >= CONNECTIONS_PER_ADDRESS:
            return None
        topics = self._chosen(busy, excess, FULL * self._most, None)
        return Move(busy.slot, None, topics, why) if topics else None

    def _chosen(self, busy: LineLoad, excess: float, room: float, target: LineLoad | None) -> tuple[str, ...]:
        """The fewest topics that relieve a connection of its excess and fit into the room of another.

        One that alone is more than what fits stays where it is, and others leave it.
        """
        chosen: list[str] = []
        count = len(target.topics) if target else 0
        characters = argument_characters(target.topics) if target and target.topics else 1
        left = excess
        for topic in sorted(busy.topics, key=lambda topic: (-busy.topics[topic], topic)):
            rate = busy.topics[topic]
            if left <= 0 or rate <= 0 or len(chosen) == min(TOPICS_PER_MOVE, len(busy.topics) - 1):
                break
            if rate > room or not fits(self._category, count + len(chosen) + 1, characters + len(topic) + 3):
                continue
            chosen.append(topic)
            characters += len(topic) + 3
            left, room = left - rate, room - rate
        return tuple(chosen)

    # ---- too little on two ----

    def _join(self, loads: Sequence[LineLoad], now_ns: int) -> Move | None:
        thin: dict[tuple[int, int], tuple[LineLoad, LineLoad]] = {}
        for copy in sorted({load.copy for load in loads}):
            quietest, *others = sorted(
                (load for load in loads if load.copy == copy), key=lambda load: load.rate
            )
            # Into the busiest that can take it, so that its topics need not move again.
            for other in reversed(others):
                if self._could_be_one(quietest, other):
                    thin[quietest.slot, other.slot] = (quietest, other)
                    break
        self._thin_since = {pair: self._thin_since.get(pair, now_ns) for pair in thin}
        for pair, (quietest, other) in thin.items():
            if now_ns - self._thin_since[pair] >= self._timing.thin_ns:
                topics = tuple(sorted(quietest.topics))[:TOPICS_PER_MOVE]
                why = f"{quietest.rate + other.rate:.0f} frames/s on two connections, one can carry {self._most:.0f}"
                return Move(quietest.slot, other.slot, topics, why)
        return None

    def _could_be_one(self, one: LineLoad, other: LineLoad) -> bool:
        topics = [*one.topics, *other.topics]
        return one.rate + other.rate <= THIN * self._most and fits(
            self._category, len(topics), argument_characters(topics)
        )
