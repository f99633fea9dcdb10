"""What a book tells is what the definitions say, for any book: empty, crossed, huge, negative."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.slow_measures import MAX, Levels, SlowBook, changes

core = pytest.importorskip("engine.core.book", reason="the extensions are not built (make build)")

# Few prices, so that sides meet and cross; huge ones, so that nothing that is narrower than it must be holds.
_PRICES = (
    st.integers(-4, 12)
    | st.integers(9_990, 10_010)
    | st.sampled_from([MAX, MAX - 1, -MAX, 10**17])
    | st.integers(-MAX, MAX)
)
_SIZES = st.integers(1, 9) | st.sampled_from([MAX, MAX - 1, 10**17]) | st.integers(1, MAX)
_SIDES = st.lists(st.tuples(_PRICES, _SIZES), max_size=7, unique_by=lambda level: level[0])
_DEPTHS = st.integers(1, 8)
_TAKERS = st.sampled_from(["buy", "sell"])
_WIDTHS = st.sampled_from([0, 1, 10**6, 10**7, 5 * 10**9, 10**10, 10**15]) | st.integers(
    0, 10**12
)  # micro-bps
_MESSAGES = st.lists(st.tuples(_PRICES, _SIZES | st.just(0)), max_size=7, unique_by=lambda level: level[0])


def _columns(bids: Levels, asks: Levels) -> list[Any]:
    return [
        np.array([level[item] for level in side], dtype=np.int64) for side in (bids, asks) for item in (0, 1)
    ]


def _book(bids: Levels, asks: Levels, depth: int) -> Any:
    book = core.Book(depth)
    book.load(*_columns(bids, asks), 0, 0)
    return book


def _is_close(found: float | None, exact: Fraction | None) -> bool:
    """Within the rounding that the C core promises."""
    if found is None or exact is None:
        return found is None and exact is None
    return abs(Fraction(found) - exact) <= abs(exact) / 2**51


@given(bids=_SIDES, asks=_SIDES, depth=_DEPTHS)
def test_prices(bids: Levels, asks: Levels, depth: int) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    assert book.spread == model.spread
    assert book.mid_doubled == (None if model.mid is None else 2 * model.mid)
    assert book.mid == (None if model.mid is None else float(model.mid))
    assert _is_close(book.microprice, model.microprice)
    assert book.best_bid == (model.bids[0] if model.bids else None)
    assert book.best_ask == (model.asks[0] if model.asks else None)


@given(bids=_SIDES, asks=_SIDES, depth=_DEPTHS)
def test_arrays(bids: Levels, asks: Levels, depth: int) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    assert book.bid_levels.tolist() == [list(level) for level in model.bids]
    assert book.ask_levels.tolist() == [list(level) for level in model.asks]
    for found, expected in (
        ((book.bid_prices, book.bid_sizes), model.bids),
        ((book.ask_prices, book.ask_sizes), model.asks),
    ):
        assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


@given(bids=_SIDES, asks=_SIDES, depth=_DEPTHS, levels=st.integers(0, 10))
def test_sums(bids: Levels, asks: Levels, depth: int, levels: int) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    assert book.cumulative_size(levels) == model.cumulative_size(levels)
    assert _is_close(book.imbalance(levels), model.imbalance(levels))


@given(bids=_SIDES, asks=_SIDES, depth=_DEPTHS, width=_WIDTHS, buckets=st.integers(1, 9))
def test_distances(bids: Levels, asks: Levels, depth: int, width: int, buckets: int) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    exact, given_as = Fraction(width, 10**6), Decimal(width).scaleb(-6)
    assert book.depth_within(given_as) == model.depth_within(exact)
    if width == 0:
        return
    profile = book.depth_profile(buckets, given_as)
    assert profile == model.depth_profile(buckets, exact)
    if profile is not None:
        assert (sum(profile.bids), sum(profile.asks)) == book.depth_within(buckets * given_as)


@given(
    ticks=st.integers(1, 10**6),
    bps=st.integers(1, 9_999),
    asks=st.lists(st.integers(-2, 2), min_size=1, max_size=4, unique=True),
)
def test_a_boundary_is_inclusive_to_the_mantissa(ticks: int, bps: int, asks: list[int]) -> None:
    """Levels around a boundary that is itself a price: the mid is 10,000 ticks, a basis point one tick."""
    mid, edge = 10_000 * ticks, (10_000 + bps) * ticks
    levels = [(mid + 1, 1), *((edge + off, 1) for off in asks if edge + off > mid + 1)]
    book = _book([(mid - 1, 1)], levels, 8)
    assert book.depth_within(bps).asks == sum(price <= edge for price, _ in levels)


@given(bids=_SIDES, asks=_SIDES, depth=_DEPTHS, side=_TAKERS, size=st.integers(0, 60) | st.integers(0, MAX))
@example(bids=[], asks=[(MAX, MAX), (MAX - 1, MAX)], depth=2, side="buy", size=MAX)
@example(bids=[(-MAX, MAX)], asks=[], depth=2, side="sell", size=MAX)
def test_costs(bids: Levels, asks: Levels, depth: int, side: Literal["buy", "sell"], size: int) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    _same_fill(book.cost_to_fill(side, size), model.cost_to_fill(side, size))


@given(
    bids=_SIDES, asks=_SIDES, depth=_DEPTHS, side=_TAKERS,
    notional=st.integers(0, 200) | st.integers(0, MAX) | st.integers(0, MAX**2) | st.just(MAX**2),
)  # fmt: skip
@example(bids=[], asks=[(-MAX, MAX), (-1, MAX)], depth=2, side="buy", notional=MAX**2)
@example(bids=[], asks=[(MAX, MAX)], depth=2, side="buy", notional=MAX**2)
@example(bids=[], asks=[(0, MAX), (5, 3)], depth=2, side="buy", notional=0)
@example(bids=[(3, 3), (0, 2), (-1, 1)], asks=[], depth=3, side="sell", notional=9)
def test_sizes_for_a_notional(
    bids: Levels, asks: Levels, depth: int, side: Literal["buy", "sell"], notional: int
) -> None:
    book, model = _book(bids, asks, depth), SlowBook(bids, asks, depth)
    fill = book.size_for_notional(side, notional)
    _same_fill(fill, model.size_for_notional(side, notional))
    assert fill.notional <= notional


def _same_fill(found: Any, expected: Any) -> None:
    assert found._replace(average_price=None) == expected._replace(average_price=None)
    assert _is_close(found.average_price, expected.average_price)


@given(
    bids=_SIDES, asks=_SIDES, said_bids=_MESSAGES, said_asks=_MESSAGES, replace=st.booleans(), pick=st.data()
)
def test_changes(
    bids: Levels, asks: Levels, said_bids: Levels, said_asks: Levels, replace: bool, pick: st.DataObject
) -> None:
    # levels of the book come up in the message: removed, repeated, changed
    for held, said in ((bids, said_bids), (asks, said_asks)):
        for price, size in pick.draw(st.lists(st.sampled_from(held), max_size=4)) if held else []:
            if price not in dict(said):
                said.append((price, pick.draw(st.sampled_from([0, size, 5]))))
    book, message = _book(bids, asks, 3), _columns(said_bids, said_asks)
    digest = book.digest
    expected = changes((bids, asks), (said_bids, said_asks), replace=replace)
    found = book.changes_of(*message, 0, 0, replace=replace)
    assert found == (0, 0, expected)
    assert book.digest == digest
    if replace:
        assert book.load_with_changes(*message, 0, 0) == found
    else:
        twin = _book(bids, asks, 3)
        assert twin.apply(*message, 0, 0) == len(expected)
        assert book.apply_with_changes(*message, 0, 0) == found
        assert book.digest == twin.digest
    assert book.changes_of(*message, 0, 0, replace=replace).levels == []
