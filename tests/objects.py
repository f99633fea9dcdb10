"""A real server of the S3 protocol (moto's), a way to it that can be made to fail, and an archive to put there."""

from __future__ import annotations

import http.client
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from recorder.object_store import ObjectStore
from recorder.roll import roll_data, roll_lock
from tests.recorder.recordings import record_day


def roll(data: Path) -> None:
    """Roll a data directory as the command does, under its lock."""
    with roll_lock(data, wait=False):
        roll_data(data)


@pytest.fixture(scope="module")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day's recording, rolled; not to be written to."""
    data = tmp_path_factory.mktemp("rolled") / "data"
    record_day(data)
    roll(data)
    return data


@pytest.fixture
def data(rolled: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(rolled, tmp_path / "data"))


def store_environment(url: str) -> dict[str, str | None]:
    """Variables by which a process finds a store and its credentials; None: those that must not be set."""
    foreign = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3")
    return dict.fromkeys(foreign) | {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "knows",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": url,
    }


HAS_MOTO = all(importlib.util.find_spec(name) for name in ("moto", "flask"))


@contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server; gives its address."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = b""
        for line in process.stderr:
            said += line
            if found := re.search(rb"Running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise RuntimeError(f"moto's server did not start: {said.decode()}")
        drain = threading.Thread(target=_drain, args=(process.stderr,), daemon=True)
        drain.start()
        try:
            yield found[1].decode()
        finally:
            process.terminate()
            process.wait()
            drain.join()


def _drain(file: IO[bytes]) -> None:
    while file.read(1 << 16):
        pass


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Start the server; gives its address. Tests are skipped where moto is not installed."""
    if not HAS_MOTO:
        pytest.skip("moto's server is not installed (pip install 'tapebook[test]')")
    with moto_server() as url:
        yield url


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a bucket of this test's own; the environment says where it is."""
    from pyarrow import fs

    for name, value in store_environment(s3_server).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4().hex}"
    fs.S3FileSystem(endpoint_override=s3_server, region="us-east-1", allow_bucket_creation=True).create_dir(
        name
    )
    return name


def keys_of(store: ObjectStore) -> set[str]:
    """The objects below a prefix, without the empty ones that stand for directories."""
    from pyarrow import fs

    root = f"{store.bucket}/{store.prefix}"
    found = store._files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    return {info.path.removeprefix(f"{root}/") for info in found if info.type is fs.FileType.File}


HOP = ("connection", "content-length", "expect", "transfer-encoding")
"""Headers that are about one connection."""


class BadWay:
    """A proxy before the server. ``fault(method, key)`` says of each request what becomes of it.

    ``""`` passes; ``"503"`` is answered so, and nothing happens; ``"cut"`` ends the connection before the server hears
    of it, ``"lost"`` after it has done what was asked.
    """

    def __init__(self, server: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.faults = 0
        self._lock = threading.Lock()
        way = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return body

            def _do(self) -> None:
                body = self._body()
                with way._lock:
                    way.requests.append((self.command, self.path))
                    fault = way.fault(self.command, self.path)
                    way.faults += bool(fault)
                if fault == "503":
                    self.send_response(503)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                if fault == "cut":
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP}
                connection.request(
                    self.command, self.path, body, headers | {"Content-Length": str(len(body))}
                )
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if fault == "lost":
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _do  # noqa: N815

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, method: str, key: str) -> str:
        """Say what becomes of a request; tests replace this."""
        return ""

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def bad_way(s3_server: str) -> Iterator[BadWay]:
    """Put a proxy before the server."""
    way = BadWay(s3_server)
    yield way
    way.close()
