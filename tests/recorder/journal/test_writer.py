from __future__ import annotations

import errno
import re
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import pytest

from recorder.journal import (
    MAX_RECORD_BYTES,
    CollectorLock,
    Commit,
    JournalOptions,
    JournalWriter,
    SegmentReader,
    journal_directory,
    next_sequence,
    recover,
    segments,
)
from schemas.errors import ConfigError, StoreError
from schemas.names import Fsync
from tests.recorder.journal.support import INFO, START_NS, FailingDisk, GatedDisk, fill, payload, writer

LAZY = JournalOptions(fsync_interval_s=3600)


def sequences(path: Path, *, lenient: bool = False) -> list[int]:
    with SegmentReader(path, lenient=lenient) as reader:
        return [record.sequence for record in reader.records()]


def wait_for_error(journal: JournalWriter) -> StoreError:
    """The thread's failure, as the event loop would meet it a moment later."""
    journal._thread.join(30)
    assert journal.error is not None
    return journal.error


def test_sequences_count_from_the_given_one(tmp_path: Path) -> None:
    journal = writer(tmp_path, next_sequence=41)
    assert [journal.append(1, 0, 0, b"x") for _ in range(3)] == [41, 42, 43]
    journal.close()
    (found,) = segments(tmp_path)
    assert sequences(found.path) == [41, 42, 43, 44]  # the last is the closing note's


def test_flush_makes_one_batch_of_what_is_pending_and_none_of_nothing(tmp_path: Path) -> None:
    commits: list[Commit] = []
    journal = writer(tmp_path, on_commit=commits.append, options=LAZY)
    journal.flush()
    for count in (1, 5):
        for _ in range(count):
            journal.append(1, 0, 0, b"x")
        journal.commit_due()
        journal.flush()
    journal.close()
    assert [(c.batch, c.rows, c.last_sequence, c.synced) for c in commits] == [
        (0, 1, 0, False),
        (1, 5, 5, False),
        (2, 1, 6, True),
    ]


def test_append_commits_by_itself_at_the_byte_limit(tmp_path: Path) -> None:
    commits: list[Commit] = []
    journal = writer(tmp_path, on_commit=commits.append, options=JournalOptions(commit_bytes=1000))
    for _ in range(10):
        journal.append(1, 0, 0, b"x" * 227)  # 250 with its columns: four fill a commit
    journal.close()
    assert [c.rows for c in commits if not c.synced] == [4, 4, 2]


def test_commits_tell_the_length_of_the_file_at_that_moment(tmp_path: Path) -> None:
    lengths: list[tuple[int, int]] = []

    def look(commit: Commit) -> None:
        lengths.append((commit.offset_bytes, commit.segment.stat().st_size))

    journal = writer(tmp_path, on_commit=look)
    fill(journal, batches=5, rows=4)
    journal.close()
    assert len(lengths) >= 6
    assert all(told == found for told, found in lengths)


def test_a_synced_commit_follows_its_written_one_and_not_more_often_than_asked(tmp_path: Path) -> None:
    now = [0]
    commits: list[Commit] = []
    journal = writer(tmp_path, on_commit=commits.append, clock=lambda: now[0])

    def commit_at(now_ns: int) -> None:
        now[0] = now_ns
        before = len(commits)
        journal.append(1, 0, 0, b"x")
        journal.flush()
        while len(commits) == before:
            time.sleep(0.001)

    commit_at(0)
    commit_at(400_000_000)
    commit_at(1_000_000_000)
    while not commits[-1].synced:
        time.sleep(0.001)
    commit_at(1_500_000_000)
    journal.close()
    told = [(c.last_sequence, c.synced) for c in commits]
    assert told == [(0, False), (1, False), (2, False), (2, True), (3, False), (4, True)]
    assert commits[3]._replace(synced=False) == commits[2]


def test_idle_bytes_are_synced_too(tmp_path: Path) -> None:
    commits: list[Commit] = []
    journal = JournalWriter(
        journal_directory(tmp_path, "linear"),
        INFO,
        next_sequence=0,
        options=JournalOptions(fsync_interval_s=0.02),
        on_commit=commits.append,
    )
    journal.append(1, 0, 0, b"x")
    journal.flush()
    while not (commits and commits[-1].synced):
        time.sleep(0.001)
    time.sleep(0.1)
    # clean bytes are not synced again; the commit itself may have been late enough to be synced at once
    assert [c.synced for c in commits] in ([False, True], [True])
    journal.close()


