"""The straight way against the long one: what is plain is allowed there too, and written byte for byte the same."""

from __future__ import annotations

from collections import Counter
from decimal import Context, Decimal
from random import Random
from typing import Any

import msgspec
import pytest

from engine.venue.rules import plain
from execution.desk.filters import Filters
from execution.desk.limits import Limits, Quote
from execution.desk.link_ids import LinkIds
from execution.desk.orders import NewOrder, OrderKey, Refused, Side, SmpType, TimeInForce
from execution.desk.rates import RateHeaders
from execution.desk.wire import Op, message_of, write_fields
from execution.order_journal import request_line
from schemas.names import Category
from tests.execution.desk.plain_desk import PlainDesk
from tests.execution.desk.test_filters import LINEAR

D = Decimal
NOW = 1_760_000_000_000
WINDOW = 5_000
LINE = 17
AT_NS = 1_760_000_000_123_456_789
Texts = tuple[str, bytes, bytes]

LIMITS = Limits(
    order_notional=D(10_000),
    position_notional=D(20_000),
    requests_per_second=5,
    collar=D("0.01"),
    daily_loss=None,
)


class Desk(PlainDesk):
    """Everything that a new order is held against."""

    def __init__(
        self, filters: Filters = LINEAR, limits: Limits = LIMITS, quote: Quote | None = None, run: int = 7
    ) -> None:
        super().__init__(limits, LinkIds(run), quote)
        self.filters = filters
        self.known[filters.category, filters.symbol] = filters

    def order(self, **more: Any) -> NewOrder:
        values: dict[str, Any] = {
            "category": self.filters.category,
            "symbol": self.filters.symbol,
            "side": Side.BUY,
            "quantity": D("0.1"),
            "price": D(50_000),
        }
        return NewOrder(**(values | more))

    def straight(self, order: NewOrder) -> Texts | None:
        return self.plain.write(order, NOW, WINDOW, LINE, AT_NS)

    def long(self, order: NewOrder) -> Texts:
        """As `execution.entry` and `execution.sender` go; raises Refused where they would."""
        rounded = self.filters.rounded(order)
        quote = self.quote
        opposite = None if quote is None else quote.ask if order.side is Side.BUY else quote.bid
        self.filters.check(rounded, None if rounded.price is not None else opposite)
        self.gate.check(rounded, self.filters, NOW)
        if self.rates.wait_ms(order.category, Op.CREATE, NOW):
            raise Refused("rate", "wait")
        request_id = self.ids.next()
        fields = rounded.fields()
        link_id = rounded.link_id
        if not link_id:
            fields["orderLinkId"] = link_id = request_id
        key = OrderKey(order.category, order.symbol, "", link_id)
        request = self.requests.begin_create(key, fields, request_id, rounded.quantity)
        self.requests.sending(request, NOW, WINDOW)
        written = write_fields(fields)
        line = request_line(LINE, AT_NS, request, written, "socket")
        return request_id, line, message_of(Op.CREATE, written, request_id, NOW, WINDOW)

    def send(self, order: NewOrder) -> None:
        """Let an order go out the long way, and leave it open."""
        self.long(order)
        self.rates.count(order.category, Op.CREATE, NOW, NOW + WINDOW)
        self.gate.sent(NOW)

    def rest(self, number: int, side: str, quantity: Decimal, index: int = 0, **more: Any) -> None:
        row = {
            "category": self.filters.category.value,
            "symbol": self.filters.symbol,
            "orderId": f"o{number}",
            "side": side,
            "orderStatus": "New",
            "price": "1",
            "qty": plain(quantity),
            "positionIdx": index,
            **more,
        }
        assert self.account.on_order(row, NOW) is not None

    def hold(self, side: str, size: Decimal, index: int = 0) -> None:
        row = {
            "category": self.filters.category.value,
            "symbol": self.filters.symbol,
            "positionIdx": index,
            "side": side,
            "size": plain(size),
            "entryPrice": "1",
            "seq": 1,
        }
        assert self.account.on_position(row) is not None

    def own(self, coin: str, balance: Decimal) -> None:
        self.account.on_wallet({"coin": [{"coin": coin, "walletBalance": plain(balance)}]}, NOW)


