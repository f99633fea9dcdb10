"""Two lines over real sockets: what befalls one of them costs nothing; the archive is what was published."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from recorder.status import data_status
from schemas.names import RecordKind, Table
from schemas.notes import Disconnected, Subscribed, decode_session
from tests.ledger import Entry, read_ledger
from tests.processes import gateway, tapebook
from tests.recorded import Recorded, assert_verified

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PREFIXES = ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS]
CHAINS = [topic for topic in TOPICS if topic.startswith(("orderbook.50", "orderbook.200"))]
TEN_MINUTES = 600.0
SECOND_NS = 10**9


def crc32(payload: bytes) -> str:
    return f"{zlib.crc32(payload):08x}"


def record(tmp_path: Path, faults: str, seconds: float, *, lines: int = 2) -> tuple[Recorded, list[Entry]]:
    """Record a simulated market over several lines; what was published is told by the ledger."""
    data, ledger = tmp_path / "data", tmp_path / "ledger.jsonl"
    options = ["--simulate", 7, "--category", "linear", "--ledger", ledger, "--ledger-books"]
    with gateway(tmp_path / "gateway", *options, "--fault", faults) as served:
        arguments = ["--category", "linear", "--topics", ",".join(TOPICS), "--duration", seconds]
        done = tapebook(
            "record",
            "--endpoint",
            served.url,
            "--data",
            data,
            "--lines",
            lines,
            "--no-backfill",
            *arguments,
            patience_s=seconds + 300,
        )
        assert done.code == 0, done.err
    return Recorded(data, "linear"), read_ledger(ledger)


class Account:
    """What was published, and what the archive made of it, by topic."""

    def __init__(self, recorded: Recorded, ledger: list[Entry]) -> None:
        self.payloads = {frame.sequence: frame.payload for frame in recorded.frames}
        self.by_crc = {crc32(payload): payload for payload in self.payloads.values()}
        self.published: dict[str, list[str]] = {topic: [] for topic in TOPICS}
        for entry in ledger:
            if entry.event == "published" and not entry.rebuilt and entry.topic in self.published:
                assert entry.crc32 is not None
                self.published[entry.topic].append(entry.crc32)
        self.rows: dict[str, list[tuple[str, bool, int]]] = {topic: [] for topic in TOPICS}
        self.trades: dict[str, list[str]] = {}
        for row in recorded.rows(Table.BOOK_UPDATES):
            if row["kind"] != "keyframe":
                self._row(f"orderbook.{row['depth']}.{row['symbol']}", row)
        for row in recorded.rows(Table.TICKERS):
            self._row(f"tickers.{row['symbol']}", row)
        for row in recorded.rows(Table.TRADES):
            self.trades.setdefault(f"publicTrade.{row['symbol']}", []).append(row["trade_id"])

    def _row(self, topic: str, row: dict[str, object]) -> None:
        sequence = row["sequence"]
        assert isinstance(sequence, int)
        self.rows[topic].append((crc32(self.payloads[sequence]), bool(row["applied"]), sequence))

    def span(self, topic: str) -> list[str]:
        """What was published from the first to the last frame of the topic that the recorder got on any line."""
        published = self.published[topic]
        got = [number for number, crc in enumerate(published) if crc in self.by_crc]
        assert len(got) > 5, f"{topic}: too little was published: the test tests nothing"
        return published[got[0] : got[-1] + 1]

    def trade_ids(self, topic: str) -> list[str]:
        return [trade["i"] for crc in self.span(topic) for trade in json.loads(self.by_crc[crc])["data"]]


def assert_all_of_it(account: Account) -> None:
    """Every frame that was published is a row once, in its order; every trade is a row once."""
    for topic, rows in account.rows.items():
        if topic.startswith("publicTrade"):
            assert Counter(account.trades[topic]) == Counter(account.trade_ids(topic)), topic
            continue
        span = account.span(topic)
        known = set(span)
        made = [crc for crc, _, _ in rows if crc in known]
        assert made == span, f"{topic}: {len(made)} rows of {len(span)} messages"
        assert all(applied for _, applied, _ in rows), topic


def cuts(recorded: Recorded) -> Counter[int]:
    """How often each line was lost."""
    found: Counter[int] = Counter()
    for record in recorded.records:
        if record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(event, Disconnected) and not event.clean:
                found[record.line] += 1
    return found


def alone_ns(recorded: Recorded) -> list[int]:
    """When a line was cut while the other one was not, or only just, subscribed: a machine so busy tests nothing."""
    since: dict[int, int] = {}
    found = []
    for record in recorded.records:
        if record.kind != RecordKind.SESSION:
            continue
        event = decode_session(record.payload)
        if isinstance(event, Subscribed):
            since[record.line] = record.receive_ns
        elif isinstance(event, Disconnected) and not event.clean:
            since.pop(record.line, None)
            if all(record.receive_ns - other < SECOND_NS for other in since.values()):
                found.append(record.receive_ns)
    return found


def brought_alone(recorded: Recorded, topics: Iterable[str]) -> Counter[int]:
    """How many messages each line brought that the other one lacks, between the first and the last that it has."""
    found: Counter[int] = Counter()
    for topic in topics:
        frames = [frame for frame in recorded.frames if f'"topic":"{topic}"'.encode() in frame.payload]
        for line in (0, 1):
            others = [frame for frame in frames if frame.line != line]
            known = {frame.payload for frame in others}
            found[line] += sum(
                frame.line == line
                and others[0].sequence < frame.sequence < others[-1].sequence
                and frame.payload not in known
                and (b'"type":"delta"' in frame.payload or topic not in CHAINS)  # what answers a subscription
                for frame in frames
            )
    return found


def cut_one_of_two(tmp_path: Path, seconds: float, faults: str, *, least_cuts: int) -> None:
    recorded, ledger = record(tmp_path, faults, seconds)
    lost = cuts(recorded)
    assert min(lost[0], lost[1]) >= least_cuts, f"too few cuts: the test tests nothing: {lost}"
    alone = alone_ns(recorded)
    for gap in recorded.gaps:
        assert any(
            gap["start_ns"] <= moment and (gap["end_ns"] is None or moment <= gap["end_ns"])
            for moment in alone
        ), gap
    if not alone:
        assert_all_of_it(Account(recorded, ledger))
    assert_verified(recorded.data)
    (live,) = data_status(recorded.data)["collectors"]
    lines = live["live"]["lines"]
    assert [line["line"] for line in lines] == [0, 1]
    assert all(line["frames"] > line["taken"] > 0 and line["repeats"] > 0 for line in lines)
    least, most = brought_alone(recorded, CHAINS), brought_alone(recorded, TOPICS)
    assert sum(least.values()) > 0, "no line missed anything: the test tests nothing"
    assert sum(line["saved"] for line in lines) > 0
    for line in lines if not alone else []:
        assert least[line["line"]] <= line["saved"] <= most[line["line"]]


def test_one_of_two_lines_is_cut_again_and_again(tmp_path: Path) -> None:
    """The one that is cut first is refused twice before it may come back, so that it is sure to miss something."""
    cut_one_of_two(tmp_path, 12, "cut_one=3,unavailable=0.45,seed=1903", least_cuts=1)


@pytest.mark.slow
@pytest.mark.timeout(int(3 * TEN_MINUTES))
def test_one_of_two_lines_is_cut_for_ten_minutes(tmp_path: Path) -> None:
    seconds = float(os.environ.get("TAPEBOOK_LINES_SECONDS", TEN_MINUTES))
    cut_one_of_two(tmp_path, seconds, "cut_one=4,seed=3", least_cuts=int(seconds / 20))


def test_faults_on_both_lines_are_in_gaps_or_cost_nothing(tmp_path: Path) -> None:
    """Each line loses, repeats, swaps and damages frames of its own: what is no row lies in a gap, for every topic."""
    faults = "drop=0.01,repeat=0.01,reorder=0.005,corrupt=0.005,seed=21"
    recorded, ledger = record(tmp_path, faults, 7)
    befallen = Counter(entry.fault for entry in ledger if entry.event == "fault")
    assert min(befallen[fault] for fault in ("drop", "repeat", "reorder", "corrupt")) > 3, befallen
    account = Account(recorded, ledger)
    stamps = {frame.sequence: frame.receive_ns for frame in recorded.frames}
    for topic, rows in account.rows.items():
        if topic.startswith("publicTrade"):
            # once each, and none that any line brought whole is missing
            assert max(Counter(account.trades[topic]).values()) == 1
            messages = [trades_of(account, crc) for crc in account.span(topic) if crc in account.by_crc]
            brought = {trade["i"] for message in messages for trade in message}
            assert set(account.trades[topic]) == brought, topic
            continue
        gaps = [gap for gap in recorded.gaps if gap["topic"] == topic]
        span, from_ns = account.span(topic), 0
        if topic.startswith(("orderbook.1.", "tickers.")):  # no id shows what both lost
            span, from_ns = [crc for crc in span if crc in account.by_crc], alike_ns(recorded, topic)
        assert_rows_outside(span, rows, gaps, stamps, topic, from_ns)
    assert_verified(recorded.data)


def alike_ns(recorded: Recorded, topic: str) -> int:
    """When both lines have brought enough to be known for alike: without ids, that is when losses begin to show."""
    brought: dict[int, list[int]] = {0: [], 1: []}
    for frame in recorded.frames:
        if f'"topic":"{topic}"'.encode() in frame.payload:
            brought[frame.line].append(frame.receive_ns)
    return max(stamps[20] for stamps in brought.values())


def trades_of(account: Account, crc: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(account.by_crc[crc])["data"]
    return found


def assert_rows_outside(
    span: list[str],
    rows: list[tuple[str, bool, int]],
    gaps: list[dict[str, object]],
    stamps: dict[int, int],
    topic: str,
    from_ns: int,
) -> None:
    """From a moment on, nothing published is missing between two applied rows without a gap, nor is it out of order."""
    place = {crc: number for number, crc in enumerate(span)}
    applied = [
        (place[crc], stamps[sequence]) for crc, is_applied, sequence in rows if is_applied and crc in place
    ]
    assert len(applied) > len(span) / 2, topic
    for (before, before_ns), (after, after_ns) in pairwise(applied):
        if before_ns < from_ns:
            continue
        is_in_gap = any(
            gap["start_ns"] <= after_ns and (gap["end_ns"] is None or before_ns <= gap["end_ns"])  # type: ignore[operator]
            for gap in gaps
        )
        is_repeat = after == before and topic.startswith(("orderbook.1.", "tickers."))
        assert after == before + 1 or is_repeat or is_in_gap, f"{topic}: {before} is followed by {after}"
