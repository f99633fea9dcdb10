"""Commands that check or change a recording refuse a directory that is none: they would find nothing wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.cli import main

COMMANDS = (
    ("verify",), ("verify", "--quick"), ("repair",), ("repair", "--dry-run"), ("compact",), ("journal", "prune"),
    ("journal", "rebuild", "-o", "x"),
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_is_no_data_directory_is_refused_and_left_alone(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(SystemExit) as ended:
        main([*command, "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "neither archive/ nor journal/ is in it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
