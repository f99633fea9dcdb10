"""A bad network, made on purpose: what the recording says of it is held against the gateway's ledger."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from recorder.archive import open_archive
from schemas.names import Category, RecordKind
from schemas.notes import Disconnected, decode_session
from tests.ledger import Expected, read_ledger
from tests.processes import tapebook
from tests.recorded import (
    Recorded,
    assert_answers,
    assert_verified,
    exchange_of,
    hold,
    market_feed,
    record_replay,
)

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PREFIXES = ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS]
CHAINS = [topic for topic in TOPICS if topic.startswith(("orderbook.50", "orderbook.200"))]


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("market") / "feed.txt"
    return market_feed(path, Category.LINEAR, TOPICS, 18)


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
    [
        ("drop", 0.01),
        ("corrupt", 0.02),
        pytest.param("repeat", 0.05, marks=pytest.mark.slow),
        pytest.param("reorder", 0.02, marks=pytest.mark.slow),
    ],
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


@pytest.mark.parametrize(
    "fault", ["cut=0.002,seed=3", pytest.param("close=1.7,seed=3", marks=pytest.mark.slow)]
)
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


def test_everything_at_once(feed: Path, tmp_path: Path) -> None:
    faults = "drop=0.004,repeat=0.01,reorder=0.004,corrupt=0.006,cut=0.0005,seed=11"
    recorded, expected = record_with(tmp_path, feed, faults)
    assert {"drop", "repeat", "reorder", "corrupt"} <= set(expected.faults)
    hold(recorded, expected)
    assert_damage_is_in_gaps(recorded, expected)
    assert_no_book_across_a_gap(recorded, expected)
    assert_verified(recorded.data)


@pytest.mark.slow
def test_a_stalled_topic_is_silent_until_it_is_subscribed_anew(tmp_path: Path) -> None:
    topics = ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT", "publicTrade.BTCUSDT"]
    path = market_feed(tmp_path / "feed.txt", Category.LINEAR, topics, 32)
    data, ledger_path = tmp_path / "data", tmp_path / "ledger.jsonl"
    with exchange_of(tmp_path, path, Category.LINEAR, "--fault", "stall=0.0012,seed=4") as (endpoint, _):
        done = tapebook(
            "record",
            "--endpoint",
            endpoint,
            "--data",
            data,
            "--topics",
            ",".join(topics),
            "--duration",
            30,
            "--no-backfill",
        )
        assert done.code == 0, done.err
    ledger = read_ledger(ledger_path)
    recorded = Recorded(data, "linear")
    stalled = {entry.topic for entry in ledger if entry.fault == "stall"}
    silences = [gap for gap in recorded.gaps if gap["cause"] == "silence"]
    assert silences
    assert {gap["topic"] for gap in silences} <= stalled
    for gap in silences:
        if gap["topic"].startswith("publicTrade"):
            continue
        frames = [entry for entry in ledger if entry.event == "frame" and entry.topic == gap["topic"]]
        before = max(i for i, entry in enumerate(frames) if entry.u == gap["first_update_id"] - 1)
        assert frames[before + 1].rebuilt
        assert gap["last_update_id"] == (frames[before + 1].u or 0) - 1
        assert gap["end_ns"] - gap["start_ns"] >= 10_000_000_000
    assert {gap["topic"] for gap in recorded.gaps} <= stalled
    assert_verified(data)
