from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from recorder.journal import (
    Commit,
    Disk,
    Recovery,
    SegmentReader,
    journal_directory,
    next_sequence,
    recover,
    segments,
)
from schemas.errors import Corrupt, StoreError
from tests.recorder.journal.support import (
    NIGHTLY,
    START_NS,
    FailingDisk,
    Killed,
    KillingDisk,
    fill,
    left_open,
    writer,
)

NAME = f"{START_NS}.arrows"


def records(path: Path) -> list[tuple[int, bytes]]:
    with SegmentReader(path) as reader:
        return [(record.sequence, record.payload) for record in reader.records()]


def snapshot(data: Path) -> dict[str, bytes]:
    """Every file of the journal with its content."""
    directory = journal_directory(data, "linear")
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def restore(data: Path, files: dict[str, bytes]) -> None:
    directory = journal_directory(data, "linear")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def whole_commits(commits: list[Commit], length: int) -> list[Commit]:
    return [commit for commit in commits if not commit.synced and commit.offset_bytes <= length]


def test_nothing_to_recover(tmp_path: Path) -> None:
    assert recover(tmp_path) == []
    writer(tmp_path).close()
    before = snapshot(tmp_path)
    assert recover(tmp_path) == []
    assert snapshot(tmp_path) == before


def test_a_segment_left_whole_is_sealed(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path, batches=4, rows=3)
    length = path.stat().st_size
    sealed = path.with_name(NAME)
    assert recover(tmp_path) == [Recovery(sealed, 4, 12, length, 0, None)]
    with SegmentReader(sealed) as reader:
        assert [record.sequence for record in reader.records()] == list(range(13))
        assert reader.closing is not None
        assert (reader.closing.reason, reader.closing.last_sequence) == ("recovered", 11)
    assert list(snapshot(tmp_path)) == [NAME]
    assert next_sequence(tmp_path, "linear") == 13
    assert recover(tmp_path) == []


def test_every_truncation_keeps_exactly_the_whole_batches_before_it(tmp_path: Path) -> None:
    path, commits = left_open(tmp_path, batches=3, rows=2)
    content = path.read_bytes()
    with SegmentReader(path, lenient=True) as reader:
        header = reader.header_bytes
        expected = [(record.sequence, record.payload) for record in reader.records()]
    ends = {header, *(commit.offset_bytes for commit in commits if not commit.synced)}
    around = {at + shift for at in ends for shift in range(-9, 10)}
    for length in sorted(
        at
        for at in {0, 1, 7, 8, 9, *range(header, len(content), 13 if NIGHTLY else 29), *around}
        if at <= len(content)
    ):
        restore(tmp_path, {path.name: content[:length]})
        (recovery,) = recover(tmp_path)
        files = snapshot(tmp_path)
        if length < header:
            assert recovery == Recovery(
                path.with_name(NAME), 0, 0, 0, length, path.with_name(f"{START_NS}.torn")
            )
            assert files == {f"{START_NS}.torn": content[:length]}
            continue
        kept = whole_commits(commits, length)
        end = kept[-1].offset_bytes if kept else header
        assert recovery[1:5] == (len(kept), 2 * len(kept), end, length - end), f"cut at {length}"
        assert files[NAME].startswith(content[:end])
        assert (recovery.torn is not None) == (length > end)
        assert files.get(f"{START_NS}.torn", b"") == content[end:length]
        assert records(recovery.segment)[:-1] == expected[: 2 * len(kept)]


def test_a_damaged_batch_ends_what_is_kept_and_the_rest_is_set_aside(tmp_path: Path) -> None:
    path, commits = left_open(tmp_path, batches=5, rows=3)
    content = bytearray(path.read_bytes())
    content[commits[2].offset_bytes - 10] ^= 1  # in the third batch's payload
    path.write_bytes(content)
    before = next_sequence(tmp_path, "linear")
    (recovery,) = recover(tmp_path)
    # A collector that starts while another process recovers must not get the closing note's number.
    assert before == next_sequence(tmp_path, "linear") > records(recovery.segment)[-1][0]
    assert (recovery.batches_kept, recovery.rows_kept) == (2, 6)
    assert recovery.torn is not None
    assert recovery.torn.read_bytes() == content[commits[1].offset_bytes :]
    # Sequences 6 to 14 are in the torn file: nothing may have them again.
    assert records(recovery.segment)[-1][0] > 14
    assert next_sequence(tmp_path, "linear") > 15


@pytest.mark.parametrize("tail", [0, 5, 700])
def test_killed_anywhere_and_run_again_it_gives_the_same(tail: int, tmp_path: Path) -> None:
    path, _ = left_open(tmp_path / "made", batches=3, rows=2)
    files = {path.name: path.read_bytes() + b"\xff" * tail}
    restore(tmp_path / "whole", files)
    (whole,) = recover(tmp_path / "whole")
    expected = snapshot(tmp_path / "whole")
    kills = 0
    for survive in range(100):
        data = tmp_path / f"killed{survive}"
        restore(data, files)
        disk = KillingDisk(survive)
        try:
            recover(data, disk=disk)
        except Killed:
            kills += 1
        else:
            break
        # Killed at the same place again, then left to finish.
        with suppress(Killed):
            recover(data, disk=KillingDisk(0))
        recover(data)
        assert {
            name: content for name, content in snapshot(data).items() if not name.endswith(".new")
        } == expected
    assert kills >= (8 if tail == 0 else 12)
    assert whole.bytes_set_aside == tail


