"""Replayed rows and samples of them equal what a slow reader makes of the definitions, however the rows are cut."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import DataError
from tests.book_rows import (
    NS_PER_MS,
    Row,
    SlowBook,
    as_columns,
    cut,
    grid,
    reached,
    slow_flow,
    state_at,
    table_of,
    with_digests,
)

replay = pytest.importorskip("engine.core.replay", reason="the extensions are not built (make build)")
sampling = pytest.importorskip("engine.sampling")

NAMES = ("bid_price_mantissa", "bid_size_mantissa", "ask_price_mantissa", "ask_size_mantissa")

# Few prices, so that they meet again; in any order; of either sign, as spreads have.
_SIDES = st.lists(
    st.tuples(st.integers(-2, 14), st.sampled_from([0, 0, 0, 1, 2, 3, 40])),
    max_size=9,
    unique_by=lambda level: level[0],
)
_KINDS = st.sampled_from(["delta"] * 6 + ["snapshot", "keyframe", "refused", "refused snapshot", "late"])
_EXPONENTS = st.sampled_from([-2, -2, -2, -2, -1, -3])
_BORDERS = st.lists(st.integers(0, 30), max_size=4)


@st.composite
def histories(draw: Any, *, faithful: bool = False, depth: int = 50) -> list[Row]:
    """Rows as roll could have written them; ``faithful``: a keyframe is the book, and nothing comes before a book."""
    rows: list[Row] = []
    book = SlowBook(depth)
    sequence, match_ms = draw(st.integers(0, 5)), 1_000
    for number in range(draw(st.integers(0, 16))):
        kind = "snapshot" if faithful and number == 0 else draw(_KINDS)
        held = book.update_id if book.book is not None else draw(st.integers(1, 5))
        sequence += draw(st.integers(0, 2))
        match_ms += draw(st.sampled_from([0, 0, 1, 2, 5, 17, -1, -6]))
        row = Row(
            bids=draw(_SIDES),
            asks=draw(_SIDES),
            update_id=held + 1,
            sequence=sequence,
            match_ms=draw(st.sampled_from([match_ms, match_ms, match_ms, None])),
            receive_ns=match_ms * NS_PER_MS + number,
            price_exponent=draw(_EXPONENTS),
            size_exponent=draw(_EXPONENTS),
            depth=depth,
        )
        changes: dict[str, Any] = {}
        if kind == "snapshot":
            changes = {"kind": kind, "update_id": draw(st.sampled_from([held, held + 1, held + 3, 1]))}
        elif kind == "keyframe":
            changes = {"kind": kind, "update_id": held}
            if faithful:
                finer = draw(st.integers(0, 1))
                bids, asks = book.levels(100)
                changes |= {
                    "price_exponent": -book.pair[0] - finer,
                    "size_exponent": -book.pair[1],
                    "bids": [(price * 10**finer, size) for price, size in bids],
                    "asks": [(price * 10**finer, size) for price, size in asks],
                }
        elif kind == "late":
            changes = {"applied": False, "update_id": draw(st.integers(0, held))}
        elif kind.startswith("refused"):
            changes = {
                "applied": False,
                "kind": "snapshot" if "snapshot" in kind else "delta",
                "update_id": held + draw(st.integers(0, 3)),
            }
        row = Row(**{**vars(row), **changes})
        book.take(row)
        rows.append(row)
    return rows


def _pieces(rows: list[Row], borders: list[int]) -> list[pa.RecordBatch]:
    return cut(table_of(rows), borders)


def _best(book: SlowBook) -> list[Any]:
    bids, asks = book.levels(1)
    out: list[Any] = []
    for side in (bids, asks):
        out += side[0] if side else (None, None)
    return [*out, -book.pair[0], -book.pair[1], book.trusted]


@given(rows=histories(), borders=_BORDERS)
def test_best_prices_behind_every_row(rows: list[Row], borders: list[int]) -> None:
    books, slow = replay.BookReplay(50), SlowBook()
    found: list[list[Any]] = []
    for piece in _pieces(rows, borders):
        found += map(list, zip(*as_columns(books.best(piece)).values(), strict=True))
    expected = []
    for row in rows:
        slow.take(row)
        expected.append(_best(slow))
    assert found == expected
    assert (books.held, books.trusted) == (slow.book is not None, slow.trusted)
    assert [books.bids(100), books.asks(100)] == list(slow.levels(100))
    if slow.book is not None:
        assert books.digest == books.recomputed_digest() == slow.digest
        assert (books.update_id, books.sequence) == (slow.update_id, slow.sequence)


@given(rows=histories(), borders=_BORDERS)
def test_a_chunked_table_is_one_table(rows: list[Row], borders: list[int]) -> None:
    table = table_of(rows)
    chunked = pa.concat_tables(
        [table.slice(a, b - a) for a, b in zip([0, *sorted(borders)], [*sorted(borders), 40], strict=True)]
    )
    whole = pa.Table.from_batches([replay.BookReplay(50).best(table)])
    assert pa.Table.from_batches([replay.BookReplay(50).best(chunked)]).equals(whole)


@given(rows=histories(faithful=True), chosen=st.sets(st.integers(0, 16)), borders=_BORDERS, data=st.data())
def test_what_verify_finds(rows: list[Row], chosen: set[int], borders: list[int], data: Any) -> None:
    rows = with_digests(rows, chosen)
    books = replay.BookReplay(50)
    assert [books.verify(piece) for piece in _pieces(rows, borders)] == [None] * len(_pieces(rows, borders))
    digests = [index for index, row in enumerate(rows) if row.digest is not None]
    assert books.counts["digests"] == len(digests)
    if digests:
        wrong = data.draw(st.sampled_from(digests))
        digest = rows[wrong].digest
        assert digest is not None
        rows[wrong] = Row(**{**vars(rows[wrong]), "digest": digest ^ 1 << data.draw(st.integers(0, 63))})
        found = replay.BookReplay(50).verify(table_of(rows))
        assert found is not None
        assert found[0] == wrong
        assert f"the rows make a book with digest {digest:016x}" in found[1]


@given(feeds=st.lists(histories(), min_size=1, max_size=5), threads=st.integers(2, 4))
def test_threads_change_nothing(feeds: list[list[Row]], threads: int) -> None:
    tables = {f"feed {number}": table_of(rows) for number, rows in enumerate(feeds)}
    alone = replay.replay_books(tables)
    together = replay.replay_books(tables, threads=threads)
    assert list(alone) == list(together) == list(tables)
    for key, table in tables.items():
        assert alone[key].equals(together[key])
        assert alone[key].equals(replay.BookReplay(50).best(table))


# ---- anything at all ------------------------------------------------------------------------------------


_INT64S = st.integers(-3, 12) | st.sampled_from([2**63 - 1, -(2**63), 1 - 2**63, 10**15])
_SMALL = st.integers(-2, 9) | st.sampled_from([-128, 127, -18, -19, 30])


class Overwritten:
    """A table whose buffers are written over behind Arrow's back, so that nobody has looked at what is in them."""

    def __init__(self, rows: list[Row], data: Any) -> None:
        table = table_of(rows).combine_chunks()
        self._memory: list[tuple[Any, st.SearchStrategy[int]]] = []
        arrays = [self._again(table[name].combine_chunks()) for name in table.schema.names]
        self.table = pa.Table.from_arrays(arrays, names=table.schema.names)
        for values, numbers in self._memory:
            places = st.integers(0, max(len(values) - 1, 0))
            for place, number in (
                data.draw(st.lists(st.tuples(places, numbers), max_size=2)) if len(values) else ()
            ):
                values[place] = number

    def _again(self, array: Any) -> Any:
        if pa.types.is_dictionary(array.type):
            return pa.DictionaryArray.from_arrays(self._again(array.indices), array.dictionary, safe=False)
        if pa.types.is_list(array.type):
            edges = st.integers(-2, 12) | st.sampled_from([2**31 - 1, -(2**31)])
            offsets, values = self._copied(array, np.int32, 1, edges), self._again(array.values)
            return pa.Array.from_buffers(
                array.type, len(array), [None, pa.py_buffer(offsets)], children=[values]
            )
        if pa.types.is_boolean(array.type) or pa.types.is_string(array.type):
            return array
        dtype = np.dtype(f"<i{array.type.bit_width // 8}")
        values = self._copied(array, dtype, 0, _INT64S if dtype.itemsize == 8 else _SMALL)
        return pa.Array.from_buffers(array.type, len(array), [array.buffers()[0], pa.py_buffer(values)])

    def _copied(self, array: Any, dtype: Any, more: int, numbers: st.SearchStrategy[int]) -> Any:
        buffer = array.buffers()[1]
        values = np.frombuffer(buffer if buffer is not None else b"", dtype)[: len(array) + more].copy()
        self._memory.append((values, numbers))
        return values


