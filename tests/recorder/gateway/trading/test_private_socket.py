"""``/v5/private`` over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from recorder.gateway.faults import parse_faults
from tests.recorder.gateway.trading.conftest import Place, now_ms

MARKET = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}


async def test_answers_have_the_shapes_of_the_private_socket(place: Place) -> None:
    socket = await place.connect("/v5/private")
    early = await socket.ask({"op": "subscribe", "args": ["order"]})
    assert (early["success"], "authorized" in early["ret_msg"]) == (False, True)
    fine = await socket.authenticate()
    assert list(fine) == ["success", "ret_msg", "conn_id", "op"]
    assert (fine["success"], fine["ret_msg"], fine["op"]) == (True, "", "auth")
    acknowledged = await socket.ask({"op": "subscribe", "args": ["order"], "req_id": "s1"})
    assert acknowledged == {
        "success": True, "ret_msg": "", "conn_id": fine["conn_id"], "req_id": "s1", "op": "subscribe",
    }  # fmt: skip
    pong = await socket.ask({"op": "ping", "req_id": "p1"})
    assert list(pong) == ["req_id", "op", "args", "conn_id"]
    assert (pong["op"], pong["req_id"]) == ("pong", "p1")
    assert "req_id" not in await socket.ask({"op": "ping"})
    assert (await socket.ask({"op": "order.create", "args": [{}]}))["ret_msg"] == "error:invalid op"
    for nonsense in ("[", '{"op":1}', "5", b"\xff"):
        assert (await socket.ask(nonsense))["success"] is False


@pytest.mark.parametrize(
    "changes", [{"signature": "x"}, {"key": "nobody"}, {"expires": 1_700_000_000_000}, {"expires": "soon"}]
)
async def test_authentication_fails(place: Place, changes: dict[str, Any]) -> None:
    socket = await place.connect("/v5/private")
    answer = await socket.authenticate(**changes)
    assert answer["success"] is False
    assert answer["ret_msg"]


async def test_subscriptions(place: Place) -> None:
    socket = await place.private("order", "wallet")
    both = await socket.ask({"op": "subscribe", "args": ["execution", "execution.linear"]})
    assert (both["success"], "execution.linear" in both["ret_msg"]) == (False, True)
    partly = await socket.ask({"op": "subscribe", "args": ["position", "liquidation.BTCUSDT"]})
    assert partly["success"] is False
    assert "[position]" in partly["ret_msg"]
    assert "[liquidation.BTCUSDT]" in partly["ret_msg"]
    again = await socket.ask({"op": "subscribe", "args": ["order"]})
    assert (again["success"], "already" in again["ret_msg"]) == (False, True)
    assert (await socket.ask({"op": "unsubscribe", "args": ["order"]}))["success"] is True
    trade = await place.trade()
    await trade.order("create", MARKET)
    await socket.rows_until(lambda row: True, "position")
    await socket.rows_until(lambda row: True, "wallet")
    assert {frame["topic"] for frame in socket.frames} == {"position", "wallet"}


async def test_everybody_hears_of_their_own_account_alone(place: Place) -> None:
    mine, theirs = await place.private("order"), await place.private("order", key="other")
    second, looker = await place.private("order"), await place.private("order", key="looker")
    await (await place.trade()).order("create", {**MARKET, "orderLinkId": "mine"})
    await (await place.trade("other")).order("create", {**MARKET, "orderLinkId": "theirs"})
    for socket, link in ((mine, "mine"), (second, "mine"), (looker, "mine"), (theirs, "theirs")):
        rows = await socket.rows_until(lambda row: row["orderStatus"] == "Filled")
        assert {row["orderLinkId"] for row in rows} == {link}


async def test_topics_of_a_category_and_the_fast_one(open_place: Callable[..., Any]) -> None:
    place = await open_place(category=None)
    spot = await place.private("order.spot", "execution.fast.spot")
    linear = await place.private("execution", "execution.fast")
    trade = await place.trade()
    assert (await trade.order("create", {**MARKET, "category": "spot", "qty": "100"}))["retCode"] == 0
    assert (await trade.order("create", {**MARKET, "orderLinkId": "l"}))["retCode"] == 0
    rows = await spot.rows_until(lambda row: row["leavesQty"] == "0", "order.spot")
    assert {row["category"] for row in rows} == {"spot"}
    await linear.rows_until(lambda row: row["category"] == "linear", "execution")
    fast = await linear.rows_until(lambda row: row["category"] == "linear", "execution.fast")
    assert set(fast[0]) == {
        "category", "symbol", "orderId", "orderLinkId", "execId", "execPrice", "execQty", "side", "isMaker",
        "execTime", "seq",
    }  # fmt: skip
    fills = [row for frame in linear.frames if frame["topic"] == "execution" for row in frame["data"]]
    assert [row["execId"] for row in fast] == [row["execId"] for row in fills][: len(fast)]
    assert {frame["topic"] for frame in spot.frames} == {"order.spot", "execution.fast.spot"}


@pytest.mark.parametrize("text", ["5s", "601s", "11m", "60", "x", "-30s"])
async def test_max_active_time_has_bounds(place: Place, text: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await place.connect(f"/v5/private?max_active_time={text}")
    assert caught.value.response.status_code == 400


async def test_who_neither_pings_nor_is_told_anything_is_dropped(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.gateway.trading.session._SHORTEST_S", 1)
    quiet = await place.private(query="?max_active_time=1s")
    await quiet.socket.wait_closed()
    assert quiet.socket.close_code == 1001


async def test_dcp_cancels_once_every_protected_connection_is_gone(
    open_place: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.gateway.trading.disconnects._WINDOW_S", (0, 300))
    place = await open_place(category=None)
    assert (await place.rest.post("/v5/order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=0))[
        "retCode"
    ] == 0
    trade, watcher = await place.trade(), await place.private("order")
    for category in ("linear", "spot"):
        assert (await trade.order("create", await place.far_bid(category=category)))["retCode"] == 0
    first, second = await place.private("dcp.future"), await place.private("dcp.future")
    await first.socket.close()
    await asyncio.sleep(0.3)
    assert (
        len((await place.rest.result("/v5/order/realtime", category="linear", symbol="BTCUSDT"))["list"]) == 1
    )
    await second.socket.close()
    rows = await watcher.rows_until(lambda row: row["orderStatus"] == "Cancelled")
    assert (rows[-1]["category"], rows[-1]["cancelType"]) == ("linear", "CancelByDCP")
    assert len((await place.rest.result("/v5/order/realtime", category="spot"))["list"]) == 1


async def test_private_frames_that_are_lost_with_their_connection(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["private_cut=1"]))
    private, trade = await place.private("order"), await place.trade()
    assert (await trade.order("create", MARKET))["retCode"] == 0
    await private.socket.wait_closed()
    assert private.frames == []
    (row,) = (await place.rest.result("/v5/order/realtime", category="linear", symbol="BTCUSDT", openOnly=1))[
        "list"
    ]
    assert row["orderStatus"] == "Filled"


async def test_a_clock_that_is_ahead(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["skew=20000"]))
    socket = await place.connect("/v5/private")
    assert (await socket.authenticate(expires=now_ms() + 5_000))["success"] is False
    assert (await place.rest.get("/v5/account/info"))["retCode"] == 10002
    told = await place.rest.get("/v5/market/time")
    offset = int(told["result"]["timeNano"]) // 1_000_000 - now_ms()
    assert 15_000 < offset < 25_000
    assert (await socket.authenticate(expires=now_ms() + offset + 5_000))["success"] is True
