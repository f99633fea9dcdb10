"""Order entry: what is asked for is rounded, held against filters, limits and rates, begun, and given to the sender."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Final

import msgspec

from execution.desk.filters import Filters
from execution.desk.limits import Quote, RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.live import LiveAccount
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side
from execution.desk.outcomes import OrderRequest
from execution.desk.plain_orders import PlainOrders
from execution.desk.rates import RateLimiter
from execution.desk.requests import Requests
from execution.desk.wire import Op
from execution.exchange_clock import ExchangeClock
from execution.reckoning import RECKONING
from execution.sender import Sender
from execution.ticket import Ticket
from schemas.names import Category

__all__ = ["MOST_IN_BATCH", "OrderEntry"]

MOST_IN_BATCH: Final[Mapping[Category, int]] = {
    Category.LINEAR: 20,
    Category.INVERSE: 20,
    Category.OPTION: 20,
    Category.SPOT: 10,
}
"""Requests in one message (section 7.3)."""


_CREATE: Final = Op.CREATE  # found sooner here than in its class


class _Message(msgspec.Struct):
    args: list[dict[str, Any]]


_read: Final = msgspec.json.Decoder(_Message).decode


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
        rates: RateLimiter,
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
        self._ids = ids
        self._clock = clock
        self._sender = sender
        self._why_stopped = why_stopped
        self._plain = PlainOrders(
            filters, gate, rates, account, requests.pending, ids, quote_of, requests.is_new
        )

    def __repr__(self) -> str:
        return f"<OrderEntry {self._sender!r} {self._requests!r}>"

    # -- new orders ----------------------------------------------------------------------------------------

    def create(self, order: NewOrder, *, or_rest: bool = False) -> Ticket:
        """Send a new order."""
        if not isinstance(order, NewOrder):
            raise _no_such("order", order, NewOrder)
        now_ms = self._clock.now_ms()
        ticket = self._sender.submit_plain(order, self._plain, self._begin_plain, now_ms, self._why_stopped)
        if ticket is not None:
            return ticket
        self._check_trading()
        order = self._checked(order, now_ms)
        way = self._sender.check_way(_CREATE, order.category, now_ms, or_rest=or_rest)
        return self._sender.submit(self._begin_order(order, self._ids.next()), way, now_ms)

    def create_batch(self, orders: Iterable[NewOrder], *, or_rest: bool = False) -> list[Ticket]:
        """Send several new orders in one message."""
        orders = list(orders)
        for order in orders:
            if not isinstance(order, NewOrder):
                raise _no_such("order", order, NewOrder)
        now_ms = self._clock.now_ms()
        self._check_trading()
        self._gate.check_rate(now_ms, len(orders))
        # one by one, as each counts for the limits of the next
        begun = (self._begin_order(self._checked(order, now_ms), self._ids.next()) for order in orders)
        return self._send_batch(Op.CREATE, [order.category for order in orders], begun, now_ms, or_rest)

    def _checked(self, order: NewOrder, now_ms: int) -> NewOrder:
        """Round an order, and hold it against everything that can be held against it here."""
        filters = self._filters.get((order.category, order.symbol))
        if filters is None:
            raise _no_symbol(order.category, order.symbol)
        with _reckoning(order.symbol, order.quantity, order.price):
            order = filters.rounded(order)
            filters.check(order, None if order.price is not None else self._opposite(order))
            self._gate.check(order, filters, now_ms)
        self._check_trading()  # once more: whoever told the price may have stopped it
        return order

    def _begin_plain(self, order: NewOrder, request_id: str, message: bytes) -> OrderRequest:
        """Begin what has gone out already, as it went: nothing is reckoned once more, which could fail or differ."""
        fields = _read(message).args[0]
        key = OrderKey(order.category, order.symbol, "", fields["orderLinkId"])
        return self._requests.begin_create(key, fields, request_id, Decimal(fields["qty"]))

    def _opposite(self, order: NewOrder) -> Decimal | None:
        """The price at which a market order would begin to trade."""
        quote = self._gate.quote(order.category, order.symbol)
        return None if quote is None else quote.ask if order.side is Side.BUY else quote.bid

    def _begin_order(self, order: NewOrder, request_id: str) -> OrderRequest:
        fields = order.fields()
        link_id = order.link_id
        if not link_id:
            # one name for both: neither the exchange nor we look for a request among orders
            fields["orderLinkId"] = link_id = request_id
        key = OrderKey(order.category, order.symbol, "", link_id)
        return self._requests.begin_create(key, fields, request_id, order.quantity)

    # -- changes and cancels -------------------------------------------------------------------------------

    def amend(self, key: OrderKey, change: Change, *, or_rest: bool = False) -> Ticket:
        """Send a change of an open order."""
        _check_change(key, change)
        self._check_trading()
        now_ms = self._clock.now_ms()
        way = self._sender.check_way(Op.AMEND, key.category, now_ms, or_rest=or_rest)
        return self._sender.submit(self._begin_change(key, change, now_ms), way, now_ms)

    def amend_batch(
        self, changes: Iterable[tuple[OrderKey, Change]], *, or_rest: bool = False
    ) -> list[Ticket]:
        """Send changes of several open orders in one message."""
        changes = list(changes)
        for key, change in changes:
            _check_change(key, change)
        now_ms = self._clock.now_ms()
        self._gate.check_rate(now_ms, len(changes))
        begun = (self._begin_change(key, change, now_ms) for key, change in changes)
        return self._send_batch(Op.AMEND, [key.category for key, _ in changes], begun, now_ms, or_rest)

    def _begin_change(self, key: OrderKey, change: Change, now_ms: int) -> OrderRequest:
        self._check_trading()
        filters = self._filters_of(key.category, key.symbol)
        order = self._account.order(key.category, order_id=key.order_id, link_id=key.link_id)
        if order is None:
            raise Refused("unknown order", f"{key.link_id or key.order_id}: no row has shown it yet")
        with _reckoning(key.symbol, change.quantity, change.price):
            change = filters.rounded_change(change, Side.SELL if order.side == Side.SELL else Side.BUY)
            filters.check_change(change)
            self._gate.check_change(order, change, filters, now_ms)
        self._check_trading()  # as `_checked`
        changed = change.wire()
        return self._requests.begin(Op.AMEND, key, key.fields() | changed, self._ids.next(), changed)

    def cancel(self, key: OrderKey, *, or_rest: bool = True) -> Ticket:
        """Send a cancel."""
        _check(key)
        now_ms = self._clock.now_ms()
        way = self._sender.check_way(Op.CANCEL, key.category, now_ms, or_rest=or_rest)
        request = self._requests.begin(Op.CANCEL, key, self._cancel_fields(key), self._ids.next())
        return self._sender.submit(request, way, now_ms)

    def cancel_batch(self, keys: Iterable[OrderKey], *, or_rest: bool = True) -> list[Ticket]:
        """Send several cancels in one message."""
        keys = list(keys)
        for key in keys:
            _check(key)
        now_ms = self._clock.now_ms()
        begun = (
            self._requests.begin(Op.CANCEL, key, self._cancel_fields(key), self._ids.next()) for key in keys
        )
        return self._send_batch(Op.CANCEL, [key.category for key in keys], begun, now_ms, or_rest)

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

    def _send_batch(
        self,
        op: Op,
        categories: Sequence[Category],
        begun: Iterator[OrderRequest],
        now_ms: int,
        or_rest: bool,
    ) -> list[Ticket]:
        """Begin requests one by one, and send all of them or none: with one refused, the others are given up."""
        category = _category_of(categories)
        way = self._sender.check_way(op, category, now_ms, or_rest=or_rest, count=len(categories))
        requests: list[OrderRequest] = []
        try:
            requests.extend(begun)
        except BaseException as problem:
            for request in requests:
                self._requests.not_sent(request, f"another request of its batch was refused: {problem}")
            raise
        return self._sender.submit_batch(requests, way, now_ms)

    def _check_trading(self) -> None:
        refusal = self._why_stopped()
        if refusal is not None:
            raise refusal

    def _filters_of(self, category: Category, symbol: str) -> Filters:
        filters = self._filters.get((category, symbol))
        if filters is None:
            raise _no_symbol(category, symbol)
        return filters


@contextmanager
def _reckoning(symbol: str, quantity: Decimal | None, price: Decimal | None) -> Iterator[None]:
    """Reckon in the client's own context; what is too long for it is refused."""
    try:
        with localcontext(RECKONING):
            yield
    except InvalidOperation:
        raise Refused(
            "digits",
            f"{symbol}: quantity {quantity}, price {price}: with the instrument's steps and our own prices these can't "
            f"be reckoned with in {RECKONING.prec} digits: give numbers that an order may have",
        ) from None


def _check(key: OrderKey) -> None:
    """Whether a key names an order."""
    if not isinstance(key, OrderKey):
        raise _no_such("order key", key, OrderKey)
    key.check()


def _check_change(key: OrderKey, change: Change) -> None:
    _check(key)
    if not isinstance(change, Change):
        raise _no_such("change", change, Change)


def _no_such(what: str, found: object, kind: type) -> Refused:
    return Refused(
        what,
        f"{ascii(found)[:80]} is a {type(found).__name__}: expected a {kind.__name__} of execution.desk.orders",
    )


def _no_symbol(category: Category, symbol: str) -> Refused:
    return Refused("symbol", f"{category.value} {symbol}: it isn't among the symbols that may be traded")


def _category_of(categories: Sequence[Category]) -> Category:
    """The one category of a batch, whose size it takes (section 7.3)."""
    if not categories or len(set(categories)) > 1:
        raise Refused(
            "batch", f"{len(categories)} requests of {len(set(categories))} categories: expected some of one"
        )
    category = categories[0]
    most = MOST_IN_BATCH.get(category)
    if most is None or len(categories) > most:
        raise Refused("batch", f"{len(categories)} requests: {category.value} takes {most or 'none'} at once")
    return category
