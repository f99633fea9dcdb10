"""What fills do to balances and positions, reckoned by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from engine.venue import Refusal
from schemas.names import Category
from tests.engine.venue.conftest import NOW_MS, Desk

D = Decimal


def test_a_round_trip_in_linear(desk: Desk) -> None:
    desk.create("Buy", "1")  # 1 at 60000.1 as a taker
    opening_fee = D("60000.1") * D("0.00055")
    assert desk.balance() == 100_000 - opening_fee
    desk.create("Sell", "0.4", "60100.0")
    desk.trade("Buy", "60101.0", "9")  # 0.4 at 60100.0 as a maker
    closing_fee = D("60100.0") * D("0.4") * D("0.0002")
    profit = D("99.9") * D("0.4")
    assert desk.balance() == 100_000 - opening_fee + profit - closing_fee
    row = desk.rows("execution")[-1]
    assert (row["closedSize"], D(row["execPnl"])) == ("0.4", profit)
    position = desk.rows("position")[-1]
    assert (position["size"], position["entryPrice"], position["side"]) == ("0.6", "60000.1", "Buy")
    assert D(position["cumRealisedPnl"]) == profit


def test_turning_round_opens_at_the_new_price(desk: Desk) -> None:
    desk.create("Buy", "1")
    desk.create("Sell", "3")  # 1 at 60000.0, 2 at 59999.9
    position = desk.rows("position")[-1]
    assert (position["side"], position["size"], position["entryPrice"]) == ("Sell", "2", "59999.9")
    assert D(position["cumRealisedPnl"]) == D("-0.1")


def test_inverse_is_reckoned_in_coins(desk: Desk) -> None:
    desk.book([("50000.0", "999999")], [("50000.0", "999999")], Category.INVERSE)
    desk.create("Buy", "10000", category="inverse")
    desk.book([("62500.0", "999999")], [("62500.0", "999999")], Category.INVERSE)
    desk.create("Sell", "10000", category="inverse")
    # 0.2 coins' worth was bought, 0.16 coins' worth sold: 0.04 coins were won.
    fees = (D("0.2") + D("0.16")) * D("0.00055")
    assert desk.balance("BTC") == 2 + D("0.04") - fees
    assert desk.size(category=Category.INVERSE) == 0


def test_spot_swaps_coins_and_takes_the_fee_from_what_is_received(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.5", "1")], Category.SPOT)
    desk.create("Buy", "0.5", "60000.5", category="spot")
    assert desk.balance() == 100_000 - D("30000.25")
    assert desk.balance("BTC") == 2 + D("0.5") * D("0.999")
    desk.create("Sell", "1", category="spot")
    assert desk.balance("BTC") == D("1.4995")
    assert desk.balance() == D("69999.75") + 60000 * D("0.999")
    assert desk.rows("position") == []


def test_a_spot_market_order_buys_for_an_amount(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000", "0.001"), ("60100", "1")], Category.SPOT)
    order = desk.create("Buy", "100", category="spot")
    # 60 for 0.001, and with 40 as many whole steps as it buys at 60100.
    assert order.filled == D("0.001") + D("0.000665")
    assert desk.balance() == 100_000 - 60 - D("60100") * D("0.000665")
    assert order.status == "PartiallyFilledCanceled"
    by_base = desk.create("Buy", "0.01", category="spot", marketUnit="baseCoin")
    assert by_base.filled == D("0.01")


def test_spot_locks_what_an_order_may_cost(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000.5", "1")], Category.SPOT)
    order = desk.create("Buy", "1", "50000", category="spot")
    account = desk.venue.accounts["1"]
    assert account.claims(desk.venue.price_of).locked["USDT"] == 50_000
    assert account.available("USDT", desk.venue.price_of) == 50_000
    desk.amend(order, qty="1.5")
    assert account.claims(desk.venue.price_of).locked["USDT"] == 75_000
    desk.cancel(order)
    assert account.claims(desk.venue.price_of).locked == {}


def test_margin_is_what_a_position_and_opening_orders_need(desk: Desk) -> None:
    account, price_of = desk.venue.accounts["1"], desk.venue.price_of
    desk.create("Buy", "1", "60000.0")
    assert account.available("USDT", price_of) == 94_000  # a tenth of it
    desk.trade("Sell", "59999.0", "3")
    assert desk.size() == 1
    desk.prices(mark="60000")
    closing = desk.create("Sell", "1", "60500.0")  # would close: needs nothing
    held = account.available("USDT", price_of)
    desk.cancel(closing)
    assert account.available("USDT", price_of) == held
    desk.prices(mark="59000")
    assert account.available("USDT", price_of) == held - 1_000
    wallet = desk.venue.wallet_row(account, ["USDT"])["coin"][0]
    assert (wallet["totalPositionIM"], wallet["unrealisedPnl"]) == ("6000", "-1000")


def test_leverage(desk: Desk) -> None:
    venue = desk.venue
    account, market = venue.accounts["1"], venue.markets[Category.LINEAR, "BTCUSDT"]

    def set_leverage(buy: str, sell: str) -> None:
        venue.settings.set_leverage(account, market, {"buyLeverage": buy, "sellLeverage": sell})

    for buy, sell, code in (
        ("10", "10", 110043),
        ("5", "6", 10001),
        ("101", "101", 10001),
        ("0", "0", 10001),
    ):
        with pytest.raises(Refusal) as caught:
            set_leverage(buy, sell)
        assert caught.value.code == code
    set_leverage("50", "50")
    desk.create("Buy", "1", "60000.0")
    assert account.available("USDT", venue.price_of) == 98_800
    desk.create("Buy", "2")
    with pytest.raises(Refusal) as caught:
        set_leverage("1", "1")
    assert caught.value.code == 110044
    assert account.leverage_of(market.rules) == 50


def test_hedge_mode_keeps_two_positions(desk: Desk) -> None:
    venue = desk.venue
    account, market = venue.accounts["1"], venue.markets[Category.LINEAR, "BTCUSDT"]

    def switch(hedge: bool) -> None:
        venue.settings.switch_mode(account, [market], hedge)

    def code(call: Any, *arguments: Any, **more: Any) -> int:
        with pytest.raises(Refusal) as caught:
            call(*arguments, **more)
        return caught.value.code

    assert code(switch, False) == 110025
    order = desk.create("Buy", "1", "59000.0")
    assert code(switch, True) == 110028
    desk.cancel(order)
    switch(True)
    assert code(desk.create, "Buy", "1") == 10001
    desk.create("Buy", "1", positionIdx=1)
    desk.create("Sell", "0.4", positionIdx=2)
    assert (desk.size(index=1), desk.size(index=2)) == (1, D("-0.4"))
    assert code(switch, False) == 110024
    # The other side of an index closes, and never more than there is.
    desk.create("Sell", "5", positionIdx=1)
    assert (desk.size(index=1), desk.size(index=2)) == (0, D("-0.4"))
    assert code(desk.create, "Sell", "1", positionIdx=1) == 110017
    desk.create("Buy", "0.4", positionIdx=2)
    switch(False)
    inverse = venue.markets[Category.INVERSE, "BTCUSD"]
    assert code(venue.settings.switch_mode, account, [inverse], True) == 110029


def test_funding_moves_money_from_longs_to_shorts(desk: Desk) -> None:
    desk.create("Buy", "1", uid="1")
    desk.create("Sell", "1", uid="2")
    before = desk.balance(uid="1"), desk.balance(uid="2")
    due_ms = NOW_MS + 1_000
    desk.prices(mark="60000", funding_rate="0.0001", next_funding_ms=due_ms)
    desk.now_ms = due_ms - 1
    desk.venue.advance(desk.now_ms)
    assert (desk.balance(uid="1"), desk.balance(uid="2")) == before
    desk.now_ms = due_ms
    desk.prices(mark="50000", funding_rate="0.9", next_funding_ms=due_ms + 28_800_000)
    assert desk.balance(uid="1") == before[0] - 6
    assert desk.balance(uid="2") == before[1] + 6
    rows = [row for row in desk.rows("execution") if row["execType"] == "Funding"]
    assert [(row["execFee"], row["feeRate"]) for row in rows] == [("6", "0.0001")]
    desk.venue.advance(due_ms + 1)
    assert desk.balance(uid="1") == before[0] - 6


def test_greeks_are_told_with_the_options_that_have_them(desk: Desk) -> None:
    desk.book([("100", "5")], [("105", "5")], Category.OPTION)
    desk.prices(Category.OPTION, mark="102", greeks={"delta": D("0.5"), "vega": D("12.25")})
    assert desk.rows("greeks") == []
    desk.create("Buy", "0.1", category="option", orderLinkId="a")
    assert desk.rows("greeks")[-1] == {
        "baseCoin": "BTC",
        "totalDelta": "0.05",
        "totalGamma": "0",
        "totalVega": "1.225",
        "totalTheta": "0",
    }
    assert desk.rows("position")[-1]["delta"] == "0.05"
    desk.create("Sell", "0.3", category="option", orderLinkId="b")
    assert desk.rows("greeks")[-1]["totalDelta"] == "-0.1"
    desk.create("Buy", "0.01")
    assert len(desk.rows("greeks")) == 2


def test_an_amount_in_quote_coin_has_bounds_too(desk: Desk) -> None:
    desk.book([("60000", "1")], [("60000", "1")], Category.SPOT)
    for amount, code in (("100.00000001", 170148), ("8000000", 170124), ("4.99", 170140), ("100001", 170131)):
        with pytest.raises(Refusal) as caught:
            desk.create("Buy", amount, category="spot")
        assert caught.value.code == code


def test_keys_that_some_categories_do_not_have(desk: Desk) -> None:
    desk.book([("100", "5")], [("105", "5")], Category.OPTION)
    desk.book([("60000", "1")], [("60000.5", "1")], Category.SPOT)
    for category, absent in (
        ("linear", set()),
        ("option", {"createType"}),
        ("spot", {"createType", "tpslMode"}),
    ):
        desk.create("Buy", "0.01", category=category, orderLinkId=f"k-{category}", marketUnit="baseCoin")
        row, fill = desk.rows("order")[-1], desk.rows("execution")[-1]
        assert {"createType", "tpslMode"} - set(row) == absent
        assert ("createType" in fill) == (category == "linear")


def test_averages_are_those_of_the_prices_however_little_was_traded(desk: Desk) -> None:
    """Values are booked to twelve decimals of a coin; an average of what is booked would be off in the fourth."""
    desk.book([("60000.1", "9")], [("60000.2", "9")], Category.INVERSE)
    order = desk.create("Buy", "7", category="inverse")
    assert order.filled == 7
    assert desk.rows("order")[-1]["avgPrice"] == "60000.2"
    assert desk.rows("position")[-1]["entryPrice"] == "60000.2"
