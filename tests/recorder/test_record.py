"""What ``record`` refuses before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.record import run_record
from schemas.config import MOST_LINES, RecordConfig
from schemas.errors import ConfigError


@pytest.mark.parametrize("lines", [0, -1, MOST_LINES + 1])
def test_too_many_lines_or_none(lines: int, tmp_path: Path) -> None:
    config = RecordConfig(symbols=["BTCUSDT"], data=str(tmp_path / "data"), lines=lines)
    with pytest.raises(ConfigError, match=rf"found {lines} lines, expected 1 to {MOST_LINES}"):
        run_record(config)
    assert not (tmp_path / "data").exists()
