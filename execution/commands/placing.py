"""``tapebook trade buy|sell|amend``: orders to place and to change, within limits that have to be said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.venue.terms import Side, TimeInForce, TriggerBy
from execution.commands.options import Choices, with_choices
from recorder.options import ReportFormat
from schemas.errors import ConfigError
from schemas.names import Category

if TYPE_CHECKING:
    from execution.commands.asking import Asking
    from execution.desk.limits import Limits
    from execution.desk.orders import NewOrder

__all__ = ["Way", "amend", "buy", "decimal", "sell"]


def decimal(text: str) -> Decimal:
    """A number with all its digits. Raises typer.BadParameter."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise typer.BadParameter(f"{text[:60]!r} is no number such as 0.01")
    return number


class Way(StrEnum):
    """Which way a price comes to its trigger."""

    RISES = "rises"
    FALLS = "falls"


SYMBOL = typer.Argument(metavar="SYMBOL", help="Such as BTCUSDT.")
QUANTITY = typer.Argument(
    parser=decimal, metavar="QTY", help="Base coins or contracts; rounded down to the step."
)
CATEGORY = typer.Option("--category", help="spot, linear, inverse or option.")
LIMIT = typer.Option(
    "--limit",
    metavar="NAME=VALUE",
    help="A limit that wins over the file's: order_notional, position_notional, requests_per_second, collar, "
    "daily_loss.COIN, order_quantity.SYMBOL; none as the value switches it off. As often as you like.",
)
PRICE = typer.Option(
    "--price", parser=decimal, metavar="P", help="Limit; rounded to the tick away from the market."
)
TRIGGER = typer.Option(
    "--trigger", parser=decimal, metavar="P", help="Conditional: goes off once the price is there."
)
TAKE_PROFIT = typer.Option(
    "--take-profit", parser=decimal, metavar="P", help="Of the position that it opens."
)
STOP_LOSS = typer.Option("--stop-loss", parser=decimal, metavar="P", help="Of the position that it opens.")


def _order_command(side: Side) -> Callable[..., None]:
    """``buy`` or ``sell``."""

    def command(
        choices: Choices,
        symbol: Annotated[str, SYMBOL],
        quantity: Annotated[Any, QUANTITY],
        price: Annotated[Any, PRICE] = None,
        market: Annotated[
            bool, typer.Option("--market", help="At any price, at once; prefer --price with --tif IOC.")
        ] = False,
        category: Annotated[Category, CATEGORY] = Category.LINEAR,
        tif: Annotated[TimeInForce, typer.Option("--tif", help="How long it waits.")] = TimeInForce.GTC,
        post_only: Annotated[
            bool, typer.Option("--post-only", help="Rests or is cancelled, takes nothing; as --tif PostOnly.")
        ] = False,
        reduce_only: Annotated[bool, typer.Option("--reduce-only", help="Can only close.")] = False,
        trigger: Annotated[Any, TRIGGER] = None,
        trigger_when: Annotated[
            Way | None, typer.Option("--trigger-when", help="Of contracts: the way to the trigger.")
        ] = None,
        trigger_by: Annotated[
            TriggerBy, typer.Option("--trigger-by", help="Which price sets it off.")
        ] = TriggerBy.LAST,
        take_profit: Annotated[Any, TAKE_PROFIT] = None,
        stop_loss: Annotated[Any, STOP_LOSS] = None,
        position_index: Annotated[
            int, typer.Option("--position-index", min=0, max=2, help="Hedge mode: 1 buy side, 2 sell side.")
        ] = 0,
        slippage_ticks: Annotated[
            int | None, typer.Option("--slippage-ticks", help="How far a market order may go.")
        ] = None,
        in_quote: Annotated[
            bool, typer.Option("--in-quote", help="QTY is in the quote coin (market orders on spot).")
        ] = False,
        link_id: Annotated[
            str, typer.Option("--link-id", help="Your own name of the order; no two may have the same.")
        ] = "",
        limit: Annotated[list[str] | None, LIMIT] = None,
        dry_run: Annotated[
            bool,
            typer.Option("--dry-run", help="Round it, hold it against everything, print it, send nothing."),
        ] = False,
    ) -> None:
        from execution.commands.configuration import limits_of
        from execution.desk.orders import NewOrder

        if market == (price is not None):
            raise ConfigError("give either --price P or --market")
        if post_only and (market or tif not in (TimeInForce.GTC, TimeInForce.POST_ONLY)):
            raise ConfigError(f"--post-only needs --price, and no --tif {tif.value}")
        limits = limits_of(choices.config.limits, limit or ())

        def make() -> NewOrder:
            return NewOrder(
                category=category,
                symbol=symbol,
                side=side,
                quantity=quantity,
                price=price,
                time_in_force=TimeInForce.POST_ONLY if post_only else tif,
                link_id=link_id,
                position_index=position_index,
                reduce_only=reduce_only,
                trigger_price=trigger,
                trigger_rises=None if trigger_when is None else trigger_when is Way.RISES,
                trigger_by=trigger_by,
                take_profit=take_profit,
                stop_loss=stop_loss,
                in_quote_coin=in_quote,
                slippage_ticks=slippage_ticks,
            )

        _run(choices, lambda: _dry(choices, make(), limits) if dry_run else _place(choices, make(), limits))

    word = side.value.lower()
    command.__name__ = word
    command.__doc__ = f"""Place an order to {word}, and wait until it is known what became of it.

    \b
        tapebook trade {word} BTCUSDT 0.01 --price 60000 --post-only --config trade.toml
        tapebook trade {word} BTCUSDT 0.01 --price 60000 --tif IOC --format json
        tapebook trade {word} BTCUSDT 0.01 --market --dry-run
    """
    return with_choices(command)


