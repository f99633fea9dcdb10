"""A trading client: requests over the trade socket, the account out of the private one, REST for the rest.

::

    async with TradingClient(settings, load_signer()) as client:
        ticket = client.create(NewOrder(category=Category.LINEAR, symbol="BTCUSDT", side=Side.BUY,
                                        quantity=Decimal("0.01"), price=Decimal("50000")))
        outcome = await ticket.outcome()         # acked, rejected, expired or forgotten; exactly one
        client.account.open_orders, client.account.positions, client.account.coins

What is decided is decided in `execution.desk`; here are the sockets, the files and the clock.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from decimal import localcontext
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Self

from execution.desk.filters import Filters
from execution.desk.limits import Quote, RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.live import Fill, LiveAccount, LiveOrder
from execution.desk.orders import Change, NewOrder, OrderKey, Refused
from execution.desk.outcomes import Lookup, OrderRequest
from execution.desk.rates import RateLimiter
from execution.desk.replies import OrderReply, PrivateRows
from execution.desk.requests import Requests
from execution.desk.signers import Signer
from execution.desk.wire import private_url
from execution.entry import OrderEntry
from execution.exchange_clock import ExchangeClock
from execution.kill_switch import KillSwitch
from execution.loading import AccountLoader, load_filters, look_up
from execution.order_journal import OrderJournal
from execution.reckoning import RECKONING, own_context
from execution.rest_calls import RestCalls, dcp_of
from execution.sender import Calls, Sender
from execution.settings import Settings
from execution.signed_rest import SignedRest
from execution.sockets import KeptSocket
from execution.ticket import Ticket
from recorder.network import Network
from recorder.rest import RestClient
from schemas.errors import ConfigError, ExchangeError, StoreError, TapebookError
from schemas.names import Category

__all__ = ["TradingClient"]

_TOPICS: Final = ("order", "execution", "position", "wallet")
_LOOK_S: Final = 0.05
_UPKEEP_S: Final = 1.0
_CLOCK_S: Final = 60.0
_KILL_PAUSE_S: Final = 0.5
_MS: Final = 1_000_000

log = logging.getLogger("tapebook")


def _no_quote(category: Category, symbol: str) -> Quote | None:
    del category, symbol
    return None


class TradingClient:
    """One account, traded; an asynchronous context manager, entered when the account is known and orders can go out.

    Args:
        settings: where, in what, how carefully.
        signer: the key.
        network: the way there; None for one that only this client uses.
        quote_of: best prices of our own live book, None where there is none that may be believed; the price collar and
            market orders need it.

    Attributes:
        account: orders, positions, coins and fills as they are.
        requests: what is still open about requests.
        filters: by category and symbol.
        rest: what else can be asked and set.
        key_info: what the exchange says the key may do.
        dcp: by product, what the exchange says of its own switch.
    """

    def __init__(
        self,
        settings: Settings,
        signer: Signer,
        *,
        network: Network | None = None,
        quote_of: Callable[[Category, str], Quote | None] = _no_quote,
    ) -> None:
        self.settings = settings
        self.account = LiveAccount()
        self.requests = Requests(self.account, settings.timing, self._on_done)
        self.gate = RiskGate(
            settings.limits, self.account, quote_of, lambda: self.requests.unseen, self.requests.pending
        )
        self.rates = RateLimiter()
        self.clock = ExchangeClock()
        self.filters: dict[tuple[Category, str], Filters] = {}
        self.key_info: dict[str, Any] = {}
        self.dcp: dict[str, dict[str, Any]] = {}
        self.kill_switch = KillSwitch(settings.directory)
        self._network = network or Network.of(settings.root)
        self._signer = signer
        self._rest = SignedRest(
            self._network,
            signer,
            self.clock,
            recv_window_ms=settings.recv_window_ms,
            ask_clock=self._ask_clock,
        )
        self.rest = RestCalls(self._rest)
        self._public = RestClient(self._network)
        self._ids = LinkIds(secrets.randbits(65), settings.prefix)
        self._categories = [category for category, symbols in settings.symbols.items() if symbols]
        self._loader = AccountLoader(
            self._rest, self.clock, self.account, self.requests, self._categories, self._on_fill
        )
        self._journal: OrderJournal | None = None
        self._broken = ""
        self._thread = 0  # which began it
        self._has_ended = False
        self._cancelling = 0  # how many of those that cancel everything are at it
        self._swept_trips = -1  # of the kill switch, after which nothing was open any more
        self._loaded_for = 0
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._alive_s = time.monotonic()
        self._stack = AsyncExitStack()
        self._tasks: set[asyncio.Task[Any]] = set()
        dcp_topics = list(dcp_of(self._categories).values()) if settings.dcp_window_s is not None else []
        calls = Calls(
            self._break, self._notice, self._start, self._clock_is_off, self._ask_clock, self._wake.set
        )
        self._sender = Sender(
            self._network,
            signer,
            self.clock,
            self._rest,
            self.requests,
            self.rates,
            self.gate,
            self._ids,
            calls,
            recv_window_ms=settings.recv_window_ms,
            ping_s=settings.ping_s,
        )
        self._trade = self._sender.socket
        self._entry = OrderEntry(
            self.account,
            self.requests,
            self.filters,
            self.gate,
            self.rates,
            quote_of,
            self._ids,
            self.clock,
            self._sender,
            self._why_stopped,
        )
        self._private = KeptSocket(
            self._network,
            private_url(self._network.root),
            signer,
            self.clock,
            topics=[*_TOPICS, *dcp_topics],
            on_message=self._on_private,
            on_up=self._on_private_up,
            on_down=lambda _, reason: self._notice("private socket", f"down: {reason}"),
            ask_clock=self._ask_clock,
            ping_s=settings.ping_s,
        )

    def __repr__(self) -> str:
        return (
            f"<TradingClient {self._network.root} trade {self._trade.is_up} private {self._private.is_up} "
            f"current {self.is_current} {self.kill_switch!r} {self.account!r} {self.requests!r}>"
        )

    # -- beginning and end ---------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to trade.

        Raises:
            ConfigError: a key, settings or a directory that don't fit; or it was entered before.
            ExchangeError: there is no way there, or nothing can be known.
            StoreError: the directory can't be written to.
        """
        if self._thread:
            raise ConfigError("a client is entered once: make another TradingClient")
        try:
            await self._begin()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _begin(self) -> None:
        self._thread = get_ident()
        settings = self.settings
        self._journal = self._sender.journal = OrderJournal(
            settings.directory, settings.words, settings.fsync
        )
        await self._stack.enter_async_context(self._public)
        await self._stack.enter_async_context(self._rest)
        await self.clock.ask(self._public)
        self.requests.clock_error_ms = self.clock.error_ms()
        self.key_info = await self._rest.get("/v5/user/query-api")
        if self.key_info.get("readOnly") == 1:
            raise ConfigError(
                "this API key may only look (readOnly): make one that may trade, without withdrawal"
            )
        for category in self._categories:
            for filters in await load_filters(self._public, category, settings.symbols[category]):
                self.filters[category, filters.symbol] = filters
        if settings.dcp_window_s is not None:
            self.dcp = await self.rest.arm_dcp(self._categories, settings.dcp_window_s)
        now_ms = self.clock.now_ms()
        for request in self._journal.restored:
            self.requests.restore(request, now_ms)
        for work in (self._private.run(), self._trade.run(), self._look(), self._keep_up()):
            self._start(work)
        await self._until(lambda: self.is_current and self._trade.is_up)
        self._alive_s = time.monotonic()
        # Where it is on and something open, whoever tripped it didn't live to see it done.
        if not self.account.open_orders and not self.requests.open:
            self._swept_trips = self.kill_switch.trips
        self._sweep()
        self._watch_loss()  # what was lost before this run counts before its first order

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            failed = self._trade.failed or self._private.failed or self._broken
            if self._has_ended:
                failed = failed or "the client has ended"
            if failed:
                raise ExchangeError(failed)
            self._changed.clear()
            await self._changed_or(0.2)

    async def _changed_or(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _end(self) -> None:
        self._has_ended = True
        self._changed.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        self._sender.waiters.end()
        journal, self._journal, self._sender.journal = self._journal, None, None
        if journal is not None:
            journal.close()

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work, context=own_context())
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._break(f"{task.exception()!r}")

    def _break(self, why: str) -> None:
        """Something of ours failed: nothing but cancels goes out any more."""
        if not self._broken:
            log.error("trading stopped: %s", why)
        self._broken = self._broken or why
        self._changed.set()

    # -- state ---------------------------------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        """Whether the account is known: the private stream is up, and REST was asked since it came up."""
        return self._private.is_up and self._loaded_for == self._private.connections

    @property
    def can_send(self) -> bool:
        """Whether the trade socket takes requests."""
        return self._trade.is_up

    def alive(self) -> None:
        """Say that the program is in its right mind; see ``dead_man_s``."""
        self._alive_s = time.monotonic()

    def quote(self, category: Category, symbol: str) -> Quote | None:
        """The best prices of our own live book; None where there is none that may be believed, or only one too old."""
        return self.gate.quote(category, symbol)

    def order(self, key: OrderKey) -> LiveOrder | None:
        """An order as the exchange last told it; None while no row has shown it."""
        return self.account.order(key.category, order_id=key.order_id, link_id=key.link_id)

    def is_pending(self, key: OrderKey) -> bool:
        """Whether something about an order is under way, in doubt, or not shown by a row yet: better left alone."""
        return self.requests.is_pending(key)

    @property
    def restored(self) -> list[OrderRequest]:
        """What the run before left in doubt; each has its outcome once it is known."""
        return [] if self._journal is None else self._journal.restored

    def new_link_id(self) -> str:
        """A name for an order that no other has."""
        return self._ids.next()

    # -- requests ------------------------------------------------------------------------------------------

    def create(self, order: NewOrder, *, or_rest: bool = False) -> Ticket:
        """Send a new order, rounded to its instrument's steps; its bytes are in the socket when this returns.

        Args:
            or_rest: over REST if the trade socket is down.

        Raises:
            Refused: nothing was sent; the message says what stood against it.
        """
        self._check_thread()
        return self._entry.create(order, or_rest=or_rest)

    def create_batch(self, orders: Iterable[NewOrder], *, or_rest: bool = False) -> list[Ticket]:
        """Send several new orders of one category in one message (20; on spot 10); all or none of them.

        Each has an outcome of its own. Arguments and errors as `create`.
        """
        self._check_thread()
        return self._entry.create_batch(orders, or_rest=or_rest)

    def amend(self, key: OrderKey, change: Change, *, or_rest: bool = False) -> Ticket:
        """Send a change of an open order. Arguments and errors as `create`."""
        self._check_thread()
        return self._entry.amend(key, change, or_rest=or_rest)

    def amend_batch(
        self, changes: Iterable[tuple[OrderKey, Change]], *, or_rest: bool = False
    ) -> list[Ticket]:
        """Send changes of several open orders of one category in one message; as `create_batch`."""
        self._check_thread()
        return self._entry.amend_batch(changes, or_rest=or_rest)

    def cancel(self, key: OrderKey, *, or_rest: bool = True) -> Ticket:
        """Send a cancel; over REST if the trade socket is down, unless told otherwise. Never held back by a limit.

        Raises:
            Refused: the order is over, or its cancel is under way already.
        """
        self._check_thread()
        return self._entry.cancel(key, or_rest=or_rest)

    def cancel_batch(self, keys: Iterable[OrderKey], *, or_rest: bool = True) -> list[Ticket]:
        """Send several cancels of one category in one message. Arguments and errors as `cancel`."""
        self._check_thread()
        return self._entry.cancel_batch(keys, or_rest=or_rest)

    def _check_thread(self) -> None:
        """Another thread could come between an order and what limits know of it."""
        if get_ident() != self._thread and self._thread:
            raise Refused(
                "another thread",
                "requests are made, and the kill switch is used, in the thread that began the client: its event loop's "
                "call_soon_threadsafe(client.create, order) brings a request there, asyncio.run_coroutine_threadsafe("
                "client.kill(why), loop) the end; a file KILLED in the directory is seen within a second, too",
            )

    def _why_stopped(self) -> Refused | None:
        """What stands against every request but cancels; asked before each."""
        if self.kill_switch.reason is not None:
            return Refused("kill switch", f"{self.kill_switch.reason}; it stays on until it is released")
        failed = self._broken or self._trade.failed or self._private.failed
        if failed:
            return Refused("stopped", failed)
        if not self.is_current:
            words = "it isn't known at the moment, as the private stream is down: wait for it"
            return Refused("account", words)
        return None

    def _written(self) -> OrderJournal:
        if self._journal is None:
            raise RuntimeError(f"{self!r}: use it inside `async with`")
        return self._journal

    # -- what comes back -----------------------------------------------------------------------------------

    def _on_private(self, _: int, message: OrderReply | PrivateRows) -> None:
        if not isinstance(message, PrivateRows):
            return
        topic = message.topic.partition(".")[0]
        now_ms = self.clock.now_ms()
        for row in message.rows:
            if topic == "order":
                self.requests.on_order(row, now_ms)
            elif topic == "execution":
                fill = self.account.on_execution(row)
                if fill is not None:
                    self._on_fill(fill)
            elif topic == "position":
                self.account.on_position(row)
            elif topic == "wallet":
                self.account.on_wallet(row, message.created_ms)
        self._changed.set()
        self._wake.set()

    def _on_private_up(self, number: int) -> None:
        self._notice("private socket", "up")
        self._start(self._load(number))

    async def _load(self, number: int) -> None:
        """Ask REST for what the stream doesn't send at its beginning, until it has answered."""
        while number == self._private.connections and self._private.is_up:
            try:
                await self._loader.load()
            except ExchangeError as error:
                log.warning("the account could not be loaded: %s", error)
                await asyncio.sleep(_UPKEEP_S)
                continue
            if number == self._private.connections:
                self._loaded_for = number
                self._changed.set()
            return

    def _on_fill(self, fill: Fill) -> None:
        filters = self.filters.get((fill.category, fill.symbol))
        self.gate.on_fill(fill, filters)
        self.requests.on_fill(fill, self.clock.now_ms())

    def _on_done(self, request: OrderRequest) -> None:
        self.rates.answered(request.key.category, request.op, request.timestamp_ms, self.clock.now_ms())
        try:
            if self._journal is not None and request.timestamp_ms and request.is_written:
                self._journal.outcome(request, time.time_ns())
        except StoreError as error:
            self._break(str(error))
        self._sender.waiters.tell(request)
        self._changed.set()

    def _notice(self, what: str, words: str) -> None:
        log.info("%s: %s", what, words)
        try:
            if self._journal is not None:
                self._journal.note(what, words, time.time_ns())
        except StoreError as error:
            self._break(str(error))
        self._changed.set()

    # -- what goes on by itself ----------------------------------------------------------------------------

    async def _look(self) -> None:
        """Look up what is in doubt when it is due."""
        # Looked at this often nobody needs to be woken for each request that goes out.
        most_s = min(1.0, self.settings.timing.reply_ms / 1000)
        while True:
            self.requests.clock_error_ms = self.clock.error_ms()
            for lookup in self.requests.due(self.clock.now_ms()):
                self._start(self._look_up(lookup))
            self._wake.clear()
            next_ms = self.requests.next_ms()
            wait_s = (
                most_s if next_ms is None else min(most_s, max(0.0, (next_ms - self.clock.now_ms()) / 1000))
            )
            try:
                async with asyncio.timeout(max(wait_s, _LOOK_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _look_up(self, lookup: Lookup) -> None:
        rows: list[dict[str, Any]] | None = None
        try:
            rows = await look_up(self._rest, lookup)
        except TapebookError as error:
            log.warning("looking up %s: %s", lookup.key.link_id or lookup.key.order_id, error)
        finally:
            self.requests.on_lookup(lookup, rows, self.clock.now_ms())
            self._wake.set()
            self._changed.set()

    async def _keep_up(self) -> None:
        """Sync the journal, watch the day's loss and the dead man, ask for the time."""
        asked_s = time.monotonic()
        dead_man_s = self.settings.dead_man_s
        pause_s = _UPKEEP_S if dead_man_s is None else min(_UPKEEP_S, dead_man_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            try:
                self._written().sync()
            except StoreError as error:
                self._break(str(error))
            if not self.kill_switch.is_on and (found := self.kill_switch.look()) is not None:
                self._trip(found)
            try:
                self._watch_loss()
            except Exception as error:  # of whoever tells prices; the rest of this has to go on
                self._break(f"the day's loss can't be told: {error!r}")
            silent_s = time.monotonic() - self._alive_s
            if dead_man_s is not None and silent_s > dead_man_s:
                self._trip(f"dead man: the program was silent for {silent_s:.1f} s")
            self._sweep()
            if time.monotonic() - asked_s > _CLOCK_S:
                asked_s = time.monotonic()
                self._start(self._ask_clock())

    def _clock_is_off(self) -> None:
        self._start(self._ask_clock())

    async def _ask_clock(self) -> None:
        try:
            await self.clock.ask(self._public)
        except ExchangeError as error:
            log.warning("the exchange's time: %s", error)

    # -- everything at once --------------------------------------------------------------------------------

    def _watch_loss(self) -> None:
        with localcontext(RECKONING):
            excess = self.gate.excess_loss(lambda *key: self.filters.get(key), self.clock.now_ms())
        if excess:
            self._trip(f"daily loss: {excess}")

    def _trip(self, reason: str) -> None:
        """Switch trading off at once, and cancel everything in the background."""
        if not self.kill_switch.is_on:
            self._switch_off(reason)
            self._sweep()

    def _sweep(self) -> None:
        """See to it that what was open when the switch went on is cancelled, whoever switched it on.

        What others of the account open later is theirs.
        """
        if self.kill_switch.is_on and self._swept_trips != self.kill_switch.trips and not self._cancelling:
            self._cancelling += 1
            self._start(self._cancel_until_nothing_is_open(None))

    def _switch_off(self, reason: str) -> None:
        try:
            self.kill_switch.trip(reason, time.time_ns())
        except OSError as error:
            self._break(f"the kill switch could not be written: {error}")
        self._notice("kill switch", reason)

    async def kill(self, reason: str, patience_s: float | None = 60.0) -> None:
        """Switch trading off, for good, and cancel until nothing is open and nothing in doubt.

        Args:
            patience_s: how long at most; None for as long as the client lives.

        Raises:
            ExchangeError: something is open still after that time; the switch is on, and cancelling goes on.
            Refused: from another thread than the client's; nothing was done.
        """
        self._check_thread()
        self._switch_off(reason)
        await self.cancel_everything(patience_s)

    async def cancel_everything(self, patience_s: float | None = 60.0) -> None:
        """Cancel until nothing is open and nothing in doubt. What else is sent meanwhile is the caller's.

        Raises:
            ExchangeError: something is still open after `patience_s`.
            Refused: from another thread than the client's; nothing was done.
        """
        self._check_thread()
        self._cancelling += 1
        await self._cancel_until_nothing_is_open(patience_s)

    async def _cancel_until_nothing_is_open(self, patience_s: float | None) -> None:
        """Whoever starts it has counted it in ``_cancelling``."""
        try:
            until_s = None if patience_s is None else time.monotonic() + patience_s
            trips = self.kill_switch.trips
            while not await self._is_nothing_open():
                if until_s is not None and time.monotonic() > until_s:
                    raise ExchangeError(
                        f"after {patience_s:g} s {len(self.account.open_orders)} orders are open and "
                        f"{len(self.requests.open)} requests in doubt: cancel by hand"
                    )
                await asyncio.sleep(_KILL_PAUSE_S)
                trips = self.kill_switch.trips  # before the look, as nothing goes out behind it
            self._swept_trips = trips
        finally:
            self._cancelling -= 1
        self._notice("cancelled", "nothing is open")

    async def _is_nothing_open(self) -> bool:
        """Cancel everything, and look whether that was all."""
        for category in self._categories:
            try:
                self._notice("cancel-all", category.value)
                # inverse contracts are cancelled by symbol: those of others of the account too
                others = {order.symbol for order in self.account.open_orders if order.category is category}
                await self.rest.cancel_all(category, sorted(others.union(self.settings.symbols[category])))
            except ExchangeError as error:
                log.warning("cancel-all of %s: %s", category.value, error)
                self._cancel_each(category)
        try:
            await self.reload()
        except ExchangeError as error:
            log.warning("the account could not be loaded: %s", error)
            return False
        return not self.account.open_orders and self.requests.is_settled

    def _cancel_each(self, category: Category) -> None:
        for order in self.account.open_orders:
            if order.category is category:
                try:
                    self.cancel(OrderKey(category, order.symbol, order.order_id, order.link_id))
                except Refused as refusal:
                    log.warning("%s", refusal)

    async def settled(self) -> None:
        """Wait until every request has its outcome. Raises ExchangeError where something failed for good."""
        await self._until(lambda: not self.requests.open)

    async def reload(self) -> None:
        """Ask REST for orders, positions, wallet and fills. Raises ExchangeError."""
        with localcontext(RECKONING):
            await self._loader.load()
