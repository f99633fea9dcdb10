"""The conversation of ``/v5/trade``: authentication, order requests and their replies (protocol section 7). Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from engine.venue import Refusal
from engine.venue.requests import TRADED
from recorder.gateway.trading.operations import OPERATIONS, Outcome
from recorder.gateway.trading.options import ApiKey
from recorder.gateway.trading.signed import check_socket, check_time

__all__ = ["OrderRequest", "TradeDialect"]

_MAX_REQUEST_ID: Final = 36
REMEMBERED_REQUEST_IDS: Final = 100_000
"""Ids of one connection that must not come again; the oldest are forgotten."""


class OrderRequest(NamedTuple):
    """An order request that may be carried out.

    Attributes:
        operation: ``create``, ``amend``, … ``cancel-batch``.
        values: its object.
        identity: ``reqId``; None if none was sent.
        timestamp, window: its time and how long it stands, as sent.
    """

    operation: str
    values: Any
    identity: str | None
    key: ApiKey
    timestamp: Any
    window: Any


class TradeDialect:
    """One connection's conversation.

    Attributes:
        key: whose connection it is; None until it has authenticated.
    """

    def __init__(self, keys: Mapping[str, ApiKey], connection_id: str) -> None:
        self._keys = keys
        self._connection_id = connection_id
        self._identities: dict[str, None] = {}
        self.key: ApiKey | None = None

    def read(self, payload: bytes, now_ms: int) -> OrderRequest | dict[str, Any]:
        """Judge one message, anything at all: an order request that stands, or what to answer at once."""
        try:
            request = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._reply(None, "", 10001, "params error: not JSON")
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            return self._reply(None, "", 10404, "")
        op, identity = request["op"][:60], request.get("reqId")
        if op == "ping":
            return self._reply(identity, "pong", 0, "OK", data=[str(now_ms)])
        if op == "auth":
            return self._authenticate(request.get("args"), identity, now_ms)
        try:
            return self._order(op, request, identity, now_ms)
        except Refusal as refusal:
            return self._reply(identity, op, refusal.code, refusal.message, now_ms=now_ms)

    def _authenticate(self, arguments: Any, identity: Any, now_ms: int) -> dict[str, Any]:
        if self.key is not None:
            return self._reply(identity, "auth", 20001, "Repeat auth")
        try:
            self.key = check_socket(self._keys, arguments, now_ms)
        except Refusal as refusal:
            return self._reply(identity, "auth", refusal.code, refusal.message)
        return self._reply(identity, "auth", 0, "OK")

    def _order(self, op: str, request: dict[str, Any], identity: Any, now_ms: int) -> OrderRequest:
        prefix, _, operation = op.partition(".")
        if prefix != "order" or operation not in OPERATIONS:
            raise Refusal(10404, "")
        if self.key is None:
            raise Refusal(10007, "User authentication failed: authenticate first")
        if identity is not None:
            self._check_identity(identity)
        header, arguments = request.get("header"), request.get("args")
        if not isinstance(header, dict):
            raise Refusal(10001, "params error: header is required")
        timestamp, window = header.get("X-BAPI-TIMESTAMP"), header.get("X-BAPI-RECV-WINDOW")
        check_time(timestamp, window, now_ms)
        if not isinstance(arguments, list) or len(arguments) != 1 or not isinstance(arguments[0], dict):
            raise Refusal(10001, "params error: args holds exactly one object")
        if arguments[0].get("category") not in TRADED:
            raise Refusal(10404, "category is not correct or not supported")
        return OrderRequest(operation, arguments[0], identity, self.key, timestamp, window)

    def _check_identity(self, identity: Any) -> None:
        if not isinstance(identity, str) or len(identity) > _MAX_REQUEST_ID:
            raise Refusal(10001, f"params error: reqId is a text of at most {_MAX_REQUEST_ID} characters")
        if identity in self._identities:
            raise Refusal(20006, "reqId is duplicated")
        self._identities[identity] = None
        if len(self._identities) > REMEMBERED_REQUEST_IDS:
            del self._identities[next(iter(self._identities))]

    def reply(self, request: OrderRequest, outcome: Outcome, now_ms: int) -> dict[str, Any]:
        """The reply to an order request."""
        rate = {} if outcome.rate is None else outcome.rate.headers()
        message = self._reply(
            request.identity,
            f"order.{request.operation}",
            outcome.code,
            outcome.message,
            data=outcome.data,
            now_ms=now_ms,
            rate=rate,
        )
        message["retExtInfo"] = outcome.extra
        return message

    def _reply(
        self,
        identity: Any,
        op: str,
        code: int,
        words: str,
        *,
        data: Any = None,
        now_ms: int | None = None,
        rate: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        message: dict[str, Any] = {} if identity is None else {"reqId": identity}
        message.update(retCode=code, retMsg=words, op=op)
        if data is not None or now_ms is not None:
            message["data"] = {} if data is None else data
        if now_ms is not None:
            message["retExtInfo"] = {}
            message["header"] = {**(rate or {}), "Traceid": uuid.uuid4().hex, "Timenow": str(now_ms)}
        message["connId"] = self._connection_id
        return message
