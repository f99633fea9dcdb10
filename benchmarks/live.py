"""Live books: what publishing costs the writer, what a look costs a reader, and how long a change takes from one to the
other; beside Redis pub/sub and ZeroMQ, where they are installed."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from benchmarks.feed import Batch, Feed, batches
from benchmarks.instructions import CORE, HERE, run_command, tool
from benchmarks.live_instructions import instructions
from benchmarks.live_peers import PEERS, missing, publisher
from benchmarks.timing import Contender, machine, time_all
from engine.core.feeds import Engine
from recorder.live_books import open_book
from recorder.live_publisher import LivePublisher
from schemas.config import RecordConfig
from schemas.errors import ConfigError, DataError

__all__ = ["latency_figures", "live"]

UPDATES_A_SECOND: Final = 2_000
LOOKS: Final = 1_000_000
SPINNING_NS: Final = 20_000
"""A reader whose last look is older than that had no processor meanwhile."""
FLAGS: Final = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function")


class Applied(Contender):
    """Frames applied to an engine, with or without readers' memory behind it.

    Args:
        name: of the contender.
        feed: frames of order books.
        data: a data directory to publish from, or None to publish nothing.
        tape: whether there is a tape.
    """

    def __init__(self, name: str, feed: Feed, data: Path | None, *, tape: bool = False) -> None:
        self.name = name
        self._feed = feed
        self._batches: list[Batch] = list(batches(feed))
        self._data = data
        self._tape = tape
        self._engine = feed.engine()
        self._publisher: LivePublisher | None = None

    def prepare(self) -> None:
        """An engine without books; the one before lets its memory go."""
        self.close()
        self._engine = self._feed.engine()
        if self._data is not None:
            config = RecordConfig(data=str(self._data), name=self.name, tape_mib=8.0 if self._tape else 0.0)
            self._publisher = LivePublisher(config, self._engine, "gateway")
            self._publisher.begin()
            _must_publish(self._publisher)

    def run(self) -> None:
        """Apply every frame."""
        for batch in self._batches:
            self._engine.apply_batch(*batch)

    def close(self) -> None:
        """Let the memory go."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None


def live(feed: Feed, seconds: float, repetitions: int) -> dict[str, Any]:
    """Measure all of it.

    Args:
        feed: frames of one order-book topic, of any symbols.
        seconds: of each measurement of latency.
        repetitions: of the writer's passes.

    Raises:
        ConfigError: a compiler is missing, or there is no shared memory.
        DataError: building or running a reader failed.
    """
    with TemporaryDirectory(prefix="tapebook-benchmark-") as scratch:
        directory = Path(scratch)
        data = directory / "data"
        (data / "journal").mkdir(parents=True)
        reader = directory / "live_reader"
        run_command(
            [tool("cc"), *FLAGS, f"-I{CORE}", str(HERE / "live_reader.c"), "-o", str(reader)],
            "compiling the reader",
        )
        result: dict[str, Any] = {"benchmark": "live", **feed.describe()}
        result["writer"] = _writer(feed, data, reader, repetitions)
        result["writer"] |= instructions(feed, directory, reader)
        result["reader"] = _reader(feed, data, reader)
        result["latency"], result["peers_missing"] = _latency(feed, data, directory, reader, seconds)
    return result | machine(["tapebook", "redis", "pyzmq"])


# ---- the writer ----


