"""A simulated exchange behind a network that loses, delays, repeats and reorders, on a clock of its own.

The exchange is `engine.venue`; between it and the requests under test stands chance, drawn from a seed. What the
exchange did with each request is kept as the truth to hold outcomes against.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from engine.bybit.signing import is_timely
from engine.market import Instrument
from engine.venue import Refusal, Side, TradingVenue, rules_of
from engine.venue.holdings import rest_position_row
from engine.venue.rows import order_row
from execution.desk.link_ids import LinkIds
from execution.desk.live import LiveAccount, LiveOrder
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, TimeInForce
from execution.desk.outcomes import Lookup, OrderRequest, OutcomeKind, RequestState
from execution.desk.requests import Requests
from execution.desk.wire import Op
from schemas.names import Category

UID = "1"
START_MS = 1_760_000_000_000
WINDOW_MS = 2_000
LINEAR = Instrument(Category.LINEAR, "BTCUSDT", "BTC", "USDT", "USDT", "0.10", "0.001")
SPOT = Instrument(Category.SPOT, "BTCUSDT", "BTC", "USDT", "USDT", "0.01", "0.000001")
D = Decimal


class World:
    """One run: random requests under random faults; `drain` lets everything come to rest.

    Attributes:
        truth: by request id: ``acked``, ``refused`` or ``unanswered`` (refused with a code that leaves it open).
        sent: how often each request was given to the network.
        ended: how often each request was told to be done.
    """

    def __init__(self, seed: int, *, faults: float = 0.3) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.now_ms = START_MS
        self.venue = TradingVenue(seed)
        self.venue.open_account(UID, {"USDT": D(10_000_000), "BTC": D(100)})
        for instrument in (LINEAR, SPOT):
            self.venue.list_instrument(rules_of(instrument))
        self.error_ms = self.random.choice((0, 40, 900))
        self.skew_ms = self.random.randint(-self.error_ms, self.error_ms)
        self.account = LiveAccount()
        self.requests = Requests(self.account, on_done=self._on_done)
        self.requests.clock_error_ms = self.error_ms
        self.ids = LinkIds(self.random.getrandbits(65))
        self.made: list[OrderRequest] = []
        self.keys: list[OrderKey] = []
        self.truth: dict[str, str] = {}
        self.sent: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.refused = 0
        self.sent_again = 0
        self.orders: list[NewOrder] = []
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._ordinals = itertools.count()
        self._connection = 0
        self._rows: dict[tuple[Category, str], list[tuple[int, dict[str, Any]]]] = {}
        self.mid = D(60_000)
        self._market()

    @property
    def client_ms(self) -> int:
        """The exchange's clock as the client estimates it."""
        return self.now_ms + self.skew_ms

    def _on_done(self, request: OrderRequest) -> None:
        self.ended[request.request_id] += 1

    def _chance(self, weight: float = 1.0) -> bool:
        return self.random.random() < self.faults * weight

    def _later(self, least: int, most: int, action: Callable[[], None]) -> None:
        moment = self.now_ms + self.random.randint(least, most)
        heapq.heappush(self._queue, (moment, next(self._ordinals), action))

    # -- time ----------------------------------------------------------------------------------------------

    def step(self, ms: int) -> None:
        """Let time pass: what was under way arrives, and due questions are asked."""
        until_ms = self.now_ms + ms
        while self._queue and self._queue[0][0] <= until_ms:
            moment, _, action = heapq.heappop(self._queue)
            self.now_ms = max(self.now_ms, moment)
            action()
            self._tell()
        self.now_ms = until_ms
        for lookup in self.requests.due(self.client_ms):
            self._ask(lookup)

    def run(self, steps: int) -> None:
        """Do random things."""
        for _ in range(steps):
            self.random.choices(
                (
                    self._create,
                    self._create_again,
                    self._amend,
                    self._cancel,
                    self._market,
                    self._disconnect,
                    self._reload,
                ),
                (6, 1, 3, 3, 5, 0.4, 0.3),
            )[0]()
            self._tell()
            self.step(self.random.choice((0, 1, 5, 40, 300, 1_500)))

    def drain(self) -> None:
        """Do nothing more until every request has its outcome, then load the account anew."""
        for _ in range(400):
            if self.requests.is_settled and not self._queue:
                break
            self.step(100)
        self.faults = 0.0
        self.reload_now()
        for _ in range(200):
            if self.requests.is_settled and not self._queue:
                break
            self.step(100)

    # -- the market ----------------------------------------------------------------------------------------

    def _market(self) -> None:
        self.mid += self.random.choice((-40, -3, -1, 0, 1, 3, 40))
        for category in (Category.LINEAR, Category.SPOT):
            bids = [(self.mid - i, D(self.random.randint(1, 40)) / 10) for i in range(1, 4)]
            asks = [(self.mid + i, D(self.random.randint(1, 40)) / 10) for i in range(1, 4)]
            self.venue.on_book(category, "BTCUSDT", bids, asks, self.now_ms)
            taker = self.random.choice((Side.BUY, Side.SELL))
            price = self.mid + (1 if taker is Side.BUY else -1)
            self.venue.on_trade(category, "BTCUSDT", taker, price, D(1), self.now_ms)

    # -- requests ------------------------------------------------------------------------------------------

    def _create(self) -> None:
        category = self.random.choice((Category.LINEAR, Category.LINEAR, Category.SPOT))
        side = self.random.choice((Side.BUY, Side.SELL))
        price = None if self.random.random() < 0.15 else self._price(side)
        if price is not None and self.random.random() < 0.1:
            price = D("0.3")  # refused by the exchange
        order = NewOrder(
            category=category,
            symbol="BTCUSDT",
            side=side,
            quantity=D(self.random.randint(1, 30)) / 100,
            price=price,
            time_in_force=TimeInForce.GTC
            if price is None
            else self.random.choice(
                (TimeInForce.GTC, TimeInForce.GTC, TimeInForce.POST_ONLY, TimeInForce.IOC)
            ),
            link_id=self.ids.next(),
        )
        self.keys.append(order.key)
        self._send(self.requests.begin_create(order.key, order.fields(), self.ids.next(), order.quantity))
        self.orders.append(order)

    def _price(self, side: Side) -> Decimal:
        """Mostly one at which an order rests for a while."""
        return self.mid - side.sign * self.random.choice((-4, 0, 2, 30, 100, 300))

    def _create_again(self) -> None:
        """The same order once more: only what certainly is not there may be sent again."""
        if not self.orders:
            return
        order = self.random.choice(self.orders[-8:])
        twins = [r for r in self.made if r.op is Op.CREATE and r.key == order.key]
        try:
            again = self.requests.begin_create(order.key, order.fields(), self.ids.next(), order.quantity)
        except Refused:
            self.refused += 1
            return
        for twin in twins:
            assert twin.outcome is not None, f"{again} was begun while {twin} was in doubt"
            assert twin.outcome.kind is not OutcomeKind.ACKED, f"{again} is there already: {twin}"
        self.sent_again += 1
        self._send(again)

    def _key(self) -> OrderKey | None:
        if not self.keys:
            return None
        key = self.random.choice(self.keys[-12:])
        order = self.account.order(key.category, link_id=key.link_id)
        if order is not None and self.random.random() < 0.3:
            return OrderKey(key.category, key.symbol, order.order_id, "")
        return key

    def _amend(self) -> None:
        key = self._key()
        if key is None:
            return
        change = Change(
            price=self._price(self.random.choice((Side.BUY, Side.SELL)))
            if self.random.random() < 0.8
            else None,
            quantity=D(self.random.randint(1, 40)) / 100,
        )
        fields = key.fields() | change.wire()
        try:
            request = self.requests.begin(Op.AMEND, key, fields, self.ids.next(), change.wire())
        except Refused:
            self.refused += 1
            return
        self._send(request)

    def _cancel(self) -> None:
        key = self._key()
        if key is None:
            return
        try:
            request = self.requests.begin(Op.CANCEL, key, key.fields(), self.ids.next())
        except Refused:
            self.refused += 1
            return
        self._send(request)

    def _send(self, request: OrderRequest) -> None:
        self.made.append(request)
        if self._chance(0.1):
            self.requests.not_sent(request, "the socket was closed")
            return
        self.requests.sending(request, self.client_ms, WINDOW_MS)
        self.sent[request.request_id] += 1
        if self._chance(0.4):
            return  # lost on the way there
        connection = self._connection
        slowly = self._chance(0.5)
        self._later(0, 6_000 if slowly else 30, lambda: self._arrive(request, connection))

    def _arrive(self, request: OrderRequest, connection: int) -> None:
        code, order_id = 0, ""
        if not is_timely(request.timestamp_ms, request.window_ms, self.now_ms):
            code = 10002
        elif self._chance(0.05):
            code = 10016
        else:
            try:
                order = getattr(self.venue, request.op.value.removeprefix("order."))(
                    UID, request.fields, self.now_ms
                )
                order_id = order.order_id
            except Refusal as refusal:
                code = refusal.code
        self.truth[request.request_id] = (
            "acked" if code == 0 else "unanswered" if code == 10016 else "refused"
        )
        if code == 0 and self._chance(0.05):
            code = 10016
        copies = 2 if self._chance(0.1) else 1
        if self._chance(0.4):
            return  # the answer is lost
        for _ in range(copies):
            self._later(
                0,
                8_000 if self._chance(0.4) else 30,
                lambda: self._reply(request, code, order_id, connection),
            )

    def _reply(self, request: OrderRequest, code: int, order_id: str, connection: int) -> None:
        if connection == self._connection:
            self.requests.on_reply(request.request_id, code, "words", order_id, self.client_ms)

    def _disconnect(self) -> None:
        self._connection += 1
        sent = [request for request in self.requests.open if request.state is RequestState.SENT]
        self.requests.lose(sent, self.client_ms)

    # -- what comes back -----------------------------------------------------------------------------------

    def _tell(self) -> None:
        for event in self.venue.take_events():
            row = event.row
            if event.topic == "order":
                key = Category(row["category"]), row["orderId"]
                self._rows.setdefault(key, []).append((self.now_ms, row))
            if self._chance(0.5):
                continue  # lost
            take = {
                "order": lambda row=row: self.requests.on_order(row, self.client_ms),
                "execution": lambda row=row: self._fill(row),
                "position": lambda row=row: self.account.on_position(row),
                "wallet": lambda row=row, told_ms=self.now_ms: self.account.on_wallet(row, told_ms),
            }[event.topic]
            for _ in range(2 if self._chance(0.2) else 1):
                self._later(0, 8_000 if self._chance(0.5) else 20, take)

    def _fill(self, row: dict[str, Any]) -> None:
        fill = self.account.on_execution(row)
        if fill is not None:
            self.requests.on_fill(fill, self.client_ms)

    def _stored(self, age_ms: int) -> list[dict[str, Any]]:
        """Each order's latest row as REST sees it, which may be some time behind."""
        found = []
        for rows in self._rows.values():
            visible = [row for moment, row in rows if moment <= self.now_ms - age_ms]
            if visible:
                found.append({key: value for key, value in visible[-1].items() if key != "category"}
                             | {"_category": visible[-1]["category"]})  # fmt: skip
        return found

    def _ask(self, lookup: Lookup) -> None:
        self._later(0, 1_500 if self._chance() else 50, lambda: self._answer(lookup))

    def _answer(self, lookup: Lookup) -> None:
        if self._chance():
            self.requests.on_lookup(lookup, None, self.client_ms)
            return
        key = lookup.key
        name, value = ("orderId", key.order_id) if key.order_id else ("orderLinkId", key.link_id)
        age_ms = self.random.randint(0, 999) if self._chance(2) else 0
        rows = [
            row for row in self._stored(age_ms) if row["_category"] == key.category and row[name] == value
        ]
        self.requests.on_lookup(lookup, rows, self.client_ms)

    def _reload(self) -> None:
        """What is done once a private socket is there again."""
        asked_ms = self.client_ms
        self._later(0, 300, lambda: self._load(asked_ms))

    def reload_now(self) -> None:
        self._load(self.client_ms)

    def _load(self, asked_ms: int) -> None:
        account = self.venue.accounts[UID]
        for category in (Category.LINEAR, Category.SPOT):
            rows = [order_row(o) for o in account.orders.values() if o.rules.category is category]
            self.requests.on_open_orders(category, rows, asked_ms, self.client_ms)
        for position in account.positions.values():
            row = rest_position_row(self.venue.position_row(account, position))
            self.account.on_position(row, category=Category.LINEAR)
        self.account.on_wallet(self.venue.wallet_row(account), self.now_ms, is_whole=True)

    # -- the truth -----------------------------------------------------------------------------------------

    def truth_of(self, request: OrderRequest) -> str:
        """What happened to a request: ``acked``, ``refused``, ``unanswered``, or ``never`` when it didn't arrive."""
        return self.truth.get(request.request_id, "never")

    def actual(self, order: LiveOrder) -> dict[str, Any]:
        """The exchange's own row of an order."""
        found = self.venue.accounts[UID].find(order.category, order.order_id, "")
        assert found is not None, order
        return order_row(found)
