"""Whole numbers that are not written by pyarrow: the files are those of pyarrow in all that a reader sees."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.stored_rows import store
from recorder.encodings import open_writer, profile
from recorder.number_writer import NumberWriter
from schemas.names import Table
from tests.table_rows import random_rows, table_rows

TABLES = (Table.BOOK_UPDATES, Table.RPI_BOOK_UPDATES, Table.TRADES)


def _written(table: Table, apart: bool, *groups: pa.Table) -> bytes:
    file = io.BytesIO()
    how = profile("roll", table)
    assert how.own
    with open_writer(file, table, how if apart else how._replace(own=())) as writer:
        assert isinstance(writer, NumberWriter) == apart
        for rows in groups:
            writer.write_table(store(table, rows.combine_chunks()))
    return file.getvalue()


@pytest.mark.parametrize("table", TABLES)
@given(data=st.data())
@settings(max_examples=10)
def test_rows_are_those_of_pyarrow(table: Table, data: st.DataObject) -> None:
    groups = data.draw(st.lists(table_rows(table), min_size=1, max_size=3))
    one, other = (pq.read_table(io.BytesIO(_written(table, apart, *groups))) for apart in (True, False))
    assert one.schema.equals(other.schema, check_metadata=True)
    assert one.equals(other)


@pytest.mark.parametrize("table", TABLES)
def test_the_footer_adds_up(table: Table) -> None:
    groups = [random_rows(table, seed, 40 * seed) for seed in (1, 2, 3)]
    content = _written(table, True, *groups)
    found, expected = (
        pq.read_metadata(io.BytesIO(file)) for file in (content, _written(table, False, *groups))
    )
    assert found.schema.equals(expected.schema)
    assert (found.num_rows, found.num_row_groups) == (expected.num_rows, expected.num_row_groups) == (240, 3)
    assert found.metadata == expected.metadata
    places = [4]
    for number in range(3):
        group, other = found.row_group(number), expected.row_group(number)
        assert (group.num_rows, group.num_columns) == (other.num_rows, other.num_columns)
        columns = [group.column(at) for at in range(group.num_columns)]
        assert group.total_byte_size == sum(column.total_uncompressed_size for column in columns)
        for at, column in enumerate(columns):
            theirs = other.column(at)
            for name in ("path_in_schema", "physical_type", "num_values", "is_stats_set"):
                assert getattr(column, name) == getattr(theirs, name)
            if column.is_stats_set:
                for name in ("min", "max", "null_count"):
                    assert getattr(column.statistics, name) == getattr(theirs.statistics, name)
            assert set(column.encodings) == set(theirs.encodings)
            is_own = column.path_in_schema.split(".")[0] in profile("roll", table).own
            assert column.compression == ("UNCOMPRESSED" if is_own else theirs.compression)
            start = column.dictionary_page_offset or column.data_page_offset
            places += [start, start + column.total_compressed_size]
    # the chunks lie one behind the other, and nothing between them
    ends = sorted(set(places))
    assert all(places.count(place) == 2 for place in ends[:-1])
    assert ends[-1] == len(content) - 8 - int.from_bytes(content[-8:-4], "little")


@pytest.mark.parametrize("table", TABLES)
def test_a_path_will_do_and_nothing_is_a_file_too(tmp_path: Path, table: Table) -> None:
    path = tmp_path / "a.parquet"
    with open_writer(path, table, profile("roll", table)) as writer:
        writer.write_table(store(table, random_rows(table, 1, 0)))
    assert pq.read_table(path).num_rows == 0
    with open_writer(str(path), table, profile("roll", table)) as writer:
        writer.write_table(store(table, random_rows(table, 1, 7)), row_group_size=7)
        assert writer.is_open
    writer.close()
    assert not writer.is_open
    assert pq.read_table(path).num_rows == 7


def test_what_it_does_not_write() -> None:
    rows = random_rows(Table.BOOK_UPDATES, 1, 5)
    at = rows.schema.get_field_index("bid_price_mantissa")
    for lists in ([None] * 5, [[1, None]] * 5):
        others = rows.set_column(at, rows.schema.names[at], pa.array(lists, pa.list_(pa.int64())))
        file = io.BytesIO()
        writer = open_writer(file, Table.BOOK_UPDATES, profile("roll", Table.BOOK_UPDATES))
        with pytest.raises(ValueError, match="bid_price_mantissa: found nulls"):
            writer.write_table(others)
        writer.close()
        assert not file.getvalue().endswith(b"PAR1")  # nobody takes it for a file
    at = rows.schema.get_field_index("sequence")
    others = rows.set_column(at, "sequence", pa.array([1, None, 3, 4, 5], pa.int64()))
    writer = open_writer(io.BytesIO(), Table.BOOK_UPDATES, profile("roll", Table.BOOK_UPDATES))
    with pytest.raises(ValueError, match="sequence: found nulls, expected numbers"):
        writer.write_table(others)
    writer.close()
    writer = open_writer(io.BytesIO(), Table.BOOK_UPDATES, profile("roll", Table.BOOK_UPDATES))
    with pytest.raises(ValueError, match="5 rows, expected at most 4"):
        writer.write_table(rows, row_group_size=4)
    writer.close()


class _Full(io.BytesIO):
    """A disk that is full after so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def write(self, content: Any) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(28, "No space left on device")
        return super().write(content)


def test_a_full_disk_is_an_error_wherever_it_is_met() -> None:
    rows = [random_rows(Table.BOOK_UPDATES, seed, 30) for seed in (1, 2)]
    whole = len(_written(Table.BOOK_UPDATES, True, *rows))
    for room in range(4, whole, 97):
        file = _Full(room)
        writer = open_writer(file, Table.BOOK_UPDATES, profile("roll", Table.BOOK_UPDATES))
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012 (whichever of the calls it is)
            for part in rows:
                writer.write_table(part)
            writer.close()
        writer.close()  # as whoever gives up does
        assert not file.getvalue()[4:].endswith(b"PAR1")
