"""Measured rates: a steady one is met, an old one forgotten, an unknown one not made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.rates import MEMORY_NS, Rates

SECOND = 10**9


@given(per_second=st.integers(0, 10_000), step_s=st.integers(1, 30), start=st.integers(0, 10**12))
def test_a_steady_rate_is_known_once_it_was_watched(per_second: int, step_s: int, start: int) -> None:
    rates = Rates()
    for now_s in range(0, 300, step_s):
        rates.observe([("a", start + per_second * now_s)], now_s * SECOND)
        known = rates.of("a")
        assert (known is None) == (now_s * SECOND < MEMORY_NS // 3)
        assert known is None or known == pytest.approx(per_second)


def test_a_change_is_seen_after_the_memory() -> None:
    rates, count = Rates(), 0
    for now_s in range(0, 600, 10):
        rates.observe([("a", count)], now_s * SECOND)
        count += 1_000 if now_s < 300 else 100
    known = rates.of("a")
    assert known is not None
    assert 10 <= known < 12


def test_a_burst_weighs_what_it_lasted() -> None:
    rates, count = Rates(), 0
    for now_s in range(0, 600, 10):
        count += 5_000 if now_s == 590 else 100
        rates.observe([("a", count)], now_s * SECOND)
    known = rates.of("a")
    assert known is not None
    assert 10 < known < 100  # ten seconds of 500 a second


def test_what_is_not_known() -> None:
    rates = Rates()
    assert rates.of("a") is None
    rates.observe([("a", 5), ("b", 7)], 0)
    rates.observe([("a", 50), ("b", 70)], 30 * SECOND)
    assert rates.of("a") == 1.5
    rates.observe([("a", 3)], 60 * SECOND)  # it began anew, and b is gone
    assert rates.of("a") is None
    assert rates.of("b") is None
    rates.observe([("a", 63)], 90 * SECOND)
    assert rates.of("a") == 2
    rates.observe([("a", 63)], 90 * SECOND)  # no time has passed
    assert rates.of("a") == 2
    assert "1" in repr(rates)
