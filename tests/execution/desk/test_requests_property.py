"""Whatever is lost, late, repeated or reordered: one known outcome each, the true one, and nothing is sent twice."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution.desk.live import LiveAccount
from execution.desk.outcomes import OrderRequest, OutcomeKind, RequestState
from execution.desk.requests import Requests
from execution.desk.wire import Op
from tests.execution.desk.world import UID, World

TRUE_OUTCOMES = {
    "acked": {OutcomeKind.ACKED},
    # a refusal whose words were lost has had no effect, which is all that can be known of it
    "refused": {OutcomeKind.REJECTED, OutcomeKind.EXPIRED},
    "unanswered": {OutcomeKind.EXPIRED},
    "never": {OutcomeKind.EXPIRED},
}


def check(world: World) -> None:
    assert world.requests.is_settled, world.requests
    assert world.requests.contradictions == 0
    for request in world.made:
        assert request.state is RequestState.DONE
        assert world.ended[request.request_id] == 1, request
        assert world.sent[request.request_id] <= 1, request
        assert request.outcome is not None
        assert request.outcome.kind in TRUE_OUTCOMES[world.truth_of(request)], (
            request,
            world.truth_of(request),
        )
    acked = [
        request.key.link_id
        for request in world.made
        if request.op is Op.CREATE
        and request.outcome is not None
        and request.outcome.kind is OutcomeKind.ACKED
    ]
    assert len(acked) == len(set(acked)), "an order was sent twice"
    account = world.venue.accounts[UID]
    known = [*account.orders.values(), *account.closed]
    assert sorted(order.link_id for order in known) == sorted(acked)
    assert {o.order_id for o in world.account.open_orders} == set(account.orders)
    for order in world.account.orders:
        row = world.actual(order)
        assert order.status == row["orderStatus"], order
        assert order.filled == Decimal(row["cumExecQty"])
        assert order.has({name: row[name] for name in ("price", "qty")})
    for (category, symbol, index), position in account.positions.items():
        assert world.account.positions[category, symbol, index].signed == position.signed
    for coin, balance in account.balances.items():
        assert world.account.coins[coin].wallet_balance == balance


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 48), steps=st.integers(1, 60), faults=st.sampled_from((0.0, 0.1, 0.3, 0.6)))
def test_every_request_has_one_true_outcome(seed: int, steps: int, faults: float) -> None:
    world = World(seed, faults=faults)
    world.run(steps)
    world.drain()
    check(world)


def test_the_faults_happen() -> None:
    """Without this the property could hold because nothing ever went wrong."""
    kinds: dict[str, int] = {}
    for seed in range(40):
        world = World(seed)
        world.run(100)
        world.drain()
        check(world)
        for request in world.made:
            assert request.outcome is not None
            name = f"{request.op.value} {request.outcome.kind} {request.outcome.evidence}"
            name += " unknown" if request.outcome.was_unknown else ""
            kinds[name] = kinds.get(name, 0) + 1
        kinds["refused"] = kinds.get("refused", 0) + world.refused
        kinds["sent again"] = kinds.get("sent again", 0) + world.sent_again
    for wanted in (
        "order.create acked reply",
        "order.create acked stream unknown",
        "order.create acked rest unknown",
        "order.create expired rest unknown",
        "order.create rejected reply",
        "order.amend acked stream unknown",
        "order.cancel acked stream unknown",
        "order.cancel expired rest unknown",
        "refused",
        "sent again",
    ):
        assert kinds.get(wanted, 0) > 0, (wanted, kinds)


DAY_MS = 86_400_000


class Forgetful(World):
    """A world whose exchange keeps an order that ended without a fill for a day, and whose client is killed."""

    def _stored(self, age_ms: int) -> list[dict[str, Any]]:
        return [
            row
            for row in super()._stored(age_ms)
            if row["orderStatus"] not in ("Cancelled", "Rejected", "Deactivated")
            or Decimal(row["cumExecQty"])
            or int(row["updatedTime"]) > self.now_ms - DAY_MS
        ]

    def killed_and_started(self, after_ms: int) -> list[OrderRequest]:
        """End the client, and start another some time later; returns what it takes over."""
        left = [r for r in self.requests.open if r.state in (RequestState.SENT, RequestState.UNKNOWN)]
        self._begin()
        self._connection += 1
        self.step(20_000)  # what is on its way arrives, and nobody hears of it
        self._queue.clear()
        self.now_ms += after_ms
        self._begin()
        restored = [OrderRequest(r.request_id, r.op, r.key, r.fields, r.changed) for r in left]
        for request, known in zip(restored, left, strict=True):
            request.timestamp_ms, request.window_ms = known.timestamp_ms, known.window_ms
            self.requests.restore(request, self.client_ms)
        self.reload_now()
        return restored

    def _begin(self) -> None:
        self.account = LiveAccount()
        self.requests = Requests(self.account)
        self.requests.clock_error_ms = self.error_ms


@pytest.mark.parametrize("after_ms", [0, DAY_MS, 9 * DAY_MS])
def test_a_client_that_was_killed_claims_no_more_than_can_be_known(after_ms: int) -> None:
    kinds: Counter[str] = Counter()
    for seed in range(60):
        world = Forgetful(seed, faults=0.6)
        world.run(30)
        restored = world.killed_and_started(after_ms)
        world.drain()
        assert world.requests.is_settled
        assert world.requests.contradictions == 0
        for request in restored:
            assert request.outcome is not None
            kind, truth = request.outcome.kind, world.truth_of(request)
            kinds[f"{request.op.value} {kind.value}"] += 1
            if kind is OutcomeKind.FORGOTTEN:
                order = world.venue.accounts[UID].find(
                    request.key.category, request.key.order_id, request.key.link_id
                )
                assert order is None or order.status.value == "Cancelled"
                assert order is None or not order.filled, "what was filled is remembered"
                assert request.op is not Op.CREATE or after_ms, "a day is remembered whole"
            else:
                assert kind in TRUE_OUTCOMES[truth], (request, truth)
    assert kinds["order.create acked"] > 5
    assert (kinds["order.create expired"] > 5) == (after_ms == 0)
    assert (kinds["order.create forgotten"] > 5) == (after_ms > 0)


@pytest.mark.slow
def test_ten_thousand_lifecycles() -> None:
    made = 0
    seed = 1_000_000
    while made < 10_000:
        world = World(seed)
        world.run(200)
        world.drain()
        check(world)
        made += sum(request.op is Op.CREATE for request in world.made)
        seed += 1
