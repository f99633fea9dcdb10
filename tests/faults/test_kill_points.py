"""Every command killed at a few of its system calls, at five hundred nightly; and a harness that sees harm."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kill_points import Point
from tests.faults.kill_steps import STEPS
from tests.faults.killing import ON_SOCKETS, Blow, Mode
from tests.objects import HAS_MOTO
from tests.processes import ROOT

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux", reason="needs a C compiler and Linux"
)
SHORT = ",".join(name for name, step in STEPS.items() if not step.needs_gateway and not step.needs_store)
needs_moto = pytest.mark.skipif(not HAS_MOTO, reason="moto's server is not installed")


def kill_points(*arguments: object, patience_s: float = 300) -> tuple[int, dict[str, Any]]:
    """Run the harness; its exit code and summary."""
    place = ["--scratch", "/dev/shm"] if Path("/dev/shm").is_dir() else []
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.kill_points", *map(str, arguments), *place],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=patience_s,
        check=False,
    )
    assert done.stdout, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, told


def test_a_point_is_repeated_by_its_name() -> None:
    point = Point("roll --jobs 2", Blow(17, Mode.TORN, 28, True), "write", 3)
    assert Point.parse(str(point)) == point


def test_killed_anywhere_nothing_witnessed_is_lost() -> None:
    code, told = kill_points(1, "--count", 24, "--errors", 6, "--steps", SHORT)
    assert (told["failures"], code) == ([], 0)
    assert set(told["commands"]) == set(SHORT.split(","))
    assert told["kills"] >= 24
    assert told["how"]["power"] > 0


@needs_moto
def test_uploads_killed_anywhere_publish_all_or_nothing() -> None:
    code, told = kill_points(1, "--count", 6, "--errors", 2, "--steps", "upload then compact")
    assert (told["failures"], code) == ([], 0)
    assert told["kills"] >= 6
    assert told["calls"].keys() & set(ON_SOCKETS)


@needs_moto
@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_at_five_hundred_points_nothing_witnessed_is_lost() -> None:
    code, told = kill_points(5, "--count", 500, "--errors", 150, patience_s=7200)
    assert (told["failures"], code) == ([], 0)
    assert told["kills"] >= 500
    assert set(told["commands"]) == set(STEPS)


@pytest.mark.parametrize(
    ("sabotage", "step", "calls", "says"),
    [
        ("early-witness", "record", "write", "witnessed, are missing"),
        ("unrecovered", "record", "write", "witnessed, are missing"),
        ("torn-lines", "journal prune", "write", "ended with 1"),
        ("unsynced", "compact", "unlink", "ended with 1"),
        pytest.param("early-manifest", "upload", "send", "missing, although the manifest", marks=needs_moto),
    ],
)
def test_the_harness_sees_harm(sabotage: str, step: str, calls: str, says: str) -> None:
    code, told = kill_points(2, "--count", 8, "--steps", step, "--calls", calls, "--sabotage", sabotage)
    assert code == 1
    assert any(says in wrong for failure in told["failures"] for wrong in failure["wrong"]), told["failures"]
