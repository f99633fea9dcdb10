"""``python -m benchmarks transport``: processor time a frame costs from the socket to the journal and the books.

A sender in a process of its own writes so many frames at a time, paced so that each write wakes the reader once. The
reader is one of the clients over loopback, plain or with TLS, and hands what it reads to our own path:

* ``read``: the frames are counted and dropped: socket, event loop and WebSocket alone;
* ``journal``: each is appended to a real journal, whose thread writes to the disk;
* ``engine``: each is applied to its book, trades or ticker too, as a recording does (`recorder.capture`).

Processor time is that of the whole reading process, threads included.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from benchmarks.load_frames import Cycle, build_cycle
from benchmarks.timing import machine
from engine.core.feeds import Engine
from recorder.capture import Capture
from recorder.gateway.connection import text_message
from recorder.journal import JournalWriter, SegmentInfo, journal_directory
from recorder.transport import connect
from recorder.transports import connection_kind
from schemas.errors import ConfigError
from schemas.names import Category, Transport

__all__ = ["transport"]

PER_WAKE_UP: Final = (1, 10, 100)
STAGES: Final = ("read", "journal", "engine")
SYMBOLS: Final = 30
CYCLE_FRAMES: Final = 20_000
WAKE_UPS_PER_S: Final = 1_000
"""Slow enough that no two writes meet in the reader's buffer, on a machine that is otherwise quiet."""

OnFrames = Callable[[list[bytes], int], None]
Client = Callable[[str, OnFrames, ssl.SSLContext | None], Awaitable[None]]


# ---- the sending process ----


async def _serve(cycle: Cycle, per_wake_up: int, seconds: float, certificate: str | None) -> None:
    messages = [text_message(payload) for payload in cycle.payloads]
    chunks = [
        b"".join(messages[start : start + per_wake_up])
        for start in range(0, len(messages) - per_wake_up + 1, per_wake_up)
    ]
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    done = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.http11 import Request
        from websockets.server import ServerProtocol

        protocol = ServerProtocol()
        while protocol.state.name == "CONNECTING":
            protocol.receive_data(await reader.read(4096))
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
        writer.write(b"".join(protocol.data_to_send()))
        await asyncio.sleep(0.2)
        start_s = time.monotonic()
        for number in range(int(seconds * WAKE_UPS_PER_S)):
            delay_s = start_s + number / WAKE_UPS_PER_S - time.monotonic()
            await asyncio.sleep(max(0.0, delay_s))
            writer.write(chunks[number % len(chunks)])
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()
        done.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await done.wait()


# ---- the clients ----


async def _with_ours(
    transport: Transport, url: str, on_frames: OnFrames, context: ssl.SSLContext | None
) -> None:
    closed = asyncio.Event()
    kind = connection_kind(transport)
    await connect(url, on_frames=on_frames, on_closed=lambda _: closed.set(), ssl=context, kind=kind)
    await closed.wait()


async def _with_aiohttp(url: str, on_frames: OnFrames, context: ssl.SSLContext | None) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url, ssl=context or True, compress=0, max_msg_size=4 << 20, decode_text=False
        ) as socket,
    ):
        async for message in socket:
            on_frames([message.data], time.time_ns())


