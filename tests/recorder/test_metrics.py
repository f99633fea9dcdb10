"""What Prometheus reads, parsed by its own parser and held against the status it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recorder.lateness import Lateness
from recorder.metrics import CATALOGUE, EDGES_NS, SHOWN_TROUBLED, exposition
from recorder.version import VERSION
from tests.recorder.recordings import Tape, market
from tests.recorder.test_health import NOW, feed, live


def read(*statuses: dict[str, Any]) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and label values (in the order of the labels' names)."""
    out: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(exposition(statuses).decode()):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            assert key not in out.setdefault(sample.name, {}), f"{sample.name}{key} twice"
            out[sample.name][key] = sample.value
    return out


@pytest.fixture
def status(tmp_path: Path) -> dict[str, Any]:
    """A status with everything in it; the histograms are real ones."""
    tape = Tape(tmp_path)
    lateness = Lateness(tape.engine)
    lateness.applied = tape.capture.applied
    lateness.journaled.add(5_000_000, 10)
    tape.frames(market(0, 40))
    tape.stop()
    return live(
        feed("tickers.A"), feed("tickers.B", "stale"), feed("publicTrade.A"),
        feed("publicTrade.B", refused="no", last_receive_ns=None),
    ) | {
        "collector": "linear", "troubles": ["a", "b"], "restarts": 3, "frames": 100, "frame_bytes": 20_000,
        "undecodable": {"not_json": 2}, "unknown_topics": 1, "resyncs": 4,
        "connects_left": 480, "topics_moved": 3,
        "lines": [{"line": 0, "connected": True, "connects": 2, "round_trip_ms": 12.5, "saved": 8},
                  {"line": 1, "connected": False, "connects": 3, "round_trip_ms": None}],
        "pressure": {"level": "ease", "limit_bytes": 64, "peak_backlog_bytes": 32, "held": 5, "held_seconds": 6.5,
                     "spared_seconds": 7.5},
        "vitals": {"journal_bytes": 9, "disk_free_bytes": 50, "disk_total_bytes": 100, "resident_bytes": 77,
                   "disk_floor_bytes": 8},
        "lateness": lateness.told(0),
        "clock": {"offset_ns": -2_500_000, "error_ns": 1_000_000, "steps": 1},
        "audits": {"rest": {"agreed": 5, "disagreed": 1}, "depths": {"agreed": 7, "disagreed": 2}, "disbelieved": 3},
    }  # fmt: skip


def test_every_metric_of_the_catalogue_has_a_sample(status: dict[str, Any]) -> None:
    told = read(status)
    for name, (kind, _, words) in CATALOGUE.items():
        assert words.endswith("."), name
        assert (f"{name}_bucket" if kind == "histogram" else name) in told, name
        assert name.startswith("tapebook_")
        assert name.endswith("_total") == (kind == "counter"), name


def test_the_values_are_those_of_the_status(status: dict[str, Any]) -> None:
    told = read(status)
    own = ("linear",)
    assert told["tapebook_build_info"] == {(VERSION,): 1}
    expected = {
        "up": 1, "trouble": 2, "restarts_total": 3, "uptime_seconds": 3600, "frames_total": 100,
        "frame_bytes_total": 20_000, "unknown_topic_frames_total": 1, "resyncs_total": 4, "lines": 2,
        "connects_left": 480, "topics_moved_total": 3,
        "lines_connected": 1, "connects_total": 5, "round_trip_seconds": 0.0125, "backlog_bytes": 0,
        "backlog_limit_bytes": 64, "backlog_peak_bytes": 32, "reading_paused": 0, "reading_pauses_total": 5,
        "reading_paused_seconds_total": 6.5, "rolling_paused_seconds_total": 7.5, "journal_bytes_total": 9,
        "disk_free_bytes": 50, "disk_total_bytes": 100, "disk_floor_bytes": 8, "resident_memory_bytes": 77,
        "clock_ahead_seconds": -0.0025,
        "clock_error_seconds": 0.001, "clock_steps_total": 1, "disbelieved_total": 3,
    }  # fmt: skip
    for name, value in expected.items():
        assert told[f"tapebook_{name}"] == {own: value}, name
    assert told["tapebook_saved_messages_total"] == {("linear", "0"): 8}
    assert told["tapebook_rest_audits_total"] == {("linear", "agreed"): 5, ("linear", "disagreed"): 1}
    assert told["tapebook_depth_audits_total"] == {("linear", "agreed"): 7, ("linear", "disagreed"): 2}
    assert told["tapebook_undecodable_frames_total"] == {("not_json", "linear"): 2}  # by cause, collector
    assert told["tapebook_feeds"]["tickers", "linear", "stale"] == 1
    assert told["tapebook_feeds"]["tickers", "linear", "empty"] == 0
    assert told["tapebook_feeds"]["publicTrade", "linear", "refused"] == 1
    assert told["tapebook_messages_total"] == {("publicTrade", "linear"): 20, ("tickers", "linear"): 20}
    assert told["tapebook_last_message_timestamp_seconds"]["tickers", "linear"] == NOW / 1e9 - 1
    assert set(told["tapebook_troubled_feed"]) == {
        ("linear", "stale", "tickers.B"),
        ("linear", "refused", "publicTrade.B"),
    }


