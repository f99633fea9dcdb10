"""A bad network, made on purpose: what the recording says of it is held against the gateway's ledger."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from recorder.archive import open_archive
from schemas.names import Category, RecordKind
from schemas.notes import Disconnected, decode_session
from tests.ledger import Expected
from tests.recorded import Recorded, assert_answers, assert_verified, hold, market_feed, record_replay

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PREFIXES = ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS]
CHAINS = [topic for topic in TOPICS if topic.startswith(("orderbook.50", "orderbook.200"))]


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "feed.txt"
    return market_feed(path, Category.LINEAR, TOPICS, 24)


def record_with(tmp_path: Path, feed: Path, faults: str) -> tuple[Recorded, Expected]:
    return record_replay(tmp_path, feed, Category.LINEAR, TOPICS, "--speed", 12, "--fault", faults)


def disconnects(recorded: Recorded) -> list[int]:
    """Receive times at which a connection was lost."""
    found = []
    for record in recorded.records:
        if record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(event, Disconnected) and not event.clean:
                found.append(record.receive_ns)
    return found


def assert_damage_is_in_gaps(recorded: Recorded, expected: Expected) -> None:
    """Every undecodable frame lies in a gap: of its topic, or of no topic where that can't be told."""
    bad = [record for record in recorded.frames if is_damaged(record.payload)]
    assert len(bad) == expected.undecodable
    for record in bad:
        assert any(
            gap["start_ns"] <= record.receive_ns
            and (gap["end_ns"] is None or record.receive_ns <= gap["end_ns"])
            and (gap["topic"] == "" or gap["topic"].encode() in record.payload)
            for gap in recorded.gaps
        ), record


def is_damaged(payload: bytes) -> bool:
    try:
        json.loads(payload.decode())
    except ValueError:
        return True
    return False


def assert_no_book_across_a_gap(recorded: Recorded, expected: Expected) -> None:
    """No query shows an applied delta that doesn't follow the message before it in its chain."""
    with open_archive(recorded.data) as archive:
        rows = archive.sql(
            "SELECT symbol, depth, kind, update_id, applied FROM book_updates "
            "WHERE depth > 1 AND kind != 'keyframe' ORDER BY symbol, depth, sequence"
        ).table()
    last: dict[tuple[str, int], int] = {}
    for row in rows.to_pylist():
        feed = row["symbol"], row["depth"]
        assert row["applied"]
        if row["kind"] == "delta":
            assert row["update_id"] == last[feed] + 1, feed
        last[feed] = row["update_id"]
    assert rows.num_rows == sum(row.applied for topic in CHAINS for row in expected.books[topic])
    assert assert_answers(recorded, expected, Category.LINEAR, samples=10) > 50


@pytest.mark.parametrize(
    ("fault", "share"),
    [("drop", 0.01), ("repeat", 0.05), ("reorder", 0.02), ("corrupt", 0.02)],
)
def test_one_kind_of_damage(fault: str, share: float, feed: Path, tmp_path: Path) -> None:
    recorded, expected = record_with(tmp_path, feed, f"{fault}={share},seed=7")
    assert expected.faults[fault] > 10, "too few faults: the test tests nothing"
    hold(recorded, expected)
    chained = Counter(gap.cause for gap in expected.gaps if gap.topic in CHAINS)
    if fault == "repeat":
        assert not expected.gaps
        assert expected.repeats > 10
    elif fault == "corrupt":
        assert expected.undecodable == expected.faults["corrupt"]
        assert chained["undecodable"] > 3
        assert_damage_is_in_gaps(recorded, expected)
    else:
        assert chained["lost"] > 3
    assert_no_book_across_a_gap(recorded, expected)
    assert_verified(recorded.data)


@pytest.mark.parametrize("fault", ["cut=0.002,seed=3", "close=0.8,seed=3"])
def test_lost_connections(fault: str, feed: Path, tmp_path: Path) -> None:
    recorded, expected = record_with(tmp_path, feed, fault)
    lost = disconnects(recorded)
    assert len(lost) == expected.faults[fault.partition("=")[0]] > 0
    hold(recorded, expected)
    for at_ns in lost:
        for topic in TOPICS:
            assert any(
                gap["topic"] == topic
                and gap["cause"] == "disconnect"
                and gap["start_ns"] <= at_ns
                and (gap["end_ns"] is None or at_ns <= gap["end_ns"])
                for gap in recorded.gaps
            ), f"{topic}: no gap at {at_ns}"
    assert {gap.cause for gap in expected.gaps} == {"disconnect"}
    assert_no_book_across_a_gap(recorded, expected)
    assert_verified(recorded.data)
