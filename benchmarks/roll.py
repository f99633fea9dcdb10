"""What rolling a frame costs on one core: read, check, decode, encode, compress; and how much memory it takes.

The frames are repeated until the segment is as long as asked for, as a recording that starts over would hold them.
Syncing is not counted, but told apart: what it costs is the disk's affair.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.contenders import Orjson
from benchmarks.feed import Feed, feed_of
from benchmarks.load_frames import build_cycle
from benchmarks.processes import peak_bytes
from benchmarks.replay import Segment
from benchmarks.timing import machine
from recorder.arrow_memory import keep_pages
from recorder.journal import SegmentReader
from recorder.roll import Rolled, replay_segment, roll_fully
from schemas.errors import DataError
from schemas.manifest import ManifestFile

__all__ = ["roll", "simulated"]

NS_PER_FRAME = 50_000
"""Between two simulated frames: 20,000 a second."""
SIMULATED_FRAMES = 300_000
STAGE_PASSES = 3


def simulated(symbols: int, frames: int | None) -> Feed:
    """Frames of so many symbols of the simulated market (default: 300,000)."""
    cycle = build_cycle(symbols, frames or SIMULATED_FRAMES)
    start_ns = 1_760_000_000_000_000_000
    return feed_of(
        f"simulated, {symbols} symbols",
        ((start_ns + NS_PER_FRAME * number, payload) for number, payload in enumerate(cycle.payloads)),
    )


class _Syncs:
    """What ``os.fsync`` took while it was watched: processor and wall time, ns, and how often."""

    def __init__(self) -> None:
        self.processor_ns = self.wall_ns = self.count = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count every fsync until it ends."""
        fsync = os.fsync

        def timed(fd: Any) -> None:
            wall, processor = time.perf_counter_ns(), time.process_time_ns()
            fsync(fd)
            self.processor_ns += time.process_time_ns() - processor
            self.wall_ns += time.perf_counter_ns() - wall
            self.count += 1

        os.fsync = timed
        try:
            yield
        finally:
            os.fsync = fsync


def roll(feed: Feed, seconds: float, segment_mib: float) -> dict[str, Any]:
    """Roll a segment of these frames until ``seconds`` of processor time are gone, beside orjson.loads of the frames.

    Raises:
        DataError: a roll doesn't hold what the segment does, so that its time would mean nothing.
    """
    # one core: Arrow's own threads are not what is measured
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    keep_pages()
    payload_bytes = sum(map(len, feed.frames))
    repeats = max(1, round(segment_mib * 2**20 / payload_bytes))
    frames = len(feed.frames) * repeats
    syncs = _Syncs()
    rolls: list[float] = []
    bases: list[float] = []
    wall_ns = processor_ns = 0
    base = Orjson(feed)
    with Segment(feed, repeats) as segment:
        out = segment.data / "out"
        rolled = _roll_once(segment, out, frames)
        size = sum(entry.bytes for entry in rolled.entries if isinstance(entry, ManifestFile))
        while processor_ns < seconds * 1e9 or len(rolls) < STAGE_PASSES:
            for contender in (0, 1) if len(rolls) % 2 else (1, 0):
                if contender == 0:
                    bases.append(_processor_ns(base.run) / len(feed.frames))
                    continue
                before = (syncs.processor_ns, syncs.wall_ns)
                start_wall_ns = time.perf_counter_ns()
                with syncs.watched():
                    took_ns = _processor_ns(lambda: _roll_once(segment, out, frames))
                wall_ns += time.perf_counter_ns() - start_wall_ns - (syncs.wall_ns - before[1])
                took_ns -= syncs.processor_ns - before[0]
                processor_ns += took_ns
                rolls.append(took_ns / frames)
        stages = _stages(segment, frames, min(rolls))
        journal_bytes = segment.path.stat().st_size
        resident = _resident_mib(segment)
    ratios = [mine / theirs for mine, theirs in zip(rolls, bases, strict=True)]
    return {
        "benchmark": "roll",
        "unit": "ns per frame",
        **feed.describe(),
        "repeats": repeats,
        "segment_mib": round(journal_bytes / 2**20, 1),
        "archive_bytes_per_frame": round(size / frames, 1),
        "files": sum(isinstance(entry, ManifestFile) for entry in rolled.entries),
        "rolls": len(rolls),
        "figures": {
            "roll": {"min_ns": round(min(rolls), 1), "median_ns": round(statistics.median(rolls), 1)},
            "orjson": {"min_ns": round(min(bases), 1), "median_ns": round(statistics.median(bases), 1)},
        },
        "ratio_to_orjson": {
            "min": round(min(rolls) / min(bases), 3),
            "median": round(statistics.median(ratios), 3),
        },
        "stages_ns": stages,
        "fsync": {
            "per_roll": round(syncs.count / len(rolls), 1),
            "processor_ms_per_roll": round(syncs.processor_ns / len(rolls) / 1e6, 1),
            "wall_ms_per_roll": round(syncs.wall_ns / len(rolls) / 1e6, 1),
        },
        "wall_to_processor_time": round(wall_ns / processor_ns, 3),
        "resident_mib": resident,
        **machine(["tapebook", "orjson", "numpy", "pyarrow"]),
    }


def _processor_ns(work: Callable[[], object]) -> int:
    before = time.process_time_ns()
    work()
    return time.process_time_ns() - before


def _roll_once(segment: Segment, out: Path, frames: int) -> Rolled:
    """Roll over what was rolled before, and make sure that it was all."""
    rolled = roll_fully(segment.path, out, as_recorded=True)
    found = getattr(rolled.entries[-1], "frames", None)
    if found != frames or rolled.mismatches:
        raise DataError(
            f"found {found} frames and {len(rolled.mismatches)} live digests that the roll did not arrive at, "
            f"expected {frames} and none"
        )
    return rolled


def _stages(segment: Segment, frames: int, whole_ns: float) -> dict[str, float]:
    """ns a frame of each part, as differences between what is done up to it."""

    def read() -> None:
        with SegmentReader(segment.path) as reader:
            for _ in reader:
                pass

    def best(work: Callable[[], object]) -> float:
        return min(_processor_ns(work) for _ in range(STAGE_PASSES)) / frames

    reading = best(read)
    replaying = best(lambda: replay_segment(segment.path, lambda _: None))
    return {
        "read_and_check": round(reading, 1),
        "decode_apply_and_tables": round(replaying - reading, 1),
        "parquet_and_hash": round(whole_ns - replaying, 1),
    }


def _resident_mib(segment: Segment) -> float:
    """The most memory that ``tapebook roll`` of the segment had resident."""
    command = [sys.executable, "-m", "recorder", "roll", "--data", str(segment.data)]
    return round(peak_bytes(command) / 2**20, 1)
