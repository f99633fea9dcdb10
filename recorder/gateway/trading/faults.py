"""What befalls order requests and private connections on purpose. Pure: draws, no sockets."""

from __future__ import annotations

import random

from recorder.gateway.faults import PRIVATE_DEEDS, TRADE_DEEDS, Deed, FaultPlan, choose

__all__ = ["OrderFaults"]


class OrderFaults:
    """Decides what befalls the order requests, and the private frames, of one connection.

    Args:
        plan: what to do; None for nothing.
        connection: its number; with the seed it decides which ones are hit.
    """

    def __init__(self, plan: FaultPlan | None, connection: int | str) -> None:
        seed = 0 if plan is None else plan.seed
        self._random = random.Random(f"order/{seed}/{connection}")
        self._thresholds = [] if plan is None else plan.thresholds(TRADE_DEEDS)
        self._frame_thresholds = [] if plan is None else plan.thresholds(PRIVATE_DEEDS)
        self.delay_seconds = 0.5 if plan is None else plan.delay_seconds

    def calm(self) -> None:
        """Let everything be from here on."""
        self._thresholds, self._frame_thresholds = [], []

    def next(self) -> Deed | None:
        """Return what befalls the next order request."""
        return choose(self._thresholds, self._random.random()) if self._thresholds else None

    def errs_after(self) -> bool:
        """Whether a request that is answered with an error is carried out all the same."""
        return self._random.random() < 0.5

    def next_frame(self) -> Deed | None:
        """Return what befalls the next private frame, and its connection with it."""
        return choose(self._frame_thresholds, self._random.random()) if self._frame_thresholds else None
