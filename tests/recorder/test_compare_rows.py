"""Rows held against rows: however they are cut, the first difference is named, whatever it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.stored_rows import store
from recorder.compare_rows import Difference, first_difference, rows_of
from schemas.names import Table
from tests.recorder.archives import table_of

ROWS: list[dict[str, Any]] = [
    {"sequence": number, "topic": f"t{number % 3}", "start_time": number, "end_time": number}
    for number in range(10)
]


def write(path: Path, rows: pa.Table) -> Path:
    pq.write_table(store(Table.COVERAGE, rows), path, row_group_size=4)
    return path


def compare(path: Path, rows: pa.Table, cut: int = 3) -> Difference | None:
    pieces = [rows.slice(start, cut) for start in range(0, rows.num_rows, cut)]
    return first_difference(path, pieces, rows.num_rows, Table.COVERAGE, "_")


@pytest.mark.parametrize("cut", [1, 3, 100])
def test_equal_rows_are_equal_however_they_are_cut(tmp_path: Path, cut: int) -> None:
    rows = table_of(Table.COVERAGE, ROWS)
    path = write(tmp_path / "a.parquet", rows)
    assert compare(path, rows, cut) is None
    assert pa.concat_tables(rows_of(path, Table.COVERAGE)).num_rows == 10


@pytest.mark.parametrize("place", range(10))
def test_the_first_difference_is_named(tmp_path: Path, place: int) -> None:
    path = write(tmp_path / "a.parquet", table_of(Table.COVERAGE, ROWS))
    other = [row | ({"messages": 7} if number >= place else {}) for number, row in enumerate(ROWS)]
    found = compare(path, table_of(Table.COVERAGE, other))
    assert found == Difference(place, f"t{place % 3}", "messages is 1, the journal says 7")


def test_missing_and_further_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", table_of(Table.COVERAGE, ROWS[:6]))
    found = compare(path, table_of(Table.COVERAGE, ROWS))
    assert found is not None
    assert (found.row, found.what.partition(" (")[0]) == (6, "ends after 6 rows, the journal holds 10")
    found = compare(path, table_of(Table.COVERAGE, ROWS[:2]))
    assert found is not None
    assert (found.row, found.what.partition(" (")[0]) == (2, "ends after 6 rows, the journal holds 2")


def test_only_some_rows_are_compared(tmp_path: Path) -> None:
    rows = table_of(Table.COVERAGE, ROWS)
    path = write(tmp_path / "a.parquet", rows)

    def odd(part: pa.Table) -> Any:
        return part.column("sequence").to_numpy() % 2 == 1

    expected = table_of(Table.COVERAGE, [row for row in ROWS if row["sequence"] not in (0, 4)])
    assert first_difference(path, [expected], 8, Table.COVERAGE, "_", odd) is None
    short = table_of(Table.COVERAGE, ROWS[:6])
    found = first_difference(path, [short], 6, Table.COVERAGE, "_", odd)
    assert found == Difference(7, "t1", "has rows that the journal doesn't hold")


def test_texts_that_can_not_be_are_a_difference_and_no_crash(tmp_path: Path) -> None:
    rows = table_of(Table.COVERAGE, ROWS)
    offsets = pa.array(range(11), pa.int32()).buffers()[1]
    broken = pa.StringArray.from_buffers(10, offsets, pa.py_buffer(b"\xee" * 10))
    place = rows.column_names.index("topic")
    bad = rows.set_column(place, rows.schema.field("topic"), broken)
    found = compare(write(tmp_path / "a.parquet", bad), rows)
    assert found is not None
    assert found.row == 0
    assert "topic is b'\\xee', the journal says t0" in found.what


def test_a_file_that_is_not_there_differs_in_nothing(tmp_path: Path) -> None:
    assert compare(tmp_path / "nothing.parquet", table_of(Table.COVERAGE, ROWS)) is None


def test_a_file_of_another_table_and_one_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    rows = table_of(Table.COVERAGE, ROWS)
    assert compare(path, rows) == Difference(None, None, "has other columns than its table")
    path.write_bytes(b"nothing of that kind")
    found = compare(path, rows)
    assert found is not None
    assert found.what.startswith("is no Parquet file any more")
