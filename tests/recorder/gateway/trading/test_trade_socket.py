"""``/v5/trade`` over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from recorder.gateway.faults import parse_faults
from tests.recorder.gateway.trading.conftest import Place, now_ms

MARKET = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}


async def test_an_order_is_acknowledged_told_and_filled(place: Place) -> None:
    private = await place.private("order", "execution", "position", "wallet")
    trade = await place.trade()
    reply = await trade.order("create", {**MARKET, "orderLinkId": "mine"})
    assert list(reply) == ["reqId", "retCode", "retMsg", "op", "data", "retExtInfo", "header", "connId"]
    assert (reply["reqId"], reply["retCode"], reply["retMsg"], reply["op"]) == ("r1", 0, "OK", "order.create")
    assert reply["data"]["orderLinkId"] == "mine"
    assert reply["retExtInfo"] == {}
    assert {name.lower() for name in reply["header"]} == {
        "x-bapi-limit", "x-bapi-limit-status", "x-bapi-limit-reset-timestamp", "traceid", "timenow",
    }  # fmt: skip
    assert (reply["header"]["X-Bapi-Limit"], reply["header"]["X-Bapi-Limit-Status"]) == ("10", "9")
    (row,) = await private.rows_until(lambda row: row["orderStatus"] == "Filled")
    assert row["orderId"] == reply["data"]["orderId"]
    (fill, *_) = await private.rows_until(lambda row: row["leavesQty"] == "0", "execution")
    assert (fill["orderLinkId"], fill["isMaker"], fill["execType"]) == ("mine", False, "Trade")
    (position,) = await private.rows_until(lambda row: True, "position")
    assert (position["side"], position["size"]) == ("Buy", "0.01")
    await private.rows_until(lambda row: row["accountType"] == "UNIFIED", "wallet")
    for frame in private.frames:
        assert set(frame) == {"id", "topic", "creationTime", "data"}


async def test_amend_and_cancel(place: Place) -> None:
    private, trade = await place.private("order.linear"), await place.trade()
    values = await place.far_bid()
    created = await trade.order("create", values)
    key = {"category": "linear", "symbol": "BTCUSDT", "orderId": created["data"]["orderId"]}
    assert (await trade.order("amend", {**key, "qty": "0.02"}))["retCode"] == 0
    assert (await trade.order("cancel", key))["data"]["orderId"] == key["orderId"]
    rows = await private.rows_until(lambda row: row["orderStatus"] == "Cancelled", "order.linear")
    assert [(row["orderStatus"], row["qty"]) for row in rows] == [
        ("New", "0.01"),
        ("New", "0.02"),
        ("Cancelled", "0.02"),
    ]
    assert (await trade.order("cancel", key))["retCode"] == 110010


async def test_a_batch_pairs_rows_and_results(place: Place) -> None:
    trade = await place.trade()
    values = await place.far_bid()
    good, bad = {**values, "orderLinkId": "a"}, {**values, "orderLinkId": "b", "price": "0.01"}
    del good["category"], bad["category"]
    reply = await trade.order("create-batch", {"category": "linear", "request": [good, bad, "x"]})
    assert reply["retCode"] == 0
    rows, results = reply["data"]["list"], reply["retExtInfo"]["list"]
    assert [result["code"] for result in results] == [0, 110003, 10001]
    assert [bool(row["orderId"]) for row in rows] == [True, False, False]
    assert [row["orderLinkId"] for row in rows] == ["a", "b", ""]
    assert rows[0]["createAt"]
    key = {"symbol": "BTCUSDT", "orderLinkId": "a"}
    amended = await trade.order("amend-batch", {"category": "linear", "request": [{**key, "qty": "0.02"}]})
    assert amended["retExtInfo"]["list"] == [{"code": 0, "msg": "OK"}]
    cancelled = await trade.order("cancel-batch", {"category": "linear", "request": [key]})
    assert cancelled["data"]["list"][0]["orderId"] == rows[0]["orderId"]
    too_many = {"category": "linear", "request": [good] * 21}
    assert (await trade.order("create-batch", too_many))["retCode"] == 10001


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"op": "order.cancel-all"}, 10404),
        ({"op": "subscribe", "args": ["order"]}, 10404),
        ({"header": None}, 10001),
        ({"header": {}}, 10001),
        ({"header": {"X-BAPI-TIMESTAMP": "soon"}}, 10001),
        ({"header": {"X-BAPI-TIMESTAMP": "1700000000000"}}, 10002),
        ({"args": [MARKET, MARKET]}, 10001),
        ({"args": []}, 10001),
        ({"args": ["x"]}, 10001),
        ({"args": [{**MARKET, "category": "spread"}]}, 10404),
        ({"args": [{**MARKET, "symbol": "NOPEUSDT"}]}, 10001),
        ({"reqId": "x" * 37}, 10001),
        ({"reqId": 5}, 10001),
    ],
)
async def test_refused(place: Place, changes: dict[str, Any], code: int) -> None:
    trade = await place.trade()
    reply = await trade.order("create", MARKET, **changes)
    assert reply["retCode"] == code, reply
    account = await place.rest.result("/v5/order/history", category="linear")
    assert account["list"] == []


async def test_times_ahead_of_the_server(place: Place) -> None:
    trade = await place.trade()
    ahead = {"X-BAPI-TIMESTAMP": str(now_ms() + 60_000), "X-BAPI-RECV-WINDOW": "100000"}
    assert (await trade.order("create", MARKET, header=ahead))["retCode"] == 10002
    behind = {"X-BAPI-TIMESTAMP": now_ms() - 60_000, "X-BAPI-RECV-WINDOW": 100_000}  # numbers, as pybit sends
    assert (await trade.order("create", MARKET, header=behind))["retCode"] == 0


async def test_a_request_id_comes_once_and_may_be_left_out(place: Place) -> None:
    trade = await place.trade()
    assert (await trade.order("create", MARKET, reqId="a"))["retCode"] == 0
    again = await trade.order("create", MARKET, reqId="a")
    assert (again["retCode"], again["reqId"]) == (20006, "a")
    assert "reqId" not in await trade.order("create", MARKET, reqId=None)
    assert (await (await place.trade()).order("create", MARKET, reqId="a"))["retCode"] == 0


async def test_authentication(place: Place) -> None:
    trade = await place.connect("/v5/trade")
    assert (await trade.order("create", MARKET))["retCode"] == 10007
    assert (await trade.authenticate(key="nobody"))["retCode"] == 10003
    assert (await trade.authenticate(signature="0" * 64))["retCode"] == 10004
    assert (await trade.authenticate(expires=now_ms() - 1))["retCode"] == 10002
    assert (await trade.ask({"op": "auth", "args": ["demo"]}))["retCode"] == 10001
    fine = await trade.authenticate()
    assert list(fine) == ["retCode", "retMsg", "op", "connId"]
    assert (fine["retCode"], fine["retMsg"]) == (0, "OK")
    assert (await trade.authenticate())["retCode"] == 20001
    assert (await trade.order("create", MARKET))["retCode"] == 0


async def test_a_key_that_may_only_look(place: Place) -> None:
    trade = await place.trade("looker")
    assert (await trade.order("create", MARKET))["retCode"] == 10005


async def test_ping_and_nonsense(place: Place) -> None:
    trade = await place.connect("/v5/trade")
    pong = await trade.ask({"op": "ping"})
    assert list(pong) == ["retCode", "retMsg", "op", "data", "connId"]
    assert (pong["op"], pong["retCode"]) == ("pong", 0)
    assert abs(int(pong["data"][0]) - now_ms()) < 60_000
    for nonsense in ("", "[", "[]", '"x"', '{"op":5}', "{}", b"\xff\xfe", "[" * 5_000):
        reply = await trade.ask(nonsense)
        assert reply["retCode"] in (10001, 10404)
    assert (await trade.ask({"op": "ping", "reqId": "p"}))["reqId"] == "p"


async def test_too_often(open_place: Callable[..., Any]) -> None:
    place = await open_place(order_limit=3)
    trade = await place.trade()
    values = await place.far_bid()
    seen: list[tuple[int, str]] = []
    while len(seen) < 4 or seen[-1][0] != 10006:
        assert len(seen) < 2_000, "never limited"
        reply = await trade.order("create", values)
        seen.append((reply["retCode"], reply["header"]["X-Bapi-Limit-Status"]))
    limited = trade.replies[-1]
    assert limited["header"]["X-Bapi-Limit"] == "3"
    assert int(limited["header"]["X-Bapi-Limit-Reset-Timestamp"]) <= int(limited["header"]["Timenow"]) + 1_000
    # Amending has a count of its own, and so have others.
    key = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "none"}
    assert (await trade.order("amend", {**key, "qty": "1"}))["retCode"] == 110001
    other = await place.trade("other")
    assert (await other.order("create", values))["retCode"] == 0
    batch = {"category": "linear", "request": [values] * 5}
    results = (await trade.order("create-batch", batch))["retExtInfo"]["list"]
    assert [result["code"] for result in results] == [0, 0, 0, 10006, 10006]


async def test_a_restart_of_the_trade_service(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["trade_restart=0.3,delay=0.5"]))
    trade = await place.trade()
    values = await place.far_bid()
    codes = []
    while 10019 not in codes:
        codes.append((await trade.order("create", values))["retCode"])
        await asyncio.sleep(0.001)  # more than 3,000 requests a second are 10403
    assert set(codes) <= {0, 10006, 10019}
    await trade.socket.wait_closed()
    assert trade.socket.close_code == 1001
    while True:  # a new connection works, until the next restart
        with suppress(ConnectionClosed):
            fresh = await place.trade()
            if (await fresh.order("cancel", {**values, "orderLinkId": "none"}))["retCode"] == 110001:
                break
