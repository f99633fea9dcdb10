"""``python -m benchmarks``: every benchmark prints one JSON object; mistakes get a message and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("orjson", reason="install the test extra: pip install 'tapebook[test]'")

from benchmarks import __main__ as command
from benchmarks.contenders import CoreBatch, CoreLive, Decimals, OrjsonReference
from benchmarks.timing import Quotes

COMMON = {
    "benchmark",
    "unit",
    "source",
    "frames",
    "bytes_per_frame",
    "repetitions",
    "figures",
    "machine",
    "versions",
}


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert command.main(list(arguments)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("decode", {"tapebook_live", "tapebook_batch"}),
        ("columns", {"tapebook_columns", "tapebook_batch"}),
        ("replay", {"tapebook_journal_to_tables", "tapebook_batches_to_tables", "tapebook_tables_to_books"}),
        ("book", {"tapebook_book_call", "tapebook_tables_to_books"}),
    ],
)
def test_a_benchmark_prints_times_and_ratios(
    capsys: pytest.CaptureFixture[str], name: str, ours: set[str]
) -> None:
    found = printed(capsys, name, "--frames", "300", "--repetitions", "2")
    assert found["benchmark"] == name
    assert set(found) >= COMMON
    assert (found["frames"], found["repetitions"]) == (300, 2)
    assert ours | {"orjson"} <= set(found["figures"])
    for name, ratio in found["ratio_to_orjson"].items():
        expected = found["figures"][name]["min_ns"] / found["figures"]["orjson"]["min_ns"]
        assert ratio["min"] == pytest.approx(expected, rel=0.01)
    assert set(found["ratio_to_orjson"]) == set(found["figures"]) - {"orjson"}


def test_columns_measures_the_whole_feed_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "columns", "--topic", "orderbook.200", "--frames", "200", "--repetitions", "1")
    assert (found["topics"], found["whole_feed"]["topics"]) == (2, 10)
    assert found["rows_per_frame"] >= 1
    assert set(found["whole_feed"]["ratio_to_orjson"]) == {"tapebook_columns", "tapebook_batch"}


def test_a_contender_with_another_book_stops_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(self: OrjsonReference) -> Quotes:
        decimals: Decimals = self._decimals
        return dict.fromkeys(decimals, (1, 2, 3, 4))

    monkeypatch.setattr(OrjsonReference, "quotes", wrong)
    assert command.main(["decode", "--frames", "50", "--repetitions", "1"]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert "orjson_reference_book ends orderbook.50" in out.err


@pytest.mark.parametrize("kind", [CoreLive, CoreBatch])
def test_a_core_that_applies_nothing_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type
) -> None:
    monkeypatch.setattr(kind, "run", lambda self: None)
    assert command.main(["decode", "--frames", "50", "--repetitions", "1"]) == 1
    assert "None" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["decode", "--frames", "0"],
        ["decode", "--repetitions", "0"],
        ["decode", "--baseline", "x"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["decode", "--data", "no-such-file"],
        ["decode", "--topic", "publicTrade", "--frames", "20"],
        ["decode", "--topic", "kline.1"],
        ["instructions", "--baseline", "no-such-file"],
    ],
)
def test_wrong_input_exits_2_with_a_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert "expected" in out.err


def test_a_regression_exits_1_after_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = {"growth": {"books": 0.081}, "regressions": ["books"], "same_compiler": True}
    monkeypatch.setattr(command, "measure", lambda _: {"benchmark": "instructions", "baseline": compared})
    assert command.main(["instructions", "--baseline", str(Path("any"))]) == 1
    out = capsys.readouterr()
    assert json.loads(out.out)["baseline"] == compared
    assert "books by 8.1%" in out.err
