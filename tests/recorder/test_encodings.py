"""Write profiles: they name columns that exist, and what they write any Parquet reader gives back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder.encodings import Purpose, profile
from schemas.names import Table
from schemas.tables import SCHEMAS, schema_of


def _leaves(table: Table) -> set[str]:
    return {
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema_of(table)
    }


PURPOSES: tuple[Purpose, ...] = ("roll", "compact")


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", list(SCHEMAS))
def test_profiles_name_columns_that_exist(tmp_path: Path, table: Table, purpose: Purpose) -> None:
    found = profile(purpose, table)
    encoded = set(found.writer["column_encoding"] or ())
    dictionaries = set(found.writer["use_dictionary"])
    assert encoded | dictionaries | set(found.writer["write_statistics"]) <= _leaves(table)
    assert not encoded & dictionaries  # pyarrow refuses both
    rows = schema_of(table).empty_table()
    with pq.ParquetWriter(tmp_path / "file", rows.schema, **found.writer) as writer:
        writer.write_table(rows)
    assert pq.read_table(tmp_path / "file").schema.equals(rows.schema, check_metadata=True)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS, Table.KLINES])
def test_what_readers_search_by_has_statistics(table: Table, purpose: Purpose) -> None:
    names = {"sequence", "receive_time", "push_time"}
    assert names <= set(profile(purpose, table).writer["write_statistics"])


def test_compacted_books_can_be_searched_by_depth() -> None:
    assert "depth" in profile("compact", Table.BOOK_UPDATES).writer["write_statistics"]
