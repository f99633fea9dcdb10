"""What befalls orders on purpose, over real sockets, and the ledger's account of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from engine.bybit.signing import sign_request
from recorder.gateway.faults import TRADE_DEEDS, Deed, parse_faults
from recorder.gateway.options import GatewayOptions
from recorder.gateway.trading.faults import OrderFaults
from schemas.errors import ConfigError
from tests.recorder.gateway.trading.conftest import Place, Socket, now_ms

MARKET = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"}
PING = {"op": "ping"}


def lines(path: Path, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in found if line["event"] == event]


async def orders(place: Place) -> list[str]:
    rows = (await place.rest.result("/v5/order/history", category="linear", symbol="BTCUSDT"))["list"]
    return [row["orderLinkId"] for row in rows]


async def send_order(trade: Socket, link: str) -> None:
    message = {
        "reqId": link,
        "op": "order.create",
        "header": {"X-BAPI-TIMESTAMP": str(now_ms())},
        "args": [{**MARKET, "orderLinkId": link}],
    }
    await trade.send(message)


@pytest.mark.parametrize(
    ("fault", "happens", "answers"),
    [
        ("order_slow_ack", True, 1),
        ("order_held", True, 1),
        ("order_lost", False, 0),
        ("order_lost_ack", True, 0),
        ("order_double_ack", True, 2),
        ("order_limited", False, 1),
    ],
)
async def test_over_the_socket(
    open_place: Callable[..., Any], tmp_path: Path, fault: str, happens: bool, answers: int
) -> None:
    ledger = tmp_path / "ledger"
    place = await open_place(faults=parse_faults([f"{fault}=1,delay=0.2"]), ledger=ledger)
    private, trade = await place.private("order"), await place.trade()
    await send_order(trade, "mine")
    if happens:
        (row, *_) = await private.rows_until(lambda row: row["orderStatus"] == "Filled")
        assert row["orderLinkId"] == "mine"
    while sum(reply["op"] == "order.create" for reply in trade.replies) < answers:
        await trade.receive()
    await trade.ask(PING)  # nothing more was on its way before this
    codes = [reply["retCode"] for reply in trade.replies if reply["op"] == "order.create"]
    assert codes == [10006 if fault == "order_limited" else 0] * answers
    assert await orders(place) == (["mine"] if happens else [])
    (noted,) = lines(ledger, "fault")
    assert (noted["fault"], noted["orderLinkId"]) == (fault, "mine")
    assert len(lines(ledger, "request")) == happens


@pytest.mark.parametrize(("fault", "happens"), [("order_cut", True), ("order_cut_before", False)])
async def test_a_connection_that_ends_with_an_order(
    open_place: Callable[..., Any], fault: str, happens: bool
) -> None:
    place = await open_place(faults=parse_faults([f"{fault}=1"]))
    trade = await place.trade()
    await send_order(trade, "mine")
    with pytest.raises(ConnectionClosed):
        await trade.receive()
    assert await orders(place) == (["mine"] if happens else [])


async def test_a_trade_connection_that_goes_silent(open_place: Callable[..., Any], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    place = await open_place(faults=parse_faults(["order_half_open=1"]), ledger=ledger)
    trade = await place.trade()
    await send_order(trade, "mine")
    await trade.send(PING)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await trade.receive()
    assert trade.socket.close_code is None
    assert await orders(place) == []
    assert [line["fault"] for line in lines(ledger, "fault")] == ["order_half_open"]


async def test_a_private_connection_that_goes_silent(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["private_half_open=1"]))
    private, trade = await place.private("order"), await place.trade()
    assert (await trade.order("create", {**MARKET, "orderLinkId": "mine"}))["retCode"] == 0
    await private.send(PING)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await private.receive()
    assert private.frames == []
    assert await orders(place) == ["mine"]


async def test_handshakes_and_lives_have_the_faults_of_the_public_side(
    open_place: Callable[..., Any], tmp_path: Path
) -> None:
    place = await open_place(faults=parse_faults(["too_many=1"]))
    for path in ("/v5/private", "/v5/trade"):
        with pytest.raises(InvalidStatus) as caught:
            await place.connect(path)
        assert caught.value.response.status_code == 429
    ledger = tmp_path / "ledger"
    short = await open_place(faults=parse_faults(["close=0.2"]), ledger=ledger)
    private = await short.connect("/v5/private")
    await private.socket.wait_closed()
    assert private.socket.close_code == 1001
    assert [line["fault"] for line in lines(ledger, "fault")] == ["close"]


async def test_what_is_held_for_longer_than_its_window_is_not_carried_out(
    open_place: Callable[..., Any],
) -> None:
    """So that an order that is absent once its window has passed will never come."""
    place = await open_place(faults=parse_faults(["order_held=1,delay=0.4"]))
    trade = await place.trade()
    header = {"X-BAPI-TIMESTAMP": str(now_ms()), "X-BAPI-RECV-WINDOW": "300"}
    assert (await trade.order("create", {**MARKET, "orderLinkId": "mine"}, header=header))["retCode"] == 10002
    body = json.dumps({**MARKET, "orderLinkId": "other"})
    stamp = str(now_ms())
    sign = sign_request("demo-secret", "demo", stamp, 300, body)
    answer, _ = await place.rest.raw(
        "POST",
        "/v5/order/create",
        body,
        X_BAPI_TIMESTAMP=stamp,
        X_BAPI_RECV_WINDOW="300",
        X_BAPI_SIGN=sign,
    )
    assert answer["retCode"] == 10002
    assert await orders(place) == []


async def test_an_error_that_says_nothing(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["order_error=1,seed=3"]), order_limit=100)
    trade = await place.trade()
    for number in range(16):
        reply = await trade.order("create", {**MARKET, "orderLinkId": f"n-{number}"})
        assert reply["retCode"] == 10016
    assert 0 < len(await orders(place)) < 16


@pytest.mark.parametrize(
    ("fault", "happens", "code"),
    [
        ("order_slow_ack", True, 0),
        ("order_held", True, 0),
        ("order_lost", False, None),
        ("order_lost_ack", True, None),
        ("order_cut_before", False, None),
        ("order_cut", True, None),
        ("order_limited", False, 10006),
    ],
)
async def test_over_rest(open_place: Callable[..., Any], fault: str, happens: bool, code: int | None) -> None:
    place = await open_place(faults=parse_faults([f"{fault}=1,delay=0.1"]))
    if code is None:
        with pytest.raises(aiohttp.ClientConnectionError):
            await place.rest.post("/v5/order/create", **MARKET, orderLinkId="mine")
    else:
        answer = await place.rest.post("/v5/order/create", **MARKET, orderLinkId="mine")
        assert answer["retCode"] == code
    assert await orders(place) == (["mine"] if happens else [])


async def test_the_ledger_accounts_for_every_request_order_and_fill(
    open_place: Callable[..., Any], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    place = await open_place(ledger=ledger)
    private, trade = await place.private("order", "execution"), await place.trade()
    created = await trade.order("create", {**await place.far_bid(), "orderLinkId": "rests"})
    key = {"category": "linear", "symbol": "BTCUSDT"}
    await trade.order("cancel", {**key, "orderId": created["data"]["orderId"]})
    await trade.order("create", {**MARKET, "orderLinkId": "fills"})
    await trade.order("create", {**MARKET, "orderLinkId": "fills"})
    batch = {"category": "linear", "request": [{**MARKET, "orderLinkId": "in-batch"}]}
    await trade.order("create-batch", batch)
    await private.rows_until(lambda row: row["orderLinkId"] == "in-batch")
    requests = [(line["op"], line["retCode"], line["orderLinkId"]) for line in lines(ledger, "request")]
    assert requests == [
        ("create", "0", "rests"),
        ("cancel", "0", ""),
        ("create", "0", "fills"),
        ("create", "110072", "fills"),
        ("create-batch", "0", ""),
        ("create-batch", "0", "in-batch"),
    ]
    told = [row for frame in private.frames if frame["topic"] == "order" for row in frame["data"]]
    noted = [(line["orderId"], line["orderStatus"]) for line in lines(ledger, "order")]
    assert noted == [(row["orderId"], row["orderStatus"]) for row in told]
    fills = [row for frame in private.frames if frame["topic"] == "execution" for row in frame["data"]]
    assert [line["execId"] for line in lines(ledger, "execution")] == [row["execId"] for row in fills]
    await place.rest.post("/v5/order/create", **MARKET, orderLinkId="fills")  # refused: nothing else is noted
    opened = {line["connection"]: line["path"] for line in lines(ledger, "open") if "path" in line}
    came_by = [opened.get(line["connection"], "rest") for line in lines(ledger, "request")]
    assert came_by == ["/v5/trade"] * 6 + ["rest"]
    assert sorted(opened.values()) == ["/v5/private", "/v5/trade"]
    told_on = {line["connection"] for line in lines(ledger, "told")}
    assert {opened[number] for number in told_on} == {"/v5/private"}


async def test_until_ends_it(open_place: Callable[..., Any]) -> None:
    place = await open_place(faults=parse_faults(["order_limited=1,until=0.2"]))
    trade, public = await place.trade(), await place.connect("/v5/public/linear")
    await public.send({"op": "subscribe", "args": ["tickers.BTCUSDT"]})  # time counts from here
    async with asyncio.timeout(60):
        while (await trade.order("create", await place.far_bid()))["retCode"]:
            pass


def test_draws_repeat_and_keep_to_their_shares() -> None:
    plan = parse_faults(["order_lost=0.25,order_held=0.25,private_cut=0.5,seed=4"])
    first, second = OrderFaults(plan, 3), OrderFaults(plan, 3)
    draws = [first.next() for _ in range(4_000)]
    assert draws == [second.next() for _ in range(4_000)]
    assert {deed for deed in draws if deed is not None} == {"order_lost", "order_held"}
    assert 800 < draws.count(TRADE_DEEDS[2]) < 1_200
    frames = [first.next_frame() for _ in range(200)]
    assert 50 < frames.count(Deed.PRIVATE_CUT) < 150
    assert set(frames) == {None, Deed.PRIVATE_CUT}
    first.calm()
    assert first.next_frame() is None
    assert {first.next() for _ in range(50)} == {None}
    assert OrderFaults(None, 1).next() is None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("order_lost=0.7,order_cut=0.7", "add up"),
        ("order_lost=2", "between 0 and 1"),
        ("skew=x", "whole number"),
        ("trade_restart=0", "seconds above 0"),
    ],
)
def test_plans_that_make_no_sense(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_faults([spec])


@pytest.mark.parametrize(
    "spec", ["order_lost=0.1", "race=5", "private_cut=0.1", "trade_restart=5", "skew=-5"]
)
def test_faults_of_orders_need_somebody_who_may_trade(spec: str) -> None:
    with pytest.raises(ConfigError, match="--trade"):
        GatewayOptions(simulate=1, faults=parse_faults([spec]))
