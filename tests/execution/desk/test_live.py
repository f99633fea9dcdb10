"""Live orders, positions, coins and fills: what rows say counts, not when they come."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.live import REMEMBERED_ORDERS, LiveAccount
from schemas.names import Category

D = Decimal


def order(status: str, filled: str, updated: int, **more: Any) -> dict[str, Any]:
    return {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o1",
        "orderLinkId": "l1",
        "side": "Buy",
        "orderStatus": status,
        "price": "100",
        "qty": "3",
        "cumExecQty": filled,
        "cumExecValue": "",
        "updatedTime": str(updated),
        **more,
    }


LIFE = [
    order("Untriggered", "0", 1),
    order("Triggered", "0", 2),
    order("New", "0", 2),
    order("PartiallyFilled", "1", 3),
    order("PartiallyFilled", "1", 4, price="101"),
    order("PartiallyFilled", "2", 4, price="101"),
    order("Cancelled", "2", 5, price="101"),
]


@given(st.lists(st.integers(0, len(LIFE) - 1), min_size=1, max_size=20))
def test_the_latest_row_counts_in_any_order(indices: list[int]) -> None:
    account = LiveAccount()
    for index in indices:
        account.on_order(LIFE[index], 7)
    found = account.order(Category.LINEAR, link_id="l1")
    assert found is not None
    assert found.row is LIFE[max(indices)]
    assert found.is_open == (max(indices) < len(LIFE) - 1)
    assert len(account.open_orders) == int(found.is_open)
    assert found is account.order(Category.LINEAR, order_id="o1")


def test_a_fill_that_a_cancel_raced_still_counts() -> None:
    account = LiveAccount()
    account.on_order(order("Cancelled", "1", 5), 0)
    account.on_order(order("Filled", "3", 5), 0)
    account.on_order(order("Cancelled", "1", 9), 0)
    found = account.order(Category.LINEAR, order_id="o1")
    assert found is not None
    assert (found.status, found.filled, found.leaves) == ("Filled", D(3), D(0))


def test_orders_of_two_categories_are_kept_apart() -> None:
    account = LiveAccount()
    account.on_order(order("New", "0", 1), 0)
    assert account.order(Category.SPOT, link_id="l1") is None
    assert account.order(Category.SPOT, order_id="o1") is None


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        "text",
        {},
        order("NEW", "0", 1),
        order("New", "0", 1, category="nothing"),
        order("New", "0", 1, orderId=""),
        order("New", "0", 1, orderId=7),
        order("New", "0", 1, qty="many"),
        order("New", "0", 1, orderStatus=["New"]),
    ],
)
def test_a_malformed_row_is_counted_and_changes_nothing(row: object) -> None:
    account = LiveAccount()
    assert account.on_order(row, 0) is None
    assert account.on_execution(row) is None
    assert account.on_position(row) is None
    account.on_wallet(row, 1)
    assert account.malformed == 4
    assert not account.open_orders
    assert not account.fills
    assert not account.positions
    assert not account.coins


def test_closed_orders_are_forgotten_in_the_end_and_open_ones_never() -> None:
    account = LiveAccount()
    account.on_order(order("New", "0", 1, orderId="open", orderLinkId="open"), 0)
    for index in range(REMEMBERED_ORDERS + 5):
        account.on_order(order("Filled", "3", 1, orderId=f"o{index}", orderLinkId=f"l{index}"), 0)
    assert account.order(Category.LINEAR, order_id="o4") is None
    assert account.order(Category.LINEAR, link_id="l4") is None
    assert account.order(Category.LINEAR, order_id="o5") is not None
    assert account.order(Category.LINEAR, link_id="open") is not None


def fill(identity: str = "e1", **more: Any) -> dict[str, Any]:
    return {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "o1",
        "orderLinkId": "",
        "execId": identity,
        "execPrice": "100",
        "execQty": "1",
        "side": "Buy",
        "isMaker": True,
        "execTime": "5",
        "seq": 1,
        **more,
    }


def test_a_fill_counts_once_and_its_fee_is_completed() -> None:
    account = LiveAccount()
    fast, full = fill(), fill(execType="Trade", execFee="0.02", feeCurrency="USDT", execPnl="3")
    assert account.on_execution(fast) is not None
    assert account.on_execution(full) is None
    assert account.on_execution(fast) is None
    assert len(account.fills) == 1
    assert (account.fills["e1"].fee, account.fills["e1"].profit) == (D("0.02"), D(3))


def position(sequence: int, size: str, updated: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "category": "linear",
        "symbol": "BTCUSDT",
        "positionIdx": 0,
        "side": "Sell" if size != "0" else "",
        "size": size,
        "entryPrice": "100",
        "seq": sequence,
        "updatedTime": str(updated),
        **more,
    }


def test_the_position_of_the_highest_sequence_counts() -> None:
    rows = [position(-1, "0"), position(5, "1", 1), position(5, "1", 2, leverage="20"), position(9, "0", 3)]
    for shuffled in itertools.permutations(rows):
        account = LiveAccount()
        for row in shuffled:
            account.on_position(row)
        assert account.positions[Category.LINEAR, "BTCUSDT", 0].row is rows[3]
    account = LiveAccount()
    for row in rows[:3]:
        account.on_position(row)
    found = account.positions[Category.LINEAR, "BTCUSDT", 0]
    assert (found.signed, found.leverage) == (D(-1), D(20))


def test_rest_calls_the_average_price_otherwise() -> None:
    account = LiveAccount()
    row = {key: value for key, value in position(1, "1").items() if key not in ("category", "entryPrice")}
    account.on_position({**row, "avgPrice": "77"}, category=Category.INVERSE)
    assert account.positions[Category.INVERSE, "BTCUSDT", 0].entry_price == D(77)


def coins(**balances: str) -> dict[str, Any]:
    return {"coin": [{"coin": name, "walletBalance": text} for name, text in balances.items()]}


def test_the_latest_wallet_counts_coin_by_coin() -> None:
    account = LiveAccount()
    account.on_wallet(coins(USDT="5"), 20)
    account.on_wallet(coins(USDT="4", BTC="1"), 10)
    assert {c.coin: c.wallet_balance for c in account.coins.values()} == {"USDT": D(5), "BTC": D(1)}
    account.on_wallet(coins(USDT="6"), 15, is_whole=True)
    assert account.coins["BTC"].wallet_balance == 0, "left out of a list of everything"
    assert account.coins["USDT"].wallet_balance == D(5)


def test_one_bad_coin_does_not_hide_the_others() -> None:
    account = LiveAccount()
    account.on_wallet(
        {"coin": [{"coin": "USDT", "walletBalance": "x"}, 5, {"coin": "BTC", "walletBalance": "1"}]}, 1
    )
    assert account.malformed == 2
    assert list(account.coins) == ["BTC"]
