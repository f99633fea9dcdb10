"""What else an account can be asked and told over REST: leverage, protection, fees, cancel-all, DCP (section 6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from engine.venue.rules import decimal_of, plain
from execution.signed_rest import SignedRest
from schemas.errors import ExchangeError, Rejected
from schemas.names import Category

__all__ = ["RestCalls", "dcp_of"]

_SETTLE_COINS: Final = ("USDT", "USDC")
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

    async def arm_dcp(self, categories: Iterable[Category], window_s: int) -> dict[str, dict[str, Any]]:
        """Arm the exchange's own switch for what is traded, and return what it says of it, by product (section 7.5)."""
        for product in dcp_of(categories):
            await self._change(
                "/v5/order/disconnected-cancel-all", {"product": product, "timeWindow": window_s}
            )
        infos = (await self._rest.get("/v5/account/query-dcp-info")).get("dcpInfos")
        rows = [row for row in infos if isinstance(row, dict)] if isinstance(infos, list) else []
        return {str(row.get("product")): row for row in rows}
