"""``trades_with_quotes``: the book before each trade, against a slow reader of random recordings with gaps."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import Archive, open_archive
from recorder.compact import compact_data
from recorder.feed_rows import Clock
from schemas.errors import NoData
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive
from tests.recorder.random_books import (
    BOOK,
    COVERAGE,
    GAPS,
    NOON_MS,
    Recording,
    cover,
    gap,
    moment_of,
    record,
    reference,
    row,
)

TRADES = (Table.TRADES, "BTCUSDT")
QUOTE = ("bid_price", "bid_size", "ask_price", "ask_size")
Row = dict[str, Any]


def trade(sequence: int, match: int, cross_sequence: int | None, **columns: Any) -> Row:
    """A trade at ``match`` ms since the epoch."""
    times = {"receive_time": match * MS + 5 * MS, "push_time": match + 1, "match_time": match}
    price = {"price_mantissa": 100, "size_mantissa": 1, "trade_id": str(sequence)}
    return {"sequence": sequence, "cross_sequence": cross_sequence} | times | price | columns


def ask(archive: Archive, t0_ns: int, t1_ns: int, **named: str) -> list[Row]:
    given = {"t0": format_ns(t0_ns), "t1": format_ns(t1_ns), "untrusted": "mark"} | named
    arguments = ", ".join(f"{name} := '{value}'" for name, value in given.items())
    return (
        archive.sql(
            "SELECT * REPLACE (epoch_ms(time) AS time) FROM trades_with_quotes("
            f"category := 'linear', symbol := 'BTCUSDT', {arguments})"
        )
        .table()
        .to_pylist()
    )


def beginnings(recordings: list[Recording]) -> list[int]:
    """The millisecond from which on each recording has a book."""
    found = []
    for recording in recordings:
        feed = [each for each in recording.rows if each["depth"] == 50]
        reached = 0
        for each in feed:
            reached = max(reached, each["match_time"])
            if each["applied"] and each["kind"] != "delta":
                found.append(reached)
                break
    return found


@pytest.mark.parametrize("seed", range(24))
def test_random_recordings_agree_with_the_reference(tmp_path: Path, seed: int) -> None:
    rng = random.Random(4000 + seed)
    archive = HandmadeArchive(tmp_path)
    recordings: list[Recording] = []
    sequence, start_ns = 1, NOON_NS
    for _ in range(rng.randrange(1, 4)):
        recording, sequence = record(rng, archive, sequence, NOON_MS, start_ns)
        recordings.append(recording)
        start_ns = recording.end_ns + rng.randrange(1, 300 * MS)
    moments = [moment_of(each, Clock.MATCH) // MS for recording in recordings for each in recording.rows]
    low, high = min(moments) - 20, max(moments) + 60
    # Every message has sequence 0: a trade of sequence 9 is behind those of its moment, one of 0 is not.
    trades = sorted(
        (
            trade(
                sequence + number,
                rng.choice((rng.choice(moments), rng.randrange(low, high))),
                rng.choice((0, 9)),
            )
            for number in range(120)
        ),
        key=lambda each: each["match_time"],
    )
    archive.segment(start_ns, {TRADES: trades})
    if seed % 3 == 0:
        compact_data(tmp_path)
    t0, t1 = rng.choice((low, rng.randrange(low, high))), high
    expected = []
    for each in trades:
        if t0 <= each["match_time"] < t1:
            at_ns = each["match_time"] * MS - (0 if each["cross_sequence"] else 1)
            # What was before the first millisecond of a recording, or of the range, nobody asks.
            is_sure = bool(each["cross_sequence"]) or each["match_time"] not in {t0, *beginnings(recordings)}
            expected.append((each, reference(recordings, at_ns, Clock.MATCH), is_sure))
    with open_archive(tmp_path) as opened:
        try:
            found_rows = ask(opened, t0 * MS, t1 * MS, topic="orderbook.50")
        except NoData:
            assert all(found is None for _, found, is_sure in expected if is_sure)
            return
        kept = ask(opened, t0 * MS, t1 * MS, topic="orderbook.50", untrusted="leave out")
    assert kept == [each for each in found_rows if each["trusted"]]
    assert [each["time"] for each in found_rows] == [each["match_time"] for each, _, _ in expected]
    for got, (its, found, is_sure) in zip(found_rows, expected, strict=True):
        if not is_sure:
            continue
        live = found is not None and found[0] == "live"
        assert got["trusted"] == live, (its, found, got)
        if live:
            assert found is not None
            best = [(float(side[0][0]), float(side[0][1])) if side else (None, None) for side in found[2:]]
            assert [got[name] for name in QUOTE] == [*best[0], *best[1]], (its, found, got)


def simple(data: Path, books: list[Row], trades: list[Row], **more: Any) -> Path:
    tables = {BOOK: books, TRADES: trades, COVERAGE: [cover(0, 0, 10_000)], **more}
    HandmadeArchive(data).segment(NOON_NS, tables)
    return data


SECONDS = (NOON_NS, NOON_NS + 10**10)


def test_a_trade_meets_what_was_there_before_its_own_sequence(tmp_path: Path) -> None:
    books = [
        row(1, 1000, "snapshot", bid=100),
        row(2, 1000, bid=101),
        row(3, 1000, bid=102),
    ]  # sequences 10, 20, 30
    trades = [
        trade(10 + number, NOON_MS + match, seq)
        for number, (match, seq) in enumerate(
            [(999, 99), (1000, 10), (1000, 11), (1000, 20), (1000, 25), (1001, 5)]
        )
    ]
    trades.append(trade(30, NOON_MS + 1000, None))
    trades.append(trade(31, NOON_MS + 1002, None))
    with open_archive(simple(tmp_path, books, trades)) as archive:
        found = ask(archive, *SECONDS)
        bids = {each["trade_id"]: each["bid_price"] for each in found}
        assert bids == {
            "10": None, "11": None, "12": 1.0, "13": 1.0, "14": 1.01, "15": 1.02, "30": None, "31": 1.02,
        }  # fmt: skip
        ages = {each["trade_id"]: each["quote_age_ms"] for each in found}
        assert ages["15"] == 1
        assert [each["trade_id"] for each in ask(archive, *SECONDS, untrusted="leave out")] == [
            "12", "13", "14", "15", "31",
        ]  # fmt: skip


def test_the_shallowest_book_is_joined_unless_another_is_asked_for(tmp_path: Path) -> None:
    books = [row(1, 1000, "snapshot", bid=100), row(2, 1001, "snapshot", bid=150, depth=1)]
    tables: dict[Any, list[Row]] = {BOOK: books, TRADES: [trade(9, NOON_MS + 2000, 99)]}
    tables[COVERAGE] = [cover(0, 0, 10_000), cover(0, 0, 10_000, topic="orderbook.1.BTCUSDT")]
    HandmadeArchive(tmp_path).segment(NOON_NS, tables)
    with open_archive(tmp_path) as archive:
        assert [each["bid_price"] for each in ask(archive, *SECONDS)] == [1.5]
        assert [each["bid_price"] for each in ask(archive, *SECONDS, topic="orderbook.50")] == [1.0]


def test_a_gap_that_no_row_shows_and_its_healing_in_the_same_millisecond(tmp_path: Path) -> None:
    first = row(1, 1000, "snapshot", bid=100)
    heal = row(3, 1000, "snapshot", bid=120, receive_time=NOON_NS + 5_000 * MS)
    late = row(4, 6000, bid=121, receive_time=NOON_NS + 6_000 * MS)
    trades = [trade(10 + i, NOON_MS + match, 99) for i, match in enumerate((1000, 1001, 6000))]
    tables = {BOOK: [first, heal, late], TRADES: trades, COVERAGE: [cover(0, 0, 10_000)]}
    HandmadeArchive(tmp_path).segment(NOON_NS, tables | {GAPS: [gap(3, first, heal)]})
    with open_archive(tmp_path) as archive:
        found = ask(archive, *SECONDS)
    assert [each["trusted"] for each in found][1:] == [True, True]
    assert [each["bid_price"] for each in found][1:] == [1.2, 1.21]


def test_without_a_book_there_is_no_data(tmp_path: Path) -> None:
    HandmadeArchive(tmp_path).segment(NOON_NS, {TRADES: [trade(1, NOON_MS, 1)]})
    with open_archive(tmp_path) as archive, pytest.raises(NoData, match="no order book of linear BTCUSDT"):
        ask(archive, *SECONDS)
