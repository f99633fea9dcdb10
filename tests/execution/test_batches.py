"""Several requests in one message, over the trade socket and over REST: one outcome each, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from execution.client import TradingClient
from execution.desk.limits import Limits
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import OrderRequest, OutcomeKind, Timing
from execution.desk.wire import Op
from execution.entry import MOST_IN_BATCH
from execution.ticket import Ticket
from schemas.names import Category
from tests.execution.conftest import NO_LIMITS, PATIENCE_S, Place, until
from tests.execution.relay import relay

D = Decimal
ACKED, REJECTED, EXPIRED = OutcomeKind.ACKED, OutcomeKind.REJECTED, OutcomeKind.EXPIRED
LINEAR = Category.LINEAR


async def kinds(tickets: list[Ticket]) -> list[OutcomeKind]:
    async with asyncio.timeout(PATIENCE_S):
        return [(await ticket.outcome()).kind for ticket in tickets]


async def shown(client: TradingClient, tickets: list[Ticket]) -> list[OrderKey]:
    """Wait for the rows of orders, and return their keys."""
    await until(lambda: not any(client.is_pending(ticket.key) for ticket in tickets))
    return [ticket.key for ticket in tickets]


async def lifecycle(place: Place, client: TradingClient, down: Callable[[], None]) -> None:
    """Create, change and cancel in batches, each with a refusal in it; ``down`` is called before each."""
    good, bad = await place.resting(), await place.resting("1.2")
    down()
    tickets = client.create_batch([good, bad, good, good], or_rest=True)
    assert await kinds(tickets) == [ACKED, REJECTED, ACKED, ACKED]
    outcome = await tickets[1].outcome()
    assert (outcome.code, bool(outcome.words)) == (110121, True)
    first, second, third = await shown(client, [tickets[0], *tickets[2:]])
    order = client.order(second)
    assert order is not None

    down()
    away = (await place.mid() * D("1.2")).quantize(D("0.1"))
    change = Change(quantity=D("0.02"))
    changed = client.amend_batch(
        [(first, change), (second, Change(price=away)), (third, change)], or_rest=True
    )
    assert await kinds(changed) == [ACKED, REJECTED, ACKED]
    await shown(client, changed)
    assert [o.quantity for o in client.account.open_orders] == [D("0.02"), D("0.01"), D("0.02")]
    assert order.price == client.order(second).price  # type: ignore[union-attr]
    await place.check_soon(client)

    down()
    unknown = OrderKey(LINEAR, "BTCUSDT", "", "nobodys")
    cancels = client.cancel_batch([first, unknown, second, third])
    assert await kinds(cancels) == [ACKED, REJECTED, ACKED, ACKED]
    await until(lambda: not client.account.open_orders)
    await until(lambda: client.requests.is_settled)
    await place.check_soon(client)


async def test_items_are_refused_one_by_one(place: Place) -> None:
    async with relay(place.gateway.url) as between:
        client = await place.client(root=between.root)
        await lifecycle(place, client, lambda: None)
        sent = [m for m in between.ours("/v5/trade") if m["op"].startswith("order.")]
        assert [m["op"] for m in sent] == ["order.create-batch", "order.amend-batch", "order.cancel-batch"]
        assert [len(m["args"][0]["request"]) for m in sent] == [4, 3, 4]
        await client.__aexit__(None, None, None)


async def test_over_rest_where_the_trade_socket_is_down(place: Place) -> None:
    async with relay(place.gateway.url) as between:
        client = await place.client(root=between.root)

        def down() -> None:
            client._trade.renew()
            assert not client.can_send

        await lifecycle(place, client, down)
        for path, count in (("create", 4), ("amend", 3), ("cancel", 4)):
            (body,) = between.posts(f"/v5/order/{path}-batch")
            assert (body["category"], len(body["request"])) == ("linear", count)
            assert all("category" not in fields for fields in body["request"])
        assert not [m for m in between.ours("/v5/trade") if m["op"].startswith("order.")]
        limits = {client.rates.limit(LINEAR, op) for op in Op}
        assert limits == {1_000}, "as the headers over REST say"
        await client.__aexit__(None, None, None)


async def test_not_over_rest_unless_it_is_allowed(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    tickets = client.create_batch([order, order])
    assert await kinds(tickets) == [ACKED, ACKED]
    keys = await shown(client, tickets)
    client._trade.renew()
    for refused in (
        lambda: client.create_batch([order, order]),
        lambda: client.amend_batch([(key, Change(quantity=D("0.02"))) for key in keys]),
        lambda: client.cancel_batch(keys, or_rest=False),
    ):
        with pytest.raises(Refused, match="allow REST"):
            refused()
    assert client.requests.is_settled
    assert await kinds(client.cancel_batch(keys)) == [ACKED, ACKED]


@pytest.mark.parametrize("over_rest", [False, True])
@pytest.mark.parametrize(
    ("fault", "created"),
    [
        ("order_lost_ack=1", ACKED),
        ("order_cut=1", ACKED),
        ("order_lost=1", EXPIRED),
        ("order_cut_before=1", EXPIRED),
    ],
)
async def test_an_answer_that_is_lost_is_found_out_item_by_item(
    open_place: Callable[..., Any], fault: str, created: OutcomeKind, over_rest: bool
) -> None:
    place: Place = await open_place(fault)
    quick = Timing(reply_ms=300, confirm_ms=300, settle_ms=200, retry_ms=50, retry_cap_ms=500)
    client = await place.client(timing=quick, recv_window_ms=500)

    def down() -> None:
        if over_rest:
            client._trade.renew()

    order = await place.resting()
    down()
    tickets = client.create_batch([order] * 3, or_rest=over_rest)
    assert await kinds(tickets) == [created] * 3
    assert all(ticket.request.outcome.was_unknown for ticket in tickets if ticket.request.outcome)
    assert len(place.truth.orders) == (3 if created is ACKED else 0)
    if created is EXPIRED:
        place.gateway._trading.calm()  # type: ignore[union-attr]
        await until(lambda: over_rest or client.can_send)
        with_calm = client.create_batch([order] * 3, or_rest=True)
        assert await kinds(with_calm) == [ACKED] * 3
        return
    keys = await shown(client, tickets)
    await until(lambda: over_rest or client.can_send)
    down()
    changes = client.amend_batch([(key, Change(quantity=D("0.02"))) for key in keys], or_rest=over_rest)
    assert await kinds(changes) == [ACKED] * 3
    await shown(client, changes)
    await until(lambda: over_rest or client.can_send)
    down()
    assert await kinds(client.cancel_batch(keys)) == [ACKED] * 3
    await until(lambda: client.requests.is_settled)
    assert not place.truth.orders
    await place.check_soon(client)


async def test_the_first_pass_and_the_rest_fail_where_the_rate_ends(open_place: Callable[..., Any]) -> None:
    """What is left of the exchange's limit is less than we know: some are taken, the others plainly refused."""
    place: Place = await open_place(order_limit=5)
    client = await place.client()
    order = await place.resting()
    outcomes = await kinds(client.create_batch([order] * 8))  # ten a second are published
    assert outcomes == [ACKED] * 5 + [REJECTED] * 3
    with pytest.raises(Refused) as caught:
        client.create_batch([order] * 6)
    assert caught.value.rule == "rate"
    assert "the exchange takes 5 a second" in str(caught.value)
    await until(lambda: client.requests.is_settled)
    await place.check_soon(client)


