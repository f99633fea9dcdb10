"""``tapebook import``: options in, a progress bar and a report out."""

from __future__ import annotations

import logging
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from recorder.options import MIN_FREE_MIB, ReportFormat
from recorder.shared_options import with_options
from schemas.errors import ConfigError

__all__ = ["importing"]

log = logging.getLogger("tapebook")
_UNTIL_ROOM = (
    "nothing more is imported or rolled: free some space; the same command then goes on behind what is sealed"
)

importing = typer.Typer(
    name="import",
    help="Make a recording of files that others recorded: captures, the exchange's history files, Tardis's CSV.",
    no_args_is_help=True,
    add_completion=False,
)


FILES = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Files; several are one recording, in this order.")
]
DATA = Annotated[Path, typer.Option("--data", help="Data directory.")]
CATEGORY = Annotated[
    str, typer.Option("--category", help="What the files are of: spot, linear, inverse, option or spread.")
]
ENVIRONMENT = Annotated[
    str, typer.Option("--environment", help="Where they were recorded; an archive holds one environment.")
]
NAME = Annotated[
    str,
    typer.Option(
        "--name", help="Name of the collector that gets the records.", show_default="the first file's"
    ),
]
SKIP_BAD = Annotated[
    bool, typer.Option("--skip-bad", help="Leave bad lines out, counted, instead of refusing the file.")
]
SEGMENT_MIB = Annotated[
    float,
    typer.Option(
        "--segment-mib",
        min=0.001,
        help="Largest segment; an import that is interrupted goes on behind the last one.",
    ),
]
NO_ROLL = Annotated[bool, typer.Option("--no-roll", help="Write the journal only; roll later.")]
STYLE = Annotated[
    ReportFormat, typer.Option("--format", help="table for people, json for programs (one object).")
]


@dataclass(frozen=True)
class _Choices:
    """What every import is told."""

    category: CATEGORY
    data: DATA = Path("data")
    name: NAME = ""
    environment: ENVIRONMENT = "mainnet"
    skip_bad: SKIP_BAD = False
    segment_mib: SEGMENT_MIB = 256
    min_free_mib: Annotated[float, MIN_FREE_MIB] = 256.0
    no_roll: NO_ROLL = False
    style: STYLE = ReportFormat.TABLE


@importing.command("capture")
@with_options(_Choices)
def _capture(
    choices: _Choices,
    files: FILES,
) -> None:
    """Import captures: a line a frame, `<receive_ns> <frame>`, plain, .gz or .zst, as `journal cat` writes them.

    Interrupted, it goes on where it was when the same command is given again. A file is imported once."""
    from recorder.importing.captures import CaptureFile

    _run(choices, files, CaptureFile)


@importing.command("bybit")
@with_options(_Choices)
def _bybit(
    choices: _Choices,
    files: FILES,
) -> None:
    """Import the exchange's own history files: order books (.data.zip, option .zip), trades (.csv.gz, .csv.zip),
    premium and spot index (.csv.gz), and candles for MetaTrader 4 (.csv.gz).

    Nobody recorded when these frames came: the time of receipt is the exchange's push time; it tells no latency.
    What neighbouring days' files both have comes once. Interrupted, it goes on when the same command is given again."""
    from recorder.importing.book_files import BookFile
    from recorder.importing.kline_files import KlineFile, is_kline_file
    from recorder.importing.trade_files import TradeFile
    from schemas.names import Category

    def form(path: Path) -> BookFile | KlineFile | TradeFile:
        if is_kline_file(path) and choices.category in list(Category):
            return KlineFile(path, Category(choices.category))
        is_csv = re.search(r"\.csv(\.\w+)?$", path.name.lower()) is not None
        return TradeFile(path, spot=choices.category == "spot") if is_csv else BookFile(path)

    _run(choices, files, form)


@importing.command("tardis")
@with_options(_Choices)
def _tardis(
    choices: _Choices,
    files: FILES,
    depth: Annotated[
        int,
        typer.Option("--depth", min=2, max=1000, help="Depth of the book's topic; twice as many levels fit."),
    ] = 1000,
) -> None:
    """Import Tardis's CSV files, incremental_book_L2 and trades, plain, .gz or .zst.

    Frames are made up from their rows: levels, trades and stamps are Tardis's; update ids are not the exchange's."""
    from recorder.importing.tardis_files import TardisFile

    _run(choices, files, lambda path: TardisFile(path, depth=depth, option=choices.category == "option"))


def _run(choices: _Choices, files: list[Path], form: Callable[[Path], Any]) -> None:
    from recorder.disk_budget import floor_of
    from recorder.importing.run import ImportPlan, Report, run_import
    from recorder.importing.sources import name_of
    from schemas.names import Category, Environment

    for key, known in (("category", Category), ("environment", Environment)):
        if (found := getattr(choices, key)) not in list(known):
            raise ConfigError(f"--{key}: found {found!r}, expected one of {', '.join(known)}")
    plan = ImportPlan(
        [form(path) for path in files],
        choices.name or name_of(files[0]),
        Category(choices.category),
        Environment(choices.environment),
        choices.skip_bad,
        round(choices.segment_mib * 2**20),
    )
    report: Report
    with _stoppable() as stopped:
        report = run_import(
            plan,
            choices.data,
            roll=not choices.no_roll,
            on_progress=_bar(),
            should_stop=lambda: bool(stopped),
            budget=floor_of(choices.data, choices.min_free_mib, _UNTIL_ROOM),
        )
    _clear()
    if choices.style is ReportFormat.JSON:
        print(msgspec.json.encode(report).decode())
    else:
        for file in report.files:
            more = [
                f"{count:,} {text}"
                for count, text in (
                    (file.before, "lines read before"),
                    (file.refused, "bad lines left out"),
                    (file.known, "known from the file before"),
                )
                if count
            ]
            end = "" if file.whole else "; not to its end yet"
            print(f"{file.file}: {file.records:,} records{''.join(', ' + text for text in more)}{end}")
        print(
            f"collector {report.collector}: {report.topics:,} topics, {report.segments:,} segments, "
            f"{report.undecodable:,} frames undecodable, {report.unknown:,} of unknown topics"
        )
    if not report.complete:
        print(
            "tapebook: interrupted; what is in the journal stays, and the same command goes on",
            file=sys.stderr,
        )
        raise typer.Exit(1)


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """A first Ctrl-C or SIGTERM ends the import in order; a second one at once."""
    stopped: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _bar() -> Callable[[str, Path, float], None]:
    shown = [""]

    def show(what: str, path: Path, share: float) -> None:
        if not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
            return
        share = min(max(share, 0.0), 1.0)
        name = re.sub(r"[^\x20-\x7e]", "?", path.name)[:40]
        text = f"{what} {name} [{'#' * round(30 * share):<30}] {share:4.0%}"
        if text != shown[0]:
            shown[0] = text
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    return show