def _writer(feed: Feed, data: Path, reader: Path, repetitions: int) -> dict[str, Any]:
    contenders = [
        Applied("nobody", feed, None),
        Applied("books", feed, data),
        Applied("books_and_tape", feed, data, tape=True),
    ]
    try:
        for contender in contenders:
            contender.prepare()
            contender.run()
        times = time_all(contenders, repetitions, len(feed.frames))
        alone = times.figures()
        contended = Applied("contended", feed, data, tape=True)
        contenders.append(contended)
        spun: list[float] = []
        for _ in range(repetitions):
            contended.prepare()
            with _background([str(reader), "spin", str(data / "live" / contended.name), feed.topics[-1]]):
                start = time.process_time_ns()
                contended.run()
                spun.append((time.process_time_ns() - start) / len(feed.frames))
    finally:
        for contender in contenders:
            contender.close()
    base = alone["nobody"]
    return {
        "unit": "ns of processor time per frame, frames applied in batches",
        "figures": alone,
        "books_cost": _more(alone["books"], base),
        "books_and_tape_cost": _more(alone["books_and_tape"], base),
        "books_and_tape_cost_beside_a_spinning_reader": _more(
            {"min_ns": min(spun), "median_ns": statistics.median(spun)}, base
        ),
        "wall_to_processor_time": times.wall_ratio,
    }


def _more(figures: dict[str, float], base: dict[str, float]) -> dict[str, float]:
    return {name: round(figures[name] - base[name], 1) for name in base}


# ---- the reader ----


def _reader(feed: Feed, data: Path, program: Path) -> dict[str, Any]:
    applied = Applied("reader", feed, data)
    applied.prepare()
    applied.run()
    try:
        assert applied._publisher is not None
        applied._publisher.tick()
        topic = feed.topics[-1]
        with _beating(applied._publisher):
            in_c = json.loads(
                run_command(
                    [str(program), "cost", str(data / "live" / "reader"), topic, str(LOOKS)], "reading"
                )
            )
            book = open_book(data, topic.rsplit(".", 1)[1], topic=topic, collector="reader")
            if book.best() is None:
                raise DataError(f"{topic}: found nothing to be believed, expected a live book")
            in_python = {
                "best_ns": _least(book.best, 200_000),
                "update_id_ns": _least(book.update_id, 200_000),
                "state_ns": _least(book.state, 200_000),
                "read_ns": _least(book.read, 20_000),
            }
    finally:
        applied.close()
    in_c.pop("sum")
    return {"unit": "ns a look, least of 7", "c": in_c, "python": in_python}


def _least(call: Any, number: int) -> float:
    return round(min(timeit.repeat(call, number=number, repeat=7)) / number * 1e9, 1)


@contextmanager
def _beating(publisher: LivePublisher) -> Iterator[None]:
    """The heart beats on, in a thread."""
    import threading

    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(0.1):
            publisher.tick()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# ---- from one to the other ----


def _latency(
    feed: Feed, data: Path, directory: Path, reader: Path, seconds: float
) -> tuple[dict[str, Any], dict[str, str]]:
    topic = feed.topics[-1]
    frames = [frame for frame in feed.frames if f'"{topic}"'.encode() in frame][
        : int(seconds * UPDATES_A_SECOND)
    ]
    out = directory / "seen"
    result: dict[str, Any] = {
        "updates": len(frames),
        "updates_a_second": UPDATES_A_SECOND,
        "unit": "microseconds; seen: from the frame in hand, visible: from the moment of publishing",
    }
    for language, command in (
        ("c", [str(reader), "follow", str(data / "live" / "latency"), topic, str(len(frames)), str(out)]),
        (
            "python",
            [sys.executable, "-m", "benchmarks.live_follow", str(data), topic, str(len(frames)), str(out)],
        ),
    ):
        result[f"tapebook_{language}_reader"] = _tapebook(frames, topic, data, command, out)
    left_out = {}
    for name, package in PEERS.items():
        why = missing(name)
        if why:
            left_out[package] = why
            continue
        result[package] = _peer(name, len(frames), directory, out)
    return result, left_out


