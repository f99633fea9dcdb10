"""A small seeded market of our own, so that anyone can repeat a run without a recording.

Its order-book frames follow the level statistics of a liquid perpetual's: levels a frame, shares of updates, inserts
and deletes, where in the book they fall, how often the touch moves. Each topic is a market of its own: books of several
depths do not agree with each other, which no benchmark looks at.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from random import Random
from typing import NamedTuple

from schemas.errors import ConfigError

__all__ = ["SEED", "generated_feed", "generated_topic"]

SEED = 20_240_808
START_MS = 1_723_161_260_320
Line = tuple[int, bytes]


class Symbol(NamedTuple):
    """A symbol: a tick in hundredths, the touch in ticks where it starts, and the mean distance of two levels."""

    name: str
    tick: int
    touch: int
    spacing: float


SYMBOLS = (Symbol("BTCUSDT", 10, 618_094, 2.7), Symbol("ETHUSDT", 1, 268_216, 1.8))

# (share of deltas, levels they name at most), by depth; between two points the count rises evenly.
LEVELS_PER_DELTA = {
    50: ((0.304, 1), (0.516, 2), (0.55, 3), (0.75, 11), (0.90, 25), (0.95, 42), (0.99, 87), (1.0, 160)),
    200: ((0.02, 5), (0.25, 18), (0.5, 33), (0.75, 66), (0.9, 141), (0.95, 216), (0.99, 351), (1.0, 600)),
}
TRADES_PER_MESSAGE = ((0.6, 1), (0.8, 2), (0.9, 5), (0.97, 20), (1.0, 90))
# Pushes of one topic and symbol: mean distance in ms.
INTERVAL_MS = {"orderbook.1": 25, "orderbook.50": 28, "orderbook.200": 100, "publicTrade": 70, "tickers": 100}
TOUCH_MOVES = 0.056
PAIRS = 0.42
"""Share of changes that are an insert and a delete, the window being full: so that half of all levels are updates."""


def generated_topic(topic: str, count: int, seed: int = SEED) -> tuple[str, Iterator[Line]]:
    """``count`` frames of one topic of both symbols (or of the one that it names): their source, and the lines.

    Raises:
        ConfigError: a topic that the market does not have.
    """
    streams = [
        _stream(kind, symbol, seed)
        for kind in INTERVAL_MS
        for symbol in SYMBOLS
        if f"{kind}.{symbol.name}.".startswith(f"{topic}.")
    ]
    if not streams:
        raise ConfigError(
            f"found topic {topic!r}, expected one of {', '.join(INTERVAL_MS)}, with or without "
            f".{' or .'.join(symbol.name for symbol in SYMBOLS)}; or give a recording with --data"
        )
    return f"generated, seed {seed}", _first(streams, count)


def generated_feed(count: int, seed: int = SEED) -> tuple[str, Iterator[Line]]:
    """``count`` frames of all topics, interleaved by their times: their source, and the lines."""
    streams = [_stream(kind, symbol, seed) for kind in INTERVAL_MS for symbol in SYMBOLS]
    return f"generated, seed {seed}", _first(streams, count)


def _first(streams: list[Iterator[Line]], count: int) -> Iterator[Line]:
    return (line for _, line in zip(range(count), merge(*streams), strict=False))


def _stream(kind: str, symbol: Symbol, seed: int) -> Iterator[Line]:
    """The endless frames of one topic of one symbol."""
    random = Random(f"{seed} {kind} {symbol.name}")
    head, _, depth = kind.partition(".")
    if head == "orderbook":
        messages = _top(symbol, random) if depth == "1" else _book(symbol, int(depth), random)
    else:
        messages = _trades(symbol, random) if head == "publicTrade" else _ticker(symbol, random)
    now_ms = START_MS + random.randrange(20)
    for message in messages:
        text = message.replace("@TOPIC", f"{kind}.{symbol.name}", 1).replace("@TS", str(now_ms))
        text = text.replace("@CTS", str(now_ms - 3))
        yield (now_ms + 1) * 1_000_000 + random.randrange(900_000), text.encode()
        now_ms += 1 + int(random.expovariate(1 / (INTERVAL_MS[kind] - 1)))


class _Side:
    """One side of a full window: keys rise from the best level on (asks: ticks; bids: negated ticks)."""

    def __init__(self, best: int, depth: int, spacing: float, random: Random) -> None:
        self.random = random
        self.spacing = spacing
        self.depth = depth
        self.keys = [best]
        self.sizes = {best: _size(random)}
        self.before: dict[int, int] = {}
        while len(self.keys) < depth:
            self.append()
        self.before.clear()

    def set(self, key: int, size: int) -> None:
        """Set the size of a level, 0 takes it away."""
        held = self.sizes.get(key, 0)
        self.before.setdefault(key, held)
        if size and not held:
            insort(self.keys, key)
        elif held and not size:
            del self.keys[bisect_left(self.keys, key)]
        if size:
            self.sizes[key] = size
        else:
            self.sizes.pop(key, None)

    def append(self) -> None:
        """A level that enters the window at its far end."""
        self.set(self.keys[-1] + 1 + int(self.random.expovariate(1 / (self.spacing - 1))), _size(self.random))

    def fit(self) -> None:
        """Bring the window back to its depth."""
        while len(self.keys) > self.depth:
            self.set(self.keys[-1], 0)
        while len(self.keys) < self.depth:
            self.append()

    def rank(self) -> int:
        """Where a change falls: three in ten within the best tenth, the others anywhere."""
        return int(self.random.random() * self.depth * (0.1 if self.random.random() < 0.22 else 1))

    def change(self, room: int) -> None:
        """Change one level, or two (``room``) behind the best: one that comes and one that goes."""
        rank = self.rank()
        if room < 2 or rank == 0 or self.random.random() >= PAIRS:
            self.set(self.keys[rank], _size(self.random))
        elif self.random.random() < 0.5:
            self.set(self.keys[rank], 0)
        else:
            gap = self.keys[rank] - self.keys[rank - 1]
            inside = self.keys[rank - 1] + self.random.randrange(1, gap) if gap > 1 else self.keys[-1] + 1
            self.set(inside, _size(self.random))
        self.fit()

    def taken(self) -> list[tuple[int, int]]:
        """The levels that differ from those of the last call, best first."""
        changes = sorted(
            (key, self.sizes.get(key, 0))
            for key, size in self.before.items()
            if self.sizes.get(key, 0) != size
        )
        self.before.clear()
        return changes


def _book(symbol: Symbol, depth: int, random: Random) -> Iterator[str]:
    bids = _Side(-symbol.touch, depth, symbol.spacing, random)
    asks = _Side(symbol.touch + 1, depth, symbol.spacing, random)
    update_id = 21_111_440 + depth
    yield _book_text("snapshot", symbol, update_id, list(bids.sizes.items()), list(asks.sizes.items()))
    while True:
        update_id += 1
        wanted = _count(LEVELS_PER_DELTA[depth], random)
        if random.random() < TOUCH_MOVES:
            _move(*((bids, asks) if random.random() < 0.5 else (asks, bids)), random)
        # Most small frames name both sides; a change may undo another, so tries are bounded and not counted out.
        for attempt in range(3 * wanted):
            room = wanted - len(bids.before) - len(asks.before)
            if room <= 0:
                break
            (bids if (attempt + update_id) % 2 else asks).change(room)
        changed_bids, changed_asks = bids.taken(), asks.taken()
        if not (changed_bids or changed_asks):
            bids.set(bids.keys[0], bids.sizes[bids.keys[0]] + 1)
            changed_bids = bids.taken()
        yield _book_text("delta", symbol, update_id, changed_bids, changed_asks)


def _move(gaining: _Side, losing: _Side, random: Random) -> None:
    """Move the touch by a few ticks towards the losing side."""
    old = losing.keys[0]
    new = old + random.randrange(1, 4)
    while losing.keys[0] < new:
        losing.set(losing.keys[0], 0)
    losing.set(new, _size(random))
    for key in range(old, new):
        if key == new - 1 or random.random() < 0.5:
            gaining.set(-key, _size(random))
    losing.fit()
    gaining.fit()


def _book_text(
    kind: str, symbol: Symbol, update_id: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]
) -> str:
    """A message as the exchange writes it for futures: compact, zeros padded, both sides sorted."""
    sides = [
        ",".join(f'["{_price(abs(key) * symbol.tick)}","{_coins(size)}"]' for key, size in levels)
        for levels in (bids, asks)
    ]
    return (
        f'{{"topic":"@TOPIC","type":"{kind}","ts":@TS,"data":{{"s":"{symbol.name}","b":[{sides[0]}],'
        f'"a":[{sides[1]}],"u":{update_id},"seq":{update_id * 7 + 457_000_000_000}}},"cts":@CTS}}'
    )


def _top(symbol: Symbol, random: Random) -> Iterator[str]:
    """Level 1: every message is a snapshot of the best level of each side."""
    touch = symbol.touch
    update_id = 14_869_273
    while True:
        update_id += 1
        touch += random.choice((-1, 0, 0, 0, 0, 0, 0, 0, 0, 1))
        levels = [
            f'[["{_price(tick * symbol.tick)}","{_coins(_size(random))}"]]' for tick in (touch, touch + 1)
        ]
        yield (
            f'{{"topic":"@TOPIC","ts":@TS,"type":"snapshot","data":{{"s":"{symbol.name}","b":{levels[0]},'
            f'"a":{levels[1]},"u":{update_id},"seq":{update_id * 7 + 457_000_000_000}}},"cts":@CTS}}'
        )


def _trades(symbol: Symbol, random: Random) -> Iterator[str]:
    number = 0
    while True:
        trades = []
        for _ in range(_count(TRADES_PER_MESSAGE, random)):
            number += 1
            words = f"{random.getrandbits(128):032x}"
            trade_id = f"{words[:8]}-{words[8:12]}-5{words[13:16]}-a{words[17:20]}-{words[20:]}"
            price = _price((symbol.touch + random.randrange(-20, 20)) * symbol.tick)
            trades.append(
                f'{{"T":@CTS,"s":"{symbol.name}","S":"{random.choice(("Buy", "Sell"))}","v":"{_coins(_size(random))}",'
                f'"p":"{price}","L":"{random.choice(("PlusTick", "ZeroMinusTick"))}","i":"{trade_id}","BT":false,'
                f'"RPI":false,"seq":{number + 457_000_000_000}}}'
            )
        yield f'{{"topic":"@TOPIC","type":"snapshot","ts":@TS,"data":[{",".join(trades)}]}}'


def _ticker(symbol: Symbol, random: Random) -> Iterator[str]:
    """A snapshot with every field of the market's choice, then deltas with some of them."""
    fields = ("lastPrice", "markPrice", "indexPrice", "bid1Price", "ask1Price", "prevPrice1h")
    sizes = ("openInterest", "openInterestValue", "turnover24h", "volume24h", "bid1Size", "ask1Size")
    kind = "snapshot"
    number = 24_987_956_059
    while True:
        number += random.randrange(1, 500)
        values = {"symbol": symbol.name}
        for name in fields:
            if kind == "snapshot" or random.random() < 0.7:
                values[name] = _price((symbol.touch + random.randrange(-50, 50)) * symbol.tick)
        for name in sizes:
            if kind == "snapshot" or random.random() < 0.6:
                values[name] = _coins(_size(random) * 1_000)
        if kind == "snapshot":
            values |= {
                "tickDirection": "PlusTick",
                "fundingRate": "0.0001",
                "nextFundingTime": "1723190400000",
            }
        data = ",".join(f'"{key}":"{value}"' for key, value in values.items())
        yield f'{{"topic":"@TOPIC","type":"{kind}","data":{{{data}}},"cs":{number},"ts":@TS}}'
        kind = "delta"


def _count(points: tuple[tuple[float, int], ...], random: Random) -> int:
    """Draw a count from a distribution given by its quantiles."""
    drawn = random.random()
    share, count = 0.0, points[0][1]
    for next_share, next_count in points:
        if drawn <= next_share:
            return count + round((next_count - count) * (drawn - share) / (next_share - share))
        share, count = next_share, next_count
    return count


def _size(random: Random) -> int:
    """A size in thousandths of a coin: many small ones, few large ones."""
    return int(random.expovariate(1.0) ** 2 * 900) + 2


def _price(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _coins(size: int) -> str:
    return f"{size // 1000}.{size % 1000:03d}" if size else "0"
