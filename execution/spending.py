"""Waiting for what may be done only so often."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from recorder.network import Spending

__all__ = ["spend"]

_NANOSECONDS: Final = 1_000_000_000
_TIMER_SLACK_NS: Final = 2_000_000


async def spend(budget: Spending) -> None:
    """Take one, as soon as there is one."""
    while True:
        now_ns = time.monotonic_ns()
        if budget.take(now_ns):
            return
        # A timer may fire a little early, and another process may have been quicker.
        await asyncio.sleep((budget.wait_ns(now_ns) + _TIMER_SLACK_NS) / _NANOSECONDS)
