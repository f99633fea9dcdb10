"""`record --until-stdin-ends`: who started it holds the other end of its standard input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recorder.journal import segments
from tests.processes import ROOT, gateway, tapebook, wait_until

MARKET = ["--simulate", 5, "--category", "linear", "--symbol-count", 1, "--rate", 3]


def test_it_ends_cleanly_when_its_parent_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with gateway(tmp_path / "gateway", *MARKET) as served:
        options = ["record", "--endpoint", served.url, "--data", data, "--symbols", "BTCUSDT", "--no-roll"]
        command = [sys.executable, "-m", "recorder", *map(str, options), "--until-stdin-ends"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as recorder:
            try:
                wait_until(lambda: any(f.state == "open" for f in segments(data)), "a segment")
                out, err = recorder.communicate("", timeout=60)  # the pipe ends
            finally:
                recorder.kill()
        assert recorder.returncode == 0, err
        assert "ended by the end of its supervisor" in out
        assert [file.state for file in segments(data)] == ["sealed"]
        refused = tapebook(*options, "--until-stdin-ends")  # from /dev/null
    assert refused.code == 2
    assert "--until-stdin-ends: standard input is no pipe" in refused.err