buy = _order_command(Side.BUY)
sell = _order_command(Side.SELL)


@with_choices
def amend(
    choices: Choices,
    order: Annotated[str, typer.Argument(metavar="ID", help="The exchange's order id, or the link id.")],
    quantity: Annotated[
        Any, typer.Option("--quantity", parser=decimal, metavar="QTY", help="The whole of it, filled or not.")
    ] = None,
    price: Annotated[Any, PRICE] = None,
    trigger: Annotated[Any, TRIGGER] = None,
    take_profit: Annotated[Any, TAKE_PROFIT] = None,
    stop_loss: Annotated[Any, STOP_LOSS] = None,
    category: Annotated[Category | None, CATEGORY] = None,
    limit: Annotated[list[str] | None, LIMIT] = None,
) -> None:
    """Change an open order: only what is given changes; 0 removes a take profit or stop loss.

    \b
        tapebook trade amend tb-0a1b2c-1 --price 60100 --config trade.toml
    """
    from execution.commands.configuration import limits_of
    from execution.commands.finding import find_orders
    from execution.commands.own_book import own_book
    from execution.commands.session import report, settings_of, shown, trading, wait_for
    from execution.desk.orders import Change

    limits = limits_of(choices.config.limits, limit or ())
    choices.check_sending()

    async def change() -> None:
        new = Change(
            quantity=quantity,
            price=price,
            trigger_price=trigger,
            take_profit=take_profit,
            stop_loss=stop_loss,
        )
        _check_switch(choices)
        (key,) = await find_orders(choices, [order], category)
        settings = settings_of(choices, _traded(choices, key.category, key.symbol), limits)
        async with (
            own_book(choices, limits, key.category, key.symbol) as quote_of,
            trading(choices, settings, quote_of) as client,
        ):
            ticket = client.amend(key, new)
            outcome = await wait_for(ticket)
            report([(ticket.request, outcome, await shown(client, key))], choices.style)

    _run(choices, change)


def _run(choices: Choices, work: Callable[[], Any]) -> None:
    """Run to the end; what is refused here is told to programs in their form too."""
    from execution.commands.rows import print_rows
    from execution.desk.orders import Refused

    async def run() -> None:
        await work()

    try:
        asyncio.run(run())
    except Refused as refusal:
        if choices.style is ReportFormat.JSON:
            row = {"outcome": "refused", "rule": refusal.rule, "words": refusal.words}
            print_rows([row], choices.style, "")
        raise


