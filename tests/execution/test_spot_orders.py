"""Spot's conditional orders: a cancel has to say what kind it means, or the exchange doesn't find them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from execution.client import TradingClient
from execution.desk.orders import NewOrder, OrderKey, Side
from execution.desk.outcomes import OutcomeKind
from schemas.names import Category
from tests.execution.conftest import PATIENCE_S, Place, until

SPOT = Category.SPOT
SYMBOLS = {SPOT: ("BTCUSDT",)}


@pytest.fixture
async def spot(open_place: Callable[..., Any]) -> Place:
    found: Place = await open_place(category=SPOT)
    found.desk.market("spot", "BTCUSDT")
    await until(lambda: found.quote(SPOT, "BTCUSDT") is not None)
    return found


def orders(place: Place) -> list[NewOrder]:
    """One that rests, and one that waits for its trigger."""
    quote = place.quote(SPOT, "BTCUSDT")
    assert quote is not None
    far = {"category": SPOT, "symbol": "BTCUSDT", "quantity": Decimal("0.01"), "side": Side.BUY}
    return [
        NewOrder(**far, price=quote.bid * Decimal("0.97")),
        NewOrder(**far, price=quote.ask * Decimal("1.3"), trigger_price=quote.ask * Decimal("1.2")),
    ]


async def placed(place: Place, client: TradingClient) -> list[OrderKey]:
    async with asyncio.timeout(PATIENCE_S):
        tickets = [client.create(order) for order in orders(place)]
        outcomes = [(await ticket.outcome()) for ticket in tickets]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.ACKED] * 2
    return [ticket.key for ticket in tickets]


async def test_each_kind_of_order_is_cancelled(spot: Place) -> None:
    client = await spot.client(symbols=SYMBOLS)
    for is_shown in (True, False):
        keys = await placed(spot, client)
        if is_shown:
            await until(lambda: len(client.account.open_orders) == 2)
        async with asyncio.timeout(PATIENCE_S):
            for key in keys:
                assert (await client.cancel(key).outcome()).kind is OutcomeKind.ACKED
        await until(lambda: not client.account.open_orders and client.requests.is_settled)
    spot.check(client)


async def test_a_cancel_that_follows_at_once_finds_its_order(spot: Place) -> None:
    client = await spot.client(symbols=SYMBOLS)
    tickets = [client.create(order) for order in orders(spot)]
    cancels = [client.cancel(ticket.key) for ticket in tickets]
    async with asyncio.timeout(PATIENCE_S):
        assert [(await each.outcome()).kind for each in [*tickets, *cancels]] == [OutcomeKind.ACKED] * 4
    await until(lambda: not spot.truth.orders)


@pytest.mark.parametrize("way", ["symbol", "category", "kill", "batch"])
async def test_everything_means_conditional_orders_too(spot: Place, way: str) -> None:
    client = await spot.client(symbols=SYMBOLS)
    keys = await placed(spot, client)
    if way == "symbol":
        assert await client.rest.cancel_symbol(SPOT, "BTCUSDT") == 2
    elif way == "category":
        assert await client.rest.cancel_all(SPOT, []) == 2
    elif way == "kill":
        await client.kill("enough", PATIENCE_S)
    else:
        async with asyncio.timeout(PATIENCE_S):
            outcomes = [await ticket.outcome() for ticket in client.cancel_batch(keys)]
        assert [outcome.kind for outcome in outcomes] == [OutcomeKind.ACKED] * 2
    await until(lambda: not client.account.open_orders)
    assert not spot.truth.orders
