"""The tour: it runs to its end, and says so when it can't."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import recorder.demo
from recorder.demo import run_demo
from recorder.verify import verify
from schemas.errors import ConfigError, TapebookError


def test_it_writes_over_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"exists already; remove it, or choose another directory"):
        run_demo(tmp_path, 3, 7)


def test_a_gateway_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(arguments: list[str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "print('no port is free')"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr(recorder.demo, "_start", start)
    with pytest.raises(TapebookError, match="the gateway did not start: no port is free"):
        run_demo(tmp_path / "data", 3, 7)


def test_a_step_that_fails_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        assert "record" in command  # nothing comes behind it
        return real([sys.executable, "-c", "raise SystemExit(4)"], **options)

    monkeypatch.setattr(subprocess, "run", run)
    assert run_demo(tmp_path / "data", 3, 7) == 4
    assert "exit code 4" in capfd.readouterr().out


@pytest.mark.slow
def test_the_whole_tour(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_demo(tmp_path / "data", 3, 7) == 0
    told = capfd.readouterr().out
    for part in ("verified: no unexplained difference", "vwap", "p99_ms", "orderbook.50"):
        assert part in told
    result = verify(tmp_path / "data")
    assert result.failures == []
    assert result.frames > 100
