"""What ``record``, ``roll`` and ``verify`` print."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from recorder.arrow_memory import keep_pages
from recorder.disk_budget import MIN_FREE_MIB, floor_of
from recorder.findings import Verification
from recorder.object_store import is_object_url
from recorder.plugins import verifiers
from recorder.roll import Rolled, roll_data, roll_lock
from recorder.status import is_recording, require_recording
from schemas.errors import ConfigError
from schemas.manifest import ManifestFile, ManifestSegment

if TYPE_CHECKING:
    from recorder.collector import Report

__all__ = ["print_report", "roll_and_report", "verify_and_report"]

log = logging.getLogger("tapebook")


def print_report(report: Report, *, json: bool) -> None:
    """Per feed: messages, gaps, bytes; and why the recording ended (in JSON that goes to the log)."""
    if json:
        for feed in report.feeds:
            print(msgspec.json.encode(feed).decode())
        log.info("%s frames in %.1f s; ended by %s", f"{report.frames:,}", report.seconds, report.why)
        return
    width = max([len("feed"), *(len(feed.topic) for feed in report.feeds)])
    print(f"{'feed':<{width}}  {'state':<8} {'messages':>10} {'gaps':>6} {'bytes':>14}")
    for feed in report.feeds:
        state = "refused" if feed.refused is not None else feed.state
        print(f"{feed.topic:<{width}}  {state:<8} {feed.messages:>10,} {feed.gaps:>6,} {feed.bytes:>14,}")
    notes = [f"{count:,} undecodable ({cause})" for cause, count in report.undecodable.items()]
    if report.unknown_topics:
        notes.append(f"{report.unknown_topics:,} of unknown topics")
    print(
        f"{report.frames:,} frames in {report.seconds:.1f} s{''.join(', ' + note for note in notes)}; "
        f"ended by {report.why}"
    )


_UNTIL_ROOM = (
    "nothing more is rolled, and the journal has everything: free some space (`tapebook journal recompress` does), "
    "then roll again"
)


def roll_and_report(data: Path, *, json: bool, jobs: int = 1, min_free_mib: float = MIN_FREE_MIB) -> None:
    """Roll a directory, with so many threads that write, and say what became of it."""
    keep_pages()
    require_recording(data)
    done: list[Rolled] = []
    budget = floor_of(data, min_free_mib, _UNTIL_ROOM)

    def tell(rolled: Rolled) -> None:
        done.append(rolled)
        files = [entry for entry in rolled.entries if isinstance(entry, ManifestFile)]
        segment = rolled.entries[-1]
        assert isinstance(segment, ManifestSegment)
        if json:
            print(msgspec.json.encode(segment).decode(), flush=True)
        else:
            size = sum(file.bytes for file in files)
            print(
                f"{segment.collector}/{rolled.segment.name}: {segment.frames:,} frames -> {rolled.rows:,} rows in "
                f"{len(files)} files ({size:,} bytes)",
                flush=True,
            )

    with roll_lock(data, wait=False):
        roll_data(data, on_rolled=tell, jobs=jobs, before_each=budget.check)
    for rolled in done:
        for mismatch in rolled.mismatches:
            print(
                f"tapebook: {rolled.segment.name}: {mismatch.topic} at update id {mismatch.update_id}: live digest "
                f"{mismatch.live}, replayed {mismatch.replayed}; `tapebook verify` says more",
                file=sys.stderr,
            )
    if not done and not json:
        print("nothing to roll: every sealed segment is in the archive")


def verify_and_report(data: Path, *, json: bool, quick: bool = False, deep: bool = False) -> int:
    """Verify a directory, or as far as it goes an object store; returns the exit code."""
    from recorder.verify import verify
    from recorder.verify_stored import verify_stored

    stored = is_object_url(data)
    if stored and deep:
        raise ConfigError(
            f"{data}: --deep is for data directories; of an object store, the bytes are checked"
        )
    others = {} if stored else verifiers(data)
    recorded = not stored and is_recording(data)
    if not stored and not others:
        require_recording(data)
    quiet = not logging.getLogger("tapebook").isEnabledFor(logging.INFO)
    terminal = sys.stderr.isatty() and not quiet

    def progress(text: str) -> None:
        if terminal:
            print(f"\r\x1b[Kverifying {text}", end="", file=sys.stderr, flush=True)
        elif not json and not quiet:
            print(f"verifying {text}", file=sys.stderr, flush=True)

    if stored:
        result = verify_stored(str(data), progress=progress)
    elif recorded:
        result = verify(data, quick=quick, deep=deep, progress=progress)
    else:
        result = Verification()
    for name, other in others.items():
        result.others[name] = dict(other.verify(data, result, progress))
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr)
    counts = {name: getattr(result, name) for name in result.__slots__ if name != "findings"}
    if json:
        for finding in result.findings:
            print(msgspec.json.encode(finding).decode())
        print(msgspec.json.encode({**counts, "failures": len(result.failures)}).decode())
    else:
        for finding in result.findings:
            print(finding)
        if stored or (quick and recorded):
            print(
                f"the bytes of {counts['files']:,} files ({counts['rows']:,} rows) were hashed; nothing was replayed"
            )
        elif recorded:
            print(
                f"{counts['segments']:,} segments, {counts['frames']:,} frames, {counts['files']:,} files, "
                f"{counts['rows']:,} rows; {counts['live_digests']:,} live digests met by the journal's replay; "
                f"{counts['books']:,} books rebuilt from rows, {counts['archive_digests']:,} of them met a live "
                f"digest, {counts['keyframes']:,} keyframes met"
            )
            print(f"{counts['gaps']:,} gaps and {counts['undecodable']:,} undecodable frames are on record")
        if deep and recorded:
            print(
                f"{counts['rebuilt']:,} segments ({counts['rebuilt_records']:,} records) are handed back by the "
                f"archive byte for byte; {counts['verbatim']:,} frames are kept as they came"
            )
        for name, counted in result.others.items():
            words = (f"{count:,} {word.replace('_', ' ')}" for word, count in counted.items())
            print(f"{name}: {', '.join(words)}")
        for collector, chain in sorted(result.chains.items()):
            print(f"chain of {collector}: {chain}")
        print(_verdict(result))
    return 1 if result.failures else 0


def _verdict(result: Verification) -> str:
    failures = len(result.failures)
    if failures:
        return f"NOT verified: {failures} differences"
    if not (result.segments or result.files or result.others):
        return "nothing to verify: there is no sealed segment, and no file in the archive"
    return "verified: no unexplained difference"