def test_histograms_say_what_was_counted(status: dict[str, Any]) -> None:
    told = read(status)
    for name, ways in status["lateness"]["classes"].items():
        for way in ("match", "push"):
            count = ways[way]["count"]
            found = told[f"tapebook_{way}_delay_seconds_count"].get((name, "linear"))
            assert found == (count or None)
    buckets = {
        float(le): value
        for (klass, _, le), value in told["tapebook_push_delay_seconds_bucket"].items()
        if klass == "publicTrade"
    }
    histogram = status["lateness"]["classes"]["publicTrade"]["push"]["histogram"]
    assert sorted(buckets) == [*(edge / 1e9 for edge in EDGES_NS), float("inf")]
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[float("inf")] == histogram.count == 20
    # a recording whose clock moves by 10 ms a frame: all late by less than 69 s
    assert buckets[EDGES_NS[-1] / 1e9] == 20
    assert told["tapebook_push_delay_seconds_sum"]["publicTrade", "linear"] == histogram.sum_ns / 1e9
    journal = {float(le): value for (_, le), value in told["tapebook_journal_delay_seconds_bucket"].items()}
    assert {value for le, value in journal.items() if le < 0.004} == {0}
    assert {value for le, value in journal.items() if le > 0.0084} == {10}


def test_a_status_read_from_a_file_says_the_same(status: dict[str, Any]) -> None:
    """The supervisor has only files; their histograms are plain values."""
    again = msgspec.json.decode(msgspec.json.encode(status))
    assert exposition([again]) == exposition([status])


def test_several_collectors_and_a_dead_one(status: dict[str, Any]) -> None:
    dead = {"collector": "spot", "running": False, "restarts": 7}
    told = read(status, status | {"collector": "option"}, dead)
    assert told["tapebook_up"] == {("linear",): 1, ("option",): 1, ("spot",): 0}
    assert told["tapebook_restarts_total"]["spot",] == 7
    assert ("spot",) not in told["tapebook_frames_total"]
    assert ("spot",) not in told["tapebook_lines"]
    assert read()["tapebook_build_info"] == {(VERSION,): 1}


def test_labels_are_escaped() -> None:
    told = read(live(feed('a."x\\y\n.B', "stale")) | {"collector": "linear"})
    assert ("linear", "stale", 'a."x\\y\n.B') in told["tapebook_troubled_feed"]


def test_thousands_of_feeds_make_few_series() -> None:
    feeds = [
        feed(f"{prefix}.S{number}", "stale")
        for prefix in ("orderbook.50", "publicTrade", "tickers")
        for number in range(2000)
    ]
    text = exposition([live(*feeds) | {"collector": "linear"}])
    assert sum(not line.startswith(b"#") for line in text.splitlines()) < 100
    assert text.count(b"tapebook_troubled_feed{") == SHOWN_TROUBLED
