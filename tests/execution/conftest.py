"""A gateway that trades in a simulated market, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.venue import Account, TradingVenue
from execution.client import TradingClient
from execution.desk.limits import Limits, Quote
from execution.desk.orders import NewOrder, Side
from execution.desk.outcomes import Timing
from execution.desk.signers import HmacSigner
from execution.settings import Settings
from execution.verify_orders import verifier
from recorder.findings import Verification
from recorder.gateway.faults import parse_faults
from recorder.gateway.options import GatewayOptions
from recorder.gateway.server import Gateway
from recorder.gateway.trading.desk import Desk
from recorder.gateway.trading.options import TradeOptions, parse_keys
from schemas.names import Category

PATIENCE_S = 60.0
UID = "1001"
KEYS = parse_keys([f"demo:demo-secret:{UID}", f"other:other-secret:{UID}", f"looker:looker-secret:{UID}:ro"])
NO_LIMITS = Limits(
    order_notional=None, position_notional=None, requests_per_second=None, collar=None, daily_loss=None
)
QUICK = Timing(reply_ms=1_000, confirm_ms=700, settle_ms=300, retry_ms=100, retry_cap_ms=500)


class Place:
    """A gateway with its clients; what the exchange knows can be looked at."""

    def __init__(self, gateway: Gateway, directory: Path, stack: AsyncExitStack) -> None:
        self.gateway = gateway
        self.directory = directory
        self._stack = stack

    @property
    def desk(self) -> Desk:
        assert self.gateway._trading is not None
        return self.gateway._trading.desk

    @property
    def venue(self) -> TradingVenue:
        return self.desk.venue

    @property
    def truth(self) -> Account:
        return self.venue.accounts[UID]

    def settings(self, **more: Any) -> Settings:
        values: dict[str, Any] = {
            "root": self.gateway.url,
            "directory": self.directory / "account",
            "symbols": {Category.LINEAR: ("BTCUSDT",)},
            "limits": NO_LIMITS,
            "timing": QUICK,
            "recv_window_ms": 1_000,
        }
        return Settings(**(values | more))

    async def client(self, key: str = "demo", **more: Any) -> TradingClient:
        quote_of = more.pop("quote_of", self.quote)
        signer = HmacSigner(key, KEYS[key].secret)
        client = TradingClient(self.settings(**more), signer, quote_of=quote_of)
        return await self._stack.enter_async_context(client)

    def quote(self, category: Category, symbol: str) -> Quote | None:
        """The market's best prices, as a live book of ours would have them."""
        market = self.venue.markets.get((category, symbol))
        if market is None:
            return None
        bid, ask = market.ladders[Side.BUY].best, market.ladders[Side.SELL].best
        return None if bid is None or ask is None else Quote(bid, ask)

    async def mid(self) -> Decimal:
        """A price in the middle of the market, once there is one."""
        self.desk.market("linear", "BTCUSDT")
        await until(lambda: self.quote(Category.LINEAR, "BTCUSDT") is not None)
        quote = self.quote(Category.LINEAR, "BTCUSDT")
        assert quote is not None
        return (quote.bid + quote.ask) / 2

    async def resting(self, share: str = "0.97", quantity: str = "0.01", **more: Any) -> NewOrder:
        """An order that rests for as long as a test lasts."""
        return NewOrder(
            category=Category.LINEAR,
            symbol="BTCUSDT",
            side=Side.BUY,
            quantity=Decimal(quantity),
            price=await self.mid() * Decimal(share),
            **more,
        )

    async def check_soon(self, client: TradingClient) -> None:
        """The same, at a moment at which nothing is on its way: an answer may come before the streams' rows.

        Nothing is asked for meanwhile: what the stream brings has to be enough.
        """
        end_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                return self.check(client)
            except AssertionError:
                if asyncio.get_running_loop().time() > end_s:
                    raise
            await asyncio.sleep(0.02)

    def check(self, client: TradingClient) -> None:
        """What the client believes is what the exchange knows."""
        truth = self.truth
        assert {order.order_id for order in client.account.open_orders} == set(truth.orders)
        for order in client.account.open_orders:
            actual = truth.orders[order.order_id]
            assert (order.status, order.filled) == (actual.status, actual.filled)
            assert (order.price, order.quantity) == (actual.price, actual.quantity)
        for key, position in truth.positions.items():
            # the exchange lists no position that never held anything
            known = client.account.positions.get(key)
            assert (known.signed if known is not None else 0) == position.signed, key
        for coin, balance in truth.balances.items():
            assert client.account.coins[coin].wallet_balance == balance
        assert set(client.account.fills) >= {str(row["execId"]) for _, row in truth.executions}
        assert client.requests.contradictions == 0
        assert client.account.malformed == 0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, patiently."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def check_journals(parent: Path) -> None:
    """Whatever befell the clients, their order journals make sense."""
    for directory in parent.iterdir():
        if verifier.recognizes(directory):
            verified = Verification()
            verifier.verify(directory, verified, lambda _: None)
            assert verified.failures == []


@pytest.fixture
async def open_place(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opener of places: ``await open_place("order_lost_ack=0.5", …)``."""
    async with AsyncExitStack() as stack:

        async def open_one(
            *faults: str, order_limit: int | None = 1_000, category: Category = Category.LINEAR
        ) -> Place:
            options = GatewayOptions(
                simulate=7,
                category=category,
                symbol_count=2,
                trade=TradeOptions(KEYS, order_limit=order_limit),
                faults=parse_faults(faults),
            )
            gateway = await stack.enter_async_context(Gateway(options))
            clients = await stack.enter_async_context(AsyncExitStack())
            return Place(gateway, tmp_path, clients)

        yield open_one
    check_journals(tmp_path)


@pytest.fixture
async def place(open_place: Callable[..., Any]) -> Place:
    """A gateway without faults."""
    found: Place = await open_place()
    return found
