"""The core's book equals the readable one after any mixture of loads, deltas and widenings."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.reference import ReferenceBook, mantissa_of
from schemas.errors import DecimalError

core = pytest.importorskip("engine.core.book", reason="the extensions are not built (make build)")

DEPTH = 3

# Few prices, so that they meet again; a huge one, so that widening sometimes has no room.
_PRICES = st.integers(-3, 12) | st.sampled_from([2**63 - 1, 1 - 2**63, 10**17])
_SIZES = st.sampled_from([0, 0, 1, 7, 30]) | st.integers(0, 2**63 - 1)
_SIDES = st.lists(st.tuples(_PRICES, _SIZES), max_size=8, unique_by=lambda level: level[0])
_EXPONENTS = st.sampled_from([-1, -1, -1, 0, -2, -18])
_STEPS = st.lists(
    st.tuples(st.sampled_from(["load", "apply", "apply"]), _SIDES, _SIDES, _EXPONENTS, _EXPONENTS)
)


def _columns(*sides: list[tuple[int, int]]) -> list[Any]:
    return [np.array([level[item] for level in side], dtype=np.int64) for side in sides for item in (0, 1)]


def _values(
    side: list[tuple[int, int]], price_exponent: int, size_exponent: int
) -> list[tuple[Decimal, Decimal]]:
    return [
        (Decimal(price).scaleb(price_exponent), Decimal(size).scaleb(size_exponent)) for price, size in side
    ]


def _fits(model: ReferenceBook, pair: tuple[int, int]) -> bool:
    try:
        model.digest(*pair)
    except DecimalError:
        return False
    return True


@settings(deadline=None)
@given(steps=_STEPS)
def test_any_sequence(steps: list[Any]) -> None:
    book, model = core.Book(DEPTH), ReferenceBook()
    pair: tuple[int, int] | None = None
    for what, bids, asks, price_exponent, size_exponent in steps:
        sides = [_values(side, price_exponent, size_exponent) for side in (bids, asks)]
        if what == "load" or pair is None:
            book.load(*_columns(bids, asks), price_exponent, size_exponent)
            model.snapshot(*sides)
            pair = -price_exponent, -size_exponent
        else:
            wider = max(pair[0], -price_exponent), max(pair[1], -size_exponent)
            undo = model.delta(*sides)
            fits = _fits(model, wider) and all(
                _fits_level(price, size, wider) for side in sides for price, size in side
            )
            model.delta(*undo)
            if not fits or not _fits(model, wider):
                with pytest.raises(DecimalError):
                    book.apply(*_columns(bids, asks), price_exponent, size_exponent)
            else:
                book.apply(*_columns(bids, asks), price_exponent, size_exponent)
                model.delta(*sides)
                pair = wider
        _compare(book, model, pair)


def _fits_level(price: Decimal, size: Decimal, pair: tuple[int, int]) -> bool:
    try:
        mantissa_of(price, pair[0])
        mantissa_of(size, pair[1])
    except DecimalError:
        return False
    return True


def _compare(book: Any, model: ReferenceBook, pair: tuple[int, int]) -> None:
    assert (book.price_exponent, book.size_exponent) == (-pair[0], -pair[1])
    assert book.counts == (len(model.bids), len(model.asks))
    for count in (0, 1, DEPTH):
        expected = [
            [(mantissa_of(price, pair[0]), mantissa_of(size, pair[1])) for price, size in side]
            for side in model.top(count)
        ]
        assert [book.bids(count), book.asks(count)] == expected
    assert book.digest == book.recomputed_digest() == model.digest(*pair)
    assert book.crossed == model.crossed
