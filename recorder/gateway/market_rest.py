"""The market endpoints as paths of an application: public REST (protocol section 6.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from recorder.gateway.exchange import Exchange
from recorder.gateway.histories import HISTORIES
from recorder.gateway.rest import ENDPOINTS, SPREAD_ENDPOINTS, Query, RestError, server_time
from recorder.gateway.venue import Venue
from schemas.names import Category

__all__ = ["MarketRest"]

_MS: Final = 1_000_000


class MarketRest:
    """Answers what anybody may ask.

    Args:
        exchanges: of the categories that are served.
        market_ns: the market's clock.
        clock_ns: the one that /v5/market/time tells.
    """

    def __init__(
        self,
        exchanges: Mapping[Category, Exchange],
        market_ns: Callable[[], int],
        clock_ns: Callable[[], int],
    ) -> None:
        self._exchanges = exchanges
        self._market_ns = market_ns
        self._clock_ns = clock_ns

    def add_to(self, application: web.Application) -> None:
        """Serve the paths."""
        application.router.add_get("/v5/market/time", self._time)
        application.router.add_get("/v5/market/{endpoint:.+}", self._market)
        application.router.add_get("/v5/spread/{endpoint}", self._spread)

    async def _time(self, _: web.Request) -> web.Response:
        return self._envelope(0, "OK", server_time(self._clock_ns()))

    def _exchange(self, name: str) -> Exchange | None:
        return next((each for category, each in self._exchanges.items() if category.value == name), None)

    async def _market(self, request: web.Request) -> web.Response:
        endpoint = request.match_info["endpoint"]
        answer = ENDPOINTS.get(endpoint)
        if (history := HISTORIES.get(endpoint)) is not None:
            answer = partial(history, self._market_ns() // _MS)
        if answer is None:
            served = ", ".join(sorted([*ENDPOINTS, *HISTORIES]))
            raise web.HTTPNotFound(text=f"no such endpoint here; served: {served}, time\n")
        category = request.query.get("category", "")
        return self._answer(
            answer, self._exchange(category) if category != Category.SPREAD else None, request
        )

    async def _spread(self, request: web.Request) -> web.Response:
        answer = SPREAD_ENDPOINTS.get(request.match_info["endpoint"])
        if answer is None:
            raise web.HTTPNotFound(
                text=f"no such endpoint here; served: {', '.join(sorted(SPREAD_ENDPOINTS))}\n"
            )
        return self._answer(answer, self._exchange(Category.SPREAD.value), request)

    def _answer(
        self,
        answer: Callable[[Venue, Query], dict[str, Any]],
        exchange: Exchange | None,
        request: web.Request,
    ) -> web.Response:
        try:
            if exchange is None:
                raise RestError(10001, "params error: category is not one of " + self._categories())
            result = answer(exchange.venue, request.query)
            return self._envelope(0, "OK", exchange.lies.answer(request.match_info["endpoint"], result))
        except RestError as refusal:
            return self._envelope(refusal.code, refusal.message, {})

    def _categories(self) -> str:
        """Those that the market endpoints serve: spreads have paths of their own."""
        return ", ".join(category for category in self._exchanges if category is not Category.SPREAD)

    def _envelope(self, code: int, message: str, result: dict[str, Any]) -> web.Response:
        body = {
            "retCode": code,
            "retMsg": message,
            "result": result,
            "retExtInfo": {},
            "time": self._market_ns() // _MS,
        }
        return web.Response(body=msgspec.json.encode(body), content_type="application/json", charset="utf-8")
