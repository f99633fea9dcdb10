"""``tapebook sql``: a shell over the archive; from a pipe, one statement after the other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TextIO

import typer

from recorder.archive import open_archive
from recorder.output import standard_output
from recorder.query import MEMORY_LIMIT, THREADS, UNMASKED
from recorder.render import Format
from recorder.shared_budget import state_directory
from recorder.shell.runner import FORMATS, Leave, Runner, Stopped
from recorder.shell.statements import split_statements
from schemas.errors import ConfigError

__all__ = ["sql"]

_STOPPED_EXIT_CODE = 130  # as shells have it for SIGINT


def sql(
    data: Annotated[
        Path, typer.Option(help="Data directory, or s3://BUCKET/PREFIX that it was uploaded to.")
    ] = Path("data"),
    style: Annotated[
        Format, typer.Option("--format", help="How rows are written: table, csv or json.")
    ] = Format.TABLE,
    unmasked: Annotated[bool, UNMASKED] = False,
    memory_limit: Annotated[str | None, MEMORY_LIMIT] = None,
    threads: Annotated[int | None, THREADS] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            help="File with what was typed earlier.", show_default="~/.local/state/tapebook/sql_history"
        ),
    ] = None,
) -> None:
    """A shell for SQL over the archive, with history and completion; reads statements from a pipe too."""
    if style not in FORMATS:
        raise ConfigError(
            f"format {style.value} is for one query alone: use tapebook query --format {style.value}"
        )
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with standard_output() as out:
        runner = Runner(
            lambda: open_archive(data, masked=not unmasked, memory_limit=memory_limit, threads=threads),
            out,
            print if at_terminal else _to_standard_error,
            style=style,
            timing=at_terminal,
        )
        try:
            if at_terminal:
                from recorder.shell.screen import (
                    converse,
                )  # not needed for pipes, and takes a while to import

                converse(runner, history or state_directory() / "sql_history")
            else:
                _run_all(runner, sys.stdin)
        finally:
            runner.close()


def _run_all(runner: Runner, source: TextIO) -> None:
    """Run statements as they come; the first that fails ends it, with its exit code."""
    text = ""
    try:
        for line in source:
            if line.lstrip().startswith("\\") and not split_statements(text)[1]:
                runner.run(line)
                text = ""
                continue
            text += line
            if ";" not in line:  # ends nothing, and long statements have many lines
                continue
            whole, text = split_statements(text)
            text = f"{text}\n" if text else ""
            for statement in whole:
                runner.run(statement)
        runner.run(split_statements(text)[1])
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is no UTF-8: {error.reason}; expected SQL as text") from None
    except Leave:
        return
    except Stopped:
        raise typer.Exit(_STOPPED_EXIT_CODE) from None


def _to_standard_error(line: str) -> None:
    typer.echo(line, err=True)
