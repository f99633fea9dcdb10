"""Frames to measure with: from a recording, or from a small seeded market of our own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from schemas.errors import ConfigError

__all__ = ["Feed", "generated", "recorded"]

SEED = 20_240_808
SYMBOL = "BTCUSDT"
TOPIC = f"orderbook.50.{SYMBOL}"
DEPTH = 50
# Share of deltas by number of levels, after the depth-50 deltas of a liquid perpetual: half of them name two levels
# or fewer, one in a hundred names ninety or more.
LEVELS_PER_DELTA = ((0.30, 1), (0.55, 2), (0.75, 4), (0.90, 12), (0.98, 40), (1.00, 90))


@dataclass(frozen=True)
class Feed:
    """Order-book frames in the order in which they came.

    Attributes:
        source: where they are from.
        frames: the frames, bytes as received.
        topics: the topics that occur.
    """

    source: str
    frames: list[bytes]
    topics: list[str]


def recorded(path: Path, count: int) -> Feed:
    """Read at most ``count`` order-book frames from lines of ``<receive_ns> <frame>`` (plain or .gz)."""
    frames: list[bytes] = []
    topics: dict[str, None] = {}
    for number, line in enumerate(_lines(path), 1):
        _, separator, frame = line.rstrip(b"\r\n").partition(b" ")
        if not separator:
            raise ConfigError(f"{path}: line {number}: expected `<receive_ns> <frame>`, found {line[:40]!r}")
        topic = _topic(frame)
        if topic.startswith("orderbook."):
            topics[topic] = None
            frames.append(frame)
            if len(frames) == count:
                break
    if not frames:
        raise ConfigError(f"{path}: no order-book frame in it; expected lines of `<receive_ns> <frame>`")
    return Feed(str(path), frames, list(topics))


def _topic(frame: bytes) -> str:
    try:
        message = json.loads(frame)
    except ValueError:
        return ""
    return str(message.get("topic", "")) if isinstance(message, dict) else ""


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; expected a readable file") from error


def generated(count: int, seed: int = SEED) -> Feed:
    """Make a snapshot and ``count`` - 1 consecutive depth-50 deltas; the same seed makes the same frames."""
    market = _Market(seed)
    frames = [market.frame("snapshot", market.bids, market.asks)]
    frames += [market.delta() for _ in range(count - 1)]
    return Feed(f"generated, seed {seed}", frames, [TOPIC])


class _Market:
    """Fifty prices a side, in ticks of 0.10, whose sizes change, mostly near the touch; the touch drifts."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.touch = 618_094
        self.update_id = 21_111_440
        self.now_ms = 1_723_161_260_320
        self.bids = {self.touch - offset: self.size() for offset in range(DEPTH)}
        self.asks = {self.touch + 1 + offset: self.size() for offset in range(DEPTH)}

    def size(self) -> int:
        """A size in thousandths of a coin: many small ones, few large ones."""
        return int(self.random.expovariate(1.0) ** 2 * 900) + 2

    def delta(self) -> bytes:
        """Change some levels and return the frame that says so."""
        self.now_ms += self.random.randrange(20, 40)
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        drawn = self.random.random()
        levels = next(number for share, number in LEVELS_PER_DELTA if drawn <= share)
        if self.random.random() < 0.1:
            self._move(self.random.choice([-1, 1]), bids, asks)
        for _ in range(levels):
            offset = min(int(self.random.expovariate(1 / 12)), DEPTH - 1)
            if self.random.random() < 0.5:
                bids[self.touch - offset] = self.bids[self.touch - offset] = self.size()
            else:
                asks[self.touch + 1 + offset] = self.asks[self.touch + 1 + offset] = self.size()
        return self.frame("delta", bids, asks)

    def _move(self, step: int, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Move the touch by one tick: each side loses a level at one end and gains one at the other."""
        up = step > 0
        gone_bid, new_bid = self.touch - DEPTH + 1, self.touch + 1
        gone_ask, new_ask = self.touch + 1, self.touch + DEPTH + 1
        if not up:
            gone_bid, new_bid = self.touch, self.touch - DEPTH
            gone_ask, new_ask = self.touch + DEPTH, self.touch
        self.touch += step
        for side, changes, gone, new in (
            (self.bids, bids, gone_bid, new_bid),
            (self.asks, asks, gone_ask, new_ask),
        ):
            del side[gone]
            changes[gone] = 0
            changes[new] = side[new] = self.size()

    def frame(self, kind: str, bids: dict[int, int], asks: dict[int, int]) -> bytes:
        """Write a message as the exchange does for futures: compact, zeros padded, both sides sorted."""
        self.update_id += 1
        sides = [
            ",".join(f'["{price // 10}.{price % 10}0","{_coins(size)}"]' for price, size in levels)
            for levels in (sorted(bids.items(), reverse=True), sorted(asks.items()))
        ]
        return (
            f'{{"topic":"{TOPIC}","type":"{kind}","ts":{self.now_ms},"data":{{"s":"{SYMBOL}","b":[{sides[0]}],'
            f'"a":[{sides[1]}],"u":{self.update_id},"seq":{self.update_id * 7}}},"cts":{self.now_ms - 3}}}'
        ).encode()


def _coins(size: int) -> str:
    return f"{size // 1000}.{size % 1000:03d}" if size else "0"
