"""Write profiles: they name columns that exist, and what they write any Parquet reader gives back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.stored_rows import restore, store
from recorder.encodings import Purpose, open_writer, profile
from schemas.names import Table
from schemas.stored import stored_schema, written_schema
from schemas.tables import SCHEMA_VERSION, SCHEMAS
from tests.table_rows import plain, random_rows, table_rows

PURPOSES: tuple[Purpose, ...] = ("roll", "compact")


def _leaves(table: Table) -> set[str]:
    return {
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in written_schema(table)
    }


def _written(table: Table, purpose: Purpose, *groups: pa.Table) -> bytes:
    file = io.BytesIO()
    with open_writer(file, table, profile(purpose, table)) as writer:
        for rows in groups:
            writer.write_table(store(table, rows.combine_chunks()))
        written = writer
    assert not written.is_open
    return file.getvalue()


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", list(SCHEMAS))
def test_profiles_name_columns_that_exist(table: Table, purpose: Purpose) -> None:
    found = profile(purpose, table)
    encoded = set(found.writer["column_encoding"] or ())
    dictionaries = set(found.writer["use_dictionary"])
    assert encoded | dictionaries | set(found.writer["write_statistics"]) <= _leaves(table)
    assert not encoded & dictionaries  # pyarrow refuses both


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", list(SCHEMAS))
def test_files_hold_the_stored_schema_and_say_what_they_are(table: Table, purpose: Purpose) -> None:
    content = _written(table, purpose, SCHEMAS[table].empty_table())
    schema = pq.read_schema(io.BytesIO(content))
    assert schema.equals(stored_schema(table))
    assert schema.metadata == {
        b"table": table.value.encode(),
        b"schema_version": str(SCHEMA_VERSION).encode(),
    }


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", list(SCHEMAS))
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(st.data())
def test_rows_come_back(table: Table, purpose: Purpose, data: st.DataObject) -> None:
    first, second = data.draw(table_rows(table)), data.draw(table_rows(table))
    content = _written(table, purpose, first, second)
    assert content == _written(table, purpose, first, second)
    found = restore(table, pq.read_table(io.BytesIO(content)))
    expected = pa.concat_tables([first, second])
    assert plain(found, expected).equals(plain(expected, expected))


def _by_duckdb(path: Path) -> pa.Table:
    with duckdb.connect() as connection:
        return connection.sql(f"FROM read_parquet('{path}')").to_arrow_table()


def _by_polars(path: Path) -> pa.Table:
    return pytest.importorskip("polars").read_parquet(path).to_arrow()


def _by_pandas(path: Path) -> pa.Table:
    frame = pytest.importorskip("pandas").read_parquet(path, dtype_backend="pyarrow")
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("read", [_by_duckdb, _by_polars, _by_pandas])
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", list(SCHEMAS))
def test_other_readers_find_the_same(
    tmp_path: Path, table: Table, purpose: Purpose, read: Callable[[Path], pa.Table]
) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(_written(table, purpose, random_rows(table, 1, 200), random_rows(table, 2, 100)))
    expected = pq.read_table(path)
    assert expected.num_rows == 300
    assert plain(read(path), expected).equals(plain(expected, expected))


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.KLINES])
def test_what_readers_search_by_has_statistics(table: Table, purpose: Purpose) -> None:
    names = {"sequence", "receive_time", "push_time"}
    assert names <= set(profile(purpose, table).writer["write_statistics"])


def test_compacted_books_can_be_searched_by_depth() -> None:
    assert "depth" in profile("compact", Table.BOOK_UPDATES).writer["write_statistics"]
