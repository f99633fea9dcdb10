"""Instruction counts: the profile is read right, and growth is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks.feed import feed_of
from benchmarks.instructions import compare, instructions, parse_callgrind, read_baseline
from benchmarks.market import generated_topic
from schemas.errors import ConfigError, DataError

PROFILE = """# callgrind format
version: 1
positions: line
events: Ir Bc Bcm
fl=/src/book.c
fn=apply.constprop.0
10 5 2 1
fi=/src/swar.h
3 7
fe=/src/book.c
11 1 1
cfi=/libc/memmove.S
cob=/lib/libc.so
cfn=memmove'2
calls=4 20
11 400 40 4

fl=/libc/memmove.S
fn=memmove
20 400 40 4
totals: 413 43 5
"""


def test_a_profile_is_read_by_its_own_costs() -> None:
    counts = parse_callgrind(PROFILE)
    assert counts.totals == {"Ir": 413, "Bc": 43, "Bcm": 5}
    assert counts.functions == {"apply": 13, "memmove": 400}
    assert counts.files == {"book.c": 6, "swar.h": 7, "memmove.S": 400}
    assert counts.calls == {"memmove": 4}


@pytest.mark.parametrize(
    "text", ["", "version: 1\n", "fn=x\n10 5\nevents: Ir\n", "events: Ir\nfn=x\n10 5 6\n"]
)
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="callgrind's profile"):
        parse_callgrind(text)


def result(books: float, rows: float, **changed: Any) -> dict[str, Any]:
    return {
        "benchmark": "instructions",
        "source": "generated",
        "frames": 10,
        "bytes_per_frame": 300.0,
        "counted_frames": 8,
        "compiler": "cc 12",
        "books": {"instructions": books},
        "books_and_rows": {"instructions": rows},
    } | changed


def test_more_than_five_percent_is_a_regression() -> None:
    found = compare(result(1_051, 1_049), result(1_000, 1_000))
    assert found == {
        "growth": {"books": 0.051, "books_and_rows": 0.049},
        "regressions": ["books"],
        "same_compiler": True,
    }
    assert compare(result(500, 1), result(1_000, 1_000))["regressions"] == []
    assert compare(result(1, 1, compiler="cc 13"), result(1, 1))["same_compiler"] is False


@pytest.mark.parametrize("changed", [{"frames": 11}, {"source": "x"}, {"bytes_per_frame": 1.0}])
def test_counts_of_other_frames_are_not_compared(changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the same frames"):
        compare(result(1, 1), result(1, 1, **changed))


def test_a_baseline_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(ConfigError, match="readable file"):
        read_baseline(path)
    for text in ("", "[]", '{"benchmark": "decode"}'):
        path.write_text(text)
        with pytest.raises(ConfigError, match="benchmarks instructions"):
            read_baseline(path)
    path.write_text('{"benchmark": "instructions"}')
    with pytest.raises(ConfigError, match="the baseline has no"):
        compare(result(1, 1), read_baseline(path))


def test_the_stored_baseline_is_of_the_frames_that_are_made_now() -> None:
    stored = read_baseline(Path(__file__).parents[2] / "benchmarks" / "baseline_instructions.json")
    feed = feed_of(*generated_topic("orderbook.50", stored["frames"]))
    assert {key: stored[key] for key in feed.describe()} == feed.describe()
    assert compare(stored, stored)["regressions"] == []


@pytest.mark.parametrize("tool", ["cc", "valgrind"])
def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tool: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
    with pytest.raises(ConfigError, match=f"{tool} is missing"):
        instructions(feed_of(*generated_topic("orderbook.50", 10)))


@pytest.mark.skipif(
    shutil.which("valgrind") is None or shutil.which("cc") is None,
    reason="needs valgrind and cc to count with",
)
def test_counts_are_the_same_twice() -> None:
    feed = feed_of(*generated_topic("orderbook.50", 200))
    first = instructions(feed)
    again = instructions(feed, json.loads(json.dumps(first)))
    assert again["baseline"]["growth"] == {
        "books": pytest.approx(0, abs=0.001),
        "books_and_rows": pytest.approx(0, abs=0.001),
    }
    assert again["baseline"]["regressions"] == []
    assert 0 < first["books"]["instructions"] < first["books_and_rows"]["instructions"]
    assert sum(first["books"]["files"].values()) <= 1.0001
