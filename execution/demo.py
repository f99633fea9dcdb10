"""``python -m execution.demo``: an exchange on this machine, its book recorded, both sides quoted, all cancelled.

Nothing leaves this machine. The strategy is `execution.quoting`.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import recorder
from execution.client import TradingClient
from execution.desk.limits import Limits
from execution.desk.signers import HmacSigner
from execution.quotes import LiveQuotes
from execution.quoting import Quoting
from execution.settings import Settings
from schemas.errors import TapebookError
from schemas.names import Category

__all__ = ["main", "trade"]

KEY, SECRET = "demo", "demo-secret"
SYMBOL: Final = "BTCUSDT"
STEP_S: Final = 0.05
LIMITS: Final = Limits(
    order_notional=Decimal(2_000),
    position_notional=Decimal(10_000),
    requests_per_second=10,
    collar=Decimal("0.01"),
    daily_loss={"USDT": Decimal(500)},
)


@contextmanager
def _gateway(seed: int) -> Iterator[str]:
    arguments = ["--simulate", str(seed), "--port", "0", "--symbol-count", "1", "--trade", f"{KEY}:{SECRET}"]
    command = [sys.executable, "-m", "recorder", "gateway", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                found = re.search(r"listening on (ws://\S+)", line)
                if found is not None:
                    yield found[1]
                    return
            raise TapebookError("the gateway ended before it listened: run it by itself to see why")
        finally:
            process.terminate()


async def trade(root: str, directory: Path, seconds: float) -> list[str]:
    """Quote for some seconds, cancel everything, and return what there is to say."""
    settings = Settings(
        root=root,
        directory=directory / "account",
        symbols={Category.LINEAR: (SYMBOL,)},
        limits=LIMITS,
        dcp_window_s=10,
        dead_man_s=5.0,
    )
    recording = recorder.live(
        endpoint=root, symbols=[SYMBOL], topics=["orderbook.50"], data=str(directory / "data"), roll=False
    )
    async with recording:
        quotes = LiveQuotes(Category.LINEAR, recording.subscribe("orderbook.50"))
        following = asyncio.create_task(quotes.run())
        try:
            return await _quote(settings, quotes, seconds)
        finally:
            following.cancel()


async def _quote(settings: Settings, quotes: LiveQuotes, seconds: float) -> list[str]:
    async with TradingClient(settings, HmacSigner(KEY, SECRET), quote_of=quotes) as client:
        quoting = Quoting(client, Category.LINEAR, SYMBOL, Decimal("0.01"))
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            quoting.step()
            await asyncio.sleep(STEP_S)
        await client.cancel_everything()
        return _words(client, quoting)


def _words(client: TradingClient, quoting: Quoting) -> list[str]:
    account = client.account
    statuses = Counter(order.status for order in account.orders)
    fees = sum((fill.fee or Decimal(0) for fill in account.fills.values()), Decimal(0))
    positions = [f"{p.signed} {p.symbol} at {p.entry_price:f}" for p in account.positions.values() if p.size]
    return [
        f"placed {quoting.placed} orders, moved {quoting.moved} times, pulled {quoting.pulled}",
        "orders: " + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())),
        f"fills: {len(account.fills)}, fees {fees:f} USDT",
        f"position: {', '.join(positions) or 'none'}",
        f"open orders: {len(account.open_orders)}, requests without an outcome: {len(client.requests.open)}",
        f"the exchange's own switch: {client.dcp.get('DERIVATIVES', {}).get('dcpStatus', 'unknown')}",
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m execution.demo", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="how long to quote (%(default)g)"
    )
    parser.add_argument(
        "--seed", type=int, default=7, metavar="N", help="of the simulated market (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.seconds <= 3_600:
        parser.error(f"--seconds {options.seconds:g}: expected more than 0 and at most 3600")
    try:
        with TemporaryDirectory(prefix="tapebook-trade-") as directory, _gateway(options.seed) as root:
            for line in asyncio.run(trade(root, Path(directory), options.seconds)):
                print(line)
    except TapebookError as error:
        print(f"execution.demo: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
