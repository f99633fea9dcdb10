from __future__ import annotations

from recorder.gateway.trading.rates import Rates, order_limit
from schemas.names import Category


def test_the_exchanges_numbers() -> None:
    numbers = {
        (category, operation): order_limit(category, operation)
        for category in (Category.LINEAR, Category.OPTION, Category.SPOT)
        for operation in ("create", "amend", "cancel", "cancel-all")
    }
    assert [numbers[Category.LINEAR, o] for o in ("create", "amend", "cancel", "cancel-all")] == [10] * 4
    assert [numbers[Category.OPTION, o] for o in ("create", "amend", "cancel", "cancel-all")] == [
        10,
        10,
        10,
        1,
    ]
    assert [numbers[Category.SPOT, o] for o in ("create", "amend", "cancel", "cancel-all")] == [
        20,
        10,
        20,
        20,
    ]


def test_the_window_rolls() -> None:
    rates = Rates(2)
    first = rates.order("1", Category.LINEAR, "create", 0)
    assert (first.limit, first.remaining, first.granted, first.reset_ms) == (2, 1, 1, 0)
    rates.order("1", Category.INVERSE, "create", 600)  # futures are one
    refused = rates.order("1", Category.LINEAR, "create", 999)
    assert (refused.remaining, refused.granted, refused.reset_ms) == (0, 0, 1_000)
    assert rates.order("2", Category.LINEAR, "create", 999).granted == 1
    assert rates.order("1", Category.SPOT, "create", 999).granted == 1
    assert rates.order("1", Category.LINEAR, "create", 1_000).granted == 1
    assert rates.order("1", Category.LINEAR, "create", 1_599).granted == 0
    assert refused.headers() == {
        "X-Bapi-Limit": "2", "X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": "1000",
    }  # fmt: skip


def test_batches_cost_their_orders_and_those_of_options_one() -> None:
    rates = Rates()
    assert rates.order("1", Category.LINEAR, "create-batch", 0, 8).granted == 8
    assert rates.order("1", Category.LINEAR, "create-batch", 0, 8).granted == 2
    assert rates.order("1", Category.LINEAR, "create", 0).granted == 1
    for _ in range(10):
        assert rates.order("1", Category.OPTION, "create-batch", 0, 20).granted == 20
    assert rates.order("1", Category.OPTION, "create-batch", 0, 20).granted == 0


def test_queries_have_limits_of_their_own() -> None:
    rates, generous = Rates(), Rates(1_000)
    states = [rates.query("1", "/v5/account/fee-rate", 0) for _ in range(6)]
    assert [state.granted for state in states if state is not None] == [1, 1, 1, 1, 1, 0]
    assert rates.query("1", "/v5/order/pre-check", 0) is None
    wide = generous.query("1", "/v5/account/fee-rate", 0)
    assert wide is not None
    assert wide.limit == 1_000
    few = Rates(1).query("1", "/v5/order/realtime", 0)
    assert few is not None
    assert few.limit == 50
