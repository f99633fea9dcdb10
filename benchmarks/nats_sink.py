"""The sink to NATS: how fast it sends a journal that is there, and how long a frame takes from commit to listener.

Server and sink are processes of their own; the subscriber is this one.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.feed import Feed
from benchmarks.processes import cpu_s
from benchmarks.timing import machine
from recorder.journal import Commit, JournalOptions, JournalWriter, SegmentInfo, journal_directory
from schemas.errors import ConfigError
from schemas.notes import Begin, Feeds, encode

__all__ = ["nats_sink"]

MODES: Final = {"listeners": [], "a stream": ["--jetstream"]}
COMMIT_S: Final = 0.01
BACKLOG: Final = 200_000
PATIENCE_S: Final = 120.0


def nats_sink(feed: Feed, rate: float, seconds: float, backlog: int = BACKLOG) -> dict[str, Any]:
    """Measure both.

    Args:
        feed: frames to send, again from the start when they are over.
        rate: frames a second where they come one by one.
        seconds: of that.
        backlog: frames where they are there beforehand.

    Raises:
        ConfigError: nats-server or its client is not installed.
    """
    if shutil.which("nats-server") is None:
        raise ConfigError("nats-server is not installed (apt-get install nats-server)")
    try:
        import nats
    except ImportError as error:
        raise ConfigError("nats-py is not installed (pip install 'tapebook[nats]')") from error
    del nats
    out: dict[str, Any] = {
        "benchmark": "nats",
        "machine": machine(["nats-py"]),
        "feed": feed.describe(),
        "frames_per_second": rate,
    }
    for name, options in MODES.items():
        with tempfile.TemporaryDirectory(prefix="tapebook-nats-") as scratch, _server(Path(scratch)) as url:
            journal = _Journal(Path(scratch) / "there", feed)
            journal.write(backlog)
            journal.close()
            there = _backlog(journal, url, options)
            live = asyncio.run(_live(Path(scratch) / "live", feed, url, options, rate, seconds))
            out[name] = {"backlog": there, "live": live}
    return out


class _Journal:
    """A collector's journal, written as a collector writes it."""

    def __init__(self, data: Path, feed: Feed) -> None:
        self.data = data
        self.frames = 0
        self.committed: list[tuple[int, int]] = []  # last sequence, when its write had returned
        start_ns = time.time_ns()
        self._feed = feed
        self._writer = JournalWriter(
            journal_directory(data, "linear"),
            SegmentInfo("linear", "linear", "gateway", "ws://127.0.0.1:1", "benchmark", start_ns, start_ns),
            next_sequence=0,
            options=JournalOptions(),
            on_commit=self._note,
        )
        for note in (Begin(run=start_ns, continued=False), Feeds(topics=list(feed.topics))):
            self._writer.append(start_ns, 0, 3, encode(note))

    def _note(self, commit: Commit) -> None:
        if not commit.synced:
            self.committed.append((commit.last_sequence, time.time_ns()))

    def write(self, count: int) -> None:
        """Append frames, as many as there are."""
        for _ in range(count):
            self._writer.append(time.time_ns(), 0, 0, self._feed.frames[self.frames % len(self._feed.frames)])
            self.frames += 1
        self._writer.flush()

    def write_at(self, rate: float, seconds: float) -> None:
        """Append frames at a rate, a group commit each 10 ms."""
        began, total, done = time.monotonic(), round(rate * seconds), 0
        while done < total:
            due = min(total, round((time.monotonic() - began) * rate))
            self.write(due - done)
            done = due
            time.sleep(COMMIT_S)

    def close(self) -> None:
        self._writer.close()


def _backlog(journal: _Journal, url: str, options: list[str]) -> dict[str, Any]:
    """A sink that finds everything there; what it takes to start is taken away."""
    none = journal.data.parent / "none"
    none.mkdir()
    empty, empty_cpu = _seconds(none, url, options)
    passed, cpu = _seconds(journal.data, url, options)
    return {
        "messages": journal.frames,
        "messages_per_second": round(journal.frames / max(passed - empty, 1e-3)),
        "sink_microseconds_per_message": round((cpu - empty_cpu) / journal.frames * 1e6, 1),
    }


def _seconds(data: Path, url: str, options: list[str]) -> tuple[float, float]:
    """How long a sink is at work, and the processor time it takes."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*_command(data, url, options), "--once"], check=True, capture_output=True, timeout=PATIENCE_S * 5
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def _command(data: Path, url: str, options: list[str]) -> list[str]:
    return [
        sys.executable, "-m", "recorder", "nats", "--data", str(data), "--server", url, "--from", "oldest",
        "--prefix", data.name, *options,
    ]  # fmt: skip


def _sink(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def _live(
    data: Path, feed: Feed, url: str, options: list[str], rate: float, seconds: float
) -> dict[str, Any]:
    import nats

    client = await nats.connect(url)
    heard: list[tuple[int, int]] = []

    async def hear(message: Any) -> None:
        heard.append((int(message.headers["Tapebook-Sequence"]), time.time_ns()))

    await client.subscribe(f"{data.name}.linear.frame.>", cb=hear, pending_bytes_limit=1 << 30)
    await client.flush()
    journal = _Journal(data, feed)
    with _sink(_command(data, url, options)) as sink:
        try:
            await asyncio.to_thread(journal.write, 1)
            await _until(lambda: len(heard) > 0)
            before, began = cpu_s(sink.pid), time.monotonic()
            writing = threading.Thread(target=journal.write_at, args=(rate, seconds))
            writing.start()
            await asyncio.to_thread(writing.join)
            await _until(lambda: len(heard) >= journal.frames)
            cpu, passed = cpu_s(sink.pid) - before, time.monotonic() - began
        finally:
            sink.send_signal(signal.SIGINT)
    await client.close()
    journal.close()
    delays = sorted(_delays(journal.committed, heard[1:]))
    return {
        "messages": len(heard),
        "in_order_and_once": [sequence for sequence, _ in heard] == list(range(2, 2 + len(heard))),
        "commit_to_listener_ms": {
            name: round(delays[min(int(len(delays) * share), len(delays) - 1)] / 1e6, 2)
            for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "sink_processor_share": round(cpu / passed, 3),
        "sink_microseconds_per_message": round(cpu / len(heard) * 1e6, 1),
    }


def _delays(committed: list[tuple[int, int]], heard: list[tuple[int, int]]) -> Iterator[int]:
    """From the return of each record's commit to its arrival."""
    number = 0
    for sequence, heard_ns in heard:
        while committed[number][0] < sequence:
            number += 1
        yield heard_ns - committed[number][1]


async def _until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise ConfigError(f"nothing was heard for {PATIENCE_S:g} s")
        await asyncio.sleep(0.001)


@contextmanager
def _server(scratch: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(scratch / "streams")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + PATIENCE_S
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                if time.monotonic() > end:
                    raise ConfigError("nats-server does not listen")
                time.sleep(0.01)
            yield f"nats://127.0.0.1:{port}"
        finally:
            server.kill()
