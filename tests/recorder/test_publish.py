# ruff: noqa: F811 (fixtures are imported)
"""The archive is uploaded behind each roll where the configuration says so, and a store that fails harms nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recorder.config_file import load_config
from recorder.housekeeping import Housekeeping, Kept, finish_house, housekeeping_of, last_kept, publish
from recorder.journal import segments
from recorder.manifest import read_manifest
from recorder.object_store import ObjectStore
from recorder.roll import roll_data
from recorder.roller import Roller
from recorder.status import data_status
from recorder.status_text import print_status
from schemas.config import RecordConfig
from schemas.errors import ConfigError, StoreError
from tests.objects import BadWay, bad_way, bucket, s3_server  # noqa: F401
from tests.processes import wait_until
from tests.recorder.recordings import record_day


def test_configuration(tmp_path: Path) -> None:
    url = "s3://bucket/prefix?region=eu-west-1"
    assert housekeeping_of(RecordConfig(archive_url=url)).archive_url == url
    for config, words in (
        (
            RecordConfig(archive_url="/somewhere"),
            "--archive-url: found '/somewhere', expected s3://BUCKET/PREFIX",
        ),
        (RecordConfig(archive_url=url, roll=False), "--archive-url: .* --no-roll"),
        (RecordConfig(data="s3://bucket/p"), "--data: .* the journal is written to a local disk"),
    ):
        with pytest.raises(ConfigError, match=words):
            housekeeping_of(config)
    path = tmp_path / "tapebook.toml"
    for text, words in (
        (
            'symbols = ["BTCUSDT"]\narchive_url = "gs://b"\n',
            r":2: archive_url: found 'gs://b', expected s3://",
        ),
        ('symbols = ["BTCUSDT"]\ndata = "s3://b/p"\n', r":2: data: found 's3://b/p', expected a directory"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            load_config(path, {})


def test_without_a_store_nothing_happens(tmp_path: Path) -> None:
    publish(tmp_path / "nothing", Housekeeping())
    assert not (tmp_path / "nothing").exists()


def test_the_roller_uploads_what_it_has_rolled(tmp_path: Path, bucket: str) -> None:
    record_day(tmp_path / "data")
    url = f"s3://{bucket}/p"
    roller = Roller(tmp_path / "data", Housekeeping(recompress=False, compact=False, archive_url=url))
    roller.sealed()
    wait_until(lambda: (last_kept(tmp_path / "data") or Kept()).published_ns > 0, "published behind the roll")
    roller.finish()
    archive = tmp_path / "data" / "archive"
    assert ObjectStore(url).read("manifest/linear.jsonl") == (archive / "manifest/linear.jsonl").read_bytes()
    kept = last_kept(tmp_path / "data")
    assert kept is not None
    assert kept.uploaded == len(read_manifest(archive).files) > 0


def test_a_store_that_fails_is_told_until_it_works_again(
    tmp_path: Path,
    bucket: str,
    bad_way: BadWay,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recorder.object_store.FIRST_WAIT_S", 0.0)
    record_day(tmp_path)
    roll_data(tmp_path)
    wanted = Housekeeping(archive_url=f"s3://{bucket}/p?endpoint_override={bad_way.url}")
    bad_way.fault = lambda method, key: "503" if method == "PUT" else ""  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="the store failed 5 times in a row"):
        publish(tmp_path, wanted)
    print_status(data_status(tmp_path))
    told = capsys.readouterr().out
    assert "archive: NOT uploaded: s3://" in told
    assert "files uploaded" not in told
    bad_way.fault = lambda method, key: ""  # type: ignore[method-assign]
    publish(tmp_path, wanted)
    print_status(data_status(tmp_path))
    told = capsys.readouterr().out
    assert "NOT uploaded" not in told
    assert f"archive: {len(read_manifest(tmp_path / 'archive').files)} files uploaded (" in told


def test_what_is_to_be_rolled_does_not_wait_for_a_store_that_fails(
    tmp_path: Path, bucket: str, bad_way: BadWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.object_store.FIRST_WAIT_S", 1e9)  # it would wait for ever
    record_day(tmp_path)
    roll_data(tmp_path)
    bad_way.fault = lambda method, key: "503"  # type: ignore[method-assign]
    publish(
        tmp_path,
        Housekeeping(archive_url=f"s3://{bucket}/p?endpoint_override={bad_way.url}"),
        should_stop=lambda: bad_way.faults > 0,
    )
    kept = last_kept(tmp_path)
    assert kept is not None
    assert (kept.uploaded, kept.published_ns, kept.not_uploaded) == (0, 0, "")


def test_what_a_recordings_end_brings_is_compressed_and_uploaded_too(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_day(tmp_path / "data")
    url = f"s3://{bucket}/p"
    roller = Roller(tmp_path / "data", Housekeeping(archive_url=url))
    roller.finish()
    monkeypatch.setattr(sys.modules["recorder.journal.recompress"], "LEAST_BYTES", 0)
    finish_house(tmp_path / "data", Housekeeping(archive_url=url))
    store = ObjectStore(url)
    assert (
        store.read("manifest/linear.jsonl") == (tmp_path / "data/archive/manifest/linear.jsonl").read_bytes()
    )
    kept = last_kept(tmp_path / "data")
    assert kept is not None
    assert kept.compressed == len(segments(tmp_path / "data")) > 1
    assert kept.uploaded == len(read_manifest(tmp_path / "data" / "archive").files)
    assert kept.published_ns > 0


def test_at_the_end_nobody_waits_for_a_store_that_failed(
    tmp_path: Path, bucket: str, bad_way: BadWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_day(tmp_path / "data")
    roll_data(tmp_path / "data")
    bad_way.fault = lambda method, key: "503"  # type: ignore[method-assign]
    wanted = Housekeeping(recompress=False, archive_url=f"s3://{bucket}/p?endpoint_override={bad_way.url}")
    monkeypatch.setattr("recorder.object_store.FIRST_WAIT_S", 0.0)
    with pytest.raises(StoreError):
        finish_house(tmp_path / "data", wanted)
    asked = len(bad_way.requests)
    assert asked > 0
    finish_house(tmp_path / "data", wanted)
    assert len(bad_way.requests) == asked
    finish_house(tmp_path / "data", Housekeeping(recompress=True), should_stop=lambda: True)
    kept = last_kept(tmp_path / "data")
    assert kept is not None
    assert (kept.compressed, kept.not_uploaded != "") == (0, True)
