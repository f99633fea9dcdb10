from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.venue import Order, OrderStatus, Refusal
from schemas.names import Category
from tests.engine.venue.conftest import BOOK, Desk

D = Decimal


def stop_rows(desk: Desk, kind: str) -> list[tuple[str, str]]:
    return [
        (row["orderStatus"], row["cancelType"]) for row in desk.rows("order") if row["stopOrderType"] == kind
    ]


def stop_quantities(desk: Desk) -> list[str]:
    return [row["qty"] for row in desk.rows("order") if row["stopOrderType"] == "StopLoss"]


def trading_stop(desk: Desk, **values: Any) -> None:
    venue = desk.venue
    market = venue.markets[Category.LINEAR, "BTCUSDT"]
    venue.settings.trading_stop(
        venue.accounts["1"], market, {"tpslMode": "Full", "positionIdx": 0, **values}, desk.now_ms
    )
    desk.tick()


def position(desk: Desk) -> dict[str, Any]:
    return desk.rows("position")[-1]


def test_a_conditional_order_waits_goes_off_and_trades(desk: Desk) -> None:
    order = desk.create("Buy", "1", triggerPrice="60500", triggerDirection=1)
    assert order.status is OrderStatus.UNTRIGGERED
    desk.trade("Buy", "60499.9", "1")
    assert order.status is OrderStatus.UNTRIGGERED
    desk.trade("Buy", "60500", "1")
    assert order.status is OrderStatus.FILLED
    assert stop_rows(desk, "Stop") == [
        ("Untriggered", "UNKNOWN"),
        ("Triggered", "UNKNOWN"),
        ("Filled", "UNKNOWN"),
    ]


def test_a_limit_order_that_goes_off_rests(desk: Desk) -> None:
    order = desk.create("Buy", "1", "59990.0", triggerPrice="59995", triggerDirection=2)
    desk.trade("Sell", "59995", "1")
    assert order.status is OrderStatus.NEW
    assert order in desk.venue.markets[Category.LINEAR, "BTCUSDT"].resting[order.side]


@pytest.mark.parametrize(("by", "name"), [("MarkPrice", "mark"), ("IndexPrice", "index")])
def test_it_waits_for_the_price_that_it_names(desk: Desk, by: str, name: str) -> None:
    desk.prices(**{name: "60000"})
    order = desk.create("Buy", "1", triggerPrice="60500", triggerDirection=1, triggerBy=by)
    desk.trade("Buy", "60600", "1")
    assert order.is_waiting
    desk.prices(**{name: "60501"})
    assert order.status is OrderStatus.FILLED


def test_cancelled_while_it_waits_it_is_deactivated(desk: Desk) -> None:
    order = desk.create("Buy", "1", triggerPrice="60500", triggerDirection=1)
    desk.amend(order, triggerPrice="60600")
    desk.trade("Buy", "60500", "1")
    assert order.is_waiting
    desk.cancel(order)
    assert (order.status, order.cancel_type) == ("Deactivated", "CancelByUser")
    desk.trade("Buy", "60600", "1")
    assert order.filled == 0


def test_what_a_trigger_looks_at_is_amended(desk: Desk) -> None:
    desk.prices(mark="60000", index="60000")
    order = desk.create("Buy", "1", triggerPrice="60500", triggerDirection=1)
    desk.amend(order, triggerBy="MarkPrice")
    assert desk.rows("order")[-1]["triggerBy"] == "MarkPrice"
    desk.trade("Buy", "60501", "1")
    assert order.is_waiting
    desk.prices(mark="60501")
    assert order.status is OrderStatus.FILLED
    other = desk.create("Buy", "1", triggerPrice="60800", triggerDirection=1)
    desk.prices(index="60801")
    assert other.is_waiting
    assert amend_refusal(desk, other, triggerBy="IndexPrice") == 110092
    assert amend_refusal(desk, other, triggerBy="LastPrice") == 10001, "it is what it was"


