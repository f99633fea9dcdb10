"""What REST says of one order: that there is none only if it says so."""

from __future__ import annotations

from typing import Any

import pytest

from execution.desk.live import Fill, LiveAccount
from execution.desk.orders import OrderKey
from execution.desk.outcomes import Lookup
from execution.desk.requests import Requests
from execution.exchange_clock import ExchangeClock
from execution.loading import AccountLoader, look_up
from schemas.errors import ExchangeError
from schemas.names import Category

LOOKUP = Lookup(1, OrderKey(Category.LINEAR, "BTCUSDT", "", "tb-1"), 0)
ROW = {"orderId": "o1"}


class Rest:
    """Answers with these results, one after the other."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results = list(results)

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        assert query == {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "tb-1"}
        return self.results.pop(0)


@pytest.mark.parametrize(
    ("results", "rows"),
    [
        ([{"list": [ROW]}], [ROW]),
        ([{"list": []}, {"list": [ROW]}], [ROW]),
        ([{"list": []}, {"list": []}], []),
    ],
)
async def test_open_ones_first_then_those_that_are_over(results: list[Any], rows: list[Any]) -> None:
    assert await look_up(Rest(*results), LOOKUP) == rows  # type: ignore[arg-type]


async def test_history_is_asked_for_the_days_of_an_order_that_is_old() -> None:
    """Without times it looks back seven days, and takes no span that is longer."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Remembers:
        async def get(self, path: str, **query: str) -> dict[str, Any]:
            asked.append((path, query))
            return {"list": []}

    day_ms, sent_ms = 86_400_000, 1_760_000_000_000
    for days, spans in ((5, False), (7, True), (400, True)):
        asked.clear()
        lookup = Lookup(1, LOOKUP.key, sent_ms + days * day_ms, sent_ms)
        assert await look_up(Remembers(), lookup) == []  # type: ignore[arg-type]
        assert [path for path, _ in asked] == ["/v5/order/realtime", "/v5/order/history"]
        assert "startTime" not in asked[0][1], "which ignores it"
        query = asked[1][1]
        assert ("startTime" in query) == spans
        if spans:
            start_ms, end_ms = int(query["startTime"]), int(query["endTime"])
            assert start_ms < sent_ms < end_ms
            assert end_ms - start_ms <= 7 * day_ms


@pytest.mark.parametrize(
    "results", [[{}], [{"list": None}], [{"list": []}, {}], [{"list": []}, {"list": {}}]]
)
async def test_without_a_list_nothing_is_known(results: list[Any]) -> None:
    with pytest.raises(ExchangeError, match="expected a list"):
        await look_up(Rest(*results), LOOKUP)  # type: ignore[arg-type]


class Positions:
    """REST of an account with positions; told by settle coin only what is open, by symbol both sides."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        self.rows = list(rows)
        self.by_symbol = 0

    async def pages(self, path: str, **query: str) -> list[dict[str, Any]]:
        if path != "/v5/position/list":
            return []
        if "symbol" in query:
            self.by_symbol += 1
            return self.rows
        return [row for row in self.rows if row["size"] != "0" and query["settleCoin"] == "USDT"]

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        return {}


def position(index: int, size: str, sequence: int) -> dict[str, Any]:
    return {"symbol": "BTCUSDT", "positionIdx": index, "side": "Buy", "size": size, "seq": sequence}


async def load(account: LiveAccount, rest: Positions) -> dict[int, str]:
    fills: list[Fill] = []
    loader = AccountLoader(
        rest,  # type: ignore[arg-type]
        ExchangeClock(), account, Requests(account), [Category.LINEAR], fills.append,
    )  # fmt: skip
    await loader.load()
    return {index: str(found.size) for (_, _, index), found in account.positions.items()}


async def test_a_side_that_was_closed_beside_an_open_one_is_asked_for() -> None:
    account = LiveAccount()
    for index in (1, 2):
        account.on_position(position(index, "3", 5), category=Category.LINEAR)
    assert await load(account, Positions(position(1, "2", 6), position(2, "0", 7))) == {1: "2", 2: "0"}


async def test_an_exchange_that_never_traded_what_we_hold_is_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("execution.loading._BEHIND_S", 0.0)
    account = LiveAccount()
    account.on_position(position(0, "3", 5), category=Category.LINEAR)
    rest = Positions(position(0, "0", -1))
    assert await load(account, rest) == {0: "0"}
    assert rest.by_symbol == 2


async def test_an_answer_that_is_behind_changes_nothing() -> None:
    account = LiveAccount()
    account.on_position(position(0, "3", 5), category=Category.LINEAR)
    rest = Positions(position(0, "0", 4))
    assert await load(account, rest) == {0: "3"}
    assert rest.by_symbol == 1
