"""What REST says of one order: that there is none only if it says so."""

from __future__ import annotations

from typing import Any

import pytest

from execution.desk.orders import OrderKey
from execution.desk.outcomes import Lookup
from execution.loading import look_up
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


@pytest.mark.parametrize(
    "results", [[{}], [{"list": None}], [{"list": []}, {}], [{"list": []}, {"list": {}}]]
)
async def test_without_a_list_nothing_is_known(results: list[Any]) -> None:
    with pytest.raises(ExchangeError, match="expected a list"):
        await look_up(Rest(*results), LOOKUP)  # type: ignore[arg-type]
