"""Files leave this disk once the store is proved to have them; everything goes on counting, and says where it is."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recorder.archive import open_archive
from recorder.cli import main
from recorder.compact import compact_data
from recorder.free_archive import free_archive
from recorder.housekeeping import Housekeeping, housekeeping_of, last_kept, publish
from recorder.manifest import read_manifest
from recorder.object_store import ObjectStore, StoredFile, content_of
from recorder.prune import prune_data
from recorder.repair import repair
from recorder.status import data_status
from recorder.status_text import print_status
from recorder.stored_only import StoredOnly, stored_path
from recorder.upload import upload_archive
from recorder.verify import verify
from recorder.verify_stored import verify_stored
from schemas.config import RecordConfig
from schemas.errors import ConfigError, Corrupt, StoreError
from schemas.manifest import ManifestFile
from schemas.names import Table
from tests.objects import BadWay, bad_way, bucket, data, keys_of, roll, rolled, s3_server  # noqa: F401
from tests.recorder.recordings import START_NS, Tape, market

DAY_NS = 86_400 * 10**9
LATER_NS = START_NS + 30 * DAY_NS


def files_of(data: Path) -> list[ManifestFile]:
    return read_manifest(data / "archive").files


def here(data: Path) -> set[str]:
    archive = data / "archive"
    return {str(path.relative_to(archive)) for path in archive.rglob("*.parquet")}


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/p"


@pytest.fixture
def freed(data: Path, url: str) -> Path:
    """An archive of which everything is in the store only."""
    store = ObjectStore(url)
    upload_archive(data, store)
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS).files == len(files_of(data))
    return data


def test_a_day_goes_once_it_ended_long_enough_ago(data: Path, url: str) -> None:
    store = ObjectStore(url)
    upload_archive(data, store)
    files = files_of(data)
    assert len({file.date for file in files}) == 1
    day_end_ns = (START_NS // DAY_NS + 1) * DAY_NS
    for now_ns in (START_NS, day_end_ns + 2 * DAY_NS - 1):
        assert free_archive(data, store, age_ns=2 * DAY_NS, now_ns=now_ns).files == 0
    assert here(data) == {file.path for file in files}
    done = free_archive(data, store, age_ns=2 * DAY_NS, now_ns=day_end_ns + 2 * DAY_NS)
    assert (done.files, done.bytes, done.kept) == (len(files), sum(file.bytes for file in files), {})
    assert here(data) == set()
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS).files == 0  # said and done once
    assert len(stored_path(data / "archive", "linear").read_bytes().splitlines()) == 1


def test_what_is_not_published_stays(data: Path, url: str) -> None:
    store = ObjectStore(url)
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS).files == 0
    upload_archive(data, store)
    before = {file.path for file in files_of(data)}
    tape = Tape(data, start_ns=START_NS + 10**12)
    tape.frames(market(0, 20))
    tape.stop()
    roll(data)
    free_archive(data, store, age_ns=0, now_ns=LATER_NS)
    assert here(data) == {file.path for file in files_of(data)} - before != set()


def test_what_the_store_has_lost_or_altered_stays_and_so_does_what_is_damaged_here(
    data: Path, url: str
) -> None:
    store = ObjectStore(url)
    upload_archive(data, store)
    lost, altered, damaged, *_ = (file.path for file in files_of(data))
    store.delete(lost)
    store.write(altered, b"not it", content_of(b"not it"))
    path = data / "archive" / damaged
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    done = free_archive(data, store, age_ns=0, now_ns=LATER_NS)
    assert done.kept.keys() == here(data) == {lost, altered, damaged}
    assert "`tapebook upload --check` sends it again" in done.kept[lost]
    assert "`tapebook repair`" in done.kept[damaged]


def test_days_that_wait_for_their_compaction_stay_if_that_is_asked(data: Path, url: str) -> None:
    store = ObjectStore(url)
    upload_archive(data, store)
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS, merged_only=True).files == 0
    compact_data(data, grace_s=0)
    upload_archive(data, store)
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS, merged_only=True).files == len(files_of(data))


def test_a_kill_between_what_is_said_and_what_is_removed_harms_nothing(
    data: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ObjectStore(url)
    upload_archive(data, store)
    files = files_of(data)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(StoreError, match="can't be removed"):
            free_archive(data, store, age_ns=0, now_ns=LATER_NS)
    with stored_path(data / "archive", "linear").open("ab") as lines:
        lines.write(b'{"event":"stored","version":1,"ur')
    manifest = read_manifest(data / "archive")
    assert manifest.only_stored() == {}
    assert all(manifest.place(file.path) == data / "archive" / file.path for file in files)
    assert free_archive(data, store, age_ns=0, now_ns=LATER_NS).files == len(files)
    assert read_manifest(data / "archive").only_stored() == {url: files}


def test_queries_say_what_is_only_there(freed: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with open_archive(freed) as archive:
        (sentence,) = archive.warnings
        assert archive.sql("SELECT count(*) AS n FROM trades").table().to_pylist() == [{"n": 0}]
    assert sentence.startswith(f"{len(files_of(freed))} files of 2023-11-1")
    assert f"are only in {url} and not in what is read here" in sentence
    with pytest.raises(SystemExit):
        main(["query", "SELECT count(*) FROM trades", "--data", str(freed)])
    assert "are only in s3://" in capsys.readouterr().err
    with open_archive(url) as there:
        assert there.sql("SELECT count(*) AS n FROM trades").table().to_pylist() != [{"n": 0}]
        assert there.warnings == []


def test_what_comes_later_is_read_here(freed: Path, url: str) -> None:
    tape = Tape(freed, start_ns=START_NS + 10**12)
    tape.frames(market(0, 20))
    tape.stop()
    for _ in range(2):  # sealed, and rolled
        with open_archive(freed) as archive:
            assert len(archive.warnings) == 1
            (row,) = archive.sql("SELECT count(*) AS n FROM book_updates").table().to_pylist()
            assert row["n"] > 10
        roll(freed)


def test_verify_reads_there_what_is_not_here(freed: Path, url: str) -> None:
    for quick in (True, False):
        result = verify(freed, quick=quick, deep=not quick)
        assert result.failures == []
        assert result.files == len(files_of(freed))
        assert any(f"are only in {url}: they are read there" in note.what for note in result.findings)
    assert result.rebuilt == len(read_manifest(freed / "archive").segments) > 1
    store = ObjectStore(url)
    lost, altered, *_ = (file for file in files_of(freed) if file.table == Table.BOOK_UPDATES.value)
    store.delete(lost.path)
    store.write(altered.path, b"not it", content_of(b"not it"))
    wrong = [str(failure) for failure in verify(freed).failures]
    assert any(f"{url}/{lost.path}" in text and "missing, although" in text for text in wrong)
    assert any(f"{url}/{altered.path}" in text and "the file was altered" in text for text in wrong)
    # what the store has lost is made again from the journal, and can be uploaded again
    repair(freed)
    assert here(freed) == {lost.path, altered.path}
    assert verify(freed, deep=True).failures == []
    assert upload_archive(freed, store, check=True).files == 2
    assert verify_stored(url).failures == []


def test_a_store_that_fails_is_no_damage(
    freed: Path, bucket: str, bad_way: BadWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.object_store.FIRST_WAIT_S", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", bad_way.url)
    bad_way.fault = lambda method, key: "503"  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="the store failed 5 times in a row") as caught:
        verify(freed)
    assert caught.value.exit_code == 4


def test_the_journal_is_pruned_by_what_the_store_has(freed: Path) -> None:
    looked = list(prune_data(freed, now_ns=LATER_NS))
    assert looked
    assert [each.kept for each in looked] == [None] * len(looked)
    assert len(read_manifest(freed / "archive").pruned) == len(looked)
    assert verify(freed, deep=True).failures == []


def test_a_late_segment_is_compacted_with_what_the_store_has(data: Path, url: str) -> None:
    compact_data(data, grace_s=0)
    store = ObjectStore(url)
    upload_archive(data, store)
    free_archive(data, store, age_ns=0, now_ns=LATER_NS)
    tape = Tape(data, start_ns=START_NS + 10**12)
    tape.frames(market(0, 20))
    tape.stop()
    roll(data)
    assert compact_data(data, grace_s=0).damaged == {}
    assert all(file.last_segment is not None for file in files_of(data))
    upload_archive(data, store, grace_s=0)
    assert {file.path for file in files_of(data)} == {
        key for key in keys_of(store) if key.endswith(".parquet")
    }
    assert verify(data, deep=True).failures == []


def test_check_asks_for_what_is_only_there_and_lost_lines_delete_nothing(freed: Path, url: str) -> None:
    store = ObjectStore(url)
    files = files_of(freed)
    done = upload_archive(freed, store, check=True)
    assert (done.files, done.known) == (0, len(files))
    store.write(files[0].path, b"not it", content_of(b"not it"))
    with pytest.raises(Corrupt, match="is not what was published, and this disk has it no more"):
        upload_archive(freed, store, check=True)
    with pytest.raises(Corrupt, match="is not what was published"):
        upload_archive(freed, ObjectStore(f"{url}/another"))


def test_what_only_the_store_has_is_not_deleted_because_a_line_was_lost(freed: Path, url: str) -> None:
    store = ObjectStore(url)
    path = freed / "archive" / "manifest" / "linear.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    segments = [number for number, line in enumerate(lines) if b'"event":"segment"' in line]
    lost = [
        number for number in range(segments[-2] + 1, segments[-1]) if b'"table":"trades"' in lines[number]
    ]
    assert lost
    path.write_bytes(b"".join(line for number, line in enumerate(lines) if number not in lost))
    before = keys_of(store)
    for _ in range(2):
        upload_archive(freed, store, grace_s=0)
        assert keys_of(store) == before


def test_status_tells_what_is_where(freed: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = data_status(freed)
    (found,) = status["collectors"]
    files = files_of(freed)
    assert found["stored"][url]["files"] == len(files)
    assert found["archive_bytes"] == found["stored"][url]["bytes"] == sum(file.bytes for file in files)
    print_status(status)
    assert f"are only in {url}" in capsys.readouterr().out


def test_lists_of_others_are_refused(freed: Path) -> None:
    path = stored_path(freed / "archive", "linear")
    whole = path.read_bytes()
    (file, *_) = files_of(freed)
    path.write_bytes(whole.replace(b'"version":1', b'"version":9'))
    with pytest.raises(StoreError, match="written by a newer tapebook"):
        StoredOnly(freed / "archive").url_of(file.path)
    path.write_bytes(b"[]\n" + whole)
    with pytest.raises(Corrupt, match="line 1 does not say what is in an object store"):
        StoredOnly(freed / "archive").place(file.path)
    path.write_bytes(whole)
    assert isinstance(StoredOnly(freed / "archive").place(file.path), StoredFile)


def test_the_roller_does_it_behind_each_upload(data: Path, url: str) -> None:
    wanted = Housekeeping(compact=False, archive_url=url, keep_archive_ns=DAY_NS)
    publish(data, wanted, clock=lambda: START_NS)
    assert here(data) == {file.path for file in files_of(data)}
    publish(data, wanted, clock=lambda: LATER_NS)
    assert here(data) == set()
    kept = last_kept(data)
    assert kept is not None
    assert (kept.freed, kept.not_uploaded) == (len(files_of(data)), "")


def test_configuration() -> None:
    config = RecordConfig(archive_url="s3://bucket/p", keep_archive="90d")
    assert housekeeping_of(config).keep_archive_ns == 90 * DAY_NS
    for config, words in (
        (RecordConfig(keep_archive="90d"), "--keep-archive: only what an object store has may be removed"),
        (
            RecordConfig(archive_url="s3://bucket/p", keep_archive="90"),
            "--keep-archive: found '90', expected a number",
        ),
    ):
        with pytest.raises(ConfigError, match=words):
            housekeeping_of(config)


def test_the_command(data: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, freed in (
        (["--keep-archive", "100000d"], 0),
        (["--keep-archive", "90d"], len(files_of(data))),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["-q", "upload", "--data", str(data), "--to", url, "--format", "json", *arguments])
        assert ended.value.code == 0
        assert json.loads(capsys.readouterr().out)["freed"] == freed
    with pytest.raises(SystemExit) as ended:
        main(["-q", "upload", "--data", str(data), "--to", url, "--keep-archive", "90"])
    assert ended.value.code == 2
    assert "--keep-archive: found '90', expected" in capsys.readouterr().err