async def test_each_counts_for_what_may_be_sent_a_second(place: Place) -> None:
    limits = Limits(
        **{
            name: getattr(NO_LIMITS, name)
            for name in ("order_notional", "position_notional", "collar", "daily_loss")
        },
        requests_per_second=4,
    )
    client = await place.client(limits=limits)
    order = await place.resting()
    with pytest.raises(Refused) as caught:
        client.create_batch([order] * 5)
    assert caught.value.rule == "requests per second"
    tickets = client.create_batch([order, order])
    assert await kinds(tickets) == [ACKED, ACKED]
    keys = await shown(client, tickets)
    changes = [(key, Change(quantity=D("0.02"))) for key in keys]
    with pytest.raises(Refused) as caught:
        client.amend_batch(changes * 3)
    assert caught.value.rule == "requests per second"
    assert client.requests.is_settled


async def test_a_batch_of_changes_is_whole_or_nothing(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    tickets = client.create_batch([order, order])
    first, second = await shown(client, tickets)
    for changes, words in (
        (
            [(first, Change(quantity=D("0.02"))), (second, Change(quantity=D("0.01")))],
            "has these values already",
        ),
        ([(first, Change(quantity=D("0.02"))), (first, Change(quantity=D("0.03")))], "in doubt"),
        (
            [(first, Change(quantity=D("0.02"))), (OrderKey(LINEAR, "BTCUSDT", "", "x"), Change(price=D(1)))],
            "unknown",
        ),
        ([], "expected some of one"),
    ):
        with pytest.raises(Refused, match=words):
            client.amend_batch(changes)
        assert client.requests.is_settled
    assert await kinds(client.amend_batch([(first, Change(quantity=D("0.03")))])) == [ACKED], (
        "one is no batch"
    )
    await shown(client, tickets)
    await place.check_soon(client)


async def test_a_fault_of_our_own_in_a_batch_leaves_nothing_begun(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await place.client()
    order = await place.resting()
    begin, count = client.requests.begin_create, 0

    def fails_at_the_second(*arguments: Any, **more: Any) -> OrderRequest:
        nonlocal count
        count += 1
        if count == 2:
            raise ZeroDivisionError("a mistake of ours")
        return begin(*arguments, **more)

    monkeypatch.setattr(client.requests, "begin_create", fails_at_the_second)
    with pytest.raises(ZeroDivisionError):
        client.create_batch([order, order])
    assert count == 2
    assert client.requests.is_settled


@pytest.mark.parametrize("category", [Category.LINEAR, Category.INVERSE, Category.OPTION, Category.SPOT])
async def test_how_many_a_category_takes(place: Place, category: Category) -> None:
    most = {Category.SPOT: 10}.get(category, 20)
    assert MOST_IN_BATCH[category] == most
    client = await place.client()
    order = NewOrder(category=category, symbol="BTCUSDT", side=Side.BUY, quantity=D(1), price=D(1))
    with pytest.raises(Refused, match=f"{category.value} takes {most} at once"):
        client.create_batch([order] * (most + 1))
    keys = [OrderKey(category, "BTCUSDT", "", f"x{number}") for number in range(most + 1)]
    with pytest.raises(Refused, match=f"takes {most} at once"):
        client.cancel_batch(keys)
    assert client.rates.wait_ms(LINEAR, Op.CREATE, client.clock.now_ms(), 10) == 0
