"""Books that are wrong on purpose."""

from __future__ import annotations

import json

import pytest

from recorder.gateway.lies import Lies
from schemas.errors import ConfigError
from tests.recorder.recordings import START_NS, book, market

MS = START_NS // 1_000_000


def sides(payload: bytes) -> tuple[list[list[str]], list[list[str]]]:
    data = json.loads(payload)["data"]
    return data["b"], data["a"]


def test_one_size_of_a_message_is_doubled_and_nothing_else() -> None:
    lies = Lies(["orderbook.50"])
    told = lies.frame(
        "orderbook.50.BTCUSDT", book("delta", 7, [("9.5", "0"), ("9.0", "1.25")], [("11", "2")], MS)
    )
    assert sides(told) == ([["9.5", "0"], ["9.0", "2.50"]], [["11", "2"]])
    assert json.loads(told)["data"]["u"] == 7
    told = lies.frame("orderbook.50.BTCUSDT", book("delta", 8, [("9.5", "0")], [("11", "2")], MS))
    assert sides(told) == ([["9.5", "0"]], [["11", "4"]])
    gone = book("delta", 9, [("9.5", "0")], [], MS)
    assert sides(lies.frame("orderbook.50.BTCUSDT", gone)) == sides(gone)


def test_other_topics_are_true() -> None:
    lies = Lies(["orderbook.5", "orderbook.50.ETHUSDT"])
    for frame in market(0, 5):
        topic = json.loads(frame)["topic"]
        assert lies.frame(topic, frame) == frame
    assert not Lies(())


def test_rest_books() -> None:
    result = {"s": "BTCUSDT", "b": [("9", "1")], "a": [], "u": 1}
    assert Lies(["rest"]).answer("orderbook", result) == {**result, "b": [["9", "2"]]}
    assert result["b"] == [("9", "1")]
    assert Lies(["rest"]).answer("tickers", result) == result
    assert Lies(["orderbook.50"]).answer("orderbook", result) == result


def test_what_is_no_book() -> None:
    with pytest.raises(ConfigError, match=r"--lie 'publicTrade': expected orderbook\.DEPTH"):
        Lies(["publicTrade"])
