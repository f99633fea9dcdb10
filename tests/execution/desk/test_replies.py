"""Bytes that come in: the protocol's samples, and bytes that nobody should send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution.desk.rates import RateHeaders
from execution.desk.replies import (
    Authenticated,
    OrderReply,
    Pong,
    PrivateRows,
    RestAnswer,
    Subscribed,
    Unreadable,
    item_of,
    read_private,
    read_rest,
    read_trade,
)

ACK = (
    b'{"reqId":"ord-0001","retCode":0,"retMsg":"OK","op":"order.create","data":{"orderId":"a4c1","orderLinkId":"my-1"},'
    b'"retExtInfo":{},"header":{"X-Bapi-Limit":"10","X-Bapi-Limit-Status":"9","X-Bapi-Limit-Reset-Timestamp":'
    b'"1711001595208","Traceid":"38b7","Timenow":"1711001595209"},"connId":"cnt5"}'
)


def test_the_trade_sockets_answers() -> None:
    assert read_trade(ACK) == OrderReply(
        "ord-0001", "order.create", 0, "OK", "a4c1", RateHeaders(10, 9, 1711001595208)
    )
    assert read_trade(b'{"retCode":0,"retMsg":"OK","op":"auth","connId":"c"}') == Authenticated(0, "OK")
    assert read_trade(b'{"retCode":10004,"retMsg":"bad","op":"auth"}') == Authenticated(10004, "bad")
    assert read_trade(b'{"retCode":0,"retMsg":"OK","op":"pong","data":["1"],"connId":"c"}') == Pong()
    refused = read_trade(b'{"reqId":"r","retCode":110007,"retMsg":"no","op":"order.create","data":{}}')
    assert refused == OrderReply("r", "order.create", 110007, "no", "", None)


def batch(orders: list[Any], codes: list[Any]) -> tuple[tuple[int, str, str, str], ...]:
    reply = read_trade(
        json.dumps(
            {
                "reqId": "b",
                "retCode": 0,
                "retMsg": "OK",
                "op": "order.create-batch",
                "data": {"list": orders},
                "retExtInfo": {"list": codes},
            }
        ).encode()
    )
    assert isinstance(reply, OrderReply)
    return reply.items


def test_a_batch_is_paired_item_by_item() -> None:
    orders = [{"orderId": "o1", "orderLinkId": "a"}, {"orderId": ""}, {"orderId": "o3"}]
    items = batch(orders, [{"code": 0, "msg": "OK"}, {"code": 110007, "msg": "no"}, {"code": None}])
    assert items == ((0, "OK", "o1", "a"), (110007, "no", "", ""), (10016, "", "o3", ""))


def test_lists_of_different_lengths_leave_every_item_open() -> None:
    assert [code for code, *_ in batch([{"orderId": "o1"}, {"orderId": "o3"}], [{"code": 0}])] == [10016] * 2
    assert [code for code, *_ in batch([], [{"code": 110007}])] == [10016]


def test_an_item_counts_for_its_own_request_alone() -> None:
    items = ((0, "OK", "o1", "a"), (110007, "no", "", ""), (0, "OK", "o3", "c"))
    assert item_of(items, 0, 3, "a") == (0, "OK", "o1")
    assert item_of(items, 1, 3, "b") == (110007, "no", ""), "what was refused may have no name"
    assert item_of(items, 0, 3, "c") == (10016, "", ""), "this is another's"
    assert item_of(items, 0, 3, "") == (0, "OK", "o1"), "of a request by order id"
    assert item_of(items, 0, 4, "a") == (10016, "", ""), "one of four is missing, and nobody knows which"


def test_the_private_sockets_messages() -> None:
    assert read_private(b'{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}') == Authenticated(0, "")
    assert read_private(b'{"success":false,"ret_msg":"no","op":"auth"}') == Authenticated(-1, "no")
    assert read_private(b'{"success":true,"ret_msg":"","op":"subscribe"}') == Subscribed(True, "")
    assert read_private(b'{"req_id":"p","op":"pong","args":["1"]}') == Pong()
    assert read_private(
        b'{"id":"x","topic":"order","creationTime":5,"data":[{"orderId":"o"}]}'
    ) == PrivateRows("order", 5, [{"orderId": "o"}])
    # `id` may be missing
    fast = read_private(b'{"topic":"execution.fast","creationTime":1,"data":[]}')
    assert fast == PrivateRows("execution.fast", 1, [])


def test_rest_answers() -> None:
    assert read_rest(
        b'{"retCode":0,"retMsg":"","result":{"list":[]},"retExtInfo":{},"time":7}'
    ) == RestAnswer(0, "", {"list": []}, {}, 7)
    assert read_rest(b'{"retCode":10006,"retMsg":"slow","result":[],"time":"x"}') == RestAnswer(
        10006, "slow", {}, {}, 0
    )


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"retCode":"0"}',
    b'{"retCode":1e999}',
    b'{"topic":"order","data":{}}',
    b'{"topic":["order"],"data":[]}',
    b'{"success":"yes"}',
    b"[" * 100_000,
    b'{"retCode":' + b"9" * 5_000 + b"}",
]


@pytest.mark.parametrize("frame", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_are_unreadable(frame: bytes) -> None:
    for read in (read_trade, read_private, read_rest):
        assert isinstance(read(frame), Unreadable)


def test_an_operation_that_is_no_text() -> None:
    assert read_trade(b'{"retCode":0,"op":5}') == Unreadable("undecodable")


def test_an_oversize_frame_is_not_looked_at() -> None:
    huge = b" " * (5 << 20)
    assert read_trade(huge) == Unreadable("oversize")
    assert read_private(huge) == Unreadable("oversize")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_keys = st.sampled_from(
    [
        "retCode",
        "retMsg",
        "op",
        "reqId",
        "data",
        "retExtInfo",
        "header",
        "topic",
        "success",
        "creationTime",
        "result",
    ]
)


@given(st.dictionaries(_keys, _json | st.just("order.create-batch") | st.just(0)) | _json)
def test_reading_never_raises(value: object) -> None:
    frame = json.dumps(value).encode()
    for read in (read_trade, read_private, read_rest):
        read(frame)