QUOTE = Quote(D("49999.9"), D(50_000))


def same(desk: Desk, order: NewOrder) -> Texts:
    """An order that is plain, written as the long way writes it."""
    straight = desk.straight(order)
    assert straight is not None
    given_before = desk.ids._given
    desk.ids._given -= 1  # the long way gives the same name once more
    assert desk.long(order) == straight
    assert desk.ids._given == given_before
    return straight


# -- one by one --------------------------------------------------------------------------------------------


def test_a_plain_order_is_written_as_the_long_way_writes_it() -> None:
    desk = Desk(quote=QUOTE)
    name, line, message = same(desk, desk.order())
    assert line.endswith(b"\n")
    assert msgspec.json.decode(line)["request"]["request_id"] == name
    sent = msgspec.json.decode(message)
    assert sent["args"] == [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Limit",
            "qty": "0.1",
            "price": "50000",
            "timeInForce": "GTC",
            "orderLinkId": name,
        }
    ]


def test_nothing_is_changed_by_looking() -> None:
    desk = Desk(quote=QUOTE)
    assert desk.straight(desk.order()) is not None
    assert desk.requests.is_settled
    assert not desk.gate.recent
    assert desk.rates.bucket(Category.LINEAR, Op.CREATE).used == 0
    assert desk.straight(desk.order(price=D(90_000))) is None
    assert desk.ids._given == 1, "and no name is given to what is left to the long way"


@pytest.mark.parametrize(
    "more",
    [
        {"side": Side.SELL},
        {"time_in_force": TimeInForce.POST_ONLY},
        {"time_in_force": TimeInForce.FOK},
        {"link_id": "my-own_name"},
        {"position_index": 1},
        {"position_index": 2},
        {"position_index": 1, "link_id": "mine"},
        {"reduce_only": True, "quantity": D(3)},  # what only closes has no limit here
        {"smp_type": SmpType.CANCEL_MAKER},
        {"price": None},
        {"price": None, "side": Side.SELL, "time_in_force": TimeInForce.IOC},
        {
            "price": None,
            "reduce_only": True,
            "smp_type": SmpType.CANCEL_BOTH,
            "link_id": "mine",
            "position_index": 2,
        },
        {"price": D("50000.10"), "quantity": D("0.100")},
        {"price": D("49900.0"), "quantity": D("0.020")},
        {"price": D("50000.01"), "quantity": D("0.0109999")},
        {"price": D("50000.01"), "side": Side.SELL},
        {"price": D("49999.999999999999999999999"), "side": Side.SELL},
        {"price": D("5E+4"), "quantity": D("0.1000000000000000000")},
        {"price": D(100_000) / 3 + D(16_000), "quantity": D(1) / 7},
    ],
)
def test_what_else_is_plain(more: dict[str, Any]) -> None:
    desk = Desk(quote=QUOTE)
    same(desk, desk.order(**more))


@pytest.mark.parametrize(
    "more",
    [
        {"price": None, "category": Category.SPOT},
        {"price": None, "quantity": D("0.201")},
        {"quantity": D("0.0009")},  # less than a step
        {"trigger_price": D(49_000), "trigger_rises": False},
        {"take_profit": D(60_000)},
        {"stop_loss": D(40_000)},
        {"reduce_only": True, "close_on_trigger": True, "quantity": D(0)},
        {"close_on_trigger": True},
        {"slippage_ticks": 5, "price": None},
        {"symbol": "ETHUSDT"},
        {"category": Category.INVERSE},
        {"quantity": D("0.201")},  # worth more than an order may be
        {"price": D("50500.1")},  # beyond the collar
        {"side": Side.SELL, "price": D("49499.9")},
        {"quantity": D("0.001"), "price": D(1)},  # worth less than the exchange takes
        {"quantity": D("1234567890123456789"), "price": D("1")},
    ],
)
def test_what_is_left_to_the_long_way(more: dict[str, Any]) -> None:
    desk = Desk(quote=QUOTE)
    assert desk.straight(desk.order(**more)) is None
    assert desk.straight(desk.order()) is not None


