"""Order lifecycles while everything goes wrong: what the gateway tells by REST is what its ledger accounts for.

The client here is as simple as can be: it asks, waits a little for an answer, and looks the order up by its link id.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed

from recorder.gateway.faults import parse_faults
from tests.recorder.gateway.trading.conftest import Place, Socket, open_place

__all__ = ["open_place"]

D = Decimal
LIFECYCLES = 60
FAULTS = (
    "order_slow_ack=0.08,order_held=0.08,order_lost=0.06,order_lost_ack=0.08,order_double_ack=0.05,order_cut_before=0.04,"
    "order_cut=0.05,order_error=0.08,order_limited=0.05,private_cut=0.02,trade_restart=2,delay=0.05,race=50,seed=11"
)
ACK_S = 0.3
KEY = {"category": "linear", "symbol": "BTCUSDT"}


class Trader:
    """A trade socket that is opened anew whenever it has gone."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._socket: Socket | None = None
        self._requests = 0

    async def ask(self, operation: str, values: dict[str, Any]) -> int | None:
        """Send a request once; return the code that it was answered with, None if it was not."""
        self._requests += 1
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(ACK_S):
                if self._socket is None:
                    self._socket = await self._place.trade()
                identity = f"q{self._requests}"
                reply = await self._socket.order(operation, values, reqId=identity)
                while reply.get("reqId") != identity:  # of an earlier one, late or told twice
                    await self._socket.receive()
                    reply = self._socket.replies[-1]
                if reply["retCode"] == 10019:
                    self._socket = None
                return int(reply["retCode"])
        self._socket = None
        return None


async def look_up(place: Place, link: str) -> dict[str, Any] | None:
    rows = (await place.rest.result("/v5/order/realtime", **KEY, orderLinkId=link))["list"]
    assert len(rows) <= 1
    return rows[0] if rows else None


async def settled(place: Place, link: str, known: Callable[[dict[str, Any] | None], bool]) -> Any:
    """Look an order up until it is as expected, or as long as a held request may still come."""
    for _ in range(20):
        row = await look_up(place, link)
        if known(row):
            return row
        await asyncio.sleep(0.02)
    return row


async def live_and_die(place: Place, trader: Trader, number: int, low: str, draw: random.Random) -> None:
    link = f"life-{number}"
    order = {**KEY, "side": "Buy", "orderType": "Limit", "qty": "0.001", "price": low, "orderLinkId": link}
    if draw.random() < 0.4:
        order = {**KEY, "side": draw.choice(["Buy", "Sell"]), "orderType": "Market", "qty": "0.002"}
        order["orderLinkId"] = link
    code = await trader.ask("create", order)
    row = await settled(place, link, lambda row: row is not None)
    if code == 0:
        assert row is not None, "acknowledged, and nobody knows it"
    if row is None:
        return
    if row["orderStatus"] == "New" and draw.random() < 0.5:
        code = await trader.ask("amend", {**KEY, "orderLinkId": link, "qty": "0.003"})
        if code == 0:
            assert (await look_up(place, link) or {})["qty"] == "0.003"
    code = await trader.ask("cancel", {**KEY, "orderLinkId": link})
    if code == 0:
        row = await look_up(place, link)
        assert row is not None
        assert row["orderStatus"] in ("Cancelled", "Filled")


async def test_the_ledger_accounts_for_everything(open_place: Callable[..., Any], tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    place: Place = await open_place(faults=parse_faults([FAULTS]), ledger=ledger, order_limit=10_000)
    low = (await place.far_bid())["price"]
    draws = random.Random(5)
    await asyncio.gather(
        *(
            _several(place, range(first, LIFECYCLES, 4), low, random.Random(draws.random()))
            for first in range(4)
        )
    )
    await place.rest.post("/v5/order/cancel-all", **KEY)
    await check(place, ledger.read_text().splitlines())


async def _several(place: Place, numbers: range, low: str, draw: random.Random) -> None:
    trader = Trader(place)
    for number in numbers:
        await live_and_die(place, trader, number, low, draw)


async def check(place: Place, ledger: list[str]) -> None:
    lines = [json.loads(line) for line in ledger]
    last: dict[str, dict[str, Any]] = {}
    created: defaultdict[str, int] = defaultdict(int)
    money = D(100_000)
    size = D(0)
    for line in lines:
        if line["event"] == "order":
            last[line["orderLinkId"]] = line
        elif line["event"] == "request" and line["op"] == "create" and line["retCode"] == "0":
            created[line["orderLinkId"]] += 1
        elif line["event"] == "execution":
            money -= D(line["execFee"])
            size += D(line["execQty"]) * (1 if line["side"] == "Buy" else -1)
    faults = {line["fault"] for line in lines if line["event"] == "fault"}
    assert len(faults) > 8, f"hardly anything went wrong: {faults}"
    assert set(created.values()) == {1}, "an order was made twice"
    assert set(created) == set(last)
    for link, line in last.items():
        row = await look_up(place, link)
        assert row is not None
        assert {key: str(row[key]) for key in ("orderId", "orderStatus", "cumExecQty", "qty")} == {
            key: line[key] for key in ("orderId", "orderStatus", "cumExecQty", "qty")
        }
        assert row["orderStatus"] in ("Cancelled", "Filled")
    (position,) = (await place.rest.result("/v5/position/list", **KEY))["list"]
    assert D(position["size"]) * (-1 if position["side"] == "Sell" else 1) == size
    wallet = (await place.rest.result("/v5/account/wallet-balance", accountType="UNIFIED", coin="USDT"))[
        "list"
    ]
    assert D(wallet[0]["coin"][0]["walletBalance"]) == money + D(position["cumRealisedPnl"])
