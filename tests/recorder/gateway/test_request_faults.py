"""Faults of the conversation: drawn from a seed, and only where they can be."""

from __future__ import annotations

from collections import Counter

import pytest

from recorder.gateway.faults import HANDSHAKE_DEEDS, REQUEST_DEEDS, Deed, FaultPlan
from recorder.gateway.request_faults import STATUS_OF, HandshakeFaults, RequestFaults


def requests(plan: FaultPlan, connection: int = 1, *, subscribes: bool = True) -> list[Deed | None]:
    drawn = RequestFaults(plan, connection)
    return [drawn.next(subscribes=subscribes) for _ in range(2_000)]


def test_shares_and_repeatability() -> None:
    plan = FaultPlan(dict.fromkeys(REQUEST_DEEDS, 0.1), seed=3)
    drawn = Counter(requests(plan))
    assert set(drawn) == {None, *REQUEST_DEEDS}
    assert all(100 < drawn[deed] < 300 for deed in REQUEST_DEEDS)
    assert requests(plan) == requests(plan)
    assert requests(plan) != requests(plan, connection=2)


def test_an_unsubscribe_is_never_refused() -> None:
    plan = FaultPlan(dict.fromkeys(REQUEST_DEEDS, 0.2))
    assert set(requests(plan, subscribes=False)) == {None, Deed.SLOW_ACK, Deed.LOST_ACK, Deed.DOUBLE_ACK}


def test_a_refusal_names_one_of_the_topics() -> None:
    drawn = RequestFaults(FaultPlan({Deed.REFUSE: 1.0}), 1)
    topics = ["a", "b", "c"]
    assert {drawn.refused(topics) for _ in range(100)} == set(topics)


@pytest.mark.parametrize("deed", HANDSHAKE_DEEDS)
def test_handshakes(deed: Deed) -> None:
    assert [HandshakeFaults(FaultPlan({deed: 1.0})).next() for _ in range(3)] == [deed] * 3
    assert HandshakeFaults(FaultPlan({})).next() is None
    assert STATUS_OF[deed] in (403, 429, 503)