def test_limits_are_reached_and_not_passed() -> None:
    desk = Desk(quote=QUOTE)
    same(desk, desk.order(quantity=D("0.2")))  # 10,000
    assert desk.straight(desk.order(quantity=D("0.201"))) is None
    desk = Desk(quote=QUOTE)
    same(desk, desk.order(price=D(50_500), quantity=D("0.01")))  # 1 % above the best ask
    assert desk.straight(desk.order(price=D("50500.1"), quantity=D("0.01"))) is None


@pytest.mark.parametrize(
    ("name", "enough", "not_enough"),
    [
        ("minimum_price", "50000.1", "50000.2"),
        ("maximum_price", "50000.1", "50000"),
        ("minimum_quantity", "0.2", "0.201"),
        ("maximum_limit", "0.2", "0.199"),
        ("minimum_notional", "10000.02", "10000.0201"),
        ("order_notional", "10000.02", "10000.0199"),
        ("position_notional", "10000.02", "10000.0199"),
    ],
)
def test_each_limit_to_its_last_place(name: str, enough: str, not_enough: str) -> None:
    """0.2 at 50000.1 are worth 10000.02."""
    for value, is_plain in ((enough, True), (not_enough, False)):
        filters, limits = LINEAR, msgspec.structs.replace(LIMITS, order_notional=None)
        if name in Filters.__struct_fields__:
            filters = msgspec.structs.replace(filters, **{name: D(value)})
        else:
            limits = msgspec.structs.replace(limits, **{name: D(value)})
        desk = Desk(filters, limits, QUOTE)
        order = desk.order(price=D("50000.1"), quantity=D("0.2"))
        if is_plain:
            same(desk, order)
        else:
            assert desk.straight(order) is None
            with pytest.raises(Refused):
                desk.long(order)


@pytest.mark.parametrize(
    ("side", "name", "enough", "not_enough"),
    [
        (Side.BUY, "order_notional", "10000", "9999.9999"),
        (Side.SELL, "order_notional", "9999.98", "9999.9799"),
        (Side.BUY, "minimum_notional", "10000", "10000.0001"),
        (Side.SELL, "minimum_notional", "9999.98", "9999.9801"),
    ],
)
def test_an_order_at_the_market_is_worth_what_the_other_side_of_the_book_says(
    side: Side, name: str, enough: str, not_enough: str
) -> None:
    for value, is_plain in ((enough, True), (not_enough, False)):
        filters, limits = LINEAR, LIMITS
        if name in Filters.__struct_fields__:
            filters = msgspec.structs.replace(filters, **{name: D(value)})
        else:
            limits = msgspec.structs.replace(limits, **{name: D(value)})
        desk = Desk(filters, limits, QUOTE)
        order = desk.order(price=None, side=side, quantity=D("0.2"))
        if is_plain:
            same(desk, order)
        else:
            assert desk.straight(order) is None
            with pytest.raises(Refused):
                desk.long(order)


def test_coins_in_smaller_parts_than_orders_count_as_a_little_more() -> None:
    limits = msgspec.structs.replace(LIMITS, order_notional=None, position_notional=D(50_000))
    spot = msgspec.structs.replace(LINEAR, category=Category.SPOT)
    for balance, is_plain in (("0.8", True), ("0.80000000001", False), ("0.799999999", True)):
        desk = Desk(spot, limits, QUOTE)
        desk.own("BTC", D(balance))
        order = desk.order(quantity=D("0.2"))  # 50,000 with 0.8
        assert (desk.straight(order) is not None) == is_plain


