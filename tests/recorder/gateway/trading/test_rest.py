"""Signed REST over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.recorder.gateway.trading.conftest import Place, now_ms

MARKET = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
SYMBOL = {"category": "linear", "symbol": "BTCUSDT"}


async def place_many(place: Place, count: int) -> list[str]:
    values = await place.far_bid()
    identities = []
    for number in range(count):
        answer = await place.rest.post("/v5/order/create", **values, orderLinkId=f"n-{number}")
        assert answer["retCode"] == 0, answer
        identities.append(answer["result"]["orderId"])
    return identities


async def test_signatures(place: Place) -> None:
    fine, headers = await place.rest.raw("GET", "/v5/account/info")
    assert list(fine) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert fine["retCode"] == 0
    assert (headers["X-Bapi-Limit"], headers["X-Bapi-Limit-Status"]) == ("50", "49")
    for changes, code in (
        ({"X_BAPI_SIGN": "0" * 64}, 10004),
        ({"X_BAPI_API_KEY": "nobody"}, 10003),
        ({"X_BAPI_API_KEY": None}, 10001),
        ({"X_BAPI_TIMESTAMP": None}, 10001),
        ({"X_BAPI_TIMESTAMP": str(now_ms() - 6_000)}, 10002),
        ({"X_BAPI_TIMESTAMP": str(now_ms() + 60_000)}, 10002),
        ({"X_BAPI_RECV_WINDOW": "100"}, 10004),
    ):
        answer, _ = await place.rest.raw("GET", "/v5/account/info", **changes)
        assert answer["retCode"] == code, changes


async def test_what_is_signed_is_what_was_sent(place: Place) -> None:
    query = "category=linear&symbol=BTCUSDT&cursor=0000%252D1"
    answer, _ = await place.rest.raw("GET", "/v5/order/realtime", query)
    assert answer["retCode"] == 0, answer
    body = json.dumps({**MARKET, "orderLinkId": "spaced"}, indent=3)
    assert (await place.rest.raw("POST", "/v5/order/create", body))[0]["retCode"] == 0
    for nonsense in ("", "[]", "{", "\x00"):
        assert (await place.rest.raw("POST", "/v5/order/create", nonsense))[0]["retCode"] == 10001


async def test_orders_live_and_die(place: Place) -> None:
    rest = place.rest
    (first,) = await place_many(place, 1)
    (row,) = (await rest.result("/v5/order/realtime", **SYMBOL))["list"]
    assert (row["orderId"], row["orderStatus"], row["orderLinkId"]) == (first, "New", "n-0")
    assert (await rest.post("/v5/order/amend", **SYMBOL, orderId=first, qty="0.02"))["retCode"] == 0
    assert (await rest.post("/v5/order/cancel", **SYMBOL, orderLinkId="n-0"))["result"]["orderId"] == first
    assert (await rest.result("/v5/order/realtime", **SYMBOL))["list"] == []
    for query in ({"orderLinkId": "n-0"}, {"orderId": first}, {"openOnly": "1"}):
        (row,) = (await rest.result("/v5/order/realtime", **SYMBOL, **query))["list"]
        assert (row["orderStatus"], row["qty"]) == ("Cancelled", "0.02")
    (row,) = (await rest.result("/v5/order/history", **SYMBOL))["list"]
    assert row["cancelType"] == "CancelByUser"
    assert (await rest.get("/v5/order/realtime", category="linear"))["retCode"] == 10001
    assert (await rest.result("/v5/order/realtime", "other", **SYMBOL, openOnly="1"))["list"] == []


async def test_pages(place: Place) -> None:
    identities = await place_many(place, 7)
    seen: list[str] = []
    cursor = ""
    while True:
        result = await place.rest.result("/v5/order/realtime", **SYMBOL, limit="3", cursor=cursor)
        seen += [row["orderId"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
    assert seen == identities[::-1]
    first = await place.rest.result("/v5/order/realtime", **SYMBOL, limit="3")
    last = first["list"][-1]["orderId"]
    assert (await place.rest.post("/v5/order/cancel", **SYMBOL, orderId=last))["retCode"] == 0
    second = await place.rest.result("/v5/order/realtime", **SYMBOL, cursor=first["nextPageCursor"])
    assert [row["orderId"] for row in second["list"]] == identities[3::-1]
    assert (await place.rest.get("/v5/order/realtime", **SYMBOL, cursor="x" * 200))["retCode"] == 10001
    assert (await place.rest.get("/v5/order/realtime", **SYMBOL, limit="51"))["retCode"] == 10001


async def test_cancel_all(place: Place) -> None:
    identities = await place_many(place, 3)
    assert (await place.rest.post("/v5/order/cancel-all", category="linear"))["retCode"] == 10001
    answer = await place.rest.post("/v5/order/cancel-all", category="linear", settleCoin="USDT")
    assert answer["result"]["success"] == "1"
    assert {row["orderId"] for row in answer["result"]["list"]} == set(identities)


async def test_a_position_its_executions_and_its_money(place: Place) -> None:
    rest = place.rest
    flat = (await rest.result("/v5/position/list", **SYMBOL))["list"]
    assert [(row["size"], row["side"]) for row in flat] == [("0", "")]
    await rest.post("/v5/order/create", **MARKET)
    (position,) = (await rest.result("/v5/position/list", category="linear", settleCoin="USDT"))["list"]
    fills = (await rest.result("/v5/execution/list", **SYMBOL))["list"]
    assert sum(Decimal(row["execQty"]) for row in fills) == Decimal(position["size"]) == Decimal("0.01")
    assert "entryPrice" not in position
    value = sum(Decimal(row["execValue"]) for row in fills)
    assert Decimal(position["avgPrice"]) == value / Decimal("0.01")
    wallet = (await rest.result("/v5/account/wallet-balance", accountType="UNIFIED", coin="USDT"))["list"][0]
    (coin,) = wallet["coin"]
    fees = sum(Decimal(row["execFee"]) for row in fills)
    assert Decimal(coin["walletBalance"]) == 100_000 - fees
    assert (await rest.get("/v5/account/wallet-balance", accountType="CONTRACT"))["retCode"] == 10001
    assert (await rest.get("/v5/position/list", category="linear"))["retCode"] == 10001
    free = await rest.result(
        "/v5/asset/transfer/query-account-coins-balance", accountType="UNIFIED", coin="USDT"
    )
    assert Decimal(free["balance"][0]["transferBalance"]) < Decimal(coin["walletBalance"])


async def test_settings(open_place: Callable[..., Any]) -> None:
    place = await open_place(symbol_count=2)
    rest = place.rest
    leverage = {**SYMBOL, "buyLeverage": "20", "sellLeverage": "20"}
    assert (await rest.post("/v5/position/set-leverage", **leverage))["retCode"] == 0
    assert (await rest.post("/v5/position/set-leverage", **leverage))["retCode"] == 110043
    assert (await rest.result("/v5/position/list", **SYMBOL))["list"][0]["leverage"] == "20"
    switch = {"category": "linear", "coin": "USDT", "mode": 3}
    assert (await rest.post("/v5/position/switch-mode", **switch))["retCode"] == 0
    assert (await rest.post("/v5/position/switch-mode", **switch))["retCode"] == 110025
    hedged = (await rest.result("/v5/position/list", **SYMBOL))["list"]
    assert [row["positionIdx"] for row in hedged] == [1, 2]
    assert (await rest.post("/v5/order/create", **MARKET))["retCode"] == 10001
    assert (await rest.post("/v5/order/create", **MARKET, positionIdx=1))["retCode"] == 0
    stop = {**SYMBOL, "tpslMode": "Full", "positionIdx": 1, "stopLoss": "1000"}
    assert (await rest.post("/v5/position/trading-stop", **stop))["retCode"] == 0
    assert (await rest.post("/v5/position/trading-stop", **stop))["retCode"] == 34040
    (waiting,) = (await rest.result("/v5/order/realtime", **SYMBOL, orderFilter="StopOrder"))["list"]
    assert (waiting["orderStatus"], waiting["stopOrderType"]) == ("Untriggered", "StopLoss")
    for path in ("set-leverage", "trading-stop"):
        answer = await rest.post(f"/v5/position/{path}", **{**leverage, "symbol": "NOPE"})
        assert answer["retCode"] == 10001


async def test_what_an_account_is_told_about_itself(open_place: Callable[..., Any]) -> None:
    place = await open_place(category=None)
    rest = place.rest
    assert (await rest.result("/v5/user/query-api"))["readOnly"] == 0
    looker = await rest.result("/v5/user/query-api", "looker")
    assert (looker["readOnly"], looker["uta"], looker["secret"]) == (1, 1, "")
    assert (await rest.post("/v5/order/create", "looker", **MARKET))["retCode"] == 10005
    assert (await rest.post("/v5/position/switch-mode", "looker", **MARKET))["retCode"] == 10005
    assert (await rest.result("/v5/account/info"))["unifiedMarginStatus"] == 6
    fees = (await rest.result("/v5/account/fee-rate", category="linear", symbol="BTCUSDT"))["list"]
    assert fees == [{"symbol": "BTCUSDT", "takerFeeRate": "0.00055", "makerFeeRate": "0.0002"}]
    listed = (await rest.result("/v5/account/instruments-info", category="linear"))["list"]
    assert "BTCUSDT" in [row["symbol"] for row in listed]
    coins = (await rest.result("/v5/asset/coin/query-info"))["rows"]
    assert {row["coin"] for row in coins} == {"USDT", "USDC", "BTC", "ETH"}
    await rest.post("/v5/order/disconnected-cancel-all", product="SPOT", timeWindow=40)
    infos = (await rest.result("/v5/account/query-dcp-info"))["dcpInfos"]
    assert {row["product"]: row["timeWindow"] for row in infos} == {
        "OPTIONS": "10", "DERIVATIVES": "10", "SPOT": "40",
    }  # fmt: skip
    bad = await rest.post("/v5/order/disconnected-cancel-all", product="SPOT", timeWindow=301)
    assert bad["retCode"] == 10001


async def test_query_limits(place: Place) -> None:
    codes = []
    while 10006 not in codes:
        assert len(codes) < 500, "never limited"
        answer, headers = await place.rest.raw("GET", "/v5/account/fee-rate", "category=linear")
        codes.append(answer["retCode"])
    assert headers["X-Bapi-Limit"] == "5"


@pytest.mark.parametrize("path", ["/v5/private", "/v5/trade", "/v5/account/info", "/v5/order/realtime"])
async def test_without_trade_none_of_it_is_there(open_place: Callable[..., Any], path: str) -> None:
    place = await open_place(trade=None)
    async with place.rest._session.get(f"{place.rest._root}{path}") as answer:
        assert answer.status == 404
