"""What popular guides get wrong about orders and authentication (protocol section 10): the gateway tells the fact."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.recorder.gateway.trading.conftest import Place, now_ms

LIMIT = {
    "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "60000",
}  # fmt: skip
MARKET = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}


def signed(text: str) -> str:
    return hmac.new(b"demo-secret", text.encode(), hashlib.sha256).hexdigest()


async def test_orders_do_not_go_to_the_private_socket(place: Place) -> None:
    private = await place.private()
    header = {"X-BAPI-TIMESTAMP": str(now_ms())}
    answer = await private.ask({"reqId": "1", "header": header, "op": "order.create", "args": [MARKET]})
    assert answer["success"] is False
    assert (await place.rest.result("/v5/order/history", category="linear"))["list"] == []


@pytest.mark.parametrize("op", ["subscribe", "order.cancel-all", "order.query", "cancel", "order"])
async def test_the_trade_socket_knows_orders_and_nothing_else(place: Place, op: str) -> None:
    trade = await place.trade()
    assert (await trade.ask({"op": op, "args": ["execution"]}))["retCode"] == 10404


@pytest.mark.parametrize(
    "text",
    [
        "GET/realtime{expires}5000",
        "GET/realtimedemo{expires}",
        "demo{expires}",
        "GET/realtime",
        "GET /realtime{expires}",
    ],
)
async def test_the_text_that_a_socket_signs(place: Place, text: str) -> None:
    expires = now_ms() + 10_000
    arguments = ["demo", expires, signed(text.format(expires=expires))]
    trade, private = await place.connect("/v5/trade"), await place.connect("/v5/private")
    assert (await trade.ask({"op": "auth", "args": arguments}))["retCode"] == 10004
    assert (await private.ask({"op": "auth", "args": arguments}))["success"] is False


async def test_expires_lies_ahead_and_nothing_more_is_asked_of_it(place: Place) -> None:
    trade = await place.connect("/v5/trade")
    past = now_ms() - 1
    late = ["demo", past, signed(f"GET/realtime{past}")]
    assert (await trade.ask({"op": "auth", "args": late}))["retCode"] == 10002
    far = now_ms() + 10**9
    reply = await trade.ask({"op": "auth", "args": ["demo", far, signed(f"GET/realtime{far}")]})
    assert reply == {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": reply["connId"]}


async def test_authentication_has_no_hurry(place: Place) -> None:
    """No rule closes a socket that has not authenticated; it is only of no use until then."""
    private = await place.connect("/v5/private")
    for _ in range(3):
        assert (await private.ask({"op": "ping"}))["op"] == "pong"
    assert (await private.authenticate())["success"] is True


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"timeInForce": "GoodTillCancel"}, 10001),
        ({"orderType": "limit"}, 10001),
        ({"side": "BUY"}, 10001),
        ({"qty": 0.01}, 10001),
        ({"price": "60000.123456"}, 10001),
        ({"qty": "0.0100001"}, 10001),
        ({"symbol": "btcusdt"}, 10001),
        ({"symbol": "BTCUSD"}, 10001),
        ({"qty": "0.001", "price": "1000"}, 110094),
        ({"reduceOnly": True, "takeProfit": "70000"}, 10001),
        ({"triggerPrice": "50000", "orderFilter": "StopOrder"}, 10001),
        ({"positionIdx": 1}, 10001),
    ],
)
async def test_orders_as_guides_have_them(place: Place, values: dict[str, Any], code: int) -> None:
    reply = await (await place.trade()).order("create", {**LIMIT, **values})
    assert reply["retCode"] == code, reply


async def test_names_in_snake_case_are_no_parameters(place: Place) -> None:
    trade = await place.trade()
    guide = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "order_type": "Market", "qty": "0.01"}
    reply = await trade.order("create", guide)
    assert (reply["retCode"], "orderType" in reply["retMsg"]) == (10001, True)


@pytest.mark.parametrize("name", ["newQty", "newPrice", "newTriggerPrice"])
async def test_an_amend_has_the_names_of_a_create(place: Place, name: str) -> None:
    trade = await place.trade()
    created = await trade.order("create", await place.far_bid())
    key = {"category": "linear", "symbol": "BTCUSDT", "orderId": created["data"]["orderId"]}
    reply = await trade.order("amend", {**key, name: "0.02"})
    assert (reply["retCode"], name[3:].lower() in reply["retMsg"].lower()) == (10001, True)


async def test_accepted_is_not_live(place: Place) -> None:
    """retCode 0 of a post-only order that would take: the stream says that it was cancelled."""
    private, trade = await place.private("order"), await place.trade()
    _, ask = await place.best()
    price = str(int(float(ask) * 1.01))
    reply = await trade.order("create", {**LIMIT, "price": price, "timeInForce": "PostOnly"})
    assert reply["retCode"] == 0
    (row,) = await private.rows_until(lambda row: True)
    assert (row["orderStatus"], row["rejectReason"]) == ("Cancelled", "EC_PostOnlyWillTakeLiquidity")


async def test_a_trading_stop_needs_a_position_and_its_mode(place: Place) -> None:
    key = {"category": "linear", "symbol": "BTCUSDT", "stopLoss": "1000"}
    full = {**key, "tpslMode": "Full", "positionIdx": 0}
    trade = await place.trade()
    await trade.order("create", await place.far_bid())  # an entry that is not filled is no position
    assert (await place.rest.post("/v5/position/trading-stop", **full))["retCode"] == 10001
    await trade.order("create", MARKET)
    assert (await place.rest.post("/v5/position/trading-stop", **key))["retCode"] == 10001
    assert (await place.rest.post("/v5/position/trading-stop", **full))["retCode"] == 0


@pytest.mark.parametrize(
    "topic", ["wallet.unified", "wallet.linear", "stopOrder", "order.BTCUSDT", "copyTradeOrder"]
)
async def test_topics_that_do_not_exist(place: Place, topic: str) -> None:
    private = await place.private()
    answer = await private.ask({"op": "subscribe", "args": [topic]})
    assert (answer["success"], topic in answer["ret_msg"]) == (False, True)


async def test_a_link_id_made_of_the_millisecond_collides(place: Place) -> None:
    trade, stamp = await place.trade(), str(now_ms())
    values = {**await place.far_bid(), "orderLinkId": stamp}
    codes = [(await trade.order("create", values))["retCode"] for _ in range(2)]
    assert codes == [0, 110072]


async def test_what_is_signed_is_the_body_as_it_goes_out(place: Place) -> None:
    """A client that signs one serialisation and sends another is refused as badly signed."""
    body = json.dumps(MARKET)
    stamp = str(now_ms())
    other = signed(f"{stamp}demo5000{json.dumps(MARKET, separators=(',', ':'))}")
    answer, _ = await place.rest.raw(
        "POST", "/v5/order/create", body, X_BAPI_SIGN=other, X_BAPI_TIMESTAMP=stamp
    )
    assert answer["retCode"] == 10004


async def test_limits_are_those_that_the_replies_tell(open_place: Callable[..., Any]) -> None:
    place = await open_place(order_limit=7)
    reply = await (await place.trade()).order("create", MARKET)
    assert (reply["header"]["X-Bapi-Limit"], reply["header"]["X-Bapi-Limit-Status"]) == ("7", "6")
