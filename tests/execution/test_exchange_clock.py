from __future__ import annotations

import time
from typing import Any

import pytest

from execution.exchange_clock import ExchangeClock
from recorder.rest import RestClient
from schemas.errors import ConnectError


class Asked:
    """A REST client whose exchange is ahead of our clock, and far away."""

    def __init__(self, ahead_ms: int, away_ms: int, failures: int = 0) -> None:
        self.ahead_ms = ahead_ms
        self.away_ms = away_ms
        self.failures = failures

    async def timed_server_time(self) -> tuple[int, int, int]:
        if self.failures:
            self.failures -= 1
            raise ConnectError("no answer")
        now_ns, sent_ns = time.time_ns(), time.monotonic_ns()
        half_ns = self.away_ms * 1_000_000
        return now_ns + self.ahead_ms * 1_000_000 + half_ns, sent_ns, sent_ns + 2 * half_ns


async def ask(clock: ExchangeClock, **asked: Any) -> None:
    rest: Any = Asked(**asked)
    assert RestClient.timed_server_time
    await clock.ask(rest)


async def test_before_the_first_answer_it_is_our_clock_and_nothing_is_certain() -> None:
    clock = ExchangeClock()
    assert abs(clock.now_ms() - time.time_ns() // 1_000_000) < 1_000
    assert clock.error_ms() == 60_000


async def test_the_truth_lies_within_the_error() -> None:
    clock = ExchangeClock()
    await ask(clock, ahead_ms=12_345, away_ms=40)
    truth_ms = time.time_ns() // 1_000_000 + 12_345
    assert abs(clock.now_ms() - truth_ms) <= clock.error_ms()
    assert clock.error_ms() <= 42


async def test_an_answer_out_of_three_is_enough() -> None:
    clock = ExchangeClock()
    await ask(clock, ahead_ms=5_000, away_ms=1, failures=2)
    assert clock.error_ms() < 60_000
    with pytest.raises(ConnectError):
        await ask(ExchangeClock(), ahead_ms=0, away_ms=1, failures=3)
