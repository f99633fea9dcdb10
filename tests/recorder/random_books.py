"""Recordings of a book made by hand or at random, and what a slow reader, row by row, makes of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from recorder.feed_rows import Clock
from schemas.names import Table
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

__all__ = [
    "BOOK",
    "COVERAGE",
    "GAPS",
    "LATENCY_NS",
    "NOON_MS",
    "TOPIC",
    "Recording",
    "cover",
    "gap",
    "moment_of",
    "record",
    "reference",
    "row",
]

NOON_MS = NOON_NS // MS
TOPIC = "orderbook.50.BTCUSDT"
BOOK = (Table.BOOK_UPDATES, "BTCUSDT")
COVERAGE = (Table.COVERAGE, "BTCUSDT")
GAPS = (Table.GAPS, "BTCUSDT")
LATENCY_NS = 7 * MS + 123  # receive clock behind the match clock, unless a test says otherwise


def row(
    sequence: int, match: int | None, kind: str = "delta", bid: int = 100, size: int = 1000, **columns: Any
) -> dict[str, Any]:
    """A book row at ``match`` ms after noon; one bid level, one fixed ask level."""
    moment = 0 if match is None else match
    return {
        "sequence": sequence,
        "receive_time": NOON_NS + moment * MS + LATENCY_NS,
        "push_time": NOON_MS + moment + 2,
        "match_time": None if match is None else NOON_MS + match,
        "kind": kind,
        "update_id": sequence,
        "cross_sequence": sequence * 10,
        "bid_price_mantissa": [bid],
        "bid_size_mantissa": [size],
        "ask_price_mantissa": [200],
        "ask_size_mantissa": [5000],
    } | columns


def cover(sequence: int, start_ms: int, end_ms: int, **columns: Any) -> dict[str, Any]:
    times = {"start_time": NOON_NS + start_ms * MS, "end_time": NOON_NS + end_ms * MS}
    return {"sequence": sequence, "topic": TOPIC} | times | columns


def gap(sequence: int, start: dict[str, Any], heal: dict[str, Any] | None, **columns: Any) -> dict[str, Any]:
    return {
        "sequence": sequence,
        "topic": TOPIC,
        "start_time": start["receive_time"],
        "start_match_time": start["match_time"],
        "end_time": heal["receive_time"] if heal else None,
        "end_match_time": heal["match_time"] if heal else None,
    } | columns


@dataclass
class Recording:
    """One span as it was recorded: rows of two depths in order, and where the watched feed was stale."""

    start_ns: int
    end_ns: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    stale_after: set[int] = field(default_factory=set)  # sequences of last good rows before a gap


def moment_of(row_: dict[str, Any], clock: Clock) -> int:
    value: int = row_[clock.column]
    return value if clock is Clock.RECEIVE else value * MS


def reference(recordings: list[Recording], at_ns: int, clock: Clock) -> tuple[str, int, Any, Any] | None:
    for recording in sorted(recordings, key=lambda each: each.start_ns, reverse=True):
        feed = [each for each in recording.rows if each["depth"] == 50]
        if not feed:
            continue
        latest = max(moment_of(each, clock) for each in feed)
        silence = recording.end_ns - feed[-1]["receive_time"]
        end = recording.end_ns if clock is Clock.RECEIVE else latest + silence
        if at_ns > end:
            continue
        bids: dict[Decimal, Decimal] = {}
        asks: dict[Decimal, Decimal] = {}
        good: dict[str, Any] | None = None
        kept_out = False
        for each in feed:
            if moment_of(each, clock) > at_ns:
                break
            if not each["applied"]:
                kept_out = True
                continue
            good, kept_out = each, False
            if each["kind"] != "delta":
                bids.clear()
                asks.clear()
            for book, side in ((bids, "bid"), (asks, "ask")):
                pairs = zip(each[f"{side}_price_mantissa"], each[f"{side}_size_mantissa"], strict=True)
                for price, size in pairs:
                    key = Decimal(price).scaleb(each["price_exponent"])
                    if size:
                        book[key] = Decimal(size).scaleb(each["size_exponent"])
                    else:
                        book.pop(key, None)
        if good is None:
            continue
        stale = good["sequence"] in recording.stale_after and (kept_out or at_ns > moment_of(good, clock))
        state = "stale" if stale else "live"
        return state, good["update_id"], sorted(bids.items(), reverse=True), sorted(asks.items())
    return None


def record(
    rng: random.Random, archive: HandmadeArchive, sequence: int, match: int, start_ns: int
) -> tuple[Recording, int]:
    """Write one random recording of several segments; returns it and the next free sequence."""
    recording = Recording(start_ns, 0)
    now = start_ns
    update = rng.randrange(1, 1000)
    exponents = (-2, -3)
    book: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
    live, good, gap_start = False, None, None
    for _ in range(rng.randrange(1, 4)):
        segment_ns, segment_sequence = now, sequence
        rows: list[dict[str, Any]] = []
        gaps: list[dict[str, Any]] = []
        if live and good is not None:
            rows.append(good | {"kind": "keyframe", **whole(book)} | exponent_columns(exponents))
        for _ in range(rng.randrange(1, 25)):
            sequence += rng.randrange(1, 3)
            now += rng.randrange(1, 40 * MS)
            match += rng.choice((0, 1, 5, 20, -7))
            push = match + rng.randrange(0, 4)
            if rng.random() < 0.2:
                rows.append(
                    row(sequence, 0, "snapshot", depth=1, receive_time=now, push_time=push, match_time=match)
                )
                continue
            times = {"receive_time": now, "push_time": push, "match_time": match, "sequence": sequence}
            fate = rng.random()
            update += 1
            if live and fate < 0.1:
                live, gap_start = False, good
                recording.stale_after.add(good["sequence"] if good else -1)
            if rng.random() < 0.1 and exponents[0] > -6:
                exponents = (exponents[0] - 1, exponents[1])
                book = {
                    side: {price * 10: size for price, size in levels.items()}
                    for side, levels in book.items()
                }
            if (not live and fate < 0.5) or fate > 0.95:
                book = {"bid": {}, "ask": {}}
                changes = change(rng, book, exponents, removing=False)
                made = row(0, 0, "snapshot", depth=50, applied=True) | times | changes
                if gap_start is not None:
                    gaps.append(gap(sequence, gap_start, made))
                live, gap_start, good = True, None, made
            elif live:
                made = good = (
                    row(0, 0, depth=50, applied=True) | times | change(rng, book, exponents, removing=True)
                )
            else:
                scratch = {side: dict(levels) for side, levels in book.items()}
                made = (
                    row(0, 0, depth=50, applied=False)
                    | times
                    | change(rng, scratch, exponents, removing=True)
                )
            made.update(update_id=update, **exponent_columns(exponents))
            rows.append(made)
        end_ns = now + rng.randrange(1, 30 * MS)
        if gap_start is not None:
            gaps.append(gap(sequence, gap_start, None))
        tables = {BOOK: rows, COVERAGE: [span_row(segment_sequence, segment_ns, end_ns)]}
        if gaps:
            tables[GAPS] = gaps
        if rows:
            archive.segment(segment_ns, tables, run_ns=start_ns, row_group_rows=rng.choice((1, 3, 1000)))
        recording.rows += [{"depth": 50, "applied": True} | each for each in rows]
        recording.end_ns = now = end_ns
    return recording, sequence + 1


def whole(book: dict[str, dict[int, int]]) -> dict[str, list[int]]:
    columns = {}
    for side, levels in book.items():
        prices = sorted(levels, reverse=side == "bid")
        columns[f"{side}_price_mantissa"] = prices
        columns[f"{side}_size_mantissa"] = [levels[price] for price in prices]
    return columns


def change(
    rng: random.Random, book: dict[str, dict[int, int]], exponents: tuple[int, int], *, removing: bool
) -> dict[str, list[int]]:
    unit = 10 ** (-2 - exponents[0])
    columns = {}
    for side, base in (("bid", 1000), ("ask", 2000)):
        prices = sorted({(base + rng.randrange(20)) * unit for _ in range(rng.randrange(0, 5))})
        rng.shuffle(prices)
        sizes = [0 if removing and rng.random() < 0.4 else rng.randrange(1, 5000) for _ in prices]
        for price, size in zip(prices, sizes, strict=True):
            if size:
                book[side][price] = size
            else:
                book[side].pop(price, None)
        columns[f"{side}_price_mantissa"], columns[f"{side}_size_mantissa"] = prices, sizes
    return columns


def exponent_columns(exponents: tuple[int, int]) -> dict[str, int]:
    return {"price_exponent": exponents[0], "size_exponent": exponents[1]}


def span_row(sequence: int, start_ns: int, end_ns: int) -> dict[str, Any]:
    return {"sequence": sequence, "topic": TOPIC, "start_time": start_ns, "end_time": end_ns}
