from __future__ import annotations

from pathlib import Path

import pytest

from execution.kill_switch import FILE_NAME, KillSwitch


def test_it_stays_on_until_it_is_released(tmp_path: Path) -> None:
    directory = tmp_path / "account"
    switch = KillSwitch(directory)
    assert not switch.is_on
    switch.trip("the daily loss", 1)
    switch.trip("something later", 2)
    assert switch.reason == "the daily loss"
    again = KillSwitch(directory)
    assert again.reason == "the daily loss"
    assert "ON: the daily loss" in repr(again)
    again.release()
    assert not again.is_on
    assert not KillSwitch(directory).is_on
    assert [path.name for path in directory.iterdir()] == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_file_that_says_nothing_counts_as_on(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert KillSwitch(tmp_path).is_on


def test_a_file_that_cannot_be_read_counts_as_on(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert KillSwitch(tmp_path).is_on


def test_it_is_on_even_if_the_disk_fails(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    switch = KillSwitch(tmp_path / "missing")
    switch._path = blocked / FILE_NAME
    with pytest.raises(OSError, match="file"):
        switch.trip("why", 1)
    assert switch.reason == "why"


def test_a_file_that_somebody_else_makes_is_seen(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    assert switch.look() is None
    KillSwitch(tmp_path).trip("by hand", 1)
    assert (switch.look(), switch.is_on) == ("by hand", False), "it is for who looks to trip it"
    (tmp_path / "KILLED").write_bytes(b"")
    assert "whatever it says" in str(switch.look())
