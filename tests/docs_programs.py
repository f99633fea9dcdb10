"""Programs of the documentation that run for some seconds, and what they have to say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.processes import PATIENCE_S, ROOT

__all__ = ["check_program"]


def check_program(
    program: str, lasts: str, says: Sequence[str], parent: Path, env: Mapping[str, str] | None = None
) -> None:
    """Run a program until it has said all of that, longer each time: on a slow machine little happens in some seconds.

    Args:
        lasts: a name that is called with how long it lasts, as a number: ``sleep``, ``range``.
        says: what has to be found in what it prints.
        parent: directory below which it runs.
        env: variables besides those of this process.
    """
    for times in (1, 4, 12):
        directory = parent / str(times)
        directory.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", re.sub(rf"{lasts}\((\d+)\)", rf"{lasts}(\1 * {times})", program)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE_S,
        )
        if not done.returncode and all(re.search(pattern, done.stdout, re.M) for pattern in says):
            break
    assert done.returncode == 0, done.stderr
    for pattern in says:
        assert re.search(pattern, done.stdout, re.M), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
