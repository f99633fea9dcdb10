from __future__ import annotations

import logging

import pytest

from recorder.warnings import FIRST, KINDS, Warnings

log = logging.getLogger("tests.warnings")


def test_a_flood_is_told_in_a_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Warnings(log)
    for number in range(1_000):
        warnings.tell("orderbook.50.BTCUSDT: undecodable (not_json)", f" {number}")
    warnings.tell("another")
    warnings.sum_up()
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        *(f"orderbook.50.BTCUSDT: undecodable (not_json) {number}" for number in range(FIRST)),
        "another",
        f"orderbook.50.BTCUSDT: undecodable (not_json): {1_000 - FIRST} more",
    ]


def test_after_a_summary_it_speaks_again(caplog: pytest.LogCaptureFixture) -> None:
    warnings = Warnings(log)
    for _ in range(2):
        warnings.tell("gap")
        warnings.sum_up()
    assert [record.getMessage() for record in caplog.records] == ["gap", "gap"]


def test_endless_kinds_take_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    warnings = Warnings(log)
    for number in range(KINDS + 50):
        warnings.tell(f"kind {number}")
    assert len(warnings._counts) == KINDS + 1
    assert warnings._counts["other warnings"] == 50
