"""How a recording ends: by a signal, by a kill of the recorder, by a kill of its roller."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.journal import segments
from recorder.manifest import read_manifest
from schemas.names import Category, Table
from tests.ledger import expect, read_ledger
from tests.processes import Running, alive, children_of, gateway, recording, tapebook, wait_until
from tests.recorded import Recorded, assert_verified

SYMBOLS = "BTCUSDT,ETHUSDT"
PREFIXES = "orderbook.50,publicTrade,tickers"
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES.split(",") for symbol in SYMBOLS.split(",")]


class Market:
    """A simulated exchange with its ledger."""

    def __init__(self, url: str, ledger: Path) -> None:
        self.url = url
        self.ledger = ledger


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    ledger = tmp_path / "ledger.jsonl"
    options = ["--simulate", 5, "--category", "linear", "--symbol-count", 2, "--rate", 3, "--ledger", ledger]
    with gateway(tmp_path / "gateway", *options) as served:
        yield Market(served.url, ledger)


def start(tmp_path: Path, market: Market, run: str, *options: object) -> Running:
    return recording(
        tmp_path / run, market.url, tmp_path / "data", "--symbols", SYMBOLS, "--topics", PREFIXES,
        "--no-backfill", "--commit-ledger", tmp_path / f"{run}.commits", *options,
    )  # fmt: skip


def witnessed(tmp_path: Path, run: str) -> list[tuple[str, int, int]]:
    """Commits that returned: segment, batch, last sequence."""
    path = tmp_path / f"{run}.commits"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(name, int(batch), int(last)) for name, batch, last, _ in map(str.split, lines)]


def recorded_some(tmp_path: Path, run: str, commits: int) -> bool:
    return len(witnessed(tmp_path, run)) >= commits


def assert_nothing_left_open(data: Path) -> None:
    """Everything is sealed, and rolled."""
    found = segments(data)
    assert {file.state for file in found} <= {"sealed", "torn"}
    rolled = read_manifest(data / "archive").segments
    assert {(file.collector, file.start_ns) for file in found if file.state == "sealed"} == set(rolled)


def assert_witnessed(tmp_path: Path, run: str) -> None:
    """Every commit that returned is in the journal."""
    commits = witnessed(tmp_path, run)
    held = {record.sequence for record in Recorded(tmp_path / "data", "linear").records}
    assert commits
    assert all(last in held for _, _, last in commits)
    assert set(range(commits[0][2], commits[-1][2] + 1)) <= held


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_recording_whole(number: signal.Signals, market: Market, tmp_path: Path) -> None:
    with start(tmp_path, market, "run") as recorder:
        recorder.until(lambda: recorded_some(tmp_path, "run", 60), "60 commits")
        done = recorder.stop(number)
    assert done.code == 0, done.err
    for topic in TOPICS:
        assert topic in done.out
    assert number.name in done.out
    assert_nothing_left_open(tmp_path / "data")
    assert_witnessed(tmp_path, "run")
    recorded = Recorded(tmp_path / "data", "linear")
    # What was sent after the recorder said goodbye is nobody's.
    frames = [frame.payload for frame in recorded.frames]
    assert not expect(read_ledger(market.ledger), frames, Category.LINEAR).gaps
    assert recorded.gaps == []
    assert_verified(tmp_path / "data")


@pytest.mark.parametrize(("heal", "seed"), [("record", 1), ("roll", 2)])
def test_a_killed_recorder_loses_no_commit_that_returned(
    heal: str, seed: int, market: Market, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    commits = random.Random(seed).randrange(30, 120)
    with start(tmp_path, market, "first", "--segment-seconds", 1) as recorder:
        recorder.until(lambda: recorded_some(tmp_path, "first", commits), "enough commits")
        (roller,) = children_of(recorder.process.pid)
        recorder.kill()
    wait_until(lambda: not alive(roller), "the roller ended with its parent")
    assert any(file.state == "open" for file in segments(data)), "the kill left nothing to recover"
    if heal == "roll":
        done = tapebook("roll", "--data", data)
        assert done.code == 0, done.err
        assert "recover" in done.out + done.err
        assert_nothing_left_open(data)
        assert_witnessed(tmp_path, "first")
        assert_verified(data)
    with start(tmp_path, market, "second") as recorder:
        recorder.until(lambda: recorded_some(tmp_path, "second", 60), "60 commits")
        done = recorder.stop()
    assert done.code == 0, done.err
    if heal == "record":
        assert "recovered after a crash" in done.err
    assert_nothing_left_open(data)
    assert_witnessed(tmp_path, "first")
    assert_witnessed(tmp_path, "second")
    assert_verified(data)
    assert_crash_gaps(Recorded(data, "linear"))


def assert_crash_gaps(recorded: Recorded) -> None:
    """One gap per feed that had delivered, from its last good message to the next run's first one that heals."""
    crashes = {gap["topic"]: gap for gap in recorded.gaps if gap["cause"] == "crash"}
    assert len(crashes) == len([gap for gap in recorded.gaps if gap["cause"] == "crash"])
    runs = sorted({info.run for info in read_manifest(recorded.data / "archive").segments.values()})
    second_ns = runs[1]
    delivered = set()
    chains: dict[str, list[tuple[int, int, str]]] = {}
    prefixes = {Table.BOOK_UPDATES: "orderbook.50", Table.TRADES: "publicTrade", Table.TICKERS: "tickers"}
    for table, prefix in prefixes.items():
        for row in recorded.rows(table):
            topic = f"{prefix}.{row['symbol']}"
            if row["receive_time"] < second_ns:
                delivered.add(topic)
            if table is Table.BOOK_UPDATES and row["kind"] != "keyframe":
                chains.setdefault(topic, []).append((row["receive_time"], row["update_id"], row["kind"]))
    assert set(crashes) == delivered
    for topic, rows in chains.items():
        last = max(row for row in rows if row[0] < second_ns)
        healing = next(row for row in rows if row[0] >= second_ns)
        gap = crashes[topic]
        assert healing[2] == gap["healed_by"] == "snapshot"
        assert gap["first_update_id"] == last[1] + 1
        # A simulated market that nobody looks at numbers anew.
        assert gap["last_update_id"] == (healing[1] - 1 if healing[1] >= last[1] else None)
        assert (gap["start_ns"], gap["end_ns"]) == (last[0], healing[0])


def test_a_killed_roller_is_told_and_its_work_done_later(market: Market, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with start(tmp_path, market, "run") as recorder:
        recorder.until(lambda: recorded_some(tmp_path, "run", 40), "40 commits")
        (roller,) = children_of(recorder.process.pid)
        os.kill(roller, signal.SIGKILL)
        done = recorder.stop()
    assert done.code == 4, done.err
    assert "tapebook roll" in done.err
    assert all(file.state == "sealed" for file in segments(data))
    assert not read_manifest(data / "archive").segments
    rolled = tapebook("roll", "--data", data)
    assert rolled.code == 0, rolled.err
    assert_nothing_left_open(data)
    assert_verified(data)
