"""Memory and disk space."""

from __future__ import annotations

from pathlib import Path

import pytest

import recorder.vitals
from recorder.vitals import Vitals, resident_bytes

SECOND = 10**9


def test_memory_grows_with_what_is_held() -> None:
    before = resident_bytes()
    held = bytearray(b"x") * (64 << 20)
    assert resident_bytes() - before > 48 << 20
    assert len(held) == 64 << 20


def test_memory_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        def __init__(self, _: str) -> None: ...

        def read_text(self) -> str:
            raise FileNotFoundError

    monkeypatch.setattr(recorder.vitals, "Path", Nothing)
    assert 1 << 20 < resident_bytes() < 1 << 40


def test_the_rate_is_that_of_the_last_ten_minutes(tmp_path: Path) -> None:
    vitals = Vitals(tmp_path)
    assert vitals.told(0, 0)["journal_bytes_per_second"] is None
    assert vitals.told(9 * SECOND, 90)["journal_bytes_per_second"] is None
    assert vitals.told(10 * SECOND, 100)["journal_bytes_per_second"] == 10
    for second in range(11, 700):
        vitals.told(second * SECOND, 10 * second)
    for second in range(700, 1400):  # twice as fast from here on
        told = vitals.told(second * SECOND, 7000 + 20 * (second - 700))
    assert told["journal_bytes_per_second"] == 20
    assert told["journal_bytes"] == 7000 + 20 * 699
    assert 0 < told["disk_free_bytes"] < told["disk_total_bytes"]


def test_a_disk_that_is_gone(tmp_path: Path) -> None:
    told = Vitals(tmp_path / "nothing").told(0, 0)
    assert (told["disk_free_bytes"], told["disk_total_bytes"]) == (None, None)
