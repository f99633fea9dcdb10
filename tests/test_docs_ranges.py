"""The examples of docs/ranges.md and docs/time-travel.md run, on a recording that is where they look for one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recorder.archive import open_archive
from recorder.time_travel import replay
from tests.recorder.recordings import SECOND, START_NS
from tests.recorder.test_time_travel import recorded

DOCS = Path(__file__).parents[1] / "docs"
# What the examples ask for, and what the recording has of it.
FIRST, SECOND_HOUR = "2024-08-08T12:00:00Z", "2024-08-08T13:00:00Z"
FROM, TO = f"{START_NS}ns", f"{START_NS + 9 * SECOND}ns"


def blocks(document: str) -> list[str]:
    """The Python of a document, moments and directory exchanged for those of the recording."""
    found = re.findall(r"```python\n(.*?)```", (DOCS / document).read_text(), re.S)
    return [block.replace(FIRST, FROM).replace(SECOND_HOUR, TO) for block in found]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    recorded(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_ranges(here: Path) -> None:
    (block,) = blocks("ranges.md")
    names: dict[str, Any] = {}
    exec(compile(block, "ranges.md", "exec"), names)
    assert names["batch"].num_rows > 0


def test_the_examples_of_time_travel(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events, strategy = blocks("time-travel.md")
    exec(compile(events, "time-travel.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) > 10
    names: dict[str, Any] = {}
    exec(compile(strategy, "time-travel.md", "exec"), names)
    with open_archive(here / "data") as archive:
        assert replay(archive, "BTCUSDT", FROM, TO).run(names["Quoter"]()) > 100
