"""Thrift's compact protocol: what pyarrow writes comes back byte for byte, and nonsense is refused."""

from __future__ import annotations

import io
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.pages import struct_end
from engine.stored_rows import store
from recorder.encodings import profile
from recorder.thrift import BINARY, BYTE, DOUBLE, I16, I32, I64, LIST, STRUCT, TRUE, Struct, decode, encode
from schemas.names import Table
from schemas.stored import written_schema
from tests.table_rows import random_rows

INT64 = st.integers(-(2**63), 2**63 - 1)
TYPED: dict[int, st.SearchStrategy[Any]] = {
    TRUE: st.booleans(),
    BYTE: st.integers(0, 255),
    I16: st.integers(-(2**15), 2**15 - 1),
    I32: st.integers(-(2**31), 2**31 - 1),
    I64: INT64,
    DOUBLE: st.binary(min_size=8, max_size=8),
    BINARY: st.binary(max_size=20),
}
LEAVES = st.sampled_from(sorted(TYPED)).flatmap(lambda type_: st.tuples(st.just(type_), TYPED[type_]))


def _lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def of(type_: int) -> st.SearchStrategy[Any]:
        elements = TYPED.get(type_)
        if elements is None:
            elements = st.dictionaries(st.integers(-9, 40), values, max_size=3)
        return st.tuples(st.just(LIST), st.tuples(st.just(type_), st.lists(elements, max_size=17)))

    return st.sampled_from([*TYPED, STRUCT]).flatmap(of)


VALUES = st.recursive(
    LEAVES,
    lambda values: st.one_of(
        _lists(values), st.tuples(st.just(STRUCT), st.dictionaries(st.integers(-9, 40), values, max_size=4))
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.integers(-(2**15), 2**15 - 1), VALUES, max_size=5), st.binary(max_size=3))
def test_structs_come_back(struct: Struct, behind: bytes) -> None:
    content = encode(struct)
    assert decode(content + behind) == (struct, len(content))
    assert struct_end(behind + content + behind, len(behind)) == len(behind + content)
    for deepest in range(3):
        found, end = decode(content + behind, deepest)
        assert (encode(found), end) == (content, len(content))


@pytest.mark.parametrize("table", [Table.BOOK_UPDATES, Table.TRADES, Table.TICKERS])
def test_footers_of_pyarrow_come_back_byte_for_byte(table: Table) -> None:
    file = io.BytesIO()
    with pq.ParquetWriter(file, written_schema(table), **profile("roll", table).writer) as writer:
        writer.add_key_value_metadata({"a": "b"})
        for seed in range(20):
            writer.write_table(store(table, random_rows(table, seed, 30)))
    content = file.getvalue()
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    found, end = decode(footer)
    assert end == length
    assert encode(found) == footer
    assert len(found[4][1][1]) == 20  # its row groups


@given(st.binary(max_size=60))
def test_nonsense_is_refused_or_read(content: bytes) -> None:
    try:
        found, end = decode(content)
    except ValueError:
        return
    assert struct_end(content, 0) == end <= len(content)
    assert decode(encode(found)) == (found, len(encode(found)))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "ends too early"),
        (b"\x18\x05ab", "ends too early"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "ends too early"),
        (b"\x16" + b"\xff" * 10 + b"\x01\x00", "more than 64 bits"),
        (b"\x1c" * 40, "too deep"),
        (b"\x1b\x00", "type 11"),
    ],
)
def test_what_is_none(content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        decode(content)
    assert struct_end(content, 0) == -1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"\x16" + b"\xff" * 9 + b"\x02\x00", "more than 64 bits"),
        (b"\x06\x80\x80\x04\x00\x00", "field 32768, expected one of 16 bits"),
    ],
)
def test_numbers_that_are_too_large(content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        decode(content)


@given(st.binary(max_size=60), st.integers(-2, 62))
def test_where_nonsense_ends(content: bytes, at: int) -> None:
    assert -1 <= struct_end(content, at) <= len(content)


def test_a_struct_that_is_cut_is_not_left_as_it_is() -> None:
    content = encode({1: (STRUCT, {1: (BINARY, b"abc")})})
    for end in range(2, len(content) - 1):
        with pytest.raises(ValueError, match="ends too early"):
            decode(content[:end], 0)
