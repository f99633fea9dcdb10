"""The skin of the trading side: its sockets, and a clock that ticks; REST is in signed_rest."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import web

from engine.venue import Refusal
from recorder.gateway.exchange import Exchange, WatchedExchange
from recorder.gateway.faults import Deed, FaultPlan
from recorder.gateway.ledger import Ledger
from recorder.gateway.sockets import Door, has_left, hear, new_socket
from recorder.gateway.trading.desk import Desk
from recorder.gateway.trading.faults import OrderFaults
from recorder.gateway.trading.noted import NotedDesk
from recorder.gateway.trading.operations import Outcome, refused_by_rate
from recorder.gateway.trading.options import TradeOptions
from recorder.gateway.trading.private_dialect import PrivateDialect
from recorder.gateway.trading.rates import IP_REQUESTS_PER_SECOND
from recorder.gateway.trading.session import Session, active_seconds
from recorder.gateway.trading.signed import check_time
from recorder.gateway.trading.signed_rest import SignedRest
from recorder.gateway.trading.trade_dialect import OrderRequest, TradeDialect
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["TradingServer", "open_trading"]

MAX_SESSIONS: Final = 500
_TICK_S: Final = 0.05
_MS: Final = 1_000_000
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
        code = 10016 if plan is None else plan.error_code
        self._error = Outcome(code, "An error for no reason: the outcome is unknown", {}, {}, None)
        self._noted = NotedDesk(desk, ledger)
        self._rest = SignedRest(self._noted, plan, self._error)
        self._door = Door(
            MAX_SESSIONS, "private connections", plan, lambda deed: self._note("fault", 0, fault=deed)
        )

    def add_to(self, application: web.Application) -> None:
        """Serve the paths."""
        router = application.router
        router.add_get("/v5/private", self._private)
        router.add_get("/v5/trade", self._trade)
        self._rest.add_to(application)

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

    def now_ns(self) -> int:
        """The time that requests are held against."""
        return self.desk.request_ms() * _MS

    def calm(self) -> None:
        """No further fault."""
        self._plan = None
        self._door.calm()
        self._rest.faults.calm()
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
            self._end_what_is_over(clock())

    def _end_what_is_over(self, now_s: float) -> None:
        life_s = None if self._plan is None else self._plan.close_seconds
        for session in [each for each in self._sessions if not each.is_ending]:
            if life_s is not None and session.is_older(now_s, life_s) and not session.is_half_open:
                self._note("fault", session.number, fault=Deed.CLOSE)
                self._keep(self._end(session))
            elif session.is_idle(now_s):
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
        session.is_ending = True
        if socket is None:
            return
        if session.is_half_open:
            session.abort()
            return
        if not await has_left(socket):
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
        refusal = self._door.refusal(len(self._sessions))
        if refusal is not None:
            return refusal
        socket = new_socket()
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
            async for payload in _requests(socket, session):
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
            async for payload in _requests(socket, session):
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
            try:  # once more, for a request that was held up on its way
                check_time(request.timestamp, request.window, self.desk.request_ms())
            except Refusal as refusal:
                return Outcome(refusal.code, refusal.message, {}, {}, None)
            return self._noted.perform(session.number, request.key, request.operation, request.values)

        def answer(outcome: Outcome) -> None:
            session.send(msgspec.json.encode(dialect.reply(request, outcome, self.desk.request_ms())))

        if session.generation <= self._generation:
            self._noted.note(session.number, request.key, request.operation, request.values, _RESTART)
            answer(_RESTART)
            return
        if not self.desk.rates.take(address, "ip", IP_REQUESTS_PER_SECOND, now_ms).granted:
            answer(Outcome(10403, "exceed IP rate limit", {}, {}, None))
            return
        deed = session.faults.next()
        if deed is not None:
            self._noted.note_fault(session.number, deed, request.values)
        self._befall(session, deed, carry_out, answer)

    def _befall(
        self, session: Session, deed: Deed | None, carry_out: _Perform, answer: Callable[[Outcome], None]
    ) -> None:
        loop, delay_s = asyncio.get_running_loop(), session.faults.delay_seconds
        if deed is Deed.ORDER_LOST:
            return
        if deed is Deed.ORDER_HALF_OPEN:
            session.is_half_open = True
        elif deed is Deed.ORDER_CUT_BEFORE:
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


def _requests(socket: web.WebSocketResponse, session: Session) -> AsyncIterator[bytes]:
    return hear(socket, lambda: session.is_half_open, lambda: not session.is_open)
