"""The book that readers of the archive replay rows with: what it takes, what it refuses, and what is left then."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from engine.core.book import Book
from schemas.errors import DecimalError

MAX = 2**63 - 1
NONE: list[tuple[int, int]] = []


Columns = tuple[Any, Any, Any, Any]


def _columns(bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> Columns:
    prices_and_sizes = [
        np.array([level[item] for level in side], dtype=np.int64) for side in (bids, asks) for item in (0, 1)
    ]
    return (prices_and_sizes[0], prices_and_sizes[1], prices_and_sizes[2], prices_and_sizes[3])


def _book(bids: list[tuple[int, int]], asks: list[tuple[int, int]], depth: int = 2) -> Book:
    book = Book(depth)
    book.load(*_columns(bids, asks), -1, -3)
    return book


def test_a_snapshot_in_any_order() -> None:
    book = _book([(98, 1), (100, 2), (99, 3)], [(103, 4), (101, 5), (102, 0)])
    assert book.bids() == [(100, 2), (99, 3)]
    assert book.bids(10) == [(100, 2), (99, 3), (98, 1)]
    assert book.asks() == [(101, 5), (103, 4)]
    assert book.counts == (3, 2)
    assert (book.depth, book.price_exponent, book.size_exponent) == (2, -1, -3)
    assert not book.crossed


def test_an_empty_book() -> None:
    book = Book(5)
    assert (book.bids(), book.asks(), book.counts, book.crossed) == ([], [], (0, 0), False)
    assert book.digest == book.recomputed_digest()


def test_no_levels_asked_for() -> None:
    assert _book([(1, 1)], NONE).bids(0) == []


@pytest.mark.parametrize("count", [-1, -(2**31), -(2**70)])
def test_fewer_than_no_levels_asked_for(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} levels, expected 0 or more"):
        _book([(1, 1)], NONE).bids(count)


def test_a_delta_says_how_many_levels_changed() -> None:
    book = _book([(100, 2), (99, 3)], [(101, 5)])
    # one size set anew, one the same, one removed, one unknown removed, one added
    changed = book.apply(*_columns([(100, 7), (99, 3), (50, 0)], [(101, 0), (102, 1)]), -1, -3)
    assert changed == 3
    assert (book.bids(), book.asks()) == ([(100, 7), (99, 3)], [(102, 1)])


def test_equal_states_have_equal_digests_whatever_led_there() -> None:
    book = _book([(100, 2), (99, 3)], [(101, 5)])
    digest = book.digest
    book.apply(*_columns([(100, 0), (97, 1)], [(105, 9)]), -1, -3)
    assert book.digest != digest
    book.apply(*_columns([(97, 0), (100, 2)], [(105, 0)]), -1, -3)
    assert book.digest == digest == book.recomputed_digest()


def test_sides_and_sizes_are_told_apart() -> None:
    digests = {
        _book([(100, 2)], NONE).digest,
        _book(NONE, [(100, 2)]).digest,
        _book([(2, 100)], NONE).digest,
        _book([(100, 3)], NONE).digest,
        _book([(-100, 2)], NONE).digest,
        _book(NONE, NONE).digest,
    }
    assert len(digests) == 6


def test_finer_rows_widen_the_book_and_coarser_ones_are_brought_to_it() -> None:
    book = _book([(100, 2)], [(101, 5)])
    book.apply(*_columns([(9_999, 40)], NONE), -3, -4)
    assert (book.price_exponent, book.size_exponent) == (-3, -4)
    assert book.bids() == [(10_000, 20), (9_999, 40)]
    book.apply(*_columns([(10, 3)], NONE), 0, 0)
    assert book.bids() == [(10_000, 30_000), (9_999, 40)]
    assert book.digest == book.recomputed_digest()


def test_the_exponents_are_part_of_the_digest() -> None:
    coarse, fine = Book(1), Book(1)
    coarse.load(*_columns([(10, 1)], NONE), -1, 0)
    fine.load(*_columns([(100, 1)], NONE), -2, 0)
    assert coarse.digest != fine.digest
    coarse.apply(*_columns(NONE, NONE), -2, 0)
    assert coarse.digest == fine.digest


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [
        ([(100, 1)], [(101, 1)], False),
        ([(100, 1)], [(100, 1)], True),
        ([(101, 1)], [(100, 1)], True),
        ([(101, 1)], NONE, False),
    ],
)
def test_crossed(bids: list[tuple[int, int]], asks: list[tuple[int, int]], crossed: bool) -> None:
    assert _book(bids, asks).crossed is crossed


@pytest.mark.parametrize("depth", [0, -1])
def test_a_depth_is_positive(depth: int) -> None:
    with pytest.raises(ValueError, match=f"found depth {depth}, expected at least 1"):
        Book(depth)


@pytest.mark.parametrize(
    ("columns", "exponents", "error", "match"),
    [
        (_columns([(1, 1)], NONE), (1, 0), DecimalError, r"expected -18\.\.0"),
        (_columns([(1, 1)], NONE), (0, -19), DecimalError, r"expected -18\.\.0"),
        (_columns([(1, -1)], NONE), (-1, -3), ValueError, "found size -1"),
        (_columns(NONE, [(1, 1), (1, 2)]), (-1, -3), ValueError, "one price twice"),
        (_columns([(1, 1), (2, 2), (1, 0)], NONE), (-1, -3), ValueError, "one price twice"),
        ((*_columns([(1, 1)], NONE)[:1], *_columns(NONE, NONE)[:3]), (-1, -3), ValueError, "1 prices and 0 sizes"),
        (_columns([(MAX, 1)], NONE), (0, -3), DecimalError, "does not fit"),
        (_columns([(1, MAX)], NONE), (-1, -2), DecimalError, "does not fit"),
        (_columns(NONE, [(-MAX, 1)]), (0, -3), DecimalError, "does not fit"),
        (_columns([(1, 1)], NONE), (-18, -3), DecimalError, "wider exponents"),
    ],
)  # fmt: skip
def test_a_refused_delta_changes_nothing(
    columns: Columns, exponents: tuple[int, int], error: type[Exception], match: str
) -> None:
    book = _book([(10**12, 2)], [(10**12 + 1, 5)])
    before = (book.bids(), book.asks(), book.digest, book.price_exponent, book.size_exponent)
    with pytest.raises(error, match=match):
        book.apply(*columns, *exponents)
    assert (book.bids(), book.asks(), book.digest, book.price_exponent, book.size_exponent) == before
    assert book.digest == book.recomputed_digest()


@pytest.mark.parametrize("dtype", [np.int32, np.float64, np.uint64])
def test_only_int64(dtype: Any) -> None:
    with pytest.raises(ValueError, match="Buffer dtype mismatch"):
        Book(1).load(np.ones(1, dtype), *_columns([(1, 1)], NONE)[1:], 0, 0)


@pytest.mark.parametrize(
    ("columns", "exponents", "error"),
    [
        (_columns([(1, 1), (1, 1)], NONE), (-2, -2), ValueError),
        (_columns([(1, -1)], NONE), (-2, -2), ValueError),
        (_columns([(1, 1)], NONE), (-2, -19), DecimalError),
        ((*_columns([(1, 1)], NONE)[:3], None), (-1, -3), TypeError),
        ((1, 2, 3, 4), (-1, -3), TypeError),
    ],
)
def test_a_refused_snapshot_changes_nothing(
    columns: Any, exponents: tuple[int, int], error: type[Exception]
) -> None:
    book = _book([(100, 2)], [(101, 5)])
    before = book.digest
    with pytest.raises(error):
        book.load(*columns, *exponents)
    assert (book.bids(), book.asks(), book.price_exponent) == ([(100, 2)], [(101, 5)], -1)
    assert book.digest == book.recomputed_digest() == before


class Liar(np.ndarray[Any, Any]):
    """An array that says it is empty."""

    def __len__(self) -> int:
        return 0


def test_what_a_column_says_about_its_length_is_not_believed() -> None:
    prices, sizes = (np.arange(1, 5_001, dtype=np.int64).view(Liar) for _ in range(2))
    book = Book(5)
    book.load(prices, sizes, *_columns(NONE, NONE)[2:], 0, 0)
    assert (book.counts, book.bids(1)) == ((5_000, 0), [(5_000, 5_000)])


def test_the_lowest_integer_is_no_price() -> None:
    """Mantissas are symmetric: -2^63 has no counterpart, and comes from no decoder."""
    with pytest.raises(DecimalError):
        _book(NONE, [(-(2**63), 1)])


def test_what_it_says_about_itself() -> None:
    book = _book([(100, 2)], NONE)
    assert repr(book) == f"<Book depth=2 bids=1 asks=0 digest={book.digest:016x}>"


@pytest.mark.parametrize("levels", [1, 5, 50, 200, 1100])
@pytest.mark.parametrize("seed", range(8))
def test_many_levels_come_and_go_at_once(levels: int, seed: int) -> None:
    """Runs of every length between levels that come and go, in books of which one is larger than what is put aside."""
    draw = random.Random(f"{levels}/{seed}")
    book = _book([(-1, 1)], [(10**6, 1)])
    sides: list[dict[int, int]] = [{-1: 1}, {10**6: 1}]
    for _ in range(60):
        named: list[list[tuple[int, int]]] = []
        for side, held in enumerate(sides):
            share = draw.choice([0.02, 0.1, 0.4, 0.9])
            prices = {price for price in held if draw.random() < share}
            prices |= {draw.randint(1, 3 * levels) for _ in range(int(share * levels) + draw.randint(0, 3))}
            keep = draw.choice([0.2, 0.5, 0.8])
            changes = [(price, draw.randint(1, 9) if draw.random() < keep else 0) for price in prices]
            named.append(sorted(changes, reverse=side == 0))
            for price, size in changes:
                if size:
                    held[price] = size
                else:
                    held.pop(price, None)
        book.apply(*_columns(*named), -1, -3)
        assert book.bids(10**6) == sorted(sides[0].items(), reverse=True)
        assert book.asks(10**6) == sorted(sides[1].items())
        assert book.digest == book.recomputed_digest()
