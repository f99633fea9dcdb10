"""``python -m benchmarks load``: how much one collector carries, and how late it is then.

One process offers frames built before at the times of a fixed schedule (`benchmarks.load_sender`), one real
``tapebook record`` records them, rolling beside it. The journal is then held against the schedule: every frame must be
there, byte for byte, and its lag is its receive stamp minus its *scheduled* time, so that a stall of either side counts
in full.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.load_frames import PREFIXES, Cycle, build_cycle, stamped, symbol_names
from benchmarks.processes import children, cpu_s, resident_bytes, thread_cpu_s
from benchmarks.timing import machine
from engine.core.feeds import Engine
from recorder.journal import JournalWriter, SegmentInfo, SegmentReader, journal_directory, segments
from schemas.errors import DataError
from schemas.names import Category, RecordKind
from schemas.notes import Subscribed, decode_session

__all__ = ["load"]

SYMBOLS: Final = 600
RATE: Final = 20_000.0
CYCLE_S: Final = 10.0
_PATIENCE_S: Final = 120.0
_ROLL_PATIENCE_S: Final = 1_800.0
"""After the end a niced roller still has thousands of small files to write and to sync."""


def load(
    rate: float, seconds: float, symbols: int, tick_ms: float, segment_seconds: float | None = None
) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        rate: frames a second offered.
        seconds: length of the schedule.
        symbols: each with a book, trades and a ticker.
        tick_ms: how often the sender writes what is due.
        segment_seconds: of the journal, so that rolling goes on meanwhile; five minutes or half the run when None.

    Raises:
        DataError: a process failed, or the journal holds what was never sent.
    """
    cycle = build_cycle(symbols, int(rate * min(CYCLE_S, seconds)))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapebook-load-")))
        cycle.store(scratch / "cycle")
        sender = _start(
            stack, scratch, "sender", "-m", "benchmarks.load_sender", scratch / "cycle", "--rate", rate,
            "--seconds", seconds, "--tick-ms", tick_ms,
        )  # fmt: skip
        endpoint = _await(sender, scratch / "sender.out", r"listening on (\S+)")
        config = scratch / "config.toml"
        config.write_text(
            _config(
                endpoint, scratch / "data", symbols, segment_seconds or min(300.0, max(seconds / 2, 20.0))
            )
        )
        collector = _start(stack, scratch, "collector", "-m", "recorder", "record", config)
        account, usage = _watch(sender, collector, scratch)
        collector.send_signal(signal.SIGTERM)  # before the sender goes: its end would be a gap of every feed
        ended_s = time.monotonic()
        code = collector.wait(_ROLL_PATIENCE_S)
        if code:
            raise DataError(
                f"the collector ended with {code}: {(scratch / 'collector.err').read_text()[-2000:]}"
            )
        roll_tail_s = time.monotonic() - ended_s
        found = _hold(scratch / "data", cycle, account, rate)
        status = json.loads((scratch / "data/journal/linear/status.json").read_text())
        journal_bytes = sum(file.path.stat().st_size for file in segments(scratch / "data"))
    frames = found["frames"]
    append_us, engine_us = _stages(cycle)
    loop_us = usage["loop_s"] / frames * 1e6
    return {
        "benchmark": "load",
        "symbols": symbols,
        "topics": len(cycle.topics),
        "connections": len(account["connections"]),
        "mean_frame_bytes": round(cycle.mean_bytes, 1),
        "offered_per_s": rate,
        "sent_per_s": round(account["sent"] / account["seconds"], 1),
        "recorded_per_s": round(frames / account["seconds"], 1),
        "seconds": round(account["seconds"], 2),
        "sent": account["sent"],
        "lost": account["sent"] - frames,
        "gaps": sum(feed["gaps"] for feed in status["feeds"]),
        "lag_ms": found["lag_ms"],
        "sender": {
            key: account[key] for key in ("late_ms", "late_max_ms", "most_unread_bytes", "cpu_us_per_frame")
        },
        "cpu_us_per_frame": {
            "event_loop": round(loop_us, 2),
            "event_loop_of_which": {
                "socket_and_transport": round(loop_us - append_us - engine_us, 2),
                "journal_append": round(append_us, 2),
                "engine": round(engine_us, 2),
            },
            "journal_thread": round((usage["process_s"] - usage["loop_s"]) / frames * 1e6, 2),
            "roll": round(usage["roll_s"] / frames * 1e6, 2),
        },
        "collector_lateness_ms": _lateness(status),
        "roll_tail_s": round(roll_tail_s, 1),
        "journal_bytes_per_frame": round(journal_bytes / max(frames, 1), 1),
        "resident_mib": usage["resident_mib"],
        **machine(),
    }