def test_what_is_unclear_is_left_to_the_long_way() -> None:
    spot = msgspec.structs.replace(LINEAR, category=Category.SPOT)
    desk = Desk(spot, LIMITS, QUOTE)
    order = desk.order(quantity=D("0.01"))
    assert desk.straight(order) is not None
    desk.send(
        desk.order(price=None, quantity=D(100), in_quote_coin=True)
    )  # how much it buys depends on the price
    assert desk.straight(order) is None


def test_what_is_held_open_and_under_way_counts() -> None:
    desk = Desk(quote=QUOTE)
    desk.hold("Buy", D("0.1"))
    desk.rest(1, "Buy", D("0.1"))
    desk.send(desk.order(quantity=D("0.1")))
    order = desk.order(quantity=D("0.1"))  # 0.4 at 50,000: 20,000
    assert desk.straight(desk.order(quantity=D("0.101"))) is None
    same(desk, order)
    assert desk.straight(order) is None, "the long way has begun it"


def test_of_what_is_the_other_way_the_long_way_knows_more() -> None:
    desk = Desk(quote=QUOTE)
    desk.hold("Sell", D("0.3"))
    same(desk, desk.order(quantity=D("0.2")))
    desk.rest(1, "Buy", D("0.3"))
    order = desk.order(quantity=D("0.2"))
    assert desk.straight(order) is None
    desk.long(order)


def test_names_that_are_known_are_left_to_the_long_way() -> None:
    desk = Desk(quote=QUOTE)
    order = desk.order(link_id="mine", quantity=D("0.01"))
    same(desk, order)
    assert desk.straight(order) is None


def test_rates() -> None:
    desk = Desk(quote=QUOTE)
    small = desk.order(quantity=D("0.001"))
    for _ in range(5):
        assert desk.straight(small) is not None
        desk.send(small)
    assert desk.straight(small) is None  # our own limit
    desk = Desk(limits=msgspec.structs.replace(LIMITS, requests_per_second=None), quote=QUOTE)
    bucket = desk.rates.bucket(Category.LINEAR, Op.CREATE)
    for _ in range(bucket.limit):
        assert desk.straight(small) is not None
        desk.send(small)
    assert desk.straight(small) is None  # the exchange's
    desk = Desk(quote=QUOTE)
    desk.rates.on_headers(Category.LINEAR, Op.CREATE, RateHeaders(10, 0, NOW + 1), NOW)
    assert desk.straight(small) is None
    desk.rates.on_headers(Category.LINEAR, Op.CREATE, RateHeaders(10, 1, NOW + 1), NOW)
    assert desk.straight(small) is not None


@pytest.mark.parametrize(
    "quote",
    [
        None,
        Quote(D(50_000), D(50_000)),
        Quote(D(0), D(50_000)),
        Quote(D(-1), D(50_000)),
        Quote(D("49999.9"), D(50_000), 5_001),
        Quote(D("49999.99"), D(50_000)),
    ],
)
def test_a_price_that_cannot_be_held_against_the_book(quote: Quote | None) -> None:
    desk = Desk(quote=quote)
    assert desk.straight(desk.order()) is None
    desk.quote = QUOTE
    assert desk.straight(desk.order()) is not None


def test_without_a_collar_no_book_is_needed() -> None:
    desk = Desk(limits=msgspec.structs.replace(LIMITS, collar=None))
    same(desk, desk.order())
    assert desk.straight(desk.order(price=None)) is None, "but for what an order at the market is worth"
    assert desk.straight(desk.order(side=Side.SELL)) is None, (
        "nor is what a sell brings known, at whatever limit"
    )
    with pytest.raises(Refused, match="order notional"):
        desk.long(desk.order(side=Side.SELL))
    same(desk, desk.order(side=Side.SELL, reduce_only=True))


