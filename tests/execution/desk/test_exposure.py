"""Running sums are what adding up anew would give, whatever is lost, late or repeated."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution.desk.exposure import EVERYTHING, Exposure, Pending, direction_of
from execution.desk.filters import parse_filters
from execution.desk.limits import Limits, RiskGate
from execution.desk.live import LiveAccount
from execution.desk.orders import NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import Direction, OrderRequest
from execution.desk.wire import Op
from schemas.names import Category
from tests.execution.desk.test_filters import LINEAR_ROW
from tests.execution.desk.world import World

D = Decimal
BUY: Direction = (Category.LINEAR, "BTCUSDT", "Buy", 0)
KEY = OrderKey(Category.LINEAR, "BTCUSDT", "", "x")


def left(account: LiveAccount, direction: Direction, *, closing: bool = False) -> Decimal:
    """What open orders have left, added up anew."""
    category, symbol, side, index = direction
    return sum(
        (
            order.leaves
            for order in account.open_orders
            if (order.category, order.symbol, order.side) == (category, symbol, side)
            and order.row.get("positionIdx", 0) == index
            and order.is_reduce_only == closing
        ),
        D(0),
    )


class Watched(World):
    """A world that is held against sums made anew after every step."""

    checks = 0

    def step(self, ms: int) -> None:
        super().step(ms)
        for category, symbol in self.symbols:
            for side, index in product(("Buy", "Sell"), (0, 1, 2)):
                direction = (category, symbol, side, index)
                assert self.account.exposure.of(direction) == left(self.account, direction)
                assert self.account.reducing.of(direction) == left(self.account, direction, closing=True)
                self._hold(direction)

    @property
    def symbols(self) -> set[tuple[Category, str]]:
        return {(request.key.category, request.key.symbol) for request in self.made}

    def _hold(self, direction: Direction) -> None:
        """A gate that knows the sums decides as one that looks at each request."""
        category, symbol, side, index = direction
        if category is Category.SPOT and index:
            return
        filters = parse_filters(category, {**LINEAR_ROW, "symbol": symbol})
        order = NewOrder(
            category=category,
            symbol=symbol,
            side=Side(side),
            position_index=index,
            quantity=D("0.1"),
            price=D(100),
        )
        for most in (10, 50, 150, 400):
            limits = Limits(
                order_notional=None,
                position_notional=D(most),
                requests_per_second=None,
                collar=None,
                daily_loss=None,
            )
            verdicts = []
            for pending in (None, self.requests.pending):
                gate = RiskGate(limits, self.account, lambda *_: None, lambda: self.requests.unseen, pending)
                try:
                    gate.check(order, filters, self.client_ms)
                except Refused as refusal:
                    verdicts.append(refusal.words)
                else:
                    verdicts.append("")
            assert verdicts[0] == verdicts[1], (direction, most)
            self.checks += bool(verdicts[0])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 48), faults=st.sampled_from((0.0, 0.3, 0.6)))
def test_sums_are_those_made_anew(seed: int, faults: float) -> None:
    world = Watched(seed, faults=faults)
    world.run(30)
    world.drain()
    if not world.requests.open:
        for category, symbol in world.symbols:
            for side in ("Buy", "Sell"):
                assert world.requests.pending.most((category, symbol, side, 0)) == 0


def test_both_verdicts_occur() -> None:
    """Without this the property could hold because nothing was ever refused."""
    world = Watched(7)
    world.run(60)
    assert world.checks > 100


@given(st.lists(st.decimals(D("1e-20"), D(10**15 - 1), places=20), max_size=20))
def test_nothing_is_left_behind(quantities: list[Decimal]) -> None:
    exposure = Exposure()
    for quantity in quantities:
        exposure.add(BUY, quantity)
    for quantity in quantities:
        exposure.remove(BUY, quantity)
    assert exposure.of(BUY) == 0
    assert exposure == {}


def test_values_that_no_order_has_add_to_nothing() -> None:
    for side, index in ((None, 0), ("Buy", 3), ("Buy", []), ("Buy", "0"), ({}, 0), ("Buy", None)):
        assert direction_of(Category.LINEAR, "BTCUSDT", side, index) is None
    account = LiveAccount()
    row: dict[str, Any] = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o",
        "side": "Buy",
        "orderStatus": "New",
        "qty": "1",
        "positionIdx": {},
    }
    order = account.on_order(row, 1)
    assert order is not None
    assert account.exposure.of(BUY) == 0
    account.on_order({**row, "positionIdx": 0, "updatedTime": "2"}, 2)
    assert account.exposure.of(BUY) == 1
    account.on_order({**row, "positionIdx": 0, "updatedTime": "3", "cumExecQty": "0.4"}, 3)
    assert account.exposure.of(BUY) == D("0.6")
    account.on_order({**row, "reduceOnly": True, "updatedTime": "4", "cumExecQty": "0.4"}, 4)
    assert account.exposure.of(BUY) == 0
    account.on_order({**row, "positionIdx": 0, "updatedTime": "5", "cumExecQty": "0.4"}, 5)
    account.mark_gone(order)
    assert account.exposure.of(BUY) == 0


def request(op: Op, fields: dict[str, Any], **more: Any) -> OrderRequest:
    return OrderRequest("r", op, KEY, fields, **more)


def test_what_cannot_be_bounded_is_said_to_be_unclear() -> None:
    pending = Pending()
    amend = request(Op.AMEND, {}, changed={"qty": "1"})
    amount = request(Op.CREATE, {"side": "Buy", "qty": "1", "marketUnit": "quoteCoin"})
    for unclear in (amend, amount):
        pending.enter(unclear)
    assert pending.most(BUY) is None
    assert pending.most((Category.LINEAR, "ETHUSDT", "Buy", 0)) == 0
    pending.leave(amend)
    assert pending.most(BUY) is None
    pending.leave(amount)
    assert pending.most(BUY) == 0


def test_what_only_closes_or_moves_a_price_adds_nothing() -> None:
    pending = Pending()
    for harmless in (
        request(Op.CREATE, {"side": "Buy", "qty": "1", "reduceOnly": True}),
        request(Op.AMEND, {}, changed={"price": "1"}),
        request(Op.CANCEL, {}),
    ):
        pending.enter(harmless)
        assert pending.most(BUY) == 0
        pending.leave(harmless)
    create = request(Op.CREATE, {"side": "Buy", "qty": "1"}, quantity=D("0.5"))
    pending.enter(create)
    assert pending.most(BUY) == D("0.5")
    pending.leave(create)
    pending.leave(create)
    assert pending.most(BUY) == 0


@pytest.mark.parametrize(("quantity", "closes"), [("1", D(1)), ("0", EVERYTHING)])
def test_what_only_closes_is_counted_by_itself(quantity: str, closes: Decimal) -> None:
    pending = Pending()
    closing = request(Op.CREATE, {"side": "Buy", "qty": quantity, "reduceOnly": True})
    pending.enter(closing)
    assert pending.reducing.of(BUY) == closes
    pending.leave(closing)
    pending.leave(closing)
    assert pending.reducing.of(BUY) == 0