def _config(endpoint: str, data: Path, symbols: int, segment_seconds: float) -> str:
    return (
        # who carries what stays as it began, and there is nobody to ask over REST
        f'endpoint = "{endpoint}"\ndata = "{data}"\nsegment_seconds = {segment_seconds}\nrebalance = false\n'
        "audit_every = 0\nclock_every = 0\nrefresh_every = 0\nbackfill = false\n"
        f"symbols = {json.dumps(symbol_names(symbols))}\ntopics = {json.dumps(PREFIXES)}\n"
    )


def _lateness(status: dict[str, Any]) -> dict[str, Any]:
    """How long frames took from their receive stamp to the book and to the disk, as the collector tells it itself."""
    told = status.get("lateness", {})
    keys = ("count", "mean", "p50", "p99", "max")
    return {
        way: {key: value for key, value in told[way].items() if key.removesuffix("_ms") in keys}
        for way in ("applied", "journaled")
        if way in told
    }


def _stages(cycle: Cycle) -> tuple[float, float]:
    """Processor time in µs of two stages alone: appending to the journal, applying to the books."""
    count = cycle.count
    with tempfile.TemporaryDirectory(prefix="tapebook-stages-") as directory:
        info = SegmentInfo("linear", "linear", "gateway", "ws://x", "benchmark", 1, 1)
        journal = JournalWriter(journal_directory(Path(directory), "linear"), info, next_sequence=0)
        before_s = time.thread_time()
        for payload in cycle.payloads:
            journal.append(1, 0, 0, payload)
        append_s = time.thread_time() - before_s
        journal.close()
    engine = Engine(Category.LINEAR)
    for topic in cycle.topics:
        engine.add_feed(topic)
        engine.subscribed(topic, 1, 0)
    before_s = time.thread_time()
    for sequence, payload in enumerate(cycle.payloads):
        engine.apply(payload, 1, sequence)
        if engine.pending:
            engine.take_events()
    engine_s = time.thread_time() - before_s
    return append_s / count * 1e6, engine_s / count * 1e6


def _start(stack: ExitStack, scratch: Path, name: str, *arguments: object) -> subprocess.Popen[bytes]:
    out = stack.enter_context((scratch / f"{name}.out").open("wb"))
    err = stack.enter_context((scratch / f"{name}.err").open("wb"))
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=err,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _await(process: subprocess.Popen[bytes], out: Path, pattern: str) -> str:
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        found = re.search(pattern, out.read_text())
        if found is not None:
            return found[1]
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise DataError(
        f"{out.name}: waited for {pattern!r} in vain: {out.with_suffix('.err').read_text()[-2000:]}"
    )


