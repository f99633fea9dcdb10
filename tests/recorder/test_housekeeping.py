"""Behind the recording: rolled segments are compressed, and what is made of them stays the same to the byte."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import recorder.roll
from recorder.compact import QUIET_NS
from recorder.housekeeping import Housekeeping, housekeeping_of, keep_house, last_kept, recompress_data
from recorder.journal import SegmentReader, segments
from recorder.manifest import read_manifest
from recorder.roll import roll_data, roll_segment
from recorder.roller import Roller
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.errors import Corrupt
from schemas.names import Table
from tests.processes import tapebook, wait_until
from tests.recorder.recordings import SECOND, START_NS, files_of, record_day


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["recorder.journal.recompress"], "LEAST_BYTES", 0)
    monkeypatch.setattr(sys.modules["recorder.journal.recompress"], "BATCH_BYTES", 20_000)


def versions(data: Path) -> list[int]:
    found = []
    for file in segments(data):
        with SegmentReader(file.path) as reader:
            found.append(reader.info.format_version)
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("held", [recorder.roll.MAX_HELD_BYTES, 1])
def test_the_archive_is_the_same_to_the_byte(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.roll, "MAX_HELD_BYTES", held)
    record_day(tmp_path / "data")
    paths = [file.path for file in segments(tmp_path / "data")]
    before = [roll_segment(path, tmp_path / "before") for path in paths]
    assert len(list(recompress_data(tmp_path / "data"))) == 2
    assert versions(tmp_path / "data") == [2, 2]
    after = [roll_segment(path, tmp_path / "after") for path in paths]
    assert after == before
    assert files_of(tmp_path / "after") == files_of(tmp_path / "before")
    roll_data(tmp_path / "data")
    assert verify(tmp_path / "data").failures == []


@pytest.mark.usefixtures("small")
def test_compressed_behind_a_roll_it_still_verifies(tmp_path: Path) -> None:
    record_day(tmp_path)
    roll_data(tmp_path)
    rolled = read_manifest(tmp_path / "archive").segments
    only = min(start for _, start in rolled)
    done = list(recompress_data(tmp_path, wanted=lambda found: found.start_ns == only))
    assert [each.segment.name for each in done] == [f"{only}.arrows"]
    assert versions(tmp_path) == [2, 1]
    assert verify(tmp_path).failures == []


@pytest.mark.usefixtures("small")
def test_a_damaged_segment_keeps_no_other_from_it(tmp_path: Path) -> None:
    record_day(tmp_path)
    first = segments(tmp_path)[0].path
    content = bytearray(first.read_bytes())
    content[content.index(b"orderbook.50", len(content) // 2)] ^= 1
    first.write_bytes(content)
    with pytest.raises(Corrupt, match=first.name):
        list(recompress_data(tmp_path))
    with SegmentReader(segments(tmp_path)[1].path) as reader:
        assert reader.info.format_version == 2
    assert first.read_bytes() == content


@pytest.mark.usefixtures("small")
def test_it_stops_when_told(tmp_path: Path) -> None:
    record_day(tmp_path)
    assert list(recompress_data(tmp_path, should_stop=lambda: True)) == []
    assert versions(tmp_path) == [1, 1]


def test_the_command_and_the_roller(tmp_path: Path) -> None:
    record_day(tmp_path / "a", steps=400)
    done = tapebook("journal", "recompress", "--data", tmp_path / "a", "--level", 1)
    assert done.code == 0, done.err
    assert "bytes a record" in done.out.splitlines()[-1]
    assert 2 in versions(tmp_path / "a")  # one at least is large enough
    record_day(tmp_path / "b", steps=400)
    roller = Roller(tmp_path / "b", Housekeeping(recompress=True))
    roller.sealed()
    wait_until(lambda: versions(tmp_path / "b") == versions(tmp_path / "a"), "compressed behind the roll")
    roller.finish()
    assert verify(tmp_path / "b").failures == []
    record_day(tmp_path / "c", steps=400)
    roller = Roller(tmp_path / "c", Housekeeping(recompress=False))
    roller.finish()
    assert set(versions(tmp_path / "c")) == {1}


def test_configuration() -> None:
    assert housekeeping_of(RecordConfig()) == Housekeeping(recompress=True, floor_bytes=256 << 20)
    assert housekeeping_of(RecordConfig(recompress=False, min_free_mib=0)) == Housekeeping(recompress=False)
    assert housekeeping_of(RecordConfig(compact=False, min_free_mib=0)) == Housekeeping(compact=False)


def merged(data: Path) -> list[bool]:
    return [file.last_segment is not None for file in read_manifest(data / "archive").files]


def test_the_roller_compacts_days_that_are_over(tmp_path: Path) -> None:
    record_day(tmp_path / "a", steps=200)
    roller = Roller(tmp_path / "a", Housekeeping(recompress=False))
    roller.sealed()
    wait_until(lambda: merged(tmp_path / "a") and all(merged(tmp_path / "a")), "compacted behind the roll")
    roller.finish()
    assert verify(tmp_path / "a").failures == []
    kept = last_kept(tmp_path / "a")
    assert kept is not None
    assert kept.merged == 2 * len(merged(tmp_path / "a"))


def test_a_day_is_compacted_once_it_is_over_and_quiet(tmp_path: Path) -> None:
    record_day(tmp_path, steps=200)
    roll_data(tmp_path)
    files = read_manifest(tmp_path / "archive").files
    last_ns = max(file.receive_ns[1] for file in files if file.receive_ns is not None)
    day_end_ns = (last_ns // (86_400 * SECOND) + 1) * 86_400 * SECOND
    plain = Housekeeping(recompress=False)
    for now_ns, wanted in (
        (day_end_ns - 1, plain),
        (last_ns + QUIET_NS - 1, plain),
        (day_end_ns, Housekeeping(recompress=False, compact=False)),
        (day_end_ns, Housekeeping(recompress=False, floor_bytes=1 << 60)),
    ):
        keep_house(tmp_path, wanted, now_ns=now_ns)
        assert not any(merged(tmp_path))
    keep_house(tmp_path, plain, now_ns=day_end_ns, should_stop=lambda: True)
    keep_house(tmp_path, plain, now_ns=day_end_ns, is_ending=lambda: True)
    assert not any(merged(tmp_path))
    assert not list((tmp_path / "archive").rglob("*.tmp"))
    keep_house(tmp_path, plain, now_ns=day_end_ns)
    assert all(merged(tmp_path))
    assert verify(tmp_path).failures == []


def test_a_damaged_file_is_told_and_the_others_are_compacted(tmp_path: Path) -> None:
    record_day(tmp_path, steps=200)
    roll_data(tmp_path)
    bad = read_manifest(tmp_path / "archive").select(Table.TRADES)[0]
    (tmp_path / "archive" / bad.path).write_bytes(b"gone")
    with pytest.raises(Corrupt, match="its day is not compacted"):
        keep_house(tmp_path, Housekeeping(recompress=False), now_ns=START_NS + 9 * 86_400 * SECOND)
    assert any(merged(tmp_path))
