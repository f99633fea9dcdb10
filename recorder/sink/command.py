"""``tapebook nats``: options in, how it stood at the end out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.options import ReportFormat
from schemas.errors import ConfigError
from schemas.units import parse_bytes, parse_span_ns

__all__ = ["nats"]


class _Start(StrEnum):
    NOW = "now"
    OLDEST = "oldest"


def nats(
    server: Annotated[
        str,
        typer.Option(
            "--server",
            envvar="TAPEBOOK_NATS_SERVER",
            metavar="URL,..",
            help="nats://[USER:PASSWORD@]HOST:PORT, or tls://; the first one that answers.",
        ),
    ] = "nats://127.0.0.1:4222",
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Data directory; it must be there (see --wait), and may be empty until a recorder begins.",
        ),
    ] = Path("data"),
    collector: Annotated[
        str,
        typer.Option(
            "--collector", metavar="NAME,..", help="Only these collectors.", show_default="all that there are"
        ),
    ] = "",
    prefix: Annotated[str, typer.Option("--prefix", help="What every subject begins with.")] = "tapebook",
    name: Annotated[
        str,
        typer.Option("--name", help="Of this sink: what it has sent is kept under it in the data directory."),
    ] = "nats",
    start: Annotated[
        _Start,
        typer.Option(
            "--from", help="Where a collector that was never sent begins; later it goes on where it was."
        ),
    ] = _Start.NOW,
    jetstream: Annotated[
        bool,
        typer.Option(
            "--jetstream", help="Keep everything in a stream per collector, each message once and in order."
        ),
    ] = False,
    max_age: Annotated[
        str,
        typer.Option(
            "--max-age", metavar="SPAN", help="Of messages in a stream that is made.", show_default="any"
        ),
    ] = "",
    max_bytes: Annotated[
        str,
        typer.Option("--max-bytes", metavar="SIZE", help="Of a stream that is made.", show_default="any"),
    ] = "",
    tops_every: Annotated[
        float,
        typer.Option(
            "--tops-every",
            min=0,
            help="Also send each book's best levels, where they changed, each so many seconds; 0 for never.",
        ),
    ] = 0.0,
    creds: Annotated[str, typer.Option("--creds", metavar="FILE", help="A user's credentials.")] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="PEM", help="One more certificate authority to trust, for tls://."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when everything is sent.")] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for a data directory that isn't there yet, for services that start beside the recorder.",
        ),
    ] = False,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> None:
    """Send what is recorded to a NATS server, group commit by group commit, until Ctrl-C.

    It follows the journal, as a process of its own beside any number of collectors: complete, in order, and, after
    whatever ended it, the server or a collector, from where it was.
    """
    from recorder.journal.files import check_collector
    from recorder.sink.broker import StreamLimits
    from recorder.sink.run import run_sink
    from recorder.sink.sink import SinkOptions, describe
    from recorder.sink.subjects import check_prefix

    servers = [part.strip() for part in server.split(",") if part.strip()]
    if not servers:
        raise ConfigError("--server: found none, expected nats://HOST:PORT")
    if wait and once:
        raise ConfigError("--wait is for what goes on; with --once only what is there is sent")
    if data.exists() and not data.is_dir():
        raise ConfigError(
            f"--data {data}: is a file; give the directory that `tapebook record --data` writes to"
        )
    if not wait and not data.is_dir():
        raise ConfigError(
            f"{data}: no such directory, so there is nothing to send; give the one that `tapebook record --data` "
            "writes to, or add --wait if a recorder is still to make it"
        )
    check_prefix(prefix)
    check_collector(name)
    limits = StreamLimits(
        parse_span_ns(max_age) / 1e9 if max_age else None, parse_bytes(max_bytes) if max_bytes else None
    )
    options = SinkOptions(
        data=data,
        name=name,
        prefix=prefix,
        start="oldest" if start is _Start.OLDEST else "now",
        jetstream=jetstream,
        limits=limits,
        tops_s=tops_every,
        once=once,
    )
    states = run_sink(
        options,
        servers,
        collectors=[part.strip() for part in collector.split(",") if part.strip()],
        credentials=creds,
        ca_file=ca_file,
    )
    for state in states:
        print(msgspec.json.encode(state).decode() if style is ReportFormat.JSON else describe(state))
    if not states:
        print(f"{data}: no collector has recorded there")