def test_what_an_order_brings_is_amended(desk: Desk) -> None:
    order = desk.create(
        "Buy", "1", "59000", takeProfit="61000", stopLoss="58000", tpslMode="Partial",
        tpOrderType="Limit", tpLimitPrice="61001",
    )  # fmt: skip
    desk.amend(order, takeProfit="62000", tpLimitPrice="62001", tpTriggerBy="MarkPrice", tpslMode="Partial")
    row = desk.rows("order")[-1]
    assert (row["takeProfit"], row["tpLimitPrice"], row["tpTriggerBy"]) == ("62000", "62001", "MarkPrice")
    assert (row["stopLoss"], row["slTriggerBy"]) == ("58000", "LastPrice")
    for values in (
        {"takeProfit": "58999"},  # it would go off at once
        {"stopLoss": "59000"},
        {"stopLoss": "58000.01"},
        {"slLimitPrice": "57999"},  # there was none
        {"tpslMode": "Full", "takeProfit": "63000"},
        {"orderIv": "0.5"},
    ):
        assert amend_refusal(desk, order, **values) == 10001, values
    desk.amend(order, stopLoss="0")
    assert desk.rows("order")[-1]["stopLoss"] == ""


def amend_refusal(desk: Desk, order: Order, **values: str) -> int:
    with pytest.raises(Refusal) as caught:
        desk.amend(order, **values)
    return caught.value.code


def test_close_on_trigger_only_closes(desk: Desk) -> None:
    with pytest.raises(Refusal) as caught:
        desk.create("Sell", "1", "61000", closeOnTrigger=True)
    assert caught.value.code == 110017
    desk.create("Buy", "0.5")
    order = desk.create("Sell", "2", triggerPrice="59500", triggerDirection=2, closeOnTrigger=True)
    desk.trade("Sell", "59500", "1")
    assert (order.status, order.filled, desk.size()) == (OrderStatus.FILLED, D("0.5"), 0)


