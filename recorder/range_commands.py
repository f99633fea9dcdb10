"""``tapebook snapshots`` and ``tapebook bars``: range functions for terminals, pipes and files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import pyarrow as pa
import typer

from recorder.archive import Archive, open_archive
from recorder.book_at import only_category
from recorder.feed_rows import Clock
from recorder.left_out import MomentWatch, bars_left_out
from recorder.open_segments import not_asked_yet, unread
from recorder.output import new_file, standard_output
from recorder.ranges.function import RangeFunction, Untrusted
from recorder.render import MAX_TABLE_ROWS, Format, write_rows
from recorder.result import Result
from schemas.errors import ConfigError
from schemas.names import Category, Table
from schemas.time import NS_PER_MS, format_ns, parse_time

__all__ = ["bars", "cut_bars", "snapshots"]

_BAR_WIDTH: Final = 30

SYMBOL = Annotated[str, typer.Argument(help="Symbol, e.g. BTCUSDT.")]
START = Annotated[
    str, typer.Option("--from", metavar="TIME", help="Beginning, included, e.g. 2024-08-08T23:55:00Z.")
]
END = Annotated[str, typer.Option("--to", metavar="TIME", help="End, not included.")]
DATA = Annotated[Path, typer.Option(help="Data directory, or s3://BUCKET/PREFIX that it was uploaded to.")]
CATEGORY = Annotated[
    Category | None, typer.Option(help="Product line; may be left out where one alone has the symbol.")
]
MARK = Annotated[
    bool,
    typer.Option("--mark-untrusted", help="Keep rows of a time that lies in a gap, with trusted = false."),
]
STYLE = Annotated[Format, typer.Option("--format", help="How rows are written.")]
OUTPUT = Annotated[
    Path | None, typer.Option("-o", "--output", help="File to write to instead of standard output.")
]


def snapshots(
    symbol: SYMBOL,
    start: START,
    end: END,
    every: Annotated[
        str, typer.Option(help="Time from one snapshot to the next, e.g. 100ms, 1s, 5min.")
    ] = "1s",
    depth: Annotated[
        int | None, typer.Option(min=1, help="Levels a side.", show_default="20, or as many as the topic has")
    ] = None,
    data: DATA = Path("data"),
    category: CATEGORY = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Topic, e.g. orderbook.50; the deepest one that covers the range by default."),
    ] = None,
    clock: Annotated[Clock, typer.Option(help="Clock that the moments are on.")] = Clock.MATCH,
    exact: Annotated[
        bool, typer.Option("--exact", help="Add mantissas and exponents, which are exact.")
    ] = False,
    mark_untrusted: MARK = False,
    style: STYLE = Format.TABLE,
    output: OUTPUT = None,
) -> None:
    """Write an order book at moments of a range: one row a moment, prices and sizes best first."""
    from recorder.ranges import FUNCTIONS

    named = {"depth": depth, "topic": topic, "clock": clock.value, "exact": exact}
    tables = (Table.BOOK_UPDATES,)
    _write(
        FUNCTIONS["snapshots"], tables, "order book", symbol, category, start, end, every, named,
        mark_untrusted, data, style, output,
    )  # fmt: skip


def bars(
    symbol: SYMBOL,
    start: START,
    end: END,
    every: Annotated[str, typer.Option(help="Length of a bar, e.g. 1s, 1min, 1h.")] = "1s",
    data: DATA = Path("data"),
    category: CATEGORY = None,
    mark_untrusted: MARK = False,
    style: STYLE = Format.TABLE,
    output: OUTPUT = None,
) -> None:
    """Add trades up to bars: open, high, low, close, volume, mean price, count, volume that takers bought."""
    from recorder.sql.functions import TABLE_FUNCTIONS

    _write(
        TABLE_FUNCTIONS["bars"], (Table.TRADES,), "trade", symbol, category, start, end, every, {},
        mark_untrusted, data, style, output,
    )  # fmt: skip


def _write(
    function: RangeFunction,
    tables: tuple[Table, ...],
    what: str,
    symbol: str,
    category: Category | None,
    start: str,
    end: str,
    every: str,
    named: Mapping[str, object],
    mark_untrusted: bool,
    data: Path,
    style: Format,
    output: Path | None,
) -> None:
    start_ns, end_ns = parse_time(start), parse_time(end)
    if start_ns > end_ns:
        raise ConfigError(
            f"--from ({format_ns(start_ns)}) is after --to ({format_ns(end_ns)}); exchange them"
        )
    if style is Format.PARQUET and output is None and sys.stdout.isatty():
        raise ConfigError(
            "Parquet is not for terminals; add --output FILE, or send standard output elsewhere"
        )
    untrusted = Untrusted.MARK if mark_untrusted else Untrusted.LEAVE_OUT
    with open_archive(data) as archive:
        for warning in archive.warnings:
            typer.echo(f"warning: {warning}", err=True)
        line = category.value if category is not None else only_category(archive, symbol, tables, what)
        arguments = function.bound(
            [line, symbol, f"{start_ns}ns", f"{end_ns}ns", every], {**named, "untrusted": untrusted.value}
        )
        moments = MomentWatch(arguments) if function.name == "snapshots" else None
        batches = _told(archive, function, arguments, output)
        if moments is not None:  # those in gaps are asked for too, so that they can be counted
            marked = {**arguments, "untrusted": Untrusted.MARK}
            batches = moments.pass_on(_told(archive, function, marked, output))
        result = Result(function.schema(arguments), batches)
        rows = -1
        with standard_output() if output is None else new_file(output, data=data) as out:
            rows = write_rows(result, style, out)
        if rows < 0:  # whoever read them has seen enough
            return
        for sentence in _beyond(archive, tables, line, symbol, end_ns):
            typer.echo(sentence, err=True)
        if rows and moments is None and (cut := cut_bars(start_ns, end_ns, arguments["every"])):
            typer.echo(cut, err=True)
        if style is Format.TABLE and rows > MAX_TABLE_ROWS:
            typer.echo(
                f"only the first {MAX_TABLE_ROWS} rows are shown; "
                "narrow the range, or take all with --format csv, json or parquet",
                err=True,
            )
            if moments is not None:  # the others were not made, and so not counted
                return
        if start_ns < end_ns:
            left_out = bars_left_out(archive, arguments) if moments is None else moments.left_out()
            if rows == 0:
                left_out = f"no rows: {left_out or 'there were no trades in that time'}"
            if left_out:
                typer.echo(left_out, err=True)


def _beyond(
    archive: Archive, tables: tuple[Table, ...], category: str, symbol: str, end_ns: int
) -> list[str]:
    """What of the range lies in segments that can't be asked yet, so that rows which end early don't look like all."""
    return not_asked_yet(unread(archive, [category], symbol=symbol, tables=tables, end_ns=end_ns))


def cut_bars(start_ns: int, end_ns: int, every_ns: int) -> str:
    """Return what is to be said of bars that a range cuts: they look like others, and have fewer trades."""
    ends = [
        text
        for text, moment_ns in (
            ("the first bar has only trades from --from on", start_ns),
            ("the last bar only those before --to", end_ns),
        )
        if moment_ns % every_ns
    ]
    return f"{' and '.join(ends)}; multiples of --every give whole bars" if ends else ""


def _told(
    archive: Archive, function: RangeFunction, arguments: Mapping[str, object], output: Path | None
) -> Iterator[pa.RecordBatch]:
    """The batches; on a terminal that isn't written to, how far they are is shown meanwhile."""
    batches = function.run(archive, arguments)
    if not sys.stderr.isatty() or (output is None and sys.stdout.isatty()):
        yield from batches
        return
    start_ns, end_ns = arguments["t0"], arguments["t1"]
    assert isinstance(start_ns, int)
    assert isinstance(end_ns, int)
    shown = ""
    for batch in batches:
        if batch.num_rows:
            last = batch["time"][-1].cast(pa.timestamp("ms", "UTC"), safe=False).value * NS_PER_MS
            share = min(max((last - start_ns) / max(end_ns - start_ns, 1), 0.0), 1.0)
            text = f"{function.name} [{'#' * round(_BAR_WIDTH * share):<{_BAR_WIDTH}}] {share:4.0%}"
            if text != shown:
                shown = text
                typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
        yield batch
    if shown:
        typer.echo("\r\x1b[K", err=True, nl=False)
