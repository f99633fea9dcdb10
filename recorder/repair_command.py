"""``tapebook repair``: what is damaged is made again, and what can't be is named, file by file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.options import ReportFormat

__all__ = ["repair"]


def repair(
    data: Annotated[Path, typer.Option("--data", help="Data directory.")] = Path("data"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is wrong; change nothing.")
    ] = False,
    style: Annotated[
        ReportFormat,
        typer.Option("--format", help="table for people, json for programs (one object a line)."),
    ] = ReportFormat.TABLE,
) -> None:
    """Make damaged, missing or altered files again: the archive from the journal, the journal from the archive.

    Says file by file what was done. Exits 0 if all is well in the end, 1 if something could not be made again.
    """
    raise typer.Exit(_repair_and_report(data, dry_run=dry_run, json=style is ReportFormat.JSON))


def _repair_and_report(data: Path, *, dry_run: bool, json: bool) -> int:
    from recorder.repair import Fate
    from recorder.repair import repair as run
    from recorder.status import require_recording

    require_recording(data)
    terminal = sys.stderr.isatty() and logging.getLogger("tapebook").isEnabledFor(logging.INFO)

    def progress(text: str) -> None:
        if terminal:
            print(f"\r\x1b[Kchecking {text}", end="", file=sys.stderr, flush=True)

    result = run(data, dry_run=dry_run, progress=progress)
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr)
    for action in result.actions:
        print(msgspec.json.encode(action).decode() if json else action)
    count = len(result.actions)
    if dry_run:
        if not json:
            print(f"{count} to be repaired; nothing was changed" if count else "nothing to repair")
        return 1 if count else 0
    if not json:
        lost = sum(action.fate is Fate.LOST for action in result.actions)
        if not result.is_well:
            print(f"NOT repaired: {lost} of {count} could not be made again")
        else:
            print(f"repaired: all {count} are as they should be" if count else "nothing to repair")
    return 0 if result.is_well else 1
