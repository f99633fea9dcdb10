"""What else an account can be asked and told over REST (section 6.3): cancel-all, leverage, protection, fees, DCP, and
what there is of orders, positions, coins and fills, for whoever doesn't follow them as live state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from engine.venue.rules import decimal_of, plain
from execution.desk.day_result import MS_PER_DAY
from execution.desk.live import CoinBalance, Fill, LiveAccount, LiveOrder, LivePosition
from execution.signed_rest import SignedRest
from schemas.errors import ExchangeError, Rejected
from schemas.names import Category

__all__ = ["RestCalls", "dcp_of", "scopes"]

_SETTLE_COINS: Final = ("USDT", "USDC")
_ORDERS_PATH: Final = "/v5/order/realtime"
_POSITIONS_PATH: Final = "/v5/position/list"
_FILLS_PATH: Final = "/v5/execution/list"
_WEEK_MS: Final = 7 * MS_PER_DAY - 1
_LEVERAGE_UNCHANGED: Final = 110043
_STOP_UNCHANGED: Final = 34040
_SPOT_KINDS: Final = ("Order", "tpslOrder", "StopOrder", "OcoOrder", "BidirectionalTpslOrder")
"""Without a kind, cancel-all of spot means normal orders alone."""
_DCP: Final = {
    Category.LINEAR: ("DERIVATIVES", "dcp.future"),
    Category.INVERSE: ("DERIVATIVES", "dcp.future"),
    Category.SPOT: ("SPOT", "dcp.spot"),
    Category.OPTION: ("OPTIONS", "dcp.option"),
}


def dcp_of(categories: Iterable[Category]) -> dict[str, str]:
    """The products of some categories and the private topics that protect them (section 7.5)."""
    return dict(_DCP[category] for category in categories)


def scopes(category: Category) -> list[dict[str, str]]:
    """The questions that together cover a category: linear has to be asked by settle coin."""
    if category is Category.LINEAR:
        return [{"category": category.value, "settleCoin": coin} for coin in _SETTLE_COINS]
    return [{"category": category.value}]


def _check_read(path: str, account: LiveAccount) -> None:
    """Rather nothing than a list that lacks what couldn't be read. Raises ExchangeError."""
    if account.malformed:
        raise ExchangeError(f"{path}: {account.malformed} of the answer's rows aren't what is documented")


def _cancel_scopes(category: Category, symbols: Iterable[str]) -> list[dict[str, str]]:
    """The cancel-alls that together cover a category; linear and inverse need one of their names."""
    if category is Category.LINEAR:
        return [{"category": category.value, "settleCoin": coin} for coin in _SETTLE_COINS]
    if category is Category.INVERSE:
        return [{"category": category.value, "symbol": symbol} for symbol in symbols]
    if category is Category.SPOT:
        return [{"category": category.value, "orderFilter": kind} for kind in _SPOT_KINDS]
    return [{"category": category.value}]


