"""Storms over all that orders can be: both position modes, inverse and spot, triggers, protection, reduce-only.

`tests.execution.test_client` storms over plain orders of one-way linear contracts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.venue.market import SymbolMarket
from execution.client import TradingClient
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import OutcomeKind
from execution.desk.wire import Op
from execution.ticket import Ticket
from schemas.names import Category
from tests.execution.conftest import PATIENCE_S, UID, Place, until

D = Decimal
KINDS = {
    "one-way": (Category.LINEAR, "BTCUSDT"),
    "hedge": (Category.LINEAR, "BTCUSDT"),
    "inverse": (Category.INVERSE, "BTCUSD"),
    "spot": (Category.SPOT, "BTCUSDT"),
}
FAULTS = (
    "order_lost=0.05,order_lost_ack=0.08,order_cut_before=0.01,order_cut=0.02,order_error=0.05,order_double_ack=0.05,"
    "order_slow_ack=0.05,order_held=0.05,order_limited=0.03,private_cut=0.005,trade_restart=3,delay=0.3,seed={}",
    "race=50",
)


class Storm:
    """Draws requests from a seed, and sends them whatever happens."""

    def __init__(self, kind: str, client: TradingClient, market: SymbolMarket, seed: int) -> None:
        self.is_hedged = kind == "hedge"
        self.category, self.symbol = KINDS[kind]
        self.client = client
        self.market = market
        self.draw = random.Random(seed)
        self.tickets: list[Ticket] = []

    def share(self, *shares: str) -> Decimal:
        return D(self.draw.choice(shares))

    def quantity(self) -> Decimal:
        many = self.category is Category.INVERSE
        return D(self.draw.randint(10, 900)) if many else D(self.draw.randint(1, 9)) / 100

    def order(self, mid: Decimal) -> NewOrder:
        draw, side = self.draw, self.draw.choice(list(Side))
        is_spot = self.category is Category.SPOT
        more: dict[str, Any] = {}
        price = mid * (1 - self.share("0.02", "0.001", "0.0001", "-0.0005") * side.sign)
        if self.is_hedged:
            more["position_index"] = draw.choice((1, 2))
        what = draw.random()
        if what < 0.2:
            rises = draw.random() < 0.5
            more["trigger_price"] = mid * (1 + self.share("0.0002", "0.001") * (1 if rises else -1))
            if not is_spot:
                more["trigger_rises"] = rises
        elif what < 0.35 and not is_spot:
            more["reduce_only"] = True
        elif what < 0.6 and not is_spot:
            more["take_profit"] = mid * (1 + D("0.001") * side.sign)
            more["stop_loss"] = mid * (1 - D("0.03") * side.sign)
            if draw.random() < 0.3:
                more["take_profit_limit"] = more["take_profit"]
        return NewOrder(
            category=self.category,
            symbol=self.symbol,
            side=side,
            quantity=self.quantity(),
            price=None if draw.random() < 0.15 and "take_profit_limit" not in more else price,
            **more,
        )

    def change(self, mid: Decimal) -> Change:
        what = self.draw.random()
        if what < 0.3:
            return Change(trigger_price=mid * self.share("1.002", "0.998"))
        return (
            Change(price=mid * self.share("0.99", "0.9997"))
            if what < 0.6
            else Change(quantity=self.quantity())
        )

    def send(self) -> list[Ticket]:
        draw, client, mid = self.draw, self.client, self.market.last
        assert mid is not None
        keys = [ticket.key for ticket in self.tickets[-20:]]
        what, or_rest = draw.random(), draw.random() < 0.5
        if what < 0.45 or not keys:
            return [client.create(self.order(mid), or_rest=or_rest)]
        if what < 0.6:
            return client.create_batch([self.order(mid) for _ in range(draw.randint(2, 4))])
        if what < 0.78:
            return [client.amend(draw.choice(keys), self.change(mid), or_rest=or_rest)]
        if what < 0.9:
            return [client.cancel(draw.choice(keys))]
        # what the exchange made of protection has no name of ours
        found = [OrderKey(o.category, o.symbol, o.order_id, o.link_id) for o in client.account.open_orders]
        return [client.cancel(draw.choice(found))] if found else []

    async def run(self, requests: int) -> None:
        while len(self.tickets) < requests:
            await asyncio.sleep(0.004)
            try:
                self.tickets += self.send()
            except Refused:
                continue


async def storm(open_place: Callable[..., Any], kind: str, seed: int, requests: int) -> None:
    category, symbol = KINDS[kind]
    place: Place = await open_place(*(fault.format(seed) for fault in FAULTS), category=category)
    market = place.desk.market(category.value, symbol)
    assert market is not None
    if kind == "hedge":
        place.venue.settings.switch_mode(place.venue.accounts[UID], [market], True)
    await until(lambda: market.last is not None and place.quote(category, symbol) is not None)
    client = await place.client(symbols={category: (symbol,)})
    blowing = Storm(kind, client, market, seed)
    await blowing.run(requests)
    async with asyncio.timeout(PATIENCE_S):
        for ticket in blowing.tickets:
            await ticket.outcome()
    placed = {order.link_id for order in [*place.truth.orders.values(), *place.truth.closed]}
    for ticket in blowing.tickets:
        outcome = ticket.request.outcome
        assert outcome is not None
        if ticket.request.op is Op.CREATE:
            assert (outcome.kind is OutcomeKind.ACKED) == (ticket.key.link_id in placed), ticket
    await client.kill("the storm is over", PATIENCE_S)
    await until(lambda: client.is_current and client.requests.is_settled)
    await client.reload()
    place.check(client)
    for key, position in place.truth.positions.items():
        assert client.account.held(*key) == position.signed
    assert not place.truth.orders


@pytest.mark.parametrize("kind", ["hedge", "spot"])
async def test_every_kind_of_order_in_a_storm(open_place: Callable[..., Any], kind: str) -> None:
    await storm(open_place, kind, 5, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", list(KINDS))
async def test_many_storms(open_place: Callable[..., Any], kind: str, seed: int) -> None:
    await storm(open_place, kind, seed, 400)
