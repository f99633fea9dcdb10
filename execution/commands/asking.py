"""Asking about an account without trading: signed REST, no lock, no journal; beside whatever client trades."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from execution.commands.options import Choices
from execution.desk.live import LiveAccount, LiveOrder
from execution.exchange_clock import ExchangeClock
from execution.loading import scopes
from execution.signed_rest import SignedRest
from recorder.network import Network
from recorder.rest import RestClient
from schemas.names import Category

__all__ = ["Asking", "asking"]

_PAGE = "50"


class Asking(NamedTuple):
    """What questions need."""

    network: Network
    public: RestClient
    rest: SignedRest
    clock: ExchangeClock

    async def open_orders(self, categories: Iterable[Category]) -> list[LiveOrder]:
        """All that is open. Raises ExchangeError."""
        account = LiveAccount()
        for category in categories:
            for scope in scopes(category):
                for row in await self.rest.pages("/v5/order/realtime", **scope, limit=_PAGE):
                    account.on_order(row, 0, category=category)
        return account.open_orders

    async def closed_orders(self, categories: Iterable[Category], count: int) -> list[LiveOrder]:
        """The latest of each category that are over. Raises ExchangeError."""
        account = LiveAccount()
        for category in categories:
            result = await self.rest.get("/v5/order/history", category=category.value, limit=str(count))
            for row in _rows_of(result):
                account.on_order(row, 0, category=category)
        return [order for order in account.orders if not order.is_open]

    async def account(self, categories: Iterable[Category]) -> LiveAccount:
        """Positions of some categories. Raises ExchangeError."""
        account = LiveAccount()
        for category in categories:
            for scope in scopes(category) if category is not Category.SPOT else []:
                for row in await self.rest.pages("/v5/position/list", **scope, limit="200"):
                    account.on_position(row, category=category)
        return account

    async def wallet(self) -> LiveAccount:
        """Coins of the unified account. Raises ExchangeError."""
        account = LiveAccount()
        for row in _rows_of(await self.rest.get("/v5/account/wallet-balance", accountType="UNIFIED"))[:1]:
            account.on_wallet(row, self.clock.now_ms(), is_whole=True)
        return account


def _rows_of(result: dict[str, Any]) -> list[Any]:
    """The list of an answer."""
    rows = result.get("list")
    return rows if isinstance(rows, list) else []


@asynccontextmanager
async def asking(choices: Choices) -> AsyncIterator[Asking]:
    """Connect, with the exchange's time.

    Raises:
        ConfigError: no key, or real money that was not asked for.
        ExchangeError: no answer.
    """
    network, signer, clock = choices.network(), choices.signer(), ExchangeClock()
    rest = SignedRest(network, signer, clock, recv_window_ms=choices.config.recv_window_ms)
    async with RestClient(network) as public, rest:
        await clock.ask(public)
        yield Asking(network, public, rest, clock)