@given(rows=histories(faithful=True), data=st.data())
def test_any_numbers_in_any_buffer(rows: list[Row], data: Any) -> None:
    """Taken or refused, and what is left is a book."""
    table = Overwritten(rows, data).table
    for take in ("best", "verify"):
        books = replay.BookReplay(50)
        with contextlib.suppress(DataError):
            getattr(books, take)(table)
        assert books.digest == books.recomputed_digest()
        assert books.bids() == sorted(books.bids(), reverse=True)
        assert books.asks() == sorted(books.asks())
        assert all(size > 0 for _, size in [*books.bids(), *books.asks()])
    for sample in (sampling.snapshots, sampling.order_flow):
        with contextlib.suppress(DataError):
            sample(table, every_updates=1)
            sample(table, every_ns=10**18, clock="receive")


# ---- samples -------------------------------------------------------------------------------------------------------


@st.composite
def questions(draw: Any) -> dict[str, Any]:
    """What samples are asked for, by time, around the times that histories have."""
    moment = st.none() | st.integers(980, 1_100).map(lambda ms: ms * NS_PER_MS + 1)
    return {
        "every_ns": draw(st.sampled_from([3 * NS_PER_MS, 7_000_001, 10**9])),
        "origin_ns": draw(st.sampled_from([0, 1, 10**12, -7_777_777])),
        "start_ns": draw(moment),
        "end_ns": draw(moment),
        "clock": draw(st.sampled_from(["match", "receive"])),
    }


