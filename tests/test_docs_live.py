"""docs/live.md keeps its word: each of its programs runs, against an exchange on this machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs_programs import check_program
from tests.processes import ROOT, gateway

TEXT = (ROOT / "docs" / "live.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.S | re.M)
MARKET = ["--simulate", 5, "--category", "linear", "--symbol-count", 1, "--rate", 5]
SAYS = [
    [r"^orderbook\.50\.BTCUSDT is live$", r"^orderbook\.50\.BTCUSDT \d+ Level\(", r"^publicTrade\.BTCUSDT \[\('\w+'"],
    [r"\A(heard of orderbook\.50\.BTCUSDT\nended\n){2}\Z"],
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
        check_program(program, "sleep", SAYS[number], tmp_path)
