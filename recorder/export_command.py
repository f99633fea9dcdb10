"""``tapebook export``: options in, a report out; each form's work is in ``recorder/exporting``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from recorder.options import ReportFormat
from recorder.shared_options import with_options

if TYPE_CHECKING:
    from recorder.archive import Archive
    from recorder.exporting.selection import ExportSelection

__all__ = ["exporting"]

exporting = typer.Typer(
    name="export",
    help="Write a symbol's rows in the forms of others: plain Parquet with decimals, hftbacktest, Tardis's CSV.",
    no_args_is_help=True,
    add_completion=False,
)


DATA = Annotated[Path, typer.Option("--data", help="Data directory.")]
CATEGORY = Annotated[
    str, typer.Option("--category", help="Of the symbol: spot, linear, inverse, option, spread.")
]
SYMBOL = Annotated[str, typer.Option("--symbol", help="The symbol, such as BTCUSDT.")]
FROM = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME", help="Received at or after this moment, such as 2026-11-21T03:12:00Z."
    ),
]
TO = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Received before this moment.")]
COLLECTOR = Annotated[
    str | None, typer.Option("--collector", help="Whose rows, where several have recorded the symbol.")
]
DEPTH = Annotated[
    int | None,
    typer.Option(
        "--depth", help="Depth of the book, 32767 for the full one.", show_default="the only one, or 50"
    ),
]
STYLE = Annotated[ReportFormat, typer.Option("--format", help="table for people, json for programs.")]


@dataclass(frozen=True)
class _Choices:
    """What every export is told."""

    category: CATEGORY
    symbol: SYMBOL
    data: DATA = Path("data")
    start: FROM = None
    end: TO = None
    collector: COLLECTOR = None
    style: STYLE = ReportFormat.TABLE


@exporting.command("parquet")
@with_options(_Choices)
def _parquet(
    choices: _Choices,
    output: Annotated[Path, typer.Option("-o", "--output", help="A directory; gets a file a table.")],
    tables: Annotated[
        str | None,
        typer.Option("--tables", metavar="TABLE,..", help="Only these.", show_default="all that have rows"),
    ] = None,
) -> None:
    """Write plain Parquet, a file a table: prices and sizes are DECIMAL(38,18) in place of mantissas and exponents."""
    from recorder.archive import open_archive
    from recorder.exporting.parquet import export_parquet

    chosen = _chosen(choices)
    names = None if tables is None else [part.strip() for part in tables.split(",") if part.strip()]
    with open_archive(choices.data) as archive:
        _warn(archive.warnings)
        done = export_parquet(archive, chosen, output, names, told=_say)
        _tell_left_out(archive, chosen)
    for one in done:
        if choices.style is ReportFormat.JSON:
            print(msgspec.json.encode(one._asdict()).decode())
        else:
            print(f"{one.path}: {one.rows:,} rows")


@exporting.command("hftbacktest")
@with_options(_Choices)
def _hftbacktest(
    choices: _Choices,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .npz file.")],
    depth: DEPTH = None,
) -> None:
    """Write a book and its trades as hftbacktest reads them: an .npz with the array `data`.

    The array is made in memory: export day by day."""
    from recorder.archive import open_archive
    from recorder.exporting.hftbacktest import export_hftbacktest

    with open_archive(choices.data) as archive:
        _warn(archive.warnings)
        chosen = _chosen(choices, depth)
        done = export_hftbacktest(archive, chosen, output)
        _tell_left_out(archive, chosen)
    if choices.style is ReportFormat.JSON:
        print(msgspec.json.encode(done._asdict()).decode())
        return
    print(
        f"{done.path}: {done.events:,} events of {done.book_rows:,} book messages and {done.trades:,} trades"
    )
    if done.shifted_ns:
        print(
            f"our clock was behind the exchange's: {done.shifted_ns:,} ns were added to every local_ts, so that "
            "nothing is received before it happened"
        )


@exporting.command("tardis")
@with_options(_Choices)
def _tardis(
    choices: _Choices,
    output: Annotated[Path, typer.Option("-o", "--output", help="A directory; gets a file a kind.")],
    depth: DEPTH = None,
    snapshots: Annotated[
        int | None,
        typer.Option(
            "--snapshots",
            min=1,
            max=1000,
            metavar="N",
            help="Also book_snapshot_N, such as 25 or 5: the N best levels a side, whenever any of them changes.",
        ),
    ] = None,
) -> None:
    """Write Tardis's CSV files, incremental_book_L2 and trades, gzip; `import tardis` takes these two back."""
    from recorder.archive import open_archive
    from recorder.exporting.tardis import export_tardis

    with open_archive(choices.data) as archive:
        _warn(archive.warnings)
        chosen = _chosen(choices, depth)
        done = export_tardis(archive, chosen, output, snapshots=snapshots, told=_say)
        _tell_left_out(archive, chosen)
    for one in done:
        if choices.style is ReportFormat.JSON:
            print(msgspec.json.encode(one._asdict()).decode())
        else:
            why = "without a change there" if "_book_snapshot_" in one.path else "empty and without a row"
            empty = f", {one.empty:,} of them {why}" if one.empty else ""
            print(f"{one.path}: {one.rows:,} rows of {one.messages:,} messages{empty}")


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _tell_left_out(archive: Archive, chosen: ExportSelection) -> None:
    """Say what of the span was not recorded, and what lies in segments that can't be asked yet."""
    from recorder.exporting.left_out import left_out
    from recorder.open_segments import not_asked_yet, unread
    from schemas.names import Table

    if sentence := left_out(archive, chosen):
        _say(sentence)
    for sentence in not_asked_yet(
        unread(
            archive,
            [chosen.category],
            symbol=chosen.symbol,
            tables=tuple(Table),
            collector=chosen.collector,
            end_ns=chosen.to_ns,
        )
    ):
        _say(sentence)


def _chosen(choices: _Choices, depth: int | None = None) -> Any:
    from recorder.exporting.selection import ExportSelection
    from schemas.errors import ConfigError
    from schemas.names import Category
    from schemas.time import parse_time

    if choices.category not in list(Category):
        raise ConfigError(f"--category: found {choices.category!r}, expected one of {', '.join(Category)}")
    start, end = (None if text is None else parse_time(text) for text in (choices.start, choices.end))
    if start is not None and end is not None and start >= end:
        raise ConfigError("--from must lie before --to")
    return ExportSelection(choices.category, choices.symbol, start, end, choices.collector, depth)
