"""Whatever is sent to the trading side: an answer in its own shape, and nothing half done."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.signing import sign_request, sign_socket
from engine.venue import Refusal
from recorder.gateway.trading.operations import OPERATIONS, perform
from recorder.gateway.trading.options import parse_keys
from recorder.gateway.trading.private_dialect import PrivateDialect
from recorder.gateway.trading.rates import Rates
from recorder.gateway.trading.signed import check_request
from recorder.gateway.trading.trade_dialect import OrderRequest, TradeDialect
from tests.engine.venue.conftest import BOOK, Desk

KEYS = parse_keys(["demo:demo-secret"])
NOW_MS = 1_760_000_000_000

numbers = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "0.001",
        "60000",
        "60000.1",
        "-1",
        "1e9",
        "1E-30",
        "0e5",
        "9" * 15,
        "0." + "0" * 19 + "1",
    ]
)
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | numbers
    | st.sampled_from(["linear", "spot", "option", "inverse", "BTCUSDT", "Buy", "Sell", "Limit", "Market"])
    | st.sampled_from(["GTC", "IOC", "FOK", "PostOnly", "RPI", "Full", "Partial", "StopOrder", "tpslOrder"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
PARAMETERS = (
    *("category", "symbol", "side", "orderType", "qty", "price", "timeInForce", "orderLinkId", "orderId"),
    *("positionIdx", "reduceOnly", "closeOnTrigger", "triggerPrice", "triggerDirection", "triggerBy"),
    *(
        "orderFilter",
        "marketUnit",
        "smpType",
        "takeProfit",
        "stopLoss",
        "tpslMode",
        "tpOrderType",
        "tpLimitPrice",
    ),
    *(
        "slippageToleranceType",
        "slippageTolerance",
        "isLeverage",
        "settleCoin",
        "baseCoin",
        "newQty",
        "request",
    ),
)
SOUND = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "orderType": "Limit",
    "qty": "1",
    "price": "60000",
}
orders = st.dictionaries(st.sampled_from(PARAMETERS), junk | numbers, max_size=8).map(
    lambda d: {**SOUND, **d}
)


class Asked(Desk):
    """A venue that operations are carried out on."""

    def __init__(self) -> None:
        super().__init__()
        self.book(*BOOK)
        self.trade("Buy", "60000.1", "0.001")
        self.rates = Rates(10**6)

    def create(self, uid: str, values: Any) -> Any:  # type: ignore[override]
        return self.venue.create("1", values, self.now_ms)

    def amend(self, uid: str, values: Any) -> Any:  # type: ignore[override]
        return self.venue.amend("1", values, self.now_ms)

    def cancel(self, uid: str, values: Any) -> Any:  # type: ignore[override]
        return self.venue.cancel("1", values, self.now_ms)


@given(st.sampled_from(OPERATIONS), st.lists(orders | junk, min_size=1, max_size=6))
def test_order_requests(operation: str, requests: list[Any]) -> None:
    asked = Asked()
    asked.create("1", {**SOUND, "orderLinkId": "known"})
    for values in requests:
        if operation.endswith("-batch"):
            values = {"category": "linear", "request": [values]}
        asked.venue.take_events()
        balances = asked.venue.accounts["1"].balances.copy()
        outcome = perform(asked, KEYS["demo"], operation, values, NOW_MS)
        json.dumps(outcome.data)
        codes = [outcome.code, *(item["code"] for item in outcome.extra.get("list", ()))]
        events = asked.venue.take_events()
        if any(codes):
            assert asked.venue.accounts["1"].balances == balances
            assert events == []
        else:
            assert events


STOPS = (
    "takeProfit",
    "stopLoss",
    "trailingStop",
    "activePrice",
    "tpSize",
    "slSize",
    "tpLimitPrice",
    "tpOrderType",
)
stops = st.dictionaries(
    st.sampled_from((*STOPS, "tpslMode", "buyLeverage", "sellLeverage")), junk | numbers, max_size=6
)


@given(stops.map(lambda d: {"tpslMode": "Full", "positionIdx": 0, **d}) | junk)
def test_settings_and_cancel_all(values: Any) -> None:
    asked = Asked()
    asked.create("1", {**SOUND, "price": "60000.1"})
    assert asked.size() == 1
    given_values = values if isinstance(values, dict) else {"category": values, "symbol": values}
    market = next(iter(asked.venue.markets.values()))
    account = asked.venue.accounts["1"]
    settings = asked.venue.settings
    with suppress(Refusal):
        settings.set_leverage(account, market, given_values)
    with suppress(Refusal):
        settings.trading_stop(account, market, given_values, NOW_MS)
    with suppress(Refusal):
        asked.venue.cancel_all("1", given_values, NOW_MS)
    asked.trade("Sell", "59000.0", "1")
    asked.trade("Buy", "61000.0", "1")
    assert asked.size() in (0, 1)
    assert 1 <= account.leverage_of(market.rules) <= 100


@given(st.binary(max_size=64) | junk.map(lambda value: json.dumps(value).encode()))
def test_anything_at_all(payload: bytes) -> None:
    private, trade = PrivateDialect(KEYS, "c"), TradeDialect(KEYS, "c")
    assert "success" in private.answer(payload, NOW_MS).message or b"ping" in payload
    answer = trade.read(payload, NOW_MS)
    assert not isinstance(answer, OrderRequest)
    assert "retCode" in answer


@given(
    st.sampled_from(["auth", "subscribe", "unsubscribe", "ping", "order.create", "order.cancel-batch"]),
    junk | st.lists(junk, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["req_id", "reqId", "header"]), junk, max_size=3),
)
def test_requests_of_any_content(op: str, arguments: Any, more: dict[str, Any]) -> None:
    payload = json.dumps({"op": op, "args": arguments, **more}).encode()
    expires = NOW_MS + 1_000
    auth = {"op": "auth", "args": ["demo", expires, sign_socket("demo-secret", expires)]}
    private, trade = PrivateDialect(KEYS, "c"), TradeDialect(KEYS, "c")
    assert private.answer(json.dumps(auth).encode(), NOW_MS).message["success"] is True
    assert trade.read(json.dumps(auth).encode(), NOW_MS)["retCode"] == 0  # type: ignore[index]
    answer = private.answer(payload, NOW_MS)
    json.dumps(answer.message)
    assert set(answer.subscribed) <= set(private.topics)
    read = trade.read(payload, NOW_MS)
    if isinstance(read, OrderRequest):
        assert isinstance(read.values, dict)
    else:
        assert isinstance(read["retCode"], int)
        json.dumps(read)


@given(
    st.dictionaries(st.sampled_from(["API-KEY", "TIMESTAMP", "SIGN", "RECV-WINDOW"]), st.text(max_size=20))
)
def test_headers_of_any_content(changes: dict[str, str]) -> None:
    right = {
        "API-KEY": "demo",
        "TIMESTAMP": str(NOW_MS),
        "RECV-WINDOW": "5000",
        "SIGN": sign_request("demo-secret", "demo", NOW_MS, 5000, "a=b"),
    }
    headers = {f"X-BAPI-{name}": value for name, value in {**right, **changes}.items()}
    is_right = all(right[name] == value for name, value in changes.items())
    with nullcontext() if is_right else pytest.raises(Refusal) as caught:
        check_request(KEYS, headers, "a=b", NOW_MS)
    assert is_right or caught.value.code in (10001, 10002, 10003, 10004)
