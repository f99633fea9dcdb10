"""Bytes that go out, held against the protocol's own vectors (sections 2.2 and 2.5)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from execution.desk.signers import HmacSigner
from execution.desk.wire import (
    PING,
    Op,
    auth_message,
    batch_message,
    get_request,
    order_message,
    post_request,
    private_auth_message,
    private_url,
    subscribe_message,
    trade_url,
)

SIGNER = HmacSigner("test-key", "test-secret")
NOW = 1_700_000_000_000


def test_the_authentication_signs_the_moment_that_it_names() -> None:
    trade = json.loads(auth_message(SIGNER, NOW - 10_000, "a1"))
    assert trade == {
        "reqId": "a1",
        "op": "auth",
        "args": ["test-key", NOW, "5e1a6810262f270b783cf759f856aadee413643be3c03d0fb89dd22261e41df0"],
    }
    private = json.loads(private_auth_message(SIGNER, NOW - 10_000, "a1"))
    assert private == {"req_id": "a1", "op": "auth", "args": trade["args"]}


def test_a_get_is_signed_as_it_is_sent() -> None:
    request = get_request(SIGNER, "/v5/x", [("category", "linear"), ("symbol", "BTCUSDT")], NOW, 5000)
    assert request.target == "/v5/x?category=linear&symbol=BTCUSDT"
    assert request.body is None
    assert request.headers == {
        "X-BAPI-API-KEY": "test-key",
        "X-BAPI-TIMESTAMP": str(NOW),
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": "9a7c8cfd6ba1a7c498aa4dd5a7f9cfbba01fcb6eebae734ffe0d775870a1a3fb",
        "X-BAPI-SIGN-TYPE": "2",
    }


def test_a_post_is_signed_as_it_is_sent() -> None:
    fields = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.001",
        "price": "50000",
        "timeInForce": "PostOnly",
    }
    request = post_request(SIGNER, "/v5/order/create", fields, NOW, 5000)
    assert request.body == json.dumps(fields, separators=(",", ":")).encode()
    assert (
        request.headers["X-BAPI-SIGN"] == "7edcc0fb3ca352e9c2d4357c6ab58d6bf7b585f63971a32b5142419f4c0611fe"
    )
    assert request.headers["Content-Type"] == "application/json"


def test_a_cursor_goes_back_as_it_came_and_values_are_encoded_once() -> None:
    request = get_request(SIGNER, "/v5/x", [("symbol", "A/B&c"), ("cursor", "a%3D1%2C2")], NOW, 5000)
    assert request.target == "/v5/x?symbol=A%2FB%26c&cursor=a%3D1%2C2"
    again = get_request(SIGNER, "/v5/x", [], NOW, 5000)
    assert again.target == "/v5/x"


def test_an_order_on_the_trade_socket() -> None:
    message = json.loads(order_message(Op.CREATE, {"category": "linear", "qty": "1"}, "r1", NOW, 5000))
    assert message == {
        "reqId": "r1",
        "header": {"X-BAPI-TIMESTAMP": "1700000000000", "X-BAPI-RECV-WINDOW": "5000"},
        "op": "order.create",
        "args": [{"category": "linear", "qty": "1"}],
    }
    assert Op.CANCEL.path == "/v5/order/cancel"


@given(
    op=st.sampled_from(Op),
    fields=st.dictionaries(st.text(), st.one_of(st.text(), st.integers(0, 2), st.booleans())),
    req_id=st.text(),
    now_ms=st.integers(0, 1 << 53),
    window_ms=st.integers(0, 60_000),
)
@example(Op.CREATE, {"symbol": 'A"],"op":"x', "orderLinkId": "\\\n\x00\x7f\u2028"}, '","op":"', 0, 0)
def test_a_message_of_parts_is_the_one_written_whole(
    op: Op, fields: dict[str, Any], req_id: str, now_ms: int, window_ms: int
) -> None:
    whole = {
        "reqId": req_id,
        "header": {"X-BAPI-TIMESTAMP": str(now_ms), "X-BAPI-RECV-WINDOW": str(window_ms)},
        "op": op.value,
        "args": [fields],
    }
    message = order_message(op, fields, req_id, now_ms, window_ms)
    assert json.loads(message) == whole
    assert message == msgspec.json.encode(whole)


def test_a_batch_is_one_object_that_names_the_category_once() -> None:
    orders = [{"category": "spot", "qty": "1"}, {"category": "spot", "qty": "2"}]
    message = json.loads(batch_message(Op.CREATE, "spot", orders, "r1", NOW, 5000))
    assert message["op"] == "order.create-batch"
    assert message["args"] == [{"category": "spot", "request": [{"qty": "1"}, {"qty": "2"}]}]


def test_sockets_and_their_urls() -> None:
    assert trade_url("wss://h") == "wss://h/v5/trade"
    assert private_url("wss://h", 60) == "wss://h/v5/private?max_active_time=60s"
    for seconds in (29, 601):
        with pytest.raises(ValueError, match="30 to 600"):
            private_url("wss://h", seconds)
    assert json.loads(subscribe_message(["order", "wallet"], "s1")) == {
        "req_id": "s1",
        "op": "subscribe",
        "args": ["order", "wallet"],
    }
    assert json.loads(PING) == {"op": "ping"}


def test_a_request_does_not_show_its_signature() -> None:
    request = post_request(SIGNER, "/v5/order/create", {}, NOW, 5000)
    assert request.headers["X-BAPI-SIGN"] not in repr(request)
    assert repr(request) == "<SignedRequest POST /v5/order/create>"
