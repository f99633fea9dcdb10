import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.control import (
    MAXIMUM_CONTROL_BYTES,
    Acknowledgement,
    Pong,
    Unreadable,
    excerpt,
    read_control,
)


@pytest.mark.parametrize(
    ("frame", "request_id", "exchange_ms"),
    [
        (b'{"success":true,"ret_msg":"pong","conn_id":"0970","op":"ping"}', "", None),
        (b'{"success":true,"ret_msg":"pong","conn_id":"4657","req_id":"p1","op":"ping"}', "p1", None),
        (b'{"success":true,"ret_msg":"pong","conn_id":"4657","req_id":"","op":"ping"}', "", None),
        (b'{"args":["1672916271846"],"op":"pong"}', "", 1672916271846),
        (b'{"req_id":"p1","op":"pong","args":["1675418560633"],"conn_id":"cfcb-1b"}', "p1", 1675418560633),
        (b'{"args":["-5"],"op":"pong"}', "", None),
        (b'{"args":["99999999999999999999"],"op":"pong"}', "", None),
        (b'{"args":[1672916271846],"op":"pong"}', "", None),
        (b'{"args":{"a":1},"op":"pong"}', "", None),
    ],
)
def test_every_shape_of_pong(frame: bytes, request_id: str, exchange_ms: int | None) -> None:
    assert read_control(frame) == Pong(request_id, exchange_ms)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (
            b'{"success":true,"ret_msg":"subscribe","conn_id":"2324","req_id":"s1","op":"subscribe"}',
            Acknowledgement(True, "subscribe", "s1", "subscribe"),
        ),
        (
            b'{"success":true,"ret_msg":"","conn_id":"3cd8","req_id":"","op":"subscribe"}',
            Acknowledgement(True, "subscribe", "", ""),
        ),
        (
            b'{"success":true,"conn_id":"aa01","data":{"failTopics":["b"],"successTopics":["a"]},"type":"COMMAND_RESP"}',
            Acknowledgement(True, "", "", "", ("a",), ("b",)),
        ),
        (
            b'{"success":true,"conn_id":"aa01","data":{"failTopics":null,"successTopics":["a"]},"type":"COMMAND_RESP"}',
            Acknowledgement(True, "", "", "", ("a",)),
        ),
        (b'{"success":false,"conn_id":"aa01","type":"COMMAND_RESP"}', Acknowledgement(False, "", "", "")),
        (
            b'{"success":false,"ret_msg":"error:handler not found,topic:t","req_id":"s1","op":"subscribe"}',
            Acknowledgement(False, "subscribe", "s1", "error:handler not found,topic:t"),
        ),
        (b'{"success":true,"ret_msg":7,"req_id":null,"op":["x"]}', Acknowledgement(True, "", "", "")),
    ],
)
def test_every_shape_of_acknowledgement(frame: bytes, expected: Acknowledgement) -> None:
    assert read_control(frame) == expected


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (b"", "undecodable"),
        (b"null", "undecodable"),
        (b"[]", "undecodable"),
        (b"not json", "undecodable"),
        (b'{"op":"subscribe"', "undecodable"),
        (b'{"op":"\xff"}', "undecodable"),
        (b'{"success":' + b"9" * 100_000 + b"}", "undecodable"),
        (b'{"success":1e999}', "undecodable"),
        (b'{"success":' + b"[" * 100_000, "undecodable"),
        (b'{"data":' + b"[" * 100_000, "undecodable"),
        (b"{}", "unknown_shape"),
        (b'{"success":1}', "unknown_shape"),
        (b'{"success":"true","op":"subscribe"}', "unknown_shape"),
        (b'{"op":"subscribe","req_id":"s1"}', "unknown_shape"),
        (b'{"topic":"tickers.BTCUSDT","success":true}', "unknown_shape"),
        (b'{"success":true,"type":"COMMAND_RESP","data":[1]}', "unknown_shape"),
        (b'{"success":true,"type":"COMMAND_RESP","data":{"successTopics":[1]}}', "unknown_shape"),
        (b" " * (MAXIMUM_CONTROL_BYTES + 1), "oversize"),
    ],
)
def test_what_is_neither_says_why(frame: bytes, cause: str) -> None:
    assert read_control(frame) == Unreadable(cause)


def test_words_and_excerpts_are_bounded() -> None:
    read = read_control(b'{"success":false,"ret_msg":"' + b"x" * 10_000 + b'"}')
    assert isinstance(read, Acknowledgement)
    assert len(read.words) == 500
    assert len(excerpt(b"\xff" * 10_000)) == 300


@given(st.binary(max_size=200))
def test_any_bytes_are_read(frame: bytes) -> None:
    assert read_control(frame) is not None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["op", "success", "ret_msg", "req_id", "type", "data", "topic", "x"]),
        _JSON
        | st.sampled_from(["pong", "subscribe", "COMMAND_RESP", {"successTopics": ["a"], "failTopics": []}]),
    )
)
def test_any_object_is_read(frame: dict[str, object]) -> None:
    assert read_control(msgspec.json.encode(frame)) is not None
