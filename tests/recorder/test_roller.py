"""The roller: rolls what it is told of, finishes when told, and ends with its parent."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import recorder.roller
from recorder.housekeeping import Housekeeping
from recorder.manifest import read_manifest
from recorder.roll import roll_data, roll_lock
from recorder.roller import Roller, _Listener, main
from recorder.verify import verify
from schemas.errors import StoreError
from tests.processes import wait_until
from tests.recorder.recordings import Tape, market


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roller is polite to other processes; the one that runs the tests needn't be."""
    monkeypatch.setattr(os, "nice", lambda _: 0)


class Input(io.BytesIO):
    """Standard input that says these words and, like a parent that lives, stays open behind them."""

    @property
    def buffer(self) -> Input:
        return self


def _recorded(data: Path, segments: int = 2) -> None:
    tape = Tape(data)
    for number in range(segments):
        tape.frames(market(20 * number, 20 * number + 20))
        if number + 1 < segments:
            tape.rotate()
    tape.stop()


@pytest.mark.usefixtures("quiet")
def test_finish_rolls_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(tmp_path)
    monkeypatch.setattr(sys, "stdin", Input(b"sealed\nfinish\n"))
    assert main([str(tmp_path)]) == 0
    assert len(read_manifest(tmp_path / "archive").segments) == 2


@pytest.mark.usefixtures("quiet")
def test_it_finishes_whenever_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just when it looks whether there is something to do, for one."""

    class Work(threading.Event):
        def clear(self) -> None:
            listener.finishing = True
            self.set()
            super().clear()

        def wait(self, timeout: float | None = None) -> bool:
            raise AssertionError("it waits, and nobody will say anything any more")

    monkeypatch.setattr(sys, "stdin", Input())
    monkeypatch.setattr(os, "_exit", lambda _: None)  # of the listening thread, whose input ends here
    listener = _Listener()
    listener._thread.join()
    listener.work = Work()
    monkeypatch.setattr(recorder.roller, "_Listener", lambda: listener)
    _recorded(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert len(read_manifest(tmp_path / "archive").segments) == 2


@pytest.mark.usefixtures("quiet")
def test_nothing_is_rolled_below_the_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _recorded(tmp_path)
    free = [10 << 20]

    def left(_: Path) -> int:
        free[0] -= 2 << 20
        return free[0]

    real = recorder.roller.DiskBudget
    monkeypatch.setattr(recorder.roller, "DiskBudget", lambda *args, **words: real(*args, free=left, **words))
    wanted = msgspec.json.encode(Housekeeping(floor_bytes=7 << 20)).decode()
    monkeypatch.setattr(sys, "stdin", Input(b"finish\n"))
    assert main([str(tmp_path), wanted]) == 4
    assert "nothing is rolled until there is room" in capfd.readouterr().err
    assert len(read_manifest(tmp_path / "archive").segments) == 1  # there was room for the first
    monkeypatch.setattr(sys, "stdin", Input(b"finish\n"))
    assert main([str(tmp_path), wanted]) == 4
    assert len(read_manifest(tmp_path / "archive").segments) == 1
    monkeypatch.setattr(sys, "stdin", Input(b"finish\n"))
    assert main([str(tmp_path)]) == 0
    assert len(read_manifest(tmp_path / "archive").segments) == 2


@pytest.mark.usefixtures("quiet")
def test_a_failure_is_told_and_is_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _recorded(tmp_path)
    segment = max((tmp_path / "journal" / "linear").glob("*.arrows"))
    os.truncate(segment, segment.stat().st_size - 30)
    monkeypatch.setattr(sys, "stdin", Input(b"finish\n"))
    assert main([str(tmp_path)]) == 1
    assert f"tapebook: roll: {segment}" in capfd.readouterr().err
    assert len(read_manifest(tmp_path / "archive").segments) == 1


@pytest.mark.usefixtures("quiet")
def test_it_leaves_the_disk_alone_while_it_is_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are heard while it works; what works asks between batches."""
    ours, its = os.pipe()
    heard: list[str] = []

    class Pipe:
        buffer = os.fdopen(ours, "rb")

    monkeypatch.setattr(sys, "stdin", Pipe)
    listener = _Listener()
    worker = threading.Thread(target=lambda: (listener.breathe(), heard.append("went on")))
    os.write(its, b"pause\n")
    wait_until(lambda: not listener.unpaused.is_set(), "the pause")
    worker.start()
    assert heard == []
    os.write(its, b"sealed\n")
    wait_until(listener.work.is_set, "the word between")
    assert not listener.unpaused.is_set()
    os.write(its, b"resume\n")
    worker.join(60)
    assert heard == ["went on"]
    os.write(its, b"pause\nfinish\n")
    wait_until(lambda: listener.finishing, "the end")
    listener.breathe()  # who is to finish is paused no more
    listener._thread.join(60)
    Pipe.buffer.close()
    os.close(its)


def test_rolling_asks_for_leave_again_and_again(tmp_path: Path) -> None:
    _recorded(tmp_path)
    asked: list[int] = []
    with roll_lock(tmp_path, wait=False):
        roll_data(tmp_path, breathe=lambda: asked.append(1))
    assert len(asked) >= 2 * len(read_manifest(tmp_path / "archive").segments) > 0


def test_a_paused_roller_ends_with_its_parent(roller: Roller) -> None:
    roller.pause(True)
    process = roller._process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


@pytest.fixture
def roller(tmp_path: Path) -> Iterator[Roller]:
    roller = Roller(tmp_path)
    yield roller
    roller.abandon()


def test_a_process_of_its_own(roller: Roller, tmp_path: Path) -> None:
    _recorded(tmp_path)
    roller.sealed()
    for _ in range(3_000):
        if len(read_manifest(tmp_path / "archive").segments) == 2:
            break
        time.sleep(0.01)
    after = Tape(tmp_path, start_ns=1_800_000_000_000_000_000)
    after.frames(market(0, 10))
    after.stop()
    roller.finish()
    assert len(read_manifest(tmp_path / "archive").segments) == 3
    # the days may have been compacted meanwhile, which is worth a remark
    assert not [finding for finding in verify(tmp_path).findings if finding.fails]


def test_it_ends_with_its_parent(roller: Roller, tmp_path: Path) -> None:
    """Its input ends without a word: it must not hold the lock or linger."""
    process = roller._process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0
    with roll_lock(tmp_path, wait=False):
        pass


def test_a_roller_that_died_is_found_out(roller: Roller) -> None:
    roller._process.kill()
    roller._process.wait(60)
    roller.sealed()  # nobody hears it, and that is no error yet
    with pytest.raises(StoreError, match=r"rolling failed \(exit code -9\).*run `tapebook roll`"):
        roller.finish()


def test_a_roller_that_does_not_finish_is_killed(
    roller: Roller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.roller, "FINISH_TIMEOUT_S", 0.05)
    with roll_lock(tmp_path, wait=True), pytest.raises(StoreError, match="exit code -9"):
        roller.finish()  # it waits for the lock, which we hold
