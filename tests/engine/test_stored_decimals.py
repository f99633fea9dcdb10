"""Decimals as whole numbers: exact against Python's own arithmetic, and the quick way says when it is none."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import stored_decimals
from engine.stored_decimals import decimals, rescaled
from schemas.tables import TICKER_DECIMAL

MOST = 10**38 - 1
EDGES = st.sampled_from([0, 1, 2**62, 2**63 - 1, 2**63, 2**64, 5**18, 10**18, 2**63 * 5**9])
NUMBERS = st.one_of(
    st.integers(-MOST, MOST),
    st.builds(
        lambda edge, more, sign: sign * (edge + more), EDGES, st.integers(-2, 2), st.sampled_from([1, -1])
    ),
)


def _value(number: int, power: int) -> Decimal:
    """number x 10^power, or so much of it as a DECIMAL(38,18) holds; the point is eighteen places from the end."""
    digits = number * 10**power
    while abs(digits) > MOST:
        digits = abs(digits) // 10 * (1 if digits > 0 else -1)
    return Decimal(f"{digits}e-18")


VALUES = st.lists(st.none() | st.builds(_value, NUMBERS, st.integers(0, 18)), min_size=1, max_size=8)


@given(VALUES)
@example([Decimal(f"{2**63 - 1}"), Decimal(f"{-(2**63)}")])
@example([Decimal(f"{2**63}")])
@example([None, Decimal(0)])
@example([Decimal(2**18) / 10**18])
def test_rescaled_is_exact(values: list[Decimal | None]) -> None:
    column = pa.array(values, TICKER_DECIMAL)
    scale, (whole,) = rescaled([column])
    found = whole.to_pylist()
    assert [None if n is None else Decimal(f"{int(n)}e-{scale}") for n in found] == values
    # and no smaller scale does
    if scale:
        numbers = [int(n) for n in found if n is not None]
        assert any(number % 10 for number in numbers)
    back = decimals(whole, pa.array([-scale] * len(values), pa.int8()))
    assert back.equals(column)


@given(VALUES, st.integers(1, 18))
def test_the_quick_way_gives_what_arrow_gives_or_nothing(values: list[Decimal | None], places: int) -> None:
    column = pa.array(values, TICKER_DECIMAL)
    divided = stored_decimals._divided(column, places)
    raw = [None if v is None else _digits(v) for v in values]
    fits = all(n is None or (n % 10**places == 0 and -(2**63) <= n // 10**places < 2**63) for n in raw)
    assert (divided is not None) == fits
    if divided is not None:
        divided.validate(full=True)
        assert [None if n is None else int(n) for n in divided.to_pylist()] == [
            None if n is None else n // 10**places for n in raw
        ]


def _digits(value: Decimal) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * 10 ** (18 + exponent)
    return -number if sign else number


def test_slices_are_read_where_they_begin() -> None:
    column = pa.array([Decimal("7.5"), None, Decimal("1.25"), Decimal(3)], TICKER_DECIMAL)
    scale, (whole,) = rescaled([column[1:]])
    assert (scale, whole.to_pylist()) == (2, [None, 125, 300])
    assert decimals(whole[1:], pa.array([-2, -2], pa.int8())).to_pylist() == [Decimal("1.25"), Decimal(3)]


def test_nulls_may_hold_anything() -> None:
    junk = np.array([[5, 0], [2**64 - 1, 12345]], np.uint64)
    bits = pa.py_buffer(np.array([0b01], np.uint8))
    column = pa.Array.from_buffers(TICKER_DECIMAL, 2, [bits, pa.py_buffer(junk)])
    _, (whole,) = rescaled([column])
    assert whole.to_pylist() == [5, None]


@pytest.mark.parametrize("exponents", [[0, -1, -18], [-18, 0, -1]])
def test_each_row_has_its_exponent(exponents: list[int]) -> None:
    found = decimals(pa.array([Decimal(10)] * 3, pa.decimal128(38, 0)), pa.array(exponents, pa.int8()))
    assert found.to_pylist() == [Decimal(10).scaleb(exponent) for exponent in exponents]
