"""Rows in the form of files and back: nothing is lost, whatever the ids and decimals are."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.stored_rows import holds, restore, store
from schemas.names import Table
from schemas.stored import EXPONENT_OF, stored_schema, written_schema
from schemas.tables import SCHEMAS, TICKER_DECIMAL, schema_of
from tests.recorder.archives import table_of
from tests.table_rows import plain, table_rows

RESHAPED = st.sampled_from([Table.TRADES, Table.TICKERS])


@settings(max_examples=60, deadline=None)
@given(st.data(), RESHAPED)
def test_what_is_stored_is_restored(data: st.DataObject, table: Table) -> None:
    rows = data.draw(table_rows(table))
    stored = store(table, rows)
    assert stored.schema.equals(written_schema(table))
    stored.validate(full=True)
    assert restore(table, stored).equals(rows)


@settings(max_examples=30, deadline=None)
@given(st.data(), RESHAPED)
def test_pieces_are_restored_as_the_whole(data: st.DataObject, table: Table) -> None:
    parts = [data.draw(table_rows(table, max_size=6)) for _ in range(2)]
    # row groups with exponents of their own, and slices that do not begin at the start of their buffers
    stored = pa.concat_tables([store(table, part) for part in parts])
    whole = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    start = data.draw(st.integers(0, stored.num_rows))
    found = restore(table, stored.slice(start))
    assert plain(found, whole).equals(plain(whole.slice(start), whole))
    again = restore(table, store(table, whole.slice(start)))
    assert plain(again, whole).equals(plain(whole.slice(start), whole))


def _trades(ids: list[str]) -> pa.Table:
    return table_of(Table.TRADES, [{"sequence": i, "trade_id": id_} for i, id_ in enumerate(ids)])


@pytest.mark.parametrize(
    ("id_", "column"),
    [
        ("06c5bdb5-e135-538e-b145-e72e194ac54c", "trade_uuid"),
        ("06C5BDB5-e135-538e-b145-e72e194ac54c", "trade_id"),
        ("06c5bdb5e135-538e-b145-e72e194ac54c-", "trade_id"),
        ("06c5bdb5-e135-538e-b145-e72e194ac54g", "trade_id"),
        ("2290000000068683729", "trade_number"),
        ("0", "trade_number"),
        ("9223372036854775807", "trade_number"),
        ("9223372036854775808", "trade_id"),
        ("99999999999999999999", "trade_id"),
        ("007", "trade_id"),
        ("+7", "trade_id"),
        ("-7", "trade_id"),
        (" 7", "trade_id"),
        ("7\n", "trade_id"),
        ("\u0667", "trade_id"),  # a digit, but not one of ours
        ("", "trade_id"),
    ],
)
@pytest.mark.parametrize("others", [[], ["7"], ["x"], ["16c5bdb5-e135-538e-b145-e72e194ac54c"]])
def test_an_id_lies_in_one_column(id_: str, column: str, others: list[str]) -> None:
    stored = store(Table.TRADES, _trades([*others, id_])).slice(len(others)).to_pylist()[0]
    found = {
        name: stored[name] for name in ("trade_id", "trade_uuid", "trade_number") if stored[name] is not None
    }
    value = {"trade_id": lambda: id_, "trade_uuid": lambda: UUID(id_).bytes, "trade_number": lambda: int(id_)}
    assert found == {column: value[column]()}


def _tickers(**columns: list[str | None]) -> pa.Table:
    n = len(next(iter(columns.values())))
    return table_of(
        Table.TICKERS,
        [{"sequence": i} | {name: values[i] for name, values in columns.items()} for i in range(n)],
    )


def test_columns_of_one_unit_share_the_largest_exponent_that_loses_nothing() -> None:
    rows = _tickers(
        last_price=["61809.5", "61809", None],
        mark_price=["61809.45", None, None],
        turnover_24h=["45520781921.5928"] * 3,
        funding_rate=[None, "0.0001", "-0.00012"],
        open_interest=["5000", "0", "70"],
    )
    stored = store(Table.TICKERS, rows)
    first = stored.to_pylist()[0]
    assert {name: first[name] for name in set(EXPONENT_OF.values())} == {
        "price_exponent": -2,
        "size_exponent": 0,
        "value_exponent": -4,
        "ratio_exponent": -5,
    }
    assert stored["last_price_mantissa"].to_pylist() == [6180950, 6180900, None]
    assert stored["mark_price_mantissa"].to_pylist() == [6180945, None, None]
    assert stored["turnover_24h_mantissa"].to_pylist() == [455207819215928] * 3
    assert stored["funding_rate_mantissa"].to_pylist() == [None, 10, -12]


@pytest.mark.parametrize(
    ("values", "exponent"),
    [
        (["0"], 0),
        (["99999999999999999999.999999999999999999", "-1"], -18),
        (["0.000000000000000001"], -18),
        (["0.5", "0.25", "0.125"], -3),
        # divisible by 2^18 at every scale, by 10 at none: only dividing shows it
        ([str(Decimal(2**18) / 10**18)], -18),
        ([None], 0),
    ],
)
def test_exponents(values: list[str | None], exponent: int) -> None:
    stored = store(Table.TICKERS, _tickers(last_price=values))
    assert set(stored["price_exponent"].to_pylist()) == {exponent}
    found = restore(Table.TICKERS, stored)["last_price"]
    assert found.to_pylist() == [None if value is None else Decimal(value) for value in values]


def test_every_decimal_of_tickers_has_an_exponent() -> None:
    decimals = {field.name for field in SCHEMAS[Table.TICKERS] if field.type == TICKER_DECIMAL}
    assert set(EXPONENT_OF) == decimals


def test_some_columns_are_enough() -> None:
    stored = store(Table.TRADES, _trades(["7", "x"]))
    assert restore(Table.TRADES, stored.select(["sequence"])).to_pydict() == {"sequence": [0, 1]}
    assert restore(Table.TRADES, stored.select(["side", "sequence"])).schema.names == ["sequence", "side"]


@pytest.mark.parametrize("table", list(SCHEMAS))
def test_files_of_both_versions_are_known(table: Table) -> None:
    assert holds(table, stored_schema(table))
    assert holds(table, schema_of(table))
    assert not holds(table, schema_of(table).remove(0))


@settings(max_examples=20, deadline=None)
@given(st.data(), RESHAPED)
def test_rows_of_version_1_stay_as_they_are(data: st.DataObject, table: Table) -> None:
    rows = data.draw(table_rows(table))
    assert restore(table, rows).equals(rows)


@pytest.mark.parametrize("exponent", [1, -19, 127])
def test_exponents_that_no_decimal_has_are_refused(exponent: int) -> None:
    stored = store(Table.TICKERS, _tickers(last_price=["1"]))
    place = stored.schema.get_field_index("price_exponent")
    wrong = stored.set_column(place, stored.schema.field(place), pa.array([exponent], pa.int8()))
    with pytest.raises(pa.ArrowInvalid, match="expected -18 to 0"):
        restore(Table.TICKERS, wrong)
