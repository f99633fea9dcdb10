from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.rates import RateHeaders, RateLimiter, read_headers
from execution.desk.wire import Op
from schemas.names import Category

LINEAR, CREATE = Category.LINEAR, Op.CREATE
NOW = 1_760_000_000_000


@given(st.lists(st.integers(0, 300), min_size=1, max_size=80), st.integers(1, 20))
def test_no_second_ever_has_more_than_the_limit(gaps: list[int], limit: int) -> None:
    limiter = RateLimiter()
    limiter.on_headers(LINEAR, CREATE, RateHeaders(limit, 1, 0), NOW)
    now, taken = NOW, []
    for gap in gaps:
        now += gap
        wait = limiter.take(LINEAR, CREATE, now)
        if wait:
            now += wait
            assert limiter.take(LINEAR, CREATE, now) == 0, "what it said to wait is enough"
        taken.append(now)
    for index, moment in enumerate(taken):
        assert sum(moment - 1_000 < other <= moment for other in taken[: index + 1]) <= limit


def test_published_limits_hold_until_an_answer_says_otherwise() -> None:
    limiter = RateLimiter()
    assert limiter.limit(LINEAR, CREATE) == 10
    assert limiter.limit(Category.SPOT, CREATE) == 20
    assert limiter.limit(Category.SPOT, Op.AMEND) == 10
    limiter.on_headers(LINEAR, CREATE, RateHeaders(200, 199, NOW), NOW)
    assert limiter.limit(LINEAR, CREATE) == 200
    assert limiter.limit(LINEAR, Op.CANCEL) == 10, "each operation has its own"
    assert limiter.limit(Category.INVERSE, CREATE) == 200, "futures are counted together"


def test_nothing_left_means_waiting_for_the_reset() -> None:
    limiter = RateLimiter()
    limiter.on_headers(LINEAR, CREATE, RateHeaders(10, 0, NOW + 400), NOW)
    assert limiter.take(LINEAR, CREATE, NOW) == 400
    assert limiter.refused == 1
    assert limiter.take(LINEAR, CREATE, NOW + 400) == 0


def test_a_reset_far_away_is_a_mistake() -> None:
    limiter = RateLimiter()
    limiter.on_headers(LINEAR, CREATE, RateHeaders(10, 0, NOW + 3_600_000), NOW)
    assert limiter.wait_ms(LINEAR, CREATE, NOW) == 1_000


def test_a_refusal_closes_for_a_second() -> None:
    limiter = RateLimiter()
    limiter.on_refusal(LINEAR, CREATE, NOW)
    assert limiter.wait_ms(LINEAR, CREATE, NOW + 300) == 700


def test_a_batch_costs_what_it_holds() -> None:
    limiter = RateLimiter()
    assert limiter.take(LINEAR, CREATE, NOW, 7) == 0
    assert limiter.take(LINEAR, CREATE, NOW + 10, 4) == 990
    assert limiter.take(LINEAR, CREATE, NOW + 10, 3) == 0
    with pytest.raises(ValueError, match="10 a second"):
        limiter.take(LINEAR, CREATE, NOW, 11)


def test_headers_in_any_spelling() -> None:
    said = {
        "X-Bapi-Limit": "10",
        "x-bapi-limit-status": "9",
        "X-BAPI-LIMIT-RESET-TIMESTAMP": "5",
        "Traceid": "x",
    }
    assert read_headers(said) == RateHeaders(10, 9, 5)


@pytest.mark.parametrize(
    "said",
    [{}, {"X-Bapi-Limit": "10"}, {"X-Bapi-Limit": "-1", "X-Bapi-Limit-Status": "1"},
     {"X-Bapi-Limit": 10, "X-Bapi-Limit-Status": "1"}, {"X-Bapi-Limit": "0", "X-Bapi-Limit-Status": "0"},
     {"X-Bapi-Limit": "9" * 30, "X-Bapi-Limit-Status": "0"}],
)  # fmt: skip
def test_headers_that_say_nothing(said: dict[str, object]) -> None:
    assert read_headers(said) is None
