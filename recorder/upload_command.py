"""``tapebook upload``: the archive goes into an object store; what it says while it works, and after."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.leftovers import GRACE_S
from recorder.options import ReportFormat

__all__ = ["upload"]

log = logging.getLogger("tapebook")


def upload(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="s3://BUCKET/PREFIX. Endpoint, region and credentials come from the environment as AWS's tools take "
            "them (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, ...), or ?endpoint_override=...&region=...",
        ),
    ],
    data: Annotated[Path, typer.Option("--data", help="Data directory.")] = Path("data"),
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Files on their way at once.")] = 4,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            min=0,
            help="Seconds for which files that a compaction replaced stay in the store once the manifest without them "
            "is published; a later upload deletes them then.",
        ),
    ] = GRACE_S,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Also look whether what was published is still there, and send again what is not."
        ),
    ] = False,
    style: Annotated[
        ReportFormat, typer.Option("--format", help="table for people, json for programs (one object).")
    ] = ReportFormat.TABLE,
) -> None:
    """Publish the archive in an object store: its files, checked, and then the manifest that makes them count.

    It can be interrupted at any time, and run beside a recording and beside readers; run again, it goes on where it was
    and sends what has come in the meantime. The journal stays here.
    """
    from recorder.object_store import ObjectStore
    from recorder.status import require_data
    from recorder.upload import upload_archive
    from schemas.manifest import ManifestFile

    require_data(data)
    store = ObjectStore(to)
    quiet = not log.isEnabledFor(logging.INFO)
    terminal = sys.stderr.isatty() and not quiet

    def begun(file: ManifestFile, number: int, of: int) -> None:
        if terminal:
            print(f"\r\x1b[K{number}/{of} {file.path}", end="", file=sys.stderr, flush=True)
        elif not quiet and style is ReportFormat.TABLE and number % 100 == 1:
            print(f"uploading {number}/{of}: {file.path}", file=sys.stderr, flush=True)

    try:
        done = upload_archive(data, store, grace_s=grace, jobs=jobs, check=check, on_file=begun)
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
    if style is ReportFormat.JSON:
        line = {
            "to": str(store), "files": done.files, "bytes": done.bytes, "known": done.known,
            "published": done.published, "deleted": done.deleted,
        }  # fmt: skip
        print(msgspec.json.encode(line).decode())
        return
    if not done.published and not done.deleted:
        print(f"{store}: has everything already")
        return
    known = f", {done.known:,} were there" if done.known else ""
    print(
        f"{store}: {done.files:,} files sent ({done.bytes:,} bytes){known}; {done.published} manifests published"
    )
    if done.deleted:
        print(f"{done.deleted:,} files that compactions had replaced were deleted there")
