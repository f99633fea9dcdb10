"""The floor of free space: warnings on the way there, a clean end at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import recorder.collector
import recorder.compact_command
import recorder.disk_budget
import recorder.line
import recorder.report
from recorder.cli import main
from recorder.disk_budget import DiskBudget, free_bytes
from recorder.journal import segments
from recorder.manifest import read_manifest
from recorder.roll import roll_data
from recorder.verify import verify
from schemas.errors import OutOfSpace
from tests.processes import tapebook
from tests.recorder.lines import FakeExchange, until
from tests.recorder.recordings import BOOK, book, record_day
from tests.recorder.test_collector import NOW_MS, NoRest, Recording

MIB = 1 << 20


def test_warned_early_and_again_at_each_half_then_ended(tmp_path: Path) -> None:
    free = [0]
    said: list[str] = []
    budget = DiskBudget(tmp_path, 100 * MIB, free=lambda _: free[0], warn=said.append)

    def at(mib: int) -> int:
        free[0] = mib * MIB
        budget.check()
        return len(said)

    assert [at(mib) for mib in (5000, 401, 400, 399, 390, 300, 249, 240, 180, 173, 105)] == [
        0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4,
    ]  # fmt: skip
    assert said[0] == f"{tmp_path}: 399 MiB free; recording ends at 100 MiB"
    assert at(100) == 5
    with pytest.raises(
        OutOfSpace, match=r"99 MiB free, the floor is 100 MiB \(min_free_mib\).*free some space"
    ) as caught:
        at(99)
    assert caught.value.exit_code == 4
    assert at(5000) == 5
    assert at(399) == 6  # after there was room again, from the beginning


def test_without_a_floor_nothing_is_asked(tmp_path: Path) -> None:
    def asked(_: Path) -> int:
        raise AssertionError

    DiskBudget(tmp_path, 0, free=asked).check()
    DiskBudget(tmp_path, 5, free=lambda _: None).check()  # a system that doesn't tell


def test_free_space_of_a_directory_that_is_still_to_be_made(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    told = free_bytes(tmp_path / "not" / "yet")
    assert told is not None
    assert abs(told - found.f_bavail * found.f_frsize) < 1 << 30  # others write meanwhile


async def test_a_recording_ends_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = FakeExchange()
    monkeypatch.setattr(recorder.line, "connect", exchange.connect)
    monkeypatch.setattr(recorder.collector, "RestClient", NoRest)
    recording = Recording(tmp_path, exchange, [BOOK], min_free_mib=10.0)
    free = [50 * MIB]
    recording.collector.budget._free = lambda _: free[0]
    connection = await recording.connection()
    connection.acknowledge()
    connection.deliver(book("snapshot", 5, [("1.5", "1")], [("2.5", "1")], NOW_MS))
    await until(lambda: recording.collector.capture.frames == 1, "the frame")
    assert recording.collector.status()["vitals"]["disk_floor_bytes"] == 10 * MIB
    free[0] = 9 * MIB
    with pytest.raises(OutOfSpace, match="9 MiB free"):
        await recording.task
    assert [file.state for file in segments(tmp_path)] == ["sealed"]
    roll_data(tmp_path)
    result = verify(tmp_path)
    assert (result.failures, result.frames, result.gaps) == ([], 1, 0)


def test_below_the_floor_nothing_is_begun(tmp_path: Path) -> None:
    done = tapebook(
        "record", "--endpoint", "ws://127.0.0.1:9", "--symbols", "BTCUSDT", "--topics", "orderbook.50",
        "--data", tmp_path / "data", "--min-free-mib", 1e12,
    )  # fmt: skip
    assert done.code == 4, done.err
    assert "the floor is 1,000,000,000,000 MiB (min_free_mib); no recording is begun: free some" in done.err
    assert "recording 1 topics" not in done.err
    assert "Traceback" not in done.err
    assert segments(tmp_path / "data") == []


def test_rolling_ends_before_a_segment_and_compacting_before_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record_day(tmp_path)
    sealed = len(segments(tmp_path))
    assert sealed > 1
    left = [0]

    def falling(directory: Path, min_free_mib: float, then: str) -> DiskBudget:
        def free(_: Path) -> int:
            left[0] -= MIB
            return left[0]

        return DiskBudget(directory, int(min_free_mib * MIB), free=free, warn=lambda _: None, then=then)

    monkeypatch.setattr(recorder.report, "floor_of", falling)
    monkeypatch.setattr(recorder.compact_command, "floor_of", falling)

    def command(*arguments: str) -> tuple[int | str | None, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data", str(tmp_path), "--min-free-mib", "100"])
        return ended.value.code, capsys.readouterr().err

    left[0] = 101 * MIB
    code, said = command("roll")
    assert (code, len(read_manifest(tmp_path / "archive").segments)) == (4, 1)
    assert "99 MiB free, the floor is 100 MiB (min_free_mib); nothing more is rolled" in said
    left[0] = 1000 * MIB
    assert command("roll")[0] == 0
    assert len(read_manifest(tmp_path / "archive").segments) == sealed
    left[0] = 102 * MIB
    code, said = command("compact")
    assert (
        code,
        sum(file.last_segment is not None for file in read_manifest(tmp_path / "archive").files),
    ) == (4, 2)
    assert "nothing more is merged" in said
    assert not verify(tmp_path).failures
    left[0] = 1000 * MIB
    assert command("compact")[0] == 0
    assert all(file.last_segment is not None for file in read_manifest(tmp_path / "archive").files)
