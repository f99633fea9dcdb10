"""schemas.views and the SQL files: what each view and macro gives, on rows made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.describe import describe_tables
from schemas.names import Table
from schemas.tables import SCHEMAS
from schemas.views import view_statements

MS = 1_000_000


@pytest.fixture(scope="module")
def macros() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    statements = view_statements()
    connection.execute(statements[: statements.index("CREATE VIEW")])
    yield connection
    connection.close()


def rows_of(connection: duckdb.DuckDBPyConnection, sql: str) -> list[dict[str, Any]]:
    return connection.sql(sql).to_arrow_table().to_pylist()


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-18, 0))
def test_exact_price_is_exact_for_every_int64_and_exponent(
    macros: duckdb.DuckDBPyConnection, mantissa: int, exponent: int
) -> None:
    arguments = f"({mantissa})::BIGINT, ({exponent})::TINYINT"
    (row,) = rows_of(macros, f"SELECT exact_price({arguments}) AS p, exact_size({arguments}) AS s")
    assert row["p"] == row["s"] == Decimal(mantissa).scaleb(exponent)


@given(st.integers(-(10**38) + 1, 10**38 - 1), st.integers(0, 18), st.integers(0, 38))
def test_exact_decimal_is_exact_for_every_decimal_of_tickers(
    macros: duckdb.DuckDBPyConnection, digits: int, places: int, dropped: int
) -> None:
    mantissa = digits // 10**dropped  # short ones too
    while abs(mantissa) >= 10 ** (20 + places):  # DECIMAL(38,18) has twenty digits before the point
        mantissa //= 10
    value = Decimal(f"{mantissa}e-{places}")
    exponent = f"(SELECT ({-places})::TINYINT AS e)"
    decimal = f"exact_decimal(({mantissa})::DECIMAL(38,0), step_of(e), steps_of(e))"
    (row,) = rows_of(macros, f"SELECT {decimal} AS d FROM {exponent}")
    assert row["d"] == value


def test_exact_price_has_the_promised_type_and_nulls(macros: duckdb.DuckDBPyConnection) -> None:
    table = macros.sql(
        "SELECT exact_price(6180940::BIGINT, -2) AS a, exact_price(NULL::BIGINT, e) AS b, "
        "exact_price(5::BIGINT, e - 17) AS c FROM (VALUES (-2::TINYINT)) AS t(e)"
    )
    found = table.to_arrow_table()
    assert found.schema.types[0] == pa.decimal128(38, 18)
    assert found.to_pylist() == [{"a": Decimal("61809.40"), "b": None, "c": None}]


@given(st.integers(-(2**53), 2**53), st.integers(-18, 0))
def test_nearest_double_is_the_double_of_the_text(
    macros: duckdb.DuckDBPyConnection, mantissa: int, exponent: int
) -> None:
    (row,) = rows_of(macros, f"SELECT nearest_double(({mantissa})::BIGINT, ({exponent})::TINYINT) AS p")
    assert row["p"] == float(f"{mantissa}e{exponent}")


@pytest.mark.skipif(duckdb.__version__ < "2", reason="older DuckDBs have no TIMESTAMPTZ_NS")
def test_elapsed_ns_takes_both_resolutions(macros: duckdb.DuckDBPyConnection) -> None:
    pushed = "TIMESTAMPTZ '2024-08-08 23:55:00.001+00'"
    received = "TIMESTAMPTZ_NS '2024-08-08 23:55:00.001000007+00'"
    assert rows_of(macros, f"SELECT elapsed_ns({pushed}, {received}) AS ns") == [{"ns": 7}]


def test_tables_page_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "tables.md"
    assert page.read_text() == describe_tables(), "run: python -m schemas.describe > docs/tables.md"


def test_tables_page_names_every_column() -> None:
    page = describe_tables()
    for table in Table:
        assert f"## {table.value}\n" in page
        for field in SCHEMAS[table]:
            assert f"| `{field.name}` |" in page
