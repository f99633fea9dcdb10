"""The benchmark of live books: its quantiles, its counts, and that it runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import live_instructions
from benchmarks.feed import feed_of
from benchmarks.instructions import CORE, HERE, run_command
from benchmarks.live import FLAGS, latency_figures, live
from benchmarks.live_instructions import READERS, instructions
from benchmarks.live_peers import missing
from benchmarks.market import generated_topic

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_quantiles_in_microseconds() -> None:
    assert latency_figures([1_000 * n for n in range(100, 0, -1)]) == {
        "min": 1.0, "p50": 51.0, "p90": 91.0, "p99": 100.0, "max": 100.0,
    }  # fmt: skip
    assert latency_figures([1234])["p50"] == 1.234


def test_what_keeps_a_peer_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("no_such_broker") == "not installed"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert missing("redis") in (
        "not installed",
        "redis-server is not installed (apt-get install redis-server)",
    )


def test_without_valgrind_nothing_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = instructions(feed_of(*generated_topic("orderbook.50", 10)), tmp_path, tmp_path)
    assert "valgrind is missing" in found["instructions_missing"]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("cc") is None,
    reason="needs valgrind and cc to count with",
)
def test_64_readers_cost_the_writer_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(live_instructions, "FRAMES", 150)
    monkeypatch.setattr(live_instructions, "WARM", 20)
    reader = tmp_path / "live_reader"
    run_command(
        ["cc", *FLAGS, f"-I{CORE}", str(HERE / "live_reader.c"), "-o", str(reader)], "compiling the reader"
    )
    counted = instructions(feed_of(*generated_topic("orderbook.50", 150)), tmp_path, reader)["instructions"]
    assert READERS == 64
    assert counted["same_with_readers"]
    assert counted["published_to_64_readers"] == counted["published"] > counted["published_to_nobody"]
    assert 500 < counted["publishing"] < 3_000  # a hundred levels and a message


@pytest.mark.slow
@needs_compiler
def test_the_whole_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_instructions, "FRAMES", 150)
    monkeypatch.setattr(live_instructions, "WARM", 20)
    found = live(feed_of(*generated_topic("orderbook.50", 2_000)), 0.3, 1)
    assert found["reader"]["c"]["levels"] == [50, 50]
    assert set(found["latency"]["tapebook_c_reader"]) >= {"of_updates", "seen", "visible"}
    assert set(found["latency"]["tapebook_python_reader"]) == {"of_updates", "seen"}
    assert found["writer"]["books_cost"]["min_ns"] < found["writer"]["figures"]["books"]["min_ns"]
