"""Books as ladders."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.watch.ladder import STEPS, ladder_of

SIDE = st.dictionaries(st.integers(1, 10_000), st.integers(1, 10**12), max_size=60)


def test_sums_and_shares() -> None:
    ladder = ladder_of([(100, 3), (99, 1)], [(101, 4), (103, 2), (104, 9)], most=2)
    assert ladder.bids == [(100, 3, 3, 0.75), (99, 1, 4, 0.25)]
    assert ladder.asks == [(101, 4, 4, 1.0), (103, 2, 6, 0.5)]


def test_steps_never_flatter() -> None:
    ladder = ladder_of([(104, 1), (101, 2), (99, 4)], [(105, 1), (110, 2), (111, 4)], most=9, step=10)
    assert [(rung.price, rung.size) for rung in ladder.bids] == [(100, 3), (90, 4)]
    assert [(rung.price, rung.size) for rung in ladder.asks] == [(110, 3), (120, 4)]


def test_empty_sides() -> None:
    assert ladder_of([], [], most=5) == ([], [])
    assert ladder_of([], [(1, 1)], most=5).asks == [(1, 1, 1, 1.0)]


@given(SIDE, SIDE, st.integers(1, 80), st.sampled_from(STEPS))
def test_nothing_is_lost_that_has_room(
    bids: dict[int, int], asks: dict[int, int], most: int, step: int
) -> None:
    sides = (sorted(bids.items(), reverse=True), sorted(asks.items()))
    for given_side, rungs, better in zip(
        sides, ladder_of(*sides, most=most, step=step), (max, min), strict=True
    ):
        prices = [rung.price for rung in rungs]
        assert len(prices) <= most
        assert prices == sorted(set(prices), reverse=better is max)
        assert all(price % step == 0 for price in prices)
        if len(prices) < most:
            assert sum(rung.size for rung in rungs) == sum(size for _, size in given_side)
        if rungs:
            assert rungs[-1].sum == sum(rung.size for rung in rungs)
            # a step's price is never better than what it holds
            assert better(rungs[0].price, given_side[0][0]) == given_side[0][0]
            assert all(0 < rung.share <= 1 for rung in rungs)
