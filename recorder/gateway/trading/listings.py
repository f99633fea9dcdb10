"""Lists of orders and executions: filtered, newest first, in pages (protocol section 6.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any, Final
from urllib.parse import quote, unquote

from engine.venue import Account, Order
from engine.venue.refusals import invalid
from engine.venue.requests import Fields, read_category
from engine.venue.rows import order_row
from schemas.names import Category

__all__ = ["executions", "history", "page", "realtime"]

_LATEST_CLOSED: Final = 500
_LONGEST_CURSOR: Final = 100
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
    rows: Iterable[tuple[str, Result]],
    query: Mapping[str, str],
    most: int,
    default: int,
    category: Category,
    *,
    ascending: bool = False,
) -> Result:
    """Cut a page out of rows, and name the next one; rows that come or go meanwhile move no others.

    Args:
        rows: with the key of each, from the largest key to the smallest.
        ascending: from the smallest to the largest instead.
    """
    limit, cursor = _limit_of(query, most, default), unquote(unquote(query.get("cursor", "")))
    if len(cursor) > _LONGEST_CURSOR:
        raise invalid(f"cursor {cursor[:_LONGEST_CURSOR]!r} is not one of ours")
    left = (pair for pair in rows if not cursor or (pair[0] > cursor if ascending else pair[0] < cursor))
    found = list(islice(left, limit + 1))
    following = quote(found[limit - 1][0], safe="") if len(found) > limit else ""
    return {
        "category": category.value,
        "nextPageCursor": following,
        "list": [row for _, row in found[:limit]],
    }


def _newest_first(orders: Iterable[Order]) -> Iterator[tuple[str, Result]]:
    for order in sorted(orders, key=attrgetter("number"), reverse=True):
        yield f"{order.number:012d}", order_row(order)


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
    closed = list(account.closed)
    if named:
        orders = [*account.orders.values(), *closed]
    elif query.get("openOnly") == "1":
        orders = closed[-_LATEST_CLOSED:]
    else:
        orders = list(account.orders.values())
    return page(_newest_first(filter(_filter(query, category), orders)), query, 50, 20, category)


def history(account: Account, query: Mapping[str, str]) -> Result:
    """``/v5/order/history``: orders that are over."""
    category = read_category(Fields(query))
    begin, end = _span(query)
    orders = filter(_filter(query, category), account.closed)
    rows = _newest_first(order for order in orders if begin <= order.created_ms <= end)
    return page(rows, query, 50, 20, category)


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
        (f"{number:012d}", dict(row))
        for number, row in reversed(account.executions)
        if row["category"] == category.value
        and all(row[key] == value for key, value in wanted.items())
        and begin <= int(str(row["execTime"])) <= end
    )
    return page(rows, query, 100, 50, category)


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
