"""``tapebook gateway``: the local exchange on the command line."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from recorder.gateway.faults import parse_faults
from recorder.gateway.listings import parse_listings
from recorder.gateway.options import GatewayOptions, parse_speed
from recorder.gateway.server import Gateway
from recorder.gateway.trading.options import TradeOptions, parse_balances, parse_keys
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = ["gateway", "serve"]


async def serve(options: GatewayOptions) -> None:
    """Serve until SIGINT or SIGTERM, then close every connection and return.

    Raises:
        ConfigError, StoreError: what made the gateway stop by itself.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Gateway(options) as running:
        print(f"gateway listening on {running.url} ({running.describe()})", flush=True)
        playing = asyncio.create_task(running.finished())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
        else:
            playing.cancel()
        await stopping


def gateway(
    replay: Annotated[
        Path | None,
        typer.Option(
            help="Send the frames of a capture ('<receive_ns> <frame>' lines; .gz, .zst) or data directory."
        ),
    ] = None,
    simulate: Annotated[
        int | None, typer.Option(metavar="SEED", help="Send a made-up market; the seed decides it.")
    ] = None,
    category: Annotated[
        Category | None,
        typer.Option(help="Product line to serve. [default: linear with --replay, all with --simulate]"),
    ] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="PEM", help="Certificate chain to show: speak wss and https."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="PEM", help="Its private key, if it is in a file of its own."),
    ] = None,
    speed: Annotated[
        str, typer.Option(metavar="X|max", help="Factor of real time, or as fast as subscribers read.")
    ] = "1",
    settle: Annotated[
        float, typer.Option(help="Start a replay once subscriptions have been quiet for this many seconds.")
    ] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Start the replay over at its end.")] = False,
    retime: Annotated[
        bool, typer.Option("--retime", help="Shift the clocks in replayed frames to now.")
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Write a JSON line per frame sent and per fault to this file.")
    ] = None,
    ledger_books: Annotated[
        bool,
        typer.Option(
            "--ledger-books",
            help="In the ledger, note also what is published, whoever gets it, and its book.",
        ),
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE,...",
            help="Do damage. Shares of frames: drop, repeat, reorder, corrupt, cut, stall, half_open, late; of "
            "requests: refuse, slow_ack, data_first, lost_ack, double_ack; of handshakes: forbidden, too_many, "
            "unavailable; with --trade of orders: order_slow_ack, order_lost, order_lost_ack, order_cut, ... "
            "Seconds: close, restart, trade_restart, until, delay. KiB: slow_reader. Milliseconds: skew. And seed=N. "
            "See docs/gateway.md and docs/gateway-trading.md.",
        ),
    ] = None,
    lie: Annotated[
        list[str] | None,
        typer.Option(
            metavar="orderbook.DEPTH|rest",
            help="Double a size in each book message of this depth, or in REST books: wrong, but it looks right.",
        ),
    ] = None,
    trade: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY:SECRET[:UID][:ro]",
            help="Trade: serve /v5/private, /v5/trade and signed REST to this key, which opens an account of its own "
            "or that of a UID; ro may only look. As often as you like. See docs/gateway-trading.md.",
        ),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COIN=AMOUNT,...",
            help="What each account starts with. [default: USDT=100000,USDC=100000,BTC=2,ETH=20]",
        ),
    ] = None,
    order_limit: Annotated[
        int | None,
        typer.Option(
            help="Orders per second of an account, instead of the exchange's 10 to 20; of queries too if more."
        ),
    ] = None,
    symbol_count: Annotated[int, typer.Option(help="Symbols of each simulated category.")] = 4,
    rate: Annotated[float, typer.Option(help="Factor on the simulated order flow; 1 is realistic.")] = 1.0,
    list_: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            metavar="SYMBOL@SECONDS",
            help="List a simulated symbol so long after the market's opening, which is when it is first asked for.",
        ),
    ] = None,
    delist: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SYMBOL@SECONDS",
            help="Delist a simulated symbol; instruments-info announces it as deliveryTime, except on spot.",
        ),
    ] = None,
    full_lag: Annotated[
        int,
        typer.Option(help="Pushes of orderbook.full by which REST answers about the book are old, at most."),
    ] = 0,
) -> None:
    """Run a local exchange, WebSocket and REST, from a recording or a simulated market; with --trade it trades."""
    options = GatewayOptions(
        replay=replay,
        simulate=simulate,
        category=category,
        host=host,
        port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        speed=parse_speed(speed),
        settle_seconds=settle,
        is_looping=loop,
        is_retiming=retime,
        ledger=ledger,
        ledgers_books=ledger_books,
        faults=parse_faults(fault or []),
        trade=_trade_options(trade, balance, order_limit, simulate or 0),
        lies=tuple(lie or ()),
        symbol_count=symbol_count,
        rate=rate,
        listings=parse_listings("--list", list_ or []),
        delistings=parse_listings("--delist", delist or []),
        full_lag=full_lag,
    )
    uvloop.run(serve(options))


def _trade_options(
    keys: list[str] | None, balances: list[str] | None, order_limit: int | None, seed: int
) -> TradeOptions | None:
    if not keys:
        if balances or order_limit is not None:
            raise ConfigError("--balance and --order-limit belong to --trade: give --trade KEY:SECRET too")
        return None
    return TradeOptions(parse_keys(keys), parse_balances(balances or []), order_limit, seed)
