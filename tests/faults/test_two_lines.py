"""Two lines over real sockets: what befalls one of them costs nothing; the archive is what was published."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from recorder.status import data_status, live_status
from schemas.names import Category, RecordKind
from schemas.notes import Disconnected, Subscribed, Unsubscribed, decode_session
from tests.faults.account import Account, account_of
from tests.faults.judge import hold_recording
from tests.ledger import Entry, read_ledger
from tests.processes import gateway, recording
from tests.recorded import Recorded, assert_verified

SYMBOLS = ("BTCUSDT", "ETHUSDT")
PREFIXES = ("orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "tickers")
TOPICS = [f"{prefix}.{symbol}" for prefix in PREFIXES for symbol in SYMBOLS]
CHAINS = [topic for topic in TOPICS if topic.startswith(("orderbook.50", "orderbook.200"))]
TEN_MINUTES = 600.0
SECOND_NS = 10**9


def record(
    tmp_path: Path,
    faults: str,
    seconds: float,
    *,
    lines: int = 2,
    enough: Callable[[list[dict[str, Any]]], bool] = lambda _: True,
) -> tuple[Recorded, list[Entry]]:
    """Record a simulated market over several lines; what was published is told by the ledger.

    Args:
        seconds: how long at least.
        enough: goes on until this holds of the status of the lines.
    """
    data, ledger = tmp_path / "data", tmp_path / "ledger.jsonl"
    options = ["--simulate", 7, "--category", "linear", "--ledger", ledger, "--ledger-books"]
    arguments = ["--category", "linear", "--topics", ",".join(TOPICS), "--lines", lines, "--no-backfill"]

    def has_recorded_enough() -> bool:
        live = live_status(data, "linear")
        return live is not None and live["seconds"] >= seconds and enough(live["lines"])

    with (
        gateway(tmp_path / "gateway", *options, "--fault", faults) as served,
        recording(tmp_path / "recorder", served.url, data, *arguments) as recorder,
    ):
        recorder.until(has_recorded_enough, "enough was recorded", seconds + 200)
        done = recorder.stop()
    assert done.code == 0, done.err
    return Recorded(data, "linear"), read_ledger(ledger)


def assert_all_of_it(account: Account, topics: Iterable[str] = TOPICS) -> None:
    """Every message that was published while it was recorded is a row once, in its order; every trade is a row once."""
    for topic in topics:
        published = [message for message in account.messages[topic] if not message.entry.rebuilt]
        got = [number for number, message in enumerate(published) if message.brought]
        assert len(got) > 5, f"{topic}: too little was published: the test tests nothing"
        span = published[got[0] : got[-1] + 1]
        if topic.startswith("publicTrade."):
            said = [account.decoded(message.brought[0].sequence)["data"] for message in span]
            ids = Counter(trade["i"] for trades in said for trade in trades)
            assert Counter(row["trade_id"] for row in account.trades[topic]) == ids, topic
        else:
            rows = [row for row in account.rows[topic] if not row.message.entry.rebuilt]
            assert [row.message for row in rows] == span, f"{topic}: {len(rows)} rows of {len(span)} messages"
            assert all(row.applied for row in account.rows[topic]), topic


def cuts(recorded: Recorded) -> Counter[int]:
    """How often each line was lost."""
    found: Counter[int] = Counter()
    for record in recorded.records:
        if record.kind == RecordKind.SESSION:
            event = decode_session(record.payload)
            if isinstance(event, Disconnected) and not event.clean:
                found[record.line] += 1
    return found


def alone_ns(recorded: Recorded) -> dict[str, list[int]]:
    """By topic, when a line that carried it was cut while no other was subscribed to it, or only just.

    On a machine so busy that coming back takes a second, or where chance has it: then not even two lines help.
    """
    since: dict[str, dict[int, int]] = {topic: {} for topic in TOPICS}
    found: dict[str, list[int]] = {}
    for record in recorded.records:
        if record.kind != RecordKind.SESSION:
            continue
        event = decode_session(record.payload)
        if isinstance(event, Subscribed):
            for topic in event.topics:
                since[topic][record.line] = record.receive_ns
        elif isinstance(event, Unsubscribed):
            for topic in event.topics:
                since[topic].pop(record.line, None)
        elif isinstance(event, Disconnected) and not event.clean:
            for topic, lines in since.items():
                was_there = lines.pop(record.line, None) is not None
                if was_there and all(record.receive_ns - other < SECOND_NS for other in lines.values()):
                    found.setdefault(topic, []).append(record.receive_ns)
    return found


def assert_gaps_where_alone(recorded: Recorded, alone: dict[str, list[int]]) -> None:
    for gap in recorded.gaps:
        assert any(
            gap["start_ns"] <= moment and (gap["end_ns"] is None or moment <= gap["end_ns"])
            for moment in alone.get(gap["topic"], ())
        ), gap


def update_id(payload: bytes) -> int:
    return int(payload.partition(b'"u":')[2].partition(b",")[0])


def brought_alone(recorded: Recorded) -> tuple[Counter[int], Counter[int]]:
    """By line, the least and the most messages that it may be said to have saved.

    The least: of chains, whose ids show what a line missed once it brings a later one; what the recording's end kept
    it from bringing was not missed. The most: all that the other one lacks, and what came while that one's
    subscription was on its way, though it may have brought it then.
    """
    least: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for topic in TOPICS:
        mark = f'"topic":"{topic}"'.encode()
        frames = [frame for frame in recorded.frames if mark in frame.payload]
        spans = {}
        for line in (0, 1):
            own = [frame.payload for frame in frames if frame.line == line]
            ids = [update_id(payload) for payload in own] if topic in CHAINS else [0]
            spans[line] = min(ids), max(ids), set(own)
        subscribed: set[int] = set()
        for record in recorded.records:
            if record.kind == RecordKind.SESSION:
                event = decode_session(record.payload)
                if isinstance(event, Subscribed) and topic in event.topics:
                    subscribed.add(record.line)
                elif isinstance(event, Disconnected):
                    subscribed.discard(record.line)
            elif record.kind == RecordKind.FRAME and mark in record.payload:
                first, last, known = spans[1 - record.line]
                is_alone = record.payload not in known
                most[record.line] += is_alone or 1 - record.line not in subscribed
                is_delta = (
                    topic in CHAINS and b'"type":"delta"' in record.payload
                )  # not what answers a subscription
                least[record.line] += is_alone and is_delta and first < update_id(record.payload) < last
    return least, most


def cut_one_of_two(tmp_path: Path, seconds: float, faults: str, *, least_cuts: int) -> None:
    def both_were_cut(lines: list[dict[str, Any]]) -> bool:
        return (
            all(line["connects"] > least_cuts for line in lines) and sum(line["saved"] for line in lines) > 0
        )

    recorded, ledger = record(tmp_path, faults, seconds, enough=both_were_cut)
    lost = cuts(recorded)
    assert min(lost[0], lost[1]) >= least_cuts, f"too few cuts: the test tests nothing: {lost}"
    alone = alone_ns(recorded)
    assert_gaps_where_alone(recorded, alone)
    assert_all_of_it(account_of(recorded, ledger), [topic for topic in TOPICS if topic not in alone])
    assert_verified(recorded.data)
    (live,) = data_status(recorded.data)["collectors"]
    lines = live["live"]["lines"]
    assert [line["line"] for line in lines] == [0, 1]
    assert all(line["frames"] > line["taken"] > 0 and line["repeats"] > 0 for line in lines)
    least, most = brought_alone(recorded)
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
    hold_recording(recorded, ledger, Category.LINEAR, lines=2)
    account = account_of(recorded, ledger)
    for topic in TOPICS:
        rows = account.trades[topic] if topic.startswith("publicTrade.") else account.applied(topic)
        assert len(rows) > len(account.messages[topic]) / 2, f"{topic}: the gaps hide too much"
    assert_verified(recorded.data)