def test_other_filters_and_limits_count_at_once() -> None:
    desk = Desk(quote=QUOTE)
    assert desk.straight(desk.order()) is not None
    desk.known[Category.LINEAR, "BTCUSDT"] = msgspec.structs.replace(LINEAR, status="Closed")
    assert desk.straight(desk.order()) is None
    desk.known[Category.LINEAR, "BTCUSDT"] = LINEAR
    assert desk.straight(desk.order()) is not None
    desk.gate.limits = msgspec.structs.replace(LIMITS, order_notional=D(4_999))
    assert desk.straight(desk.order()) is None


def test_a_limit_of_a_symbol_counts_at_once() -> None:
    desk = Desk(limits=msgspec.structs.replace(LIMITS, order_quantity={}), quote=QUOTE)
    order = desk.order(quantity=D("0.1"))
    assert desk.straight(order) is not None
    quantities = desk.gate.limits.order_quantity
    assert isinstance(quantities, dict)
    quantities["BTCUSDT"] = D("0.09")
    assert desk.straight(order) is None
    with pytest.raises(Refused, match="order quantity"):
        desk.long(order)
    quantities["BTCUSDT"] = D("0.1")
    same(desk, order)


def test_another_collar_counts_at_once_on_either_way() -> None:
    desk = Desk(quote=QUOTE)
    order = desk.order(price=D(50_600), quantity=D("0.01"))
    assert desk.straight(order) is None
    desk.gate.limits = msgspec.structs.replace(LIMITS, collar=D("0.02"))
    same(desk, order)
    desk.gate.limits = msgspec.structs.replace(LIMITS, collar=D("0.011"))
    assert desk.straight(order) is None
    with pytest.raises(Refused, match="price collar"):
        desk.long(order)


@pytest.mark.parametrize("more", [{"collar": D("0.01000000000001")}])
def test_limits_that_are_no_numbers_of_places_are_left_to_the_long_way(more: dict[str, Any]) -> None:
    desk = Desk(limits=msgspec.structs.replace(LIMITS, **more), quote=QUOTE)
    assert desk.straight(desk.order()) is None


@pytest.mark.parametrize("more", [{"tick_size": D(0)}, {"quantity_step": D(0)}, {"tick_size": D(-1)}])
def test_filters_that_no_instrument_has_are_left_to_the_long_way(more: dict[str, Any]) -> None:
    desk = Desk(msgspec.structs.replace(LINEAR, **more), quote=QUOTE)
    assert desk.straight(desk.order()) is None


def test_filters_of_something_else_are_left_to_the_long_way() -> None:
    desk = Desk(quote=QUOTE)
    desk.known[Category.LINEAR, "BTCUSDT"] = msgspec.structs.replace(LINEAR, symbol="ETHUSDT")
    assert desk.straight(desk.order()) is None
    desk.known[Category.INVERSE, "BTCUSDT"] = LINEAR
    assert desk.straight(desk.order(category=Category.INVERSE)) is None


@pytest.mark.parametrize(
    ("age_ms", "is_plain"),
    [
        (5_000, True),
        (5_001, False),
        (5_000.0, False),
        (5_000.5, False),
        (1 << 80, False),
        (float("nan"), False),
        (None, False),
    ],
)
def test_ages_that_are_too_old_or_no_whole_numbers_are_left_to_the_long_way(
    age_ms: Any, is_plain: bool
) -> None:
    desk = Desk(quote=Quote(QUOTE.bid, QUOTE.ask, age_ms))
    assert (desk.straight(desk.order()) is not None) == is_plain


def test_quotes_and_indexes_of_other_types_are_left_to_the_long_way() -> None:
    desk = Desk(quote=Quote(49_999.9, 50_000.0))  # type: ignore[arg-type]
    assert desk.straight(desk.order()) is None
    desk.quote = (QUOTE.bid, QUOTE.ask)  # type: ignore[assignment]
    assert desk.straight(desk.order()) is None
    desk.quote = QUOTE
    assert desk.straight(desk.order(position_index=1)) is not None