async def _with_picows_alone(url: str, on_frames: OnFrames, context: ssl.SSLContext | None) -> None:
    """picows' own client, sockets and all: what its parser behind our connection is held against."""
    picows: Any = importlib.import_module("picows")

    closed = asyncio.Event()

    class Listener(picows.WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.frames: list[bytes] = []

        def on_ws_frame(self, transport: Any, frame: Any) -> None:  # noqa: ARG002 - picows'
            if frame.msg_type != picows.WSMsgType.TEXT:
                return
            self.frames.append(frame.get_payload_as_bytes())
            if frame.last_in_buffer:
                frames, self.frames = self.frames, []
                on_frames(frames, time.time_ns())

        def on_ws_disconnected(self, transport: Any) -> None:  # noqa: ARG002 - picows'
            closed.set()

    await picows.ws_connect(Listener, url, ssl_context=context)
    await closed.wait()


CLIENTS: Final[dict[str, Client]] = {
    "websockets": functools.partial(_with_ours, Transport.WEBSOCKETS),
    "aiohttp": _with_aiohttp,
    "picows": functools.partial(_with_ours, Transport.PICOWS),
    "picows alone": _with_picows_alone,
}


# ---- the path behind them ----


class _Path:
    """Where frames go, up to a stage."""

    def __init__(self, stage: str, cycle: Cycle, directory: Path) -> None:
        self.frames = 0
        self.wake_ups = 0
        self._stage = stage
        self._journal: JournalWriter | None = None
        if stage == "read":
            return
        info = SegmentInfo("linear", "linear", "gateway", "ws://x", "benchmark", 1, 1)
        self._journal = JournalWriter(journal_directory(directory, "linear"), info, next_sequence=0)
        if stage == "engine":
            engine = Engine(Category.LINEAR)
            self._capture = Capture(engine, self._journal, run=1, on_event=lambda _: None)
            self._capture.begin(cycle.topics, [])

    def take(self, frames: list[bytes], receive_ns: int) -> None:
        """What a line does with a chunk."""
        self.frames += len(frames)
        self.wake_ups += 1
        if self._stage == "engine":
            self._capture.frame_list(0, frames, receive_ns)
        elif self._journal is not None:
            append = self._journal.append
            for frame in frames:
                append(receive_ns, 0, 0, frame)

    async def commits(self) -> None:
        """Hand group commits over, as the collector does."""
        while self._journal is not None:
            await asyncio.sleep(0.01)
            self._journal.commit_due()

    def close(self) -> None:
        """End the journal."""
        if self._journal is not None:
            self._journal.close()


async def _read(client: str, url: str, path: _Path, context: ssl.SSLContext | None) -> float:
    first_s: list[float] = []

    def take(frames: list[bytes], receive_ns: int) -> None:
        if not first_s:
            first_s.append(time.process_time())
        path.take(frames, receive_ns)

    commits = asyncio.create_task(path.commits())
    try:
        await CLIENTS[client](url, take, context)
    finally:
        commits.cancel()
    return time.process_time() - first_s[0]


def _measure_here(client: str, stage: str, url: str, cycle: Cycle, authority: str | None) -> dict[str, float]:
    context = None if authority is None else ssl.create_default_context(cafile=authority)
    with tempfile.TemporaryDirectory() as directory:
        path = _Path(stage, cycle, Path(directory))
        seconds = uvloop.run(_read(client, url, path, context))
        path.close()
    return {"us": seconds / path.frames * 1e6, "frames": path.frames, "wake_ups": path.wake_ups}


# ---- all of it ----


def transport(seconds: float, repetitions: int) -> dict[str, Any]:
    """Run the benchmark: every client, plain and with TLS, at each number of frames a wake-up, up to each stage.

    Args:
        seconds: of each measurement.
        repetitions: of each measurement; the least counts.
    """
    clients = [
        name for name in CLIENTS if not name.startswith("picows") or importlib.util.find_spec("picows")
    ]
    cycle = build_cycle(SYMBOLS, CYCLE_FRAMES)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tapebook-transport-")))
        cycle.store(scratch / "cycle")
        for tls in (False, True):
            if tls and not _certificates(scratch):
                continue
            for per_wake_up in PER_WAKE_UP:
                for stage in STAGES:
                    for client in clients:
                        runs = [
                            _measure(client, stage, per_wake_up, seconds, scratch, tls=tls)
                            for _ in range(repetitions)
                        ]
                        at = found.setdefault("tls" if tls else "plain", {}).setdefault(str(per_wake_up), {})
                        best = min(runs, key=lambda run: run["us"])
                        at.setdefault(stage, {})[client] = round(best["us"], 2)
                        at.setdefault("frames_per_wake_up", {})[client] = round(
                            best["frames"] / best["wake_ups"], 1
                        )
    return {
        "benchmark": "transport",
        "unit": "µs of processor time a frame",
        "mean_frame_bytes": round(cycle.mean_bytes, 1),
        "wake_ups_per_s": WAKE_UPS_PER_S,
        "seconds": seconds,
        "repetitions": repetitions,
        "clients": clients,
        "results": found,
        **machine(),
    }


def _certificates(scratch: Path) -> bool:
    try:
        import trustme
    except ImportError:
        return False
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(scratch / "authority.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(scratch / "server.pem")
    return True


def _measure(
    client: str, stage: str, per_wake_up: int, seconds: float, scratch: Path, *, tls: bool
) -> dict[str, float]:
    certificate = str(scratch / "server.pem") if tls else ""
    authority = str(scratch / "authority.pem") if tls else ""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    this = [sys.executable, "-m", "benchmarks.transport"]
    cycle = str(scratch / "cycle")
    with subprocess.Popen(
        [*this, "serve", cycle, str(per_wake_up), str(seconds), certificate],
        stdout=subprocess.PIPE,
        env=environment,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/v5/public/linear"
        try:
            done = subprocess.run(
                [*this, "read", cycle, client, stage, url, authority],
                capture_output=True,
                env=environment,
                check=False,
                timeout=60 + 5 * seconds,
            )
        finally:
            server.kill()
    if done.returncode:
        raise ConfigError(f"{client} could not read: {done.stderr.decode()[-1000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _main() -> None:
    role, path, *rest = sys.argv[1:]
    cycle = Cycle.read(Path(path))
    if role == "serve":
        per_wake_up, seconds, certificate = rest
        uvloop.run(_serve(cycle, int(per_wake_up), float(seconds), certificate or None))
    else:
        client, stage, url, authority = rest
        print(json.dumps(_measure_here(client, stage, url, cycle, authority or None)))


if __name__ == "__main__":
    _main()
