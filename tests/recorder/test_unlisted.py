"""Symbols that nobody lists are told with what is near."""

from __future__ import annotations

import logging

import pytest

from recorder.unlisted import nearest, tell_unlisted
from schemas.names import Category


def test_the_nearest_is_named(caplog: pytest.LogCaptureFixture) -> None:
    listed = ["ETHUSDT", "BTCUSDT", "BTCPERP"]
    assert tell_unlisted(Category.LINEAR, ["BTCUSTD", "ETHUSDT"], listed) == ["BTCUSTD"]
    assert caplog.messages == [
        "symbol BTCUSTD: the exchange lists no such instrument of linear; the nearest is 'BTCUSDT'"
    ]


def test_nothing_is_told_where_nothing_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    assert tell_unlisted(Category.LINEAR, ["BTCUSDT"], ["BTCUSDT", "ETHUSDT"]) == []
    assert caplog.messages == []


def test_without_a_list_and_with_too_many(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "tapebook"):
        assert len(tell_unlisted(Category.LINEAR, [f"X{number}" for number in range(25)], [])) == 25
    assert len(caplog.messages) == 21
    assert "is it the right --category?" in caplog.messages[0]
    assert caplog.messages[-1] == "and 5 more symbols that it doesn't list"


def test_nearest() -> None:
    assert nearest("BTCUSD", ["ETHUSDT", "BTCUSDT"]) == "BTCUSDT"
    assert nearest("?", ["ETHUSDT"]) == "ETHUSDT"
    assert nearest("X", []) is None
