"""``tapebook compact``: a day's small files become one per table and symbol; what it says while it works, and after."""

from __future__ import annotations

import logging
import re
import signal
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.disk_budget import floor_of
from recorder.leftovers import GRACE_S
from recorder.options import MIN_FREE_MIB, ReportFormat
from schemas.errors import ConfigError, NoData, OutOfSpace

__all__ = ["compact"]

log = logging.getLogger("tapebook")
_UNTIL_ROOM = "nothing more is merged, and what was merged counts: free some space, then compact again"


def compact(
    data: Annotated[Path, typer.Option("--data", help="Data directory.")] = Path("data"),
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="DATE",
            help="Only days before this one (UTC), such as 2026-11-21.",
            show_default="all",
        ),
    ] = None,
    collector: Annotated[
        str | None, typer.Option("--collector", help="Only this one's files.", show_default="all of them")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            min=0,
            help="Seconds for which replaced files stay on the disk, for readers that were opened before; the next "
            "compact or roll deletes them then. 0 deletes them at once.",
        ),
    ] = GRACE_S,
    min_free_mib: Annotated[float, MIN_FREE_MIB] = 256.0,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> None:
    """Merge the archive's small files into one per table, symbol and day: smaller, and quicker to search.

    It can be interrupted at any time, and run beside a recording and beside readers. Run again, it merges what has come
    in the meantime, into the files of the day if there are some.
    """
    raise typer.Exit(
        _compact_and_report(data, before, collector, grace, min_free_mib, json=style is ReportFormat.JSON)
    )


def _compact_and_report(
    data: Path, before: str | None, collector: str | None, grace_s: float, min_free_mib: float, *, json: bool
) -> int:
    from recorder.compact import Group, compact_data
    from recorder.manifest import read_segments
    from recorder.roll import pending_segments
    from recorder.status import require_recording

    require_recording(data)
    if before is not None:
        _check_date(before)
    known = sorted({name for name, _ in read_segments(data / "archive").segments})
    if collector is not None and collector not in known:
        near = f"its collectors are {', '.join(known)}" if known else "nothing is rolled there yet"
        raise NoData(f"{data}: the archive has nothing of collector {collector!r}; {near}")
    quiet = not log.isEnabledFor(logging.INFO)
    terminal = sys.stderr.isatty() and not quiet
    stopped: list[int] = []
    budget = floor_of(data, min_free_mib, _UNTIL_ROOM)
    full: list[OutOfSpace] = []

    def should_stop() -> bool:
        try:
            budget.check()
        except OutOfSpace as error:  # what is merged by now still comes to count
            full.append(error)
        return bool(stopped or full)

    def begun(group: Group, number: int, of: int) -> None:
        if terminal:
            print(f"\r\x1b[K{number}/{of} {group}", end="", file=sys.stderr, flush=True)
        elif not quiet and not json and number % 100 == 1:
            print(f"compacting {number}/{of}: {group}", file=sys.stderr, flush=True)

    # A first Ctrl-C ends it behind the file that it is at, and what is done counts; a second one at once.
    previous = signal.signal(signal.SIGINT, lambda number, _: _stop(stopped, number, previous))
    try:
        result = compact_data(
            data,
            before=before,
            collector=collector,
            grace_s=grace_s,
            on_begun=begun,
            should_stop=should_stop,
        )
    finally:
        signal.signal(signal.SIGINT, previous)
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
    days: dict[tuple[str, str], list[int]] = {}
    for one in result.done:
        group, merged = one
        if json:
            line = {
                "collector": group.collector, "date": group.date, "table": group.table, "category": group.category,
                "symbol": group.symbol, "files": len(group.files), "rows": merged.rows,
                "bytes_before": one.bytes_before, "bytes": merged.bytes, "path": merged.path,
            }  # fmt: skip
            print(msgspec.json.encode(line).decode())
        sums = days.setdefault((group.date, group.collector), [0, 0, 0, 0, 0])
        for place, value in enumerate((len(group.files), 1, merged.rows, one.bytes_before, merged.bytes)):
            sums[place] += value
    for path, why in result.damaged.items():
        print(f"tapebook: {path}: {why}; its day stays as it is: run `tapebook repair`", file=sys.stderr)
    if full:
        raise full[0]
    if json:
        return 1 if result.damaged else 0
    for (day, name), (files, merged_files, rows, size, merged_size) in sorted(days.items()):
        print(
            f"{name} {day}: {files:,} files -> {merged_files:,}, {rows:,} rows, {size:,} -> {merged_size:,} bytes"
        )
    if result.deleted_files:
        print(
            f"deleted {result.deleted_files:,} files that counted for nobody ({result.deleted_bytes:,} bytes)"
        )
    if result.dropped_lines:
        print(f"manifests: {result.dropped_lines:,} lines of files that are gone were left out")
    if days and grace_s:
        print(
            f"the files that were replaced stay for {grace_s:.0f} s; the next compact or roll after that deletes them"
        )
    if result.waiting:
        print("interrupted: what was done counts, and the next compact goes on")
    elif not known:
        print("nothing to compact: nothing is rolled yet")
    elif not days and not result.damaged:
        print(
            f"nothing to compact{'' if before is None else f' before {before}'}: every day's files are merged"
        )
    waiting = [segment for segment in pending_segments(data) if collector in (None, segment.collector)]
    if waiting:
        print(
            f"{len(waiting)} sealed segments are not in the archive yet: `tapebook roll`, then compact again"
        )
    return 1 if result.damaged else 0


def _stop(stopped: list[int], number: int, previous: object) -> None:
    stopped.append(number)
    signal.signal(signal.SIGINT, previous if callable(previous) else signal.SIG_DFL)


def _check_date(text: str) -> None:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) is None:
            raise ValueError
        date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--before: found {text!r}, expected a date such as 2026-11-21 (UTC); days before it are compacted"
        ) from None