def test_commits_that_wait_share_an_fsync(tmp_path: Path) -> None:
    disk = GatedDisk()
    commits: list[Commit] = []
    journal = writer(
        tmp_path, disk=disk, on_commit=commits.append, options=JournalOptions(fsync=Fsync.COMMIT)
    )
    fill(journal, batches=5, rows=2)
    disk.gate.set()
    while not (commits and commits[-1].synced):
        time.sleep(0.001)
    assert [(commit.batch, commit.synced) for commit in commits] == [
        (0, False), (1, False), (2, False), (3, False), (4, False), (4, True),
    ]  # fmt: skip
    fill(journal, batches=1, rows=1)
    while commits[-1].batch != 5 or not commits[-1].synced:
        time.sleep(0.001)
    journal.close()


def test_rotation_keeps_order_and_begins_with_the_given_records(tmp_path: Path) -> None:
    sealed: list[Path] = []
    journal = writer(tmp_path, on_sealed=sealed.append, options=JournalOptions(commit_bytes=200))
    fill(journal, batches=2, rows=3)
    journal.append(1, 0, 0, b"last before")
    journal.rotate(START_NS + 10, [(2, 0, 3, b'{"note":"first"}'), (2, 0, 3, b"n" * 300)])
    assert journal.segment_start_ns == START_NS + 10
    journal.append(3, 1, 0, b"first after")
    journal.close()
    directory = journal_directory(tmp_path, "linear")
    assert sealed == [directory / f"{START_NS}.arrows", directory / f"{START_NS + 10}.arrows"]
    with SegmentReader(sealed[0]) as reader:
        first = list(reader.records())
        assert reader.closing is not None
        assert reader.closing.reason == "rotated"
    with SegmentReader(sealed[1]) as reader:
        second = list(reader.records())
        assert reader.info.start_ns == START_NS + 10
        assert reader.info.run_start_ns == START_NS
        assert reader.closing is not None
        assert reader.closing.reason == "stopped"
    assert first[-2].payload == b"last before"
    assert [record.payload for record in second[:3]] == [b'{"note":"first"}', b"n" * 300, b"first after"]
    assert [record.sequence for record in first + second] == list(range(len(first + second)))


