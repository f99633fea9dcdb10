"""``latency``: percentiles by nearest rank, against a sorted list."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from schemas.errors import ConfigError, NoData
from schemas.names import Table
from schemas.time import format_ns
from tests.recorder.archives import MS, NOON_NS, HandmadeArchive

NOON_MS = NOON_NS // MS


def rank(values: list[int], percent: int) -> float:
    return sorted(values)[-(-len(values) * percent // 100) - 1] / 1000


@pytest.mark.parametrize("seed", range(4))
def test_percentiles_agree_with_a_sorted_list(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    archive = HandmadeArchive(tmp_path)
    late: dict[tuple[int, str, str], list[int]] = {}
    every_s = rng.choice((1, 7))
    sequence = 1
    for segment in range(3):
        rows: list[dict[str, Any]] = []
        tickers: list[dict[str, Any]] = []
        for _ in range(rng.randrange(1, 300)):
            sequence += 1
            receive_us = rng.randrange(segment * 10_000_000, (segment + 1) * 10_000_000)
            push_ms, match_ms = (receive_us // 1000 - rng.randrange(-2, 90) for _ in range(2))
            kind = rng.choice(("snapshot", "delta", "delta", "keyframe"))
            row = {
                "sequence": sequence,
                "receive_time": NOON_NS + receive_us * 1000,
                "push_time": NOON_MS + push_ms,
                "match_time": NOON_MS + match_ms,
                "update_id": sequence,
            }
            of_ticker = rng.random() < 0.3
            (tickers if of_ticker else rows).append(row | {"kind": "delta" if of_ticker else kind})
            readings = [("tickers", "push", push_ms)] if of_ticker else []
            if not of_ticker and kind != "keyframe":
                readings.append(("orderbook.50", "push", push_ms))
                if kind == "delta":
                    readings.append(("orderbook.50", "match", match_ms))
            for class_, clock, sent_ms in readings:
                bar = (NOON_NS + receive_us * 1000) // 10**9 // every_s * every_s
                if receive_us >= 2_500_000:
                    late.setdefault((bar, class_, clock), []).append(receive_us - sent_ms * 1000)
        tables = {(Table.BOOK_UPDATES, "BTCUSDT"): rows, (Table.TICKERS, "BTCUSDT"): tickers}
        archive.segment(
            NOON_NS + segment,
            {key: its for key, its in tables.items() if its},
            schema_version=1 if segment == 1 and seed % 2 else 2,
        )
    sql = "SELECT * REPLACE (epoch_ms(time) // 1000 AS time) FROM latency('linear', 'BTCUSDT', $1, $2, $3)"
    with open_archive(tmp_path) as opened:
        given = [format_ns(NOON_NS + 2_500 * MS), format_ns(NOON_NS + 60_000 * MS), f"{every_s}s"]
        found = opened.sql(sql, given).table().to_pylist()
    expected = [
        {
            "time": bar,
            "class": class_,
            "clock": clock,
            "messages": len(values),
            "least_ms": min(values) / 1000,
            "p50_ms": rank(values, 50),
            "p90_ms": rank(values, 90),
            "p99_ms": rank(values, 99),
            "most_ms": max(values) / 1000,
        }
        for (bar, class_, clock), values in sorted(late.items())
    ]
    assert found == expected


def test_level_1_counts_what_is_new_and_a_keep_alive_at_the_beginning_is_not(tmp_path: Path) -> None:
    times = [(0, 7), (3_000, 7), (3_100, 8)]
    rows = [
        {
            "sequence": number,
            "receive_time": NOON_NS + ms * MS + 4 * MS,
            "push_time": NOON_MS + ms,
            "match_time": NOON_MS + (0 if update_id == 7 else ms - 1),
            "update_id": update_id,
            "depth": 1,
            "kind": "snapshot",
        }
        for number, (ms, update_id) in enumerate(times, 1)
    ]
    HandmadeArchive(tmp_path).segment(NOON_NS, {(Table.BOOK_UPDATES, "BTCUSDT"): rows})
    with open_archive(tmp_path) as archive:
        sql = "SELECT clock, messages, most_ms FROM latency('linear', 'BTCUSDT', $1, $2)"
        found = archive.sql(sql, [format_ns(NOON_NS + 2_000 * MS), format_ns(NOON_NS + 9_000 * MS)])
        assert found.table().to_pylist() == [
            {"clock": "match", "messages": 1, "most_ms": 5.0},
            {"clock": "push", "messages": 1, "most_ms": 4.0},
        ]


def test_a_range_may_be_all_of_time(tmp_path: Path) -> None:
    moments = {"receive_time": NOON_NS, "push_time": NOON_MS - 5, "match_time": NOON_MS - 7}
    rows = [{"sequence": 1, "kind": "delta", "update_id": 1} | moments]
    HandmadeArchive(tmp_path).segment(NOON_NS, {(Table.BOOK_UPDATES, "BTCUSDT"): rows})
    with open_archive(tmp_path) as opened:
        sql = "SELECT clock, p50_ms FROM latency('linear', 'BTCUSDT', $1, $2) ORDER BY clock"
        found = opened.sql(sql, [format_ns(-(2**63)), format_ns(2**63 - 1)]).table().to_pylist()
    assert found == [{"clock": "match", "p50_ms": 7.0}, {"clock": "push", "p50_ms": 5.0}]


def test_nothing_received_is_said_plainly(tmp_path: Path) -> None:
    row = {"sequence": 1, "receive_time": NOON_NS, "push_time": NOON_MS}
    HandmadeArchive(tmp_path).segment(NOON_NS, {(Table.TICKERS, "BTCUSDT"): [row | {"kind": "snapshot"}]})
    moments = "'2020-01-01T00:00:00Z', '2020-01-02T00:00:00Z'"
    with open_archive(tmp_path) as archive:
        with pytest.raises(NoData, match=r"there are some between 2024-08-08T12:00:00"):
            archive.sql(f"FROM latency('linear', 'BTCUSDT', {moments})")
        with pytest.raises(NoData, match="no book, trade or ticker of linear X"):
            archive.sql(f"FROM latency('linear', 'X', {moments})")
        with pytest.raises(ConfigError, match="microseconds"):
            archive.sql(
                "FROM latency('linear', 'BTCUSDT', '2024-08-08T12:00:00Z', '2024-08-08T13:00:00Z', '1500ns')"
            )
