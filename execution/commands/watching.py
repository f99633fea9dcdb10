"""``tapebook trade watch``: the account as it changes; beside any client, with a key that may only look."""

from __future__ import annotations

import asyncio
import logging
import select
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, BinaryIO, Final

import typer

from execution.commands.options import CATEGORY, Choices, with_choices
from schemas.errors import ExchangeError
from schemas.names import Category

__all__ = ["Watching", "watch"]

_TOPICS: Final = ("order", "execution", "position", "wallet")
_RETRY_S: Final = 1.0
_LOOK_S: Final = 0.5
_REMEMBERED: Final = 20_000
"""Of what was told: enough for every order that can be open."""

log = logging.getLogger("tapebook")

Row = Mapping[str, Any]


@with_choices
def watch(
    choices: Choices,
    category: Annotated[Category | None, CATEGORY] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", min=0, help="End after so many seconds.")
    ] = None,
) -> None:
    """Show orders, fills, positions and coins as they are, and every change, until Ctrl-C.

    What changed while the connection was away is asked for once it is back. It needs no directory.

    \b
        tapebook trade watch --config trade.toml
        tapebook trade watch --format json | jq 'select(.event == "fill")'
    """
    from recorder.output import standard_output

    with standard_output() as out:
        asyncio.run(_watch(choices, category, duration, out))