def test_rotation_with_the_clock_set_back_keeps_names_in_order(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.rotate(START_NS - 5_000, [])
    journal.close()
    assert [file.start_ns for file in segments(tmp_path)] == [START_NS, START_NS + 1]


def test_a_new_run_with_the_clock_set_back_begins_behind_the_newest_segment(tmp_path: Path) -> None:
    writer(tmp_path).close()
    journal = writer(tmp_path, start_ns=START_NS - 77, next_sequence=next_sequence(tmp_path, "linear"))
    journal.close()
    second = segments(tmp_path)[1]
    assert second.start_ns == START_NS + 1
    assert sequences(second.path) == [1]


def test_backlog_counts_what_is_not_written_yet(tmp_path: Path) -> None:
    disk = GatedDisk()
    journal = writer(tmp_path, disk=disk, options=JournalOptions(commit_bytes=1000))
    assert journal.backlog_bytes == 0
    for _ in range(10):
        journal.append(1, 0, 0, b"x" * 77)
    assert journal.backlog_bytes == 1000
    journal.append(1, 0, 0, b"y" * 27)
    assert journal.backlog_bytes == 1050
    assert journal.segment_bytes >= 1050
    disk.gate.set()
    journal.close()
    assert journal.backlog_bytes == 0


def test_backlog_has_a_hard_limit(tmp_path: Path) -> None:
    disk = GatedDisk()
    options = JournalOptions(commit_bytes=1000, backlog_limit_bytes=5000)
    journal = writer(tmp_path, disk=disk, options=options)
    with pytest.raises(StoreError, match="disk is slower"):
        deque((journal.append(1, 0, 0, b"x" * 977) for _ in range(100)), maxlen=0)
    assert journal._queue.qsize() <= 7
    disk.gate.set()
    wait_for_error(journal)
    with pytest.raises(StoreError, match="disk is slower"):
        journal.close()
    assert recover(tmp_path)


def test_segment_bytes_come_near_the_files_length(tmp_path: Path) -> None:
    sealed: list[Path] = []
    journal = writer(tmp_path, on_sealed=sealed.append)
    fill(journal, batches=200, rows=5)
    told = journal.segment_bytes
    journal.rotate(START_NS + 1, [])
    assert journal.segment_bytes == 0
    journal.close()
    assert sealed[0].stat().st_size == pytest.approx(told, rel=0.05)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (
            FailingDisk("write_at", after=4),
            r"writing \d+ bytes at offset \d+ failed: No space left.*free some",
        ),
        (FailingDisk("write_at", after=4, partial=100), "No space left"),
        (FailingDisk("write_at", after=4, code=errno.EROFS), "Read-only file system.*writable"),
        (FailingDisk("write_at", after=4, code=errno.EIO, partial=1), "Input/output error.*check the drive"),
    ],
)
def test_a_failing_write_keeps_every_commit_and_says_what_to_do(
    disk: FailingDisk, words: str, tmp_path: Path
) -> None:
    commits: list[Commit] = []
    journal = writer(tmp_path, disk=disk, on_commit=commits.append, options=LAZY)
    with suppress(StoreError):
        fill(journal, batches=10, rows=3)
    failure = wait_for_error(journal)
    assert re.search(words, str(failure))
    assert failure.exit_code == 4
    assert str(commits[0].segment) in str(failure)
    assert len(commits) == 3
    with pytest.raises(StoreError, match=words):
        journal.append(1, 0, 0, b"")
    with pytest.raises(StoreError, match=words):
        journal.flush()
    with pytest.raises(StoreError, match=words):
        journal.rotate(START_NS + 1, [])
    with pytest.raises(StoreError, match=words):
        journal.close()
    assert journal.backlog_bytes == 0
    assert "failed" in repr(journal)
    assert commits[-1].segment.stat().st_size == commits[-1].offset_bytes
    assert sequences(commits[-1].segment, lenient=True) == list(range(9))
    (recovery,) = recover(tmp_path)
    assert (recovery.batches_kept, recovery.rows_kept, recovery.torn) == (3, 9, None)


def test_a_failing_fsync_stops_the_writer(tmp_path: Path) -> None:
    disk = FailingDisk("sync", after=1, code=errno.EIO)
    journal = writer(tmp_path, disk=disk, options=JournalOptions(fsync_interval_s=0.001))
    fill(journal, batches=1, rows=1)
    assert "syncing" in str(wait_for_error(journal))
    with pytest.raises(StoreError, match="check the drive"):
        journal.close()


@pytest.mark.parametrize("call", ["sync", "rename"])
def test_a_failing_seal_leaves_a_segment_that_recovers(call: str, tmp_path: Path) -> None:
    journal = writer(tmp_path, disk=FailingDisk(call, after=1), options=LAZY)
    fill(journal, batches=2, rows=2)
    with pytest.raises(StoreError):
        journal.close()
    (recovery,) = recover(tmp_path)
    assert (recovery.batches_kept, recovery.rows_kept, recovery.torn) == (2, 4, None)
    with SegmentReader(recovery.segment) as reader:
        assert len(list(reader)) == 3
        assert reader.closing is not None
        assert reader.closing.reason == "stopped"  # the note was written: the stop was clean


def test_a_full_disk_at_rotation_harms_nothing_sealed(tmp_path: Path) -> None:
    sealed: list[Path] = []
    journal = writer(tmp_path, disk=FailingDisk("write_at", after=4), on_sealed=sealed.append, options=LAZY)
    fill(journal, batches=2, rows=2)
    journal.rotate(
        START_NS + 1, []
    )  # header, two batches and the seal went through; the next header does not
    assert "creating a segment" in str(wait_for_error(journal))
    assert sequences(sealed[0]) == [0, 1, 2, 3, 4]
    assert [file.state for file in segments(tmp_path)] == ["sealed"]
    assert sorted(path.name for path in journal_directory(tmp_path, "linear").iterdir()) == [sealed[0].name]


