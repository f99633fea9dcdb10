"""The skin: one port that speaks the exchange's WebSocket and REST; the private side is in trading/."""

from __future__ import annotations

import asyncio
import random
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from recorder.gateway.books import Feeds
from recorder.gateway.connection import Connection
from recorder.gateway.dialect import Action, Dialect
from recorder.gateway.exchange import Exchange, Subscriptions, WatchedExchange
from recorder.gateway.faults import Deed, FaultInjector
from recorder.gateway.ledger import Ledger
from recorder.gateway.lies import Lies
from recorder.gateway.market_rest import MarketRest
from recorder.gateway.options import GatewayOptions
from recorder.gateway.published import Published
from recorder.gateway.request_faults import RequestFaults
from recorder.gateway.restarts import Renumbering
from recorder.gateway.sockets import CLOSE_PATIENCE_S, Door, has_left, hear, new_socket
from recorder.gateway.sources import ReplaySource
from recorder.gateway.timeline import MarketTimeline, Outlet, ReplayTimeline, Timeline
from recorder.gateway.trading.server import TradingServer, open_trading
from recorder.gateway.venue import MarketVenue, ReplayVenue
from recorder.tls import server_context
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["Gateway"]

MAX_CONNECTIONS: Final = 1_000
"""At once, as the exchange allows per IP and category."""
STATUS_TOPICS: Final = frozenset({"system.status"})
_MS: Final = 1_000_000