def test_spot_has_room_for_thirty_of_each_kind(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.1", "1")], Category.SPOT)
    desk.trade("Buy", "60000", "1", Category.SPOT)
    for kind in ("StopOrder", "tpslOrder"):
        values = desk.values(
            "Sell", "0.001", "59000", category="spot", orderFilter=kind, triggerPrice="59500"
        )
        for _ in range(30):
            desk.venue.create("1", values, desk.now_ms)
        with pytest.raises(Refusal) as caught:
            desk.venue.create("1", values, desk.now_ms)
        assert caught.value.code == 170810
    for _ in range(440):
        desk.venue.create("1", desk.values("Sell", "0.001", "61000", category="spot"), desk.now_ms)
    with pytest.raises(Refusal) as caught:
        desk.create("Sell", "0.001", "61000", category="spot")
    assert caught.value.code == 170810, "500 altogether"


def test_what_can_not_be_paid_when_it_goes_off_is_cancelled(desk: Desk) -> None:
    order = desk.create("Buy", "100", triggerPrice="60500", triggerDirection=1)
    desk.trade("Buy", "60500", "1")
    assert (order.status, order.reject_reason, desk.size()) == ("Cancelled", "EC_Others", 0)
    assert desk.venue.accounts["1"].orders == {}


def test_spot_stops_reserve_or_do_not(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.1", "1")], Category.SPOT)
    desk.trade("Buy", "60000", "1", Category.SPOT)
    reserving = desk.create(
        "Sell", "2", "59000", category="spot", orderFilter="tpslOrder", triggerPrice="59500"
    )
    assert reserving.stop_order_type == "tpslOrder"
    with pytest.raises(Refusal) as caught:
        desk.create("Sell", "0.1", "61000", category="spot")
    assert caught.value.code == 170131
    desk.cancel(reserving, orderFilter="tpslOrder")
    free = desk.create("Sell", "2", category="spot", orderFilter="StopOrder", triggerPrice="59500")
    desk.create("Sell", "2", "61000", category="spot")
    desk.trade("Sell", "59400", "1", Category.SPOT)
    assert free.status is OrderStatus.CANCELLED
    with pytest.raises(Refusal) as caught:
        desk.create("Sell", "0.1", "61000", category="spot", triggerPrice="59000")
    assert caught.value.code == 10001


def test_spot_cancels_mean_normal_orders_unless_they_say_otherwise(desk: Desk) -> None:
    """As the exchange's pages on cancel and cancel-all have it."""
    desk.book([("60000", "1")], [("60000.1", "1")], Category.SPOT)
    desk.trade("Buy", "60000", "1", Category.SPOT)
    stop = desk.create("Sell", "0.1", category="spot", orderFilter="StopOrder", triggerPrice="59500")
    plain = desk.create("Sell", "0.1", "61000", category="spot")
    protecting = desk.create("Sell", "0.1", category="spot", orderFilter="tpslOrder", triggerPrice="59000")
    for order, wrong in ((stop, ""), (stop, "tpslOrder"), (plain, "StopOrder"), (protecting, "Order")):
        with pytest.raises(Refusal) as caught:
            desk.cancel(order, orderFilter=wrong)
        assert caught.value.code == 170213
    spot = {"category": "spot"}
    for values, meant in (
        (spot, plain),
        ({**spot, "orderFilter": "StopOrder"}, stop),
        ({**spot, "orderFilter": "tpslOrder"}, protecting),
    ):
        assert desk.venue.cancel_all("1", values, desk.now_ms) == [meant]
    with pytest.raises(Refusal) as caught:
        desk.venue.cancel_all("1", {**spot, "orderFilter": "Stop"}, desk.now_ms)
    assert caught.value.code == 10001


def test_a_spot_stop_that_has_gone_off_is_a_normal_order(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.1", "1")], Category.SPOT)
    desk.trade("Buy", "60000", "1", Category.SPOT)
    stop = desk.create("Sell", "0.1", "62000", category="spot", orderFilter="StopOrder", triggerPrice="59500")
    desk.trade("Sell", "59500", "1", Category.SPOT)
    assert stop.status is OrderStatus.NEW
    assert desk.cancel(stop).status is OrderStatus.CANCELLED


# Protection of positions


def test_what_an_order_brings_protects_its_position(desk: Desk) -> None:
    desk.create("Buy", "1", takeProfit="61000", stopLoss="59000")
    assert position(desk)["takeProfit"] == "61000"
    assert position(desk)["stopLoss"] == "59000"
    desk.book([("61000.0", "9")], [("61000.1", "9")])
    desk.trade("Buy", "61000", "1")
    assert desk.size() == 0
    assert stop_rows(desk, "TakeProfit")[-1] == ("Filled", "UNKNOWN")
    assert stop_rows(desk, "StopLoss")[-1] == ("Deactivated", "CancelByTpSlTsClear")
    assert position(desk)["stopLoss"] == "0"
    assert desk.venue.accounts["1"].orders == {}


@pytest.mark.parametrize("mode", ["Full", "Partial"])
def test_what_an_order_brought_names_it(desk: Desk, mode: str) -> None:
    desk.create("Buy", "1", takeProfit="61000", stopLoss="59000", tpslMode=mode, orderLinkId="mine")
    parents = {row["stopOrderType"]: row["parentOrderLinkId"] for row in desk.rows("order")}
    names = {f"{'Partial' if mode == 'Partial' else ''}{kind}": "mine" for kind in ("TakeProfit", "StopLoss")}
    assert parents == {"": "", **names}
    if mode == "Full":
        trading_stop(desk, takeProfit="62000")
        assert desk.rows("order")[-1]["parentOrderLinkId"] == "mine", "changed, it is still that order's"


def test_it_grows_and_shrinks_with_the_position(desk: Desk) -> None:
    desk.create("Buy", "1", stopLoss="59000")
    desk.create("Buy", "0.5")
    (stop,) = [o for o in desk.venue.accounts["1"].orders.values() if o.stop_order_type == "StopLoss"]
    assert stop.quantity == D("1.5")
    assert stop_quantities(desk) == ["1", "1.5"], "and it is told"
    desk.create("Sell", "0.7")
    assert stop.quantity == D("0.8")
    assert stop_quantities(desk) == ["1", "1.5", "0.8"]
    desk.trade("Sell", "58999", "1")
    assert (desk.size(), stop.status, stop.filled) == (0, "Filled", D("0.8"))


def test_a_position_that_turns_round_is_not_protected_any_more(desk: Desk) -> None:
    desk.create("Buy", "1", stopLoss="59000")
    desk.create("Sell", "2")
    assert desk.size() == -1
    assert stop_rows(desk, "StopLoss")[-1] == ("Deactivated", "CancelByTpSlTsClear")
    assert position(desk)["stopLoss"] == "0"


def test_reduce_only_orders_end_with_their_position(desk: Desk) -> None:
    desk.create("Buy", "1")
    order = desk.create("Sell", "5", "60500.0", reduceOnly=True)
    assert order.quantity == 1
    desk.create("Sell", "1")
    assert (order.status, order.cancel_type) == ("Cancelled", "CancelByReduceOnly")


def test_a_reduce_only_order_never_opens(desk: Desk) -> None:
    desk.create("Buy", "1")
    first = desk.create("Sell", "1", "60500.0", reduceOnly=True)
    second = desk.create("Sell", "0.8", "60500.0", reduceOnly=True)
    desk.trade("Buy", "60600.0", "50")
    assert (first.filled, second.filled, desk.size()) == (1, 0, 0)
    assert second.cancel_type == "CancelByReduceOnly"


def test_closing_everything_with_quantity_zero(desk: Desk) -> None:
    desk.create("Buy", "1.5")
    order = desk.create("Sell", "0", reduceOnly=True, closeOnTrigger=True)
    assert (order.quantity, desk.size()) == (D("1.5"), 0)


def test_trading_stop_sets_changes_and_removes(desk: Desk) -> None:
    def code(**values: Any) -> int:
        with pytest.raises(Refusal) as caught:
            trading_stop(desk, **values)
        return caught.value.code

    assert code(takeProfit="61000") == 10001  # no position
    desk.create("Buy", "1")
    assert code() == 10001
    assert code(takeProfit="59000") == 10001
    assert code(stopLoss="61000") == 10001
    assert code(takeProfit="61000.05") == 10001
    assert code(takeProfit="61000", tpslMode="") == 10001
    trading_stop(desk, takeProfit="61000", stopLoss="59000")
    assert code(takeProfit="61000") == 34040
    trading_stop(desk, takeProfit="62000")
    assert (position(desk)["takeProfit"], position(desk)["stopLoss"]) == ("62000", "59000")
    trading_stop(desk, takeProfit="0")
    assert (position(desk)["takeProfit"], position(desk)["stopLoss"]) == ("0", "59000")
    assert code(takeProfit="0") == 34040


def test_partial_protection_is_a_pair_of_which_one_cancels_the_other(desk: Desk) -> None:
    desk.create("Buy", "2")
    part = {"tpslMode": "Partial", "tpSize": "0.5", "slSize": "0.5"}
    trading_stop(desk, takeProfit="61000", stopLoss="59000", **part)
    trading_stop(desk, takeProfit="62000", **part, tpOrderType="Limit", tpLimitPrice="62000.0")
    desk.book([("61000.0", "9")], [("61000.1", "9")])
    desk.trade("Buy", "61000", "1")
    assert desk.size() == D("1.5")
    assert stop_rows(desk, "PartialStopLoss")[-1] == ("Deactivated", "CancelByOCOSlCanceledByTpTriggered")
    desk.trade("Buy", "62000", "1")
    (limit,) = desk.venue.accounts["1"].orders.values()
    assert (limit.order_type, limit.price, limit.status) == ("Limit", 62000, "New")
    for _ in range(20):
        trading_stop(desk, stopLoss="59000", **part)
    with pytest.raises(Refusal) as caught:
        trading_stop(desk, stopLoss="59000", **part)
    assert caught.value.code == 110061
    assert len(desk.venue.accounts["1"].orders) == 21


def test_an_order_brings_partial_protection_for_what_was_filled_of_it(desk: Desk) -> None:
    order = desk.create("Buy", "4", "60000.2", tpslMode="Partial", stopLoss="59000")
    assert order.filled == 3
    desk.cancel(order)
    (stop,) = desk.venue.accounts["1"].orders.values()
    assert (stop.stop_order_type, stop.quantity) == ("PartialStopLoss", 3)


def test_an_order_stands_even_if_its_position_has_all_the_protection_it_may_have(desk: Desk) -> None:
    for _ in range(22):
        order = desk.create("Buy", "0.01", tpslMode="Partial", stopLoss="59000")
        assert order.status is OrderStatus.FILLED
    assert desk.size() == D("0.22")
    assert len(desk.venue.accounts["1"].orders) == 20


def test_a_trailing_stop_follows(desk: Desk) -> None:
    desk.create("Buy", "1")
    trading_stop(desk, trailingStop="100", activePrice="60200")
    assert position(desk)["trailingStop"] == "100"
    assert desk.rows("order")[-1]["triggerPrice"] == "60200"
    (stop,) = desk.venue.accounts["1"].orders.values()
    desk.trade("Sell", "59900", "1")  # not active yet
    assert stop.is_waiting
    desk.trade("Buy", "60300", "1")
    desk.trade("Buy", "60250", "1")
    assert stop.trigger is not None
    assert stop.trigger.price == 60200
    desk.book(*BOOK)
    desk.trade("Sell", "60200", "1")
    assert (stop.status, desk.size()) == ("Filled", 0)
