"""A gateway whose answers to market requests a test may hold back or replace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from recorder.gateway.market_rest import MarketRest
from recorder.gateway.server import Gateway

__all__ = ["Answer", "MarketGateway"]

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MarketGateway(Gateway):
    """Override ``market``; it is given what would answer."""

    async def market(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        return await answer(request)

    def _market_rest(self) -> MarketRest:
        real = super()._market_rest()
        answer = real._market

        async def market(request: web.Request) -> web.StreamResponse:
            return await self.market(request, answer)

        real._market = market  # type: ignore[method-assign,assignment]
        return real
