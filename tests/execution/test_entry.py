from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from execution.client import TradingClient
from execution.desk.orders import Change, OrderKey, Refused
from execution.desk.outcomes import OutcomeKind
from schemas.names import Category
from tests.execution.conftest import Place, until

D = Decimal


async def test_what_is_too_long_to_be_reckoned_with_is_refused(place: Place) -> None:
    client = await place.client()
    order = await place.resting()
    ticket = client.create(order)
    await ticket.outcome()
    await until(lambda: bool(client.account.open_orders))
    name = Category.LINEAR, "BTCUSDT"
    client.filters[name] = msgspec.structs.replace(client.filters[name], tick_size=D("1E-12"))
    with pytest.raises(Refused, match=r"price 1E\+18: .* in 28 digits") as refusal:
        client.create(msgspec.structs.replace(order, price=D("1E+18")))
    assert refusal.value.rule == "digits"
    with pytest.raises(Refused, match="28 digits"):
        client.amend(ticket.key, Change(price=D("1E+18")))
    assert client.requests.open == []


KEY = OrderKey(Category.LINEAR, "BTCUSDT", link_id="mine")
NO_ID = OrderKey(Category.LINEAR, "BTCUSDT")
CHANGE = Change(price=D(1))
Ask = Callable[[TradingClient], Any]


@pytest.mark.parametrize(
    ("ask", "rule"),
    [
        (lambda client: client.create(None), "order"),
        (lambda client: client.create({}), "order"),
        (lambda client: client.create_batch([KEY]), "order"),
        (lambda client: client.amend(None, CHANGE), "order key"),
        (lambda client: client.amend(KEY, None), "change"),
        (lambda client: client.amend(NO_ID, CHANGE), "order key"),
        (lambda client: client.amend_batch([(KEY, CHANGE), (KEY, {})]), "change"),
        (lambda client: client.cancel(None), "order key"),
        (lambda client: client.cancel("mine"), "order key"),
        (lambda client: client.cancel(NO_ID), "order key"),
        (lambda client: client.cancel(OrderKey("linear", "BTCUSDT", link_id="mine")), "category"),  # type: ignore[arg-type]
        (lambda client: client.cancel_batch([KEY, NO_ID]), "order key"),
    ],
)
async def test_what_is_no_order_is_refused_in_words(place: Place, ask: Ask, rule: str) -> None:
    client = await place.client()
    lines = client._written().lines
    with pytest.raises(Refused) as caught:
        ask(client)
    assert caught.value.rule == rule
    assert client.requests.open == []
    assert client._written().lines == lines, "nothing was begun"


async def test_batches_are_taken_from_whatever_gives_them(place: Place) -> None:
    client = await place.client()
    order = await place.resting()

    async def kinds(tickets: list[Any]) -> list[OutcomeKind]:
        return [(await ticket.outcome()).kind for ticket in tickets]

    tickets = client.create_batch(order for _ in range(3))
    assert await kinds(tickets) == [OutcomeKind.ACKED] * 3
    await until(lambda: len(client.account.open_orders) == 3)
    change = Change(quantity=D("0.02"))
    assert (
        await kinds(client.amend_batch((ticket.key, change) for ticket in tickets)) == [OutcomeKind.ACKED] * 3
    )
    await until(lambda: not any(client.is_pending(ticket.key) for ticket in tickets))
    assert await kinds(client.cancel_batch(ticket.key for ticket in tickets)) == [OutcomeKind.ACKED] * 3
