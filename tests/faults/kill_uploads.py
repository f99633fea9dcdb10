"""Uploads that are killed, and how what lies in the object store is judged: at every moment, and at the end.

The store is a server of its own, so nothing there ends with the process: a request that was sent whole is done, and one
that was cut is not. Each point has a prefix of its own.
"""

from __future__ import annotations

import os
import random
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from recorder.archive import open_archive
from recorder.cli import main
from recorder.manifest import read_manifest
from recorder.object_store import ObjectStore
from recorder.verify_stored import verify_stored
from tests.objects import keys_of, moto_server, store_environment

__all__ = [
    "judge_store",
    "judge_store_moment",
    "large_frames",
    "object_store",
    "store_port",
    "upload",
    "uploaded_and_compacted",
]

BUCKET: Final = "kills"
LARGE_FRAMES: Final = 12
"""Frames of a mebibyte that nothing compresses: their file goes up in parts."""


@contextmanager
def object_store() -> Iterator[None]:
    """Run a server with a bucket; the environment says where it is."""
    with moto_server() as url:
        for name, value in store_environment(url).items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        # no client of Arrow's in this process: its threads would not be there in the forks
        urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=60).close()
        yield


def store_port() -> int:
    """Where the server listens; 0: there is none."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).port or 0


def large_frames() -> list[bytes]:
    """Bytes that no frame has, so that they are kept as they are."""
    chance = random.Random(7)
    return [chance.randbytes(1 << 20) for _ in range(LARGE_FRAMES)]


def upload(*options: object, compacted: bool = False) -> Callable[[Path, int, int], int | None]:
    """Return the command; ``compacted``: from the second run on the archive was compacted before."""

    def run(data: Path, _witness: int, number: int) -> int | None:
        if compacted and number:
            _ended_well("compact", "--data", data, "--grace", 0)
        main([str(word) for word in ("upload", "--data", data, "--to", _url(data), *options)])
        return None

    return run


def uploaded_and_compacted(data: Path) -> None:
    """Publish the archive as it is, and compact it then."""
    _ended_well("upload", "--data", data, "--to", _url(data))
    _ended_well("compact", "--data", data, "--grace", 0)


def judge_store_moment(data: Path) -> list[str]:
    """What is wrong in the store right after a kill: what is published names objects that are there and whole."""
    store = ObjectStore(_url(data))
    wrong = []
    for path in sorted((data / "archive" / "manifest").glob("*.jsonl")):
        published = store.read(f"manifest/{path.name}")
        if published is not None and not (
            path.read_bytes().startswith(published) and published.endswith(b"\n")
        ):
            wrong.append(f"manifest/{path.name}: is none that this archive ever had")
    if store.names("manifest", ".jsonl"):
        wrong += [f"in the store: {failure}" for failure in verify_stored(_url(data)).failures]
    return wrong


def judge_store(data: Path) -> list[str]:
    """What is wrong in the store at the end: it has the archive, all of it and nothing else, and its rows once."""
    store = ObjectStore(_url(data))
    manifest = read_manifest(data / "archive")
    wrong = judge_store_moment(data)
    names = sorted(path.name for path in (data / "archive" / "manifest").glob("*.jsonl"))
    wrong += [
        f"manifest/{name}: is not published as it is here"
        for name in names
        if store.read(f"manifest/{name}") != (data / "archive" / "manifest" / name).read_bytes()
    ]
    expected = {file.path for file in manifest.files} | {f"manifest/{name}" for name in names}
    found = {key for key in keys_of(store) if not key.startswith("upload/")}
    wrong += [
        f"{key}: {'missing' if key in expected else 'left'} in the store" for key in sorted(expected ^ found)
    ]
    with open_archive(data) as here, open_archive(_url(data)) as there:
        for table in ("book_updates", "trades", "tickers", "raw_records"):
            rows = [_rows(archive, table) for archive in (here, there)]
            if rows[0] != rows[1] and not here.warnings:  # else some are only there
                wrong.append(f"{table}: {rows[1]} rows in the store, {rows[0]} here")
    if not wrong:
        store._files.delete_dir(f"{store.bucket}/{store.prefix}")  # the server has everything in memory
    return wrong


def _rows(archive: Any, table: str) -> Any:
    key = "trade_id" if table == "trades" else "sequence"
    counted = archive.sql(f"SELECT count(*), count(DISTINCT {key}), sum(sequence) FROM {table}").table()
    return [column[0].as_py() for column in counted.columns]


def _url(data: Path) -> str:
    return f"s3://{BUCKET}/{data.parent.name}"


def _ended_well(*arguments: object) -> None:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}") from ended
