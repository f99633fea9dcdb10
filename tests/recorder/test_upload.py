"""Upload to a real server of the S3 protocol: files first, then the manifest, whatever fails on the way."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recorder import object_store
from recorder.cli import main
from recorder.compact import compact_data
from recorder.manifest import parse_manifest, read_manifest
from recorder.object_store import ObjectStore
from recorder.upload import upload_archive
from schemas.errors import ConfigError, Corrupt, StoreError
from tests.objects import BadWay, bad_way, bucket, data, keys_of, roll, rolled, s3_server  # noqa: F401
from tests.recorder.recordings import START_NS, Tape, market, record_day

MANIFEST = "manifest/linear.jsonl"


@pytest.fixture
def store(bucket: str) -> ObjectStore:
    return ObjectStore(f"s3://{bucket}/some/prefix")


def assert_published(data: Path, store: ObjectStore) -> None:
    """The store has the manifest of the archive, and every file that it names, byte for byte."""
    archive = data / "archive"
    assert store.read(MANIFEST) == (archive / MANIFEST).read_bytes()
    files = read_manifest(archive).files
    assert files
    for file in files:
        assert store.read(file.path) == (archive / file.path).read_bytes(), file.path


def assert_whole(store: ObjectStore) -> int:
    """Whatever manifest is published, the files that it names are there; returns their number."""
    files = parse_manifest(store.file(MANIFEST), store.read(MANIFEST) or b"").files
    for file in files.values():
        content = store.read(file.path)
        assert content is not None, file.path
        assert object_store.content_of(content).sha256 == file.sha256
    return len(files)


def test_what_is_uploaded_is_what_is_here_and_is_sent_once(data: Path, store: ObjectStore) -> None:
    files = read_manifest(data / "archive").files
    done = upload_archive(data, store)
    assert (done.files, done.bytes) == (len(files), sum(file.bytes for file in files))
    assert (done.known, done.published, done.deleted, done.waiting) == (0, 1, 0, False)
    assert_published(data, store)
    # no journal, no locks
    assert keys_of(store) == {MANIFEST, "upload/linear.json"} | {file.path for file in files}
    assert store.read("upload/linear.json") == b"{}"
    again = upload_archive(data, store)
    assert (again.files, again.known, again.published) == (0, 0, 0)


def test_only_what_has_come_is_sent(data: Path, store: ObjectStore) -> None:
    first = upload_archive(data, store)
    tape = Tape(data, start_ns=START_NS + 10**12)
    tape.frames(market(0, 20))
    tape.stop()
    roll(data)
    more = upload_archive(data, store)
    assert more.files == len(read_manifest(data / "archive").files) - first.files > 0
    assert_published(data, store)


def test_symbols_with_a_slash_keep_their_name(tmp_path: Path, store: ObjectStore) -> None:
    tape = Tape(tmp_path, ["publicTrade.A/B"])
    frame = b'{"topic":"publicTrade.A/B","type":"snapshot","ts":1700000000000,"data":[{"T":1700000000000,"s":"A/B",' \
        b'"S":"Buy","v":"1","p":"2","i":"1","L":"PlusTick","BT":false}]}'  # fmt: skip
    tape.frames([frame])
    tape.stop()
    roll(tmp_path)
    upload_archive(tmp_path, store)
    assert_published(tmp_path, store)
    assert any("symbol=A%2FB/" in key for key in keys_of(store))


def test_a_file_of_many_parts_is_read_back(tmp_path: Path, store: ObjectStore) -> None:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(1 << 20) * 22)
    content = object_store.content_of(path)
    store.write("large", path, content)
    with store.open("large") as file:
        assert b"-" in file.metadata()["ETag"]  # in parts: its tag is no MD5
    assert store.holds("large", content)
    assert not store.holds("large", content._replace(sha256="0" * 64))
    assert not store.holds("large", content._replace(bytes=content.bytes - 1))
    assert not store.holds("another", content)


def test_compaction_is_published_and_what_it_replaced_goes_after_its_grace(
    data: Path, store: ObjectStore
) -> None:
    upload_archive(data, store)
    before = {file.path for file in read_manifest(data / "archive").files}
    compact_data(data, grace_s=0)
    replaced = before - {file.path for file in read_manifest(data / "archive").files}
    assert replaced
    assert not any((data / "archive" / path).exists() for path in replaced)
    assert upload_archive(data, store).deleted == 0
    assert_published(data, store)
    assert replaced <= keys_of(store)  # readers that were opened before go on
    assert upload_archive(data, store, grace_s=0).deleted == len(replaced)
    assert not replaced & keys_of(store)
    assert_published(data, store)
    assert upload_archive(data, store, grace_s=0).deleted == 0


def test_a_compaction_in_the_middle_of_an_upload(data: Path, store: ObjectStore) -> None:
    compacted = []

    def compact_once(*_: object) -> None:
        if not compacted:
            compacted.append(compact_data(data, grace_s=0))

    done = upload_archive(data, store, on_file=compact_once)
    assert len(compacted[0].done) > 0
    assert done.published == 1
    assert_published(data, store)


def test_a_damaged_file_is_not_published(data: Path, store: ObjectStore) -> None:
    file = read_manifest(data / "archive").files[3]
    path = data / "archive" / file.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="the file was altered, and is not uploaded"):
        upload_archive(data, store)
    assert store.read(MANIFEST) is None
    path.unlink()
    with pytest.raises(Corrupt, match="missing, although the manifest lists it"):
        upload_archive(data, store)


def test_check_sends_again_what_was_lost_there(data: Path, store: ObjectStore) -> None:
    upload_archive(data, store)
    first, second, *rest = read_manifest(data / "archive").files
    store.delete(first.path)
    store.write(second.path, b"not it", object_store.content_of(b"not it"))
    assert upload_archive(data, store).files == 0
    done = upload_archive(data, store, check=True)
    assert (done.files, done.known) == (2, len(rest))
    assert_published(data, store)


def test_another_recording_under_that_name_is_left_alone(
    data: Path, tmp_path: Path, store: ObjectStore
) -> None:
    upload_archive(data, store)
    record_day(tmp_path / "other", steps=20, rotate_at=())
    other = Tape(tmp_path / "third", start_ns=START_NS + 1)
    other.frames(market(0, 5))
    other.stop()
    roll(tmp_path / "third")
    with pytest.raises(ConfigError, match="another recording was published there under the name 'linear'"):
        upload_archive(tmp_path / "third", store)
    assert_published(data, store)


def test_stopping_between_files_publishes_nothing_and_goes_on(data: Path, store: ObjectStore) -> None:
    calls = []

    def stop_soon() -> bool:
        calls.append(1)
        return len(calls) > 2

    done = upload_archive(data, store, jobs=2, should_stop=stop_soon)
    assert (done.waiting, done.published, done.files) == (True, 0, 4)
    assert store.read(MANIFEST) is None
    done = upload_archive(data, store)
    assert (done.known, done.published) == (4, 1)
    assert_published(data, store)


def test_what_was_sent_and_compacted_before_it_was_published_is_deleted(
    data: Path, store: ObjectStore
) -> None:
    sent: list[str] = []
    done = upload_archive(
        data,
        store,
        jobs=2,
        on_file=lambda file, *_: sent.append(file.path),
        should_stop=lambda: len(sent) > 2,
    )
    assert done.waiting
    assert keys_of(store) == {"upload/linear.json", *sent}
    compact_data(data, grace_s=0)
    assert upload_archive(data, store).deleted == len(sent) == 4  # at once: no reader has seen them
    assert_published(data, store)
    files = {file.path for file in read_manifest(data / "archive").files}
    assert keys_of(store) == {MANIFEST, "upload/linear.json"} | files


@pytest.mark.parametrize("fault", ["503", "cut", "lost"])
def test_a_failing_store_is_asked_again(data: Path, bucket: str, bad_way: BadWay, fault: str) -> None:
    tried: dict[tuple[str, str], int] = {}

    def every_first(method: str, key: str) -> str:
        tried[method, key] = tried.get((method, key), 0) + 1
        return fault if tried[method, key] == 1 and len(tried) % 3 == 0 else ""

    bad_way.fault = every_first  # type: ignore[method-assign]
    waits: list[float] = []
    store = ObjectStore(f"s3://{bucket}/p?endpoint_override={bad_way.url}", sleep=waits.append)
    done = upload_archive(data, store)
    assert bad_way.faults > 3
    assert done.published == 1
    assert_published(data, ObjectStore(f"s3://{bucket}/p"))


def test_what_was_written_at_once_is_not_read_back(data: Path, bucket: str, bad_way: BadWay) -> None:
    upload_archive(data, ObjectStore(f"s3://{bucket}/p?endpoint_override={bad_way.url}"))
    files = len(read_manifest(data / "archive").files)
    of_files = [method for method, key in bad_way.requests if key.endswith(".parquet")]
    assert of_files.count("PUT") == files
    assert "GET" not in of_files


def test_a_store_that_stays_away_is_given_up(data: Path, bucket: str, bad_way: BadWay) -> None:
    bad_way.fault = lambda method, key: "503" if method == "PUT" and "/trades/" in key else ""  # type: ignore[method-assign]
    waits: list[float] = []
    store = ObjectStore(f"s3://{bucket}/p?endpoint_override={bad_way.url}", sleep=waits.append)
    with pytest.raises(StoreError, match=r"trades.*the store failed 5 times in a row") as caught:
        upload_archive(data, store, jobs=1)
    assert caught.value.exit_code == 4
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert ObjectStore(f"s3://{bucket}/p").read(MANIFEST) is None
    bad_way.fault = lambda method, key: ""  # type: ignore[method-assign]
    assert upload_archive(data, store).known > 0
    assert_published(data, store)


def test_killed_anywhere_it_goes_on(rolled: Path, tmp_path: Path, bucket: str, bad_way: BadWay) -> None:
    """kill -9 before and behind a request, while what a compaction has changed is published; then once more."""
    data = Path(shutil.copytree(rolled, tmp_path / "data"))
    direct = ObjectStore(f"s3://{bucket}/p")
    upload_archive(data, direct)
    published = assert_whole(direct)
    compact_data(data)
    running: list[subprocess.Popen[bytes]] = []
    seen: list[str] = []
    wanted: list[Any] = ["", 0, ""]

    def kill_at(method: str, key: str) -> str:
        name, number, fault = wanted
        if len(seen) < number and method == "PUT" and name in key:
            seen.append(key)
            if len(seen) == number:
                running[-1].kill()
                return str(fault)
        return "cut" if len(seen) == number else ""  # what it sent before it noticed

    bad_way.fault = kill_at  # type: ignore[method-assign]
    after = len(read_manifest(data / "archive").files)
    assert after < published
    for point, number, fault, expected in (
        (".parquet", 1, "cut", published),
        (".parquet", 3, "lost", published),
        ("/upload/", 1, "lost", published),
        ("/manifest/", 1, "cut", published),
        ("/manifest/", 1, "lost", after),
    ):
        seen.clear()
        wanted[:] = point, number, fault
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "recorder", "-q", "upload", "--data", data, "--jobs", "1", "--to",
                 f"s3://{bucket}/p?endpoint_override={bad_way.url}"],
                stdout=subprocess.DEVNULL,
            )
        )  # fmt: skip
        assert running[-1].wait(timeout=120) == -9
        assert assert_whole(direct) == expected
    upload_archive(data, direct)
    assert_published(data, direct)
    upload_archive(data, direct, grace_s=0)
    files = {file.path for file in read_manifest(data / "archive").files}
    assert keys_of(direct) - {MANIFEST, "upload/linear.json"} == files


def test_the_command(data: Path, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"s3://{bucket}/c"
    for expected in (1, 0):
        with pytest.raises(SystemExit) as ended:
            main(["-q", "upload", "--data", str(data), "--to", url, "--format", "json"])
        assert ended.value.code == 0
        told = json.loads(capsys.readouterr().out)
        assert told["to"] == url
        assert told["published"] == expected
        assert bool(told["files"]) == bool(expected)
    with pytest.raises(SystemExit):
        main(["-q", "upload", "--data", str(data), "--to", url])
    assert "has everything already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("/some/directory", 2, "expected s3://BUCKET/PREFIX"),
        ("s3:///prefix", 2, "expected s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/p", 2, "never from the URL"),
        ("s3://bucket/p?endpoint=x", 2, "expected one of endpoint_override=…"),
        ("s3://there-is-no-such-bucket/p", 4, "there is no such bucket"),
    ],
)
def test_a_wrong_address_is_said(
    data: Path,
    bucket: str,
    capsys: pytest.CaptureFixture[str],
    url: str,
    code: int,
    words: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["upload", "--data", str(data), "--to", url])
    assert ended.value.code == code
    assert words in capsys.readouterr().err