def test_interrupted_reports_tell_the_same(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path / "made", batches=3, rows=2)
    files = {path.name: path.read_bytes() + b"torn"}
    restore(tmp_path / "whole", files)
    (whole,) = recover(tmp_path / "whole")
    reports = []
    for survive in range(100):
        data = tmp_path / f"killed{survive}"
        restore(data, files)
        try:
            recover(data, disk=KillingDisk(survive))
        except Killed:
            reports += recover(data)
        else:
            break
    assert reports
    assert {report[1:5] for report in reports} == {whole[1:5]}
    assert {report.torn.name for report in reports if report.torn} == {f"{START_NS}.torn"}


def test_a_killed_seal_of_the_writer_is_completed(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    fill(journal, batches=2, rows=2)
    journal.close()
    sealed = segments(tmp_path)[0].path
    content = sealed.read_bytes()
    for length in (len(content), len(content) - 8):
        restore(tmp_path, {f"{NAME}.open": content[:length]})
        (recovery,) = recover(tmp_path)
        assert recovery[1:] == (2, 4, recovery.bytes_kept, 0, None)
        assert snapshot(tmp_path) == {NAME: content}


def test_bytes_after_a_complete_seal_are_set_aside(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    fill(journal, batches=2, rows=2)
    journal.close()
    content = segments(tmp_path)[0].path.read_bytes()
    restore(tmp_path, {f"{NAME}.open": content + b"more"})
    (recovery,) = recover(tmp_path)
    assert snapshot(tmp_path) == {NAME: content, f"{START_NS}.torn": content[-8:] + b"more"}
    assert recovery.rows_kept == 4


def test_torn_files_are_numbered_never_overwritten(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path)
    path.write_bytes(path.read_bytes() + b"third")
    directory = path.parent
    (directory / f"{START_NS}.torn").write_bytes(b"first")
    (directory / f"{START_NS}.torn.1").write_bytes(b"second")
    (recovery,) = recover(tmp_path)
    assert recovery.torn == directory / f"{START_NS}.torn.2"
    assert recovery.bytes_set_aside == len(b"firstsecondthird")
    files = snapshot(tmp_path)
    assert [files[f"{START_NS}.torn{n}"] for n in ("", ".1", ".2")] == [b"first", b"second", b"third"]


def test_a_live_segment_is_left_alone(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    fill(journal, batches=2, rows=2)
    while journal.backlog_bytes:
        pass
    before = snapshot(tmp_path)
    assert recover(tmp_path) == []
    assert snapshot(tmp_path) == before
    journal.close()


def test_only_the_named_collector_is_touched(tmp_path: Path) -> None:
    left_open(tmp_path)
    other = journal_directory(tmp_path, "spot")
    other.mkdir()
    (other / "5.arrows.open").write_bytes(b"")
    assert len(recover(tmp_path, "linear")) == 1
    assert [path.name for path in other.iterdir()] == ["5.arrows.open"]
    assert len(recover(tmp_path)) == 1
    assert [path.name for path in other.iterdir()] == ["5.torn"]


def test_a_foreign_file_is_refused_untouched_and_the_others_are_recovered(tmp_path: Path) -> None:
    left_open(tmp_path)
    directory = journal_directory(tmp_path, "linear")
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, pa.schema([("x", pa.int8())])).close()
    foreign = directory / "5.arrows.open"
    foreign.write_bytes(sink.getvalue())
    with pytest.raises(Corrupt, match="not a journal segment"):
        recover(tmp_path)
    assert foreign.read_bytes() == sink.getvalue().to_pybytes()
    assert (directory / NAME).exists()


def test_a_sealed_file_of_the_same_start_is_never_overwritten(tmp_path: Path) -> None:
    path, _ = left_open(tmp_path)
    sealed = path.with_name(NAME)
    sealed.write_bytes(b"precious")
    with pytest.raises(StoreError, match="move one away"):
        recover(tmp_path)
    assert sealed.read_bytes() == b"precious"
    assert path.exists()


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("write_at", 0),
        ("write_at", 1),
        ("sync", 0),
        ("sync", 2),
        ("truncate", 0),
        ("rename", 0),
        ("rename", 2),
    ],
)
def test_a_failing_disk_loses_nothing_and_recovery_can_run_again(
    call: str, after: int, tmp_path: Path
) -> None:
    path, _ = left_open(tmp_path)
    path.write_bytes(path.read_bytes() + b"torn")
    files = snapshot(tmp_path)
    restore(tmp_path / "whole", files)
    recover(tmp_path / "whole")
    with pytest.raises(StoreError, match=r"No space left.*free some space, then run the recovery again"):
        recover(tmp_path, disk=FailingDisk(call, after, errno.ENOSPC))
    recover(tmp_path, disk=Disk())
    assert snapshot(tmp_path) == snapshot(tmp_path / "whole")


def test_a_power_cut_keeps_all_that_was_synced(tmp_path: Path) -> None:
    now = [0]
    commits: list[Commit] = []
    journal = writer(tmp_path, clock=lambda: now[0], on_commit=commits.append)
    for step in range(20):
        now[0] = step * 300_000_000
        fill(journal, batches=1, rows=2)
        while journal.backlog_bytes:
            pass
    journal.close()
    content = segments(tmp_path)[0].path.read_bytes()
    synced = [commit for commit in commits if commit.synced and commit.segment.name.endswith(".open")]
    assert len(synced) >= 3
    for commit in synced:
        for lost in (b"", bytes(3000), content[commit.offset_bytes : commit.offset_bytes + 100] + bytes(500)):
            restore(tmp_path, {f"{NAME}.open": content[: commit.offset_bytes] + lost})
            (recovery,) = recover(tmp_path)
            assert recovery.bytes_kept == commit.offset_bytes
            kept = records(recovery.segment)[:-1]
            assert [sequence for sequence, _ in kept] == list(range(commit.last_sequence + 1))
