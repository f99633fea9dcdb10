"""Requests on the wire; what section 10 of the protocol calls wrong can't be asked for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.venue.requests import read_amend, read_create
from execution.desk.orders import Change, NewOrder, OrderKey, Refused, Side, SmpType, TimeInForce, TriggerBy
from schemas.names import Category

D = Decimal


def order(**more: Any) -> NewOrder:
    values: dict[str, Any] = {
        "category": Category.LINEAR,
        "symbol": "BTCUSDT",
        "side": Side.BUY,
        "quantity": D("0.010"),
        "price": D("50000.0"),
    }
    return NewOrder(**(values | more))


def test_a_limit_order_on_the_wire() -> None:
    assert order(link_id="my-1", time_in_force=TimeInForce.POST_ONLY).fields() == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.01",
        "price": "50000",
        "timeInForce": "PostOnly",
        "orderLinkId": "my-1",
    }


def test_numbers_are_plain_texts_whatever_their_exponent() -> None:
    fields = order(quantity=D("1E+3"), price=D("1E-7")).fields()
    assert (fields["qty"], fields["price"]) == ("1000", "0.0000001")


def test_a_market_order_is_ioc_and_says_its_unit_on_spot() -> None:
    fields = order(price=None).fields()
    assert (fields["orderType"], fields["timeInForce"]) == ("Market", "IOC")
    assert "price" not in fields
    assert "marketUnit" not in fields
    assert order(category=Category.SPOT, price=None).fields()["marketUnit"] == "baseCoin"
    assert order(category=Category.SPOT, price=None, in_quote_coin=True).fields()["marketUnit"] == "quoteCoin"


def test_a_conditional_order_names_its_direction() -> None:
    fields = order(trigger_price=D(51_000), trigger_rises=True, trigger_by=TriggerBy.MARK).fields()
    assert (fields["triggerPrice"], fields["triggerDirection"], fields["triggerBy"]) == (
        "51000",
        1,
        "MarkPrice",
    )
    assert order(trigger_price=D(49_000), trigger_rises=False).fields()["triggerDirection"] == 2
    spot = order(category=Category.SPOT, trigger_price=D(51_000)).fields()
    assert spot["orderFilter"] == "StopOrder"
    assert "triggerDirection" not in spot


def test_take_profit_and_stop_loss() -> None:
    fields = order(take_profit=D(60_000), stop_loss=D(40_000)).fields()
    assert fields["tpslMode"] == "Full"
    assert (fields["takeProfit"], fields["tpOrderType"]) == ("60000", "Market")
    limited = order(take_profit=D(60_000), take_profit_limit=D(60_010)).fields()
    assert (limited["tpslMode"], limited["tpOrderType"], limited["tpLimitPrice"]) == (
        "Partial",
        "Limit",
        "60010",
    )
    assert "stopLoss" not in limited


def test_the_exchange_reads_what_was_meant() -> None:
    """The simulated exchange's own reader, written to the protocol, takes every form."""
    meant = order(
        link_id="a_B-9",
        side=Side.SELL,
        position_index=2,
        time_in_force=TimeInForce.FOK,
        smp_type=SmpType.CANCEL_TAKER,
        trigger_price=D(51_000),
        trigger_rises=False,
        stop_loss=D(52_000),
        stop_loss_by=TriggerBy.INDEX,
    )
    read = read_create(meant.fields())
    assert (read.side, read.quantity, read.price, read.link_id) == (Side.SELL, D("0.01"), D(50_000), "a_B-9")
    assert (read.position_index, read.trigger_price, read.trigger_direction) == (2, D(51_000), 2)
    assert (read.protection.stop_loss, read.protection.stop_loss_by) == (D(52_000), TriggerBy.INDEX)
    assert read.smp_type is SmpType.CANCEL_TAKER
    closing = read_create(order(quantity=D(0), price=None, reduce_only=True, close_on_trigger=True).fields())
    assert (closing.quantity, closing.reduce_only, closing.close_on_trigger) == (0, True, True)
    assert read_create(order(price=None, slippage_ticks=5).fields()).slippage == ("TickSize", 5)
    change = Change(price=D("50000.50"), quantity=D(2), take_profit=D(0))
    amend = read_amend(order(link_id="x").key.fields() | change.wire())
    assert (amend.price, amend.quantity, amend.take_profit, amend.stop_loss) == (D("50000.5"), 2, 0, None)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"category": Category.SPREAD}, "category"),
        ({"symbol": "btcusdt"}, "symbol"),
        ({"symbol": ""}, "symbol"),
        ({"link_id": "a" * 37}, "orderLinkId"),
        ({"link_id": "a b"}, "orderLinkId"),
        ({"quantity": D(0)}, "quantity"),
        ({"quantity": D(-1)}, "quantity"),
        ({"quantity": D("NaN")}, "quantity"),
        ({"quantity": D("1e30")}, "quantity"),
        ({"price": D(0)}, "price"),
        ({"price": D("Infinity")}, "price"),
        ({"stop_loss": D(-1)}, "stop loss"),
        ({"position_index": 3}, "position index"),
        ({"price": None, "time_in_force": TimeInForce.POST_ONLY}, "time in force"),
        ({"reduce_only": True, "take_profit": D(1)}, "reduce only"),
        ({"take_profit_limit": D(1)}, "take profit limit"),
        ({"stop_loss_limit": D(1)}, "stop loss limit"),
        ({"slippage_ticks": 5}, "slippage"),
        ({"price": None, "slippage_ticks": 0}, "slippage"),
        ({"category": Category.SPOT, "reduce_only": True}, "spot"),
        ({"category": Category.SPOT, "position_index": 1}, "spot"),
        ({"category": Category.SPOT, "trigger_price": D(1), "trigger_rises": True}, "spot"),
        ({"trigger_price": D(1)}, "trigger"),
        ({"in_quote_coin": True}, "quote coin"),
        ({"category": Category.SPOT, "in_quote_coin": True}, "quote coin"),
        ({"category": Category.OPTION, "take_profit": D(2), "take_profit_limit": D(1)}, "option"),
        # of other types, which may mean the opposite
        ({"reduce_only": "no"}, "reduce only"),
        ({"reduce_only": 1}, "reduce only"),
        ({"close_on_trigger": None}, "close on trigger"),
        ({"trigger_price": D(1), "trigger_rises": "no"}, "trigger rises"),
        ({"category": Category.SPOT, "price": None, "in_quote_coin": "no"}, "in quote coin"),
        ({"position_index": 1.0}, "position index"),
        ({"position_index": True}, "position index"),
        ({"position_index": "0"}, "position index"),
        ({"price": None, "slippage_ticks": 5.0}, "slippage ticks"),
        ({"symbol": 5}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"link_id": 5}, "link id"),
        ({"quantity": 0, "price": None, "reduce_only": True, "close_on_trigger": False}, "quantity"),
        ({"quantity": False, "price": None, "reduce_only": True, "close_on_trigger": True}, "quantity"),
    ],
)
def test_contradictions_are_refused(more: dict[str, Any], rule: str) -> None:
    with pytest.raises(Refused, match="not sent") as caught:
        order(**more)
    assert caught.value.rule == rule


