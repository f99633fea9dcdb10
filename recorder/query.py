"""``tapebook query``: SQL over the archive, streamed to the terminal, to a pipe or to a file."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from recorder.archive import Archive, open_archive
from recorder.output import new_file, standard_output
from recorder.render import MAX_TABLE_ROWS, Format, write_rows
from schemas.errors import ConfigError
from schemas.names import Table
from schemas.time import NS_PER_MS, format_ns

__all__ = ["query"]

_MOST_SYMBOLS_NAMED: Final = 5

UNMASKED: Final = typer.Option("--unmasked", help="Also show rows with applied = false.")
MEMORY_LIMIT: Final = typer.Option(
    "--memory-limit",
    metavar="SIZE",
    help="What the query may hold of the memory, such as 4GB; beyond it goes to a temporary directory.",
    show_default="80% of the memory",
)
THREADS: Final = typer.Option(
    "--threads", metavar="N", help="How many threads it may use.", show_default="all cores"
)


def query(
    sql: Annotated[str, typer.Argument(help='One reading statement, e.g. "SELECT * FROM trades LIMIT 10".')],
    data: Annotated[
        Path, typer.Option(help="Data directory, or s3://BUCKET/PREFIX that it was uploaded to.")
    ] = Path("data"),
    style: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option(help="File to write to instead of standard output.")] = None,
    unmasked: Annotated[bool, UNMASKED] = False,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
) -> None:
    """Query the archive with DuckDB: book_updates, trades, tickers, klines, liquidations, ..., gaps, coverage."""
    if style is Format.PARQUET and output is None and sys.stdout.isatty():
        raise ConfigError(
            "Parquet is not for terminals; add --output FILE, or send standard output elsewhere"
        )
    with open_archive(data, masked=not unmasked, memory_limit=memory_limit, threads=threads) as archive:
        for warning in archive.warnings:
            typer.echo(f"warning: {warning}", err=True)
        result = archive.sql(sql)
        with standard_output() if output is None else new_file(output, data=data) as out:
            rows = write_rows(result, style, out)
            _comment(archive, sql, style, rows)


def _comment(archive: Archive, sql: str, style: Format, rows: int) -> None:
    """Say beside the rows what they do not say themselves."""
    if rows == 0:
        for line in _recorded(archive, sql):
            typer.echo(line, err=True)
    elif style is Format.TABLE and rows > MAX_TABLE_ROWS:
        typer.echo(
            f"only the first {MAX_TABLE_ROWS} rows are shown; "
            "narrow the query, or take all with --format csv, json or parquet",
            err=True,
        )


def _recorded(archive: Archive, sql: str) -> list[str]:
    """Return what there is, for a query that found nothing: the tables and symbols that it names, or some."""
    words = set(re.findall(r"\w+", sql.lower()))
    lines = ["no rows"]
    for table in Table:
        if table.value not in words and f"{table.value}_raw" not in words:
            continue
        symbols = archive.manifest.symbols(table)
        named = [pair for pair in symbols if pair[1].lower() in sql.lower()] or symbols
        for category, symbol in named[:_MOST_SYMBOLS_NAMED]:
            spans = [span.receive_ns for span in archive.ranges(category, symbol, table) if span.receive_ns]
            pushed = [span.push_ms for span in archive.ranges(category, symbol, table) if span.push_ms]
            if pushed:
                low, high = min(pushed)[0] * NS_PER_MS, max(span[1] for span in pushed) * NS_PER_MS
                lines.append(
                    f"{table.value}: {category} {symbol} {format_ns(low)} to {format_ns(high)} (push time)"
                )
            elif spans:
                low, high = min(spans)[0], max(span[1] for span in spans)
                lines.append(
                    f"{table.value}: {category} {symbol} {format_ns(low)} to {format_ns(high)} (receive time)"
                )
        if not symbols:
            none = "none is on record" if table is Table.GAPS else "nothing was recorded"
            lines.append(f"{table.value}: {none}")
        elif len(named) > _MOST_SYMBOLS_NAMED:
            lines.append(f"{table.value}: and {len(named) - _MOST_SYMBOLS_NAMED} more symbols")
    return lines
