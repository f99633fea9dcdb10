"""Lists of orders and executions: filtered, newest first, in pages (protocol section 6.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, unquote

from engine.venue import Account, Order
from engine.venue.refusals import invalid
from engine.venue.requests import Fields, read_category
from engine.venue.rows import order_row
from schemas.names import Category

__all__ = ["executions", "history", "page", "realtime"]

_LATEST_CLOSED: Final = 500
_WEEK_MS: Final = 7 * 86_400_000
Result = dict[str, Any]


def _limit_of(query: Mapping[str, str], most: int, default: int) -> int:
    """Read ``limit``.

    Raises:
        Refusal: 10001, out of range.
    """
    text = query.get("limit", "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= most):
        raise invalid(f"limit {text[:20]!r} is not between 1 and {most}")
    return int(text)


def page(
    rows: Iterable[Result], query: Mapping[str, str], most: int, default: int, key: str, category: Category
) -> Result:
    """Cut a page out of rows, and name the next one.

    Args:
        key: of what identifies a row.
    """
    limit, cursor = _limit_of(query, most, default), unquote(unquote(query.get("cursor", "")))
    left = iter(rows)
    if cursor:
        for row in left:
            if row[key] == cursor:
                break
        else:
            raise invalid(f"cursor {cursor[:60]!r} is not one of ours")
    found = list(islice(left, limit + 1))
    following = quote(found[limit - 1][key], safe="") if len(found) > limit else ""
    return {"category": category.value, "nextPageCursor": following, "list": found[:limit]}


def _filter(query: Mapping[str, str], category: Category) -> Callable[[Order], bool]:
    order_id, link_id = query.get("orderId", ""), query.get("orderLinkId", "")
    symbol, base, settle = (query.get(key, "") for key in ("symbol", "baseCoin", "settleCoin"))
    kind = query.get("orderFilter", "")

    def is_meant(order: Order) -> bool:
        rules = order.rules
        if rules.category is not category:
            return False
        if order_id or link_id:
            return order.order_id == order_id if order_id else order.link_id == link_id
        own = "Order" if order.trigger is None else "StopOrder"
        if order.stop_order_type == "tpslOrder":
            own = "tpslOrder"
        return (
            (not symbol or rules.symbol == symbol)
            and (not base or rules.base_coin == base)
            and (not settle or rules.settle_coin == settle)
            and (not kind or kind == own)
        )

    return is_meant


def realtime(account: Account, query: Mapping[str, str]) -> Result:
    """``/v5/order/realtime``: open orders; closed ones of late with ``openOnly=1``, or if asked for by id."""
    category = read_category(Fields(query))
    named = query.get("orderId") or query.get("orderLinkId")
    if category is Category.LINEAR and not (
        named or query.get("symbol") or query.get("baseCoin") or query.get("settleCoin")
    ):
        raise invalid("symbol, baseCoin or settleCoin is required")
    closed = list(reversed(account.closed))[:_LATEST_CLOSED]
    opened = list(reversed(account.orders.values()))
    orders = opened + closed if named else closed if query.get("openOnly") == "1" else opened
    rows = (order_row(order) for order in filter(_filter(query, category), orders))
    return page(rows, query, 50, 20, "orderId", category)


def history(account: Account, query: Mapping[str, str]) -> Result:
    """``/v5/order/history``: orders that are over."""
    category = read_category(Fields(query))
    begin, end = _span(query)
    orders = filter(_filter(query, category), reversed(account.closed))
    rows = (order_row(order) for order in orders if begin <= order.created_ms <= end)
    return page(rows, query, 50, 20, "orderId", category)


def executions(account: Account, query: Mapping[str, str]) -> Result:
    """``/v5/execution/list``: newest first."""
    category = read_category(Fields(query))
    begin, end = _span(query)
    wanted = {
        key: query[name]
        for key, name in (
            ("symbol", "symbol"),
            ("orderId", "orderId"),
            ("orderLinkId", "orderLinkId"),
            ("execType", "execType"),
        )
        if query.get(name)
    }
    rows = (
        dict(row)
        for row in reversed(account.executions)
        if row["category"] == category.value
        and all(row[key] == value for key, value in wanted.items())
        and begin <= int(str(row["execTime"])) <= end
    )
    return page(rows, query, 100, 50, "execId", category)


def _span(query: Mapping[str, str]) -> tuple[int, int]:
    texts = query.get("startTime", ""), query.get("endTime", "")
    for text in texts:
        if text and not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise invalid("startTime and endTime are milliseconds")
    begin = int(texts[0]) if texts[0] else None
    end = int(texts[1]) if texts[1] else None
    if begin is not None and end is not None and not 0 <= end - begin <= _WEEK_MS:
        raise invalid("endTime - startTime is more than 7 days, or less than nothing")
    if begin is None and end is not None:
        begin = end - _WEEK_MS
    if end is None and begin is not None:
        end = begin + _WEEK_MS
    return begin or 0, 10**15 if end is None else end
