from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.filters import Filters, parse_filters
from execution.desk.orders import Change, NewOrder, Refused, Side, TimeInForce
from schemas.errors import ExchangeError
from schemas.names import Category

D = Decimal

LINEAR_ROW = {
    "symbol": "BTCUSDT",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "priceFilter": {"minPrice": "0.10", "maxPrice": "199999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "qtyStep": "0.001",
        "minOrderQty": "0.001",
        "maxOrderQty": "1190.000",
        "maxMktOrderQty": "500.000",
        "minNotionalValue": "5",
        "postOnlyMaxOrderQty": "1.000",
    },
}
SPOT_ROW = {
    "symbol": "BTCUSDT",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "priceFilter": {"tickSize": "0.01"},
    "lotSizeFilter": {
        "basePrecision": "0.000001",
        "minOrderQty": "99",
        "maxOrderQty": "0.1",
        "maxOrderAmt": "1",
        "minOrderAmt": "5",
        "maxLimitOrderQty": "83",
        "maxMarketOrderQty": "41.5",
        "postOnlyMaxLimitOrderSize": "60000",
    },
}
LINEAR = parse_filters(Category.LINEAR, LINEAR_ROW)
SPOT = parse_filters(Category.SPOT, SPOT_ROW)


def order(filters: Filters = LINEAR, **more: Any) -> NewOrder:
    values: dict[str, Any] = {"side": Side.BUY, "quantity": D("0.01"), "price": D(50_000)}
    return NewOrder(category=filters.category, symbol=filters.symbol, **(values | more))


prices = st.decimals("0.11", "199999", places=7)
quantities = st.decimals("0.001", "1000", places=9)


@given(prices, st.sampled_from(Side), quantities)
def test_rounding_is_exact_and_never_towards_the_market(
    price: Decimal, side: Side, quantity: Decimal
) -> None:
    rounded = LINEAR.rounded(order(price=price, side=side, quantity=quantity))
    assert rounded.price is not None
    assert rounded.price % D("0.10") == 0
    assert 0 <= (price - rounded.price) * side.sign < D("0.10")
    assert rounded.quantity % D("0.001") == 0
    assert 0 <= quantity - rounded.quantity < D("0.001")
    assert LINEAR.rounded(rounded) is rounded


def test_a_float_that_is_a_hair_off_lands_on_its_step() -> None:
    rounded = LINEAR.rounded(order(quantity=D(0.003) + D("1e-17")))
    assert rounded.quantity in (D("0.003"), D("0.002"))
    assert SPOT.rounded(order(SPOT, quantity=D("0.1234567"))).quantity == D("0.123456")


@pytest.mark.parametrize("digits", [20, 27, 28, 40])
def test_many_digits_round_no_other_way(digits: int) -> None:
    nines = "9" * digits
    buy = LINEAR.rounded(order(price=D(f"49999.{nines}"), quantity=D(f"0.009{nines}")))
    assert (buy.price, buy.quantity) == (D("49999.9"), D("0.009"))
    sell = LINEAR.rounded(order(price=D(f"49999.9{'0' * digits}1"), side=Side.SELL))
    assert sell.price == D(50_000)


def test_triggers_go_to_the_nearest_tick() -> None:
    rounded = LINEAR.rounded(order(stop_loss=D("40000.06"), take_profit=D("60000.04")))
    assert (rounded.stop_loss, rounded.take_profit) == (D("40000.1"), D("60000.0"))