def test_a_file_size_limit_of_the_system_is_met_like_a_full_disk(tmp_path: Path) -> None:
    script = """
import resource, signal, sys, time
from pathlib import Path
from recorder.journal import JournalWriter, SegmentInfo, journal_directory
from schemas.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
info = SegmentInfo("linear", "linear", "gateway", "ws://x", "test", 1, 1)
journal = JournalWriter(journal_directory(Path(sys.argv[1]), "linear"), info, next_sequence=0)
try:
    while True:
        journal.append(1, 0, 0, b"x" * 1500)
        journal.flush()
        time.sleep(0.001)
except StoreError as error:
    print(error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "File too large" in run.stdout
    (recovery,) = recover(tmp_path)
    assert recovery.torn is None
    assert recovery.rows_kept == recovery.batches_kept == (20000 - 600) // (1500 + 23 + 528)


def test_an_error_of_a_callback_is_not_lost(tmp_path: Path) -> None:
    def refuse(commit: Commit) -> None:
        raise RuntimeError("not my day")

    journal = writer(tmp_path, on_commit=refuse)
    fill(journal, batches=1, rows=1)
    wait_for_error(journal)
    with pytest.raises(StoreError, match="not my day"):
        journal.close()


def test_a_number_that_does_not_fit_is_reported_not_swallowed(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(1, 70_000, 0, b"")
    journal.flush()
    wait_for_error(journal)
    with pytest.raises(StoreError, match="OverflowError"):
        journal.append(1, 0, 0, b"")


def test_a_payload_over_the_limit_is_refused_and_recording_goes_on(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    with pytest.raises(StoreError, match=f"expected at most {MAX_RECORD_BYTES}"):
        journal.append(1, 0, 0, bytes(MAX_RECORD_BYTES + 1))
    assert journal.append(1, 0, 0, b"small") == 0
    journal.close()
    assert sequences(segments(tmp_path)[0].path) == [0, 1]


def test_closed_means_closed(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.close("handed over")
    journal.close()
    for use in (journal.flush, lambda: journal.append(1, 0, 0, b""), lambda: journal.rotate(2, [])):
        with pytest.raises(StoreError, match="closed"):
            use()
    with SegmentReader(segments(tmp_path)[0].path) as reader:
        assert reader.read_closing() is not None
        assert reader.closing is not None
        assert reader.closing.reason == "handed over"


def test_leavings_of_a_kill_at_creation_are_cleared(tmp_path: Path) -> None:
    directory = journal_directory(tmp_path, "linear")
    directory.mkdir(parents=True)
    (directory / f"{START_NS}.arrows.new").write_bytes(b"half a header")
    writer(tmp_path).close()
    assert [path.name for path in directory.iterdir()] == [f"{START_NS}.arrows"]


def test_the_open_segment_is_locked_while_written(tmp_path: Path) -> None:
    with CollectorLock(tmp_path, "linear"):
        journal = writer(tmp_path)
        fill(journal, batches=1, rows=1)
        assert recover(tmp_path) == []
        assert [file.state for file in segments(tmp_path)] == ["open"]
        journal.close()


@pytest.mark.parametrize(
    "options",
    [
        JournalOptions(commit_bytes=0),
        JournalOptions(fsync_interval_s=-1),
        JournalOptions(commit_bytes=1 << 30),
        JournalOptions(backlog_limit_bytes=0),
    ],
)
def test_options_out_of_range_are_named(options: JournalOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"journal option \w+ = "):
        writer(tmp_path, options=options)


def test_the_directory_must_be_the_collectors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected the collector's directory"):
        JournalWriter(tmp_path, INFO, next_sequence=0)


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"")
    with pytest.raises(StoreError, match="preparing"):
        writer(tmp_path)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    journal = writer(tmp_path)
    fill(journal, batches=1, rows=1)
    journal.rotate(START_NS + 1, [(1, 0, 3, payload(1))])
    journal.close()
    assert set(Path("/proc/self/fd").iterdir()) == before
