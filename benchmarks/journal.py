"""What the journal costs, by its policy of committing and syncing; and what recompression makes of it.

Frames are appended at a rate, as an event loop would: those that are due each millisecond, group commits by the
policy. Figures are of the whole process, so appending and the writer's thread are both in them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.feed import Feed
from benchmarks.timing import machine
from engine.core.delays import Delays
from recorder.journal import (
    Commit,
    JournalOptions,
    JournalWriter,
    SegmentInfo,
    SegmentReader,
    journal_directory,
    recompress,
    segments,
)
from schemas.names import Fsync

__all__ = ["POLICIES", "Policy", "journal"]

TICK_S: Final = 0.001
LEVELS: Final = (1, 6, 9)


class Policy(NamedTuple):
    """How to commit and sync."""

    fsync: Fsync
    commit_ms: float
    commit_kib: int = 256

    @property
    def name(self) -> str:
        """As the result calls it."""
        size = "" if self.commit_kib == 256 else f", {self.commit_kib} KiB"
        return f"fsync {self.fsync.value}, commits of {self.commit_ms:g} ms{size}"


POLICIES: Final = (
    Policy(Fsync.NEVER, 10),
    Policy(Fsync.INTERVAL, 10),
    Policy(Fsync.COMMIT, 10),
    Policy(Fsync.INTERVAL, 1),
    Policy(Fsync.COMMIT, 1),
    Policy(Fsync.INTERVAL, 100, 4096),
    Policy(Fsync.COMMIT, 100, 4096),
)


def journal(feed: Feed, rate: float, seconds: float) -> dict[str, Any]:
    """Measure every policy, and recompress what each wrote.

    Args:
        feed: frames to append, again from the start when they are over.
        rate: frames a second.
        seconds: of one policy.
    """
    with tempfile.TemporaryDirectory(prefix="tapebook-journal-") as scratch:
        return {
            "benchmark": "journal",
            "machine": machine(),
            "feed": feed.describe(),
            "frames_per_second": rate,
            "seconds": seconds,
            "policies": {
                policy.name: _measure(feed, rate, seconds, policy, Path(scratch) / str(number))
                for number, policy in enumerate(POLICIES)
            },
            "recompressed": _recompressed(Path(scratch)),
        }


def _measure(feed: Feed, rate: float, seconds: float, policy: Policy, data: Path) -> dict[str, Any]:
    commits: list[Commit] = []
    delays = Delays()
    start_ns = time.time_ns()
    writer = JournalWriter(
        journal_directory(data, "linear"),
        SegmentInfo("linear", "linear", "gateway", "ws://127.0.0.1:1", "benchmark", start_ns, start_ns),
        next_sequence=0,
        options=JournalOptions(
            commit_bytes=policy.commit_kib << 10, fsync=policy.fsync, fsync_interval_s=1.0
        ),
        on_commit=commits.append,
        delays=delays,
    )
    began, began_cpu = time.monotonic(), time.process_time()
    done = 0
    committed = began
    total = round(rate * seconds)
    peak = 0
    while done < total:
        now = time.monotonic()
        receive_ns = time.time_ns()
        while done < min(total, (now - began) * rate):
            writer.append(receive_ns, 0, 0, feed.frames[done % len(feed.frames)])
            done += 1
        peak = max(peak, writer.backlog_bytes)
        if now - committed >= policy.commit_ms / 1000:
            writer.flush()
            committed = now
        time.sleep(TICK_S)
    writer.close()
    passed, cpu = time.monotonic() - began, time.process_time() - began_cpu
    size = segments(data)[0].size
    written = sum(not commit.synced for commit in commits)
    histogram = delays.histogram()
    return {
        "microseconds_per_frame": round(cpu / done * 1e6, 2),
        "processor_share": round(cpu / passed, 4),
        "commits_per_second": round(written / passed, 1),
        "fsyncs_per_second": round(sum(commit.synced for commit in commits) / passed, 1),
        "frames_per_commit": round(done / written, 1),
        "bytes_per_frame": round(size / done, 1),
        "to_the_system_ms": {"p50": _ms(histogram.quantile(0.5)), "p99": _ms(histogram.quantile(0.99))},
        "peak_backlog_bytes": peak,
    }


def _ms(ns: int | None) -> float | None:
    return None if ns is None else round(ns / 1e6, 3)


def _recompressed(scratch: Path) -> dict[str, Any]:
    """The journals of 10 ms commits, one for each level; they hold the same frames."""
    same = [
        number for number, policy in enumerate(POLICIES) if (policy.commit_ms, policy.commit_kib) == (10, 256)
    ]
    out: dict[str, Any] = {}
    for number, level in zip(same, LEVELS, strict=True):
        (found,) = segments(scratch / str(number))
        began = time.process_time()
        done = recompress(found, level=level)
        if done is None:
            continue
        cpu = time.process_time() - began
        began = time.process_time()
        with SegmentReader(found.path) as reader:
            for _ in reader:
                pass
        out[f"level {level}"] = {
            "bytes_per_frame": [
                round(done.bytes_before / done.records, 1),
                round(done.bytes_after / done.records, 1),
            ],
            "batches": [done.batches_before, done.batches_after],
            "microseconds_per_frame": round(cpu / done.records * 1e6, 2),
            "microseconds_per_frame_to_read": round((time.process_time() - began) / done.records * 1e6, 3),
        }
    return out
