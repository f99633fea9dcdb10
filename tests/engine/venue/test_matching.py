from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.venue import OrderStatus, Refusal, TradingVenue, rules_of
from schemas.names import Category
from tests.engine.venue.conftest import BOOK, INSTRUMENTS, NOW_MS, Desk

D = Decimal


def refusal(desk: Desk, *arguments: Any, **more: Any) -> int:
    with pytest.raises(Refusal) as caught:
        desk.create(*arguments, **more)
    return caught.value.code


# Takers


def test_a_taker_walks_the_book_from_the_best_price_on_and_rests_with_what_is_left(desk: Desk) -> None:
    order = desk.create("Buy", "4", "60000.2")
    fills = [(row["execPrice"], row["execQty"], row["isMaker"]) for row in desk.rows("execution")]
    assert fills == [("60000.1", "1", False), ("60000.2", "2", False)]
    assert len({row["seq"] for row in desk.rows("execution")}) == 1  # one match
    assert len({row["execId"] for row in desk.rows("execution")}) == 2
    assert desk.rows("position")[-1]["seq"] == desk.rows("execution")[-1]["seq"]
    assert order.status is OrderStatus.PARTIALLY_FILLED
    assert order.leaves == 1
    assert [row["orderStatus"] for row in desk.rows("order")] == ["PartiallyFilled"]
    assert desk.size() == 3


def test_what_was_taken_is_there_again_once_its_level_changes(desk: Desk) -> None:
    assert desk.create("Buy", "1", "60000.1").status is OrderStatus.FILLED
    assert desk.create("Buy", "1", "60000.1", timeInForce="IOC").status is OrderStatus.CANCELLED
    desk.book(*BOOK)  # unchanged: still taken
    assert desk.create("Buy", "1", "60000.1", timeInForce="IOC").status is OrderStatus.CANCELLED
    desk.book(BOOK[0], [("60000.1", "0.4"), *BOOK[1][1:]])
    order = desk.create("Buy", "1", "60000.1", timeInForce="IOC")
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, D("0.4"))


def test_a_market_order_goes_no_further_than_its_protective_price(desk: Desk) -> None:
    desk.book([("60000.0", "1")], [("60000.1", "1"), ("63001.0", "9")])
    order = desk.create("Buy", "2")
    assert (order.filled, order.status) == (1, OrderStatus.CANCELLED)
    assert order.time_in_force == "IOC"
    assert order.reject_reason == "EC_NoEnoughQtyToFill"


def test_slippage_tolerance_narrows_it(desk: Desk) -> None:
    order = desk.create("Buy", "4", slippageToleranceType="TickSize", slippageTolerance="1")
    assert order.filled == 3


def test_without_a_book_a_market_order_is_cancelled() -> None:
    order = Desk().create("Buy", "1")
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, 0)


@pytest.mark.parametrize(
    ("qty", "status", "filled", "reason"),
    [("3", "Filled", "3", "EC_NoError"), ("3.001", "Cancelled", "0", "EC_CancelForNoFullFill")],
)
def test_fill_or_kill(desk: Desk, qty: str, status: str, filled: str, reason: str) -> None:
    order = desk.create("Buy", qty, "60000.2", timeInForce="FOK")
    assert (order.status, str(order.filled), order.reject_reason) == (status, filled, reason)


def test_immediate_or_cancel_that_finds_nothing(desk: Desk) -> None:
    order = desk.create("Buy", "1", "60000.0", timeInForce="IOC")
    assert (order.status, order.reject_reason) == (OrderStatus.CANCELLED, "EC_NoImmediateQtyToFill")


def test_post_only_never_takes(desk: Desk) -> None:
    crossing = desk.create("Buy", "1", "60000.1", timeInForce="PostOnly")
    assert (crossing.status, crossing.reject_reason) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")
    assert desk.create("Buy", "1", "60000.0", timeInForce="PostOnly").status is OrderStatus.NEW
    assert desk.rows("execution") == []


