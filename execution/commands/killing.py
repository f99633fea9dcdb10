"""``tapebook trade kill``: the switch goes on before anything else, then everything is cancelled; it stays on."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Final

import typer

from execution.commands.options import Choices, with_choices
from recorder.options import ReportFormat
from schemas.errors import ConfigError, ExchangeError, StoreError
from schemas.time import format_ns

__all__ = ["kill"]

_PAUSE_S: Final = 0.5
_ITS_TURN_S: Final = 5.0
"""How long the client that trades here is left to cancel by itself; it looks at the switch every second."""


@with_choices
def kill(
    choices: Choices,
    reason: Annotated[str | None, typer.Argument(metavar="[REASON]", help="Why; it is kept.")] = None,
    release: Annotated[
        bool, typer.Option("--release", help="Switch off, once you have looked at why it is on.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Say whether it is on, and why; change nothing.")
    ] = False,
    patience: Annotated[
        float, typer.Option("--patience", min=1, help="Seconds until what is still open is an error.")
    ] = 60.0,
) -> None:
    """Stop trading in this directory, for good: switch on, cancel everything that is open, refuse whatever comes.

    The switch goes on first, whatever fails then. It works beside a client that trades in the directory: that one sees
    it within a second and cancels everything, and where it doesn't, this command does.

    \b
        tapebook trade kill 'the book looks wrong' --config trade.toml
        tapebook trade kill --status
        tapebook trade kill --release
    """
    if (reason is not None) + release + status != 1:
        raise ConfigError("give a reason, which switches it on, or --release, or --status")
    if status:
        _tell(choices)
    elif release:
        _release(choices)
    elif not (reason or "").strip():
        raise ConfigError("the reason is empty: say why, for whoever is to release it")
    else:
        assert reason is not None
        asyncio.run(_kill(choices, reason, patience))


def _tell(choices: Choices) -> None:
    from execution.commands.rows import print_rows
    from execution.kill_switch import KillSwitch

    switch = KillSwitch(choices.directory)
    since_ns = switch.since_ns()
    since = format_ns(since_ns) if since_ns is not None and 0 <= since_ns < 1 << 62 else None
    if choices.style is ReportFormat.JSON:
        print_rows([{"on": switch.is_on, "reason": switch.reason, "since": since}], choices.style, "")
    else:
        words = (
            f"on since {since or 'a time that it does not tell'}: {switch.reason}" if switch.is_on else "off"
        )
        print_rows([], choices.style, f"the kill switch of {choices.directory} is {words}")


def _release(choices: Choices) -> None:
    from execution.commands.session import say
    from execution.kill_switch import KillSwitch
    from execution.order_journal import is_held

    switch = KillSwitch(choices.directory)
    if not switch.is_on:
        say(f"the kill switch of {choices.directory} was off")
        return
    try:
        switch.release()
    except OSError as error:
        raise StoreError(
            f"{choices.directory}: the switch stays on: it cannot be removed: {error.strerror or error}"
        ) from None
    say(f"the kill switch of {choices.directory} is off")
    if is_held(choices.directory):
        say("the client that trades here stays stopped until it is started again")


async def _kill(choices: Choices, reason: str, patience_s: float) -> None:
    from execution.commands.session import NO_LIMITS, say, settings_of, symbols_of, trading
    from execution.kill_switch import KillSwitch
    from execution.order_journal import is_held

    switch = KillSwitch(choices.directory)
    was_on = switch.is_on
    try:
        switch.trip(reason, time.time_ns())
    except OSError as error:
        say(
            f"the switch cannot be written, so it will not stay on: {error.strerror or error}; cancelling all the same"
        )
    say(
        f"the kill switch of {choices.directory} is on{', and was before' if was_on else ''}: {switch.reason}"
    )
    choices.check_sending()
    if is_held(choices.directory):
        say("a client trades here: it cancels everything once it sees the switch")
        await _cancel_beside(choices, _ITS_TURN_S, patience_s)
        return
    try:
        symbols, _ = await symbols_of(choices, choices.categories(None))
        if symbols:
            async with trading(choices, settings_of(choices, symbols, NO_LIMITS)) as client:
                await client.kill(reason, patience_s)
    except (ConfigError, StoreError) as error:
        # whatever is the matter with this directory, what is open must not stay open
        say(f"{error}: cancelling without the order journal")
        await _cancel_beside(choices, 0.0, patience_s)
        return
    say("nothing is open")


async def _cancel_beside(choices: Choices, its_turn_s: float, patience_s: float) -> None:
    """See that everything is cancelled by the client that trades, and do it over REST if it doesn't."""
    from execution.commands.asking import asking
    from execution.commands.session import say
    from execution.rest_calls import RestCalls

    begun_s = time.monotonic()
    told = its_turn_s <= 0
    async with asking(choices) as there:
        calls = RestCalls(there.rest)
        while orders := await there.open_orders(choices.categories(None)):
            waited_s = time.monotonic() - begun_s
            if waited_s > patience_s:
                raise ExchangeError(f"after {patience_s:g} s {len(orders)} orders are open: cancel by hand")
            if waited_s >= its_turn_s:
                if not told:
                    told = True
                    say(f"after {its_turn_s:g} s {len(orders)} orders are open: cancelling them from here")
                for category in dict.fromkeys(order.category for order in orders):
                    symbols = {order.symbol for order in orders if order.category is category}
                    await calls.cancel_all(category, sorted(symbols))
            await asyncio.sleep(_PAUSE_S)
    say("nothing is open")
