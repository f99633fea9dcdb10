"""Budgets that processes share: what is counted, and what a damaged, foreign or locked file does."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.shared_budget import SharedBudget, boot_id, state_directory

SECOND = 10**9
BOOT = b"b" * 16


class Clock:
    def __init__(self, now_ns: int = 1_000 * SECOND) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns


def budget(directory: Path, clock: Clock, *, limit: int = 10, boot: bytes = BOOT) -> SharedBudget:
    return SharedBudget(directory / "state", "connects-x:1", limit, 100, clock=clock, boot=boot)


def takings(shared: SharedBudget, most: int = 1_000) -> int:
    """How many can be taken now."""
    return next((n for n in range(most) if not shared.take(0)), most)


def test_all_that_name_the_file_share_it(tmp_path: Path) -> None:
    clock = Clock()
    first, second = budget(tmp_path, clock), budget(tmp_path, clock)
    assert (first.left(0), first.wait_ns(0)) == (10, 0)
    for _ in range(3):
        assert first.take(0)
        assert second.take(0)
    assert first.left(0) == second.left(0) == 4
    assert takings(second) == 4
    assert (first.wait_ns(0), first.left(0), first.take(0)) == (100, 0, False)
    clock.now_ns += 60
    assert first.wait_ns(0) == 40
    clock.now_ns += 40
    assert takings(first) == 10
    assert first.path.name == "connects-x_1.budget"


def test_no_window_ever_holds_more_than_the_limit(tmp_path: Path) -> None:
    clock = Clock()
    shares = [budget(tmp_path, clock) for _ in range(3)]
    taken = []
    for step in range(1_000):
        clock.now_ns += step % 7
        if shares[step % 3].take(0):
            taken.append(clock.now_ns)
    for start in taken:
        assert sum(start <= at < start + 100 for at in taken) <= 10
    assert len(taken) > 200


def test_different_things_are_counted_apart(tmp_path: Path) -> None:
    one = SharedBudget(tmp_path, "connects-a", 1, 10 * SECOND)
    other = SharedBudget(tmp_path, "connects-b", 1, 10 * SECOND)
    assert one.take(0)
    assert not one.take(0)
    assert other.take(0)


DAMAGES = {
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"\x00",
    "garbage": lambda content: b"\xff" * len(content),
    "zeros": lambda content: bytes(len(content)),
    "the future": lambda content: content[:-8] + struct.pack("<q", 2**62),
    "before the beginning": lambda content: content[:-8] + struct.pack("<q", -5),
    "another limit": lambda content: content[:24] + struct.pack("<Q", 9) + content[32:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_counts_as_nearly_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    clock = Clock()
    shared = budget(tmp_path, clock)
    assert shared.take(0)
    broken = DAMAGES[damage](shared.path.read_bytes())
    shared.path.write_bytes(broken)
    assert shared.wait_ns(0) == 0  # whoever takes finds out
    with caplog.at_level(logging.WARNING, "tapebook"):
        assert takings(shared) == 1
    assert "set aside as .damaged" in caplog.text
    assert shared.path.with_suffix(".damaged").read_bytes() == broken[: len(shared.path.read_bytes()) + 1]
    clock.now_ns += 100
    assert takings(shared) == 10


@given(content=st.binary(min_size=1, max_size=200))
def test_whatever_the_file_holds(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    shared = budget(tmp_path_factory.mktemp("any"), Clock())
    shared.path.parent.mkdir()
    shared.path.write_bytes(content)
    assert 0 <= shared.wait_ns(0) <= 100
    assert 0 <= shared.left(0) <= 10
    assert takings(shared) == 1


def test_takings_of_an_earlier_boot_count_as_of_the_last_writing(tmp_path: Path) -> None:
    before = SharedBudget(tmp_path, "x", 10, 100 * SECOND, clock=Clock(10**15), boot=b"a" * 16)
    for _ in range(7):
        assert before.take(0)
    wall_ns = time.time_ns()
    os.utime(before.path, ns=(wall_ns, wall_ns))
    clock = Clock(50 * SECOND)
    after = SharedBudget(tmp_path, "x", 10, 100 * SECOND, clock=clock, boot=BOOT)
    assert (after.wait_ns(0), after.left(0)) == (0, 10)  # whoever takes finds out
    assert takings(after) == 3
    clock.now_ns += 101 * SECOND
    assert takings(after) == 10


def test_takings_of_an_earlier_boot_that_are_long_over(tmp_path: Path) -> None:
    before = SharedBudget(tmp_path, "x", 10, 100 * SECOND, clock=Clock(10**15), boot=b"a" * 16)
    assert takings(before) == 10
    old_ns = time.time_ns() - 1_000 * SECOND
    os.utime(before.path, ns=(old_ns, old_ns))
    after = SharedBudget(tmp_path, "x", 10, 100 * SECOND, clock=Clock(5_000 * SECOND), boot=BOOT)
    assert takings(after) == 10


@pytest.mark.parametrize("obstacle", ["directory", "symlink", "fifo", "no directory"])
def test_without_a_file_this_process_counts_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    shared = budget(tmp_path, Clock())
    if obstacle == "no directory":
        shared.path.parent.write_text("a file")
    else:
        shared.path.parent.mkdir()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    if obstacle == "directory":
        shared.path.mkdir()
    elif obstacle == "symlink":
        shared.path.symlink_to(victim)
    elif obstacle == "fifo":
        os.mkfifo(shared.path)
    with caplog.at_level(logging.WARNING, "tapebook"):
        assert takings(shared) == 10
    assert caplog.text.count("the limit of 10 per 1e-07 s is kept by this process alone") == 1
    assert shared.left(0) == 0
    assert victim.read_bytes() == b"precious"


def test_a_lock_that_is_never_let_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shared = budget(tmp_path, Clock())
    assert shared.take(0)
    with shared.path.open() as file, caplog.at_level(logging.WARNING, "tapebook"):
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not shared.take(0)
        assert not shared.take(4 * SECOND)
        assert "lock" not in caplog.text
        assert shared.take(5 * SECOND)
        assert "another process holds its lock" in caplog.text
    assert shared.take(6 * SECOND)
    assert shared.left(0) == 8  # the taking without the lock is missing, as it was told


def test_files_that_count_nothing_any_more_are_removed(tmp_path: Path) -> None:
    clock = Clock()

    def of(name: str) -> SharedBudget:
        return SharedBudget(tmp_path, name, 10, 100, clock=clock, boot=BOOT)

    for number in range(5):
        assert of(f"old-{number}").take(0)
    (tmp_path / "other.budget").write_bytes(b"something else")
    clock.now_ns += 101
    assert of("new").take(0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.budget", "other.budget"]


def _take(directory: Path, ready: Any, taken: Any) -> None:
    shared = SharedBudget(directory, "race", 40, 3_600 * SECOND)
    ready.wait(60)
    count, tries = 0, 0
    while tries < 200:  # nobody else can be in the way that often in a row
        if shared.take(time.monotonic_ns()):
            count, tries = count + 1, 0
        else:
            tries += 1
            if shared.left(0):
                time.sleep(0.001)
    taken.put(count)


def test_processes_that_race_for_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, taken = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_take, args=(tmp_path, ready, taken)) for _ in range(3)]
    for racer in racers:
        racer.start()
    counts = [taken.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(60)
    assert sum(counts) == 40


def _take_for_ever(directory: Path, begun: Any) -> None:
    shared = SharedBudget(directory, "killed", 500, 1)
    while True:
        shared.take(time.monotonic_ns())
        begun.set()


def test_processes_that_are_killed_leave_the_file_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("spawn")
    for pause_s in (0.0, 0.01, 0.03):
        begun = context.Event()
        taker = context.Process(target=_take_for_ever, args=(tmp_path, begun))
        taker.start()
        assert begun.wait(60)
        time.sleep(pause_s)
        taker.kill()
        taker.join(60)
    shared = SharedBudget(tmp_path, "killed", 500, 1)
    assert shared.take(0)  # its lock went with whoever held it
    assert caplog.text == ""
    assert [path.name for path in tmp_path.iterdir()] == ["killed.budget"]


def test_where_the_state_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_directory("/somewhere") == Path("/somewhere")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_directory() == Path("/state/tapebook")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert state_directory() == Path("/home/somebody/.local/state/tapebook")
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert state_directory() == Path("/run/user/7/tapebook")


def test_the_boot_has_an_id() -> None:
    assert len(boot_id()) == 16
    assert boot_id() == boot_id()