class Gateway:
    """A local exchange.

    ::

        async with Gateway(GatewayOptions(replay=path)) as gateway:
            ...                          # connect to gateway.url + "/v5/public/linear"
            await gateway.finished()

    Attributes:
        port: where it listens. url: ``ws://host:port`` (``wss`` with a certificate), the root that paths are
            appended to.

    Raises:
        ConfigError: on entering, when the source cannot be read or the port cannot be had.
    """

    def __init__(self, options: GatewayOptions) -> None:
        self._options = options
        self.port = options.port
        self._stack = AsyncExitStack()
        self._ledger: Ledger | None = None
        self._exchanges: dict[Category, Exchange] = {}
        self._status: Exchange
        self._connections: dict[Connection, web.WebSocketResponse] = {}
        self._connections_total = 0
        self._timeline: Timeline
        self._playing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._outlet = Outlet(self._flush_ledger)
        self._plan = options.faults
        self._door = Door(MAX_CONNECTIONS, "connections", options.faults, self._note_fault)
        self._subscriptions = Subscriptions()
        self._trading: TradingServer | None = None

    def __repr__(self) -> str:
        return f"<Gateway {self.url} ({self.describe()}), {len(self._connections)} connections>"

    @property
    def url(self) -> str:
        """Root of the WebSocket paths; REST is the same host and port over http, or https with TLS."""
        host = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        return f"{'ws' if self._options.tls_cert is None else 'wss'}://{host}:{self.port}"

    def describe(self) -> str:
        """What is served, for people."""
        categories = ", ".join(category.value for category in self._exchanges)
        if self._options.replay is not None:
            return f"{categories}: replay {self._options.replay}"
        return f"{categories}: simulate {self._options.simulate}"

    async def finished(self) -> None:
        """Wait until the replay has sent its last frame; a simulation or a loop never has.

        Raises:
            ConfigError: the replay broke off at a malformed line.
            StoreError: the ledger could not be written.
        """
        if self._playing is None:
            raise RuntimeError("the gateway is not running: use it as 'async with Gateway(...)'")
        await asyncio.shield(self._playing)

    def calm(self) -> None:
        """No further fault from here on, whatever the plan says; what has happened stays as it is."""
        if self._plan is None:
            return
        self._plan = None
        self._door.calm()
        for connection in self._connections:
            connection.calm()
            connection.flush()
        if self._trading is not None:
            self._trading.calm()
        if self._ledger is not None:
            self._ledger.event("calm", 0)
            self._ledger.flush()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._open_ledger(stack)
            self._timeline = self._build()
            self._open_trading()
            await self._listen(stack)
            self._playing = asyncio.create_task(self._timeline.run(), name="gateway timeline")
            self._disturb(stack)
            stack.push_async_callback(self._close_connections)
            if self._trading is not None:
                self._trading.start()
                stack.push_async_callback(self._trading.close)
            stack.push_async_callback(self._stop_playing)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _open_ledger(self, stack: AsyncExitStack) -> None:
        if self._options.ledger is not None:
            self._ledger = Ledger(self._options.ledger)
            stack.callback(self._ledger.close)

    def _open_trading(self) -> None:
        if self._options.trade is not None:
            self._trading = open_trading(
                self._options.trade,
                self._exchanges,
                self._timeline.now_ns,
                self._next_number,
                self._ledger,
                self._plan,
                lambda: self._subscriptions.add(1),  # a market runs for those who trade in it, too
            )

    def _build(self) -> Timeline:
        options = self._options
        make = Exchange if options.trade is None else WatchedExchange
        subscriptions, outlet = self._subscriptions, self._outlet
        if options.replay is not None:
            category = options.category or Category.LINEAR
            source = ReplaySource(options.replay, category)
            survey = source.survey(category)
            feeds, renumbering = Feeds(category), Renumbering()
            venue = ReplayVenue(category, feeds, survey, renumbering)
            exchange = make(venue, subscriptions, self._published(category), Lies(options.lies))
            self._exchanges = {category: exchange}
            self._status = exchange
            return ReplayTimeline(
                source,
                survey.first_ns,
                feeds,
                exchange,
                subscriptions,
                outlet,
                options,
                self._release_held,
                renumbering,
            )
        categories = list(Category) if options.category is None else [options.category]
        exchanges = self._exchanges
        others: list[Exchange] = []
        timeline = MarketTimeline(options.simulate or 0, exchanges, subscriptions, outlet, options, others)
        for category in categories:
            market = MarketVenue(
                category,
                lambda category=category: timeline.open_market(category),  # type: ignore[misc]
                full_lag=options.full_lag,
            )
            exchanges[category] = make(market, subscriptions, self._published(category), Lies(options.lies))
        status = MarketVenue(Category.LINEAR, timeline.open_status)
        self._status = Exchange(status, subscriptions, self._published(Category.LINEAR))
        others.append(self._status)
        return timeline

    def _published(self, category: Category) -> Published | None:
        if self._ledger is None or not self._options.ledgers_books:
            return None
        return Published(self._ledger, category)

    def _market_rest(self) -> MarketRest:
        # Whoever sets its clock by /v5/market/time wants the one that its requests are held against.
        clock = self._timeline.now_ns if self._trading is None else self._trading.now_ns
        return MarketRest(self._exchanges, self._timeline.now_ns, clock)

    async def _listen(self, stack: AsyncExitStack) -> None:
        application = web.Application()
        application.router.add_get("/v5/public/misc/status", self._public)
        application.router.add_get("/v5/public/{category}", self._public)
        self._market_rest().add_to(application)
        if self._trading is not None:
            self._trading.add_to(application)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_PATIENCE_S
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        context = None
        if self._options.tls_cert is not None:
            context = server_context(self._options.tls_cert, self._options.tls_key)
        site = web.TCPSite(runner, self._options.host, self._options.port, ssl_context=context)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._options.host}:{self._options.port}: {error.strerror or error}; "
                "give another --port (0 takes a free one) or --host"
            ) from error
        self.port = runner.addresses[0][1]

    # WebSocket

    async def _public(self, request: web.Request) -> web.StreamResponse:
        category = request.match_info.get("category")
        exchange = self._status if category is None else self._exchange(category)
        only = STATUS_TOPICS if category is None else None
        if exchange is None:
            served = ", ".join(f"/v5/public/{category.value}" for category in self._exchanges)
            raise web.HTTPNotFound(text=f"no such stream here; served: {served}\n")
        refusal = self._door.refusal(len(self._connections))
        if refusal is not None:
            return refusal
        socket = new_socket()
        writer = await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        identity = str(uuid.uuid4())
        connection = self._open(exchange, transport, writer, identity)
        self._connections[connection] = socket
        lifetime = self._limit_life(connection)
        try:
            requests = hear(socket, lambda: connection.is_half_open, transport.is_closing)
            await self._converse(exchange, connection, requests, identity, only)
            await socket.close()
        finally:
            if lifetime is not None:
                lifetime.cancel()
            connection.close()
            self._connections.pop(connection, None)
            self._note("close", connection)
        return socket

    def _open(
        self, exchange: Exchange, transport: asyncio.Transport, writer: Any, identity: str
    ) -> Connection:
        number = self._next_number()
        plan = self._plan
        most = self._options.max_backlog_bytes if self._options.speed is not None else sys.maxsize
        if plan is not None and plan.slow_reader_kib is not None:
            most = int(plan.slow_reader_kib * 1024)
        connection = Connection(
            number,
            transport,
            writer.drain,
            ledger=self._ledger,
            injector=None if plan is None else FaultInjector(plan, number),
            requests=None if plan is None else RequestFaults(plan, number),
            delay_seconds=0.0 if plan is None else plan.delay_seconds,
            max_backlog_bytes=most,
            on_lost=exchange.remove,
        )
        if self._ledger is not None:
            self._ledger.event("open", connection.number, conn_id=identity)
            self._ledger.flush()
        return connection

    async def _converse(
        self,
        exchange: Exchange,
        connection: Connection,
        requests: AsyncIterator[bytes],
        identity: str,
        only: frozenset[str] | None,
    ) -> None:
        dialect = Dialect(exchange.venue.category, identity, exchange.venue.has_symbol, only=only)
        async for request in requests:
            now_ms = self._timeline.now_ns() // _MS
            answer = dialect.answer(request, connection.topics, now_ms)
            deed = connection.fault_of(answer.topics, subscribes=answer.action is Action.SUBSCRIBE)
            if deed is Deed.REFUSE:
                answer = dialect.refuse(request, answer, connection.refused(answer.topics))
            exchange.perform(connection, answer, now_ms, deed)
            connection.flush()
            self._flush_ledger()
            # Whoever asks without reading the answers waits here, alone.
            await connection.drain()

    def _limit_life(self, connection: Connection) -> asyncio.TimerHandle | None:
        plan = self._plan
        if plan is None or plan.close_seconds is None:
            return None

        def end() -> None:
            if connection.is_half_open or self._plan is None:
                return
            if self._ledger is not None:
                self._ledger.fault(connection.number, Deed.CLOSE)
            self._closing.add(task := asyncio.create_task(self._close(connection)))
            task.add_done_callback(self._closing.discard)

        return asyncio.get_running_loop().call_later(plan.close_seconds, end)

    async def _close(self, connection: Connection) -> None:
        """Say goodbye; whoever does not answer in time is cut off."""
        socket = self._connections.get(connection)
        connection.close()
        self._flush_ledger()
        if connection.is_half_open:
            connection.abort()
            return
        if socket is not None and not await has_left(socket):
            connection.abort()

    def _disturb(self, stack: AsyncExitStack) -> None:
        """Start what happens at times, rather than to frames or requests."""
        plan = self._plan
        if plan is None:
            return
        if plan.restart_seconds is not None:
            stack.callback(asyncio.create_task(self._restart(plan.restart_seconds)).cancel)
        if plan.cut_one_seconds is not None:
            stack.callback(asyncio.create_task(self._cut_one(plan.seed, plan.cut_one_seconds)).cancel)
        if plan.until_seconds is not None:
            stack.callback(asyncio.create_task(self._calm_after(plan.until_seconds)).cancel)

    async def _restart(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            if self._plan is None:
                return
            self._note_fault(Deed.RESTART)
            for exchange in self._exchanges.values():
                exchange.restart(self._timeline.now_ns() // _MS, self._outlet.touched)
            self._outlet.flush()

    async def _cut_one(self, seed: int, seconds: float) -> None:
        """Abort one connection after another; what is on its way on it is lost."""
        generator = random.Random(f"cut one/{seed}")
        await self._subscriptions.settled(0.0)
        while True:
            await asyncio.sleep(seconds * generator.uniform(0.5, 1.5))
            if self._plan is None:
                return
            connections = [
                each for each in self._connections if each.is_open and each.topics and not each.is_half_open
            ]
            if connections:
                connection = generator.choice(connections)
                if self._ledger is not None:
                    self._ledger.fault(connection.number, Deed.CUT_ONE)
                connection.abort()
                self._flush_ledger()

    async def _calm_after(self, seconds: float) -> None:
        await self._subscriptions.settled(0.0)
        await asyncio.sleep(seconds)
        self.calm()

    async def _close_connections(self) -> None:
        await asyncio.gather(
            *(self._close(connection) for connection in list(self._connections)), *self._closing
        )

    async def _stop_playing(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            # Its failure, if any, has been told through finished().
            await asyncio.wait({self._playing})
            if not self._playing.cancelled():
                self._playing.exception()

    # Shared

    def _next_number(self) -> int:
        self._connections_total += 1
        return self._connections_total

    def _exchange(self, name: str) -> Exchange | None:
        return next(
            (exchange for category, exchange in self._exchanges.items() if category.value == name), None
        )

    def _note(self, event: str, connection: Connection) -> None:
        if self._ledger is not None:
            self._ledger.event(event, connection.number)
            self._ledger.flush()

    def _note_fault(self, deed: Deed) -> None:
        if self._ledger is not None:
            self._ledger.fault(0, deed)
            self._ledger.flush()

    def _flush_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.flush()

    def _release_held(self) -> None:
        for connection in self._connections:
            connection.release_held()
            connection.flush()
