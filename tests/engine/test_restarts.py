"""Restarts: which ends are final, how long the pauses are, what a crash loop is."""

from __future__ import annotations

import pytest

from engine.restarts import LOOP_TIMES, SECOND_NS, Restarts


@pytest.mark.parametrize(
    ("code", "again"), [(0, False), (2, False), (1, True), (3, True), (4, True), (-9, True)]
)
def test_which_ends_are_final(code: int, again: bool) -> None:
    restarts = Restarts()
    restarts.started(0)
    assert (restarts.ended(1, code) is not None) == again
    assert restarts.count == int(again)


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_steady_run() -> None:
    restarts = Restarts()
    now = 0
    pauses = []
    for _ in range(9):
        restarts.started(now)
        now += 5 * SECOND_NS
        pause = restarts.ended(now, 3)
        assert pause is not None
        pauses.append(pause // SECOND_NS)
        now += pause
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    restarts.started(now)
    now += 60 * SECOND_NS
    assert restarts.ended(now, -9) == SECOND_NS
    assert restarts.count == 10


def test_a_crash_loop_is_many_ends_in_a_short_time() -> None:
    restarts = Restarts()
    for number in range(LOOP_TIMES):
        assert not restarts.in_a_loop(number)
        restarts.started(number)
        restarts.ended(number, 1)
    assert restarts.in_a_loop(LOOP_TIMES)
    assert not restarts.in_a_loop(600 * SECOND_NS)