class RestCalls:
    """Calls that change or tell something of the account. Each raises ExchangeError: no answer, or a refusal."""

    def __init__(self, rest: SignedRest) -> None:
        self._rest = rest

    async def _change(
        self, path: str, fields: Mapping[str, Any], fine: frozenset[int] = frozenset()
    ) -> dict[str, Any]:
        await self._rest.wait_for(path)
        answer, _ = await self._rest.post(path, fields)
        if answer.code != 0 and answer.code not in fine:
            raise Rejected(path, f"{answer.words or 'no text'} (code {answer.code})")
        return answer.result

    async def cancel_all(self, category: Category, symbols: Iterable[str]) -> int:
        """Cancel everything that is open in a category; returns how many orders the exchange named.

        Args:
            symbols: of inverse contracts, which have no settle coin in common.
        """
        return await self._cancel(_cancel_scopes(category, symbols))

    async def cancel_symbol(self, category: Category, symbol: str) -> int:
        """Cancel everything that is open of a symbol; returns how many orders the exchange named."""
        scopes = (
            _cancel_scopes(category, [symbol])
            if category is Category.SPOT
            else [{"category": category.value}]
        )
        return await self._cancel([{**scope, "symbol": symbol} for scope in scopes])

    async def _cancel(self, scopes: Iterable[Mapping[str, str]]) -> int:
        cancelled = 0
        for scope in scopes:
            listed = (await self._change("/v5/order/cancel-all", scope)).get("list")
            cancelled += len(listed) if isinstance(listed, list) else 0
        return cancelled

    async def set_leverage(self, category: Category, symbol: str, leverage: Decimal) -> None:
        """Set a contract's leverage, of both sides; one that it has already is fine."""
        text = plain(leverage)
        fields = {"category": category.value, "symbol": symbol, "buyLeverage": text, "sellLeverage": text}
        await self._change("/v5/position/set-leverage", fields, frozenset({_LEVERAGE_UNCHANGED}))

    async def set_trading_stop(
        self,
        category: Category,
        symbol: str,
        *,
        take_profit: Decimal | None = None,
        stop_loss: Decimal | None = None,
        trailing_stop: Decimal | None = None,
        active_price: Decimal | None = None,
        position_index: int = 0,
    ) -> None:
        """Set what protects an open position as a whole; 0 removes, what is set already is fine.

        Args:
            trailing_stop: a distance in price, not a percentage.
            active_price: from which on the stop trails; None from now on.
        """
        fields: dict[str, Any] = {
            "category": category.value,
            "symbol": symbol,
            "tpslMode": "Full",
            "positionIdx": position_index,
        }
        values = (
            ("takeProfit", take_profit),
            ("stopLoss", stop_loss),
            ("trailingStop", trailing_stop),
            ("activePrice", active_price),
        )
        fields |= {name: plain(value) for name, value in values if value is not None}
        await self._change("/v5/position/trading-stop", fields, frozenset({_STOP_UNCHANGED}))

    async def fee_rates(self, category: Category, symbol: str) -> tuple[Decimal, Decimal]:
        """Return maker's and taker's fee rate of a symbol."""
        result = await self._rest.get("/v5/account/fee-rate", category=category.value, symbol=symbol)
        rows = result.get("list")
        row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
        maker, taker = decimal_of(row.get("makerFeeRate")), decimal_of(row.get("takerFeeRate"))
        if maker is None or taker is None:
            raise ExchangeError(
                f"/v5/account/fee-rate: no rates for {category.value} {symbol}: {str(row)[:200]}"
            )
        return maker, taker

    # -- what there is -------------------------------------------------------------------------------------

    async def open_orders(self, category: Category) -> list[LiveOrder]:
        """Everything that is open in a category, whoever of the account placed it."""
        account = await self._read(_ORDERS_PATH, scopes(category), category, limit="50")
        return account.open_orders

    async def closed_orders(self, category: Category, count: int = 50) -> list[LiveOrder]:
        """The latest orders of a category that are over, newest first: those without a fill for a day (section 6.3).

        Args:
            count: how many, at most 50.
        """
        path = "/v5/order/history"
        rows = (await self._rest.get(path, category=category.value, limit=str(count))).get("list")
        account = LiveAccount()
        self._take(path, account, rows if isinstance(rows, list) else [], category)
        return list(account.orders)

    async def positions(self, category: Category) -> list[LivePosition]:
        """The open positions of a category; spot has none."""
        if category is Category.SPOT:
            return []
        account = await self._read(_POSITIONS_PATH, scopes(category), category, limit="200")
        return [position for position in account.positions.values() if position.size]

    async def balances(self) -> dict[str, CoinBalance]:
        """The coins of the unified account that aren't empty, by name."""
        path = "/v5/account/wallet-balance"
        now_ms = self._rest.now_ms()
        rows = (await self._rest.get(path, accountType="UNIFIED")).get("list")
        account = LiveAccount()
        for row in rows if isinstance(rows, list) else []:
            account.on_wallet(row, now_ms)
        _check_read(path, account)
        return account.coins

    async def executions(self, category: Category, since_ms: int) -> list[Fill]:
        """Fills and funding of a category since a moment (exchange's ms), oldest first; two years are kept."""
        account = LiveAccount()
        start_ms, now_ms = since_ms, self._rest.now_ms()
        while start_ms <= now_ms:
            # seven days at once are answered
            span = {"startTime": str(start_ms), "endTime": str(start_ms + _WEEK_MS)}
            rows = await self._rest.pages(_FILLS_PATH, category=category.value, **span, limit="100")
            self._take(_FILLS_PATH, account, rows, category)
            start_ms += _WEEK_MS + 1
        return sorted(account.fills.values(), key=lambda fill: fill.executed_ms)

    async def _read(
        self, path: str, asked: Iterable[dict[str, str]], category: Category, **more: str
    ) -> LiveAccount:
        account = LiveAccount()
        for scope in asked:
            self._take(path, account, await self._rest.pages(path, **scope, **more), category)
        return account

    def _take(self, path: str, account: LiveAccount, rows: Iterable[object], category: Category) -> None:
        for row in rows:
            if path == _POSITIONS_PATH:
                account.on_position(row, category=category)
            elif path == _FILLS_PATH:
                account.on_execution(row, category=category)
            else:
                account.on_order(row, self._rest.now_ms(), category=category)
        _check_read(path, account)

    async def arm_dcp(self, categories: Iterable[Category], window_s: int) -> dict[str, dict[str, Any]]:
        """Arm the exchange's own switch for what is traded, and return what it says of it, by product (section 7.5)."""
        for product in dcp_of(categories):
            await self._change(
                "/v5/order/disconnected-cancel-all", {"product": product, "timeWindow": window_s}
            )
        infos = (await self._rest.get("/v5/account/query-dcp-info")).get("dcpInfos")
        rows = [row for row in infos if isinstance(row, dict)] if isinstance(infos, list) else []
        return {str(row.get("product")): row for row in rows}