def test_numbers_of_many_digits_are_rounded_alike() -> None:
    desk = Desk(quote=QUOTE)
    nines = "9" * 32
    buy = same(desk, desk.order(price=D(f"49999.{nines}"), quantity=D(f"0.09{nines}")))
    fields = msgspec.json.decode(buy[2])["args"][0]
    assert (fields["price"], fields["qty"]) == ("49999.9", "0.099")
    desk = Desk(quote=QUOTE)
    sell = desk.order(side=Side.SELL, price=D(f"49999.9{'0' * 32}1"))
    assert b'"price":"50000"' in same(desk, sell)[2]


def test_a_name_that_was_guessed_is_given_to_no_other_order() -> None:
    desk = Desk(quote=QUOTE)
    guessed = LinkIds(7)
    guessed.next()
    desk.send(desk.order(link_id=guessed.next(), quantity=D("0.01")))
    assert desk.straight(desk.order(quantity=D("0.01"))) is None
    assert desk.straight(desk.order(quantity=D("0.01"))) is not None


def test_times_that_are_none() -> None:
    desk = Desk(quote=QUOTE)
    for now_ms, window_ms, number, at_ns in (
        (-1, WINDOW, LINE, AT_NS), (NOW, -1, LINE, AT_NS), (NOW, 10**12, LINE, AT_NS), (NOW, WINDOW, -1, AT_NS),
        (NOW, WINDOW, LINE, -1),
    ):  # fmt: skip
        assert desk.plain.write(desk.order(), now_ms, window_ms, number, at_ns) is None
    texts = desk.plain.write(desk.order(), 0, 0, 0, 0)
    assert texts is not None
    assert texts[1].startswith(b'{"n":0,"at_ns":0,')


def test_numbers_of_a_kind_of_their_own_are_left_to_the_long_way() -> None:
    class Price(Decimal):
        def __str__(self) -> str:
            return "1"

    desk = Desk(quote=QUOTE)
    assert desk.straight(desk.order(price=Price(50_000))) is None


# -- by chance ---------------------------------------------------------------------------------------------

STEPS = [D(text) for text in ("1", "0.5", "0.1", "0.001", "0.00001", "10", "0.25", "1E-8", "1E-13", "2E+3")]
CASES = 4_000
EXACT = Context(prec=60)