def _traded(choices: Choices, category: Category, symbol: str) -> dict[Category, tuple[str, ...]]:
    """What a client of one order is for: what is configured, which has to have its symbol; or that alone."""
    from execution.desk.orders import Refused

    configured = choices.config.symbols
    if not any(configured.values()):
        return {category: (symbol,)}
    if symbol not in configured.get(category, ()):
        raise Refused("symbol", f"{category.value} {symbol}: it isn't among [symbols] of the configuration")
    return configured


def _check_switch(choices: Choices) -> None:
    """Before anybody is asked anything; the client looks again."""
    from execution.desk.orders import Refused
    from execution.kill_switch import KillSwitch

    switch = KillSwitch(choices.directory)
    if switch.is_on:
        raise Refused("kill switch", f"{switch.reason}; it stays on until it is released")


async def _place(choices: Choices, order: NewOrder, limits: Limits) -> None:
    from execution.commands.finding import check_name
    from execution.commands.own_book import own_book
    from execution.commands.session import report, settings_of, shown, trading, wait_for
    from execution.desk.outcomes import OutcomeKind

    settings = settings_of(choices, _traded(choices, order.category, order.symbol), limits)
    _check_switch(choices)
    await check_name(choices, order.key)
    async with (
        own_book(choices, limits, order.category, order.symbol) as quote_of,
        trading(choices, settings, quote_of) as client,
    ):
        excess = client.gate.excess_loss(lambda *key: client.filters.get(key), client.clock.now_ms())
        if excess:
            await client.kill(f"daily loss: {excess}")
        ticket = client.create(order)
        outcome = await wait_for(ticket)
        at_once = order.trigger_price is None and (
            order.price is None or order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        )
        placed = None
        if outcome.kind is OutcomeKind.ACKED:
            placed = await shown(client, ticket.key, is_over=at_once)
        report([(ticket.request, outcome, placed)], choices.style)


async def _dry(choices: Choices, order: NewOrder, limits: Limits) -> None:
    """Round an order, hold it against filters and limits as they would be, and print it as it would be sent."""
    from execution.commands.asking import asking
    from execution.commands.finding import check_name
    from execution.commands.own_book import own_book
    from execution.commands.rows import print_rows
    from execution.commands.session import say, settings_of

    settings_of(choices, _traded(choices, order.category, order.symbol), limits)
    _check_switch(choices)
    await check_name(choices, order.key)
    async with own_book(choices, limits, order.category, order.symbol) as quote_of, asking(choices) as there:
        order = await _held(there, order, limits, quote_of)
    fields = order.fields()
    if not order.link_id:
        say("nothing was sent; a link id would be given")
    else:
        say("nothing was sent")
    print_rows([fields], choices.style, "")


async def _held(there: Asking, order: NewOrder, limits: Limits, quote_of: Any) -> NewOrder:
    from execution.desk.limits import RiskGate
    from execution.desk.live import LiveAccount
    from execution.desk.orders import Refused
    from execution.desk.requests import Requests
    from execution.loading import AccountLoader, load_filters

    (filters,) = await load_filters(there.public, order.category, [order.symbol])
    order = filters.rounded(order)
    quote = None if quote_of is None else quote_of(order.category, order.symbol)
    filters.check(order, None if quote is None else quote.ask if order.side is Side.BUY else quote.bid)
    account = LiveAccount()
    gate = RiskGate(limits, account, quote_of or (lambda *_: None), lambda: ())

    def on_fill(fill: Any) -> None:
        gate.on_fill(fill, filters if fill.symbol == order.symbol else None)

    loader = AccountLoader(there.rest, there.clock, account, Requests(account), [order.category], on_fill)
    await loader.load()
    gate.check(order, filters, there.clock.now_ms())
    excess = gate.excess_loss(
        lambda _, symbol: filters if symbol == order.symbol else None, there.clock.now_ms()
    )
    if excess:
        raise Refused("daily loss", excess)
    return order
