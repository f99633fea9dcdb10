"""``tapebook serve``: options in, a page out until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from recorder.metrics_server import parse_address
from recorder.status import require_recording
from schemas.errors import ConfigError

__all__ = ["serve"]

NICENESS: Final = 5
"""Whoever looks at a recorder waits for it, not the other way round."""

log = logging.getLogger("tapebook")


def serve(
    data: Annotated[Path, typer.Option("--data", help="Data directory.")] = Path("data"),
    bind: Annotated[
        str,
        typer.Option(
            "--bind",
            metavar="HOST:PORT",
            help="Where to listen; without a host on the loopback address, port 0 takes a free one.",
        ),
    ] = "127.0.0.1:8710",
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help="Ask for the token in this file (mode 0600; made if it doesn't exist). Needed where others can reach "
            "the page.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A name that browsers call the page by, beside addresses, localhost and this machine's name; "
            "may be given more than once.",
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="PEM", help="Certificate chain to show: speak https."),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option("--tls-key", metavar="PEM", help="Its private key, if it is in a file of its own."),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            "--rate", min=1, max=60, help="Most updates a second, of the table and of the book each."
        ),
    ] = 30.0,
) -> None:
    """Show the recorder as a web page: feeds, a live book, how late, which gaps. Reads only; a process of its own."""
    import uvloop

    from recorder.serving.access import Access, is_loopback
    from recorder.serving.history import History
    from recorder.serving.server import Options, PageServer
    from recorder.serving.shared_books import shared_books
    from recorder.serving.sources import Statuses
    from recorder.serving.token_file import read_token
    from recorder.tls import server_context

    require_recording(data)
    host, port = parse_address(bind, option="--bind")
    names = list(allow_host or ())
    only_loopback = is_loopback(host)
    if token_file is None and not only_loopback:
        raise ConfigError(
            f"--bind {bind}: others can reach that, and would see everything; add --token-file FILE (made if it "
            "isn't there), or listen on 127.0.0.1"
        )
    if token_file is None and names:
        raise ConfigError(
            "--allow-host: a name means that the page is reached through a proxy, by others too; add --token-file FILE"
        )
    if tls_key is not None and tls_cert is None:
        raise ConfigError("--tls-key: is the key of --tls-cert, which is missing")
    token = None
    if token_file is not None:
        token, made = read_token(token_file)
        if made:
            print(f"{token_file}: a new token is in it; the page asks for it once", flush=True)
    if not only_loopback:
        names.append(socket.gethostname())
        if tls_cert is None:
            log.warning("the token and everything else go over the network in the clear; add --tls-cert")
    access = Access(token, names, only_loopback=only_loopback)
    tls = None if tls_cert is None else server_context(tls_cert, tls_key)
    options = Options(data, host, port, access, tls, rate)
    server = PageServer(options, Statuses(data), shared_books(data), History(data))
    with suppress(OSError):
        os.nice(NICENESS)
    uvloop.run(_serve(server, data))


async def _serve(server: object, data: Path) -> None:
    from recorder.serving.server import PageServer

    assert isinstance(server, PageServer)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = await server.start()
    print(f"serving {data} on {url}/ (Ctrl-C ends it)", flush=True)
    try:
        await stop.wait()
    finally:
        await server.stop()
