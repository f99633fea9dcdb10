"""The main job over real processes and sockets: what was sent is recorded, rolled, verified and answered exactly."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.core.feeds import Engine
from engine.market import Market
from schemas.names import Category, Table
from tests.ledger import Expected, Ladder
from tests.processes import ROOT, json_lines, tapebook
from tests.recorded import (
    START_NS,
    Recorded,
    assert_answers,
    assert_verified,
    hold,
    market_feed,
    record_replay,
)

FEED_NAME = "bybit_linear_btc_eth"
FEED_TOPICS = [
    f"{prefix}.{symbol}"
    for prefix in ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
    for symbol in ("BTCUSDT", "ETHUSDT")
]
PRICE_DECIMALS, SIZE_DECIMALS = 2, 3


class Check(NamedTuple):
    """A row of the feed's check file."""

    line: int
    topic: str
    update_id: int
    crc32: str


class FeedRecording(NamedTuple):
    """The real feed, or its opening, recorded."""

    recorded: Recorded
    expected: Expected
    sent: list[bytes]
    checks: list[Check]


def feed_directory() -> Path:
    """Where the captured feed is; it is no part of the repository."""
    found = Path(os.environ.get("TAPEBOOK_FEED", ROOT.parent / "shared" / "data"))
    directory = found.parent if found.is_file() else found
    if not (directory / f"{FEED_NAME}.jsonl.gz").exists():
        pytest.skip(f"no captured feed in {directory}; TAPEBOOK_FEED may say where it is")
    return directory


@pytest.fixture(
    scope="module",
    params=[pytest.param(10_000, id="opening"), pytest.param(None, id="whole", marks=pytest.mark.slow)],
)
def feed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeedRecording:
    directory = feed_directory()
    tmp_path = tmp_path_factory.mktemp("feed")
    with gzip.open(directory / f"{FEED_NAME}.jsonl.gz") as file:
        lines = list(islice(file, request.param))
    path = tmp_path / "feed.jsonl"
    path.write_bytes(b"".join(lines))
    checks = []
    with gzip.open(directory / f"{FEED_NAME}.check.tsv.gz", "rt") as rows:
        for row in rows:
            number, topic, update_id, crc32, _, _ = row.rstrip("\n").split("\t")
            if int(number) < len(lines):
                checks.append(Check(int(number), topic, int(update_id), crc32))
    recorded, expected = record_replay(tmp_path, path, Category.LINEAR, FEED_TOPICS, "--speed", "max")
    return FeedRecording(recorded, expected, [line.split(b" ", 1)[1].rstrip(b"\n") for line in lines], checks)


def test_every_frame_is_in_the_journal_byte_for_byte_and_in_order(feed: FeedRecording) -> None:
    assert [record.payload for record in feed.recorded.frames] == feed.sent
    stamps = [record.receive_ns for record in feed.recorded.frames]
    assert stamps == sorted(stamps)


def test_the_archive_has_exactly_the_rows_that_the_frames_mean(feed: FeedRecording) -> None:
    assert not feed.expected.gaps
    hold(feed.recorded, feed.expected)


def test_live_books_equal_the_check_file_at_every_frame(feed: FeedRecording) -> None:
    engine = Engine(Category.LINEAR)
    for topic in FEED_TOPICS:
        engine.add_feed(topic)
    checks = iter(feed.checks)
    check = next(checks)
    compared = 0
    for number, record in enumerate(feed.recorded.frames):
        index = engine.apply(record.payload, record.receive_ns, record.sequence)
        if number != check.line:
            continue
        assert engine.topics()[index] == check.topic
        assert engine.update_id(index) == check.update_id
        assert engine_crc32(engine, index, check.topic) == check.crc32, f"frame {number}: {check}"
        compared += 1
        check = next(checks, Check(-1, "", 0, ""))
    assert compared == len(feed.checks)


def engine_crc32(engine: Engine, index: int, topic: str) -> str:
    _, depth, symbol = topic.split(".")
    price_exponent, size_exponent = engine.exponents(symbol)
    prices, sizes = 10 ** (price_exponent + PRICE_DECIMALS), 10 ** (size_exponent + SIZE_DECIMALS)
    ladder = Ladder()
    bids, asks = engine.levels(index, int(depth))
    ladder.replace(
        [(price * prices, size * sizes) for price, size in bids],
        [(price * prices, size * sizes) for price, size in asks],
    )
    return ladder.crc32(int(depth))


def test_books_rebuilt_from_parquet_equal_the_check_file_at_every_row(feed: FeedRecording) -> None:
    expected: dict[str, Iterator[Check]] = {}
    for topic in {check.topic for check in feed.checks}:
        expected[topic] = iter([check for check in feed.checks if check.topic == topic])
    ladders: dict[str, Ladder] = {}
    compared = keyframes = 0
    for row in feed.recorded.rows(Table.BOOK_UPDATES):
        topic = f"orderbook.{row['depth']}.{row['symbol']}"
        ladder = ladders.setdefault(topic, Ladder())
        prices = 10 ** (row["price_exponent"] + PRICE_DECIMALS)
        sizes = 10 ** (row["size_exponent"] + SIZE_DECIMALS)
        bids, asks = (
            [
                (price * prices, size * sizes)
                for price, size in zip(
                    row[f"{side}_price_mantissa"], row[f"{side}_size_mantissa"], strict=True
                )
            ]
            for side in ("bid", "ask")
        )
        if row["kind"] == "keyframe":
            if ladder.bids:
                assert (ladder.bids, ladder.asks) == (dict(bids), dict(asks)), f"{topic}: {row['sequence']}"
            ladder.replace(bids, asks)
            keyframes += 1
            continue
        (ladder.replace if row["kind"] == "snapshot" else ladder.change)(bids, asks)
        check = next(expected[topic])
        assert (row["update_id"], ladder.crc32(row["depth"])) == (check.update_id, check.crc32), topic
        compared += 1
    assert compared == len(feed.checks)
    assert keyframes > 0


