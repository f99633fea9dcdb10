"""Symbols that nobody lists are told with what is near."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from recorder.unlisted import nearest, tell_unlisted
from schemas.errors import ConnectError
from schemas.names import Category


class Rest:
    def __init__(self, *symbols: str) -> None:
        self.symbols = symbols
        self.asked = 0

    async def instruments(self, category: Category) -> tuple[list[bytes], list[Any]]:
        self.asked += 1
        if not self.symbols:
            raise ConnectError("nobody listens")

        class Known:
            def __init__(self, symbol: str) -> None:
                self.symbol = symbol

        return [], [Known(symbol) for symbol in self.symbols]


async def tell(rest: Any, asked: list[str], found: list[str]) -> list[str]:
    return await tell_unlisted(rest, Category.LINEAR, asked, found)


async def test_the_nearest_is_named(caplog: pytest.LogCaptureFixture) -> None:
    rest = Rest("ETHUSDT", "BTCUSDT", "BTCPERP")
    assert await tell(rest, ["BTCUSTD", "ETHUSDT"], ["ETHUSDT"]) == ["BTCUSTD"]
    assert caplog.messages == [
        "symbol BTCUSTD: the exchange lists no such instrument of linear; the nearest is 'BTCUSDT'"
    ]


async def test_nothing_is_asked_where_nothing_is_missing() -> None:
    rest = Rest("BTCUSDT")
    assert await tell(rest, ["BTCUSDT"], ["BTCUSDT", "ETHUSDT"]) == []
    assert rest.asked == 0


async def test_without_a_list_and_with_too_many(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tapebook"):
        assert len(await tell(Rest(), [f"X{number}" for number in range(25)], [])) == 25
    assert len(caplog.messages) == 21
    assert "is it the right --category?" in caplog.messages[0]
    assert caplog.messages[-1] == "and 5 more symbols that it doesn't list"


def test_nearest() -> None:
    assert nearest("BTCUSD", ["ETHUSDT", "BTCUSDT"]) == "BTCUSDT"
    assert nearest("?", ["ETHUSDT"]) == "ETHUSDT"
    assert nearest("X", []) is None