async def _watch(choices: Choices, category: Category | None, duration: float | None, out: BinaryIO) -> None:
    from execution.commands.asking import asking
    from execution.commands.rows import event_line, row_json
    from recorder.options import ReportFormat

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def tell(event: str, row: Row) -> None:
        out.write(
            row_json({"event": event, **row})
            if choices.style is ReportFormat.JSON
            else event_line(event, row).encode() + b"\n"
        )
        out.flush()

    async with asking(choices) as there:
        watching = Watching(there, choices.signer(), choices.categories(category), tell)
        running = asyncio.create_task(watching.run())
        stopping = asyncio.create_task(stop.wait())
        looking = asyncio.create_task(_reader_gone(out, stop))
        try:
            await asyncio.wait({running, stopping}, timeout=duration, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
                raise ExchangeError(watching.failed or "the private stream ended")
        finally:
            for task in (running, stopping, looking):
                task.cancel()
            await asyncio.gather(running, stopping, looking, return_exceptions=True)


async def _reader_gone(out: BinaryIO, stop: asyncio.Event) -> None:
    """End when whoever read our output has left, which a write would only tell at the next change."""
    poll = select.poll()
    try:
        poll.register(out.fileno(), 0)  # errors are told without being asked for
    except OSError:
        return  # no file, so nobody at its other end
    while not any(events & select.POLLERR for _, events in poll.poll(0)):
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await stop.wait()
                return
    stop.set()


class Watching:
    """Follows the private stream, and tells what is different from what it told before.

    Args:
        there: REST.
        signer: the key.
        categories: what is told of.
        tell: gets the kind of event (order, fill, position, coin, connected, disconnected) and its row.
    """

    def __init__(
        self, there: Any, signer: Any, categories: list[Category], tell: Callable[[str, Row], None]
    ) -> None:
        from execution.desk.live import LiveAccount
        from execution.desk.requests import Requests
        from execution.desk.wire import private_url
        from execution.loading import AccountLoader
        from execution.sockets import KeptSocket

        self._there = there
        self._categories = categories
        self._tell = tell
        self._account = LiveAccount()
        self._told: dict[object, object] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = False
        self._is_over = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loader = AccountLoader(
            there.rest, there.clock, self._account, Requests(self._account), categories, self._loaded_fill
        )
        self._socket = KeptSocket(
            there.network,
            private_url(there.network.root),
            signer,
            there.clock,
            topics=_TOPICS,
            on_message=lambda _, message: self._guarded(lambda: self._take(message)),
            on_up=self._up,
            on_down=lambda _, reason: self._guarded(lambda: self._tell("disconnected", {"words": reason})),
            ask_clock=self._ask_clock,
        )

    def __repr__(self) -> str:
        return f"<Watching {self._socket!r} {self._account!r}>"

    @property
    def failed(self) -> str | None:
        """Why the exchange refuses for good."""
        return self._socket.failed

    async def run(self) -> None:
        """Follow until cancelled, until the exchange refuses for good, or until telling fails, and raise that."""
        following = asyncio.create_task(self._socket.run())
        try:
            await asyncio.wait({following, self._ended}, return_when=asyncio.FIRST_COMPLETED)
            for done in (self._ended, following):
                if done.done():
                    done.result()
        finally:
            self._is_over = True
            for task in (following, *self._tasks):
                task.cancel()
            await asyncio.gather(following, *self._tasks, return_exceptions=True)

    async def _ask_clock(self) -> None:
        with suppress(ExchangeError):
            await self._there.clock.ask(self._there.public)

    def _guarded(self, work: Callable[[], None]) -> None:
        """What a callback of the socket does must not raise into it: a reader of ours that left ends the watching."""
        if self._is_over:
            return
        try:
            work()
        except BaseException as error:
            if not self._ended.done():
                self._ended.set_exception(error)

    def _up(self, number: int) -> None:
        task = asyncio.ensure_future(self._load(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, number: int) -> None:
        """Ask for what the stream doesn't send at its beginning, and tell what is different."""
        while number == self._socket.connections and self._socket.is_up:
            try:
                await self._loader.load()
            except ExchangeError as error:
                log.warning("the account could not be loaded: %s", error)
                await asyncio.sleep(_RETRY_S)
                continue
            self._guarded(self._tell_all)
            return

    def _tell_all(self) -> None:
        account = self._account
        for order in list(account.orders):
            self._order(order)
        for position in account.positions.values():
            self._position(position)
        for coin in account.coins.values():
            self._coin(coin)
        self._begun = True
        self._tell("connected", {"words": "this is what there is; from here on, what changes"})

    def _take(self, message: Any) -> None:
        topic = getattr(message, "topic", "").partition(".")[0]
        now_ms = self._there.clock.now_ms()
        for row in getattr(message, "rows", ()):
            if topic == "order":
                self._order(self._account.on_order(row, now_ms))
            elif topic == "execution":
                fill = self._account.on_execution(row)
                if fill is not None:
                    self._fill(fill)
            elif topic == "position":
                self._position(self._account.on_position(row))
            elif topic == "wallet":
                self._account.on_wallet(row, message.created_ms)
                for coin in self._account.coins.values():
                    self._coin(coin)

    # -- what is worth telling ---------------------------------------------------------------------------

    def _is_news(self, key: object, state: object) -> bool:
        if self._told.get(key) == state:
            return False
        self._told[key] = state
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        return True

    def _order(self, order: Any) -> None:
        from execution.commands.rows import order_row

        if order is None or order.category not in self._categories:
            return
        row = order_row(order)
        state = tuple(value for name, value in row.items() if name != "updated")
        if self._is_news(("order", order.order_id), state):
            self._tell("order", row)

    def _loaded_fill(self, fill: Any) -> None:
        """Those of the day are no news at the beginning; after a pause they are."""
        if self._begun:
            self._fill(fill)

    def _fill(self, fill: Any) -> None:
        from execution.commands.rows import fill_row

        if fill.category in self._categories:
            self._tell("fill", fill_row(fill))

    def _position(self, position: Any) -> None:
        from execution.commands.rows import position_row

        if position is None or position.category not in self._categories:
            return
        key = "position", position.category, position.symbol, position.index
        state = position.signed, position.entry_price
        if (position.size or key in self._told) and self._is_news(key, state):
            self._tell("position", position_row(position))

    def _coin(self, coin: Any) -> None:
        from execution.commands.rows import coin_row

        if self._is_news(("coin", coin.coin), (coin.wallet_balance, coin.locked)):
            self._tell("coin", coin_row(coin))
