"""``tapebook trade cancel|cancel-all``: no limit holds them back, and the kill switch neither."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from execution.commands.options import CATEGORY, Choices, with_choices
from schemas.errors import ExchangeError
from schemas.names import Category

if TYPE_CHECKING:
    from execution.client import TradingClient

__all__ = ["cancel", "cancel_all"]

PATIENCE: Final = typer.Option("--patience", min=1, help="Seconds until what is still open is an error.")
_PAUSE_S: Final = 0.5


@with_choices
def cancel(
    choices: Choices,
    orders: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Order ids of the exchange, or link ids.")
    ],
    category: Annotated[Category | None, CATEGORY] = None,
) -> None:
    """Cancel orders, and wait until it is known what became of them.

    \b
        tapebook trade cancel tb-0a1b2c-1 --config trade.toml
    """
    from execution.commands.finding import find_orders
    from execution.commands.session import NO_LIMITS, report, settings_of, shown, trading, wait_for

    choices.check_sending()

    async def work() -> None:
        keys = await find_orders(choices, orders, category)
        symbols: dict[Category, list[str]] = {}
        for key in keys:
            names = symbols.setdefault(key.category, [])
            names += [key.symbol] if key.symbol not in names else []
        async with trading(choices, settings_of(choices, symbols, NO_LIMITS)) as client:
            tickets = [client.cancel(key) for key in keys]
            outcomes = [await wait_for(ticket) for ticket in tickets]
            shows = [await shown(client, key) for key in keys]
        requests = [ticket.request for ticket in tickets]
        report(list(zip(requests, outcomes, shows, strict=True)), choices.style)

    asyncio.run(work())


@with_choices
def cancel_all(
    choices: Choices,
    category: Annotated[Category | None, CATEGORY] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only this one's orders.")] = None,
    patience: Annotated[float, PATIENCE] = 60.0,
) -> None:
    """Cancel everything, or all of a category or symbol, until nothing of it is open and nothing in doubt.

    \b
        tapebook trade cancel-all --config trade.toml
        tapebook trade cancel-all --symbol BTCUSDT --category linear
    """
    from execution.commands.finding import key_of
    from execution.commands.rows import order_row, print_rows
    from execution.commands.session import NO_LIMITS, settings_of, symbols_of, trading

    choices.check_sending()

    async def work() -> None:
        symbols, orders = await symbols_of(choices, choices.categories(category))
        if symbol is not None:
            symbols = {known: [symbol] for known, names in symbols.items() if symbol in names}
            orders = [order for order in orders if order.symbol == symbol]
        if not symbols:
            print_rows([], choices.style, "nothing is open")
            return
        async with trading(choices, settings_of(choices, symbols, NO_LIMITS)) as client:
            before = {order.order_id: order for order in [*orders, *client.account.open_orders]}
            if symbol is None:
                await client.cancel_everything(patience)
            else:
                await _cancel_symbol(client, symbol, patience)
            ended = [client.order(key_of(order)) or order for order in before.values()]
        rows = [order_row(order) for order in ended if symbol in (None, order.symbol)]
        print_rows(rows, choices.style, "nothing is open")

    asyncio.run(work())


async def _cancel_symbol(client: TradingClient, symbol: str, patience_s: float) -> None:
    """Cancel a symbol's orders one by one until there are none."""
    from execution.commands.finding import key_of
    from execution.desk.orders import Refused

    until_s = time.monotonic() + patience_s
    while True:
        mine = [order for order in client.account.open_orders if order.symbol == symbol]
        if not mine and client.requests.is_settled:
            await client.reload()
            if not any(order.symbol == symbol for order in client.account.open_orders):
                return
        if time.monotonic() > until_s:
            raise ExchangeError(
                f"after {patience_s:g} s {len(mine)} orders of {symbol} are open and {len(client.requests.open)} "
                "requests in doubt: cancel by hand"
            )
        for order in mine:
            if not client.is_pending(key_of(order)):
                try:
                    client.cancel(key_of(order))
                except Refused:
                    continue  # over meanwhile; the next look tells
        await asyncio.sleep(_PAUSE_S)
