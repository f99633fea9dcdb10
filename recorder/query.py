"""``tapebook query``: SQL over the archive, streamed to the terminal, to a pipe or to a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from recorder.archive import open_archive
from recorder.output import new_file, standard_output
from recorder.remarks import OnlyRow, remarks
from recorder.render import Format, write_rows
from schemas.errors import ConfigError

__all__ = ["MEMORY_LIMIT", "THREADS", "UNMASKED", "query"]

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
        seen = OnlyRow(archive.sql(sql))
        with standard_output() if output is None else new_file(output, data=data) as out:
            rows = write_rows(seen.result, style, out)
            for line in remarks(archive, sql, style, rows, says_nothing=seen.says_nothing):
                typer.echo(line, err=True)