def _clocks(rows: list[Row], clock: str) -> list[int | None]:
    if clock == "receive":
        return [row.receive_ns for row in rows]
    return [None if row.match_ms is None else row.match_ms * NS_PER_MS for row in rows]


def _samples(function: Any, rows: list[Row], borders: list[int], **options: Any) -> list[dict[str, Any]]:
    """Samples of the pieces, which are those of the whole."""
    reader = function(iter(_pieces(rows, borders)), **options)
    pieces = pa.Table.from_batches(list(reader), reader.schema)
    assert pieces.equals(function(table_of(rows), **options))
    columns = as_columns(pieces)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _moments(rows: list[Row], asked: dict[str, Any]) -> list[tuple[int, SlowBook, int]]:
    clocks = _clocks(rows, asked["clock"])
    moments = grid(clocks, asked["every_ns"], asked["origin_ns"], asked["start_ns"], asked["end_ns"])
    states = [(at_ns, *state_at(rows, clocks, at_ns)) for at_ns in moments]
    return [(at_ns, book, length) for at_ns, book, length in states if book.book is not None]


def _head(at_ns: int, book: SlowBook) -> dict[str, Any]:
    return {
        "time": at_ns,
        "age_ns": None if book.clock_ns is None else at_ns - book.clock_ns,
        "update_id": book.update_id,
        "sequence": book.sequence,
        "trusted": book.trusted,
        "price_exponent": -book.pair[0],
        "size_exponent": -book.pair[1],
    }