# Makers and the queue


def test_a_maker_waits_for_what_was_there_before_it(desk: Desk) -> None:
    order = desk.create("Buy", "0.5", "60000.0")
    desk.trade("Sell", "60000.0", "0.7")
    assert order.filled == 0
    assert order.queue_ahead == D("0.3")
    desk.trade("Sell", "60000.0", "0.5")
    assert order.filled == D("0.2")
    desk.trade("Sell", "60000.0", "9")
    assert order.status is OrderStatus.FILLED
    assert {row["isMaker"] for row in desk.rows("execution")} == {True}
    assert {row["execPrice"] for row in desk.rows("execution")} == {"60000"}


def test_a_level_that_shrinks_below_what_is_ahead_lets_one_move_up(desk: Desk) -> None:
    order = desk.create("Buy", "0.5", "60000.0")
    desk.book([("60000.0", "0.25"), *BOOK[0][1:]], BOOK[1])
    assert order.queue_ahead == D("0.25")
    desk.book([("60000.0", "8"), *BOOK[0][1:]], BOOK[1])  # who comes later stands behind
    assert order.queue_ahead == D("0.25")
    desk.book(BOOK[0][1:], BOOK[1])
    assert order.queue_ahead == 0


def test_a_trade_at_a_worse_price_had_to_come_by(desk: Desk) -> None:
    order = desk.create("Buy", "2", "60000.0")
    desk.trade("Sell", "59999.9", "0.5")
    assert order.filled == D("0.5")
    desk.trade("Buy", "59999.0", "50")  # a buyer trades with sellers, not with us
    assert order.filled == D("0.5")


def test_price_before_time_before_size(desk: Desk) -> None:
    late = desk.create("Buy", "1", "60000.0")
    later = desk.create("Buy", "1", "60000.0", uid="2")
    better = desk.create("Buy", "1", "60000.0")
    desk.amend(better, price="60000.0", qty="2")  # more of it goes behind
    best = desk.create("Sell", "1", "60000.1")
    assert best.status is OrderStatus.NEW
    desk.book([], BOOK[1])
    desk.trade("Sell", "60000.0", "2.5")
    assert (late.filled, later.filled, better.filled) == (1, 1, D("0.5"))


def test_the_book_running_into_an_order_fills_it_at_its_own_price(desk: Desk) -> None:
    order = desk.create("Buy", "3", "60000.0")
    desk.book([("59990.0", "1")], [("59995.0", "1"), ("59999.0", "0.5"), ("60001.0", "4")])
    assert order.filled == D("1.5")
    assert {row["execPrice"] for row in desk.rows("execution")} == {"60000"}
    # That volume is gone: nobody else gets it.
    taker = desk.create("Buy", "1", "60000.0", uid="2", timeInForce="IOC")
    assert taker.filled == 0


def test_what_the_book_runs_into_is_filled_by_no_more_than_it_shows(desk: Desk) -> None:
    first = desk.create("Buy", "1", "60000.0")
    second = desk.create("Buy", "1", "60000.0", uid="2")
    third = desk.create("Buy", "1", "59998.0", uid="2")
    desk.book([("59990.0", "1")], [("59995.0", "1.2"), ("59999.0", "0.3"), ("60001.0", "4")])
    assert (first.filled, second.filled, third.filled) == (1, D("0.5"), 0)


def test_an_order_beyond_the_displayed_depth_learns_its_place_when_it_comes_into_sight(desk: Desk) -> None:
    order = desk.create("Buy", "1", "59000.0")
    assert order.queue_ahead is None
    desk.trade("Sell", "59000.0", "1")
    assert order.filled == 0
    desk.book([("59000.0", "3"), ("58999.0", "1")], [("59000.1", "1")])
    assert order.queue_ahead == 3


