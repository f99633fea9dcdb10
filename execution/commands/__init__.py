"""``tapebook trade``: the trading client on the command line. Thin: what is decided is decided in `execution.desk`."""

from __future__ import annotations

from typing import Final

import typer

from execution.commands.cancelling import cancel, cancel_all
from execution.commands.killing import kill
from execution.commands.listing import balance, orders, positions
from execution.commands.placing import amend, buy, sell
from execution.commands.watching import watch

__all__ = ["trading"]

_EPILOG: Final = (
    "Exit codes: 0 fine, 2 usage or configuration, or refused here before anything was sent (a limit, a filter, the "
    "kill switch), 3 the exchange refused it or can't be reached, 4 disk. The key: TAPEBOOK_API_KEY and "
    "TAPEBOOK_API_SECRET, or --key-file. See docs/execution.md."
)

trading = typer.Typer(
    help="Trade: on the testnet or a gateway, unless --live and the configuration both say real money.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
trading.command("buy")(buy)
trading.command("sell")(sell)
trading.command("amend")(amend)
trading.command("cancel")(cancel)
trading.command("cancel-all")(cancel_all)
trading.command()(orders)
trading.command()(positions)
trading.command()(balance)
trading.command()(watch)
trading.command()(kill)
