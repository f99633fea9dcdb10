"""The straight way against the long one while everything changes: rows, answers, filters, limits, quotes and time.

`test_plain_orders` draws one order in one state; here one desk lives through many, numbers have up to 45 decimals, and
lie on and beside every limit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from random import Random
from typing import Any

import msgspec
import pytest

from engine.venue.rules import plain
from execution.desk.filters import Filters
from execution.desk.limits import Limits, Quote
from execution.desk.link_ids import LinkIds
from execution.desk.orders import CATEGORIES, NewOrder, OrderKey, Refused, Side, SmpType, TimeInForce
from execution.desk.outcomes import OrderRequest
from execution.desk.rates import RateHeaders
from execution.desk.wire import Op, message_of, write_fields
from execution.order_journal import request_line
from execution.reckoning import RECKONING
from schemas.names import Category
from tests.execution.desk.plain_desk import PlainDesk

D = Decimal
WIDE = Context(prec=120)
NARROW = Context(prec=3)
STEPS = [
    D(text)
    for text in (
        "1", "0.5", "0.1", "0.01", "0.001", "0.00001", "10", "0.25", "1E-8", "1E-12", "1E-13", "2E+3", "0.0003", "7",
        "1E+5", "1E+6", "0.000000007", "100",
    )
]  # fmt: skip
MIDDLES = (1, 10, 1_000, 50_000, 10**7, 10**9, 10**12)
MOMENTS = (0, 1, 1_760_000_000_123_456_789, 2**62)


class Life(PlainDesk):
    """One instrument's desk."""

    def __init__(self, seed: int) -> None:
        self.random = draw = Random(seed)
        self.category = draw.choice(CATEGORIES)
        self.symbol = draw.choice(["BTCUSDT", 'A"B', "X" * 64, "1\\2", "A\x01B"])
        self.tick, self.step = draw.choice(STEPS), draw.choice(STEPS)
        self.middle = draw.choice(MIDDLES)
        self.now_ms = 1_760_000_000_000 + draw.randrange(10**9)
        super().__init__(self.limits(), LinkIds(draw.getrandbits(65), draw.choice(["tb", "abcdefgh", "_"])))
        self.new_filters()
        self.rows = 0
        self.window_ms = draw.choice([100, 5_000, 60_000])
        self.found: Counter[str] = Counter()

    # -- numbers -------------------------------------------------------------------------------------------

    def one_in(self, count: int) -> bool:
        return not self.random.randrange(count)

    def odd(self, number: Decimal) -> Decimal:
        """Mostly as it is; else spelt otherwise, or a little more or less."""
        draw = self.random
        sign, places = draw.choice([-1, 1]), D(10) ** -draw.randrange(1, 45)
        match draw.randrange(14):
            case 0:
                return WIDE.add(number, sign * places)
            case 1:
                return WIDE.quantize(number, D("1E-30"))
            case 2:
                return WIDE.normalize(number)
            case 3:
                return WIDE.multiply(number, WIDE.add(1, sign * places))
            case 4:
                return WIDE.add(number, WIDE.multiply(self.tick, D(draw.randint(-9, 9)) / 10))
        return number

    def price(self) -> Decimal:
        low = max(1, self.middle * 9 // 10)
        return WIDE.multiply(self.tick, self.random.randint(low, self.middle * 11 // 10 + 1))

    def size(self) -> Decimal:
        return WIDE.multiply(
            self.step, self.random.randint(1, self.random.choice([1, 10, 1_000, 10**6, 10**12]))
        )

    def worth(self) -> Decimal:
        unit = D(1) if self.category is Category.INVERSE else self.price()
        return self.odd(WIDE.multiply(unit, self.size())).copy_abs() or D(1)

    def perhaps(self, number: Callable[[], Decimal], one_in: int) -> Decimal | None:
        return self.odd(number()).copy_abs() or D(1) if self.one_in(one_in) else None

    # -- what changes --------------------------------------------------------------------------------------

    def limits(self) -> Limits:
        draw = self.random
        return Limits(
            order_notional=self.perhaps(self.worth, 2),
            position_notional=self.perhaps(self.worth, 2),
            requests_per_second=draw.choice([None, None, 2, 10, 50]),
            collar=draw.choice([None, D("0.5"), D("0.01"), D("0.00333"), D("1E-9"), D("1E-11"), D("0.999")]),
            daily_loss=None,
            order_quantity={self.symbol: self.size()} if self.one_in(4) else {},
            quote_age_ms=draw.choice([1, 1_000]),
        )

    def new_limits(self) -> None:
        self.gate.limits = self.limits()

    def new_quantity(self) -> None:
        quantities = self.gate.limits.order_quantity
        assert isinstance(quantities, dict)
        quantities.clear()
        if self.one_in(2):
            quantities[self.symbol] = self.size()

    def new_filters(self) -> None:
        if self.one_in(5):
            self.tick, self.step = self.random.choice(STEPS), self.random.choice(STEPS)
        self.filters = self.known[self.category, self.symbol] = Filters(
            category=self.category,
            symbol=self.symbol,
            status=self.random.choice(["Trading"] * 10 + ["", "PreLaunch", "Closed"]),
            base_coin="BTC",
            quote_coin="USDT",
            settle_coin="USDT",
            tick_size=self.tick,
            quantity_step=self.step,
            minimum_price=self.price() if self.one_in(8) else self.tick,
            maximum_price=self.perhaps(self.price, 5),
            minimum_quantity=self.size() if self.one_in(6) else D(0),
            maximum_limit=self.perhaps(self.size, 5),
            maximum_market=self.perhaps(self.size, 5),
            maximum_post_only=self.perhaps(self.size, 5),
            minimum_notional=self.worth() if self.one_in(4) else D(0),
        )

    def new_quote(self) -> None:
        bid = self.price()
        ask = bid if self.one_in(12) else WIDE.add(bid, self.tick * self.random.randint(-1, 20))
        age: Any = self.random.choice([0, 0, 0, 1, 2, 1_000, 1_001, 999.5, 1_000.5])
        self.quote = None if self.one_in(12) else Quote(self.odd(bid) if self.one_in(12) else bid, ask, age)

    def later(self) -> None:
        self.now_ms += self.random.choice([1, 400, 1_001])

    def position(self) -> None:
        self.rows += 1
        row = {
            "category": self.category.value,
            "symbol": self.symbol,
            "positionIdx": self.random.choice([0, 1, 2]),
            "side": self.random.choice(["Buy", "Sell", ""]),
            "size": plain(self.size()),
            "entryPrice": "1",
            "seq": self.rows,
        }
        self.account.on_position(row)

    def coins(self) -> None:
        balance = self.random.choice(["", "", "-"]) + plain(self.size())
        self.account.on_wallet({"coin": [{"coin": "BTC", "walletBalance": balance}]}, self.now_ms)

    def order_row(self) -> None:
        draw = self.random
        row = {
            "category": self.category.value,
            "symbol": self.symbol,
            "orderId": f"o{draw.randrange(20)}",
            "orderLinkId": draw.choice(["", "mine", f"own{draw.randrange(50)}"]),
            "side": draw.choice(["Buy", "Sell"]),
            "orderStatus": draw.choice(["New", "PartiallyFilled", "Filled", "Cancelled"]),
            "price": "1",
            "qty": plain(self.size()),
            "positionIdx": draw.choice([0, 1, 2]),
            "reduceOnly": self.one_in(5),
            "updatedTime": str(self.now_ms),
        }
        self.requests.on_order(row, self.now_ms)

    def answer(self) -> None:
        if self.requests.open:
            request = self.random.choice(self.requests.open)
            code, name = self.random.choice([0, 0, 110_007]), request.request_id
            self.requests.on_reply(name, code, "words", f"x{name}", self.now_ms)
            self.rates.answered(request.key.category, request.op, request.timestamp_ms, self.now_ms)

    def headers(self) -> None:
        draw = self.random
        headers = RateHeaders(
            draw.choice([10, 1_000]), draw.choice([0, 1, 5]), self.now_ms + draw.choice([-1, 500])
        )
        self.rates.on_headers(self.category, Op.CREATE, headers, self.now_ms)

    # -- orders --------------------------------------------------------------------------------------------

    def near_price(self) -> Decimal:
        """Near the book, or at the end of the collar."""
        quote, collar = self.quote, self.gate.limits.collar
        if quote is None or self.one_in(8):
            return self.price()
        if collar is not None and self.one_in(4):
            return (
                WIDE.multiply(quote.ask, 1 + collar)
                if self.one_in(2)
                else WIDE.multiply(quote.bid, 1 - collar)
            )
        return WIDE.add(self.random.choice([quote.bid, quote.ask]), self.tick * self.random.randint(-50, 50))

    def near_size(self, price: Decimal) -> Decimal:
        """Any, or a step beside what a limit allows."""
        limits, filters = self.gate.limits, self.filters
        worths = [w for w in (limits.order_notional, limits.position_notional, filters.minimum_notional) if w]
        sizes = [s for s in (filters.maximum_limit, filters.maximum_market, filters.minimum_quantity) if s]
        if worths and price > 0 and self.one_in(3):
            unit = D(1) if self.category is Category.INVERSE else price
            steps = WIDE.divide(self.random.choice(worths), WIDE.multiply(unit, self.step))
            steps = steps.to_integral_value(context=WIDE) + self.random.randint(-1, 1)
            return WIDE.multiply(steps, self.step)
        return self.random.choice(sizes) if sizes and self.one_in(5) else self.size()

    def order(self) -> NewOrder:
        draw, is_spot, at_market = self.random, self.category is Category.SPOT, self.one_in(5)
        price = self.near_price()
        next_name = f"{self.ids._stem}{self.ids._given + draw.randint(1, 3):x}"
        return NewOrder(
            category=self.category,
            symbol=self.symbol,
            side=draw.choice([Side.BUY, Side.SELL]),
            quantity=self.odd(self.near_size(price)),
            price=None if at_market else self.odd(price),
            time_in_force=TimeInForce.IOC if at_market else draw.choice(list(TimeInForce)),
            position_index=0 if is_spot else draw.choice([0, 0, 1, 2]),
            reduce_only=not is_spot and self.one_in(6),
            smp_type=draw.choice(list(SmpType)),
            link_id=draw.choice(["", "", "", "mine", f"own{draw.randrange(50)}", next_name]),
            take_profit=self.price() if self.one_in(60) else None,
            in_quote_coin=is_spot and at_market and self.one_in(3),
        )

    def long(self, order: NewOrder, name: str, line: int, now_ns: int) -> tuple[bytes, bytes, OrderRequest]:
        """As `execution.entry` and `execution.sender` go, beginning nothing; raises Refused where they would."""
        filters, quote = self.filters, self.quote
        order = filters.rounded(order)
        opposite = None if quote is None else quote.ask if order.side is Side.BUY else quote.bid
        filters.check(order, None if order.price is not None else opposite)
        self.gate.check(order, filters, self.now_ms)
        if self.rates.wait_ms(order.category, Op.CREATE, self.now_ms):
            raise Refused("rate", "wait")
        key = OrderKey(order.category, order.symbol, "", order.link_id or name)
        if not self.requests.is_new(key.category, key.link_id):
            raise Refused("name", "it is known")
        fields = order.fields() | {"orderLinkId": key.link_id}
        request = OrderRequest(name, Op.CREATE, key, fields, quantity=order.quantity)
        request.timestamp_ms, request.window_ms = self.now_ms, self.window_ms
        written = write_fields(fields)
        return (
            request_line(line, now_ns, request, written, "socket"),
            message_of(Op.CREATE, written, name, self.now_ms, self.window_ms),
            request,
        )

    def send(self) -> None:
        try:
            order = self.order()
        except Refused:
            return
        line, now_ns = self.random.choice([0, 17, 10**6, 2**62]), self.random.choice(MOMENTS)
        with localcontext(NARROW):  # the caller's, whose the straight way mustn't be
            straight = self.plain.write(order, self.now_ms, self.window_ms, line, now_ns)
        if straight is None:
            try:
                request = self.long(order, self.ids.next(), line, now_ns)[2]
            except Refused as refusal:
                self.found[refusal.rule] += 1
                return
            except ArithmeticError:
                return
            self.found["allowed, and not plain"] += 1
        else:
            name, *texts = straight
            *expected, request = self.long(order, name, line, now_ns)
            assert texts == expected
            # as `OrderEntry` begins it: by what was sent
            fields = msgspec.json.decode(texts[1])["args"][0]
            assert (fields, D(fields["qty"])) == (request.fields, request.quantity)
            self.found["plain"] += 1
        if not self.one_in(3):
            assert request.quantity is not None
            begun = self.requests.begin_create(
                request.key, request.fields, request.request_id, request.quantity
            )
            self.requests.sending(begun, self.now_ms, self.window_ms)
            self.rates.count(self.category, Op.CREATE, self.now_ms, self.now_ms + self.window_ms)
            self.gate.sent(self.now_ms)

    def live(self, steps: int) -> None:
        changes = [
            self.new_limits, self.new_quantity, self.new_filters, self.new_quote, self.later, self.coins,
            self.order_row, self.answer, self.headers,
        ]  # fmt: skip
        if self.category is not Category.SPOT:
            changes.append(self.position)
        for _ in range(steps):
            self.random.choice([*changes, *[self.send] * 9])()


def lives(seeds: range) -> Counter[str]:
    found: Counter[str] = Counter()
    with localcontext(RECKONING):
        for seed in seeds:
            life = Life(seed)
            life.live(60)
            found += life.found
    return found


def test_what_is_plain_is_allowed_whatever_happened_before() -> None:
    found = lives(range(1_500))
    rules = (
        "status", "price", "minimum quantity", "maximum quantity", "minimum notional", "price collar", "quantity",
        "rate", "requests per second", "order notional", "order quantity", "position", "name", "allowed, and not plain",
    )  # fmt: skip
    assert all(found[rule] for rule in rules), found
    assert found["plain"] > 1_000, found


@pytest.mark.slow
def test_the_same_for_long() -> None:
    assert lives(range(10_000, 110_000))["plain"] > 60_000