@pytest.mark.parametrize(
    ("filters", "more", "rule"),
    [
        (LINEAR, {"price": D("0.00001"), "quantity": D(1)}, "price"),
        (LINEAR, {"price": D("200000")}, "price"),
        (LINEAR, {"quantity": D("0.0009")}, "quantity"),
        (LINEAR, {"quantity": D(1191)}, "maximum quantity"),
        (LINEAR, {"quantity": D(501), "price": None}, "maximum quantity"),
        (LINEAR, {"price": D("4999.9"), "quantity": D("0.001")}, "minimum notional"),
        (SPOT, {"price": D(5), "quantity": D("0.5")}, "minimum notional"),
        (SPOT, {"price": None, "in_quote_coin": True, "quantity": D("4.99")}, "minimum notional"),
        (SPOT, {"quantity": D(42), "price": None}, "maximum quantity"),
    ],
)
def test_refused_before_the_wire(filters: Filters, more: dict[str, Any], rule: str) -> None:
    with pytest.raises(Refused) as caught:
        filters.check(filters.rounded(order(filters, **more)), D(50_000))
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    ("filters", "more"),
    [
        (LINEAR, {"price": D("5000.0"), "quantity": D("0.001")}),
        # closing what is small must be possible
        (LINEAR, {"price": D("1000.0"), "quantity": D("0.001"), "reduce_only": True}),
        (LINEAR, {"quantity": D(0), "price": None, "reduce_only": True, "close_on_trigger": True}),
        # deprecated on spot: minOrderQty, maxOrderQty and maxOrderAmt
        (SPOT, {"quantity": D(80)}),
        (SPOT, {"price": None, "in_quote_coin": True, "quantity": D(5)}),
        (SPOT, {"quantity": D(100), "time_in_force": TimeInForce.POST_ONLY}),
        # deprecated on contracts: postOnlyMaxOrderQty
        (LINEAR, {"quantity": D(2), "time_in_force": TimeInForce.POST_ONLY}),
    ],
)
def test_taken(filters: Filters, more: dict[str, Any]) -> None:
    wanted = order(filters, **more)
    assert filters.rounded(wanted) == wanted
    filters.check(wanted, D(50_000))


def test_dollars_are_counted_on_inverse_contracts() -> None:
    row = {**LINEAR_ROW, "symbol": "BTCUSD", "quoteCoin": "USD", "settleCoin": "BTC"}
    row["lotSizeFilter"] = {"qtyStep": "1", "minOrderQty": "1", "maxOrderQty": "100", "minNotionalValue": "5"}
    inverse = parse_filters(Category.INVERSE, row)
    inverse.check(order(inverse, quantity=D(5)), None)
    with pytest.raises(Refused, match="worth 4 USD"):
        inverse.check(order(inverse, quantity=D(4)), None)
    assert inverse.maximum_market == 100, "the limit orders' where there is none of its own"


def test_a_change_is_rounded_and_held_against_the_filters() -> None:
    change = LINEAR.rounded_change(Change(price=D("50000.07"), quantity=D("0.0019")), Side.SELL)
    assert (change.price, change.quantity) == (D("50000.1"), D("0.001"))
    LINEAR.check_change(change)
    with pytest.raises(Refused):
        LINEAR.check_change(Change(price=D(300_000)))
    with pytest.raises(Refused):
        LINEAR.rounded_change(Change(quantity=D("0.0001")), Side.BUY)


def test_spot_has_its_own_names_and_no_deprecated_ones() -> None:
    """`minOrderQty`, `maxOrderQty` and `maxOrderAmt` are still sent on spot, and decide nothing."""
    lots = {
        "basePrecision": "0.000001",
        "minOrderAmt": "5",
        "maxLimitOrderQty": "83",
        "maxMarketOrderQty": "41",
    }
    deprecated = {"minOrderQty": "7", "maxOrderQty": "8", "maxOrderAmt": "9"}
    row = {"symbol": "BTCUSDT", "status": "Trading", "quoteCoin": "USDT", "priceFilter": {"tickSize": "0.01"}}
    filters = parse_filters(Category.SPOT, {**row, "lotSizeFilter": lots | deprecated})
    assert filters == parse_filters(Category.SPOT, {**row, "lotSizeFilter": lots})
    assert (filters.minimum_quantity, filters.minimum_notional) == (0, 5)
    assert (filters.maximum_limit, filters.maximum_market) == (83, 41)


def test_what_is_not_trading_takes_no_orders() -> None:
    closed = parse_filters(Category.LINEAR, {**LINEAR_ROW, "status": "Closed"})
    with pytest.raises(Refused, match="Closed"):
        closed.check(order(), None)


@pytest.mark.parametrize(
    "broken",
    [{"symbol": 5}, {"priceFilter": []}, {"priceFilter": {"tickSize": "0"}}, {"lotSizeFilter": None}],
)
def test_without_steps_nothing_can_be_rounded(broken: dict[str, Any]) -> None:
    with pytest.raises(ExchangeError, match="expected symbol, tickSize and qtyStep"):
        parse_filters(Category.LINEAR, {**LINEAR_ROW, **broken})
