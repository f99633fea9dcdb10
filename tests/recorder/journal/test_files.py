from __future__ import annotations

from pathlib import Path

import pytest

from recorder.journal import journal_directory, segments
from schemas.errors import ConfigError


def touch(data: Path, *names: str) -> None:
    for name in names:
        path = data / "journal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(path.name))


@pytest.mark.parametrize("name", ["linear", "a", "A-b_c.9", "x" * 64, "-"])
def test_good_collector_names(name: str, tmp_path: Path) -> None:
    assert journal_directory(tmp_path, name) == tmp_path / "journal" / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "a\\b", "x" * 65, "a b", "linear\n", "é", "a\0"]
)
def test_bad_collector_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="collector name"):
        journal_directory(tmp_path, name)
    with pytest.raises(ConfigError, match="collector name"):
        segments(tmp_path, name)


def test_nothing_recorded_is_an_empty_list(tmp_path: Path) -> None:
    assert segments(tmp_path) == []
    assert segments(tmp_path, "linear") == []


def test_listing_is_sorted_by_collector_start_and_state(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "spot/7.arrows",
        "linear/100.arrows.open",
        "linear/9.arrows",
        "linear/9.torn",
        "linear/9.torn.10",
        "linear/9.torn.2",
        "linear/50.arrows.sealing",
    )
    found = [(file.collector, file.path.name, file.start_ns, file.state) for file in segments(tmp_path)]
    assert found == [
        ("linear", "9.arrows", 9, "sealed"),
        ("linear", "9.torn", 9, "torn"),
        ("linear", "9.torn.2", 9, "torn"),
        ("linear", "9.torn.10", 9, "torn"),
        ("linear", "50.arrows.sealing", 50, "open"),
        ("linear", "100.arrows.open", 100, "open"),
        ("spot", "7.arrows", 7, "sealed"),
    ]
    assert [file.size for file in segments(tmp_path, "spot")] == [len("7.arrows")]


def test_other_names_are_not_segments(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "linear/lock",
        "linear/007.arrows",
        "linear/7.arrows.new",
        "linear/7.arrows.tmp",
        "linear/7.torn.new",
        "linear/-7.arrows",
        "linear/7.arrows\n",
        "linear/12345678901234567890.arrows",
        ".hidden/7.arrows",
    )
    touch(tmp_path, "file-not-directory")
    assert segments(tmp_path) == []
