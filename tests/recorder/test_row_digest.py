"""The digest of a set of rows: order and cuts don't matter, every value does."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import row_digest
from recorder.row_digest import RowDigest

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("small", pa.int8()),
        pa.field("flag", pa.bool_()),
        pa.field("text", pa.string()),
        pa.field("name", pa.dictionary(pa.int8(), pa.string())),
        pa.field("bytes", pa.binary()),
        pa.field("uuid", pa.binary(16)),
        pa.field("decimal", pa.decimal128(38, 18)),
        pa.field("levels", pa.list_(pa.int64())),
    ]
)
ROW = st.fixed_dictionaries(
    {
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "small": st.none() | st.integers(-128, 127),
        "flag": st.none() | st.booleans(),
        "text": st.none() | st.text(max_size=4),
        "name": st.none() | st.sampled_from(["a", "b", ""]),
        "bytes": st.none() | st.binary(max_size=4),
        "uuid": st.none() | st.binary(min_size=16, max_size=16),
        "decimal": st.none() | st.integers(-(10**37), 10**37).map(lambda n: Decimal(n).scaleb(-18)),
        "levels": st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    }
)


def digest(*tables: pa.Table) -> RowDigest:
    found = RowDigest()
    for table in tables:
        found.add(table)
    return found


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCHEMA)


@given(st.lists(ROW, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_and_cuts_do_not_matter(rows: list[dict[str, Any]], random: Any, at: int) -> None:
    shuffled = random.sample(rows, len(rows))
    whole, other = table(rows), table(shuffled)
    assert digest(whole) == digest(other.slice(0, at), other.slice(at))
    padded = pa.concat_tables([table(rows[:1] * 2), whole]).slice(2 if rows else 0)
    assert digest(padded) == digest(whole)


@given(st.lists(ROW, max_size=8), st.integers(1, 9))
def test_neither_does_how_much_is_hashed_at_once(rows: list[dict[str, Any]], at_once: int) -> None:
    expected = digest(table(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_digest, "_AT_ONCE", at_once)
        assert digest(table(rows)) == expected


@pytest.mark.parametrize("type_", [pa.binary(), pa.string(), pa.list_(pa.int64())])
def test_long_texts_and_lists_take_little_memory(type_: pa.DataType) -> None:
    """Not their lengths: numbers of eight bytes are made of each byte, half a dozen times."""
    value = [7] * 1_000 if pa.types.is_list(type_) else b"x" * 1_000
    rows = pa.table({"value": pa.array([value] * 8_000).cast(type_)})
    tracemalloc.start()
    try:
        digest(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


@given(st.lists(ROW, min_size=1, max_size=6), ROW, st.data())
def test_every_value_matters(rows: list[dict[str, Any]], other: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(SCHEMA.names))
    place = data.draw(st.integers(0, len(rows) - 1))
    changed = [row | ({name: other[name]} if number == place else {}) for number, row in enumerate(rows)]
    assert (digest(table(changed)) == digest(table(rows))) is (changed == rows)


@given(st.lists(ROW, min_size=1, max_size=6))
def test_counts_matter(rows: list[dict[str, Any]]) -> None:
    assert digest(table(rows)) != digest(table(rows[1:]))
    assert digest(table(rows)) != digest(table([*rows, rows[0]]))
    assert digest(table([*rows, rows[0], rows[0]])) != digest(table(rows))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([1, 2], [2, 1]),
        ([1], [1, 0]),
        ([], [0]),
        (None, []),
        ([0, 0], [0]),
    ],
)
def test_places_and_lengths_of_lists_matter(left: list[int] | None, right: list[int] | None) -> None:
    row = dict.fromkeys(SCHEMA.names)
    assert digest(table([row | {"levels": left}])) != digest(table([row | {"levels": right}]))


def test_values_that_change_places_between_rows_or_columns_are_seen() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64())])
    rows = pa.table({"a": [1, 2], "b": [3, 4]}, schema)
    assert digest(rows) != digest(pa.table({"a": [2, 1], "b": [3, 4]}, schema))
    assert digest(rows) != digest(pa.table({"a": [3, 2], "b": [1, 4]}, schema))
    assert repr(digest(rows)).startswith("<RowDigest 2 rows ")
    assert digest(rows) != "something else"
