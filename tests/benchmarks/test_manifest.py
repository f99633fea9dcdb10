"""The manifest that is measured is one: both readings of it find the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import manifest as measured
from benchmarks.manifest import SEGMENTS, TABLES, manifest
from benchmarks.manifest_readers import READERS, reading
from recorder.manifest import append_manifest
from tests.recorder.test_manifest import file_line, segment_line


def test_both_readings_find_the_merged_files() -> None:
    result = manifest(4)
    files = 4 * len(TABLES)
    assert result["before"]["files"] == result["behind"]["files"] == files
    assert result["before"]["lines"] == files * SEGMENTS + SEGMENTS + files + 1
    assert result["checkpoint"]["dropped"] == files * SEGMENTS
    assert result["behind"]["lines"] == SEGMENTS + files + 1 + 1
    assert result["behind"]["bytes"] < result["before"]["bytes"] / 5


def test_each_reader_behind_other_days_finds_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(reader: str, archive: Path) -> dict[str, Any]:
        return {"found": READERS[reader](archive)}

    monkeypatch.setattr(measured, "reading", here)
    result = manifest(3, days=2)
    files = 3 * len(TABLES)
    found = {name: reading["found"] for name, reading in result["rolled"].items()}
    assert found == {
        "none": 0,
        "roll": 3 * SEGMENTS,
        "prune": files,
        "compact": files * SEGMENTS,
        "whole": files * (2 + SEGMENTS),
    }
    found = {name: reading["found"] for name, reading in result["compacted"].items()}
    assert found == {
        "none": 0,
        "roll": 3 * SEGMENTS,
        "prune": files,
        "compact": 0,
        "checkpoint": files * SEGMENTS,
    }
    assert result["bytes_behind"] < result["bytes"] / 5


def test_a_reader_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    append_manifest(tmp_path, "linear", [file_line(), segment_line()])
    found = reading("whole", tmp_path)
    assert (found["found"], found["peak_mib"] > 10) == (1, True)