def test_two_accounts_trade_with_each_other_before_the_world_at_a_worse_price(desk: Desk) -> None:
    maker = desk.create("Sell", "0.3", "60000.0", uid="2", timeInForce="PostOnly")
    assert maker.status is OrderStatus.CANCELLED  # the bid outside is there
    maker = desk.create("Sell", "0.3", "60000.1", uid="2")
    taker = desk.create("Buy", "1.2", "60000.1")
    assert (taker.status, maker.filled) == (OrderStatus.FILLED, D("0.2"))
    assert desk.size() == D("1.2")
    assert desk.size("2") == D("-0.2")


@pytest.mark.parametrize(
    ("smp", "maker_status", "taker_status"),
    [
        ("None", "Filled", "Filled"),
        ("CancelMaker", "Cancelled", "New"),
        ("CancelTaker", "New", "Cancelled"),
        ("CancelBoth", "Cancelled", "Cancelled"),
    ],
)
def test_an_account_meeting_itself(desk: Desk, smp: str, maker_status: str, taker_status: str) -> None:
    desk.book([("59990.0", "1")], [("60010.0", "1")])
    maker = desk.create("Sell", "0.3", "60000.0")
    taker = desk.create("Buy", "0.3", "60000.0", smpType=smp)
    assert (maker.status, taker.status) == (maker_status, taker_status)
    cancelled = {order.cancel_type for order in (maker, taker) if order.status == "Cancelled"}
    assert cancelled <= {"CancelBySmp"}
    for order, other in ((maker, taker), (taker, maker)):
        last = [row for row in desk.rows("order") if row["orderId"] == order.order_id][-1]
        assert last["smpOrderId"] == (other.order_id if order.status == "Cancelled" else "")


# Amend and cancel


def test_less_keeps_the_place_more_or_another_price_loses_it(desk: Desk) -> None:
    order = desk.create("Buy", "1", "60000.0")
    desk.trade("Sell", "60000.0", "0.6")
    assert order.queue_ahead == D("0.4")
    desk.amend(order, qty="0.5")
    assert order.queue_ahead == D("0.4")
    desk.amend(order, qty="0.7")
    assert order.queue_ahead == 1
    desk.amend(order, price="60000.1")
    assert order.status is OrderStatus.FILLED
    assert [row["execPrice"] for row in desk.rows("execution")] == ["60000.1"]


def test_what_can_not_be_amended(desk: Desk) -> None:
    order = desk.create("Buy", "1", "60000.0")

    def code(**new: str) -> int:
        with pytest.raises(Refusal) as caught:
            desk.amend(order, **new)
        return caught.value.code

    assert code(qty="1") == 10001
    assert code(newQty="2") == 10001
    assert code() == 10001
    assert code(price="60000.05") == 10001
    assert code(price="70000.0") == 110121
    assert code(qty="100000") == 110007
    assert code(triggerPrice="61000") == 10001
    desk.trade("Sell", "60000.0", "1.4")
    assert code(qty="0.4") == 110064
    assert code(takeProfit="61000") == 110059
    assert (order.quantity, order.price) == (1, D("60000.0"))


def test_cancelling(desk: Desk) -> None:
    order = desk.create("Buy", "1", "60000.0", orderLinkId="mine")
    key = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "mine"}
    assert desk.venue.cancel("1", key, desk.now_ms) is order
    assert (order.status, order.cancel_type) == (OrderStatus.CANCELLED, "CancelByUser")
    for values, expected in (
        (key, 110010),
        ({**key, "orderLinkId": "other"}, 110001),
        ({**key, "symbol": "ETHUSDT"}, 110001),
        ({"category": "linear", "symbol": "BTCUSDT"}, 10001),
        ({**key, "category": "spot"}, 170213),
    ):
        with pytest.raises(Refusal) as caught:
            desk.venue.cancel("1", values, desk.now_ms)
        assert caught.value.code == expected
    filled = desk.create("Buy", "1", "60000.1")
    with pytest.raises(Refusal) as caught:
        desk.cancel(filled)
    assert caught.value.code == 110008