def _tapebook(frames: list[bytes], topic: str, data: Path, command: list[str], out: Path) -> dict[str, Any]:
    engine = Engine("linear")
    engine.add_feed(topic)
    engine.apply(frames[0], 1, 1)
    live_books = LivePublisher(RecordConfig(data=str(data), name="latency"), engine, "gateway")
    live_books.begin()
    _must_publish(live_books)
    sent: dict[int, int] = {}
    out.unlink(missing_ok=True)
    try:
        with _background(command) as process, _apart(process):
            beat = 0
            for number, due_ns in _schedule(len(frames) - 1):
                frame = frames[number + 1]
                if due_ns - beat > 100_000_000:
                    live_books.tick()
                    engine.take_events()
                    beat = due_ns
                _wait_until(due_ns)
                start = time.monotonic_ns()
                engine.apply(frame, start, number + 2)
                sent[engine.update_id(0) or 0] = start
            time.sleep(0.05)
            live_books.close()
            process.wait(30)
    finally:
        live_books.close()
    seen = np.fromfile(out, np.int64).reshape(-1, 4)
    known: list[tuple[int, int]] = [
        (row[1] - sent[row[0]], row[1] - row[2]) for row in seen.tolist() if row[0] in sent
    ]
    if not known:
        raise DataError("the reader has seen no update")
    figures: dict[str, Any] = {
        "of_updates": round(len(known) / len(sent), 4),
        "seen": latency_figures([pair[0] for pair in known]),
    }
    if seen[0, 2] >= 0:
        figures["visible"] = latency_figures([pair[1] for pair in known])
        running = [row[1] - row[2] for row in seen.tolist() if row[0] in sent and row[3] <= SPINNING_NS]
        if running:
            figures["visible_while_spinning"] = {
                "share": round(len(running) / len(known), 4),
                **latency_figures(running),
            }
    return figures


def _peer(name: str, count: int, directory: Path, out: Path) -> dict[str, Any]:
    """The same book of fifty levels a side as bytes, its number before it."""
    book = np.arange(200, dtype=np.int64).tobytes()
    out.unlink(missing_ok=True)
    sent = [0] * (count + 1)
    with publisher(name, directory) as (address, send):
        command = [sys.executable, "-m", "benchmarks.live_peers", name, address, str(count - 1), str(out)]
        with _background(command) as process, _apart(process):
            for _ in range(20):  # until the subscription has arrived
                send(bytes(8))
                time.sleep(0.01)
            for number, due_ns in _schedule(count - 1):
                _wait_until(due_ns)
                sent[number + 1] = time.monotonic_ns()
                send((number + 1).to_bytes(8, "little") + book)
            process.wait(60)
    seen = np.fromfile(out, np.int64).reshape(-1, 2)
    return {
        "of_updates": round(len(seen) / (count - 1), 4),
        "seen": latency_figures([at - sent[n] for n, at in seen.tolist()]),
    }


def _schedule(count: int) -> Iterator[tuple[int, int]]:
    start = time.monotonic_ns() + 50_000_000
    step = 1_000_000_000 // UPDATES_A_SECOND
    for number in range(count):
        yield number, start + number * step


def _wait_until(due_ns: int) -> None:
    while time.monotonic_ns() < due_ns:
        pass


def latency_figures(ns: list[int]) -> dict[str, float]:
    """Quantiles in microseconds."""
    ordered = sorted(ns)
    return {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000, 3)
        for name, share in (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


@contextmanager
def _background(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A reader that has said that it is ready; ended in any case."""
    process = subprocess.Popen(
        command,
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise DataError(f"{command[0]} ended with {process.wait()} before it was ready")
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def _apart(reader: subprocess.Popen[str]) -> Iterator[None]:
    """This process and a reader on a processor each, where there are two and the system lets one choose."""
    if not hasattr(os, "sched_setaffinity") or len(ours := os.sched_getaffinity(0)) < 2:
        yield
        return
    first, second, *_ = sorted(ours)
    try:
        os.sched_setaffinity(0, {first})
        os.sched_setaffinity(reader.pid, {second})
        yield
    finally:
        os.sched_setaffinity(0, ours)


def _must_publish(live_books: LivePublisher) -> None:
    status = live_books.status()
    if status is None or status["trouble"]:
        raise ConfigError(
            f"live books: {(status or {}).get('trouble')}; expected shared memory to measure with"
        )
