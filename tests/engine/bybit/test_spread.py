"""Where topics go: packed by limits and rates at first, moved by measured rates later, and never back and forth."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit import spread as policy
from engine.bybit.limits import check_connection
from engine.bybit.spread import LineLoad, Move, Spreader, spread
from engine.bybit.weights import expected_frames_per_second
from schemas.errors import ConfigError
from schemas.names import Category

SECOND = 10**9
MOST = 1_000.0


def names(count: int, start: int = 0) -> list[str]:
    return [f"orderbook.50.S{number:04}USDT" for number in range(start, start + count)]


def load(slot: int, *rates: float, copy: int = 0, start: int = 0) -> LineLoad:
    return LineLoad(slot, copy, dict(zip(names(len(rates), start), rates, strict=True)))


def after(spreader: Spreader, loads: list[LineLoad], seconds: int, *, may_open: bool = True) -> Move | None:
    """What is proposed once it has been so for that long."""
    assert spreader.propose(loads, 1_000 * SECOND, may_open=may_open) is None
    return spreader.propose(loads, (1_000 + seconds) * SECOND, may_open=may_open)


# ---- at the start ----


@given(
    rates=st.lists(st.floats(0, 2_000), max_size=200),
    most=st.floats(1, 3_000),
    category=st.sampled_from(list(Category)),
)
def test_every_topic_once_within_limits_and_rate(rates: list[float], most: float, category: Category) -> None:
    topics = names(len(rates))
    weight = dict(zip(topics, rates, strict=True))
    connections = spread(category, topics, weight.__getitem__, most)
    assert [topic for connection in connections for topic in connection] == topics
    for connection in connections:
        check_connection(category, connection)
        assert len(connection) == 1 or sum(map(weight.__getitem__, connection)) <= most * 1.000001
    for one, following in pairwise(connections):
        # no connection was begun without need
        assert sum(map(weight.__getitem__, [*one, following[0]])) > most * 0.999999


def test_characters_end_a_connection_before_its_rate_does() -> None:
    topics = names(2_000)
    connections = spread(Category.LINEAR, topics, lambda _: 0.0, MOST)
    assert [len(connection) for connection in connections] == [839, 839, 322]  # 25 characters each
    for connection in connections:
        check_connection(Category.LINEAR, connection)
    with pytest.raises(ConfigError, match="need 2000 connections, at most 1000 per address"):
        spread(Category.LINEAR, topics, lambda _: MOST, MOST)


@pytest.mark.parametrize("category", list(Category))
def test_as_few_connections_as_the_limits_allow(category: Category) -> None:
    topics = [f"t.{number}" for number in range(5_000)]
    connections = spread(category, topics, lambda _: 0.0, MOST)
    assert [topic for connection in connections for topic in connection] == topics
    for connection in connections:
        check_connection(category, connection)
    for first, second in pairwise(connections):
        with pytest.raises(ConfigError):
            check_connection(category, [*first, second[0]])
    assert spread(category, [], lambda _: 0.0, MOST) == []


def test_what_is_expected_of_a_topic() -> None:
    def expected(topic: str, turnover: float | None = None, category: Category = Category.LINEAR) -> float:
        return expected_frames_per_second(category, topic, turnover)

    # the sizing hint: about 30 frames/s of the busiest at depth 50, 8 to 22 on average
    assert expected("orderbook.50.BTCUSDT", 5e9) == 30
    assert 8 <= expected("orderbook.50.X") <= 22
    assert expected("orderbook.50.X", 1e5) < 3
    # no more than the push interval allows
    for depth, interval_ms in {1: 10, 50: 20, 200: 100, 1000: 200}.items():
        assert 0 < expected(f"orderbook.{depth}.BTCUSDT", 1e12) <= 1_000 / interval_ms
    assert expected("tickers.X", 1e12) <= 10
    assert expected("orderbook.25.X", None, Category.OPTION) < expected("orderbook.50.X")
    for strange in ("", "x", "orderbook", "orderbook.x", "insurance.USDT"):
        assert 0 < expected(strange, 0.0) <= 1
    assert expected("orderbook.50.X", -1.0) > 0


# ---- too much on one connection ----


def test_a_busy_connection_is_relieved_by_a_new_one_with_few_topics() -> None:
    busy = load(0, 600, 500, 300, 100)
    move = after(Spreader(Category.LINEAR, MOST), [busy], 60)
    why = "1500 frames/s on one connection, 1000 are wanted at most"
    assert move == Move(0, None, (names(4)[0], names(4)[3]), why)  # 700 leave, and 800 are left


def test_it_must_have_been_so_for_a_while() -> None:
    spreader = Spreader(Category.LINEAR, MOST)
    busy, calm = [load(0, 700, 700)], [load(0, 600, 600)]
    assert spreader.propose(busy, 0, may_open=True) is None
    assert spreader.propose(busy, 59 * SECOND, may_open=True) is None
    assert spreader.propose(calm, 60 * SECOND, may_open=True) is None
    assert spreader.propose(busy, 61 * SECOND, may_open=True) is None
    assert spreader.propose(busy, 121 * SECOND, may_open=True) is not None


def test_the_busiest_with_room_takes_it_and_none_is_opened() -> None:
    loads = [load(0, 700, 600), load(1, 150, start=10), load(2, 250, start=20), load(3, 790, start=30)]
    move = after(Spreader(Category.LINEAR, MOST), loads, 60)
    assert move is not None
    assert (move.source, move.target) == (0, 1)  # 700 don't fit anywhere, 600 only there
    assert move.topics == (names(2)[1],)


def test_topics_stay_within_their_copy() -> None:
    loads = [load(0, 700, 700), load(1, 0.0, copy=1)]
    move = after(Spreader(Category.LINEAR, MOST), loads, 60)
    assert move is not None
    assert move.target is None


def test_without_room_in_the_budget_nothing_is_opened() -> None:
    assert after(Spreader(Category.LINEAR, MOST), [load(0, 700, 700)], 60, may_open=False) is None


def test_a_giant_stays_and_the_others_leave_it() -> None:
    busy = load(0, 5_000, 200, 100)
    move = after(Spreader(Category.LINEAR, MOST), [busy], 60)
    assert move is not None
    assert set(move.topics) == set(names(3)[1:])
    assert after(Spreader(Category.LINEAR, MOST), [load(0, 5_000)], 600) is None


def test_after_a_move_there_is_a_pause() -> None:
    spreader = Spreader(Category.LINEAR, MOST)
    busy = [load(0, 700, 700)]
    assert after(spreader, busy, 60) is not None
    spreader.moved(2_000 * SECOND)
    assert spreader.propose(busy, 2_059 * SECOND, may_open=True) is None
    assert spreader.propose(busy, 2_060 * SECOND, may_open=True) is None
    assert spreader.propose(busy, 2_120 * SECOND, may_open=True) is not None


# ---- too little on two ----


def test_two_quiet_connections_become_one() -> None:
    loads = [load(0, 450), load(1, 150, start=10), load(2, 100, 10, start=20)]
    assert after(Spreader(Category.LINEAR, MOST), loads, 599) is None
    move = after(Spreader(Category.LINEAR, MOST), loads, 600)
    assert move is not None
    assert (move.source, move.target, set(move.topics)) == (2, 1, set(names(2, 20)))


def test_not_those_of_different_copies_and_not_beyond_the_limits() -> None:
    assert after(Spreader(Category.LINEAR, MOST), [load(0, 1.0), load(1, 1.0, copy=1)], 900) is None
    full = [load(0, *[0.1] * 800), load(1, *[0.1] * 800, start=1_000)]
    assert after(Spreader(Category.LINEAR, MOST), full, 900) is None
    assert after(Spreader(Category.LINEAR, MOST), [load(0, 300), load(1, 201, start=10)], 900) is None


# ---- in the long run ----


def apply(loads: list[LineLoad], move: Move) -> list[LineLoad]:
    (source,) = [load for load in loads if load.slot == move.source]
    moving = {topic: source.topics[topic] for topic in move.topics}
    staying = {topic: rate for topic, rate in source.topics.items() if topic not in moving}
    out = [load for load in loads if load.slot not in (move.source, move.target)]
    if staying:
        out.append(LineLoad(source.slot, source.copy, staying))
    if move.target is None:
        slot = max(load.slot for load in loads) + 1
        out.append(LineLoad(slot, source.copy, moving))
    else:
        (target,) = [load for load in loads if load.slot == move.target]
        assert target.copy == source.copy
        out.append(LineLoad(target.slot, target.copy, target.topics | moving))
    return out


@given(
    rates=st.lists(st.lists(st.floats(0, 900), min_size=1, max_size=12), min_size=1, max_size=6),
    copies=st.integers(1, 2),
)
def test_moves_come_to_an_end_and_leave_things_better(rates: list[list[float]], copies: int) -> None:
    """With rates that stay as they are: bounded moves, none undone, limits kept, nothing lost."""
    loads = [load(slot, *of, copy=slot % copies, start=100 * slot) for slot, of in enumerate(rates)]
    before = sorted((topic, load.copy) for load in loads for topic in load.topics)
    topics_moved = 0
    spreader, now_ns = Spreader(Category.LINEAR, MOST), 0
    for _ in range(40):
        move = None
        for _ in range(20):
            now_ns += 60 * SECOND
            move = spreader.propose(loads, now_ns, may_open=True)
            if move is not None:
                break
        if move is None:
            break
        assert 0 < len(move.topics) <= policy.TOPICS_PER_MOVE
        loads = apply(loads, move)
        topics_moved += len(move.topics)
        spreader.moved(now_ns)
        for line in loads:
            check_connection(Category.LINEAR, list(line.topics))
    else:
        raise AssertionError("moves without end")
    assert topics_moved <= 2 * len(before)
    assert sorted((topic, load.copy) for load in loads for topic in load.topics) == before
    for line in loads:
        movable = sum(rate for rate in line.topics.values() if rate <= policy.FULL * MOST)
        assert line.rate <= policy.OVER * MOST or len(line.topics) == 1 or movable == 0


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Spreader(Category.LINEAR, 0)
    assert "most=1000/s" in repr(Spreader(Category.LINEAR, MOST))
