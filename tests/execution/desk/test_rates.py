from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.rates import PathLimiter, RateHeaders, RateLimiter, read_headers
from execution.desk.wire import Op
from schemas.names import Category

LINEAR, CREATE = Category.LINEAR, Op.CREATE
NOW = 1_760_000_000_000


WINDOW_MS = 5_000
"""How long after it was sent the exchange may still take a request that nobody hears of again."""


def take(limiter: RateLimiter, now_ms: int, cost: int = 1) -> int:
    """Send what may be sent; returns how long to wait instead."""
    wait = limiter.wait_ms(LINEAR, CREATE, now_ms, cost)
    if not wait:
        limiter.count(LINEAR, CREATE, now_ms, now_ms + WINDOW_MS, cost)
    return wait


requests = st.tuples(
    st.integers(0, 300),  # ms after the one before
    st.one_of(st.none(), st.integers(0, 8_000)),  # until its answer; None: it is lost
    st.integers(0, 1_000),  # of a thousand, how far on its way the exchange counted it
)


@given(st.lists(requests, min_size=1, max_size=80), st.integers(1, 20))
def test_no_second_ever_has_more_than_the_limit(drawn: list[tuple[int, int | None, int]], limit: int) -> None:
    """Wherever between its bytes and its answer the exchange counts a request."""
    limiter = RateLimiter()
    limiter.on_headers(LINEAR, CREATE, RateHeaders(limit, 1, 0), NOW)
    now = NOW
    counted: list[int] = []
    answers: list[tuple[int, int]] = []

    def pass_time(until_ms: int) -> None:
        for moment, sent_ms in sorted(answers):
            if moment <= until_ms:
                limiter.answered(LINEAR, CREATE, sent_ms, moment)
                answers.remove((moment, sent_ms))

    for gap, answer_ms, share in drawn:
        now += gap
        pass_time(now)
        wait = take(limiter, now)
        if wait:
            now += wait
            pass_time(now)
            assert take(limiter, now) == 0, "what it said to wait is enough"
        counted.append(now + min(WINDOW_MS, WINDOW_MS if answer_ms is None else answer_ms) * share // 1_000)
        if answer_ms is not None:
            answers.append((now + answer_ms, now))
    for moment in counted:
        assert sum(moment - 1_000 < other <= moment for other in counted) <= limit


def test_a_slow_answer_counts_from_when_it_came() -> None:
    limiter = RateLimiter()
    limiter.on_headers(LINEAR, CREATE, RateHeaders(2, 1, 0), NOW)
    assert [take(limiter, NOW), take(limiter, NOW)] == [0, 0]
    assert take(limiter, NOW + 1_500) == WINDOW_MS + 1_000 - 1_500, "nothing is heard of either"
    limiter.answered(LINEAR, CREATE, NOW, NOW + 1_500)
    assert take(limiter, NOW + 2_000) == 500
    assert take(limiter, NOW + 2_500) == 0
    for _ in range(3):  # more answers than requests change nothing
        limiter.answered(LINEAR, CREATE, NOW, NOW + 2_500)
    assert take(limiter, NOW + 2_600) == 900
    assert take(limiter, NOW + WINDOW_MS + 1_000) == 0, "one is not answered at all, and counts no more"


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
    assert take(limiter, NOW) == 400
    assert limiter.refused == 1
    assert take(limiter, NOW + 400) == 0


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
    assert take(limiter, NOW, 7) == 0
    assert take(limiter, NOW + 10, 4) == WINDOW_MS + 990
    assert take(limiter, NOW + 10, 3) == 0
    for _ in range(7):
        limiter.answered(LINEAR, CREATE, NOW, NOW + 20)
    assert take(limiter, NOW + 30, 7) == 990
    with pytest.raises(ValueError, match="10 a second"):
        take(limiter, NOW, 11)


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        (RateHeaders(5, 1, NOW + 700), 0),
        # it says now, by its own clock, where nothing was refused yet
        (RateHeaders(5, 0, NOW), 1_000),
        (RateHeaders(5, 0, NOW + 1), 1_000),
        (RateHeaders(5, 0, NOW + 3_600_000), 1_000),
    ],
)
def test_a_path_waits_as_its_answers_say(headers: RateHeaders, wait_ms: int) -> None:
    limiter = PathLimiter()
    assert limiter.wait_ms("/v5/x", NOW) == 0
    limiter.on_headers("/v5/x", headers, NOW)
    assert (limiter.wait_ms("/v5/x", NOW), limiter.wait_ms("/v5/y", NOW)) == (wait_ms, 0)
    assert limiter.wait_ms("/v5/x", NOW + wait_ms) == 0
    limiter.on_refusal("/v5/x", NOW)
    assert limiter.wait_ms("/v5/x", NOW + 400) == 600
    limiter.on_headers("/v5/x", RateHeaders(5, 4, NOW), NOW + 400)
    assert limiter.wait_ms("/v5/x", NOW + 400) == 0


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
