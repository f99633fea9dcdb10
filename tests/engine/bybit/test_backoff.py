from random import Random

import pytest

from engine.bybit.backoff import Backoff, Budget, connect_budget


def test_first_attempt_is_at_once_then_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(Random(1), base_ns=100, cap_ns=450)
    ceilings = []
    for _ in range(6):
        ceilings.append(backoff.ceiling_ns())
        assert 0 <= backoff.next_delay_ns() <= ceilings[-1]
    assert ceilings == [0, 100, 200, 400, 450, 450]
    backoff.reset()
    assert backoff.next_delay_ns() == 0


def test_jitter_uses_the_whole_interval() -> None:
    delays = []
    random = Random(2)
    for _ in range(500):
        backoff = Backoff(random, base_ns=1_000, cap_ns=1_000)
        backoff.next_delay_ns()
        delays.append(backoff.next_delay_ns())
    assert min(delays) < 50
    assert max(delays) > 950


def test_a_thousand_failures_stay_at_the_cap() -> None:
    backoff = Backoff(Random(3))
    for _ in range(1_000):
        assert backoff.next_delay_ns() <= 30_000_000_000
    assert "failures=1000" in repr(backoff)


@pytest.mark.parametrize(("base_ns", "cap_ns"), [(0, 1), (2, 1), (-1, 1)])
def test_backoff_refuses_bad_bounds(base_ns: int, cap_ns: int) -> None:
    with pytest.raises(ValueError, match="base_ns"):
        Backoff(Random(1), base_ns=base_ns, cap_ns=cap_ns)


def test_budget_never_gives_more_than_its_limit_in_any_window() -> None:
    budget = Budget(3, 100)
    taken = [now_ns for now_ns in range(0, 1_000, 7) if budget.take(now_ns)]
    for start in taken:
        assert sum(start <= now_ns < start + 100 for now_ns in taken) <= 3
    assert len(taken) >= 27


def test_budget_tells_how_long_to_wait() -> None:
    budget = Budget(2, 100)
    assert budget.wait_ns(0) == 0
    assert budget.take(0)
    assert budget.take(10)
    assert budget.wait_ns(30) == 70
    assert not budget.take(99)
    assert budget.take(100)
    assert budget.wait_ns(100) == 10


def test_connect_budget_is_500_in_five_minutes_and_never_more() -> None:
    budget = connect_budget(10_000)
    assert sum(budget.take(0) for _ in range(1_000)) == 500
    assert budget.wait_ns(0) == 300 * 10**9
    assert "limit=500" in repr(budget)


@pytest.mark.parametrize(("limit", "window_ns"), [(0, 1), (1, 0)])
def test_budget_refuses_bad_bounds(limit: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Budget(limit, window_ns)


@pytest.mark.parametrize(("status", "least_ns"), [(403, 60 * 10**9), (429, 10 * 10**9)])
def test_who_was_told_to_stay_away_does_not_knock_again_soon(status: int, least_ns: int) -> None:
    backoff = Backoff(Random(4))
    delays = [backoff.next_delay_ns(status) for _ in range(200)]
    assert min(delays) >= least_ns
    assert delays[0] <= 2 * least_ns
    assert 500 * 10**9 < max(delays) <= 600 * 10**9
    backoff.reset()
    assert backoff.next_delay_ns(503) == 0


def test_budget_tells_how_many_are_left() -> None:
    budget = Budget(3, 100)
    assert budget.left(0) == 3
    for now_ns in (0, 10, 20):
        assert budget.take(now_ns)
    assert [budget.left(now_ns) for now_ns in (20, 99, 100, 115, 500)] == [0, 0, 1, 2, 3]
