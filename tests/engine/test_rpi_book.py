"""The RPI book equals its readable model, and is never half changed."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.book import Book
from engine.reference.books import ReferenceRpiBook
from engine.rpi_book import RpiBook, apply_levels, load_levels
from schemas.errors import DecimalError

Level = tuple[int, int, int]

sides = st.lists(
    st.tuples(st.integers(-5, 12), st.integers(0, 2), st.integers(0, 2)),
    max_size=8,
    unique_by=lambda level: level[0],
)
messages = st.tuples(sides, sides, st.sampled_from([(0, 0), (-1, 0), (0, -2), (-1, -2)]))


def columns(bids: list[Level], asks: list[Level]) -> list[np.ndarray]:
    """The six lists of a row, in the table's order."""
    at = lambda side, place: np.array([level[place] for level in side], np.int64)  # noqa: E731
    return [at(bids, 0), at(bids, 1), at(asks, 0), at(asks, 1), at(bids, 2), at(asks, 2)]


def decimals(levels: list[Level], exponents: tuple[int, int]) -> list[tuple[Decimal, ...]]:
    price, size = exponents
    return [
        (Decimal(level[0]).scaleb(price), *(Decimal(item).scaleb(size) for item in level[1:]))
        for level in levels
    ]


@given(messages, st.lists(messages, max_size=6))
def test_it_is_its_model(snapshot: tuple, deltas: list[tuple]) -> None:
    book, model = RpiBook(5), ReferenceRpiBook()
    bids, asks, exponents = snapshot
    load_levels(book, columns(bids, asks), exponents)
    model.snapshot(decimals(bids, exponents), decimals(asks, exponents))
    for bids, asks, theirs in [([], [], exponents), *deltas]:
        apply_levels(book, columns(bids, asks), theirs)
        model.delta(decimals(bids, theirs), decimals(asks, theirs))
        pair = book.price_exponent, book.size_exponent
        expected_bids, expected_asks = model.top(100)
        assert decimals(book.bids(100), pair) == expected_bids
        assert decimals(book.asks(100), pair) == expected_asks
        assert (book.bids(), book.asks(2)) == (book.bids(100)[:5], book.asks(100)[:2])
        assert book.digest == model.digest(-pair[0], -pair[1])


def test_a_level_goes_with_its_second_size_only() -> None:
    book = RpiBook(50)
    load_levels(book, columns([(100, 3, 0), (99, 1, 1)], [(101, 0, 7)]), (0, 0))
    assert book.asks() == [(101, 0, 7)]
    apply_levels(book, columns([(99, 0, 1), (100, 0, 2)], []), (0, 0))
    assert book.bids() == [(100, 0, 2), (99, 0, 1)]
    apply_levels(book, columns([(99, 0, 0)], [(101, 0, 0)]), (0, 0))
    assert (book.bids(), book.asks()) == ([(100, 0, 2)], [])


def test_the_two_sizes_of_a_level_are_not_the_same_to_the_digest() -> None:
    one, other = RpiBook(50), RpiBook(50)
    load_levels(one, columns([(100, 3, 4)], []), (0, 0))
    load_levels(other, columns([(100, 4, 3)], []), (0, 0))
    assert one.digest != other.digest


@pytest.mark.parametrize(
    ("bids", "asks", "exponents", "error"),
    [
        ([(1, 1, 1), (1, 2, 2)], [], (0, 0), ValueError),
        ([(1, 1, -1)], [], (0, 0), ValueError),
        ([(1, -1, 1)], [], (0, 0), ValueError),
        ([(1, 1, 2**62)], [(5, 1, 1)], (0, -1), None),
        ([(1, 1, 1)], [], (0, -19), DecimalError),
        ([(5, 1, 1)], [], (0, -18), DecimalError),
    ],
)
def test_what_cannot_be_applied_changes_nothing(
    bids: list[Level], asks: list[Level], exponents: tuple[int, int], error: type[Exception] | None
) -> None:
    book = RpiBook(50)
    load_levels(book, columns([(100, 3, 40)], [(101, 0, 7)]), (0, 0))
    before = book.digest, book.bids(), book.asks()
    if error is None:
        apply_levels(book, columns(bids, asks), exponents)
        assert book.digest != before[0]
        return
    with pytest.raises(error):
        apply_levels(book, columns(bids, asks), exponents)
    assert (book.digest, book.bids(), book.asks()) == before
    if exponents != (0, -18):
        with pytest.raises(error):
            load_levels(book, columns(bids, asks), exponents)
        assert (book.digest, book.bids(), book.asks()) == before


def test_rows_of_both_tables_find_their_book() -> None:
    plain = Book(50)
    load_levels(plain, columns([(100, 3, 0)], [])[:4], (0, 0))
    apply_levels(plain, columns([(100, 4, 0)], [(101, 1, 0)])[:4], (0, 0))
    assert (plain.bids(), plain.asks()) == ([(100, 4)], [(101, 1)])
    with pytest.raises(ValueError, match="not enough values"):
        load_levels(RpiBook(50), columns([], [])[:4], (0, 0))
