"""The gateway's clock, which a recorder holds its own against."""

from __future__ import annotations

import time

import uvloop

from recorder.gateway.exchange import Subscriptions
from recorder.gateway.options import GatewayOptions
from recorder.gateway.timeline import MarketTimeline, Outlet


def test_a_markets_clock_has_no_steps_on_the_loop_that_gateways_run_on() -> None:
    """Between two readings it goes as far as our own does: a clock that goes by milliseconds contradicts bounds
    that are narrower, and a recorder would find that the exchange's clock had jumped."""

    async def differences() -> list[tuple[int, int, int]]:
        timeline = MarketTimeline(1, {}, Subscriptions(), Outlet(lambda: None), GatewayOptions(simulate=1))
        out = []
        for _ in range(20):
            before_ns = time.monotonic_ns()
            first_ns = timeline.now_ns()
            between_ns = time.monotonic_ns()
            while time.monotonic_ns() - between_ns < 300_000:
                pass
            later_ns = time.monotonic_ns()
            last_ns = timeline.now_ns()
            out.append((later_ns - between_ns, last_ns - first_ns, time.monotonic_ns() - before_ns))
        return out

    for least_ns, told_ns, most_ns in uvloop.run(differences()):
        assert (
            least_ns - 1_000 <= told_ns <= most_ns + 1_000
        )  # what doubles of seconds are rounded by, and more
