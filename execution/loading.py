"""The account as REST tells it: what private streams don't send at their beginning (protocol section 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from engine.bybit import rest as shapes
from execution.desk.day_result import MS_PER_DAY
from execution.desk.filters import Filters, parse_filters
from execution.desk.live import Fill, LiveAccount
from execution.desk.outcomes import Lookup
from execution.desk.requests import Requests
from execution.exchange_clock import ExchangeClock
from execution.rest_calls import scopes
from execution.signed_rest import SignedRest
from recorder.rest import RestClient
from schemas.errors import ConfigError, ExchangeError
from schemas.names import Category

__all__ = ["AccountLoader", "load_filters", "look_up", "scopes"]

_OVERLAP_MS: Final = 60_000
_NEVER_TRADED: Final = -1
_BEHIND_S: Final = 1.0
"""How far REST may be behind the stream."""
_DAYS_ASKED_MS: Final = 7 * MS_PER_DAY


async def load_filters(rest: RestClient, category: Category, symbols: Iterable[str]) -> list[Filters]:
    """Ask what instruments take.

    Raises:
        ConfigError: a symbol that isn't listed.
        ExchangeError: no answer, or none that can be used.
    """
    found: list[Filters] = []
    for symbol in symbols:
        body = await rest.fetch(shapes.instruments_request(category, symbol=symbol))
        rows = [msgspec.json.decode(row) for row in shapes.instrument_rows(body)]
        named = [row for row in rows if isinstance(row, dict) and row.get("symbol") == symbol]
        if not named:
            raise ConfigError(f"{category.value} {symbol}: the exchange lists no such instrument")
        found.append(parse_filters(category, named[0]))
    return found


async def look_up(rest: SignedRest, lookup: Lookup) -> list[dict[str, Any]]:
    """Ask for one order: open and lately closed ones, then the closed ones; what closes in between is in the second.

    Raises:
        ExchangeError: either was not answered, so nothing is known.
    """
    key = lookup.key
    name, value = ("orderId", key.order_id) if key.order_id else ("orderLinkId", key.link_id)
    query = {"category": key.category.value, "symbol": key.symbol, name: value}
    rows: list[dict[str, Any]] = []
    for path in ("/v5/order/realtime", "/v5/order/history"):
        listed = (await rest.get(path, **query)).get("list")
        if not isinstance(listed, list):
            raise ExchangeError(f"{path}: expected a list of orders, without which nothing is known")
        rows = rows or listed
        if rows:
            break
        if lookup.sent_ms and lookup.asked_ms - lookup.sent_ms > _DAYS_ASKED_MS - MS_PER_DAY:
            # Without times, history looks no further back than seven days (section 6.3).
            start_ms = lookup.sent_ms - MS_PER_DAY
            query |= {"startTime": str(start_ms), "endTime": str(start_ms + _DAYS_ASKED_MS)}
    return rows


def _listed(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = result.get("list")
    return rows if isinstance(rows, list) else []


class AccountLoader:
    """Loads the account, at the beginning and whenever the private stream was away.

    Args:
        on_fill: called with every fill that was not known yet.
    """

    def __init__(
        self,
        rest: SignedRest,
        clock: ExchangeClock,
        account: LiveAccount,
        requests: Requests,
        categories: Iterable[Category],
        on_fill: Callable[[Fill], None],
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._account = account
        self._requests = requests
        self._categories = list(categories)
        self._on_fill = on_fill
        self._loaded_ms = 0

    async def load(self) -> None:
        """Load everything.

        Raises:
            ExchangeError: something was not answered; what was loaded before stays.
        """
        asked_ms = self._clock.now_ms()
        for category in self._categories:
            await self._load_orders(category)
            if category is not Category.SPOT:
                await self._load_positions(category)
            await self._load_fills(category, asked_ms)
        result = await self._rest.get("/v5/account/wallet-balance", accountType="UNIFIED")
        rows = _listed(result)
        if rows:
            self._account.on_wallet(rows[0], asked_ms, is_whole=True)
        self._loaded_ms = asked_ms

    async def _load_orders(self, category: Category) -> None:
        asked_ms = self._clock.now_ms()
        rows: list[dict[str, Any]] = []
        for scope in scopes(category):
            rows += await self._rest.pages("/v5/order/realtime", **scope, limit="50")
        self._requests.on_open_orders(category, rows, asked_ms, self._clock.now_ms())

    async def _load_positions(self, category: Category) -> None:
        listed: set[tuple[str, int]] = set()
        for scope in scopes(category):
            for row in await self._rest.pages("/v5/position/list", **scope, limit="200"):
                position = self._account.on_position(row, category=category)
                if position is not None:
                    listed.add((position.symbol, position.index))
        # The list names only what is open: what was, and isn't on it any more, is asked for by its name.
        positions = [p for p in self._account.positions.values() if p.category is category and p.size]
        for symbol in sorted({p.symbol for p in positions if (p.symbol, p.index) not in listed}):
            rows = await self._position_rows(category, symbol)
            if sum(self._is_doubted(row, category) for row in rows):
                # REST may be a little behind the first trade ever; it isn't for long.
                await asyncio.sleep(_BEHIND_S)
                for row in await self._position_rows(category, symbol):
                    if self._is_doubted(row, category):
                        self._account.restart_position(row, category)

    async def _position_rows(self, category: Category, symbol: str) -> list[dict[str, Any]]:
        query = {"category": category.value, "symbol": symbol}
        return await self._rest.pages("/v5/position/list", **query)

    def _is_doubted(self, row: dict[str, Any], category: Category) -> bool:
        """Take a row; whether it says that there never was a trade in what we hold: an exchange that began anew."""
        position = self._account.on_position(row, category=category)
        return position is not None and position.row is not row and row.get("seq") == _NEVER_TRADED

    async def _load_fills(self, category: Category, now_ms: int) -> None:
        midnight_ms = now_ms - now_ms % MS_PER_DAY
        start_ms = max(midnight_ms, self._loaded_ms - _OVERLAP_MS)
        rows = await self._rest.pages(
            "/v5/execution/list", category=category.value, startTime=str(start_ms), limit="100"
        )
        for row in reversed(rows):
            fill = self._account.on_execution(row, category=category)
            if fill is not None:
                self._on_fill(fill)
