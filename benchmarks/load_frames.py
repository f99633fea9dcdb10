"""The frames that the load benchmark offers: built once, framed for the wire, cut by connection.

A *cycle* is a stretch of many symbols' frames that can be sent again and again: it begins with a snapshot of every book
and ticker, and trade ids carry the number of the cycle. Frame ``k`` of a run is frame ``k % count`` of a cycle, and is
scheduled ``k / rate`` seconds after the start, whatever became of those before it.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.market import Market
from recorder.gateway.connection import text_message
from schemas.names import Category

__all__ = ["PREFIXES", "Cycle", "Part", "build_cycle", "symbol_names"]

PREFIXES: Final = ("orderbook.50", "publicTrade", "tickers")
BASE_SYMBOLS: Final = 12
START_NS: Final = 1_760_000_000_000_000_000
STAMP: Final = 6
"""Hexadecimal digits at the start of a trade id that carry the number of the cycle."""
_TRADE_ID: Final = re.compile(rb'"i":"([0-9a-f]{8})-')


def symbol_names(count: int) -> list[str]:
    """Names of made-up symbols, all equally long."""
    return [f"S{number:04d}USDT" for number in range(count)]


@dataclass(frozen=True)
class Cycle:
    """One cycle of frames, in the order in which they are scheduled; stored as a file for other processes."""

    topics: list[str]
    topic_index: NDArray[np.int32]
    payloads: list[bytes]

    @property
    def count(self) -> int:
        """Frames in a cycle."""
        return len(self.payloads)

    @property
    def mean_bytes(self) -> float:
        """Mean length of a frame."""
        return sum(map(len, self.payloads)) / self.count

    def store(self, path: Path) -> None:
        """Write the cycle for another process of this benchmark."""
        path.write_bytes(pickle.dumps((self.topics, self.topic_index, self.payloads), protocol=5))

    @classmethod
    def read(cls, path: Path) -> Cycle:
        """Read what :meth:`store` wrote, a file of our own."""
        return cls(*pickle.loads(path.read_bytes()))

    def part(self, topics: Iterable[str]) -> Part:
        """Return what a connection with these topics gets."""
        wanted = set(topics)
        is_wanted = np.array([topic in wanted for topic in self.topics])
        return Part(self, np.flatnonzero(is_wanted[self.topic_index]))


class Part:
    """A cycle as it goes out on one connection.

    Attributes:
        indices: which frames of the cycle, rising.
    """

    def __init__(self, cycle: Cycle, indices: NDArray[np.int64]) -> None:
        self.indices = indices
        messages = [text_message(cycle.payloads[index]) for index in indices]
        lengths = np.zeros(cycle.count, np.int64)
        lengths[indices] = [len(message) for message in messages]
        self._buffer = bytearray(b"".join(messages))
        self._view = memoryview(self._buffer)
        # Where the frames below a number end: a stretch of the schedule is one slice.
        self._ends = np.concatenate(([0], np.cumsum(lengths)))
        self._stamps = np.array([found.start(1) for found in _TRADE_ID.finditer(self._buffer)], np.int64)
        self._bytes = np.frombuffer(self._buffer, np.uint8)

    def stamp(self, number: int) -> None:
        """Make the trades those of a cycle."""
        for digit, value in enumerate(f"{number % 16**STAMP:0{STAMP}x}".encode()):
            self._bytes[self._stamps + digit] = value

    def slice(self, start: int, stop: int) -> bytes:
        """Return the messages of frames ``start`` to ``stop`` of the cycle that are this connection's."""
        return bytes(self._view[self._ends[start] : self._ends[stop]])


def stamped(payload: bytes, number: int) -> bytes:
    """Return a frame as it goes out in a cycle."""
    digits = f"{number % 16**STAMP:0{STAMP}x}".encode()
    return _TRADE_ID.sub(lambda found: b'"i":"' + digits + found[1][STAMP:] + b"-", payload)


def build_cycle(symbol_count: int, count: int, seed: int = 1) -> Cycle:
    """Build a cycle of about ``count`` frames; every symbol lives one of a few simulated lives, at its own time."""
    market = Market(seed, Category.LINEAR, start_ns=START_NS, symbol_count=BASE_SYMBOLS, rate=2.0)
    bases = [instrument.symbol for instrument in market.instruments]
    topics_of = {base: [f"{prefix}.{base}" for prefix in PREFIXES] for base in bases}
    firsts = {topic: market.follow(topic) for topics in topics_of.values() for topic in topics}
    wanted = count * BASE_SYMBOLS // symbol_count
    frames: list[Any] = []
    while len(frames) < wanted:
        frames += market.advance(market.now_ns + 500_000_000)
    lives: dict[str, list[tuple[int, str, bytes]]] = {base: [] for base in bases}
    for at, frame in enumerate(frames[:wanted]):
        lives[frame.topic.rpartition(".")[2]].append((at, frame.topic, frame.payload))
    names = symbol_names(symbol_count)
    topics = [f"{prefix}.{name}" for name in names for prefix in PREFIXES]
    number_of = {topic: number for number, topic in enumerate(topics)}
    snapshots, scheduled = [], []
    for number, name in enumerate(names):
        base = bases[number % BASE_SYMBOLS]
        old, new = base.encode(), name.encode()
        for topic in topics_of[base]:
            first = firsts[topic]
            if first is not None:
                snapshots.append((number_of[topic.replace(base, name)], first.payload.replace(old, new)))
        # A symbol is a little later than the one before it, so that its like do not all speak at once.
        shift = number / symbol_count
        for at, topic, payload in lives[base]:
            scheduled.append((at + shift, number_of[topic.replace(base, name)], payload.replace(old, new)))
    scheduled.sort(key=lambda item: item[0])
    whole = snapshots + [(number, payload) for _, number, payload in scheduled]
    return Cycle(
        topics, np.array([number for number, _ in whole], np.int32), [payload for _, payload in whole]
    )