def test_verify_exits_0_and_counts_every_frame(feed: FeedRecording) -> None:
    done = tapebook("verify", "--data", feed.recorded.data, "--format", "json")
    assert done.code == 0, done.out
    counts = json_lines(done.out)[-1]
    assert counts["frames"] == len(feed.sent)
    assert counts["live_digests"] == counts["archive_digests"] > 0
    assert counts["books"] >= len(feed.checks)
    assert (counts["gaps"], counts["undecodable"], counts["failures"]) == (0, 0, 0)


def test_book_command_prints_the_ladder_of_the_moment(feed: FeedRecording) -> None:
    answers = assert_answers(feed.recorded, feed.expected, Category.LINEAR, samples=8)
    assert answers > 50
    done = tapebook(
        "book", "BTCUSDT", "--category", "linear", "--topic", "orderbook.50", "--depth", 5, "--format", "json",
        "--at", "2024-08-08T23:55:00Z", "--data", feed.recorded.data,
    )  # fmt: skip
    assert done.code == 0, done.err
    (book,) = json_lines(done.out)
    assert book["state"] == "live"
    assert (len(book["bids"]), len(book["asks"])) == (5, 5)
    assert book["match_time"] <= "2024-08-08T23:55:00"
    assert book["receive_time"] > "2024-08-09"  # replayed later: we received it just now
    assert book["age_ms"] >= 0
    window = Ladder()
    for record in feed.recorded.frames:
        if b'"topic":"orderbook.50.BTCUSDT"' not in record.payload:
            continue
        ladder_frame(window, record.payload)
        if b'"u":%d,' % book["update_id"] in record.payload:
            break
    bids, asks = window.top(5)
    assert [[plain(price), plain(size)] for price, size in book["bids"]] == [list(level) for level in bids]
    assert [[plain(price), plain(size)] for price, size in book["asks"]] == [list(level) for level in asks]


def plain(text: str) -> int:
    """A decimal text of this feed, which pads its zeros, with the point removed."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction)


def ladder_frame(ladder: Ladder, payload: bytes) -> None:
    message = json.loads(payload)
    bids, asks = (
        [(plain(price), plain(size)) for price, size in message["data"][side]] for side in ("b", "a")
    )
    (ladder.replace if message["type"] == "snapshot" else ladder.change)(bids, asks)


MARKETS = [
    pytest.param(Category.SPOT, ["orderbook.1", "orderbook.50", "orderbook.200"], id="spot"),
    pytest.param(
        Category.LINEAR,
        ["orderbook.1", "orderbook.50", "orderbook.1000"],
        id="linear",
        marks=pytest.mark.slow,
    ),
    pytest.param(Category.INVERSE, ["orderbook.1", "orderbook.200"], id="inverse", marks=pytest.mark.slow),
    pytest.param(Category.OPTION, ["orderbook.25", "orderbook.100"], id="option"),
]


def market_topics(category: Category, books: list[str]) -> list[str]:
    instruments = Market(1, category, start_ns=START_NS, symbol_count=2).instruments
    topics = [f"{prefix}.{each.symbol}" for prefix in (*books, "tickers") for each in instruments]
    trades = {each.base_coin if category is Category.OPTION else each.symbol for each in instruments}
    return topics + [f"publicTrade.{name}" for name in sorted(trades)]


@pytest.mark.parametrize(("category", "books"), MARKETS)
def test_each_category_with_snapshots_in_the_middle(
    category: Category, books: list[str], tmp_path: Path
) -> None:
    topics = market_topics(category, books)
    path = market_feed(tmp_path / "feed.txt", category, topics, 10)
    recorded, expected = record_replay(tmp_path, path, category, topics, "--speed", "max")
    sent = [line.split(b" ", 1)[1] for line in path.read_bytes().splitlines()]
    assert [record.payload for record in recorded.frames] == sent
    assert not expected.gaps
    assert all(sum(row.kind == "snapshot" for row in rows) > 1 for rows in expected.books.values()), (
        "the feed has no snapshot in its middle"
    )
    hold(recorded, expected)
    assert assert_answers(recorded, expected, category, samples=8) > 20
    assert_verified(recorded.data)


@pytest.mark.parametrize(("category", "books"), MARKETS[:2])
def test_a_replay_that_starts_in_the_middle_of_its_feeds(
    category: Category, books: list[str], tmp_path: Path
) -> None:
    topics = market_topics(category, books)
    path = market_feed(tmp_path / "feed.txt", category, topics, 10, late=True)
    recorded, expected = record_replay(tmp_path, path, category, topics, "--speed", "max")
    chains = {topic: rows for topic, rows in expected.books.items() if ".1." not in topic}
    for topic, rows in chains.items():
        early = [row for row in rows if not row.applied]
        assert early, f"{topic} has no delta before its first snapshot: the test tests nothing"
        first = next(row for row in rows if row.applied)
        gaps = [gap for gap in recorded.gaps if gap["topic"] == topic]
        assert [(gap["cause"], gap["first_update_id"], gap["last_update_id"]) for gap in gaps] == [
            ("no_snapshot", early[0].update_id, first.update_id - 1)
        ]
    hold(recorded, expected)
    assert_answers(recorded, expected, category, samples=8)
    assert_verified(recorded.data)
