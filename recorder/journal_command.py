"""The command lines of ``tapebook journal``: options in, exit codes out; each command's work is in its own module."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["LineFormat", "StatFormat", "journal"]

journal = typer.Typer(
    name="journal",
    help="Look into the journal: print its records, say what its segments hold, make them smaller.",
    no_args_is_help=True,
    add_completion=False,
)

DATA = Annotated[Path, typer.Option("--data", help="Data directory.")]
COLLECTOR = Annotated[
    str | None, typer.Option("--collector", help="Only this one's.", show_default="all of them")
]
FROM = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="TIME", help="Received at or after this moment, such as 2026-11-21T03:12:00Z."
    ),
]
TO = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Received before this moment.")]
TOPICS = Annotated[
    str | None,
    typer.Option("--topic", metavar="TOPIC,..", help="Only these full topics.", show_default="all"),
]


class LineFormat(StrEnum):
    """How records are written."""

    LINES = "lines"
    JSON = "json"


class StatFormat(StrEnum):
    """How a listing is written."""

    TABLE = "table"
    JSON = "json"


def _moment(text: str | None) -> int | None:
    from schemas.time import parse_time

    return None if text is None else parse_time(text)


@journal.command("cat")
def _cat(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    topic: TOPICS = None,
    start: FROM = None,
    end: TO = None,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND,..",
            help="Of frame, rest, session, note; or all. Frames alone are plain lines.",
        ),
    ] = "frame",
    style: Annotated[
        LineFormat,
        typer.Option("--format", help="lines, or json: one object a record, for payloads of any bytes."),
    ] = LineFormat.LINES,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file instead; compressed if its name ends in .gz or .zst."),
    ] = None,
) -> None:
    """Print records: `<receive_ns> <frame>`, or, where other kinds are asked for,
    `<receive_ns> <collector> <sequence> <line> <kind> <payload>`. `gateway --replay` takes the former."""
    from recorder.journal_cat import Selection, cat, kinds_of

    topics = frozenset(part.strip() for part in (topic or "").split(",") if part.strip())
    selection = Selection(kinds_of(kind), topics, _moment(start), _moment(end))
    cat(data, collector, selection, json=style is LineFormat.JSON, output=output)


@journal.command("stat")
def _stat(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    style: Annotated[
        StatFormat, typer.Option("--format", help="table for people, json for programs (one object a line).")
    ] = StatFormat.TABLE,
) -> None:
    """Read every segment whole and say what it holds: records, batches, bytes, times, sequences, and whether every
    checksum is right; exit 1 if a sealed one is damaged."""
    from recorder.journal_stat import print_stats, stat

    raise typer.Exit(print_stats(stat(data, collector), json=style is StatFormat.JSON))


@journal.command("recompress")
def _recompress(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    level: Annotated[
        int, typer.Option("--level", min=1, max=19, help="Of zstd: higher is smaller and slower.")
    ] = 6,
) -> None:
    """Join the small batches of sealed segments and compress them, in place; their records stay what they are. `record`
    does it in the background to what it has rolled."""
    from recorder.housekeeping import recompress_data
    from recorder.journal_cat import journal_files
    from recorder.status_text import amount

    journal_files(data, collector)
    count = before = after = records = 0
    for done in recompress_data(data, collector, level=level):
        count, records = count + 1, records + done.records
        before, after = before + done.bytes_before, after + done.bytes_after
        sizes = f"{amount(done.bytes_before)} -> {amount(done.bytes_after)}"
        print(f"{done.segment}: {done.records:,} records, {sizes}", flush=True)
    each = f": {before / records:,.1f} -> {after / records:,.1f} bytes a record" if records else ""
    print(f"{count} segments compressed{each}")
