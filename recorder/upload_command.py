"""``tapebook upload``: the archive goes into an object store; what it says while it works, and after."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from recorder.leftovers import GRACE_S
from recorder.options import ReportFormat
from schemas.errors import ConfigError, Corrupt
from schemas.units import parse_span_ns

if TYPE_CHECKING:
    from recorder.free_archive import Freed
    from recorder.object_store import ObjectStore
    from recorder.upload import Uploaded

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
    keep_archive: Annotated[
        str,
        typer.Option(
            "--keep-archive",
            metavar="SPAN",
            help="Then remove the files here of days that ended so long ago, such as 90d, each once it was proved that "
            "the store has it.",
            show_default="keep all",
        ),
    ] = "",
    style: Annotated[
        ReportFormat, typer.Option("--format", help="table for people, json for programs (one object).")
    ] = ReportFormat.TABLE,
) -> None:
    """Publish the archive in an object store: its files, checked, and then the manifest that makes them count.

    It can be interrupted at any time, and run beside a recording and beside readers; run again, it goes on where it was
    and sends what has come in the meantime. The journal stays here.
    """
    from recorder.free_archive import Freed, free_archive
    from recorder.object_store import ObjectStore
    from recorder.status import require_recording
    from recorder.upload import upload_archive
    from schemas.manifest import ManifestFile

    require_recording(data)
    store = ObjectStore(to)
    try:
        age_ns = parse_span_ns(keep_archive) if keep_archive else None
    except ConfigError as error:
        raise ConfigError(f"--keep-archive: {error}") from None
    quiet = not log.isEnabledFor(logging.INFO)
    terminal = sys.stderr.isatty() and not quiet

    def begun(file: ManifestFile, number: int, of: int) -> None:
        if terminal:
            print(f"\r\x1b[K{number}/{of} {file.path}", end="", file=sys.stderr, flush=True)
        elif not quiet and style is ReportFormat.TABLE and number % 100 == 1:
            print(f"uploading {number}/{of}: {file.path}", file=sys.stderr, flush=True)

    try:
        done = upload_archive(data, store, grace_s=grace, jobs=jobs, check=check, on_file=begun)
        freed = Freed()
        if age_ns is not None:
            freed = free_archive(data, store, age_ns=age_ns, now_ns=time.time_ns(), jobs=jobs)
    finally:
        if terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
    if style is ReportFormat.JSON:
        line = {
            "to": str(store), "files": done.files, "bytes": done.bytes, "known": done.known,
            "published": done.published, "deleted": done.deleted, "freed": freed.files, "freed_bytes": freed.bytes,
            "kept": freed.kept,
        }  # fmt: skip
        print(msgspec.json.encode(line).decode())
    else:
        _print(store, done, freed)
    if freed.kept:
        path, why = next(iter(freed.kept.items()))
        raise Corrupt(data / "archive" / path, f"stays here, as do {len(freed.kept) - 1} other files: {why}")


def _print(store: ObjectStore, done: Uploaded, freed: Freed) -> None:
    if freed.files:
        print(
            f"{freed.files:,} files ({freed.bytes:,} bytes) removed here: {store} was proved to have them. Queries "
            "read them there (--data)"
        )
    if not done.published and not done.deleted:
        print(f"{store}: has everything already")
        return
    known = f", {done.known:,} were there" if done.known else ""
    print(
        f"{store}: {done.files:,} files sent ({done.bytes:,} bytes){known}; {done.published} manifests published"
    )
    if done.deleted:
        print(f"{done.deleted:,} files that compactions had replaced were deleted there")