def test_cancel_all_means_what_it_names(desk: Desk) -> None:
    linear = desk.create("Buy", "1", "59990.0")
    spot = desk.create("Buy", "0.01", "59990", category="spot")
    with pytest.raises(Refusal) as caught:
        desk.venue.cancel_all("1", {"category": "linear"}, desk.now_ms)
    assert caught.value.code == 10001
    assert desk.venue.cancel_all("1", {"category": "linear", "settleCoin": "USDC"}, 0) == []
    assert desk.venue.cancel_all("2", {"category": "linear", "settleCoin": "USDT"}, 0) == []
    assert desk.venue.cancel_all("1", {"category": "linear", "symbol": "BTCUSDT"}, 0) == [linear]
    assert desk.venue.cancel_all("1", {"category": "spot"}, 0) == [spot]
    assert desk.venue.accounts["1"].orders == {}


# Refusals


@pytest.mark.parametrize(
    ("qty", "price", "more", "code"),
    [
        ("1", "60000.05", {}, 10001),
        ("1", "0.05", {}, 110003),
        ("1", "2000000.0", {}, 110003),
        ("1", "63000.2", {}, 110121),
        ("0.0001", "60000.0", {}, 10001),
        ("1.0005", "60000.0", {}, 10001),
        ("17000001", "60000.0", {}, 10001),
        ("0.001", "4000.0", {}, 110094),
        ("100", "60000.0", {}, 110007),
        ("1", "60000.0", {"reduceOnly": True}, 110017),
        ("1", "60000.0", {"positionIdx": 1}, 10001),
        ("1", "60000.0", {"symbol": "NOPE"}, 10001),
        ("1", "60000.0", {"category": "spread"}, 10001),
        ("1", "60000.0", {"timeInForce": "GoodTillCancel"}, 10001),
        ("1", "60000.0", {"timeInForce": "RPI"}, 110119),
        ("1", "60000.0", {"orderLinkId": "x" * 37}, 10001),
        ("1", "60000.0", {"orderLinkId": "a b"}, 10001),
        ("1", "60000.0", {"side": "buy"}, 10001),
        ("1", "60000.0", {"reduceOnly": True, "takeProfit": "61000"}, 10001),
        ("1", "60000.0", {"takeProfit": "59000"}, 10001),
        ("1", "60000.0", {"triggerPrice": "61000"}, 10001),
        ("1", "60000.0", {"triggerPrice": "59000", "triggerDirection": 1}, 110092),
        ("1", "60000.0", {"triggerPrice": "61000", "triggerDirection": 2}, 110093),
        (1, "60000.0", {}, 10001),
        ("1e400", "60000.0", {}, 10001),
        ("NaN", "60000.0", {}, 10001),
        ("-1", "60000.0", {}, 10001),
        ("", "60000.0", {}, 10001),
    ],
)
def test_refused_before_anything_happens(
    desk: Desk, qty: Any, price: str, more: dict[str, Any], code: int
) -> None:
    before = len(desk.events), desk.venue.accounts["1"].balances.copy()
    values = {**desk.values("Buy", qty, price), **more}
    with pytest.raises(Refusal) as caught:
        desk.venue.create("1", values, desk.now_ms)
    assert caught.value.code == code
    assert (len(desk.events + desk.venue.take_events()), desk.venue.accounts["1"].balances) == before
    assert desk.venue.accounts["1"].orders == {}


