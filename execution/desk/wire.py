"""Bytes that go out: messages of the trade and private sockets, and signed REST requests (sections 2, 6.3, 7.1, 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

import msgspec

from execution.desk.signers import Signer

__all__ = [
    "PING",
    "Op",
    "SignedRequest",
    "auth_message",
    "batch_fields",
    "batch_message",
    "get_request",
    "message_of",
    "order_message",
    "post_request",
    "private_auth_message",
    "private_url",
    "subscribe_message",
    "trade_url",
    "write_fields",
]

AUTH_MARGIN_MS: Final = 10_000
"""How far ahead the authentication's end lies: any future value is taken, and our clock may be a little late."""

PING: Final = b'{"op":"ping"}'
"""The text ping of either socket."""

_BATCH: Final = "-batch"
_encode = msgspec.json.Encoder().encode


class Op(StrEnum):
    """What the trade socket can do; there is no cancel-all and no query (section 7.1)."""

    CREATE = "order.create"
    AMEND = "order.amend"
    CANCEL = "order.cancel"

    @property
    def path(self) -> str:
        """The same request's REST path."""
        return f"/v5/order/{self.value.removeprefix('order.')}"

    @property
    def batch_path(self) -> str:
        """The REST path of several at once."""
        return self.path + _BATCH


_BEFORE_ORDER: Final = {op: f'"}},"op":"{op.value}","args":['.encode() for op in Op}


def auth_message(signer: Signer, now_ms: int, req_id: str) -> bytes:
    """Authenticate a trade socket.

    Args:
        now_ms: the exchange's clock.
    """
    expires_ms = now_ms + AUTH_MARGIN_MS
    args = [signer.api_key, expires_ms, signer.sign_socket(expires_ms)]
    return _encode({"reqId": req_id, "op": "auth", "args": args})


def private_auth_message(signer: Signer, now_ms: int, req_id: str) -> bytes:
    """Authenticate a private socket, which spells ``req_id``."""
    expires_ms = now_ms + AUTH_MARGIN_MS
    args = [signer.api_key, expires_ms, signer.sign_socket(expires_ms)]
    return _encode({"req_id": req_id, "op": "auth", "args": args})


def subscribe_message(topics: Sequence[str], req_id: str) -> bytes:
    """Subscribe topics of a private socket."""
    return _encode({"req_id": req_id, "op": "subscribe", "args": list(topics)})


def order_message(
    op: Op, fields: Mapping[str, Any], req_id: str, timestamp_ms: int, recv_window_ms: int
) -> bytes:
    """One order's request on the trade socket: exactly one object, and the header without which it is refused."""
    return message_of(op, write_fields(fields), req_id, timestamp_ms, recv_window_ms)


def write_fields(fields: Mapping[str, Any]) -> bytes:
    """An order's object, as the trade socket, REST and the order journal have it."""
    return _encode(fields)


def message_of(op: Op, written: bytes, req_id: str, timestamp_ms: int, recv_window_ms: int) -> bytes:
    """The same as `order_message`, of an object that `write_fields` has written.

    Put together of what is the same in every message, which takes a quarter of the time of writing all of it.
    """
    return b"".join(
        (
            b'{"reqId":',
            _encode(req_id),
            b',"header":{"X-BAPI-TIMESTAMP":"',
            _encode(timestamp_ms),
            b'","X-BAPI-RECV-WINDOW":"',
            _encode(recv_window_ms),
            _BEFORE_ORDER[op],
            written,
            b"]}",
        )
    )


def batch_fields(category: str, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The object of a batch, on either way; the requests in it don't name the category again (section 6.3)."""
    items = [{name: value for name, value in fields.items() if name != "category"} for fields in requests]
    return {"category": category, "request": items}


def batch_message(
    op: Op,
    category: str,
    requests: Sequence[Mapping[str, Any]],
    req_id: str,
    timestamp_ms: int,
    recv_window_ms: int,
) -> bytes:
    """Several orders' requests of one category in one message."""
    return _encode(
        {
            "reqId": req_id,
            "header": {"X-BAPI-TIMESTAMP": str(timestamp_ms), "X-BAPI-RECV-WINDOW": str(recv_window_ms)},
            "op": op.value + _BATCH,
            "args": [batch_fields(category, requests)],
        }
    )


class SignedRequest(msgspec.Struct, frozen=True):
    """A REST request, ready to send as it is.

    Attributes:
        target: path and query.
        body: of a POST; a GET has none, and must have none (section 2.5).
        headers: with the signature; never shown.
    """

    method: str
    target: str
    body: bytes | None
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"<SignedRequest {self.method} {self.target}>"


def _headers(signer: Signer, timestamp_ms: int, recv_window_ms: int, payload: str) -> dict[str, str]:
    return {
        "X-BAPI-API-KEY": signer.api_key,
        "X-BAPI-TIMESTAMP": str(timestamp_ms),
        "X-BAPI-RECV-WINDOW": str(recv_window_ms),
        "X-BAPI-SIGN": signer.sign_request(timestamp_ms, recv_window_ms, payload),
        "X-BAPI-SIGN-TYPE": "2",
    }


def get_request(
    signer: Signer, path: str, query: Iterable[tuple[str, str]], timestamp_ms: int, recv_window_ms: int
) -> SignedRequest:
    """Sign a GET; the query is signed as it is sent, values encoded once.

    A ``cursor`` comes encoded already and goes back as it came.
    """
    text = "&".join(
        f"{name}={quote(value, safe='%-._~') if name == 'cursor' else quote(value, safe='')}"
        for name, value in query
    )
    return SignedRequest(
        "GET",
        f"{path}?{text}" if text else path,
        None,
        _headers(signer, timestamp_ms, recv_window_ms, text),
    )


def post_request(
    signer: Signer, path: str, fields: Mapping[str, Any], timestamp_ms: int, recv_window_ms: int
) -> SignedRequest:
    """Sign a POST: the body is written once, and those bytes are signed."""
    body = _encode(fields)
    headers = _headers(signer, timestamp_ms, recv_window_ms, body.decode())
    return SignedRequest("POST", path, body, headers | {"Content-Type": "application/json"})


def trade_url(root: str, max_active_s: int | None = None) -> str:
    """URL of order entry; ``max_active_time`` belongs into the query (section 1.1)."""
    return _url(root, "/v5/trade", max_active_s)


def private_url(root: str, max_active_s: int | None = None) -> str:
    """URL of the private stream, which is another socket than that of order entry."""
    return _url(root, "/v5/private", max_active_s)


def _url(root: str, path: str, max_active_s: int | None) -> str:
    if max_active_s is None:
        return root + path
    if not 30 <= max_active_s <= 600:
        raise ValueError(f"max_active_s {max_active_s}: 30 to 600 seconds are taken")
    return f"{root}{path}?max_active_time={max_active_s}s"
