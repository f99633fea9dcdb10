from __future__ import annotations

from typing import Any

import pytest

from engine.venue import Refusal
from recorder.gateway.trading.listings import executions, history, page, realtime
from schemas.names import Category
from tests.engine.venue.conftest import BOOK, NOW_MS, Desk

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.book(*BOOK)
    for number in range(4):
        desk.create("Buy", "0.5", "60000.2", orderLinkId=f"taken-{number}")
    desk.create("Buy", "0.5", "59000.0", orderLinkId="open")
    desk.create("Buy", "0.5", "60000.0", triggerPrice="65000", triggerDirection=1, orderLinkId="stop")
    return desk


def links(result: dict[str, Any]) -> list[str]:
    return [row["orderLinkId"] for row in result["list"]]


def test_open_and_closed_orders_newest_first(desk: Desk) -> None:
    account = desk.venue.accounts["1"]
    taken = ["taken-3", "taken-2", "taken-1", "taken-0"]
    assert links(realtime(account, LINEAR)) == ["stop", "open"]
    assert links(realtime(account, {**LINEAR, "orderFilter": "StopOrder"})) == ["stop"]
    assert links(realtime(account, {**LINEAR, "openOnly": "1"})) == taken
    assert links(history(account, LINEAR)) == taken
    assert links(realtime(account, {"category": "linear", "orderLinkId": "taken-2"})) == ["taken-2"]
    assert links(realtime(account, {"category": "spot"})) == []
    assert links(realtime(account, {"category": "linear", "settleCoin": "USDC"})) == []
    with pytest.raises(Refusal):
        realtime(account, {"category": "linear"})


def test_executions_by_order_and_time(desk: Desk) -> None:
    account = desk.venue.accounts["1"]
    assert links(executions(account, {**LINEAR, "orderLinkId": "taken-1"})) == ["taken-1"]
    assert links(executions(account, {**LINEAR, "execType": "Funding"})) == []
    begin, end = str(NOW_MS), str(NOW_MS + 10_000)
    assert len(executions(account, {**LINEAR, "startTime": begin, "endTime": end})["list"]) == 4
    assert executions(account, {**LINEAR, "startTime": end})["list"] == []
    assert executions(account, {**LINEAR, "endTime": str(NOW_MS - 1)})["list"] == []
    for times in ({"startTime": begin, "endTime": str(NOW_MS + 8 * 86_400_000)}, {"startTime": "x"}):
        with pytest.raises(Refusal):
            executions(account, {**LINEAR, **times})


def test_pages_join_without_a_seam() -> None:
    rows = [(f"{number:03d}", {"n": number}) for number in range(10, 0, -1)]
    seen, cursor = [], ""
    while True:
        result = page(rows, {"limit": "3", "cursor": cursor}, 50, 20, Category.LINEAR)
        seen += [row["n"] for row in result["list"]]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
        rows = [(key, row) for key, row in rows if row["n"] not in (8, 9)]  # gone meanwhile
    assert seen == list(range(10, 0, -1))
    for limit in ("0", "51", "x", "-1"):
        with pytest.raises(Refusal):
            page(rows, {"limit": limit}, 50, 20, Category.LINEAR)
