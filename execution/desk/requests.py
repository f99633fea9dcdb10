"""Every request ends in exactly one known outcome, whatever is lost on the way. Pure: times are arguments.

A request is READY, then SENT (once, never again), then DONE; where its answer is lost it is UNKNOWN in between, and
nobody may send it again. What resolves it:

- its answer after all;
- a private row: an order of the ``orderLinkId`` is there; it has the changed values; it is over;
- REST, asked by the order's ids: it is there; or it is not, which counts only if the question was asked after the
  request could not be taken any more, its timestamp plus ``recv_window`` plus our clock's error plus some time for
  what was taken to become visible; asked a day too late, it says no more than that the order is over (FORGOTTEN).

All times are ms of the exchange's clock as we estimate it; `clock_error_ms` says how far that may be off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from execution.desk.codes import DUPLICATE_LINK_ID, is_gone, leaves_open
from execution.desk.exposure import Pending
from execution.desk.live import GONE, Fill, LiveAccount, LiveOrder, has_values
from execution.desk.orders import OrderKey, Refused
from execution.desk.outcomes import (
    DEFAULT_TIMING,
    NO_CHANGE,
    REMEMBERED_MS,
    Evidence,
    Identity,
    Lookup,
    OrderRequest,
    Outcome,
    OutcomeKind,
    RequestState,
    Timing,
)
from execution.desk.wire import Op
from schemas.names import Category

__all__ = ["Requests"]

REMEMBERED_CREATES: Final = 100_000
REMEMBERED_EXPIRED: Final = 1_000
LOOKUPS_AT_ONCE: Final = 8
# Found sooner here than in their classes, which Python 3.11 asks in a roundabout way.
_CREATE, _AMEND, _READY, _SENT = Op.CREATE, Op.AMEND, RequestState.READY, RequestState.SENT
_BY_USER: Final = "CancelByUser"
_FORGOTTEN: Final = (
    "the exchange has no such order: it isn't open, but it may have been taken and be over since, as its history keeps "
    "orders without a fill for a day only"
)
_CANCELLED: Final = frozenset({"Cancelled", "PartiallyFilledCanceled", "Deactivated"})


class _Ask(msgspec.Struct, eq=False):
    """A question that stays until it is answered; ``again``: a new reason for it came while it was being asked."""

    key: OrderKey
    next_ms: int
    tries: int = 0
    ordinal: int = 0
    again: bool = False


class Requests:
    """The requests of one account, and what is still open about each.

    Args:
        account: where rows go.
        timing: how long to wait for what.
        on_done: called with each request once it is done; must not raise.

    Attributes:
        clock_error_ms: how far the times that are given here may be from the exchange's clock.
        contradictions: answers that say other than what had been established; each is a mistake of ours or theirs.
        strays: answers to nothing that is open.
        pending: at most what creates and amends could add that are open, or that no row has shown yet.
    """

    def __init__(
        self,
        account: LiveAccount,
        timing: Timing = DEFAULT_TIMING,
        on_done: Callable[[OrderRequest], None] = lambda _: None,
    ) -> None:
        self._account = account
        self._timing = timing
        self._on_done = on_done
        self._open: dict[str, OrderRequest] = {}
        self._by_order: dict[Identity, list[OrderRequest]] = {}
        self._creates: dict[tuple[Category, str], OrderRequest] = {}
        self._asks: dict[Identity, _Ask] = {}
        self._awaited: dict[Identity, tuple[OrderRequest, int]] = {}
        self._asked: dict[int, Identity] = {}
        self._expired: dict[str, None] = {}
        self.pending = Pending()
        self._ordinal = 0
        self.clock_error_ms = 0
        self.contradictions = 0
        self.strays = 0

    def __repr__(self) -> str:
        unknown = sum(request.state is RequestState.UNKNOWN for request in self._open.values())
        return f"<Requests {len(self._open)} open, {unknown} of them unknown, {len(self._asks)} to look up>"

    @property
    def open(self) -> list[OrderRequest]:
        """Those without an outcome."""
        return list(self._open.values())

    def is_pending(self, key: OrderKey) -> bool:
        """Whether something about an order is under way, in doubt, or not shown by a row yet."""
        identity = self._identity(key)
        return identity in self._by_order or identity in self._awaited

    def created(self, key: OrderKey) -> Mapping[str, Any]:
        """The object that an order of ours was created with; empty where this run didn't create it."""
        create = self._creates.get((key.category, key.link_id))
        return {} if create is None else create.fields

    @property
    def unseen(self) -> list[OrderRequest]:
        """Creates and amends that have happened, or may, and that no row has shown yet."""
        found = []
        account = self._account
        for request in self._open.values():
            if request.op is Op.CREATE:
                if not account.knows(request.key.category, request.key.link_id):
                    found.append(request)
            elif request.op is Op.AMEND and not self._is_shown(request):
                found.append(request)
        for request, _ in self._awaited.values():
            if request.op is not Op.CANCEL and not self._is_shown(request):
                found.append(request)
        return found

    @property
    def is_settled(self) -> bool:
        """Whether every request has its outcome and nothing is to be looked up."""
        return not (self._open or self._asks or self._awaited)

    # -- beginning -----------------------------------------------------------------------------------------

    def begin(
        self,
        op: Op,
        key: OrderKey,
        fields: dict[str, Any],
        request_id: str,
        changed: Mapping[str, str] = NO_CHANGE,
        quantity: Decimal | None = None,
    ) -> OrderRequest:
        """Make a request that may be sent, once.

        Args:
            quantity: of a create, as a number.

        Raises:
            Refused: the order was sent already, or something about it is still in doubt, or it is over.
        """
        identity = (key.category, "link", key.link_id) if key.link_id else self._identity(key)
        if op is _CREATE:
            self._check_create(key)
        else:
            self._check_order(op, key, identity)
        awaited = self._awaited.get(identity)
        if awaited is not None and (awaited[0].op is Op.CANCEL or awaited[0].op is op):
            # Sent now and lost, the earlier one's effect would be taken for its own.
            raise _in_doubt(key, f"an {awaited[0].op.value} was taken, and no row has shown it yet")
        if op is _AMEND:
            self._check_amend(key, self._order(key), changed)
        request = OrderRequest(request_id, op, key, fields, changed, identity, quantity=quantity)
        self._enter(request)
        return request

    def restore(self, request: OrderRequest, now_ms: int) -> None:
        """Take over a request that an earlier run sent and whose outcome it didn't live to see."""
        request.state = RequestState.UNKNOWN
        request.identity = self._identity(request.key)
        self._enter(request)
        self._look_up(request.identity, request.key, now_ms)

    def sending(self, request: OrderRequest, timestamp_ms: int, window_ms: int) -> None:
        """Note that a request goes out now: before any of its bytes do, or in the same breath (a plain order).

        Raises:
            RuntimeError: it was sent before; a mistake of the caller that must not reach the exchange.
        """
        if request.state is not _READY:
            raise RuntimeError(f"request {request.request_id} is {request.state}: it is sent once")
        request.state = _SENT
        request.timestamp_ms, request.window_ms = timestamp_ms, window_ms

    def not_sent(self, request: OrderRequest, words: str) -> None:
        """Give up a request of which certainly no byte has left."""
        if request.state is not RequestState.DONE:
            self._settle(request, OutcomeKind.EXPIRED, Evidence.LOCAL, words=words)

    def is_new(self, category: Category, link_id: str) -> bool:
        """Whether an order can have this name, as nothing is known of any that does."""
        identity = category, "link", link_id
        return not (
            not link_id
            or (category, link_id) in self._creates
            or identity in self._by_order
            or identity in self._awaited
            or self._account.knows(category, link_id)
        )

    def begin_create(
        self, key: OrderKey, fields: dict[str, Any], request_id: str, quantity: Decimal
    ) -> OrderRequest:
        """`begin` of a new order; a name of which nothing is known needs no closer look, and most are such."""
        category, link_id = key.category, key.link_id
        if not self.is_new(category, link_id):
            return self.begin(_CREATE, key, fields, request_id, quantity=quantity)
        identity = category, "link", link_id
        creates = self._creates
        request = OrderRequest(request_id, _CREATE, key, fields, NO_CHANGE, identity, quantity=quantity)
        self._open[request_id] = request
        self._by_order[identity] = [request]
        creates[category, link_id] = request
        if len(creates) > REMEMBERED_CREATES:
            self._forget_oldest_create()
        self.pending.enter(request)
        return request

    def _check_order(self, op: Op, key: OrderKey, identity: Identity) -> None:
        """An order that is over takes nothing more, and of each kind only one request at a time."""
        order = self._order(key)
        if order is not None and not order.is_open:
            raise Refused("order is over", f"{_name(key)} is {order.status}")
        for other in self._by_order.get(identity, ()):
            if other.op is op or (op is Op.AMEND and _stands_in_the_way(other)):
                raise _in_doubt(key, f"its {other.op.value} is {other.state.value}")

    def _check_create(self, key: OrderKey) -> None:
        if not key.link_id:
            raise Refused("orderLinkId", "every order needs one: it is what a lost answer is looked up by")
        earlier = self._creates.get((key.category, key.link_id))
        is_known = self._account.knows(key.category, key.link_id)
        if earlier is None and not is_known:
            return
        outcome = None if earlier is None else earlier.outcome
        if is_known or (outcome is not None and outcome.kind is OutcomeKind.ACKED):
            raise Refused("orderLinkId", f"{key.link_id}: an order of this name was placed already")
        if outcome is not None and outcome.kind is OutcomeKind.FORGOTTEN:
            raise Refused(
                "orderLinkId", f"{key.link_id}: an order of this name may have been placed: take another"
            )
        if earlier is not None and earlier.outcome is None:
            raise _in_doubt(key, f"it is {earlier.state.value}, and must not be sent again")

    def _check_amend(self, key: OrderKey, order: LiveOrder | None, changed: Mapping[str, str]) -> None:
        """An amend must change something that we know, or a lost answer could not be told from a lost request."""
        if order is not None:
            has = order.has(changed)
        else:
            create = self._creates.get((key.category, key.link_id))
            if create is None:
                raise Refused("unknown order", f"{_name(key)}: it is not among the account's orders")
            has = has_values(create.fields, changed)
        if has:
            raise Refused("change", f"{_name(key)} has these values already")

    def _enter(self, request: OrderRequest) -> None:
        self._open[request.request_id] = request
        self.pending.enter(request)
        pending = self._by_order.get(request.identity)
        if pending is None:
            self._by_order[request.identity] = [request]
        else:
            pending.append(request)
        if request.op is _CREATE:
            self._creates[request.key.category, request.key.link_id] = request
            if len(self._creates) > REMEMBERED_CREATES:
                self._forget_oldest_create()

    def _forget_oldest_create(self) -> None:
        oldest = next(iter(self._creates))
        if self._creates[oldest].outcome is not None:
            del self._creates[oldest]

    # -- what comes back -----------------------------------------------------------------------------------

    def on_reply(self, request_id: str, code: int, words: str, order_id: str, now_ms: int) -> None:
        """Take the answer to a request, from the trade socket or REST."""
        request = self._open.get(request_id)
        if request is None:
            self.strays += 1
            self.contradictions += code == 0 and request_id in self._expired
            return
        request.order_id = order_id or request.order_id
        if code == 0:
            self._settle(request, OutcomeKind.ACKED, Evidence.REPLY)
            awaited = self._awaited.get(request.identity)
            if not self._is_shown(request) and (awaited is None or awaited[0].op is not Op.CANCEL):
                self._await(request, now_ms)
        elif leaves_open(code, is_create=request.op is Op.CREATE):
            if code in DUPLICATE_LINK_ID:
                request.name_taken = code, words[:500]
            self.lose([request], now_ms)
        else:
            self._settle(request, OutcomeKind.REJECTED, Evidence.REPLY, code, words[:500])
            order = self._order(request.key)
            if is_gone(code) and order is not None and order.is_open:
                self._look_up(request.identity, request.key, now_ms)

    def lose(self, requests: Iterable[OrderRequest], now_ms: int) -> None:
        """Note that the answers of some requests will not come: the connection is gone, or took too long."""
        for request in requests:
            if request.state is RequestState.SENT:
                request.state = RequestState.UNKNOWN
                self._look_up(request.identity, request.key, now_ms)
                order = self._order(request.key)
                if order is not None:
                    self._judge(order, Evidence.STREAM)

    def on_order(self, row: object, now_ms: int) -> LiveOrder | None:
        """Take a row of the private stream's ``order`` topic; returns the order it is about."""
        order = self._account.on_order(row, now_ms)
        if order is not None:
            self._judge(order, Evidence.STREAM)
        return order

    def on_fill(self, fill: Fill, now_ms: int) -> None:
        """Take a fill: an order that trades was accepted."""
        identity = fill.category, "link", fill.link_id
        for request in list(self._by_order.get(identity, ())):
            if request.op is Op.CREATE and request.state is RequestState.UNKNOWN:
                request.order_id = fill.order_id
                self._settle(request, OutcomeKind.ACKED, Evidence.STREAM)
                if identity not in self._awaited:
                    self._await(request, now_ms)

    def on_open_orders(self, category: Category, rows: Sequence[object], asked_ms: int, now_ms: int) -> None:
        """Take the whole list of a category's open orders, all pages, as REST answered a question asked at a time.

        An order that we think is open and that is not on it is looked up.
        """
        listed: set[str] = set()
        for row in rows:
            order = self._account.on_order(row, now_ms, category=category)
            if order is not None:
                listed.add(order.order_id)
                self._judge(order, Evidence.REST)
        for order in self._account.open_orders:
            if order.category is category and order.order_id not in listed and order.seen_ms <= asked_ms:
                key = _key_of(order)
                self._look_up(self._identity(key), key, now_ms)

    # -- looking up ----------------------------------------------------------------------------------------

    def due(self, now_ms: int) -> list[Lookup]:
        """Let time pass, and return what is to be asked now. Each is answered with `on_lookup`, exactly once."""
        overdue = [
            request
            for request in self._open.values()
            if request.state is RequestState.SENT and now_ms >= request.timestamp_ms + self._timing.reply_ms
        ]
        self.lose(overdue, now_ms)
        for identity, (request, until_ms) in list(self._awaited.items()):
            if self._is_shown(request):
                self._await_no_more(identity)
            elif now_ms >= until_ms:
                self._look_up(identity, request.key, now_ms)
        lookups: list[Lookup] = []
        for identity, ask in self._asks.items():
            if len(self._asked) >= LOOKUPS_AT_ONCE:
                break
            if not ask.ordinal and now_ms >= ask.next_ms:
                self._ordinal += 1
                ask.ordinal = self._ordinal
                self._asked[ask.ordinal] = identity
                lookups.append(Lookup(ask.ordinal, ask.key, now_ms, self._sent_ms(identity)))
        return lookups

    def _sent_ms(self, identity: Identity) -> int:
        """When the create of an order that is in doubt was sent; 0 where none is."""
        creates = (r for r in self._by_order.get(identity, ()) if r.op is Op.CREATE)
        return min((request.timestamp_ms for request in creates), default=0)

    def next_ms(self) -> int | None:
        """When `due` may have something to do by itself; None if nothing is waited for."""
        times = []
        if len(self._asked) < LOOKUPS_AT_ONCE:
            times = [ask.next_ms for ask in self._asks.values() if not ask.ordinal]
        times += [
            request.timestamp_ms + self._timing.reply_ms
            for request in self._open.values()
            if request.state is RequestState.SENT
        ]
        times += [until_ms for identity, (_, until_ms) in self._awaited.items() if identity not in self._asks]
        return min(times, default=None)

    def on_lookup(self, lookup: Lookup, rows: Sequence[object] | None, now_ms: int) -> None:
        """Take what REST said to a lookup.

        Args:
            rows: of both endpoints together; None where either failed, which says nothing. Rows of which none is
                readable and about this order say nothing either: only an empty answer says that there is none.
        """
        identity = self._asked.pop(lookup.ordinal, None)
        ask = None if identity is None else self._asks.get(identity)
        if identity is None or ask is None or ask.ordinal != lookup.ordinal:
            return
        ask.ordinal = 0
        found = False
        for row in rows or ():
            order = self._account.on_order(row, now_ms, category=lookup.key.category)
            if order is not None and identity in _identities(order):
                found = True
                self._judge(order, Evidence.REST)
        if rows and not found:
            rows = None
        if rows is not None:
            self._conclude(identity, lookup, found)
        order = self._order(lookup.key)
        is_answered = rows is not None and (found or order is None or not order.is_open)
        unknown = [r for r in self._by_order.get(identity, ()) if r.state is RequestState.UNKNOWN]
        if is_answered and not unknown and not ask.again and identity not in self._awaited:
            del self._asks[identity]
            return
        ask.again = False
        ask.tries += 1
        ask.next_ms = now_ms + min(self._timing.retry_cap_ms, self._timing.retry_ms << min(ask.tries - 1, 16))
        # The first question that can end it is worth being asked in time.
        decisive = [self._visible_ms(request) + 1 for request in unknown]
        ask.next_ms = min([moment for moment in decisive if moment > now_ms] + [ask.next_ms])

    def _conclude(self, identity: Identity, lookup: Lookup, found: bool) -> None:
        """Draw what follows from a complete answer for requests that could not be taken any more when it was asked."""
        for request in list(self._by_order.get(identity, ())):
            if request.state is not RequestState.UNKNOWN or lookup.asked_ms <= self._visible_ms(request):
                continue
            kind, words = OutcomeKind.EXPIRED, "the order is as it was"
            if not found:
                words = "the exchange has no such order"
                if self._may_be_forgotten(request, lookup.asked_ms):
                    kind, words = OutcomeKind.FORGOTTEN, _FORGOTTEN
            self._settle(request, kind, Evidence.REST, words=words)
        order = self._order(lookup.key)
        if not found and order is not None and order.seen_ms + self._timing.settle_ms < lookup.asked_ms:
            self._account.mark_gone(order)
            self._judge(order, Evidence.REST)
        self._drop_shown(identity)
        awaited = self._awaited.get(identity)
        if awaited is not None and lookup.asked_ms > self._visible_ms(awaited[0]):
            # Acknowledged, and not to be seen: it will not be seen by asking on.
            self._await_no_more(identity)
            self.contradictions += awaited[0].op is not Op.AMEND

    def _may_be_forgotten(self, request: OrderRequest, asked_ms: int) -> bool:
        """Whether an order that the exchange doesn't know at a moment may have been there all the same."""
        create = request
        if request.op is not Op.CREATE:
            if self._order(request.key) is not None:
                return True  # we saw it
            found = self._creates.get((request.key.category, request.identity[2]))
            if found is None:
                return True  # who knows when it was placed
            create = found
            if create.outcome is not None:
                return create.outcome.kind in (OutcomeKind.ACKED, OutcomeKind.FORGOTTEN)
        return asked_ms - create.timestamp_ms > REMEMBERED_MS

    def _visible_ms(self, request: OrderRequest) -> int:
        """A question asked after this moment sees everything that the request can ever do."""
        return request.last_ms + self.clock_error_ms + self._timing.settle_ms

    def _look_up(self, identity: Identity, key: OrderKey, now_ms: int) -> None:
        ask = self._asks.get(identity)
        if ask is None:
            self._asks[identity] = _Ask(key, now_ms)
        elif ask.ordinal:
            ask.again = True

    # -- inside --------------------------------------------------------------------------------------------

    def _judge(self, order: LiveOrder, evidence: Evidence) -> None:
        """Settle the unknown requests of an order that its latest row decides."""
        create = self._creates.get((order.category, order.link_id))
        if create is not None and create.outcome is not None and not create.order_id:
            # Acknowledged ones have an id: this one was said never to have been an order.
            create.order_id = order.order_id
            self.contradictions += create.outcome.kind in (OutcomeKind.EXPIRED, OutcomeKind.REJECTED)
        identities = _identities(order)
        for request in [r for identity in identities for r in self._by_order.get(identity, ())]:
            if request.state is not RequestState.UNKNOWN:
                continue
            if request.op is Op.CREATE and request.name_taken and self._is_older(order, request):
                self._settle(request, OutcomeKind.REJECTED, evidence, *request.name_taken)
            elif request.op is Op.CREATE:
                request.order_id = order.order_id
                self._settle(request, OutcomeKind.ACKED, evidence)
            elif request.op is Op.AMEND and order.has(request.changed):
                self._settle(request, OutcomeKind.ACKED, evidence)
            elif not order.is_open:
                by_user = order.status in _CANCELLED and order.row.get("cancelType") == _BY_USER
                if request.op is Op.CANCEL and by_user:
                    self._settle(request, OutcomeKind.ACKED, evidence)
                elif order.status == GONE:
                    self._settle(request, OutcomeKind.FORGOTTEN, evidence, words=_FORGOTTEN)
                else:
                    words = f"the order was {order.status} before"
                    self._settle(request, OutcomeKind.EXPIRED, evidence, words=words)
        for identity in identities:
            self._drop_shown(identity)

    def _is_older(self, order: LiveOrder, request: OrderRequest) -> bool:
        """Whether an order was there before a request for one of its name: the caller gave it twice."""
        return 0 < order.created_ms < request.timestamp_ms - self.clock_error_ms - self._timing.settle_ms

    def _drop_shown(self, identity: Identity) -> None:
        awaited = self._awaited.get(identity)
        if awaited is not None and self._is_shown(awaited[0]):
            self._await_no_more(identity)

    def _await(self, request: OrderRequest, now_ms: int) -> None:
        """Wait for a row that shows what an acknowledged request did."""
        self._await_no_more(request.identity)
        self._awaited[request.identity] = request, now_ms + self._timing.confirm_ms
        self.pending.enter(request)

    def _await_no_more(self, identity: Identity) -> None:
        awaited = self._awaited.pop(identity, None)
        if awaited is not None:
            self.pending.leave(awaited[0])

    def _is_shown(self, request: OrderRequest) -> bool:
        """Whether the order's rows show what an acknowledged request did."""
        order = self._order(request.key)
        if order is None:
            return False
        if request.op is Op.CANCEL:
            return not order.is_open
        return request.op is Op.CREATE or not order.is_open or order.has(request.changed)

    def _settle(
        self, request: OrderRequest, kind: OutcomeKind, evidence: Evidence, code: int = 0, words: str = ""
    ) -> None:
        request.outcome = Outcome(kind, evidence, code, words, request.state is RequestState.UNKNOWN)
        request.state = RequestState.DONE
        del self._open[request.request_id]
        self.pending.leave(request)
        pending = self._by_order[request.identity]
        pending.remove(request)
        if not pending:
            del self._by_order[request.identity]
        if kind is OutcomeKind.EXPIRED and request.op is not Op.CANCEL:
            self._expired[request.request_id] = None
            if len(self._expired) > REMEMBERED_EXPIRED:
                del self._expired[next(iter(self._expired))]
        self._on_done(request)

    def _order(self, key: OrderKey) -> LiveOrder | None:
        return self._account.order(key.category, order_id=key.order_id, link_id=key.link_id)

    def _identity(self, key: OrderKey) -> Identity:
        """One name for an order, however it is addressed."""
        if key.link_id:
            return key.category, "link", key.link_id
        order = self._order(key)
        if order is not None and order.link_id:
            return key.category, "link", order.link_id
        return key.category, "order", key.order_id


def _stands_in_the_way(other: OrderRequest) -> bool:
    """Whether an amend has to wait: a cancel under way, or an order of which nobody knows whether it is there."""
    return other.op is Op.CANCEL or (other.op is Op.CREATE and other.state is RequestState.UNKNOWN)


def _in_doubt(key: OrderKey, why: str) -> Refused:
    return Refused("in doubt", f"{_name(key)}: {why}: wait for the outcome")


def _identities(order: LiveOrder) -> tuple[Identity, ...]:
    """The names that requests may know an order by."""
    by_id = order.category, "order", order.order_id
    return (by_id, (order.category, "link", order.link_id)) if order.link_id else (by_id,)


def _key_of(order: LiveOrder) -> OrderKey:
    return OrderKey(order.category, order.symbol, order.order_id, order.link_id)


def _name(key: OrderKey) -> str:
    return key.link_id or key.order_id
