"""Retention: by age and by size, oldest first, and never what the archive doesn't have, or the newest."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from recorder.archive import open_archive
from recorder.book_state import BookAnswer, book_at
from recorder.feed_rows import Clock
from recorder.housekeeping import Housekeeping, Kept, housekeeping_of, keep_house, last_kept
from recorder.journal import SegmentFile, next_sequence, segments
from recorder.manifest import read_manifest
from recorder.retention import Keep, Refusal, enforce, removable
from recorder.roll import roll_data
from recorder.roller import Roller
from recorder.status import data_status
from recorder.status_text import print_status
from recorder.verify import verify
from schemas.config import RecordConfig
from schemas.errors import ConfigError
from tests.processes import wait_until
from tests.recorder.recordings import BOOK, SECOND, START_NS, TRADES, Tape, market, record_day, trade

DAY_NS = 86_400 * SECOND


def take(file: SegmentFile) -> None:
    """A prune that always agrees."""
    file.path.unlink()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five segments of ``linear``, the first three of them rolled, and two of ``other``, both rolled."""
    other = Tape(tmp_path, collector="other", topics=(TRADES,))
    other.frames([trade("a", "1.5", "1", START_NS // 10**6)])
    other.rotate()
    other.stop()
    tape = Tape(tmp_path)
    for number in range(5):
        if number == 3:
            roll_data(tmp_path)
        tape.frames(market(10 * number, 10 * number + 10))
        if number < 4:
            tape.now_ns += DAY_NS
            tape.rotate()
    tape.stop()
    return tmp_path


def left(data: Path, whole: list[SegmentFile]) -> list[int]:
    """Numbers of the segments of ``whole`` that are still there."""
    return [number for number, file in enumerate(whole) if file.path.exists()]


def test_only_rolled_segments_but_the_newest_may_go_at_all(data: Path) -> None:
    whole = segments(data)  # linear 0 to 4, other 5 and 6
    may = [whole.index(file) for _, file in removable(whole, read_manifest(data / "archive").segments)]
    assert sorted(may) == [0, 1, 2, 5]
    assert may[0] == 5  # the first to end


def test_a_torn_segment_is_no_newest_one(data: Path) -> None:
    """It doesn't tell where the numbers go on; the sealed one before it does, and stays."""
    newest = max(segments(data, "linear"), key=lambda file: file.start_ns)
    torn = newest.path.with_name(f"{newest.start_ns + 1}.torn")
    torn.write_bytes(b"torn")
    roll_data(data)
    found = removable(segments(data, "linear"), read_manifest(data / "archive").segments)
    assert [file.start_ns for _, file in found] == [
        file.start_ns for file in segments(data, "linear") if file.start_ns < newest.start_ns
    ]


def test_by_age(data: Path) -> None:
    whole = segments(data)
    ends = {number: ns for ns, file in removable(whole, read_manifest(data / "archive").segments)
            for number in [whole.index(file)]}  # fmt: skip
    done = enforce(data, Keep(age_ns=DAY_NS), take, now_ns=ends[1] + DAY_NS + 1)
    assert left(data, whole) == [2, 3, 4, 6]
    assert (done.removed, done.removed_bytes) == (3, sum(whole[number].size for number in (0, 1, 5)))
    done = enforce(data, Keep(age_ns=0), take, now_ns=ends[2] + 100 * DAY_NS)
    assert left(data, whole) == [3, 4, 6]  # not rolled, and the newest, whatever their age
    assert (done.removed, done.refused) == (1, {})


def test_by_size_the_oldest_go_until_it_fits(data: Path) -> None:
    whole = segments(data)
    total = sum(file.size for file in whole)
    keep = Keep(bytes=total - whole[5].size - whole[0].size + 1)
    done = enforce(data, keep, take, now_ns=START_NS)
    assert left(data, whole) == [1, 2, 3, 4, 6]
    assert (done.removed, done.over_bytes) == (2, 0)
    assert enforce(data, keep, take, now_ns=START_NS).removed == 0
    done = enforce(data, Keep(bytes=0), take, now_ns=START_NS)
    assert left(data, whole) == [3, 4, 6]
    assert done.over_bytes == sum(whole[number].size for number in (3, 4, 6))


def test_one_that_is_refused_stays_and_another_goes_in_its_place(data: Path) -> None:
    whole = segments(data)

    def prune(file: SegmentFile) -> str | None:
        if file == whole[0]:
            return "not proved"
        file.path.unlink()
        return None

    total = sum(file.size for file in whole)
    done = enforce(data, Keep(bytes=total - whole[5].size - 1), prune, now_ns=START_NS)
    assert left(data, whole) == [0, 2, 3, 4, 6]
    assert done.refused == {f"linear/{whole[0].start_ns}": Refusal("not proved", START_NS)}


def test_nothing_asked_nothing_done(data: Path) -> None:
    whole = segments(data)
    assert enforce(data, Keep(), take, now_ns=START_NS + 10**6 * DAY_NS).removed == 0
    assert (
        enforce(
            data, Keep(age_ns=0), take, now_ns=START_NS + 10**6 * DAY_NS, should_stop=lambda: True
        ).removed
        == 0
    )
    assert segments(data) == whole


def test_a_refusal_is_remembered_for_a_day(data: Path) -> None:
    asked: list[int] = []

    def prune(file: SegmentFile) -> str | None:
        asked.append(file.start_ns)
        return "not proved"

    now_ns = START_NS + 100 * DAY_NS
    done = enforce(data, Keep(age_ns=0), prune, now_ns=now_ns)
    assert len(asked) == len(done.refused) == 4
    again = enforce(data, Keep(age_ns=0), prune, now_ns=now_ns + DAY_NS - 1, refused=done.refused)
    assert (len(asked), again.refused) == (4, done.refused)
    later = enforce(data, Keep(age_ns=0), prune, now_ns=now_ns + DAY_NS, refused=again.refused)
    assert len(asked) == 8
    assert {refusal.time_ns for refusal in later.refused.values()} == {now_ns + DAY_NS}


def test_what_the_archive_does_not_hand_back_stays(data: Path) -> None:
    whole = segments(data)
    file = next(each for each in read_manifest(data / "archive").files if each.segment == whole[1].start_ns)
    path = data / "archive" / file.path
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    kept = keep_house(
        data, Housekeeping(False, Keep(age_ns=0), compact=False), now_ns=START_NS + 100 * DAY_NS
    )
    stayed = left(data, whole)
    assert {1, 3, 4, 6} <= set(stayed)
    assert 5 not in stayed
    assert kept.refused.keys() == {f"linear/{whole[number].start_ns}" for number in stayed if number < 3}
    assert file.path in kept.refused[f"linear/{whole[1].start_ns}"].why
    assert len(read_manifest(data / "archive").pruned) == kept.removed == 7 - len(stayed)
    word = last_kept(data)
    assert word is not None
    assert word.refused == kept.refused


def test_without_its_old_segments_everything_goes_on(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    roll_data(data)
    whole = segments(data)
    expected = next_sequence(data, "linear")
    middle = read_manifest(data / "archive").segments["linear", whole[1].start_ns].end_ns - 1

    def book() -> BookAnswer:
        with open_archive(data) as archive:
            return book_at(archive, "linear", "BTCUSDT", BOOK, middle, Clock.RECEIVE)

    before = book()
    kept = keep_house(
        data, Housekeeping(False, Keep(age_ns=0), compact=False), now_ns=START_NS + 100 * DAY_NS
    )
    assert left(data, whole) == [4, 6]
    assert kept.removed == 5
    assert caplog.text.count("removed from the journal") == 5
    assert next_sequence(data, "linear") == expected
    assert verify(data).failures == []
    assert book() == before
    again = Tape(data, start_ns=START_NS + 200 * DAY_NS)
    again.frames(market(0, 5))
    again.stop()
    roll_data(data)
    assert verify(data).failures == []


def test_the_roller_removes_and_the_status_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_day(tmp_path, rotate_at=(30, 60, 90))
    roller = Roller(tmp_path, Housekeeping(True, Keep(age_ns=3600 * SECOND, bytes=10**12)))
    roller.sealed()
    wait_until(lambda: len(segments(tmp_path)) == 1, "the old segments gone")
    wait_until(lambda: (last_kept(tmp_path) or Kept()).removed == 3, "word of it")
    roller.finish()
    kept = last_kept(tmp_path)
    assert kept is not None
    assert kept.keep == Keep(3600 * SECOND, 10**12)
    capsys.readouterr()
    print_status(data_status(tmp_path))
    out = capsys.readouterr().out
    assert "journal: kept for 60.0 min and up to 931.3 GiB, 3 segments removed" in out
    assert data_status(tmp_path)["collectors"][0]["housekeeping"]["removed"] == 3
    assert verify(tmp_path).failures == []


def test_what_is_asked_for() -> None:
    config = RecordConfig(keep_journal="30d", keep_journal_bytes="500GB", min_free_mib=0)
    assert housekeeping_of(config) == Housekeeping(True, Keep(30 * DAY_NS, 500 * 10**9))
    with pytest.raises(ConfigError, match="leave one of them out"):
        housekeeping_of(RecordConfig(keep_journal="30d", roll=False))
    with pytest.raises(ConfigError, match=r"--keep-journal: found '30'"):
        housekeeping_of(RecordConfig(keep_journal="30"))
