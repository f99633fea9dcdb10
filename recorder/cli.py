"""The console script ``tapebook``: options in, exit codes out. Each command's work is in a module of its own.

Commands that are not here are in the table of `recorder.lazy_commands`."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from recorder.ending import NOT_BEGUN, signals_end
from recorder.lazy_commands import LazyGroup
from recorder.options import CA_FILE, ENDPOINT, ENVIRONMENT, MIN_FREE_MIB, REGION, STATE_DIR, ReportFormat
from recorder.output import has_left
from recorder.plain_log import log_to_stderr, plain
from recorder.version import VERSION
from schemas.config import RecordConfig
from schemas.errors import TapebookError

__all__ = ["ReportFormat", "app", "main"]

app = typer.Typer(
    name="tapebook",
    cls=LazyGroup,
    help="Record Bybit's public market data, keep its order books checked, and ask the archive anything.",
    epilog="Exit codes: 0 fine, 1 the data fails a check, 2 usage or configuration, 3 the exchange or network, 4 disk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DATA = typer.Option("--data", help="Data directory.", show_default="data")

_INTERRUPTED = 130
"""As shells have it for SIGINT."""


FORMAT = typer.Option("--format", help="table for people, json for programs (one object a line).")


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


@app.command()
def demo(
    data: Annotated[Path, typer.Option("--data", help="Where to record to; it must not exist yet.")] = Path(
        "demo-data"
    ),
    seconds: Annotated[float, typer.Option("--seconds", min=3, max=600, help="How long to record.")] = 10.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated market.")] = 7,
) -> None:
    """The tour, offline: the embedded exchange is recorded, rolled, verified and queried."""
    from recorder.demo import run_demo

    raise typer.Exit(run_demo(data, seconds, seed))


@app.command()
def record(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML file; options given here win over it.", metavar="[CONFIG.toml]"),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option("--category", help="spot, linear, inverse, option or spread.", show_default="linear"),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            help="Symbols, patterns such as BTC*, and rules such as 'USDT perpetuals with turnover24h > 5e6, "
            "top 100', separated by commas; or all.",
        ),
    ] = None,
    topics: Annotated[
        str | None,
        typer.Option(
            "--topics",
            help="Topic prefixes to combine with the symbols, or full topics.",
            show_default="orderbook.50,publicTrade,tickers",
        ),
    ] = None,
    environment: Annotated[str | None, ENVIRONMENT] = None,
    region: Annotated[str | None, REGION] = None,
    endpoint: Annotated[str | None, ENDPOINT] = None,
    ca_file: Annotated[str | None, CA_FILE] = None,
    state_dir: Annotated[str | None, STATE_DIR] = None,
    transport: Annotated[
        str | None,
        typer.Option(
            "--transport",
            help="What reads the stream: websockets, or picows, which costs less where many frames come at once "
            "(install tapebook with the extra `picows`).",
            show_default="websockets",
        ),
    ] = None,
    data: Annotated[str | None, DATA] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the collector.", show_default="the category")
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines",
            help="Connections that carry each feed, 1 to 4: what one loses another brings.",
            show_default="1",
        ),
    ] = None,
    frames_per_connection: Annotated[
        float | None,
        typer.Option(
            "--frames-per-connection",
            help="Frames a second that one connection should carry; topics are spread by it.",
            show_default="4000",
        ),
    ] = None,
    no_rebalance: Annotated[
        bool,
        typer.Option(
            "--no-rebalance", help="Leave topics on the connection that they began on, whatever their rates."
        ),
    ] = False,
    duration: Annotated[float | None, typer.Option("--duration", help="Stop after so many seconds.")] = None,
    stop_after_idle: Annotated[
        float | None,
        typer.Option("--stop-after-idle", help="Stop after so many seconds without a data frame."),
    ] = None,
    no_roll: Annotated[bool, typer.Option("--no-roll", help="Keep the journal only.")] = False,
    no_recompress: Annotated[
        bool, typer.Option("--no-recompress", help="Don't compress segments that have been rolled.")
    ] = False,
    no_compact: Annotated[
        bool, typer.Option("--no-compact", help="Don't merge the archive's files of a day once it is over.")
    ] = False,
    archive_url: Annotated[
        str | None,
        typer.Option(
            "--archive-url",
            metavar="URL",
            help="Upload the archive there behind each roll: s3://BUCKET/PREFIX, as `tapebook upload --to`. When the "
            "recorder ends it takes some seconds for that; `tapebook upload` sends the rest.",
        ),
    ] = None,
    keep_archive: Annotated[
        str | None,
        typer.Option(
            "--keep-archive",
            metavar="SPAN",
            help="Remove the archive's files of a day once it ended so long ago, such as 90d, and --archive-url was "
            "proved to have them.",
            show_default="keep all",
        ),
    ] = None,
    keep_journal: Annotated[
        str | None,
        typer.Option(
            "--keep-journal",
            metavar="SPAN",
            help="Remove segments that the archive has once they ended so long ago, such as 30d.",
            show_default="keep all",
        ),
    ] = None,
    keep_journal_bytes: Annotated[
        str | None,
        typer.Option(
            "--keep-journal-bytes",
            metavar="SIZE",
            help="Remove the oldest of them while the journal is larger than that, such as 500GB.",
            show_default="any size",
        ),
    ] = None,
    commit_ms: Annotated[
        float | None,
        typer.Option("--commit-ms", help="Group-commit interval: what a kill can lose.", show_default="10"),
    ] = None,
    commit_kib: Annotated[
        float | None,
        typer.Option("--commit-kib", help="Bytes at which a group commit doesn't wait.", show_default="256"),
    ] = None,
    fsync: Annotated[
        str | None,
        typer.Option(
            "--fsync",
            help="Put what is written on the disk at an interval, at each commit, or never before a segment is sealed.",
            show_default="interval",
        ),
    ] = None,
    fsync_s: Annotated[
        float | None,
        typer.Option("--fsync-s", help="fsync interval: what a power cut can lose.", show_default="1"),
    ] = None,
    segment_seconds: Annotated[
        float | None, typer.Option("--segment-seconds", help="Longest segment.", show_default="900")
    ] = None,
    segment_mib: Annotated[
        float | None, typer.Option("--segment-mib", help="Largest segment.", show_default="512")
    ] = None,
    backlog_mib: Annotated[
        float | None,
        typer.Option(
            "--backlog-mib", help="Data waiting for the disk before reading pauses.", show_default="64"
        ),
    ] = None,
    min_free_mib: Annotated[
        float | None,
        typer.Option(
            "--min-free-mib",
            help="End cleanly, with exit code 4, when the disk has less than that left; 0 for never.",
            show_default="256",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="NUMBER/OF",
            help="Record this share of the symbols only, such as 1/2; `tapebook supervise` deals them out.",
        ),
    ] = None,
    pins: Annotated[
        str | None,
        typer.Option(
            "--pins",
            metavar="SYMBOL=NUMBER,..",
            help="Shares of symbols that do not go by their hash.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="HOST:PORT",
            help="Serve /metrics (Prometheus), /status and /healthz; without a host on the loopback address.",
        ),
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            help="Publish the books to other processes of this user, through shared memory.",
            show_default="--live",
        ),
    ] = None,
    live_depth: Annotated[
        str | None,
        typer.Option(
            "--live-depth",
            metavar="N|all",
            help="Levels a side of live books.",
            show_default="the topic's depth; 1000 of orderbook.full",
        ),
    ] = None,
    tape_mib: Annotated[
        float | None,
        typer.Option(
            "--tape-mib",
            help="Shared memory for the tape of changes that other processes can follow; 0 for none.",
            show_default="8",
        ),
    ] = None,
    audit_every: Annotated[
        float | None,
        typer.Option(
            "--audit-every",
            help="Hold one book against REST each so many seconds, all in turn; 0 for never.",
            show_default="60",
        ),
    ] = None,
    no_backfill: Annotated[
        bool, typer.Option("--no-backfill", help="Don't fetch trades that a gap lost back over REST.")
    ] = False,
    clock_every: Annotated[
        float | None,
        typer.Option(
            "--clock-every",
            help="Ask for the exchange's clock each so many seconds; 0 for never.",
            show_default="30",
        ),
    ] = None,
    refresh_every: Annotated[
        float | None,
        typer.Option(
            "--refresh-every",
            help="Seconds between two looks at what is listed; new listings and delistings are followed. 0 for never.",
            show_default="3600",
        ),
    ] = None,
    commit_ledger: Annotated[
        Path | None,
        typer.Option(
            "--commit-ledger", help="Write a line per group commit that returned (for crash tests)."
        ),
    ] = None,
    until_stdin_ends: Annotated[
        bool,
        typer.Option("--until-stdin-ends", help="Stop when standard input ends too (for supervisors)."),
    ] = False,
    style: Annotated[ReportFormat, FORMAT] = ReportFormat.TABLE,
) -> None:
    """Record topics until Ctrl-C, SIGTERM, --duration or --stop-after-idle; then seal, roll and report."""
    options = dict(locals())
    with signals_end(*NOT_BEGUN):
        from recorder.record import run_record
        from recorder.report import print_report

        wanted = _config(options)
    report = run_record(wanted, commit_ledger=commit_ledger, until_stdin_ends=until_stdin_ends)
    print_report(report, json=style is ReportFormat.JSON)


def _config(options: dict[str, Any]) -> RecordConfig:
    """The configuration that the options of ``record`` and its file come to."""
    from recorder.config_file import load_config

    given: dict[str, Any] = {}
    for name in RecordConfig.__struct_fields__:
        value: Any = False if options.get(f"no_{name}") else options.get(name)
        given[name] = _split(value) if name in ("symbols", "topics", "pins") else value
    return load_config(options["config"], given)


@app.command()
def plan(**options: Any) -> None:
    """Show what record would open, given the same options: connections, arguments, rates, GB per day, memory."""
    from recorder.plan import plan_and_print

    plan_and_print(_config(options), json=options["style"] is ReportFormat.JSON)


# the options of record, so that one word of a command line changes
plan.__annotations__ = record.__annotations__ | {"return": None}
plan.__signature__ = inspect.signature(record, eval_str=True)  # type: ignore[attr-defined]


@app.command()
def roll(
    data: Annotated[Path, DATA] = Path("data"),
    style: Annotated[ReportFormat, FORMAT] = ReportFormat.TABLE,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Write files with N threads beside the replay; the bytes are the same."
        ),
    ] = 1,
    min_free_mib: Annotated[float, MIN_FREE_MIB] = 256.0,
) -> None:
    """Turn sealed journal segments into Parquet; recovers what a crash left behind first."""
    from recorder.report import roll_and_report

    roll_and_report(data, json=style is ReportFormat.JSON, jobs=jobs, min_free_mib=min_free_mib)


@app.command()
def verify(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Data directory; or s3://BUCKET/PREFIX that it was uploaded to: that is hashed, as by --quick; or the "
            "directory of `tapebook trade`, whose order journals are checked.",
            show_default="data",
        ),
    ] = Path("data"),
    style: Annotated[ReportFormat, FORMAT] = ReportFormat.TABLE,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Only the manifest, its hash chain and the hash of every file; replay nothing."
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also make every segment again from the archive alone, and hold its records' hash against the chain.",
        ),
    ] = False,
) -> None:
    """Replay journal and archive and hold them against each other; exit 1 on any unexplained difference."""
    from recorder.report import verify_and_report

    raise typer.Exit(verify_and_report(data, json=style is ReportFormat.JSON, quick=quick, deep=deep))


@app.command()
def status(
    data: Annotated[
        Path, typer.Option("--data", help="Data directory; or s3://BUCKET/PREFIX that it was uploaded to.")
    ] = Path("data"),
    style: Annotated[ReportFormat, FORMAT] = ReportFormat.TABLE,
    every: Annotated[
        bool, typer.Option("--all", help="Every feed, not only a summary and the troubled ones.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Say only what is not well, and exit 1 if anything is (for cron)."),
    ] = False,
) -> None:
    """Show what is recorded, how complete it is and how late; or what is published in an object store."""
    from recorder.object_store import is_object_url
    from recorder.status import data_status
    from recorder.status_text import print_status, print_troubles
    from recorder.stored_status import stored_status

    found = stored_status(str(data), check=check) if is_object_url(data) else data_status(data)
    if check:
        raise typer.Exit(print_troubles(found, json=style is ReportFormat.JSON))
    if style is ReportFormat.JSON:
        for collector in found["collectors"]:
            print(msgspec.json.encode(collector).decode())
    else:
        print_status(found, every=every)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tapebook {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on standard error.")] = False,
) -> None:
    log_to_stderr(logging.ERROR if quiet else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code of design section 7."""
    try:
        app(arguments, prog_name="tapebook")
    except TapebookError as error:
        print(f"tapebook: {plain(str(error))}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"  {plain(note)}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except SystemExit as end:
        if has_left(end):
            raise SystemExit(0) from None
        if end.code == _INTERRUPTED:  # Ctrl-C where no command has an end of its own for it
            print("tapebook: ended by SIGINT", file=sys.stderr)
        raise
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    raise SystemExit(0)


if __name__ == "__main__":
    main()
