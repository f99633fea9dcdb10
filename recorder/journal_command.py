"""The command lines of ``tapebook journal``: options in, exit codes out; each command's work is in its own module."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recorder.options import ReportFormat

__all__ = ["LineFormat", "RebuildFormat", "journal"]

log = logging.getLogger("tapebook")

journal = typer.Typer(
    name="journal",
    help="Look into the journal: print its records, say what its segments hold, cut out a span; make them smaller, "
    "make them again from the archive, delete those that it can make again.",
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
ONCE = Annotated[
    bool,
    typer.Option(
        "--once",
        help="Of frames that name a topic only those that made rows, from sealed segments: without the copies that "
        "other lines brought.",
    ),
]
TOPICS = Annotated[
    str | None,
    typer.Option("--topic", metavar="TOPIC,..", help="Only these full topics.", show_default="all"),
]


class LineFormat(StrEnum):
    """How records are written."""

    LINES = "lines"
    JSON = "json"


class RebuildFormat(StrEnum):
    """What a rebuild writes."""

    ARROWS = "arrows"
    LINES = "lines"


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
    once: ONCE = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="A file instead; compressed if its name ends in .gz or .zst."),
    ] = None,
) -> None:
    """Print records: `<receive_ns> <frame>`, or, where other kinds are asked for,
    `<receive_ns> <collector> <sequence> <line> <kind> <payload>`. `gateway --replay` takes the former."""
    from recorder.journal_cat import Selection, cat, kinds_of
    from recorder.journal_nothing import nothing_selected
    from schemas.errors import ConfigError

    topics = frozenset(part.strip() for part in (topic or "").split(",") if part.strip())
    selection = Selection(kinds_of(kind), topics, _moment(start), _moment(end), once)
    bounds = selection.from_ns, selection.to_ns
    if bounds[0] is not None and bounds[1] is not None and bounds[0] >= bounds[1]:
        raise ConfigError(f"--from {start} is not before --to {end}")
    count = cat(data, collector, selection, json=style is LineFormat.JSON, output=output)
    if count:
        return
    nothing = nothing_selected(data, collector, selection)
    if topics or bounds != (None, None):
        raise nothing
    log.warning("%s", nothing)  # all that there is was asked for, and it may just have begun


@journal.command("cut")
def _cut(
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="Received at or after this moment, such as 2026-11-21T03:12:00Z."
        ),
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Received before this moment.")],
    data: DATA = Path("data"),
    collector: Annotated[
        str | None, typer.Option("--collector", help="Whose; may be left out where there is one.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="A new file of lines `<receive_ns> <frame>`; compressed if it ends in .gz or .zst.",
        ),
    ] = None,
    once: ONCE = False,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="DIR",
            help="A new data directory instead, with segments that stand alone: for roll and verify.",
        ),
    ] = None,
) -> None:
    """Copy a span of time of one collector: its frames as a file of lines, or all its records as segments that begin
    with checkpoints, in a data directory of their own."""
    from recorder.journal_cut import cut_lines, cut_segments
    from schemas.errors import ConfigError
    from schemas.time import parse_time

    span = parse_time(start), parse_time(end)
    if span[0] >= span[1]:
        raise ConfigError(f"--from {start} is not before --to {end}")
    if (output is None) == (into is None):
        raise ConfigError("give either -o FILE for lines, or --into DIR for a data directory")
    if once and output is None:
        raise ConfigError("--once is for lines (-o FILE): a data directory keeps every line's frames")
    if output is not None:
        count = cut_lines(data, collector, *span, output, once=once)
        print(f"{output}: {count:,} frames")
    elif into is not None:
        for made in cut_segments(data, collector, *span, into):
            added = f", {made.checkpoints} of them checkpoints" if made.checkpoints else ""
            print(f"{made.path}: {made.records:,} records{added}")


@journal.command("stat")
def _stat(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> None:
    """Read every segment whole and say what it holds: records, batches, bytes, times, sequences, and whether every
    checksum is right; exit 1 if a sealed one is damaged."""
    from recorder.journal_stat import print_stats, stat

    raise typer.Exit(print_stats(stat(data, collector), json=style is ReportFormat.JSON))


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
    from schemas.units import amount

    journal_files(data, collector)
    count = before = after = records = 0
    for done in recompress_data(data, collector, level=level):
        count, records = count + 1, records + done.records
        before, after = before + done.bytes_before, after + done.bytes_after
        sizes = f"{amount(done.bytes_before)} -> {amount(done.bytes_after)}"
        print(f"{done.segment}: {done.records:,} records, {sizes}", flush=True)
    each = f": {before / records:,.1f} -> {after / records:,.1f} bytes a record" if records else ""
    print(f"{count} segments compressed{each}")


@journal.command("rebuild")
def _rebuild(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    segment: Annotated[
        int | None, typer.Option("--segment", metavar="START_NS", help="Only the one that began then.")
    ] = None,
    start: FROM = None,
    end: TO = None,
    style: Annotated[
        RebuildFormat,
        typer.Option("--format", help="arrows: segments as they were sealed; lines: `<receive_ns> <frame>`."),
    ] = RebuildFormat.ARROWS,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="arrows: a directory, such as DATA/journal to put segments back. lines: a file, compressed if its "
            "name ends in .gz or .zst.",
            show_default="arrows: none; lines: standard output",
        ),
    ] = None,
) -> None:
    """Make segments again from the archive alone, byte for byte, and prove it by their content hash; exit 1 where it
    can't be proved. --from and --to choose whole segments."""
    from recorder.manifest import read_manifest
    from recorder.rebuild_command import chosen_segments, rebuild_lines, rebuild_segments
    from recorder.status import require_recording
    from schemas.errors import ConfigError

    require_recording(data)
    manifest = read_manifest(data / "archive")
    chosen = chosen_segments(manifest, collector, segment, _moment(start), _moment(end))
    if style is RebuildFormat.LINES:
        rebuild_lines(data, manifest, chosen, output)
    elif output is None:
        raise ConfigError("--output is missing: name a directory for the segments, such as rebuilt")
    else:
        rebuild_segments(manifest, chosen, output, lambda text: print(text, flush=True))


@journal.command("prune")
def _prune(
    data: DATA = Path("data"),
    collector: COLLECTOR = None,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="SPAN", help="Only segments that ended so long ago, such as 12h or 7d."
        ),
    ] = "0s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prove, and delete nothing.")] = False,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> None:
    """Delete sealed segments once it is proved, for each one, that the archive hands all of its records back byte for
    byte. The newest one of a collector stays. Exit 1 where something is wrong."""
    from recorder.rebuild_command import prune_and_report
    from recorder.status import require_recording
    from schemas.units import parse_span_ns

    require_recording(data)
    raise typer.Exit(
        prune_and_report(
            data,
            older_than_ns=parse_span_ns(older_than),
            collector=collector,
            dry_run=dry_run,
            json=style is ReportFormat.JSON,
        )
    )
