"""Limits refuse before the wire, each for what it is there for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from execution.desk.filters import parse_filters
from execution.desk.limits import Limits, Quote, RiskGate
from execution.desk.live import LiveAccount, LiveOrder
from execution.desk.orders import Change, NewOrder, Refused, Side
from execution.desk.outcomes import OrderRequest
from execution.desk.wire import Op
from schemas.errors import ConfigError
from schemas.names import Category
from tests.execution.desk.test_filters import LINEAR, LINEAR_ROW, SPOT

D = Decimal
NOW = 1_760_000_000_000
OPEN: dict[str, Any] = {
    "order_notional": None,
    "position_notional": None,
    "requests_per_second": None,
    "collar": None,
    "daily_loss": None,
}
QUOTE = Quote(D(49_990), D(50_010))


class Bench:
    def __init__(self, **limits: Any) -> None:
        self.account = LiveAccount()
        self.quote: Quote | None = QUOTE
        self.unseen: list[OrderRequest] = []
        self.gate = RiskGate(
            Limits(**(OPEN | limits)), self.account, lambda *_: self.quote, lambda: self.unseen
        )

    def check(self, filters: Any = LINEAR, **more: Any) -> None:
        values: dict[str, Any] = {"side": Side.BUY, "quantity": D("0.1"), "price": D(50_000)}
        order = NewOrder(category=filters.category, symbol=filters.symbol, **(values | more))
        self.gate.check(order, filters, NOW)

    def refused(self, rule: str, filters: Any = LINEAR, **more: Any) -> None:
        with pytest.raises(Refused) as caught:
            self.check(filters, **more)
        assert caught.value.rule == rule

    def rest(self, side: str, quantity: str, identity: str = "o1", **more: Any) -> LiveOrder:
        row = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "orderId": identity,
            "side": side,
            "orderStatus": "New",
            "price": "50000",
            "qty": quantity,
            "positionIdx": 0,
            **more,
        }
        order = self.account.on_order(row, NOW)
        assert order is not None
        return order

    def hold(self, side: str, size: str, index: int = 0, entry: str = "50000", sequence: int = 1) -> None:
        self.account.on_position(
            {
                "category": "linear",
                "symbol": "BTCUSDT",
                "positionIdx": index,
                "side": side,
                "size": size,
                "entryPrice": entry,
                "seq": sequence,
            }
        )


def test_without_limits_everything_passes_even_without_a_book() -> None:
    bench = Bench()
    bench.quote = None
    bench.check(quantity=D(1000))
    bench.check(price=None)


def test_order_notional_and_quantity() -> None:
    bench = Bench(order_notional=D(5_000), order_quantity={"BTCUSDT": D("0.05")})
    bench.check(quantity=D("0.05"))
    bench.refused("order notional", quantity=D("0.101"))
    bench.refused("order notional", price=None, quantity=D("0.1"))  # at the ask
    bench.refused("order quantity", quantity=D("0.06"))
    bench.check(SPOT, price=None, in_quote_coin=True, quantity=D(2_000))
    bench.refused("order notional", SPOT, price=None, in_quote_coin=True, quantity=D(5_001))


def test_a_market_order_is_worth_nothing_known_without_a_book() -> None:
    bench = Bench(order_notional=D(5_000))
    bench.quote = None
    bench.refused("order notional", price=None)


@pytest.mark.parametrize(
    ("side", "price", "passes"),
    [
        (Side.BUY, "50510.1", True),
        (Side.BUY, "50510.2", False),
        (Side.SELL, "49490.1", True),
        (Side.SELL, "49490.0", False),
        # far away on the passive side harms nobody
        (Side.BUY, "10000", True),
        (Side.SELL, "90000", True),
    ],
)
def test_the_collar_stops_prices_beyond_the_market(side: Side, price: str, passes: bool) -> None:
    bench = Bench(collar=D("0.01"))
    if passes:
        bench.check(side=side, price=D(price))
    else:
        bench.refused("price collar", side=side, price=D(price))


@pytest.mark.parametrize("quote", [None, Quote(D(1), D(2), 5_001), Quote(D(2), D(2)), Quote(D(0), D(2))])
def test_a_collar_needs_a_book_that_may_be_believed(quote: Quote | None) -> None:
    bench = Bench(collar=D("0.01"))
    bench.quote = quote
    bench.refused("price collar")
    bench.refused("price collar", price=None)
    bench.refused("price collar", reduce_only=True)


def test_the_position_counts_what_is_held_open_and_unseen() -> None:
    bench = Bench(position_notional=D(10_000))  # 0.2
    bench.check(quantity=D("0.2"))
    bench.hold("Buy", "0.05")
    bench.rest("Buy", "0.05")
    bench.rest("Sell", "9", "o2")
    bench.rest("Buy", "9", "o3", reduceOnly=True)
    bench.check(quantity=D("0.1"))
    bench.refused("position", quantity=D("0.101"))
    fields = {"side": "Buy", "qty": "0.1"}
    bench.unseen.append(OrderRequest("r", Op.CREATE, LINEAR_KEY, fields))
    bench.refused("position", quantity=D("0.001"))
    bench.check(quantity=D("0.1"), reduce_only=True)


LINEAR_KEY = NewOrder(
    category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D(1), price=D(1), link_id="x"
).key


def test_the_other_way_a_position_makes_room() -> None:
    bench = Bench(position_notional=D(10_000))
    bench.hold("Sell", "0.1")
    bench.check(quantity=D("0.3"))
    bench.refused("position", quantity=D("0.301"))
    bench.refused("position", side=Side.SELL, quantity=D("0.101"))


def test_what_only_closes_may_close_it_first() -> None:
    bench = Bench(position_notional=D(10_000))
    bench.hold("Sell", "0.1")
    bench.rest("Buy", "0.06", reduceOnly=True)
    bench.rest("Sell", "5", "o2", reduceOnly=True)
    bench.check(quantity=D("0.24"))
    bench.refused("position", quantity=D("0.241"))
    fields = {"side": "Buy", "qty": "0.02", "reduceOnly": True}
    bench.unseen.append(OrderRequest("r", Op.CREATE, LINEAR_KEY, fields))
    bench.refused("position", quantity=D("0.221"))
    bench.check(quantity=D("0.22"))
    bench.unseen[0].fields["qty"] = "0"  # closes all that there is, never more
    bench.refused("position", quantity=D("0.201"))
    bench.check(quantity=D("0.2"))


def test_fills_count_before_their_positions_row_has_come() -> None:
    bench = Bench(position_notional=D(10_000))
    bench.hold("Buy", "0.05")  # of sequence 1
    order = bench.rest("Buy", "0.1")
    execution = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o1",
        "side": "Buy",
        "execPrice": "50000",
        "execQty": "0.1",
    }
    bench.account.on_execution({**execution, "execId": "e1", "seq": 1})  # counted by the position's row
    bench.account.on_execution({**execution, "execId": "e2", "seq": 3})
    bench.account.on_order({**order.row, "orderStatus": "Filled", "cumExecQty": "0.1"}, NOW)
    bench.check(quantity=D("0.05"))
    bench.refused("position", quantity=D("0.051"))
    bench.hold("Buy", "0.15", sequence=3)
    bench.check(quantity=D("0.05"))
    bench.refused("position", quantity=D("0.051"))
    bench.account.on_execution({**execution, "execId": "e3", "side": "Sell", "execQty": "0.15", "seq": 4})
    bench.check(quantity=D("0.2"))
    bench.account.on_execution({**execution, "execId": "e4", "seq": 5}, category=Category.LINEAR)
    bench.check(quantity=D("0.2"))  # REST tells positions beside fills


def test_hedged_sides_are_positions_of_their_own() -> None:
    bench = Bench(position_notional=D(10_000))
    bench.hold("Buy", "0.2", 1)
    bench.refused("position", quantity=D("0.001"), position_index=1)
    bench.check(side=Side.SELL, quantity=D("0.2"), position_index=2)
    bench.check(side=Side.SELL, quantity=D(5), position_index=1)  # closes


def test_spot_counts_the_coins_that_are_held() -> None:
    bench = Bench(position_notional=D(10_000))
    bench.account.on_wallet({"coin": [{"coin": "BTC", "walletBalance": "0.15"}]}, 1)
    bench.check(SPOT, quantity=D("0.05"))
    bench.refused("position", SPOT, quantity=D("0.06"))
    bench.check(SPOT, side=Side.SELL, quantity=D("0.15"))


def test_a_change_is_held_against_the_same_limits() -> None:
    bench = Bench(
        order_notional=D(10_000), position_notional=D(20_000), collar=D("0.01"), requests_per_second=9
    )
    order = bench.rest("Buy", "0.1")
    gate = bench.gate
    gate.check_change(order, Change(quantity=D("0.2")), LINEAR, NOW)
    for change, rule in (
        (Change(quantity=D("0.21")), "order notional"),
        (Change(price=D(60_000)), "price collar"),
    ):
        with pytest.raises(Refused) as caught:
            gate.check_change(order, change, LINEAR, NOW)
        assert caught.value.rule == rule
    bench.hold("Buy", "0.3")
    with pytest.raises(Refused) as caught:
        gate.check_change(order, Change(quantity=D("0.11")), LINEAR, NOW)
    assert caught.value.rule == "position"
    gate.check_change(order, Change(quantity=D("0.05")), LINEAR, NOW)


def test_a_dearer_price_alone_is_held_against_the_position() -> None:
    bench = Bench(position_notional=D(20_000))
    order = bench.rest("Buy", "5", price="4000")
    for change in (
        Change(price=D("4000.1")),
        Change(price=D(49_000)),
        Change(price=D(5_000), quantity=D("4.1")),
    ):
        with pytest.raises(Refused) as caught:
            bench.gate.check_change(order, change, LINEAR, NOW)
        assert caught.value.rule == "position"
    bench.gate.check_change(order, Change(price=D(3_900)), LINEAR, NOW)
    bench.gate.check_change(order, Change(price=D(5_000), quantity=D(4)), LINEAR, NOW)


def test_a_trigger_that_moves_is_held_against_the_position() -> None:
    bench = Bench(position_notional=D(20_000))
    order = bench.rest("Buy", "5", price="0", orderStatus="Untriggered", triggerPrice="4000")
    with pytest.raises(Refused) as caught:
        bench.gate.check_change(order, Change(trigger_price=D(49_000)), LINEAR, NOW)
    assert caught.value.rule == "position"


def test_a_sell_below_the_market_is_worth_what_it_would_bring() -> None:
    bench = Bench(order_notional=D(5_000), position_notional=D(5_000))
    bench.refused("order notional", side=Side.SELL, price=D(10), quantity=D(1))
    bench.refused(
        "order notional", side=Side.SELL, price=None, trigger_price=D(10), trigger_rises=False, quantity=D(1)
    )
    order = bench.rest("Sell", "0.01", price="60000")
    with pytest.raises(Refused) as caught:
        bench.gate.check_change(order, Change(price=D(10), quantity=D(1)), LINEAR, NOW)
    assert caught.value.rule == "order notional"


OLD = Quote(D(49_990), D(50_010), 5_001)
NO_QUOTES = [
    None,
    OLD,
    Quote(D(49_990), D(50_010), float("nan")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("quote", NO_QUOTES)
@pytest.mark.parametrize("limit", ["order_notional", "position_notional"])
def test_what_a_sell_would_bring_is_not_known_without_a_book(limit: str, quote: Quote | None) -> None:
    """Its limit is the least that it brings: 0.9 at 1,000 is sold for 45,000 where the market is at 50,000."""
    bench = Bench(**{limit: D(1_000)})
    sell: dict[str, Any] = {"side": Side.SELL, "price": D(1_000), "quantity": D("0.9")}
    bench.refused("order notional" if limit == "order_notional" else "position", **sell)
    order = bench.rest("Sell", "0.01", price="60000")
    bench.quote = quote
    bench.refused("order notional", **sell)
    bench.refused(
        "order notional", **(sell | {"price": None, "trigger_price": D(1_000), "trigger_rises": False})
    )
    with pytest.raises(Refused, match="order notional"):
        bench.gate.check_change(order, Change(price=D(1_000)), LINEAR, NOW)
    bench.gate.check_change(order, Change(stop_loss=D(70_000)), LINEAR, NOW)
    bench.check(side=Side.BUY, price=D(1_000), quantity=D("0.9"))  # a buy's limit is the most that it costs
    bench.check(**sell, reduce_only=True)
    inverse = parse_filters(Category.INVERSE, {**LINEAR_ROW, "symbol": "BTCUSD", "quoteCoin": "USD"})
    bench.check(inverse, side=Side.SELL, price=D(1_000), quantity=D(900))  # contracts of a dollar each


@pytest.mark.parametrize(
    "quote",
    [(D(1), D(2)), Quote(49_990.0, 50_010.0), Quote(D("NaN"), D("NaN")), Quote(D(1), D(2), None), 1.5],  # type: ignore[arg-type]
)
def test_a_quote_that_is_none_is_refused_in_words(quote: Any) -> None:
    bench = Bench(collar=D("0.01"), daily_loss={"USDT": D(1)})
    bench.quote = quote
    with pytest.raises(Refused, match="expected a Quote") as caught:
        bench.check()
    assert caught.value.rule == "quote"
    bench.hold("Buy", "1")
    with pytest.raises(Refused, match="expected a Quote"):
        bench.gate.excess_loss(lambda *_: LINEAR, NOW)


def test_what_an_amount_buys_needs_a_book_where_quantities_are_limited() -> None:
    for limits in ({"position_notional": D(5_000)}, {"order_quantity": {"BTCUSDT": D(1)}}):
        bench = Bench(**limits)
        bench.check(SPOT, price=None, in_quote_coin=True, quantity=D(2_000))
        bench.refused("position" if "position_notional" in limits else "order quantity", SPOT, price=None,
                      in_quote_coin=True, quantity=D(60_000))  # fmt: skip
        bench.quote = None
        bench.refused("order quantity", SPOT, price=None, in_quote_coin=True, quantity=D(2_000))


def test_an_amend_that_no_row_has_shown_counts_too() -> None:
    bench = Bench(position_notional=D(20_000))  # 0.4
    bench.rest("Buy", "0.1", orderLinkId="x")
    bench.unseen.append(OrderRequest("r", Op.AMEND, LINEAR_KEY, {}, {"qty": "0.15"}))
    bench.check(quantity=D("0.25"))
    bench.refused("position", quantity=D("0.251"))


def test_requests_a_second() -> None:
    bench = Bench(requests_per_second=2)
    for _ in range(2):
        bench.check()
        bench.gate.sent(NOW)
    bench.refused("requests per second")
    order = NewOrder(
        category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY, quantity=D("0.1"), price=D(50_000)
    )
    bench.gate.check(order, LINEAR, NOW + 1_000)


def fill(bench: Bench, identity: str, profit: str, fee: str, at_ms: int, **more: Any) -> None:
    row = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o",
        "execId": identity,
        "execPrice": "1",
        "execQty": "1",
        "execPnl": profit,
        "execFee": fee,
        "execTime": str(at_ms),
        **more,
    }
    read = bench.account.on_execution(row)
    assert read is not None
    bench.gate.on_fill(read, SPOT if read.category is Category.SPOT else LINEAR)


def test_the_days_loss_is_realised_and_open() -> None:
    bench = Bench(daily_loss={"USDT": D(100)})
    filters = {(Category.LINEAR, "BTCUSDT"): LINEAR}

    def excess(now_ms: int = NOW) -> str:
        return bench.gate.excess_loss(lambda *key: filters.get(key), now_ms)

    fill(bench, "e1", "-60", "5", NOW)
    fill(bench, "e2", "0", "5", NOW, execType="Funding")
    assert excess() == ""
    bench.hold("Buy", "1", entry="50020")  # at the bid of 49990: -30
    assert excess() == "", "exactly what may be lost"
    bench.hold("Buy", "1", entry="50021")
    assert "today's result is -101 USDT" in excess()
    bench.hold("Sell", "1", entry="49979")
    assert "-101" in excess()
    tomorrow = NOW + 86_400_000
    assert excess(tomorrow) == ""
    fill(bench, "e4", "-1", "0", tomorrow)
    fill(bench, "e5", "-1000", "0", NOW)  # late, of yesterday
    bench.hold("Buy", "0")
    fill(bench, "e5b", "-99.5", "0", tomorrow)
    assert "today's result is -100.5 USDT" in excess(tomorrow)


def test_inverse_losses_are_coins() -> None:
    row = {**LINEAR_ROW, "symbol": "BTCUSD", "quoteCoin": "USD", "settleCoin": "BTC"}
    inverse = parse_filters(Category.INVERSE, row)
    bench = Bench(daily_loss={"BTC": D("0.001")})
    bench.quote = Quote(D(40_000), D(40_001))
    bench.account.on_position(
        {"category": "inverse", "symbol": "BTCUSD", "positionIdx": 0, "side": "Buy", "size": "1000",
         "entryPrice": "50000", "seq": 1}
    )  # fmt: skip
    words = bench.gate.excess_loss(lambda *_: inverse, NOW)
    assert "-0.005 BTC" in words


@pytest.mark.parametrize(
    "limits",
    [{"order_notional": D(0)}, {"requests_per_second": -1}, {"collar": D(1)}, {"daily_loss": {"USDT": D(0)}},
     {"order_quantity": {"BTCUSDT": D(-1)}}, {"quote_age_ms": 0},
     # of other types, which would fail with the first order, or hold nothing
     {"collar": 0.01}, {"order_notional": 1_000.0}, {"order_notional": "1000"}, {"position_notional": D("NaN")},
     {"order_notional": D("sNaN")}, {"order_notional": D("Infinity")}, {"order_notional": True},
     {"requests_per_second": 0.5}, {"requests_per_second": 5.0}, {"requests_per_second": True},
     {"requests_per_second": D(5)}, {"daily_loss": D(3)}, {"daily_loss": {"USDT": 200.0}},
     {"daily_loss": {"USDT": D("NaN")}}, {"daily_loss": {"USDT": None}}, {"daily_loss": {5: D(1)}},
     {"daily_loss": [("USDT", D(1))]}, {"order_quantity": {"BTCUSDT": 0.5}}, {"order_quantity": None},
     {"order_quantity": D(1)}, {"quote_age_ms": 0.5}, {"quote_age_ms": None}, {"quote_age_ms": float("nan")}],
)  # fmt: skip
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(ConfigError, match=f"limit {name}"):
        Limits(**(OPEN | limits))


def test_whole_numbers_are_exact() -> None:
    quantities = {"BTCUSDT": D(2)}
    limits = Limits(
        **(OPEN | {"order_notional": 1_000, "daily_loss": {"USDT": 3}, "order_quantity": quantities})
    )
    assert [type(number) for number in (limits.order_notional, (limits.daily_loss or {})["USDT"])] == [D, D]
    assert (limits.order_notional, limits.daily_loss) == (D(1_000), {"USDT": D(3)})
    assert limits.order_quantity is quantities, "it may be changed later"


def test_every_limit_has_to_be_said() -> None:
    with pytest.raises(TypeError):
        Limits()  # type: ignore[call-arg]
