"""docs/execution.md keeps its word: its programs run, against an exchange on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, ROOT, gateway

TEXT = (ROOT / "docs" / "execution.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.S | re.M)
MARKET = ["--simulate", 7, "--category", "linear", "--symbol-count", 1, "--trade", "demo:demo-secret"]
SAYS = [
    [r"^acked 0 $", r"^0 orders are open$"],
    [r"^placed [1-9]\d* open 0$"],
]


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) == len(SAYS)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs(number: int, tmp_path: Path) -> None:
    with gateway(tmp_path / "gateway", *MARKET) as served:
        program, replaced = re.subn(r"ws://127\.0\.0\.1:9001", served.url, PROGRAMS[number])
        assert replaced == 1
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TAPEBOOK_API_KEY": "demo",
                "TAPEBOOK_API_SECRET": "demo-secret",
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 0, done.stderr
    for pattern in SAYS[number]:
        assert re.search(pattern, done.stdout, re.M), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
