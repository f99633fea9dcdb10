"""Readers of an archive in an object store get what readers of the directory get, and reach nothing else."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recorder import object_store, stored_archive
from recorder.archive import open_archive
from recorder.book_state import book_at
from recorder.cli import main
from recorder.compact import compact_data
from recorder.manifest import read_manifest
from recorder.object_store import ObjectStore
from recorder.status import data_status
from recorder.stored_status import stored_status
from recorder.upload import upload_archive
from recorder.verify import verify
from recorder.verify_stored import verify_stored
from schemas.errors import ConfigError, StoreError, TapebookError
from schemas.names import Table
from tests.objects import BadWay, bad_way, bucket, data, roll, rolled, s3_server  # noqa: F401
from tests.processes import tapebook
from tests.recorder.recordings import BOOK, MS, START_NS, Tape, market

pytest.importorskip("fsspec", reason="fsspec is not installed (pip install 'tapebook[s3]')")

AT = START_NS + 2_500 * MS


def answers(data: Path | str, *, masked: bool = True) -> list[Any]:
    with open_archive(data, include_sealed=False, masked=masked) as archive:
        return [
            sorted(archive.sql(f"SELECT * FROM {table.value}").table().to_pylist(), key=repr)
            for table in Table
        ]


@pytest.mark.parametrize("compacted", [False, True])
def test_readers_get_what_they_get_from_the_directory(data: Path, bucket: str, compacted: bool) -> None:
    if compacted:
        compact_data(data)
    url = f"s3://{bucket}/p"
    upload_archive(data, ObjectStore(url))
    for masked in (True, False):
        found = answers(url, masked=masked)
        assert found == answers(data, masked=masked)
        assert sum(map(len, found)) > 200
    with open_archive(url) as there, open_archive(data) as here:
        expected = book_at(here, "linear", "BTCUSDT", BOOK, AT)
        assert len(expected.bids) > 10
        assert book_at(there, "linear", "BTCUSDT", BOOK, AT) == expected
        assert there.ranges("linear", "BTCUSDT", Table.TRADES) == here.ranges(
            "linear", "BTCUSDT", Table.TRADES
        )


def test_a_symbol_with_a_slash(tmp_path: Path, bucket: str) -> None:
    tape = Tape(tmp_path, ["publicTrade.A/B"])
    frame = b'{"topic":"publicTrade.A/B","type":"snapshot","ts":1700000000000,"data":[{"T":1700000000000,"s":"A/B",' \
        b'"S":"Buy","v":"1","p":"2","i":"1","L":"PlusTick","BT":false}]}'  # fmt: skip
    tape.frames([frame])
    tape.stop()
    roll(tmp_path)
    upload_archive(tmp_path, ObjectStore(f"s3://{bucket}"))
    with open_archive(f"s3://{bucket}") as archive:
        assert archive.sql("SELECT symbol, price FROM trades").table().to_pylist() == [
            {"symbol": "A/B", "price": 2.0}
        ]


def test_a_query_reaches_the_manifests_files_and_nothing_else(
    data: Path,
    bucket: str,
    tmp_path: Path,
) -> None:
    store = ObjectStore(f"s3://{bucket}/p")
    upload_archive(data, store)
    (tmp_path / "secret.csv").write_text("a\n1\n")
    secret = next((data / "archive" / "trades").rglob("*.parquet"))
    with open_archive(f"s3://{bucket}/p") as archive:
        name = archive.files(Table.TRADES)[0].path
        assert archive.sql(f"FROM read_parquet('tapebook://archive/{name}')").table().num_rows > 0
        for place in (
            f"read_csv('{tmp_path}/secret.csv')",
            f"read_parquet('{secret}')",
            f"read_parquet('tapebook://archive/../{name}')",
            f"read_parquet('tapebook://elsewhere/{name}')",
            "read_text('tapebook://archive/manifest/linear.jsonl')",
            f"read_text('s3://{bucket}/p/manifest/linear.jsonl')",
            "glob('tapebook://archive/*')",
        ):
            try:
                found = archive.sql(f"FROM {place}").table().num_rows
            except TapebookError:
                found = 0
            assert found == 0, place
        with pytest.raises(ConfigError, match="COPY statements are not for archives"):
            archive.sql("COPY (SELECT 1) TO 'tapebook://archive/x.parquet'")
        with pytest.raises(ConfigError, match="SET statements are not for archives"):
            archive.sql("SET enable_external_access = true")


def test_readers_beside_an_upload_see_what_was_published(data: Path, bucket: str) -> None:
    url = f"s3://{bucket}/p"
    store = ObjectStore(url)
    upload_archive(data, store)
    before = answers(data)
    opened = open_archive(url)
    tape = Tape(data, start_ns=START_NS + 10**12)
    tape.frames(market(0, 20))
    tape.stop()
    roll(data)
    compact_data(data, grace_s=0)
    seen = []

    def look(*_: object) -> None:
        if len(seen) < 2:
            seen.append(answers(url))

    upload_archive(data, store, jobs=3, on_file=look)
    assert seen == [before, before]
    after = answers(data)
    assert after != before
    assert answers(url) == after
    # Who opened it before goes on: what was replaced stays for its grace.
    with opened:
        for table, rows in zip(Table, before, strict=True):
            assert opened.sql(f"SELECT count(*) AS n FROM {table.value}").table().to_pylist() == [
                {"n": len(rows)}
            ]


def test_a_failing_store_is_asked_again_and_given_up_in_words(
    data: Path,
    bucket: str,
    bad_way: BadWay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(object_store, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    upload_archive(data, ObjectStore(f"s3://{bucket}/p"))
    tried: set[tuple[str, str]] = set()

    def first(method: str, key: str) -> str:
        if (method, key) in tried or len(tried) > 5:
            return ""
        tried.add((method, key))
        return "503"

    bad_way.fault = first  # type: ignore[method-assign]
    url = f"s3://{bucket}/p?endpoint_override={bad_way.url}"
    query = "SELECT count(*) AS n FROM trades"
    with open_archive(data) as here, open_archive(url) as there:
        assert there.sql(query).table() == here.sql(query).table()
    assert bad_way.faults > 2
    bad_way.fault = lambda method, key: ""  # type: ignore[method-assign]
    with open_archive(url) as archive:
        bad_way.fault = lambda method, key: "503" if "/trades/" in key else ""  # type: ignore[method-assign]
        with pytest.raises(StoreError, match="the store failed 2 times in a row"):
            archive.sql("SELECT sum(price) FROM trades").table()
        assert archive.sql("SELECT count(*) AS n FROM coverage").table().to_pylist()[0]["n"] > 0


def test_an_object_that_is_gone_closes_no_other_table(data: Path, bucket: str) -> None:
    store = ObjectStore(f"s3://{bucket}/p")
    upload_archive(data, store)
    for file in read_manifest(data / "archive").select(Table.TRADES):
        store.delete(file.path)
    with open_archive(f"s3://{bucket}/p") as archive:
        assert archive.sql("SELECT count(*) AS n FROM tickers").table().to_pylist()[0]["n"] > 0
        with pytest.raises(StoreError, match="the manifest names it, but it is not there"):
            archive.sql("SELECT sum(price) FROM trades").table()


def test_the_commands_take_a_url(data: Path, bucket: str, s3_server: str) -> None:
    """As a program of its own, with the endpoint in the URL."""
    upload_archive(data, ObjectStore(f"s3://{bucket}/p"))
    url = f"s3://{bucket}/p?endpoint_override={s3_server}"
    for arguments in (
        ["query", "SELECT count(*) AS n FROM book_updates", "--format", "json"],
        ["book", "BTCUSDT", "--at", f"{AT}ns", "--format", "json"],
    ):
        there, here = (tapebook(*arguments, "--data", place) for place in (url, data))
        assert (there.code, there.err) == (0, "")
        assert there.out == here.out
        assert json.loads(there.out)


def test_no_filesystem_outlives_its_sdk(data: Path, bucket: str) -> None:
    """A store that is held until the very end of the process, as a traceback may, lets go before pyarrow does."""
    program = (
        "import atexit, sys, pyarrow.fs; from recorder.object_store import ObjectStore; "
        "atexit.register(lambda: print(sys.kept._files)); sys.kept = ObjectStore(sys.argv[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"s3://{bucket}/p"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")


def test_where_nothing_is_published(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["query", "SELECT 1", "--data", f"s3://{bucket}/nothing"])
    assert ended.value.code == 2
    assert "no archive is published there" in capsys.readouterr().err


def test_verify_hashes_what_is_there(data: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    compact_data(data)
    store = ObjectStore(f"s3://{bucket}/p")
    upload_archive(data, store)
    here = verify(data, quick=True)
    there = verify_stored(str(store))
    assert (there.findings, there.files, there.rows, there.chains) == ([], here.files, here.rows, here.chains)

    def command(*more: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["-q", "verify", "--data", str(store), *more])
        told = capsys.readouterr()
        return ended.value.code, told.out + told.err

    code, told = command()
    assert code == 0
    assert f"the bytes of {here.files} files ({here.rows:,} rows) were hashed; nothing was replayed" in told
    first, second, *_ = read_manifest(data / "archive").files
    store.delete(first.path)
    content = bytearray((data / "archive" / second.path).read_bytes())
    content[100] ^= 1
    store.write(second.path, bytes(content), object_store.content_of(bytes(content)))
    code, told = command("--quick")
    assert code == 1
    assert f"FAIL  {store}/{first.path}: missing, although the manifest lists it" in told
    assert f"FAIL  {store}/{second.path}: sha256 is " in told
    assert "NOT verified: 2 differences" in told
    upload_archive(data, store, check=True)
    assert command()[0] == 0
    manifest = store.read("manifest/linear.jsonl")
    assert manifest is not None
    lines = manifest.splitlines(keepends=True)
    broken = b"".join(line for line in lines if b'"segment":1700000000000000000,"run"' not in line)
    assert len(broken) < len(manifest)
    store.write("manifest/linear.jsonl", broken, object_store.content_of(broken))
    code, told = command()
    assert code == 1
    assert "FAIL  linear/" in told
    assert command("--deep")[0] == 2


@pytest.mark.parametrize("command", ["compact", "roll", "repair"])
def test_other_commands_say_that_they_need_a_directory(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--data", "s3://bucket/p"])
    assert ended.value.code == 2
    assert "is an object store" in capsys.readouterr().err


def test_without_fsspec(
    data: Path,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upload_archive(data, ObjectStore(f"s3://{bucket}/p"))
    monkeypatch.setitem(sys.modules, "fsspec.spec", None)
    with open_archive(f"s3://{bucket}/p") as archive:
        with pytest.raises(ConfigError, match=r"pip install 'tapebook\[s3\]'"):
            archive.sql("SELECT 1")
        assert book_at(archive, "linear", "BTCUSDT", BOOK, AT).bids
    assert stored_archive.STORED_ROOT == "tapebook://archive"


def test_status_of_what_is_published(data: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"s3://{bucket}/p"
    upload_archive(data, ObjectStore(url))
    (here,), (there,) = data_status(data)["collectors"], stored_status(url)["collectors"]
    for key in ("collector", "archive_bytes", "rows", "gaps", "last_receive_time"):
        assert there[key] == here[key], key
    assert there["segments"]["rolled"] == here["segments"]["rolled"] > 1
    assert there["rows"]["trades"] > 10
    with pytest.raises(SystemExit) as ended:
        main(["status", "--data", url])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "linear: published\n" in said
    assert "disk" not in said
    with pytest.raises(SystemExit) as ended:
        main(["status", "--data", url, "--format", "json"])
    assert json.loads(capsys.readouterr().out)["rows"] == here["rows"]
    with pytest.raises(ConfigError, match="--check is for data directories"):
        stored_status(url, check=True)
    with pytest.raises(ConfigError, match="no archive is published there"):
        stored_status(f"s3://{bucket}/another")