def test_spot_says_it_with_other_codes(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.1", "1")], Category.SPOT)
    assert refusal(desk, "Buy", "1", "60000.005", category="spot") == 170134
    assert refusal(desk, "Buy", "0.0000001", "60000", category="spot") == 170136
    assert refusal(desk, "Buy", "0.0100001", "60000", category="spot") == 170137
    assert refusal(desk, "Buy", "0.00001", "60000", category="spot") == 170140
    assert refusal(desk, "Buy", "2", "60000", category="spot") == 170131
    assert refusal(desk, "Sell", "3", "60000", category="spot") == 170131
    assert refusal(desk, "Buy", "0.01", "70000", category="spot") == 170193
    assert refusal(desk, "Sell", "0.01", "50000", category="spot") == 170194
    desk.create("Buy", "0.01", "60000", category="spot", orderLinkId="a")
    assert refusal(desk, "Buy", "0.01", "60000", category="spot", orderLinkId="a") == 170141


def test_a_link_id_is_used_once(desk: Desk) -> None:
    first = desk.create("Buy", "1", "60000.0", orderLinkId="a")
    assert refusal(desk, "Buy", "1", "60000.0", orderLinkId="a") == 110072
    desk.cancel(first)
    assert refusal(desk, "Buy", "1", "60000.0", orderLinkId="a") == 110072
    assert desk.create("Buy", "1", "60000.0", uid="2", orderLinkId="a").is_open


def test_options_want_a_link_id(desk: Desk) -> None:
    desk.book([("100", "5")], [("105", "5")], Category.OPTION)
    assert refusal(desk, "Buy", "0.1", "100", category="option") == 10001
    order = desk.create("Buy", "0.1", "105", category="option", orderLinkId="o-1")
    assert order.status is OrderStatus.FILLED
    assert desk.size(category=Category.OPTION) == D("0.1")


def test_as_many_orders_as_there_may_be(desk: Desk) -> None:
    for _ in range(500):
        desk.venue.create("1", desk.values("Buy", "0.001", "59990.0"), desk.now_ms)
    assert refusal(desk, "Buy", "0.001", "59990.0") == 110020
    for _ in range(10):
        desk.create("Buy", "0.001", "60000.0", uid="2", triggerPrice="61000", triggerDirection=1)
    trigger = {"triggerPrice": "61000", "triggerDirection": 1}
    assert refusal(desk, "Buy", "0.001", "60000.0", uid="2", **trigger) == 110009


def test_a_cancel_that_comes_just_too_late_is_told_by_a_second_filled(desk: Desk) -> None:
    order = desk.create("Buy", "1", "60000.1")
    filled_ms = order.updated_ms
    with pytest.raises(Refusal):
        desk.venue.cancel("1", desk.key(order), filled_ms + 5, race_ms=5)
    assert desk.venue.cancel("1", desk.key(order), filled_ms + 4, race_ms=5) is order
    desk.tick()
    first, second = desk.rows("order")
    assert (first["orderStatus"], first["cancelType"]) == ("Filled", "UNKNOWN")
    assert (second["orderStatus"], second["cancelType"], second["rejectReason"]) == (
        "Filled",
        "CancelByUser",
        "EC_OrigClOrdIDDoesNotExist",
    )
    cancelled = desk.cancel(desk.create("Buy", "1", "59000.0"))
    with pytest.raises(Refusal) as caught:
        desk.venue.cancel("1", desk.key(cancelled), cancelled.updated_ms, race_ms=5)
    assert caught.value.code == 110010


def test_the_position_is_told_even_if_nothing_changes(desk: Desk) -> None:
    order = desk.create("Buy", "1", "59000.0")
    assert [(row["side"], row["size"], row["seq"]) for row in desk.rows("position")] == [("", "0", -1)]
    desk.cancel(order)
    assert len(desk.rows("position")) == 2


def test_who_begins_again_repeats_no_id_and_no_sequence() -> None:
    rows = []
    for began_ms in (NOW_MS, NOW_MS + 1):
        venue = TradingVenue(7, began_ms)
        venue.open_account("1", {"USDT": D(100_000)})
        venue.list_instrument(rules_of(INSTRUMENTS[Category.LINEAR]))
        venue.on_book(Category.LINEAR, "BTCUSDT", [], [(D(60_000), D(1))], NOW_MS)
        values = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}
        venue.create("1", values, NOW_MS)
        rows.append(next(event.row for event in venue.take_events() if event.topic == "execution"))
    first, second = rows
    assert first["orderId"] != second["orderId"]
    assert first["execId"] != second["execId"]
    assert first["seq"] < second["seq"]
