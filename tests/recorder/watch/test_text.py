"""What is written in cells: exact, aligned, never wider than asked, harmless."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.watch.text import (
    ascii_glyphs,
    bar,
    cells,
    clean,
    clock_text,
    count_text,
    decimal_text,
    fit,
    nice_glyphs,
    rate_text,
    since_text,
    size_text,
    span_text,
)

SECOND = 10**9
NOON = 1_700_049_600 * SECOND  # 2023-11-15T12:00:00Z


@given(st.text(max_size=30), st.integers(0, 40), st.booleans())
def test_fit_takes_exactly_the_cells_it_is_given(text: str, width: int, right: bool) -> None:
    assert cells(fit(clean(text), width, right=right)) == width


def test_fit_cuts_with_a_mark_and_knows_wide_characters() -> None:
    assert fit("BTCUSDT", 5) == "BTCU…"
    assert fit("BTCUSDT", 9) == "BTCUSDT  "
    assert fit("12", 4, right=True) == "  12"
    assert fit("币安人生USDT", 6) == "币安… "
    assert fit("abc", 0) == ""
    assert fit("abc", 1, cut="~") == "~"


def test_nothing_in_a_name_reaches_the_terminal_as_an_order() -> None:
    assert clean("\x1b]0;owned\x07\r\nA\x9b31m") == "?]0;owned???A?31m"
    assert clean("币安人生USDT") == "币安人生USDT"


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-18, 3))
def test_decimals_are_exact(mantissa: int, exponent: int) -> None:
    text = decimal_text(mantissa, exponent)
    assert Decimal(text) == Decimal(mantissa).scaleb(exponent) or abs(mantissa) > 10**27
    assert len(text.partition(".")[2]) == max(0, -exponent)


@given(st.integers(0, 2**63 - 1), st.integers(-18, 0), st.integers(7, 20))
def test_sizes_fit_and_never_say_more_than_there_is(mantissa: int, exponent: int, width: int) -> None:
    text = size_text(mantissa, exponent, width)
    assert len(text) <= width
    unit = {"K": 3, "M": 6, "G": 9, "T": 12}.get(text[-1], 0)
    said, true = Decimal(text[:-1] if unit else text).scaleb(unit), Decimal(mantissa).scaleb(exponent)
    assert said <= true
    assert (said > 0) == (true > 0)
    assert true - said < (max(1, true / 10) if unit or "e" in text else 1)


@pytest.mark.parametrize(
    ("mantissa", "exponent", "width", "text"),
    [
        (1_500, -3, 9, "1.500"),
        (123_456_789_000, -8, 9, "1234.5678"),
        (123_456_700_000_000, -8, 9, "1234567"),
        (12_345_678_901, 0, 8, "12.34G"),
        (1, -18, 9, "1.0e-18"),
        (47, -7, 7, "4.7e-6"),
        (100, -7, 7, "0.00001"),
        (0, -3, 7, "0.000"),
        (0, -18, 9, "0"),
        (2**63 - 1, 0, 7, "9.2e18"),
    ],
)
def test_sizes(mantissa: int, exponent: int, width: int, text: str) -> None:
    assert size_text(mantissa, exponent, width) == text


def test_bars_grow_by_eighths_and_show_the_least() -> None:
    assert bar(0.0, 4, nice_glyphs()) == "    "
    assert bar(1e-9, 4, nice_glyphs()) == "▏   "
    assert bar(0.5, 4, nice_glyphs()) == "██  "
    assert bar(0.53125, 4, nice_glyphs()) == "██▏ "
    assert bar(1.0, 4, nice_glyphs()) == "████"
    assert bar(7.0, 4, nice_glyphs()) == "████"
    assert bar(0.5, 4, ascii_glyphs()) == "##  "
    assert all(mark.isascii() for mark in ascii_glyphs().marks.values())


def test_counts_rates_and_spans_are_short() -> None:
    assert [count_text(count) for count in (0, 999_999, 1_234_567, 12_345_678_901)] == [
        "0", "999,999", "1.235M", "12.35G",
    ]  # fmt: skip
    assert all(len(count_text(10**power + 1)) <= 7 for power in range(18))
    assert [rate_text(rate) for rate in (None, 0.0, 12.34, 345.6, 12_345.0)] == [
        "-", "0/s", "12.3/s", "346/s", "12.3k/s",
    ]  # fmt: skip
    assert rate_text(2_500_000.0, "B") == "2.5 MB/s"
    assert rate_text(250.0, "B") == "250 B/s"
    assert [span_text(int(seconds * SECOND)) for seconds in (-1, 0, 0.0012, 0.25, 12.34, 240, 7_200)] == [
        "0 ms", "0 ms", "1.2 ms", "250 ms", "12.3 s", "4 min", "2 h",
    ]  # fmt: skip


def test_moments() -> None:
    assert clock_text(NOON + 7 * SECOND + 1_999_999) == "12:00:07"
    assert clock_text(NOON + 7 * SECOND + 1_999_999, thousandths=True) == "12:00:07.001"
    assert since_text(NOON, NOON + 12 * SECOND) == "since 12:00:00Z (12.0 s)"
    assert since_text(NOON, NOON + 86_400 * SECOND) == "since 11-15 12:00:00Z (24 h)"
    assert since_text(NOON, NOON + 240 * SECOND, before=True) == "since before 12:00:00Z (> 4 min)"
