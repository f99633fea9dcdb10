"""What can be asked and told over REST, each against the gateway that trades."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.venue import Side as VenueSide
from execution.client import TradingClient
from execution.desk.orders import NewOrder, Side
from execution.desk.outcomes import OutcomeKind
from execution.rest_calls import RestCalls
from schemas.errors import ExchangeError, Rejected
from schemas.names import Category
from tests.execution.conftest import Place, until
from tests.execution.relay import relay

D = Decimal
LINEAR = Category.LINEAR
KEY = (LINEAR, "BTCUSDT", 0)


async def buy(client: TradingClient, quantity: str = "0.02") -> None:
    order = NewOrder(category=LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D(quantity))
    assert (await client.create(order).outcome()).kind is OutcomeKind.ACKED
    await until(lambda: KEY in client.account.positions and client.account.positions[KEY].size >= D(quantity))
    await until(lambda: client.requests.is_settled)


async def test_what_there_is_is_what_the_live_state_says(place: Place) -> None:
    client = await place.client()
    await place.mid()
    began_ms = client.clock.now_ms() - 1_000
    assert await client.rest.open_orders(LINEAR) == []
    assert await client.rest.positions(LINEAR) == []
    resting = await place.resting()
    tickets = client.create_batch([resting, resting, resting])
    for ticket in tickets:
        assert (await ticket.outcome()).kind is OutcomeKind.ACKED
    await until(lambda: len(client.account.open_orders) == 3)
    assert (await client.cancel(tickets[0].key).outcome()).kind is OutcomeKind.ACKED
    await buy(client)
    await until(lambda: len(client.account.open_orders) == 2)
    await client.reload()
    account = client.account

    opened = await client.rest.open_orders(LINEAR)
    assert {(o.order_id, o.link_id, o.price, o.quantity, o.status) for o in opened} == {
        (o.order_id, o.link_id, o.price, o.quantity, o.status) for o in account.open_orders
    }
    closed = await client.rest.closed_orders(LINEAR)
    assert {(o.order_id, o.status, o.filled) for o in closed} == {
        (o.order_id, o.status, o.filled) for o in account.orders if not o.is_open
    }
    assert {o.status for o in closed} == {"Cancelled", "Filled"}
    assert [o.order_id for o in await client.rest.closed_orders(LINEAR, 1)] == [
        max(closed, key=lambda order: order.updated_ms).order_id
    ]
    (position,) = await client.rest.positions(LINEAR)
    assert (position.signed, position.entry_price) == (D("0.02"), account.positions[KEY].entry_price)
    assert {name: c.wallet_balance for name, c in (await client.rest.balances()).items()} == {
        name: c.wallet_balance for name, c in account.coins.items() if c.wallet_balance
    }
    fills = await client.rest.executions(LINEAR, began_ms)
    assert {f.execution_id: f.fee for f in fills} == {f.execution_id: f.fee for f in account.fills.values()}
    assert [f.executed_ms for f in fills] == sorted(f.executed_ms for f in fills)
    assert await client.rest.executions(LINEAR, client.clock.now_ms() + 5_000) == []
    assert await client.rest.positions(Category.SPOT) == []


async def test_more_than_a_page_of_orders(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    await client.create(order).outcome()  # from here on the limit is known to be more than ten
    for _ in range(3):
        for ticket in client.create_batch([order] * 20):
            assert (await ticket.outcome()).kind is OutcomeKind.ACKED
    opened = await client.rest.open_orders(LINEAR)
    assert {o.order_id for o in opened} == set(place.truth.orders)
    assert len(opened) == 61


async def test_fills_of_many_weeks_are_asked_for_week_by_week(place: Place) -> None:
    async with relay(place.gateway.url) as between:
        client = await place.client(root=between.root)
        await place.mid()
        await buy(client)
        week_ms = 7 * 86_400_000
        between.calls.clear()
        fills = await client.rest.executions(LINEAR, client.clock.now_ms() - 3 * week_ms)
        assert {f.execution_id for f in fills} == set(client.account.fills)
        spans = [
            (int(call.query["startTime"]), int(call.query["endTime"]))
            for call in between.calls
            if call.path == "/v5/execution/list"
        ]
        assert len(spans) == 4
        assert all(end - start < week_ms for start, end in spans)
        assert [start for start, _ in spans[1:]] == [end + 1 for _, end in spans[:-1]], "without a gap"
        await client.__aexit__(None, None, None)


async def test_cancel_all_counts_what_it_cancelled(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    for cancel, name in (
        (lambda: client.rest.cancel_symbol(LINEAR, "BTCUSDT"), "of a symbol"),
        (lambda: client.rest.cancel_all(LINEAR, ["BTCUSDT"]), "of a category"),
    ):
        for ticket in client.create_batch([order] * 4):
            await ticket.outcome()
        assert await cancel() == 4, name
        assert not place.truth.orders
    assert await client.rest.cancel_all(LINEAR, ["BTCUSDT"]) == 0


async def test_leverage_protection_and_fees(place: Place) -> None:
    client = await place.client()
    mid = await place.mid()
    for _ in range(2):
        await client.rest.set_leverage(LINEAR, "BTCUSDT", D(7))
    with pytest.raises(Rejected, match="code"):
        await client.rest.set_leverage(LINEAR, "BTCUSDT", D(10_000))
    assert await client.rest.fee_rates(LINEAR, "BTCUSDT") == (D("0.0002"), D("0.00055"))
    with pytest.raises(ExchangeError, match="no rates for linear NOSUCH"):
        await client.rest.fee_rates(LINEAR, "NOSUCH")
    with pytest.raises(Rejected, match="code 10001"):
        await client.rest.set_trading_stop(LINEAR, "BTCUSDT", stop_loss=D(1_000))
    await buy(client)
    profit, loss = (mid * D("1.2")).quantize(D(1)), (mid * D("0.9")).quantize(D(1))
    for _ in range(2):
        await client.rest.set_trading_stop(LINEAR, "BTCUSDT", take_profit=profit, stop_loss=loss)
    (position,) = await client.rest.positions(LINEAR)
    assert position.leverage == 7
    assert (D(position.row["takeProfit"]), D(position.row["stopLoss"])) == (profit, loss)
    await client.rest.set_trading_stop(LINEAR, "BTCUSDT", trailing_stop=D(300), active_price=profit)
    (position,) = await client.rest.positions(LINEAR)
    assert D(position.row["trailingStop"]) == 300
    await client.rest.set_trading_stop(
        LINEAR, "BTCUSDT", take_profit=D(0), stop_loss=D(0), trailing_stop=D(0)
    )
    (position,) = await client.rest.positions(LINEAR)
    for name in ("takeProfit", "stopLoss", "trailingStop"):
        assert D(position.row[name] or 0) == 0
    assert position.side == VenueSide.BUY


async def test_headers_hold_questions_back_and_nobody_is_refused(open_place: Callable[..., Any]) -> None:
    """Five fee questions a second are taken; the sixth waits, as the fifth's answer says that none is left."""
    place: Place = await open_place(order_limit=None)
    async with relay(place.gateway.url) as between:
        client = await place.client(root=between.root)
        await place.mid()
        between.calls.clear()
        for _ in range(7):
            await client.rest.fee_rates(LINEAR, "BTCUSDT")
        asked = [call for call in between.calls if call.path == "/v5/account/fee-rate"]
        assert len(asked) == 7, "none was refused, and so asked again"
        await client.__aexit__(None, None, None)


@pytest.mark.parametrize("call", ["open_orders", "positions", "executions", "balances", "closed_orders"])
async def test_a_row_that_cannot_be_read_is_told(call: str) -> None:
    class Rest:
        def now_ms(self) -> int:
            return 1

        async def pages(self, path: str, **query: str) -> list[Any]:
            return [{"nothing": "known"}]

        async def get(self, path: str, **query: str) -> dict[str, Any]:
            return {"list": [{"nothing": "known"}]}

    calls = RestCalls(Rest())  # type: ignore[arg-type]
    arguments = {"balances": (), "executions": (LINEAR, 0)}.get(call, (LINEAR,))
    with pytest.raises(ExchangeError, match="1 of the answer's rows"):
        await getattr(calls, call)(*arguments)