class Chance:
    """Instruments, limits, accounts and orders in which each rule decides now and then, and most allow."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.tick, self.step = self.random.choice(STEPS), self.random.choice(STEPS)

    def one_in(self, count: int) -> bool:
        return not self.random.randrange(count)

    def number(self, step: Decimal, least: int, most: int) -> Decimal:
        """Mostly whole steps, spelt in different ways."""
        number = step * self.random.randint(least, most)
        if self.one_in(50):
            number += min(step, self.random.choice(STEPS))
        if self.one_in(20):
            number = EXACT.quantize(number, D("1E-30")) if self.one_in(2) else number.normalize()
        return number

    def price(self) -> Decimal:
        return self.number(self.tick, 8_000, 100_000)

    def size(self) -> Decimal:
        return self.number(self.step, 1, 1_000)

    def perhaps(self, step: Decimal, least: int, most: int) -> Decimal | None:
        return None if self.one_in(2) else self.number(step, least, most)

    def filters(self) -> Filters:
        category = self.category()
        worth = self.step if category is Category.INVERSE else self.tick * self.step * 50_000
        return Filters(
            category=category,
            symbol=self.random.choice(["BTCUSDT", 'A"B']),
            status=self.random.choice(["Trading"] * 10 + ["", "PreLaunch", "Closed"]),
            base_coin="BTC",
            quote_coin="USDT",
            settle_coin="USDT",
            tick_size=self.tick,
            quantity_step=self.step,
            minimum_price=self.number(self.tick, 1, 9_000),
            maximum_price=self.perhaps(self.tick, 90_000, 200_000),
            minimum_quantity=self.number(self.step, 1, 50),
            maximum_limit=self.perhaps(self.step, 900, 2_000),
            maximum_market=self.perhaps(self.step, 700, 2_000),
            maximum_post_only=self.perhaps(self.step, 800, 2_000),
            minimum_notional=D(0) if self.one_in(2) else self.number(worth, 1, 100),
        )

    def category(self) -> Category:
        return self.random.choice([Category.LINEAR, Category.INVERSE, Category.SPOT, Category.OPTION])

    def limits(self, filters: Filters) -> Limits:
        worth = self.step if filters.category is Category.INVERSE else self.tick * self.step * 50_000
        return Limits(
            order_notional=self.perhaps(worth, 500, 3_000),
            position_notional=self.perhaps(worth, 500, 6_000),
            requests_per_second=self.random.choice([None, 2, 10]),
            collar=self.random.choice([None, D("0.5"), D("0.01"), D("0.00333"), D("0.00000000001")]),
            daily_loss=None,
            order_quantity={filters.symbol: self.number(self.step, 500, 2_000)} if self.one_in(4) else {},
            quote_age_ms=1_000,
        )

    def quote(self, price: Decimal) -> Quote | None:
        if self.one_in(10):
            return None
        bid = self.price() if self.one_in(10) else price + self.tick * self.random.randint(-200, 200)
        ask = bid + self.tick * self.random.randint(0, 20)
        return Quote(bid, ask, self.random.choice([0, 0, 0, 1_000, 1_001]))

    def order(self, filters: Filters, price: Decimal) -> dict[str, Any]:
        return {
            "category": filters.category,
            "symbol": filters.symbol,
            "side": self.side(),
            "quantity": self.size(),
            "price": None if (at_market := self.one_in(5)) else price,
            "time_in_force": TimeInForce.IOC if at_market else self.random.choice(list(TimeInForce)),
            "reduce_only": filters.category is not Category.SPOT and self.one_in(6),
            "smp_type": self.random.choice(list(SmpType)),
            "position_index": self.index(filters),
            "link_id": self.random.choice(["", "", "mine", "other"]),
        }

    def side(self) -> Side:
        return self.random.choice([Side.BUY, Side.SELL])

    def index(self, filters: Filters) -> int:
        return 0 if filters.category is Category.SPOT else self.random.choice([0, 0, 1, 2])

    def case(self) -> tuple[Desk, NewOrder]:
        filters, price = self.filters(), self.price()
        desk = Desk(filters, self.limits(filters), self.quote(price), self.random.getrandbits(65))
        if self.one_in(4):
            price += self.tick * self.random.randint(-99, 99) / 100
        for number in range(self.random.choice([0, 0, 1, 2])):
            more = {"reduceOnly": True} if self.one_in(5) else {}
            desk.rest(number, self.side().value, self.size(), self.index(filters), **more)
        if filters.category is Category.SPOT:
            desk.own("BTC", self.size() * self.random.choice([1, 1, -1]))
        elif self.one_in(2):
            desk.hold(self.side().value, self.size(), self.index(filters))
        for _ in range(self.random.choice([0, 0, 1, 2])):
            earlier = self.order(filters, price) | {"link_id": self.random.choice(["", "other"])}
            try:
                desk.send(NewOrder(**earlier))
            except Refused:
                continue
        return desk, NewOrder(**self.order(filters, price))


def test_what_is_plain_is_allowed_and_written_the_same() -> None:
    found: Counter[str] = Counter()
    for seed in range(CASES):
        desk, order = Chance(seed).case()
        if desk.straight(order) is not None:
            desk.ids._given -= 1
            same(desk, order)
            found["plain"] += 1
            continue
        try:
            desk.long(order)
        except Refused as refusal:
            found[refusal.rule] += 1
        else:
            found["allowed, and not plain"] += 1
    rules = (
        "status", "price", "minimum quantity", "maximum quantity", "minimum notional", "price collar",
        "requests per second", "order notional", "order quantity", "position", "in doubt",
    )  # fmt: skip
    assert found["plain"] > CASES / 5, found
    assert all(found[rule] for rule in rules), found
