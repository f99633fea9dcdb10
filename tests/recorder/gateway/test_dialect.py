"""Answers per category, byte for byte (protocol sections 2.1 and 2.3)."""

from __future__ import annotations

import json

import pytest

from recorder.gateway.dialect import (
    MAX_OPTION_ARGUMENTS,
    MAX_TOPIC_CHARACTERS,
    Action,
    Answer,
    Dialect,
    is_topic,
)
from schemas.names import Category

SYMBOLS = {"BTCUSDT", "ETHUSDT", "BTCUSD", "BTC-6JAN23-18000-C"}
NOW_MS = 1_672_916_271_846


def ask(category: Category, message: object, subscribed: tuple[str, ...] = ()) -> Answer:
    dialect = Dialect(category, "c-1", SYMBOLS.__contains__)
    raw = message if isinstance(message, bytes) else json.dumps(message).encode()
    return dialect.answer(raw, subscribed, NOW_MS)


@pytest.mark.parametrize(
    ("category", "answer"),
    [
        (Category.SPOT, b'{"success":true,"ret_msg":"pong","conn_id":"c-1","op":"ping"}'),
        (Category.LINEAR, b'{"success":true,"ret_msg":"pong","conn_id":"c-1","req_id":"p1","op":"ping"}'),
        (Category.INVERSE, b'{"success":true,"ret_msg":"pong","conn_id":"c-1","req_id":"p1","op":"ping"}'),
        (Category.OPTION, b'{"args":["1672916271846"],"op":"pong"}'),
    ],
)
def test_pongs(category: Category, answer: bytes) -> None:
    assert ask(category, {"req_id": "p1", "op": "ping"}).payload == answer


def test_a_pong_without_a_request_id_echoes_an_empty_one() -> None:
    assert json.loads(ask(Category.LINEAR, {"op": "ping"}).payload)["req_id"] == ""


@pytest.mark.parametrize(
    ("category", "topic", "answer"),
    [
        (
            Category.SPOT,
            "orderbook.50.BTCUSDT",
            b'{"success":true,"ret_msg":"subscribe","conn_id":"c-1","req_id":"s1","op":"subscribe"}',
        ),
        (
            Category.LINEAR,
            "orderbook.50.BTCUSDT",
            b'{"success":true,"ret_msg":"","conn_id":"c-1","req_id":"s1","op":"subscribe"}',
        ),
        (
            Category.OPTION,
            "orderbook.100.BTC-6JAN23-18000-C",
            b'{"success":true,"conn_id":"c-1","data":{"failTopics":[],'
            b'"successTopics":["orderbook.100.BTC-6JAN23-18000-C"]},"type":"COMMAND_RESP"}',
        ),
    ],
)
def test_acknowledgements(category: Category, topic: str, answer: bytes) -> None:
    found = ask(category, {"req_id": "s1", "op": "subscribe", "args": [topic]})
    assert (found.payload, found.action, found.topics) == (answer, Action.SUBSCRIBE, [topic])


@pytest.mark.parametrize(
    "topic",
    [
        "orderbook.30.BTCUSDT",
        "orderbook.500.BTCUSDT",
        "orderbook.25.BTCUSDT",
        "orderbook.50.btcusdt",
        "orderbook.50.NOPEUSDT",
        "publicTrade.btcusdt",
        "nonsense",
        "",
        "orderbook",
        "orderbook.50.",
        "kline.2.BTCUSDT",
        "liquidation.BTCUSDT",
        "insurance.inverse",
        'x"y\\z\n',
    ],
)
def test_an_unknown_topic_rejects_the_whole_request(topic: str) -> None:
    found = ask(Category.LINEAR, {"op": "subscribe", "args": ["tickers.BTCUSDT", topic], "req_id": "r"})
    answer = json.loads(found.payload)
    assert answer == {
        "success": False,
        "ret_msg": f"error:handler not found,topic:{topic}",
        "conn_id": "c-1",
        "req_id": "r",
        "op": "subscribe",
    }
    assert (found.action, found.topics) == (Action.NONE, [])


def test_already_subscribed_rejects_the_whole_request() -> None:
    request = {"op": "subscribe", "args": ["tickers.ETHUSDT", "tickers.BTCUSDT"]}
    found = ask(Category.LINEAR, request, ("tickers.BTCUSDT",))
    assert json.loads(found.payload)["ret_msg"] == "error:already subscribed,topic:tickers.BTCUSDT"
    assert found.topics == []
    twice = ask(Category.SPOT, {"op": "subscribe", "args": ["tickers.BTCUSDT", "tickers.BTCUSDT"]})
    assert json.loads(twice.payload)["success"] is False


def test_an_option_topic_subscribed_already_is_acknowledged_and_not_started_again() -> None:
    topic = "tickers.BTC-6JAN23-18000-C"
    found = ask(Category.OPTION, {"op": "subscribe", "args": [topic]}, (topic,))
    assert json.loads(found.payload)["data"]["successTopics"] == [topic]
    assert found.topics == []


@pytest.mark.parametrize("topic", ["orderbook.50.BTC-6JAN23-18000-C", "kline.1.BTC-6JAN23-18000-C"])
def test_options_acknowledge_what_they_never_send(topic: str) -> None:
    found = ask(Category.OPTION, {"op": "subscribe", "args": [topic]})
    assert json.loads(found.payload)["data"] == {"failTopics": [], "successTopics": [topic]}