@pytest.mark.parametrize(
    "values",
    [{}, {"price": D(0)}, {"stop_loss": D(-1)}, {"quantity": D("NaN")}, {"stop_loss": False}, {"take_profit": 0.0},
     {"price": False}, {"take_profit": "0"}, {"quantity": 0}],
)  # fmt: skip
def test_a_change_changes_something(values: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        Change(**values)


def test_a_cancel_names_one_id() -> None:
    assert OrderKey(Category.SPOT, "BTCUSDT", "o1", "l1").fields() == {
        "category": "spot",
        "symbol": "BTCUSDT",
        "orderId": "o1",
    }
    assert OrderKey(Category.SPOT, "BTCUSDT", "", "l1").fields()["orderLinkId"] == "l1"


def test_a_zero_removes_a_protection() -> None:
    assert Change(take_profit=D(0), stop_loss=0).wire() == {"takeProfit": "0", "stopLoss": "0"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        (OrderKey(Category.LINEAR, "BTCUSDT"), "order key"),
        (OrderKey(Category.LINEAR, "", link_id="x"), "order key"),
        (OrderKey("linear", "BTCUSDT", link_id="x"), "category"),  # type: ignore[arg-type]
        (OrderKey(Category.SPREAD, "BTCUSDT", link_id="x"), "category"),
        (OrderKey(Category.LINEAR, 5, link_id="x"), "symbol"),  # type: ignore[arg-type]
        (OrderKey(Category.LINEAR, "BTCUSDT", order_id=5), "order id"),  # type: ignore[arg-type]
        (OrderKey(Category.LINEAR, "BTCUSDT", link_id=None), "orderLinkId"),  # type: ignore[arg-type]
    ],
)
def test_a_key_names_an_order(key: OrderKey, rule: str) -> None:
    with pytest.raises(Refused) as caught:
        key.check()
    assert caught.value.rule == rule
    OrderKey(Category.LINEAR, "BTCUSDT", link_id="x").check()
    OrderKey(Category.OPTION, "BTCUSDT", "x").check()
