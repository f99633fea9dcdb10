"""``tapebook trade orders|positions|balance``: what there is; they need no directory, and run beside any client."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from execution.commands.options import CATEGORY, Choices, with_choices
from schemas.names import Category

__all__ = ["balance", "orders", "positions"]

SYMBOL = typer.Option("--symbol", help="Only this one.")


@with_choices
def orders(
    choices: Choices,
    category: Annotated[Category | None, CATEGORY] = None,
    symbol: Annotated[str | None, SYMBOL] = None,
    closed: Annotated[bool, typer.Option("--closed", help="The latest that are over instead.")] = False,
    count: Annotated[
        int, typer.Option("--count", min=1, max=50, help="How many of those, of each category.")
    ] = 50,
) -> None:
    """Show open orders, or the latest closed ones.

    \b
        tapebook trade orders --endpoint ws://127.0.0.1:9001
        tapebook trade orders --closed --count 5 --format json
    """
    from execution.commands.asking import asking
    from execution.commands.rows import order_row, print_rows

    async def ask() -> None:
        wanted = choices.categories(category)
        async with asking(choices) as there:
            found = await (there.closed_orders(wanted, count) if closed else there.open_orders(wanted))
        rows = [order_row(order) for order in found if symbol in (None, order.symbol)]
        print_rows(rows, choices.style, "no closed orders" if closed else "no open orders")

    asyncio.run(ask())


@with_choices
def positions(
    choices: Choices,
    category: Annotated[Category | None, CATEGORY] = None,
    symbol: Annotated[str | None, SYMBOL] = None,
) -> None:
    """Show open positions.

    \b
        tapebook trade positions --category linear
    """
    from execution.commands.asking import asking
    from execution.commands.rows import position_row, print_rows

    async def ask() -> None:
        async with asking(choices) as there:
            account = await there.account(choices.categories(category))
        found = [one for one in account.positions.values() if one.size and symbol in (None, one.symbol)]
        print_rows([position_row(one) for one in found], choices.style, "no open positions")

    asyncio.run(ask())


@with_choices
def balance(
    choices: Choices,
) -> None:
    """Show what the unified account has, by coin.

    \b
        tapebook trade balance --format json
    """
    from execution.commands.asking import asking
    from execution.commands.rows import coin_row, print_rows

    async def ask() -> None:
        async with asking(choices) as there:
            account = await there.wallet()
        print_rows([coin_row(coin) for coin in account.coins.values()], choices.style, "no coins")

    asyncio.run(ask())