def test_options_name_what_failed() -> None:
    good = "publicTrade.BTC"
    found = ask(Category.OPTION, {"op": "subscribe", "args": ["orderbook.25.btc", "nonsense", good]})
    answer = json.loads(found.payload)
    assert answer["data"] == {"failTopics": ["orderbook.25.btc", "nonsense"], "successTopics": [good]}
    assert set(answer) == {"success", "conn_id", "data", "type"}
    assert found.topics == [good]


@pytest.mark.parametrize("category", [Category.SPOT, Category.LINEAR])
def test_invalid_op(category: Category) -> None:
    answer = json.loads(ask(category, {"op": "subsribe", "args": []}).payload)
    assert (answer["success"], answer["ret_msg"]) == (False, "error:invalid op")


@pytest.mark.parametrize("category", Category)
@pytest.mark.parametrize(
    "raw",
    [
        b"hello",
        b"",
        b"[]",
        b"null",
        b'{"op":1}',
        b'{"op":"subscribe","args":"orderbook.50.BTCUSDT"}',
        b'{"op":"subscribe","args":[1]}',
        b'{"op":"ping","req_id":[7]}',
        b'{"op":"subscribe"',
        b'{"op":"ping\xff"}',
        b'{"op":"p\x00ing"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request(category: Category, raw: bytes) -> None:
    answer = json.loads(ask(category, raw).payload)
    assert answer["success"] is False
    assert answer["ret_msg"].startswith("Failed to decode incoming data:")


def test_a_request_that_is_counted_rather_than_named() -> None:
    """As ccxt does."""
    assert json.loads(ask(Category.LINEAR, {"op": "ping", "req_id": 7}).payload)["req_id"] == "7"


def test_spot_takes_ten_topics_a_request() -> None:
    topics = [f"orderbook.{depth}.{symbol}" for depth in (1, 50, 200) for symbol in sorted(SYMBOLS)]
    refused = ask(Category.SPOT, {"op": "subscribe", "args": topics[:11]})
    assert json.loads(refused.payload)["ret_msg"] == "args size >10"
    assert refused.topics == []
    assert ask(Category.SPOT, {"op": "subscribe", "args": topics[:10]}).topics == topics[:10]
    assert ask(Category.LINEAR, {"op": "subscribe", "args": topics[:11]}).topics == topics[:11]


def test_characters_per_connection() -> None:
    subscribed = ("x" * (MAX_TOPIC_CHARACTERS - len("tickers.BTCUSDT")),)
    assert ask(Category.LINEAR, {"op": "subscribe", "args": ["tickers.BTCUSDT"]}, subscribed).topics
    refused = ask(Category.LINEAR, {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]}, subscribed)
    assert json.loads(refused.payload)["success"] is False
    assert refused.topics == []


def test_option_arguments_per_connection() -> None:
    subscribed = tuple(f"t{number}" for number in range(MAX_OPTION_ARGUMENTS))
    request = {"op": "subscribe", "args": ["publicTrade.BTC"]}
    assert json.loads(ask(Category.OPTION, request, subscribed).payload)["success"] is False
    assert ask(Category.OPTION, request, subscribed[:-1]).topics == ["publicTrade.BTC"]


def test_no_topics_at_all() -> None:
    assert json.loads(ask(Category.LINEAR, {"op": "subscribe"}).payload)["success"] is False


@pytest.mark.parametrize("category", [Category.SPOT, Category.LINEAR])
def test_unsubscribe(category: Category) -> None:
    found = ask(
        category, {"op": "unsubscribe", "args": ["tickers.BTCUSDT"], "req_id": "u"}, ("tickers.BTCUSDT",)
    )
    answer = json.loads(found.payload)
    assert (answer["success"], answer["op"], answer["req_id"]) == (True, "unsubscribe", "u")
    assert (found.action, found.topics) == (Action.UNSUBSCRIBE, ["tickers.BTCUSDT"])
    assert json.loads(ask(category, {"op": "unsubscribe", "args": ["nonsense"]}).payload)["success"] is False


def test_unsubscribe_options() -> None:
    found = ask(Category.OPTION, {"op": "unsubscribe", "args": ["publicTrade.BTC"]}, ("publicTrade.BTC",))
    assert json.loads(found.payload)["type"] == "COMMAND_RESP"
    assert (found.action, found.topics) == (Action.UNSUBSCRIBE, ["publicTrade.BTC"])


@pytest.mark.parametrize(
    ("category", "topic", "exists"),
    [
        (Category.SPOT, "orderbook.1000.BTCUSDT", True),
        (Category.SPOT, "orderbook.full.BTCUSDT", True),
        (Category.LINEAR, "orderbook.full.BTCUSDT", True),
        (Category.OPTION, "orderbook.full.BTC-26DEC25-60000-C-USDT", False),
        (Category.LINEAR, "orderbook.rpi.BTCUSDT", True),
        (Category.LINEAR, "kline.D.BTCUSDT", True),
        (Category.LINEAR, "allLiquidation.BTCUSDT", True),
        (Category.SPOT, "allLiquidation.BTCUSDT", False),
        (Category.LINEAR, "insurance.USDT", True),
        (Category.INVERSE, "adlAlert.inverse", True),
        (Category.SPOT, "insurance.USDT", False),
        (Category.OPTION, "publicTrade.BTC", True),
        (Category.OPTION, "publicTrade.btc", False),
        (Category.OPTION, "orderbook.25.BTC-6JAN23-18000-C", True),
        (Category.OPTION, "orderbook.1.BTC-6JAN23-18000-C", False),
    ],
)
def test_topics_per_category(category: Category, topic: str, exists: bool) -> None:
    assert is_topic(category, topic, SYMBOLS.__contains__) is exists
