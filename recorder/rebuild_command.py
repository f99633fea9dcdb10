"""``tapebook journal rebuild`` and ``prune``: what they select, write and say."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from recorder.journal import Record, SegmentInfo, SegmentReader
from recorder.journal.disk import Disk, disk_errors
from recorder.journal.files import SEALED, check_collector, segment_path
from recorder.journal.format import BatchEncoder, build_batch
from recorder.journal_cat import MAX_LINE_BYTES, compressed, journal_files
from recorder.manifest import Manifest, read_manifest
from recorder.output import standard_output
from recorder.prune import prune_data
from recorder.rebuild import Rebuilt, closing_of, provable, rebuild, runs
from schemas.errors import ConfigError, Corrupt, DataError, NoData
from schemas.manifest import ManifestSegment
from schemas.names import RecordKind
from schemas.time import format_ns

__all__ = ["chosen_segments", "prune_and_report", "rebuild_lines", "rebuild_segments", "write_segment"]


def chosen_segments(
    manifest: Manifest,
    collector: str | None = None,
    segment: int | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
) -> list[ManifestSegment]:
    """The rolled segments that are asked for, oldest first.

    Args:
        manifest: of the archive.
        collector: only this one's.
        segment: only the one that began then.
        from_ns, to_ns: only those with records of this span of receive time, its end not included.

    Raises:
        NoData: there are none; the message says what there is.
    """
    every = sorted(manifest.segments.values(), key=lambda entry: (entry.segment, entry.collector))
    found = [
        entry
        for entry in every
        if collector in (None, entry.collector)
        and segment in (None, entry.segment)
        and (from_ns is None or entry.end_ns >= from_ns)
        and (to_ns is None or entry.segment < to_ns)
    ]
    if found:
        return found
    if not every:
        raise NoData(f"{manifest.archive}: nothing is rolled; run `tapebook roll` first")
    names = ", ".join(sorted({entry.collector for entry in every}))
    raise NoData(
        f"{manifest.archive}: no such segment; it has {len(every)} of {names}, from {every[0].segment} "
        f"({format_ns(every[0].segment)}) to {every[-1].segment} ({format_ns(every[-1].segment)})"
    )


def rebuild_segments(
    manifest: Manifest, entries: list[ManifestSegment], output: Path, say: Callable[[str], None] = print
) -> int:
    """Write segments again, as ``OUTPUT/<collector>/<start>.arrows``; returns how many.

    A file has its name once its records were proved and read back. Those that are there already are left alone, so that
    what was pruned can be put back beside what wasn't.

    Raises:
        ConfigError: the files are there already.
        Unprovable, Corrupt, StoreError: as ``rebuild``; what was written before stays.
    """
    targets = [
        segment_path(output / check_collector(entry.collector), entry.segment, SEALED) for entry in entries
    ]
    missing = [(entry, target) for entry, target in zip(entries, targets, strict=True) if not target.exists()]
    if not missing:
        raise ConfigError(f"{targets[0]} is there already; choose another --output, or move it away")
    if len(missing) < len(targets):
        say(f"{output}: {len(targets) - len(missing)} segments are there already, and are left as they are")
    whole: set[str] = set()
    for entry, target in missing:
        found = write_segment(manifest, entry, target, whole=whole)
        say(
            f"{target}: {found.records:,} records, {found.frames:,} of them frames; content "
            f"{found.content_sha256[:16]}…, as it was rolled"
        )
    return len(missing)


def write_segment(
    manifest: Manifest,
    entry: ManifestSegment,
    target: Path,
    disk: Disk | None = None,
    whole: set[str] | None = None,
) -> Rebuilt:
    """Write one segment again, as a sealed file. Raises as ``rebuild``."""
    disk = Disk() if disk is None else disk
    temporary = target.with_name(f"{target.name}.rebuilt")  # a recompression has .tmp for itself
    try:
        with disk_errors(target, "writing the rebuilt segment", "run it again"):
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                writer = _Writer(entry, descriptor, disk)
                found = rebuild(manifest, entry, writer.take, whole=whole)
                disk.sync(descriptor)
            finally:
                os.close(descriptor)
        with SegmentReader(temporary, hashed=True) as reader:
            for _ in reader:
                pass
            if reader.content is None or reader.content.hexdigest() != entry.content_sha256:
                raise Corrupt(temporary, "read back, it has other records than were written: check the drive")
        with disk_errors(target, "giving the rebuilt segment its name", "run it again"):
            disk.rename(temporary, target)
            disk.sync_directory(target.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    return found


class _Writer:
    """A segment's bytes, batch by batch, in the format of a recording; the stamps of its commits are not known."""

    def __init__(self, entry: ManifestSegment, descriptor: int, disk: Disk) -> None:
        self._descriptor, self._disk = descriptor, disk
        self._content = str(entry.content_sha256)
        self._offset = self._number = 0
        header = provable(entry)
        info = SegmentInfo(
            entry.collector, entry.category, entry.environment, header.endpoint, header.software, entry.run,
            entry.segment,
        )  # fmt: skip
        self._encoder = BatchEncoder(info, header.first_sequence)
        self._write(self._encoder.header)

    def take(self, records: list[Record]) -> None:
        for run in runs(records):
            note = closing_of(run[0]) if len(run) == 1 else None
            if note is None:
                batch = build_batch(run[0].sequence, [record[1:] for record in run])
                self._write(self._encoder.encode(self._number, 0, batch))
            else:
                self._write(
                    self._encoder.encode_closing(
                        # what is proved once all of it is written
                        msgspec.structs.replace(note, batches=self._number, content_sha256=self._content),
                        sequence=run[0].sequence,
                        receive_ns=run[0].receive_ns,
                        monotonic_ns=0,
                    )
                )
            self._number += 1

    def _write(self, content: bytes | memoryview) -> None:
        self._disk.write_all(self._descriptor, content, self._offset)
        self._offset += len(content)


