"""The peers of ``benchmarks live``: their publisher, and their subscriber, which is a process of its own.

    python -m benchmarks.live_peers NAME ADDRESS COUNT OUT

The subscriber receives what the benchmark publishes and writes, for each message, its number and when it came, ns of
the monotonic clock. A message is its number, 8 bytes, and the levels of a book behind it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PEERS", "missing", "publisher", "receive"]

PEERS = {"redis": "redis", "zmq": "pyzmq"}
"""Import name and name on the package index of each."""
CHANNEL = "book"


def missing(name: str) -> str:
    """Why a peer can't be measured, or an empty text."""
    try:
        __import__(name)
    except ImportError:
        return "not installed"
    if name == "redis" and shutil.which("redis-server") is None:
        return "redis-server is not installed (apt-get install redis-server)"
    return ""


@contextmanager
def publisher(name: str, directory: Path) -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """A peer's publishing side: its address, and what sends a message."""
    if name == "zmq":
        import zmq

        context = zmq.Context()
        socket: Any = context.socket(zmq.PUB)
        address = f"ipc://{directory / 'zmq'}"
        socket.set_hwm(0)
        socket.bind(address)
        try:
            yield address, socket.send
        finally:
            socket.close(linger=0)
            context.term()
        return
    import redis

    path = directory / "redis.sock"
    server = subprocess.Popen(
        [
            "redis-server",
            "--port",
            "0",
            "--unixsocket",
            str(path),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(directory),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = redis.Redis(unix_socket_path=str(path))
        for _ in range(500):
            try:
                client.ping()
                break
            except redis.exceptions.ConnectionError:
                time.sleep(0.02)
        yield str(path), lambda message: client.publish(CHANNEL, message)
        client.close()
    finally:
        server.terminate()
        server.wait()


def receive(name: str, address: str, count: int, out: Path) -> None:
    """Receive so many messages."""
    seen = np.zeros((count, 2), np.int64)
    take: Callable[[], Any]
    if name == "zmq":
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.SUB)
        socket.set_hwm(0)
        socket.connect(address)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        take = socket.recv
    else:
        import redis

        client: Any = redis.Redis(unix_socket_path=address)
        subscription = client.pubsub()
        subscription.subscribe(CHANNEL)
        subscription.parse_response(block=True)

        def take() -> Any:
            return subscription.parse_response(block=True)[2]

    print("ready", flush=True)
    at = 0
    while at < count:
        message = take()
        now_ns = time.monotonic_ns()
        number = int.from_bytes(message[:8], "little")
        if number == 0:  # only to see whether anybody listens
            continue
        seen[at] = number, now_ns
        at += 1
    seen.tofile(out)


if __name__ == "__main__":
    receive(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
