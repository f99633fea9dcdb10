"""A client that outlives its exchange: what begins anew has forgotten orders and positions, and says so."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from execution.desk.orders import NewOrder, Side
from execution.desk.outcomes import OutcomeKind
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.gateway.trading.options import TradeOptions
from schemas.names import Category
from tests.execution.conftest import KEYS, PATIENCE_S, Place, until


async def test_positions_and_orders_of_another_life_are_let_go(tmp_path: Path) -> None:
    options = GatewayOptions(
        simulate=7, category=Category.LINEAR, symbol_count=2, trade=TradeOptions(KEYS, order_limit=1_000)
    )
    async with AsyncExitStack() as clients:
        async with Gateway(options) as gateway:
            place = Place(gateway, tmp_path, clients)
            await place.mid()
            client = await place.client()
            buying = NewOrder(
                category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=Decimal("0.05")
            )
            async with asyncio.timeout(PATIENCE_S):
                await client.create(buying).outcome()
                await client.create(await place.resting()).outcome()
            await until(lambda: bool(client.account.open_orders) and bool(client.account.positions))
            ids = {order.order_id for order in place.truth.closed}
            port = int(gateway.url.rpartition(":")[2])
        assert not client.is_current
        async with Gateway(dataclasses.replace(options, port=port)) as gateway:
            place.gateway = gateway
            await until(lambda: client.is_current and client.can_send)
            await until(lambda: client.requests.is_settled and not client.account.open_orders)
            await place.check_soon(client)
            await place.mid()
            async with asyncio.timeout(PATIENCE_S):
                assert (await client.create(buying).outcome()).kind is OutcomeKind.ACKED
            await until(lambda: any(p.size == Decimal("0.05") for p in client.account.positions.values()))
            await until(lambda: client.requests.is_settled)
            await place.check_soon(client)
            assert ids.isdisjoint(order.order_id for order in place.truth.closed), "no id is given twice"
            await client.kill("over", PATIENCE_S)
