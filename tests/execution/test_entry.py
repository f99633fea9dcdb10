from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from execution.desk.orders import Change, Refused
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
