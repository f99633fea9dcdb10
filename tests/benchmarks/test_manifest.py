"""The manifest that is measured is one: both readings of it find the same files."""

from __future__ import annotations

from benchmarks.manifest import SEGMENTS, TABLES, manifest


def test_both_readings_find_the_merged_files() -> None:
    result = manifest(4)
    files = 4 * len(TABLES)
    assert result["before"]["files"] == result["behind"]["files"] == files
    assert result["before"]["lines"] == files * SEGMENTS + SEGMENTS + files + 1
    assert result["checkpoint"]["dropped"] == files * SEGMENTS
    assert result["behind"]["lines"] == SEGMENTS + files + 1 + 1
    assert result["behind"]["bytes"] < result["before"]["bytes"] / 5
