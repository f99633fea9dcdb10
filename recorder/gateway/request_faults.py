"""What goes wrong in a conversation on purpose: handshakes, and answers to subscriptions. Pure: draws, no sockets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from recorder.gateway.faults import HANDSHAKE_DEEDS, REQUEST_DEEDS, Deed, FaultPlan, choose

__all__ = ["STATUS_OF", "HandshakeFaults", "RequestFaults"]

STATUS_OF: Final = {Deed.FORBIDDEN: 403, Deed.TOO_MANY: 429, Deed.UNAVAILABLE: 503}
"""HTTP status of a refused handshake."""


class HandshakeFaults:
    """Decides which opening handshakes are refused, by their order of arrival."""

    def __init__(self, plan: FaultPlan) -> None:
        self._random = random.Random(f"handshake/{plan.seed}")
        self._thresholds = plan.thresholds(HANDSHAKE_DEEDS)

    def next(self) -> Deed | None:
        """Return what befalls the next handshake."""
        return choose(self._thresholds, self._random.random())


class RequestFaults:
    """Decides what befalls the requests of one connection.

    Args:
        plan: what to do.
        connection: its number; with the seed it decides which requests are hit.
    """

    def __init__(self, plan: FaultPlan, connection: int) -> None:
        self._random = random.Random(f"request/{plan.seed}/{connection}")
        self._thresholds = plan.thresholds(REQUEST_DEEDS)

    def calm(self) -> None:
        """Let every further request be."""
        self._thresholds = []

    def next(self, *, subscribes: bool) -> Deed | None:
        """Return what befalls a request, pings not counted.

        Args:
            subscribes: whether it asks for topics; only then can it be refused or be answered behind data.
        """
        deed = choose(self._thresholds, self._random.random())
        return None if deed in (Deed.REFUSE, Deed.DATA_FIRST) and not subscribes else deed

    def refused(self, topics: Sequence[str]) -> str:
        """Return the topic that a refused request is refused for."""
        return self._random.choice(topics)