def rebuild_lines(data: Path, manifest: Manifest, entries: list[ManifestSegment], output: Path | None) -> int:
    """Write the segments' frames as ``<receive_ns> <frame>`` lines; returns how many.

    A file appears once all are proved. Standard output can't wait: an error at the end says that what came is wrong.

    Raises:
        ConfigError: segments of several collectors, whose frames would have to be mixed.
        DataError: a frame can't be a line; all others are written.
        Unprovable, Corrupt, StoreError: as ``rebuild``.
    """
    collectors = sorted({entry.collector for entry in entries})
    if len(collectors) > 1:
        raise ConfigError(f"segments of {', '.join(collectors)}: choose one of them with --collector")
    refused: list[int] = []
    whole: set[str] = set()
    count = 0
    with standard_output() if output is None else compressed(output, data=data) as out:

        def take(records: list[Record]) -> None:
            nonlocal count
            for record in records:
                if record.kind != RecordKind.FRAME:
                    continue
                payload = record.payload
                if (
                    not payload
                    or b"\n" in payload
                    or payload.endswith(b"\r")
                    or len(payload) > MAX_LINE_BYTES
                ):
                    refused.append(record.sequence)
                    continue
                out.write(b"%d %b\n" % (record.receive_ns, payload))
                count += 1

        for entry in entries:
            rebuild(manifest, entry, take, whole=whole)
    if refused:
        raise DataError(
            f"{len(refused)} frames can't be a line and are left out (the first has sequence {refused[0]}): they are "
            "empty, too long, or hold a line break; --format arrows writes them"
        )
    return count


def prune_and_report(
    data: Path, *, older_than_ns: int, collector: str | None, dry_run: bool, json: bool
) -> int:
    """Prune a data directory and say what became of each segment; returns the exit code."""
    journal_files(data, collector)
    read_manifest(data / "archive")  # before anything is said: an unreadable one is an error of its own
    gone = freed = looked_at = 0
    failed = False
    for looked in prune_data(
        data, now_ns=time.time_ns(), older_than_ns=older_than_ns, collector=collector, dry_run=dry_run
    ):
        looked_at += 1
        failed |= looked.fails
        if looked.kept is None:
            gone, freed = gone + 1, freed + looked.segment.size
        name = f"{looked.segment.collector}/{looked.segment.path.name}"
        if json:
            told: dict[str, Any] = {
                "segment": name, "bytes": looked.segment.size, "records": looked.records, "kept": looked.kept,
                "fails": looked.fails, "deleted": looked.kept is None and not dry_run,
            }  # fmt: skip
            print(msgspec.json.encode(told).decode(), flush=True)
        elif looked.kept is not None:
            print(f"{name}: kept: {looked.kept}", flush=True)
        else:
            what = "proved; it would be deleted" if dry_run else "proved and deleted"
            print(f"{name}: {looked.records:,} records, {looked.segment.size:,} bytes: {what}", flush=True)
    if not json and not looked_at:
        print(
            "nothing to prune: what is left is younger, or the newest segment of its collector, which stays"
        )
    elif not json:
        print(f"{gone} segments ({freed:,} bytes) {'would be deleted' if dry_run else 'deleted'}")
    if failed:
        print(
            "tapebook: some segments could not be proved; `tapebook verify --deep` says more", file=sys.stderr
        )
    return 1 if failed else 0
