"""Ten minutes of a simulated market over midnight, recorded with losses and a pause: always the same, made in seconds.

The pages and pictures of docs/ are made of it, so that what they show can be repeated and checked.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from engine.market import Market, MarketFrame
from recorder.importing.captures import CaptureFile
from recorder.importing.run import ImportPlan, run_import
from schemas.names import Category, Environment
from schemas.time import parse_time

__all__ = ["END_NS", "START_NS", "record_evening", "record_hours"]

SECOND_NS: Final = 10**9
START_NS: Final = parse_time("2026-03-05T23:55:00Z")
END_NS: Final = parse_time("2026-03-06T00:05:00Z")
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
SEED: Final = 7
PAUSE: Final = parse_time("2026-03-06T00:02:40Z"), parse_time("2026-03-06T00:02:55Z")
"""Nobody recorded then: one collector had ended, and the next one had not begun."""
LOST: Final = (
    ("orderbook.50.BTCUSDT", parse_time("2026-03-05T23:57:20Z"), 3.2),
    ("orderbook.200.BTCUSDT", parse_time("2026-03-06T00:00:50Z"), 6.5),
    ("orderbook.50.ETHUSDT", parse_time("2026-03-06T00:01:05Z"), 1.4),
)
"""Topics that lose a message then, and get a snapshot so many seconds later."""
SLOW: Final = parse_time("2026-03-06T00:01:00Z"), parse_time("2026-03-06T00:01:12Z")
"""Everything came late then."""
_OPTIONS_SECONDS: Final = 10
_WARMING_NS: Final = 240 * SECOND_NS
"""A market that has just opened is thin."""


def record_evening(data: Path, *, rate: float = 0.05, depths: tuple[int, ...] = (1, 50)) -> None:
    """Write the recording into a data directory that does not exist yet.

    Args:
        data: the directory.
        rate: factor on the market's order flow; 1 is realistic.
        depths: of the books.
    """
    market = Market(SEED, Category.LINEAR, SYMBOLS, start_ns=START_NS - _WARMING_NS, rate=rate)
    market.advance(START_NS)
    kinds = [
        *(f"orderbook.{depth}" for depth in depths),
        "publicTrade",
        "tickers",
        "allLiquidation",
        "kline.1",
    ]
    topics = [f"{kind}.{symbol}" for kind in kinds for symbol in SYMBOLS]
    with tempfile.TemporaryDirectory() as directory:
        frames = [frame for frame in map(market.follow, topics) if frame is not None]
        for topic, lost_ns, seconds in LOST:
            if topic not in topics:
                continue
            frames += _with_a_loss(market.advance(lost_ns + int(seconds * SECOND_NS)), topic, lost_ns)
            healing = market.follow(topic)
            frames += [] if healing is None else [healing]
        frames += market.advance(PAUSE[0])
        _import(Path(directory) / "evening.jsonl", frames, data, Category.LINEAR)
        market.advance(PAUSE[1])
        frames = [frame for frame in map(market.follow, topics) if frame is not None] + market.advance(END_NS)
        _import(Path(directory) / "night.jsonl", frames, data, Category.LINEAR)
        options = Market(SEED, Category.OPTION, start_ns=START_NS, rate=rate, symbol_count=48)
        names = [f"tickers.{instrument.symbol}" for instrument in options.instruments]
        frames = [frame for frame in map(options.follow, names) if frame is not None]
        frames += options.advance(START_NS + _OPTIONS_SECONDS * SECOND_NS)
        _import(Path(directory) / "options.jsonl", frames, data, Category.OPTION)


def record_hours(data: Path) -> None:
    """Write five hours of a quiet market, in which the book is lost now and then."""
    market = Market(SEED + 4, Category.LINEAR, ("BTCUSDT",), start_ns=START_NS - _WARMING_NS, rate=0.02)
    market.advance(START_NS)
    topics = [f"{kind}.BTCUSDT" for kind in ("orderbook.1", "orderbook.200", "publicTrade")]
    frames = [frame for frame in map(market.follow, topics) if frame is not None]
    draw = random.Random(SEED)
    while market.now_ns < START_NS + 5 * 3600 * SECOND_NS:
        part = market.advance(market.now_ns + draw.randrange(600, 2400) * SECOND_NS)
        frames += _with_a_loss(part, topics[1], market.now_ns - draw.choice([5, 60, 400]) * SECOND_NS)
        healing = market.follow(topics[1])
        frames += [] if healing is None else [healing]
    with tempfile.TemporaryDirectory() as directory:
        _import(Path(directory) / "hours.jsonl", frames, data, Category.LINEAR)


def _with_a_loss(frames: list[MarketFrame], topic: str, lost_ns: int) -> list[MarketFrame]:
    lost = next(n for n, frame in enumerate(frames) if frame.topic == topic and frame.time_ns >= lost_ns)
    return frames[:lost] + frames[lost + 1 :]


def _import(capture: Path, frames: Iterable[MarketFrame], data: Path, category: Category) -> None:
    draw = random.Random(SEED)
    received_ns = 0
    with capture.open("wb") as file:
        for frame in frames:
            delay_s = draw.lognormvariate(math.log(0.004), 0.4) * (
                9 if SLOW[0] <= frame.time_ns < SLOW[1] else 1
            )
            received_ns = max(received_ns + 1_000, frame.time_ns + int(delay_s * 1e9))
            file.write(b"%d %b\n" % (received_ns, frame.payload))
    plan = ImportPlan([CaptureFile(capture)], capture.stem, category, Environment("mainnet"), False, 1 << 28)
    report = run_import(plan, data)
    assert report.complete
    assert (report.undecodable, report.unknown) == (0, 0), report
