"""Order entry: what is asked for is rounded, held against filters, limits and rates, begun, and given to the sender."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from execution.desk.filters import Filters
from execution.desk.limits import Quote, RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.live import LiveAccount
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import OrderRequest
from execution.desk.requests import Requests
from execution.desk.wire import Op
from execution.exchange_clock import ExchangeClock
from execution.sender import Sender
from execution.ticket import Ticket
from schemas.names import Category

__all__ = ["OrderEntry"]


class OrderEntry:
    """Makes tickets of orders, changes and cancels; `TradingClient` documents each of its methods.

    Args:
        filters: by category and symbol, of what may be traded.
        quote_of: best prices of our own live book.
        why_stopped: what stands against everything but cancels at the moment; None while nothing does.
    """

    def __init__(
        self,
        account: LiveAccount,
        requests: Requests,
        filters: Mapping[tuple[Category, str], Filters],
        gate: RiskGate,
        quote_of: Callable[[Category, str], Quote | None],
        ids: LinkIds,
        clock: ExchangeClock,
        sender: Sender,
        why_stopped: Callable[[], Refused | None],
    ) -> None:
        self._account = account
        self._requests = requests
        self._filters = filters
        self._gate = gate
        self._quote_of = quote_of
        self._ids = ids
        self._clock = clock
        self._sender = sender
        self._why_stopped = why_stopped

    def __repr__(self) -> str:
        return f"<OrderEntry {self._sender!r} {self._requests!r}>"

    # -- new orders ----------------------------------------------------------------------------------------

    def create(self, order: NewOrder, *, or_rest: bool = False) -> Ticket:
        """Send a new order."""
        now_ms = self._clock.now_ms()
        order = self._checked(order, now_ms)
        self._sender.check_way(Op.CREATE, order.category, now_ms, or_rest=or_rest)
        return self._sender.submit([self._begin_order(order)], now_ms, or_rest)[0]

    def create_batch(self, orders: Sequence[NewOrder]) -> list[Ticket]:
        """Send several new orders in one message."""
        category = _category_of([order.category for order in orders])
        now_ms = self._clock.now_ms()
        self._gate.check_rate(now_ms, len(orders))
        self._sender.check_way(Op.CREATE, category, now_ms, or_rest=False, count=len(orders))
        requests: list[OrderRequest] = []
        try:
            # one by one, as each counts for the limits of the next, and those begun are given up with one refused
            requests.extend(self._begin_order(self._checked(order, now_ms)) for order in orders)
        except Refused as refusal:
            for request in requests:
                self._requests.not_sent(request, f"another order of its batch was refused: {refusal}")
            raise
        return self._sender.submit(requests, now_ms, False)

    def _checked(self, order: NewOrder, now_ms: int) -> NewOrder:
        """Round an order, and hold it against everything that can be held against it here."""
        self._check_trading()
        filters = self._filters_of(order.category, order.symbol)
        order = filters.rounded(order)
        quote = self._quote_of(order.category, order.symbol)
        filters.check(order, None if quote is None else quote.ask if order.side is Side.BUY else quote.bid)
        self._gate.check(order, filters, now_ms)
        return order

    def _begin_order(self, order: NewOrder) -> OrderRequest:
        fields = order.fields()
        link_id = order.link_id
        if not link_id:
            fields["orderLinkId"] = link_id = self._ids.next()
        key = OrderKey(order.category, order.symbol, "", link_id)
        return self._requests.begin(Op.CREATE, key, fields, self._ids.next(), quantity=order.quantity)

    # -- changes and cancels -------------------------------------------------------------------------------

    def amend(self, key: OrderKey, change: Change, *, or_rest: bool = False) -> Ticket:
        """Send a change of an open order."""
        self._check_trading()
        filters = self._filters_of(key.category, key.symbol)
        order = self._account.order(key.category, order_id=key.order_id, link_id=key.link_id)
        if order is None:
            raise Refused("unknown order", f"{key.link_id or key.order_id}: no row has shown it yet")
        change = filters.rounded_change(change, Side.SELL if order.side == Side.SELL else Side.BUY)
        filters.check_change(change)
        now_ms = self._clock.now_ms()
        self._gate.check_change(order, change, filters, now_ms)
        changed = change.wire()
        self._sender.check_way(Op.AMEND, key.category, now_ms, or_rest=or_rest)
        request = self._requests.begin(Op.AMEND, key, key.fields() | changed, self._ids.next(), changed)
        return self._sender.submit([request], now_ms, or_rest)[0]

    def cancel(self, key: OrderKey, *, or_rest: bool = True) -> Ticket:
        """Send a cancel."""
        now_ms = self._clock.now_ms()
        self._sender.check_way(Op.CANCEL, key.category, now_ms, or_rest=or_rest)
        request = self._requests.begin(Op.CANCEL, key, self._cancel_fields(key), self._ids.next())
        return self._sender.submit([request], now_ms, or_rest)[0]

    def cancel_batch(self, keys: Sequence[OrderKey]) -> list[Ticket]:
        """Send several cancels in one message."""
        category = _category_of([key.category for key in keys])
        now_ms = self._clock.now_ms()
        self._sender.check_way(Op.CANCEL, category, now_ms, or_rest=False, count=len(keys))
        requests: list[OrderRequest] = []
        try:
            requests.extend(
                self._requests.begin(Op.CANCEL, key, self._cancel_fields(key), self._ids.next())
                for key in keys
            )
        except Refused as refusal:
            for request in requests:
                self._requests.not_sent(request, f"another cancel of its batch was refused: {refusal}")
            raise
        return self._sender.submit(requests, now_ms, False)

    def _cancel_fields(self, key: OrderKey) -> dict[str, Any]:
        """A cancel's object. On spot it has to say what kind of order is meant, or normal ones are (section 6.3)."""
        fields = key.fields()
        if key.category is Category.SPOT:
            order = self._account.order(key.category, order_id=key.order_id, link_id=key.link_id)
            created = self._requests.created(key)
            kind = created.get("orderFilter", "") if order is None else order.filter_kind
            if kind:
                fields["orderFilter"] = kind
        return fields

    # -- inside --------------------------------------------------------------------------------------------

    def _check_trading(self) -> None:
        refusal = self._why_stopped()
        if refusal is not None:
            raise refusal

    def _filters_of(self, category: Category, symbol: str) -> Filters:
        filters = self._filters.get((category, symbol))
        if filters is None:
            raise Refused(
                "symbol", f"{category.value} {symbol}: it isn't among the symbols that may be traded"
            )
        return filters


def _category_of(categories: Sequence[Category]) -> Category:
    most = 10 if Category.SPOT in categories else 20
    if not 0 < len(categories) <= most or len(set(categories)) > 1:
        raise Refused(
            "batch",
            f"{len(categories)} requests of {len(set(categories))} categories: 1 to {most} of one",
        )
    return categories[0]
