"""Order operations, the same over the trade socket and over REST (protocol sections 6.3, 7.1). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from engine.venue import Order, Refusal
from engine.venue.refusals import invalid
from engine.venue.requests import Fields, read_category
from recorder.gateway.trading.options import ApiKey
from recorder.gateway.trading.rates import Rates, RateState
from schemas.names import Category

__all__ = ["OPERATIONS", "Outcome", "Trader", "perform", "refused_by_rate"]

_MOST_IN_BATCH: Final = {Category.SPOT: 10}
_OTHER_MOST_IN_BATCH: Final = 20
OPERATIONS: Final = ("create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch")


class Outcome(NamedTuple):
    """How an operation ended.

    Attributes:
        data: ``data`` of the socket's reply, ``result`` of REST.
        extra: ``retExtInfo``.
        rate: None where the request was refused before it was counted.
    """

    code: int
    message: str
    data: dict[str, Any]
    extra: dict[str, Any]
    rate: RateState | None


class Trader(Protocol):
    """What carries operations out."""

    rates: Rates

    def create(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Place an order; raises Refusal."""

    def amend(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Change an order; raises Refusal."""

    def cancel(self, uid: str, values: Mapping[str, Any]) -> Order:
        """Cancel an order; raises Refusal."""


def refused_by_rate(rate: RateState | None) -> Outcome:
    """The account has asked too often."""
    return Outcome(10006, "Too many visits. Exceeded the API Rate Limit.", {}, {}, rate)


def perform(trader: Trader, key: ApiKey, operation: str, values: Any, now_ms: int) -> Outcome:
    """Carry out an operation.

    Args:
        operation: one of ``OPERATIONS``.
        values: the request's object; of a batch, ``category`` and ``request``.
    """
    if not isinstance(values, dict):
        return Outcome(10001, "params error: expected one object", {}, {}, None)
    if key.is_read_only:
        return Outcome(10005, "Permission denied, please check your API key permissions.", {}, {}, None)
    action = operation.removesuffix("-batch")
    carry_out: Callable[[str, Mapping[str, Any]], Order] = getattr(trader, action)
    rate: RateState | None = None
    try:
        category = read_category(Fields(values))
        if action != operation:
            return _batch(trader, key, operation, carry_out, category, values, now_ms)
        rate = trader.rates.order(key.uid, category, operation, now_ms)
        if not rate.granted:
            return refused_by_rate(rate)
        order = carry_out(key.uid, values)
    except Refusal as refusal:
        return Outcome(refusal.code, refusal.message, {}, {}, rate)
    return Outcome(0, "OK", {"orderId": order.order_id, "orderLinkId": order.link_id}, {}, rate)


def _batch(
    trader: Trader,
    key: ApiKey,
    operation: str,
    carry_out: Callable[[str, Mapping[str, Any]], Order],
    category: Category,
    values: Mapping[str, Any],
    now_ms: int,
) -> Outcome:
    requests = values.get("request")
    most = _MOST_IN_BATCH.get(category, _OTHER_MOST_IN_BATCH)
    if not isinstance(requests, list) or not 0 < len(requests) <= most:
        raise invalid(f"request holds 1 to {most} orders")
    rate = trader.rates.order(key.uid, category, operation, now_ms, len(requests))
    rows, results = [], []
    for number, request in enumerate(requests):
        given = request if isinstance(request, dict) else {}
        row = {
            "category": category.value,
            "symbol": str(given.get("symbol", ""))[:60],
            "orderId": "",
            "orderLinkId": str(given.get("orderLinkId", ""))[:60],
        }
        if operation == "create-batch":
            row["createAt"] = ""
        code, words = 0, "OK"
        if number >= rate.granted:
            code, words = 10006, "Too many visits. Exceeded the API Rate Limit."
        else:
            try:
                if not isinstance(request, dict):
                    raise invalid("an order is an object")
                order = carry_out(key.uid, {**request, "category": category.value})
                row["orderId"], row["orderLinkId"] = order.order_id, order.link_id
                if operation == "create-batch":
                    row["createAt"] = str(order.created_ms)
            except Refusal as refusal:
                code, words = refusal.code, refusal.message
        rows.append(row)
        results.append({"code": code, "msg": words})
    return Outcome(0, "OK", {"list": rows}, {"list": results}, rate)
