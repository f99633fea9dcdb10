"""What gives way to a slow disk: the order, the marks, the counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.pressure import SECOND_NS, Level, Pressure

LIMIT = 3200


def test_the_order_of_sacrifice_and_back() -> None:
    pressure = Pressure(LIMIT)
    backlogs = [0, 400, 401, 3200, 3201, 800, 799, 100, 99]
    levels = [pressure.update(number * SECOND_NS, backlog) for number, backlog in enumerate(backlogs)]
    ease, spare, hold = Level
    assert levels == [ease, ease, spare, spare, hold, hold, spare, spare, ease]
    told = pressure.told(20 * SECOND_NS)
    assert told == {
        "level": "ease", "spared": 1, "spared_seconds": 6.0, "held": 1, "held_seconds": 2.0,
        "longest_hold_seconds": 2.0, "peak_backlog_bytes": 3201, "limit_bytes": LIMIT,
    }  # fmt: skip


def test_a_jump_passes_through_every_level() -> None:
    pressure = Pressure(LIMIT)
    assert pressure.update(0, 10 * LIMIT) is Level.HOLD
    told = pressure.told(5 * SECOND_NS)
    assert (told["level"], told["spared"], told["held"]) == ("hold", 1, 1)
    assert told["spared_seconds"] == told["held_seconds"] == told["longest_hold_seconds"] == 5.0
    assert pressure.update(7 * SECOND_NS, 0) is Level.EASE
    assert pressure.told(9 * SECOND_NS)["longest_hold_seconds"] == 7.0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 2 * LIMIT)), max_size=50))
def test_the_counts_are_those_of_a_slow_reader(steps: list[tuple[int, int]]) -> None:
    pressure = Pressure(LIMIT)
    now = 0
    spent = {Level.SPARE: 0, Level.HOLD: 0}
    rises = {Level.SPARE: 0, Level.HOLD: 0}
    for passed, backlog in steps:
        before = pressure.level
        for level in spent:
            spent[level] += passed * (before >= level)
        now += passed
        after = pressure.update(now * SECOND_NS, backlog)
        for level in rises:
            rises[level] += before < level <= after
        if backlog > LIMIT:
            assert after is Level.HOLD
        if backlog < LIMIT // 32:
            assert after is Level.EASE
    told = pressure.told(now * SECOND_NS)
    assert (told["spared_seconds"], told["held_seconds"]) == (spent[Level.SPARE], spent[Level.HOLD])
    assert (told["spared"], told["held"]) == (rises[Level.SPARE], rises[Level.HOLD])
    assert told["longest_hold_seconds"] <= told["held_seconds"]
    assert told["peak_backlog_bytes"] == max((backlog for _, backlog in steps), default=0)
