from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.journal import CollectorLock
from recorder.journal.lock import is_locked, only_one
from schemas.errors import ConfigError, StoreError

HOLD = """
import sys
from pathlib import Path
from recorder.journal import CollectorLock
with CollectorLock(Path(sys.argv[1]), "linear"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_holder_is_told_who_holds_it(tmp_path: Path) -> None:
    with CollectorLock(tmp_path, "linear"):
        with pytest.raises(ConfigError, match=f"'linear'.*process {os.getpid()}.*--name") as caught:
            CollectorLock(tmp_path, "linear").__enter__()
        assert caught.value.exit_code == 2
        with CollectorLock(tmp_path, "spot"):
            pass
    with CollectorLock(tmp_path, "linear"):
        pass


def test_another_process_holds_it_until_it_is_killed(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"process {child.pid}"):
            CollectorLock(tmp_path, "linear").__enter__()
        child.kill()
    with CollectorLock(tmp_path, "linear"):
        assert (tmp_path / "journal/linear/lock").read_text() == f"{os.getpid()}\n"


def test_hostile_lock_file_does_not_hurt(tmp_path: Path) -> None:
    with CollectorLock(tmp_path, "linear"):
        (tmp_path / "journal/linear/lock").write_bytes(b"\xff" * 100_000)
        with pytest.raises(ConfigError, match="already recording"):
            CollectorLock(tmp_path, "linear").__enter__()


def test_bad_name_and_bad_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        CollectorLock(tmp_path, "../up")
    (tmp_path / "journal").write_bytes(b"")
    with pytest.raises(StoreError, match="locking the collector's directory"):
        CollectorLock(tmp_path, "linear").__enter__()


def test_any_lock_file_is_held_by_one_and_seen_by_all(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    assert not is_locked(path)
    with only_one(path, "it is taken"):
        assert is_locked(path)
        assert is_locked(path)  # to look is not to take
        with pytest.raises(ConfigError, match="it is taken"), only_one(path, "it is taken"):
            pytest.fail("it was let in")
    assert not is_locked(path)
    with only_one(path, "it is taken"):
        assert is_locked(path)
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match="is the data directory writable"),
        only_one(tmp_path / "file" / "lock", ""),
    ):
        pytest.fail("it was let in")
