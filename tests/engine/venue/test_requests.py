from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.venue import Refusal
from engine.venue.requests import Fields, order_key, read_amend, read_create
from schemas.names import Category
from tests.engine.venue.conftest import Desk

D = Decimal
LIMIT = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "1",
    "price": "60000",
}
MARKET = {**LIMIT, "orderType": "Market", "price": ""}
SPOT = {**LIMIT, "category": "spot"}


def test_what_is_not_said_has_its_default() -> None:
    request = read_create(LIMIT)
    assert (request.time_in_force, request.position_index, request.trigger_by) == ("GTC", 0, "LastPrice")
    assert (request.reduce_only, request.smp_type, bool(request.protection)) == (False, "None", False)
    market = read_create({**MARKET, "price": "1", "timeInForce": "GTC"})
    assert (market.price, market.time_in_force) == (None, "IOC")


def test_flags_and_numbers_come_in_two_spellings() -> None:
    assert read_create({**LIMIT, "reduceOnly": "true", "positionIdx": "1"}).reduce_only
    assert read_create({**LIMIT, "reduceOnly": "false", "positionIdx": "2"}).position_index == 2


def test_slippage() -> None:
    ticks = {**MARKET, "slippageToleranceType": "TickSize", "slippageTolerance": "10"}
    assert read_create(ticks).slippage == ("TickSize", D(10))
    share = {**MARKET, "slippageToleranceType": "Percent", "slippageTolerance": "0.5"}
    assert read_create(share).slippage == ("Percent", D("0.5"))


def test_partial_protection_with_limits() -> None:
    values = {"tpslMode": "Partial", "takeProfit": "61000", "tpOrderType": "Limit", "tpLimitPrice": "61001"}
    protection = read_create({**LIMIT, **values}).protection
    assert (protection.is_partial, protection.take_profit_limit, protection.stop_loss) == (
        True,
        D(61001),
        None,
    )


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"qty": None}, 10001),
        ({"price": None}, 10001),
        ({"price": "0"}, 10001),
        ({"symbol": "x" * 65}, 10001),
        ({"symbol": 7}, 10001),
        ({"category": "futures"}, 10001),
        ({"category": None}, 10001),
        ({"positionIdx": 3}, 10001),
        ({"positionIdx": True}, 10001),
        ({"positionIdx": "x"}, 10001),
        ({"reduceOnly": "yes"}, 10001),
        ({"isLeverage": 1}, 10001),
        ({"orderIv": "0.5"}, 10001),
        ({"bboSideType": "Queue"}, 10001),
        ({"tpslMode": "Whole"}, 10001),
        ({"takeProfit": "61000", "tpOrderType": "Limit", "tpLimitPrice": "61001"}, 10001),
        ({"takeProfit": "61000", "tpOrderType": "Limit", "tpslMode": "Partial"}, 10001),
        ({"triggerBy": "BidPrice", "triggerPrice": "1", "triggerDirection": 1}, 10001),
        ({"slippageToleranceType": "TickSize", "slippageTolerance": "1"}, 10001),
        ({"orderType": "Market", "slippageToleranceType": "TickSize"}, 10001),
        (
            {
                "orderType": "Market",
                "slippageToleranceType": "TickSize",
                "slippageTolerance": "1",
                "triggerPrice": "61000",
                "triggerDirection": 1,
            },
            10001,
        ),
        ({"orderType": "Market", "slippageToleranceType": "TickSize", "slippageTolerance": "1.5"}, 110108),
        ({"orderType": "Market", "slippageToleranceType": "Percent", "slippageTolerance": "11"}, 110109),
        ({"orderType": "Market", "slippageToleranceType": "Share", "slippageTolerance": "1"}, 10001),
        ({"category": "spot", "reduceOnly": True}, 10001),
        ({"category": "spot", "closeOnTrigger": True}, 10001),
        ({"category": "spot", "takeProfit": "61000"}, 10001),
        ({"category": "spot", "positionIdx": 1}, 10001),
        ({"category": "spot", "orderFilter": "Stop"}, 170201),
        ({"category": "option", "orderLinkId": "a", "tpslMode": "Partial", "takeProfit": "5"}, 10001),
    ],
)
def test_creates_that_can_not_be_understood(values: dict[str, Any], code: int) -> None:
    with pytest.raises(Refusal) as caught:
        read_create({**LIMIT, **values})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"marketUnit": "coin"}, 10001),
        ({"marketUnit": "quoteCoin", "side": "Sell"}, 10001),
        ({"orderFilter": "StopOrder"}, 170202),
        ({"symbol": "NOPEUSDT"}, 170121),
    ],
)
def test_spot_orders_that_are_not_simulated(values: dict[str, Any], code: int) -> None:
    with pytest.raises(Refusal) as caught:
        Desk().venue.create("1", {**SPOT, "orderType": "Market", **values}, 1)
    assert caught.value.code == code


def test_keys_of_orders() -> None:
    key = order_key(Fields({"category": "linear", "symbol": "BTCUSDT", "orderId": "a", "orderLinkId": "b"}))
    assert (key.category, key.order_id, key.link_id) == (Category.LINEAR, "a", "b")
    amend = read_amend({"category": "linear", "symbol": "BTCUSDT", "orderId": "a", "takeProfit": "0"})
    assert (amend.take_profit, amend.stop_loss, amend.price) == (D(0), None, None)


def test_an_account_remembers_only_so_many_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.venue.account.REMEMBERED_ORDERS", 3)
    desk = Desk()
    orders = [desk.create("Buy", "0.01", "60000.0", orderLinkId=f"n-{number}") for number in range(5)]
    for order in orders:
        desk.cancel(order)
    account = desk.venue.accounts["1"]
    known = [account.find(Category.LINEAR, order.order_id, "") for order in orders]
    assert known == [None, None, *orders[2:]]
    assert desk.create("Buy", "0.01", "60000.0", orderLinkId="n-0").is_open  # forgotten, and so free again
    with pytest.raises(Refusal):
        desk.create("Buy", "0.01", "60000.0", orderLinkId="n-4")
