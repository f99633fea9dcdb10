"""How often an account may ask: rolling one-second windows, as the exchange has them (sections 2.5, 6.3). Pure."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from schemas.names import Category

__all__ = ["IP_REQUESTS_PER_SECOND", "QUERY_LIMITS", "RateState", "Rates", "order_limit"]

IP_REQUESTS_PER_SECOND: Final = 3_000
"""Requests over trade sockets from one address."""
_WINDOW_MS: Final = 1_000
_SPOT: Final = {"create": 20, "amend": 10, "cancel": 20, "cancel-all": 20}
_OPTION: Final = {"cancel-all": 1}
_FUTURES_OR_ANY: Final = 10
QUERY_LIMITS: Final = {
    "/v5/account/wallet-balance": 50,
    "/v5/account/fee-rate": 5,
    "/v5/account/info": 50,
    "/v5/account/query-dcp-info": 5,
    "/v5/account/instruments-info": 10,
    "/v5/asset/transfer/query-account-coins-balance": 5,
    "/v5/asset/coin/query-info": 5,
    "/v5/user/query-api": 10,
    "/v5/position/list": 50,
    "/v5/position/set-leverage": 10,
    "/v5/position/switch-mode": 10,
    "/v5/position/trading-stop": 10,
    "/v5/order/realtime": 50,
    "/v5/order/history": 50,
    "/v5/order/disconnected-cancel-all": 5,
    "/v5/execution/list": 50,
}
"""Requests per second and account, by path."""


class RateState(NamedTuple):
    """What the ``X-Bapi-Limit*`` headers tell, and how many of the requested units were granted."""

    limit: int
    remaining: int
    reset_ms: int
    granted: int

    def headers(self) -> dict[str, str]:
        """The three headers."""
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(self.remaining),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


def order_limit(category: Category, operation: str) -> int:
    """Orders per second of an operation: ``create``, ``amend``, ``cancel``, ``cancel-all`` or a ``-batch``."""
    single = operation.removesuffix("-batch")
    table = {Category.SPOT: _SPOT, Category.OPTION: _OPTION}.get(category, {})
    return table.get(single, _FUTURES_OR_ANY)


class Rates:
    """Counts requests.

    Args:
        limit_of_orders: instead of the defaults of order operations; of other requests where it is more.
    """

    def __init__(self, limit_of_orders: int | None = None) -> None:
        self._limit_of_orders = limit_of_orders
        self._taken: dict[tuple[str, str], deque[int]] = {}

    def order(self, uid: str, category: Category, operation: str, now_ms: int, units: int = 1) -> RateState:
        """Count orders of an account; linear and inverse are one, batches count apart from single orders."""
        limit = self._limit_of_orders or order_limit(category, operation)
        kind = "futures" if category in (Category.LINEAR, Category.INVERSE) else category.value
        cost = 1 if category is Category.OPTION else units
        state = self.take(uid, f"{kind}/{operation}", limit, now_ms, cost)
        if category is Category.OPTION and state.granted:
            return state._replace(granted=units)
        return state

    def query(self, uid: str, path: str, now_ms: int) -> RateState | None:
        """Count a request that is no order operation; None where the exchange does not count it."""
        limit = QUERY_LIMITS.get(path)
        return None if limit is None else self.take(uid, path, max(limit, self._limit_of_orders or 0), now_ms)

    def take(self, who: str, what: str, limit: int, now_ms: int, units: int = 1) -> RateState:
        """Take as many units as are left of those asked for."""
        taken = self._taken.setdefault((who, what), deque())
        while taken and taken[0] <= now_ms - _WINDOW_MS:
            taken.popleft()
        granted = min(units, max(0, limit - len(taken)))
        taken.extend([now_ms] * granted)
        exhausted = granted < units
        reset_ms = taken[0] + _WINDOW_MS if exhausted and taken else now_ms
        return RateState(limit, limit - len(taken), reset_ms, granted)