def _prices_and_sizes(book: SlowBook, count: int) -> dict[str, list[int]]:
    bids, asks = book.levels(count)
    return {
        name: [level[place % 2] for level in (bids, asks)[place // 2]] for place, name in enumerate(NAMES)
    }


@given(rows=histories(), borders=_BORDERS, asked=questions(), levels=st.integers(1, 6))
def test_snapshots_by_time(rows: list[Row], borders: list[int], asked: dict[str, Any], levels: int) -> None:
    found = _samples(sampling.snapshots, rows, borders, levels=levels, **asked)
    expected = [
        {**_head(at_ns, book), **_prices_and_sizes(book, levels)} for at_ns, book, _ in _moments(rows, asked)
    ]
    assert found == expected


@given(rows=histories(), borders=_BORDERS, every=st.integers(1, 4), levels=st.integers(1, 6))
def test_snapshots_by_messages(rows: list[Row], borders: list[int], every: int, levels: int) -> None:
    clocks = _clocks(rows, "match")
    book, messages, expected = SlowBook(), 0, []
    for row, clock_ns, highest in zip(rows, clocks, reached(clocks), strict=True):
        book.take(row, clock_ns)
        if book.took and row.kind != "keyframe":
            messages += 1
            if messages % every == 0 and highest is not None:
                expected.append({**_head(highest, book), **_prices_and_sizes(book, levels)})
    assert _samples(sampling.snapshots, rows, borders, levels=levels, every_updates=every) == expected


@given(rows=histories(), borders=_BORDERS, asked=questions())
def test_order_flow(rows: list[Row], borders: list[int], asked: dict[str, Any]) -> None:
    found = _samples(sampling.order_flow, rows, borders, **asked)
    clocks = _clocks(rows, asked["clock"])
    highest = [-(2**63) if reading is None else reading for reading in reached(clocks)]
    first_reading = next((reading for reading in clocks if reading is not None), 0)
    moments = _moments(rows, asked)
    for sample, (at_ns, book, length) in zip(found, moments, strict=True):
        before_ns = at_ns - asked["every_ns"]
        is_first = before_ns < first_reading
        begin = 0 if is_first else bisect_left(highest, before_ns + 1)
        wanted = slow_flow(rows, clocks, begin, length, -(2**63) if is_first else before_ns, at_ns, 50)
        _compare_flow(sample, at_ns, book, wanted)


def _compare_flow(sample: dict[str, Any], at_ns: int, book: SlowBook, wanted: dict[str, Any]) -> None:
    mean, mean_found = wanted.pop("mean_spread"), sample.pop("mean_spread_mantissa")
    touch = book.touch
    wanted["spread_mantissa"] = wanted["twice_mid_mantissa"] = None
    if touch.bid and touch.ask:
        wanted["spread_mantissa"] = int((touch.ask[0] - touch.bid[0]).scaleb(book.pair[0]))
        wanted["twice_mid_mantissa"] = int((touch.ask[0] + touch.bid[0]).scaleb(book.pair[0]))
    assert sample == {**_head(at_ns, book), **wanted}
    assert (mean_found is None) == (mean is None)
    if mean is not None:
        assert mean_found == pytest.approx(float(mean * 10 ** book.pair[0]), rel=1e-12, abs=1e-12)


@given(rows=histories(), borders=_BORDERS, every=st.integers(1, 4))
def test_order_flow_by_messages(rows: list[Row], borders: list[int], every: int) -> None:
    found = _samples(sampling.order_flow, rows, borders, every_updates=every)
    clocks = _clocks(rows, "match")
    book, messages, begin, since_ns, number = SlowBook(), 0, 0, -(2**63), 0
    for index, (row, clock_ns, highest) in enumerate(zip(rows, clocks, reached(clocks), strict=True)):
        book.take(row, clock_ns)
        messages += book.took and row.kind != "keyframe"
        if not book.took or row.kind == "keyframe" or messages % every or highest is None:
            continue
        wanted = slow_flow(rows, clocks, begin, index + 1, since_ns, highest, 50)
        _compare_flow(found[number], highest, book, wanted)
        begin, since_ns, number = index + 1, highest, number + 1
    assert number == len(found)


@given(
    rows=histories(),
    borders=_BORDERS,
    asked=questions(),
    bands=st.sets(st.sampled_from([1, 100, 2_500, 10_000]) | st.integers(1, 9_999), min_size=1, max_size=4),
)
def test_depth_profile(rows: list[Row], borders: list[int], asked: dict[str, Any], bands: set[int]) -> None:
    found = _samples(sampling.depth_profile, rows, borders, bands_bps=sorted(bands), **asked)
    moments = _moments(rows, asked)
    for sample, (at_ns, book, _) in zip(found, moments, strict=True):
        touch = book.touch
        wanted: dict[str, Any] = dict.fromkeys(sample)
        wanted |= _head(at_ns, book)
        if touch.bid and touch.ask:
            middle = Fraction(touch.bid[0] + touch.ask[0]) / 2
            wanted["twice_mid_mantissa"] = int((touch.bid[0] + touch.ask[0]).scaleb(book.pair[0]))
            for name, side, sign in zip(("bid", "ask"), book.levels(50), (1, -1), strict=True):
                distances = [
                    (sign * (middle - Fraction(price) * Fraction(10) ** -book.pair[0]), size)
                    for price, size in side
                ]
                reach = [abs(middle) * Fraction(band, 10_000) for band in sorted(bands)]
                wanted[f"{name}_size_mantissa"] = [
                    sum(size for distance, size in distances if distance <= far) for far in reach
                ]
                wanted[f"{name}_bands_covered"] = sum(
                    any(distance > far for distance, _ in distances) for far in reach
                )
        assert sample == wanted
