"""recorder.shell.screen: what stands below the line (the rest is tested at a pseudo-terminal, in test_shell)."""

from __future__ import annotations

import io
from pathlib import Path

from recorder.archive import open_archive
from recorder.render import Format
from recorder.shell.runner import Runner
from recorder.shell.screen import status_line
from recorder.sql.functions import TABLE_FUNCTIONS


def test_the_function_whose_arguments_are_written_is_shown_with_its_signature(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    runner = Runner(lambda: open_archive(tmp_path), io.BytesIO(), print, style=Format.CSV, timing=True)
    try:
        for before in ("FROM bars(", "SELECT 1;\nFROM bars('linear', (1), "):
            assert status_line(before, runner) == TABLE_FUNCTIONS["bars"].signature
        for before in ("", "FROM bars('linear')", "SELECT sum("):
            assert status_line(before, runner) == f"{tmp_path}   csv   timing on   \\? help"
    finally:
        runner.close()
