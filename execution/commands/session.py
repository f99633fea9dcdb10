"""One command's use of the trading client: begun with what a run before left in doubt, ended with nothing in doubt."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from execution.client import TradingClient
from execution.commands.asking import asking
from execution.commands.options import Choices
from execution.commands.rows import order_row, print_rows
from execution.desk.limits import Limits, Quote
from execution.desk.live import LiveOrder
from execution.desk.orders import OrderKey
from execution.desk.outcomes import OrderRequest, Outcome, OutcomeKind, RequestState
from execution.order_journal import in_doubt
from execution.settings import Settings
from execution.ticket import Ticket
from recorder.options import ReportFormat
from recorder.plain_log import plain
from schemas.errors import ExchangeError
from schemas.names import Category

__all__ = ["NO_LIMITS", "report", "say", "settings_of", "shown", "symbols_of", "trading", "wait_for"]

NO_LIMITS: Final = Limits(
    order_notional=None, position_notional=None, requests_per_second=None, collar=None, daily_loss=None
)
"""Of commands that can only cancel."""

_LOOK_S: Final = 0.02
_DOUBT_S: Final = 0.2
_SHOWN_S: Final = 10.0

Symbols = Mapping[Category, Sequence[str]]


def say(words: str) -> None:
    """Tell whoever sits there what goes on; the answer itself goes to standard output."""
    print(f"tapebook: {plain(words)}", file=sys.stderr, flush=True)


def settings_of(choices: Choices, symbols: Symbols, limits: Limits) -> Settings:
    """Settings of a client. Raises ConfigError: real money without permission, among others."""
    config = choices.config
    return Settings(
        root=choices.root,
        directory=choices.directory,
        symbols={category: tuple(names) for category, names in symbols.items() if names},
        limits=limits,
        live=choices.live,
        acknowledgement=config.acknowledgement,
        recv_window_ms=config.recv_window_ms,
        prefix=config.prefix,
        fsync=config.fsync,
    )


async def symbols_of(choices: Choices, categories: Iterable[Category]) -> tuple[Symbols, list[LiveOrder]]:
    """What cancelling has to do with: symbols with open orders, with requests in doubt, and the configured ones.

    Returns:
        Symbols by category, and the open orders.
    """
    categories = list(categories)
    async with asking(choices) as there:
        orders = await there.open_orders(categories)
    found = {category: set(choices.config.symbols.get(category, ())) for category in categories}
    for order in orders:
        found[order.category].add(order.symbol)
    for line in in_doubt(choices.directory):
        if line.category in found:
            found[line.category].add(line.symbol)
    return {category: sorted(names) for category, names in found.items() if names}, orders


@asynccontextmanager
async def trading(
    choices: Choices,
    settings: Settings,
    quote_of: Callable[[Category, str], Quote | None] | None = None,
) -> AsyncIterator[TradingClient]:
    """A client that has found out what became of whatever an earlier run left in doubt."""
    more: dict[str, Any] = {} if quote_of is None else {"quote_of": quote_of}
    earlier = len(in_doubt(choices.directory))
    if earlier:
        say(f"an earlier run left {earlier} requests in doubt: asking the exchange about them")
    async with TradingClient(settings, choices.signer(), network=choices.network(), **more) as client:
        if client.restored:
            await client.settled()
            for request in client.restored:
                say(f"the {_name(request)}: {_words(request.outcome)}")
        try:
            yield client
        finally:
            for request in client.requests.open:
                say(
                    f"the {_name(request)} is left in doubt: the next command here finds out what became of it"
                )


def _op(request: OrderRequest) -> str:
    return request.op.value.rpartition(".")[2]


def _name(request: OrderRequest) -> str:
    return f"{_op(request)} of {request.key.link_id or request.key.order_id}"


def _words(outcome: Outcome | None) -> str:
    if outcome is None:
        return "in doubt"
    if outcome.kind is OutcomeKind.REJECTED:
        return f"rejected by the exchange: {outcome.words or 'no text'} (code {outcome.code})"
    if outcome.kind is OutcomeKind.FORGOTTEN:
        return f"forgotten: not open, and whether it was taken can't be known any more: {outcome.words or 'no text'}"
    if outcome.kind is OutcomeKind.EXPIRED:
        return f"expired: it had no effect, and can have none any more: {outcome.words or 'no text'}"
    return "acked"


async def wait_for(ticket: Ticket) -> Outcome:
    """Wait for an outcome, however long that takes, and say so where it is in doubt."""
    waiting = asyncio.ensure_future(ticket.outcome())
    told = False
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=_DOUBT_S)
            if not told and not waiting.done() and ticket.request.state is RequestState.UNKNOWN:
                told = True
                say(
                    f"the answer to the {_name(ticket.request)} is lost, so it is in doubt: asking the exchange until "
                    "it is known (who interrupts this leaves that to the next command)"
                )
    finally:
        waiting.cancel()  # where this is interrupted
    return waiting.result()


async def shown(client: TradingClient, key: OrderKey, *, is_over: bool = False) -> LiveOrder | None:
    """Wait for the row that shows what was acknowledged, for a while; with ``is_over`` for the order's end."""
    until_s = time.monotonic() + _SHOWN_S
    while time.monotonic() < until_s:
        order = client.order(key)
        if order is not None and not client.is_pending(key) and not (is_over and order.is_open):
            break
        await asyncio.sleep(_LOOK_S)
    return client.order(key)


def report(results: Sequence[tuple[OrderRequest, Outcome, LiveOrder | None]], style: ReportFormat) -> None:
    """Print what became of requests.

    Raises:
        ExchangeError: some were refused by the exchange, or expired; the rest is printed.
    """
    if style is ReportFormat.JSON:
        print_rows([_result_row(*result) for result in results], style, "")
    else:
        orders = [
            order for _, outcome, order in results if outcome.kind is OutcomeKind.ACKED and order is not None
        ]
        if orders:
            print_rows([order_row(order) for order in orders], style, "")
        for request, outcome, order in results:
            if outcome.kind is OutcomeKind.ACKED and order is None:
                say(f"the {_name(request)}: acked, and no row has shown it yet: `tapebook trade orders` will")
    failed = [(request, outcome) for request, outcome, _ in results if outcome.kind is not OutcomeKind.ACKED]
    if failed:
        raise ExchangeError(
            "\n".join(f"the {_name(request)}: {_words(outcome)}" for request, outcome in failed)
        )


def _result_row(request: OrderRequest, outcome: Outcome, order: LiveOrder | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "request": _op(request),
        "outcome": outcome.kind.value,
        "code": outcome.code,
        "words": outcome.words or None,
        "evidence": outcome.evidence.value,
        "was_unknown": outcome.was_unknown,
    }
    if order is not None:
        return row | dict(order_row(order))
    key = request.key
    return row | {
        "category": key.category.value,
        "symbol": key.symbol,
        "order_id": request.order_id or key.order_id or None,
        "link_id": key.link_id or None,
    }
