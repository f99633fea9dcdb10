"""Signed REST as paths of an application, and what befalls orders on their way through it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from engine.venue import Refusal
from recorder.gateway.faults import Deed, FaultPlan
from recorder.gateway.trading.faults import OrderFaults
from recorder.gateway.trading.noted import NotedDesk
from recorder.gateway.trading.operations import OPERATIONS, Outcome, refused_by_rate
from recorder.gateway.trading.rates import RateState
from recorder.gateway.trading.rest import GETS, POSTS, Asked

__all__ = ["SignedRest"]

_MAX_BODY_BYTES: Final = 256 * 1024


class SignedRest:
    """Answers accounts.

    Args:
        noted: carries orders out.
        plan: faults, None for none.
        error: the answer to orders that fail for no reason of their own.

    Attributes:
        faults: what befalls order requests here.
    """

    def __init__(self, noted: NotedDesk, plan: FaultPlan | None, error: Outcome) -> None:
        self._noted = noted
        self._desk = noted.desk
        self._error = error
        self.faults = OrderFaults(plan, "rest")

    def add_to(self, application: web.Application) -> None:
        """Serve the paths."""
        router = application.router
        for path in GETS:
            router.add_get(path, self._get)
        for path in POSTS:
            router.add_post(path, self._post)
        for operation in OPERATIONS:
            router.add_post(f"/v5/order/{operation}", self._order)

    async def _get(self, request: web.Request) -> web.Response:
        query = request.raw_path.partition("?")[2]
        return await self._answer(request, query, dict(request.query), GETS[request.path])

    async def _post(self, request: web.Request) -> web.Response:
        read = await _body(request)
        if isinstance(read, web.Response):
            return read
        return await self._answer(request, read[0], read[1], POSTS[request.path])

    async def _answer(
        self,
        request: web.Request,
        payload: str,
        values: Mapping[str, Any],
        ask: Callable[[Asked], dict[str, Any]],
    ) -> web.Response:
        rate: RateState | None = None
        try:
            key = self._desk.whose(request.headers, payload)
            rate = self._desk.rates.query(key.uid, request.path, self._desk.request_ms())
            if rate is not None and not rate.granted:
                return self._envelope(refused_by_rate(rate))
            if request.method == "POST" and key.is_read_only:
                raise Refusal(10005, "Permission denied, please check your API key permissions.")
            result = ask(Asked(self._desk, key, values))
        except Refusal as refusal:
            return self._envelope(Outcome(refusal.code, refusal.message, {}, {}, rate))
        self._desk.publish()
        return self._envelope(Outcome(0, "OK", result, {}, rate))

    async def _order(self, request: web.Request) -> web.Response:
        operation = request.path.rpartition("/")[2]
        read = await _body(request)
        if isinstance(read, web.Response):
            return read
        payload, values = read
        try:
            key = self._desk.whose(request.headers, payload)
        except Refusal as refusal:
            return self._envelope(Outcome(refusal.code, refusal.message, {}, {}, None))
        deed, delay_s = self.faults.next(), self.faults.delay_seconds
        if deed is not None:
            self._noted.note_fault(0, deed, values)
        if deed in (Deed.ORDER_LOST, Deed.ORDER_CUT_BEFORE, Deed.ORDER_HALF_OPEN):
            return await _cut(request)
        if deed is Deed.ORDER_LIMITED:
            return self._envelope(refused_by_rate(None))
        if deed is Deed.ORDER_ERROR and not self.faults.errs_after():
            return self._envelope(self._error)
        if deed is Deed.ORDER_HELD:
            await asyncio.sleep(delay_s)
            try:
                self._desk.whose(request.headers, payload)
            except Refusal as refusal:
                return self._envelope(Outcome(refusal.code, refusal.message, {}, {}, None))
        outcome = self._noted.perform(0, key, operation, values)
        self._desk.publish()
        if deed in (Deed.ORDER_LOST_ACK, Deed.ORDER_CUT):
            return await _cut(request)
        if deed is Deed.ORDER_SLOW_ACK:
            await asyncio.sleep(delay_s)
        return self._envelope(self._error if deed is Deed.ORDER_ERROR else outcome)

    def _envelope(self, outcome: Outcome) -> web.Response:
        now_ms = self._desk.request_ms()
        body = {
            "retCode": outcome.code,
            "retMsg": outcome.message,
            "result": outcome.data,
            "retExtInfo": outcome.extra,
            "time": now_ms,
        }
        headers = {} if outcome.rate is None else outcome.rate.headers()
        return web.Response(
            body=msgspec.json.encode(body),
            content_type="application/json",
            charset="utf-8",
            headers={**headers, "Traceid": uuid.uuid4().hex, "Timenow": str(now_ms)},
        )


async def _body(request: web.Request) -> tuple[str, dict[str, Any]] | web.Response:
    raw = await request.content.read(_MAX_BODY_BYTES + 1)
    if len(raw) > _MAX_BODY_BYTES:
        return web.Response(status=413, text=f"a body of at most {_MAX_BODY_BYTES} bytes is expected\n")
    try:
        values = msgspec.json.decode(raw)
        if not isinstance(values, dict):
            raise msgspec.DecodeError("expected an object")
        return raw.decode(), values
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = {"retCode": 10001, "retMsg": "params error: the body is no JSON object", "result": {}}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")


async def _cut(request: web.Request) -> web.Response:
    """Drop the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=499)
