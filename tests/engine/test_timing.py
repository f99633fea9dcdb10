"""The waiting times: what the protocol and the design ask for, and never nothing."""

from __future__ import annotations

import pytest

from engine.bybit.backoff import STAY_AWAY_NS
from engine.bybit.patience import SessionOptions
from engine.timing import Timing


def test_the_defaults_are_the_designs() -> None:
    timing = Timing()
    assert timing.least_silence_ns == 10_000_000_000
    assert {403: timing.banned_ns, 429: timing.too_many_ns} == STAY_AWAY_NS
    assert timing.session == SessionOptions()
    assert timing.session.ping_interval_ns == 20_000_000_000


@pytest.mark.parametrize("name", [name for name in Timing.__struct_fields__ if name != "session"])
def test_a_time_is_positive(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is 0: expected a positive number"):
        Timing(**{name: 0})
