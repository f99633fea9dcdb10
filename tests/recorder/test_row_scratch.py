"""Rows set aside: they come back as they were, and nothing of them has a name."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from recorder.row_scratch import Place, RowScratch
from schemas.errors import StoreError
from schemas.names import Table
from tests.recorder.archives import NOON_NS, table_of


def _rows(count: int) -> pa.Table:
    """Trades, with dictionaries, nulls and texts."""
    return table_of(
        Table.TRADES,
        [
            {
                "sequence": i, "receive_time": NOON_NS + i, "push_time": NOON_NS // 10**6,
                "match_time": NOON_NS // 10**6, "trade_id": "x" * i,
                "price_mantissa": i, "size_mantissa": 1, "cross_sequence": None if i % 2 else i,
            }
            for i in range(count)
        ],
    )  # fmt: skip


def test_rows_come_back_in_any_order(tmp_path: Path) -> None:
    scratch = RowScratch(tmp_path / "new")
    tables = [_rows(count) for count in (3, 0, 500)]
    tables.append(_rows(40).slice(7, 20))
    places = [scratch.put(table) for table in tables]
    for place, table in reversed(list(zip(places, tables, strict=True))):
        assert scratch.get(place).equals(table)
    assert scratch.written_bytes == sum(place.length for place in places)
    assert list((tmp_path / "new").iterdir()) == []
    scratch.close()
    scratch.close()


def test_nothing_is_made_before_something_is_put(tmp_path: Path) -> None:
    RowScratch(tmp_path / "new").close()
    assert not (tmp_path / "new").exists()


def test_a_file_system_without_unnamed_files_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY, raising=False)  # refused everywhere
    scratch = RowScratch(tmp_path)
    place = scratch.put(_rows(5))
    assert scratch.get(place).equals(_rows(5))
    assert list(tmp_path.iterdir()) == []
    scratch.close()


def test_a_disk_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = RowScratch(tmp_path)
    place = scratch.put(_rows(5))
    with pytest.raises(StoreError, match="found the end of the file"):
        scratch.get(Place(place.offset, place.length + 1))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match=r"set aside: .*No space left.*`tapebook roll` again"):
        scratch.put(_rows(5))
    monkeypatch.setattr(os, "pread", full)
    with pytest.raises(StoreError, match="cannot be read back"):
        scratch.get(place)
    scratch.close()
