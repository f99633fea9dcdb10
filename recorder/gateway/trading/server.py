"""The skin of the trading side: sockets and paths of an application, and a clock that ticks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from engine.venue import Refusal
from recorder.gateway.dialect import MAX_REQUEST_BYTES
from recorder.gateway.exchange import Exchange, WatchedExchange
from recorder.gateway.faults import Deed, FaultPlan
from recorder.gateway.ledger import Ledger
from recorder.gateway.trading.desk import Desk
from recorder.gateway.trading.faults import OrderFaults
from recorder.gateway.trading.operations import OPERATIONS, Outcome, perform, refused_by_rate
from recorder.gateway.trading.options import ApiKey, TradeOptions
from recorder.gateway.trading.private_dialect import PrivateDialect
from recorder.gateway.trading.rates import IP_REQUESTS_PER_SECOND, QUERY_LIMITS, RateState
from recorder.gateway.trading.rest import GETS, POSTS, Asked
from recorder.gateway.trading.session import Session, active_seconds
from recorder.gateway.trading.trade_dialect import OrderRequest, TradeDialect
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["TradingServer", "open_trading"]

MAX_SESSIONS: Final = 500
_TICK_S: Final = 0.05
_CLOSE_PATIENCE_S: Final = 2.0
_MAX_BODY_BYTES: Final = 256 * 1024
_RESTART: Final = Outcome(
    10019, "ws trade service is restarting, do not accept new request; build a new connection", {}, {}, None
)
_Perform = Callable[[], Outcome]


class TradingServer:
    """Serves a desk.

    Args:
        next_number: the number of the next connection.
        plan: faults, None for none.
    """

    def __init__(
        self,
        desk: Desk,
        next_number: Callable[[], int],
        ledger: Ledger | None,
        plan: FaultPlan | None,
    ) -> None:
        self.desk = desk
        self._next_number = next_number
        self._ledger = ledger
        self._plan = plan
        self._sessions: dict[Session, web.WebSocketResponse] = {}
        self._generation = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._rest_faults = OrderFaults(plan, "rest")
        code = 10016 if plan is None else plan.error_code
        self._error = Outcome(code, "An error for no reason: the outcome is unknown", {}, {}, None)

    def add_to(self, application: web.Application) -> None:
        """Serve the paths."""
        router = application.router
        router.add_get("/v5/private", self._private)
        router.add_get("/v5/trade", self._trade)
        for path in GETS:
            router.add_get(path, self._get)
        for path in POSTS:
            router.add_post(path, self._post)
        for operation in OPERATIONS:
            router.add_post(f"/v5/order/{operation}", self._order)

    def start(self) -> None:
        """Let time pass."""
        self._keep(self._tick())
        plan = self._plan
        if plan is not None and plan.trade_restart_seconds is not None:
            self._keep(self._restart(plan.trade_restart_seconds, plan.delay_seconds))

    async def close(self) -> None:
        """End every connection, and time."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(self._end(session) for session in list(self._sessions)))

    def calm(self) -> None:
        """No further fault."""
        self._plan = None
        self._rest_faults.calm()
        for session in self._sessions:
            session.faults.calm()

    def _keep(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_TICK_S)
            self.desk.tick()
            for session in list(self._sessions):
                if session.is_idle(clock()):
                    self._keep(self._end(session))

    async def _restart(self, every_s: float, grace_s: float) -> None:
        """Restart the trade service: whoever is connected has to come anew, once it has heard so."""
        while True:
            await asyncio.sleep(every_s)
            if self._plan is None:
                return
            self._generation += 1
            self._note("fault", 0, fault=Deed.TRADE_RESTART)
            await asyncio.sleep(grace_s)
            for session in list(self._sessions):
                if 0 < session.generation <= self._generation:
                    self._keep(self._end(session))

    async def _end(self, session: Session) -> None:
        socket = self._sessions.get(session)
        if socket is None:
            return
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_CLOSE_PATIENCE_S):
                await socket.close(code=WSCloseCode.GOING_AWAY)
                return
        session.abort()

    def _note(self, event: str, connection: int, **details: str) -> None:
        if self._ledger is not None:
            self._ledger.event(event, connection, **details)
            self._ledger.flush()

    # Sockets

    async def _open(
        self, request: web.Request, generation: int
    ) -> tuple[web.WebSocketResponse, Session, str] | web.Response:
        try:
            active_s = active_seconds(request.query.get("max_active_time"))
        except ConfigError as error:
            return web.Response(status=400, text=f"{error}\n")
        if len(self._sessions) >= MAX_SESSIONS:
            return web.Response(status=429, text=f"{MAX_SESSIONS} private connections are open already\n")
        socket = web.WebSocketResponse(
            compress=False, max_msg_size=MAX_REQUEST_BYTES, timeout=_CLOSE_PATIENCE_S, autoclose=False
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return web.Response(status=400)
        number = self._next_number()
        session = Session(
            number,
            transport,
            OrderFaults(self._plan, number),
            self._ledger,
            generation=generation,
            active_s=active_s,
        )
        self._sessions[session] = socket
        identity = uuid.uuid4().hex[:20]
        self._note("open", number, conn_id=identity, path=request.path)
        return socket, session, identity

    async def _private(self, request: web.Request) -> web.StreamResponse:
        opened = await self._open(request, 0)
        if isinstance(opened, web.Response):
            return opened
        socket, session, identity = opened
        dialect = PrivateDialect(self.desk.keys, identity)
        session.topics = dialect.topics
        disconnects = self.desk.disconnects
        try:
            async for payload in _messages(socket):
                session.touch()
                was_known = dialect.key
                answer = dialect.answer(payload, self.desk.request_ms())
                session.send(msgspec.json.encode(answer.message))
                if dialect.key is not None:
                    if was_known is None:
                        self.desk.listen(dialect.key.uid, session)
                    uid = dialect.key.uid
                    disconnects.joined(uid, answer.subscribed)
                    disconnects.left(uid, answer.unsubscribed, self.desk.request_ms())
        finally:
            if dialect.key is not None:
                self.desk.forget(dialect.key.uid, session)
                disconnects.left(dialect.key.uid, dialect.topics, self.desk.request_ms())
            await self._forget(session, socket)
        return socket

    async def _trade(self, request: web.Request) -> web.StreamResponse:
        opened = await self._open(request, self._generation + 1)
        if isinstance(opened, web.Response):
            return opened
        socket, session, identity = opened
        dialect = TradeDialect(self.desk.keys, identity)
        address = request.remote or ""
        try:
            async for payload in _messages(socket):
                session.touch()
                now_ms = self.desk.request_ms()
                read = dialect.read(payload, now_ms)
                if isinstance(read, OrderRequest):
                    self._take(session, dialect, read, address, now_ms)
                else:
                    session.send(msgspec.json.encode(read))
        finally:
            await self._forget(session, socket)
        return socket

    async def _forget(self, session: Session, socket: web.WebSocketResponse) -> None:
        self._sessions.pop(session, None)
        with suppress(ConnectionError):
            await socket.close()
        self._note("close", session.number)

    def _take(
        self, session: Session, dialect: TradeDialect, request: OrderRequest, address: str, now_ms: int
    ) -> None:
        """Carry out an order request of a trade socket, as a fault has it."""

        def carry_out() -> Outcome:
            return self._perform(request.key, request.operation, request.values)

        def answer(outcome: Outcome) -> None:
            session.send(msgspec.json.encode(dialect.reply(request, outcome, self.desk.request_ms())))

        if session.generation <= self._generation:
            self._note_request(session.number, request.key, request.operation, request.values, _RESTART)
            answer(_RESTART)
            return
        if not self.desk.rates.take(address, "ip", IP_REQUESTS_PER_SECOND, now_ms).granted:
            answer(Outcome(10403, "exceed IP rate limit", {}, {}, None))
            return
        deed = session.faults.next()
        if deed is not None:
            self._note_fault(session.number, deed, request.values)
        self._befall(session, deed, carry_out, answer)

    def _befall(
        self, session: Session, deed: Deed | None, carry_out: _Perform, answer: Callable[[Outcome], None]
    ) -> None:
        loop, delay_s = asyncio.get_running_loop(), session.faults.delay_seconds
        if deed is Deed.ORDER_LOST:
            return
        if deed is Deed.ORDER_CUT_BEFORE:
            session.abort()
        elif deed is Deed.ORDER_HELD:
            loop.call_later(delay_s, lambda: self._finish(carry_out, answer))
        elif deed is Deed.ORDER_LIMITED:
            answer(refused_by_rate(None))
        elif deed is Deed.ORDER_ERROR:
            if session.faults.errs_after():
                carry_out()
                self.desk.publish()
            answer(self._error)
        elif deed is None:
            self._finish(carry_out, answer)
        else:
            outcome = carry_out()
            self.desk.publish()
            if deed is Deed.ORDER_SLOW_ACK:
                loop.call_later(delay_s, answer, outcome)
            elif deed is Deed.ORDER_CUT:
                session.abort()
            elif deed is Deed.ORDER_DOUBLE_ACK:
                answer(outcome)
                answer(outcome)

    def _finish(self, carry_out: _Perform, answer: Callable[[Outcome], None]) -> None:
        outcome = carry_out()
        answer(outcome)
        self.desk.publish()

    def _perform(self, key: ApiKey, operation: str, values: Any, number: int = 0) -> Outcome:
        outcome = perform(self.desk, key, operation, values, self.desk.request_ms())
        self._note_request(number, key, operation, values, outcome)
        return outcome

    def _note_request(self, number: int, key: ApiKey, operation: str, values: Any, outcome: Outcome) -> None:
        if self._ledger is None:
            return
        given = values if isinstance(values, dict) else {}
        self._ledger.event(
            "request",
            number,
            uid=key.uid,
            op=operation,
            retCode=str(outcome.code),
            orderId=str(outcome.data.get("orderId", given.get("orderId", ""))),
            orderLinkId=str(given.get("orderLinkId", "")),
        )
        for row, result in zip(outcome.data.get("list", ()), outcome.extra.get("list", ()), strict=False):
            self._ledger.event(
                "request",
                number,
                uid=key.uid,
                op=operation,
                retCode=str(result["code"]),
                orderId=row["orderId"],
                orderLinkId=row["orderLinkId"],
            )

    def _note_fault(self, number: int, deed: Deed, values: Any) -> None:
        given = values if isinstance(values, dict) else {}
        self._note("fault", number, fault=deed.value, orderLinkId=str(given.get("orderLinkId", ""))[:60])

    # REST

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
            key = self._whose(request, payload)
            limit = QUERY_LIMITS.get(request.path)
            if limit is not None:
                rate = self.desk.rates.take(key.uid, request.path, limit, self.desk.request_ms())
                if not rate.granted:
                    return self._envelope(refused_by_rate(rate))
            if request.method == "POST" and key.is_read_only:
                raise Refusal(10005, "Permission denied, please check your API key permissions.")
            result = ask(Asked(self.desk, key, values))
        except Refusal as refusal:
            return self._envelope(Outcome(refusal.code, refusal.message, {}, {}, rate))
        self.desk.publish()
        return self._envelope(Outcome(0, "OK", result, {}, rate))

    def _whose(self, request: web.Request, payload: str) -> ApiKey:
        return self.desk.whose(request.headers, payload)

    async def _order(self, request: web.Request) -> web.Response:
        operation = request.path.rpartition("/")[2]
        read = await _body(request)
        if isinstance(read, web.Response):
            return read
        payload, values = read
        try:
            key = self._whose(request, payload)
        except Refusal as refusal:
            return self._envelope(Outcome(refusal.code, refusal.message, {}, {}, None))
        deed, delay_s = self._rest_faults.next(), self._rest_faults.delay_seconds
        if deed is not None:
            self._note_fault(0, deed, values)
        if deed in (Deed.ORDER_LOST, Deed.ORDER_CUT_BEFORE):
            return await _cut(request)
        if deed is Deed.ORDER_LIMITED:
            return self._envelope(refused_by_rate(None))
        if deed is Deed.ORDER_ERROR and not self._rest_faults.errs_after():
            return self._envelope(self._error)
        if deed is Deed.ORDER_HELD:
            await asyncio.sleep(delay_s)
        outcome = self._perform(key, operation, values)
        self.desk.publish()
        if deed in (Deed.ORDER_LOST_ACK, Deed.ORDER_CUT):
            return await _cut(request)
        if deed is Deed.ORDER_SLOW_ACK:
            await asyncio.sleep(delay_s)
        return self._envelope(self._error if deed is Deed.ORDER_ERROR else outcome)

    def _envelope(self, outcome: Outcome) -> web.Response:
        now_ms = self.desk.request_ms()
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


def open_trading(
    options: TradeOptions,
    exchanges: Mapping[Category, Exchange],
    market_ns: Callable[[], int],
    next_number: Callable[[], int],
    ledger: Ledger | None,
    plan: FaultPlan | None,
    on_watch: Callable[[], None],
) -> TradingServer:
    """Set up a desk over the exchanges of a gateway, and what serves it."""
    skew_ms, race_ms = (0, 0) if plan is None else (plan.skew_ms, plan.race_ms)
    desk = Desk(options, exchanges, market_ns, ledger, skew_ms, race_ms, on_watch)
    for category, exchange in exchanges.items():
        if isinstance(exchange, WatchedExchange):
            exchange.witness = desk.witness(category)
    return TradingServer(desk, next_number, ledger, plan)


async def _messages(socket: web.WebSocketResponse) -> AsyncIterator[bytes]:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            yield message.data.encode()
        elif message.type is WSMsgType.BINARY:
            yield message.data


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