def _watch(
    sender: subprocess.Popen[bytes], collector: subprocess.Popen[bytes], scratch: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Look at the collector once a second until the sender is done."""
    pid = collector.pid
    resident: dict[str, list[float]] = {"collector": [], "roll": []}
    before = (cpu_s(pid), thread_cpu_s(pid))
    rollers: dict[int, float] = {}
    out = scratch / "sender.out"
    while len(out.read_text().splitlines()) < 2:
        if sender.poll() is not None:
            raise DataError(f"the sender failed: {(scratch / 'sender.err').read_text()[-2000:]}")
        if collector.poll() is not None:
            raise DataError(f"the collector ended early: {(scratch / 'collector.err').read_text()[-2000:]}")
        time.sleep(1.0)
        resident["collector"].append(round(resident_bytes(pid) / (1 << 20), 1))
        for child in children(pid):
            rollers[child] = cpu_s(child)
            resident["roll"].append(round(resident_bytes(child) / (1 << 20), 1))
    time.sleep(0.5)
    usage = {
        "process_s": cpu_s(pid) - before[0],
        "loop_s": thread_cpu_s(pid) - before[1],
        "roll_s": sum(rollers.values()),
        "resident_mib": {name: _course(values) for name, values in resident.items()},
    }
    account: dict[str, Any] = json.loads(out.read_text().splitlines()[1])
    return account, usage


def _course(values: list[float]) -> dict[str, Any]:
    """Memory over time: first and last, the most, and up to twenty samples between."""
    step = max(1, len(values) // 20)
    return {"max": max(values, default=0.0), "samples": values[::step]}


def _hold(data: Path, cycle: Cycle, account: dict[str, Any], rate: float) -> dict[str, Any]:
    """Hold the journal against the schedule; returns frames found and their lags."""
    numbers: dict[int, _Progress] = {}
    lags: list[NDArray[np.float64]] = []
    frames = 0
    for file in sorted(segments(data), key=lambda file: file.start_ns):
        with SegmentReader(file.path) as reader:
            for batch in reader:
                table = batch.table
                kinds, lines = table.column("kind").to_numpy(), table.column("line").to_numpy()
                receive_ns = table.column("receive_ns").to_numpy()
                payloads = table.column("payload").to_pylist()
                for at in np.flatnonzero(kinds == RecordKind.SESSION):
                    event = decode_session(payloads[at])
                    if isinstance(event, Subscribed):
                        _subscribed(numbers, int(lines[at]), event.topics, cycle, account)
                for line in np.unique(lines[kinds == RecordKind.FRAME]):
                    places = np.flatnonzero((kinds == RecordKind.FRAME) & (lines == line))
                    scheduled = numbers[int(line)].take([payloads[place] for place in places])
                    due_ns = account["start_ns"] + scheduled / rate * 1e9
                    lags.append((receive_ns[places] - due_ns) / 1e6)
                    frames += len(places)
    lag_ms = np.concatenate(lags) if lags else np.zeros(1)
    quantiles = {f"p{name}": round(float(np.quantile(lag_ms, q)), 3) for name, q in _QUANTILES.items()}
    return {"frames": frames, "lag_ms": {**quantiles, "max": round(float(lag_ms.max()), 3)}}


_QUANTILES: Final = {"50": 0.5, "90": 0.9, "99": 0.99, "99.9": 0.999}


class _Progress:
    """What one line must have received so far: its part of the schedule, in order."""

    def __init__(self, cycle: Cycle, indices: NDArray[np.int64]) -> None:
        self._cycle = cycle
        self._indices = indices
        self._next = 0

    def take(self, payloads: Sequence[bytes]) -> NDArray[np.int64]:
        """Check the next frames of the line; returns their numbers in the schedule."""
        whole = np.arange(self._next, self._next + len(payloads))
        cycles, places = np.divmod(whole, len(self._indices))
        indices = self._indices[places]
        expected = self._cycle.payloads
        for payload, number, index in zip(payloads, cycles.tolist(), indices.tolist(), strict=True):
            if payload != expected[index] and payload != stamped(expected[index], number):
                raise DataError(f"frame {index} of cycle {number} is not what was sent: {payload[:200]!r}")
        self._next += len(payloads)
        return cycles * self._cycle.count + indices


def _subscribed(
    courses: dict[int, _Progress], line: int, topics: Sequence[str], cycle: Cycle, account: dict[str, Any]
) -> None:
    """Find out which of the sender's connections a line is."""
    if line in courses:
        return
    for connection in account["connections"]:
        if topics[0] in connection["topics"]:
            courses[line] = _Progress(cycle, cycle.part(connection["topics"]).indices)
            return
    raise DataError(f"no connection of the sender carried {topics[0]}")
