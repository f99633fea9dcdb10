"""docs/live.md keeps its word: each of its programs runs, against an exchange on this machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, ROOT, gateway

TEXT = (ROOT / "docs" / "live.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.S | re.M)
MARKET = ["--simulate", 5, "--category", "linear", "--symbol-count", 1, "--rate", 5]
SAYS = [
    [r"^orderbook\.50\.BTCUSDT is live$", r"^orderbook\.50\.BTCUSDT \d+ Level\(", r"^publicTrade\.BTCUSDT \[\('\w+'"],
    [r"^orderbook\.50\.BTCUSDT \d{19}$", r"^publicTrade\.BTCUSDT \d{19}$", r"^\d+ frames$"],
    [r"^True$"],
]  # fmt: skip


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) == len(SAYS)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs(number: int, tmp_path: Path) -> None:
    with gateway(tmp_path / "gateway", *MARKET) as served:
        program, replaced = re.subn(
            r"live\(symbols", f"live(endpoint={served.url!r}, symbols", PROGRAMS[number]
        )
        assert replaced == 1
        for times in (1, 4, 12):  # on a slow machine little happens in the seconds that a program lasts
            directory = tmp_path / str(times)
            directory.mkdir()
            done = subprocess.run(
                [sys.executable, "-c", re.sub(r"sleep\((\d)\)", rf"sleep(\1 * {times})", program)],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                timeout=2 * PATIENCE_S,
            )
            if not done.returncode and all(re.search(pattern, done.stdout, re.M) for pattern in SAYS[number]):
                break
    assert done.returncode == 0, done.stderr
    for pattern in SAYS[number]:
        assert re.search(pattern, done.stdout, re.M), done.stdout
    assert "Traceback" not in done.stderr
