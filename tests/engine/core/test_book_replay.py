"""Rows back to books: what is taken, what is refused, and what is left then."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.core.book import Book
from engine.core.feeds import Engine
from engine.core.replay import BEST, BookReplay, replay_books
from schemas.errors import DataError, DecimalError
from schemas.names import Category, Table
from schemas.tables import schema_of
from tests.book_rows import Row, as_columns, table_of, with_digests

MAX = 2**63 - 1
SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "bybit_linear_btc_eth.jsonl.gz"
FEED = Path(os.environ.get("TAPEBOOK_FEED", SHARED))
FULL = Row(kind="snapshot", bids=[(100, 2), (99, 3)], asks=[(101, 5)], update_id=7)


def _best(*rows: Row) -> list[tuple[Any, ...]]:
    return list(zip(*as_columns(BookReplay(50).best(table_of(rows))).values(), strict=True))


def _altered(name: str, column: pa.Array, *rows: Row) -> pa.Table:
    table = table_of(rows or [FULL])
    return table.set_column(table.schema.get_field_index(name), name, column)


# ---- what rows do ------------------------------------------------------------------------------------------


def test_each_row_shows_the_best_prices_behind_it() -> None:
    assert _best(
        FULL,
        Row(bids=[(100, 0)], update_id=8),
        Row(bids=[(98, 4)], asks=[(101, 0)], update_id=9),
        Row(bids=[(99, 0), (98, 0)], update_id=10),
    ) == [
        (100, 2, 101, 5, -2, -3, True),
        (99, 3, 101, 5, -2, -3, True),
        (99, 3, None, None, -2, -3, True),
        (None, None, None, None, -2, -3, True),
    ]


def test_deltas_before_any_book_are_passed_over() -> None:
    nothing = (None, None, None, None, 0, 0, False)
    assert _best(Row(bids=[(5, 5)], update_id=3), FULL) == [nothing, (100, 2, 101, 5, -2, -3, True)]


def test_a_row_that_was_not_applied_ends_trust_until_a_full_book() -> None:
    rows = [
        FULL,
        Row(bids=[(200, 1)], update_id=9, applied=False),
        Row(kind="keyframe", bids=[(1, 1)], update_id=7),
    ]
    assert [row[0] for row in _best(*rows)] == [100, 100, 1]
    assert [row[-1] for row in _best(*rows)] == [True, False, True]


def test_a_delta_that_came_late_costs_no_trust() -> None:
    assert [row[-1] for row in _best(FULL, Row(update_id=5, applied=False), Row(update_id=8))] == [True] * 3


def test_a_snapshot_that_was_not_applied_costs_it_however_old_its_id() -> None:
    refused = Row(kind="snapshot", bids=[(100, 1)], update_id=5, applied=False)
    assert [row[-1] for row in _best(FULL, refused)] == [True, False]


def test_a_delta_that_began_a_new_chain_does() -> None:
    assert [row[-1] for row in _best(FULL, Row(update_id=1, applied=False))] == [True, False]


def test_finer_rows_widen_and_coarser_ones_are_brought_to_the_book() -> None:
    rows = [
        FULL,
        Row(bids=[(1_005, 70)], update_id=8, price_exponent=-3, size_exponent=-4),
        Row(bids=[(11, 1)], update_id=9, price_exponent=-1, size_exponent=-2),
        Row(kind="snapshot", bids=[(12, 1)], update_id=10, price_exponent=-1, size_exponent=0),
    ]
    assert [row[:6] for row in _best(*rows)] == [
        (100, 2, 101, 5, -2, -3),
        (1_005, 70, 1_010, 50, -3, -4),
        (1_100, 100, 1_010, 50, -3, -4),
        (12, 1, None, None, -1, 0),
    ]


def test_levels_in_any_order() -> None:
    books = BookReplay(50)
    books.best(
        table_of([FULL, Row(bids=[(98, 1), (120, 9), (99, 0)], asks=[(140, 1), (130, 2)], update_id=8)])
    )
    assert (books.bids(), books.asks()) == ([(120, 9), (100, 2), (98, 1)], [(101, 5), (130, 2), (140, 1)])


def test_the_book_lives_on_between_calls() -> None:
    books = BookReplay(50)
    books.best(table_of([FULL]))
    (found,) = books.best(table_of([Row(asks=[(100, 1)], update_id=8)])).to_pylist()
    assert (found["ask_price_mantissa"], found["ask_size_mantissa"]) == (100, 1)
    assert (books.update_id, books.counts["rows"], books.counts["books"]) == (8, 2, 2)


def test_nothing_in_nothing_out() -> None:
    books = BookReplay(50)
    empty = schema_of(Table.BOOK_UPDATES).empty_table()
    for rows in (empty, pa.RecordBatch.from_pylist([], schema=empty.schema)):
        assert books.best(rows).equals(pa.RecordBatch.from_pylist([], schema=BEST))
        assert books.verify(rows) is None
    assert (books.held, books.trusted, books.update_id, books.sequence) == (False, False, None, None)
    assert (books.bids(), books.asks()) == ([], [])
    assert repr(books).startswith("<BookReplay depth=50 empty rows=0")


@pytest.mark.parametrize("count", [0, 1, 2**70])
def test_levels_asked_for(count: int) -> None:
    books = BookReplay(1)
    books.best(table_of([Row(kind="snapshot", bids=[(2, 1), (1, 1)], depth=1)]))
    assert books.bids(count) == [(2, 1), (1, 1)][:count]
    assert books.bids() == [(2, 1)]


@pytest.mark.parametrize("count", [-1, -(2**70)])
def test_fewer_than_no_levels_asked_for(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} levels, expected 0 or more"):
        BookReplay(1).bids(count)


def test_a_book_of_any_size_equals_plain_dictionaries() -> None:
    """Thousands of changes in rows of one and of hundreds, over a market that moves."""
    random = Random(5)
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    rows, expected = [], []
    middle = 5_000
    for number in range(1_500):
        middle += random.randrange(-9, 10)
        reach = random.choice([3, 3, 3, 40, 700])
        changes: list[list[tuple[int, int]]] = []
        for side, sign in zip(sides, (-1, 1), strict=True):
            prices = {middle + sign * random.randrange(1, 1 + reach) for _ in range(random.randrange(reach))}
            prices |= {price for price in side if (price - middle) * sign <= 0}
            its = [(p, random.choice([0, 1, 7]) if (p - middle) * sign > 0 else 0) for p in prices]
            its.sort(reverse=sign < 0)
            changes.append(its)
            side.update(its)
            for price in [price for price, size in side.items() if size == 0]:
                del side[price]
        kind = "delta" if number else "snapshot"
        rows.append(Row(kind=kind, bids=changes[0], asks=changes[1], update_id=number))
        bid, ask = max(sides[0], default=None), min(sides[1], default=None)
        expected.append((bid, sides[0].get(bid or 0), ask, sides[1].get(ask or 0)))
    books = BookReplay(50)
    best = as_columns(books.best(table_of(rows)))
    assert list(zip(*list(best.values())[:4], strict=True)) == expected
    assert books.bids(10**6) == sorted(sides[0].items(), reverse=True)
    assert books.asks(10**6) == sorted(sides[1].items())
    whole = Book(50)
    levels = [np.array(list(values), np.int64) for side in sides for values in (side.keys(), side.values())]
    whole.load(levels[0], levels[1], levels[2], levels[3], -2, -3)
    assert books.digest == whole.digest == books.recomputed_digest()


# ---- what is wrong with a row ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "error", "match"),
    [
        (Row(update_id=9), DataError, "update id 9 is applied after 7"),
        (Row(update_id=7), DataError, "update id 7 is applied after 7"),
        (Row(update_id=8, sequence=-1), DataError, "sequence -1 comes after 0"),
        (Row(update_id=8, depth=200), DataError, "found depth 200, expected 50; select the rows of one feed"),
        (Row(update_id=8, price_exponent=1), DataError, "found price_exponent 1, expected one of -18..0"),
        (Row(update_id=8, size_exponent=-19), DataError, "found size_exponent -19, expected one of -18..0"),
        (Row(update_id=8, size_exponent=-128), DataError, "found size_exponent -128"),
        (Row(update_id=8, bids=[(1, -1)]), DataError, "found size -1 in bid_size_mantissa, expected none below 0"),
        (Row(update_id=8, asks=[(1, 1), (2, -(2**63))]), DataError, "in ask_size_mantissa"),
        (Row(update_id=8, bids=[(1, 1), (1, 2)]), DataError, "found one price twice in bid_price_mantissa"),
        (Row(update_id=8, asks=[(1, 1), (2, 2), (1, 0)]), DataError, "one price twice in ask_price_mantissa"),
        (Row(update_id=8, bids=[(-(2**63), 1)]), DecimalError, "in bid_price_mantissa, expected what int64"),
        (Row(update_id=8, asks=[(-(2**63), 1), (5, 5)]), DecimalError, "in ask_price_mantissa"),
        (Row(update_id=8, bids=[(MAX, 1)], price_exponent=0), DecimalError, "in bid_price_mantissa"),
        (Row(update_id=8, asks=[(1, MAX)], size_exponent=0), DecimalError, "in ask_size_mantissa"),
        (Row(update_id=8, price_exponent=-18), DecimalError, r"the book does not fit the exponents -18, -3"),
        (Row(kind="snapshot", bids=[(1, 1), (1, 1)]), DataError, "one price twice"),
        (Row(kind="keyframe", asks=[(1, -1)]), DataError, "found size -1"),
        (Row(kind="snapshot", asks=[(-(2**63), 1)]), DecimalError, "in ask_price_mantissa"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_named_and_changes_nothing(
    row: Row, error: type[Exception], match: str
) -> None:
    full = Row(kind="snapshot", bids=[(10**12, 2), (99, 3)], asks=[(10**12 + 1, 5)], update_id=6)
    change = Row(bids=[(99, 0), (98, 1)], update_id=7)
    books, before = BookReplay(50), BookReplay(50)
    with pytest.raises(error, match=f"^row 2: .*{match}"):
        books.best(table_of([full, change, row, Row(update_id=9)]))
    before.best(table_of([full, change]))
    assert (books.bids(9), books.asks(9), books.digest) == (before.bids(9), before.asks(9), before.digest)
    assert (books.price_exponent, books.size_exponent, books.update_id, books.trusted) == (-2, -3, 7, True)
    assert books.counts == before.counts
    books.best(table_of([Row(bids=[(98, 0)], update_id=8)]))  # and it goes on from there
    assert books.bids() == [(10**12, 2)]


def test_rows_are_counted_over_all_chunks() -> None:
    table = pa.concat_tables(
        [table_of([FULL, Row(update_id=8)]), table_of([Row(update_id=9), Row(update_id=11)])]
    )
    with pytest.raises(DataError, match=r"^row 3: update id 11"):
        BookReplay(50).best(table)


@pytest.mark.parametrize("after", [MAX, 1 - MAX, -MAX])
def test_update_ids_at_the_edge_of_int64(after: int) -> None:
    with pytest.raises(DataError, match="is applied after"):
        BookReplay(50).best(table_of([Row(kind="snapshot", update_id=MAX - 1), Row(update_id=after - 1)]))


@pytest.mark.parametrize("name", ["sequence", "depth", "kind", "applied", "update_id", "bid_price_mantissa",
                                  "ask_size_mantissa", "price_exponent", "size_exponent"])  # fmt: skip
def test_nulls_are_named(name: str) -> None:
    table = table_of([FULL, Row(update_id=8)])
    column = table[name].combine_chunks()
    nulled = pa.concat_arrays([column.slice(0, 1), pa.nulls(1, column.type)])
    schema = table.schema.set(table.schema.get_field_index(name), pa.field(name, column.type))
    table = pa.Table.from_arrays(
        [nulled if each == name else table[each].combine_chunks() for each in schema.names], schema=schema
    )
    with pytest.raises(DataError, match=f"^row 1: found a null in {name}, expected a value"):
        BookReplay(50).best(table)


def test_a_level_without_a_number() -> None:
    levels = pa.array([[100, None]], pa.list_(pa.int64()))
    with pytest.raises(
        DataError, match="row 0: found a null in bid_size_mantissa, expected a mantissa at place 1"
    ):
        BookReplay(50).best(_altered("bid_size_mantissa", levels))


def test_prices_without_sizes() -> None:
    levels = pa.array([[1]], pa.list_(pa.int64()))
    with pytest.raises(DataError, match="row 0: found 2 bid prices and 1 bid sizes"):
        BookReplay(50).best(_altered("bid_size_mantissa", levels))


@pytest.mark.parametrize("kind", ["Delta", "", "snapshot "])
def test_unknown_kinds(kind: str) -> None:
    for column in (pa.array([kind]), pa.array([kind]).dictionary_encode()):
        with pytest.raises(
            DataError, match=f"row 0: found kind '{kind}', expected snapshot, delta, keyframe"
        ):
            BookReplay(50).best(_altered("kind", column))


def test_more_names_than_there_can_be_kinds() -> None:
    names = pa.array([f"name {i}" for i in range(300)] + ["snapshot"])
    column = pa.DictionaryArray.from_arrays(pa.array([300], pa.int16()), names)
    with pytest.raises(DataError, match=r"column 'kind': .*300"):
        BookReplay(50).best(_altered("kind", column))


# ---- what is wrong with the columns ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in schema_of(Table.BOOK_UPDATES).names if name not in
    ("collector", "receive_time", "push_time", "match_time", "cross_sequence", "digest", "line")])  # fmt: skip
def test_columns_that_are_missing_twice_there_or_of_another_type(name: str) -> None:
    table = table_of([FULL])
    place = table.schema.get_field_index(name)
    with pytest.raises(DataError, match=f"found no column '{name}'"):
        BookReplay(50).best(table.remove_column(place))
    with pytest.raises(DataError, match=f"found no column '{name}', or several"):
        BookReplay(50).best(table.append_column(name, table[name]))
    with pytest.raises(DataError, match=f"column '{name}': found type double, expected"):
        BookReplay(50).best(_altered(name, pa.array([1.0])))


@pytest.mark.parametrize("type_", [pa.list_(pa.int32()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)])
def test_lists_of_another_type(type_: pa.DataType) -> None:
    column = pa.array([[100, 99]], pa.list_(pa.int64())).cast(type_)
    with pytest.raises(DataError, match=r"column 'bid_price_mantissa': found type .*expected list"):
        BookReplay(50).best(_altered("bid_price_mantissa", column))


@pytest.mark.parametrize(
    "offsets", [[0, 3, 2], [0, -1, 2], [-1, 0, 2], [0, 2, MAX >> 32], [2, 1, 2], [0, 9, 9]]
)
def test_offsets_that_lead_nowhere(offsets: list[int]) -> None:
    """Arrow looks at the ends when an array is made: what is in between, or comes later, is ours to see."""
    memory = np.array([0, 2, 2], np.int32)
    values = pa.array([100, 99], pa.int64())
    column = pa.Array.from_buffers(pa.list_(pa.int64()), 2, [None, pa.py_buffer(memory)], children=[values])
    table = _altered("bid_price_mantissa", column, FULL, Row(update_id=8))
    memory[:] = offsets
    with pytest.raises(
        DataError, match=r"row [01]: found offsets -?\d+, -?\d+ in bid_price_mantissa|bid prices and"
    ):
        BookReplay(50).best(table)


def test_values_at_an_odd_address() -> None:
    memory = pa.py_buffer(bytes(17)).slice(1, 16)
    column = pa.Array.from_buffers(pa.int64(), 1, [None, memory])
    if memory.address % 8 == 0:
        pytest.skip("the allocator put it where it may be")
    with pytest.raises(DataError, match="odd address"):
        BookReplay(50).best(_altered("sequence", column))


@pytest.mark.parametrize("rows", [None, {}, [], b"", 7, pa.array([1]), [table_of([FULL])]])
def test_only_tables_and_record_batches(rows: Any) -> None:
    for take in (BookReplay(50).best, BookReplay(50).verify):
        with pytest.raises(TypeError, match=r"expected a pyarrow\.Table or RecordBatch"):
            take(rows)


@pytest.mark.parametrize("depth", [0, -1, 32_768])
def test_depths_that_no_topic_has(depth: int) -> None:
    with pytest.raises(ValueError, match=f"found depth {depth}, expected one of 1..32767"):
        BookReplay(depth)


# ---- verify ------------------------------------------------------------------------------------------------


KEYFRAME = Row(kind="keyframe", bids=FULL.bids, asks=FULL.asks, update_id=7)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([FULL, Row(update_id=8), KEYFRAME], None),
        ([FULL, KEYFRAME], None),
        ([KEYFRAME, Row(update_id=8)], None),
        ([FULL, Row(update_id=9)], (1, "update id 9 is applied after 7")),
        (
            [Row(update_id=3), FULL],
            (0, "update id 3 is applied, and no snapshot or keyframe comes before it"),
        ),
        ([Row(update_id=3, applied=False), FULL], None),
        ([FULL, Row(update_id=8, sequence=-4)], (1, "sequence -4 comes after 0")),
        (
            [FULL, Row(**{**vars(KEYFRAME), "asks": []})],
            (1, "the keyframe at update id 7 is not the book that the rows before it make"),
        ),
        ([FULL, Row(kind="snapshot", update_id=7)], None),
    ],
)
def test_what_does_not_fit_together(rows: list[Row], found: tuple[int, str] | None) -> None:
    assert BookReplay(50).verify(table_of(rows)) == found


def test_a_keyframe_may_have_finer_exponents_than_its_book_and_no_coarser_ones() -> None:
    finer = Row(
        kind="keyframe", bids=[(1_000, 2), (990, 3)], asks=[(1_010, 5)], update_id=7, price_exponent=-3
    )
    coarser = Row(**{**vars(FULL), "kind": "keyframe"})
    assert BookReplay(50).verify(table_of([FULL, finer])) is None
    found = BookReplay(50).verify(table_of([Row(**{**vars(finer), "kind": "snapshot"}), coarser]))
    assert found is not None
    assert found[0] == 1


def test_a_digest_that_differs_is_found_and_counted() -> None:
    right = with_digests([FULL, Row(bids=[(98, 4)], update_id=8), Row(update_id=9, applied=False)], {0, 1})
    books = BookReplay(50)
    assert books.verify(table_of(right)) is None
    assert books.counts == {"rows": 3, "books": 2, "keyframes": 0, "digests": 2}
    wrong = Row(**{**vars(right[1]), "digest": 0xAB})
    found = BookReplay(50).verify(table_of([right[0], wrong]))
    assert found == (
        1,
        f"at update id 8 the rows make a book with digest {right[1].digest:016x}, the live book had 00000000000000ab",
    )


def test_a_digest_on_a_row_that_was_not_applied_says_nothing() -> None:
    assert BookReplay(50).verify(table_of([FULL, Row(update_id=9, applied=False, digest=1)])) is None


def test_verify_needs_the_digests() -> None:
    with pytest.raises(DataError, match="found no column 'digest'"):
        BookReplay(50).verify(table_of([FULL]).drop_columns(["digest"]))


def test_rows_of_one_segment_may_alternate_between_two_files() -> None:
    books = BookReplay(50)
    assert books.verify(table_of([Row(**{**vars(FULL), "sequence": 9})])) is None
    books.forget_sequence()
    assert books.verify(table_of([KEYFRAME])) is None


# ---- feeds and threads -------------------------------------------------------------------------------------


def test_each_feed_has_the_depth_of_its_rows() -> None:
    tables = {1: table_of([Row(**{**vars(FULL), "depth": 200})]), 2: table_of([FULL]), 3: table_of([])}
    found = replay_books(tables, threads=3)
    assert [found[key].num_rows for key in (1, 2, 3)] == [1, 1, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_feed_that_cannot_be_replayed_is_named(threads: int) -> None:
    tables = {"good": table_of([FULL]), "bad": table_of([FULL, FULL, Row(update_id=9)])}
    with pytest.raises(DataError, match=r"^bad: row 2: update id 9 is applied after 7"):
        replay_books(tables, threads)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_counted_from_one(threads: int) -> None:
    with pytest.raises(ValueError, match=f"found {threads} threads, expected at least 1"):
        replay_books({}, threads)


def test_one_book_is_not_for_two_threads() -> None:
    """Either they take turns, or one of them is told; never do both write."""
    books, errors = BookReplay(50), []
    table = table_of([Row(kind="snapshot", bids=[(i, 1)], update_id=i) for i in range(2_000)])

    def replay() -> None:
        for _ in range(20):
            try:
                books.forget_sequence()
                books.best(table)
            except RuntimeError as error:
                errors.append(str(error))

    threads = [threading.Thread(target=replay) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert books.counts["rows"] % 2_000 == 0
    assert all("give each feed a BookReplay of its own" in error for error in errors)


# ---- a real market -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not FEED.exists(), reason=f"no example feed at {FEED} (set TAPEBOOK_FEED)")
@pytest.mark.parametrize("depth", [1, 50, 200])
def test_a_recorded_market_ends_on_the_engines_books(depth: int) -> None:
    engine = Engine(Category.LINEAR, columns=True)
    topics = [f"orderbook.{depth}.{symbol}" for symbol in ("BTCUSDT", "ETHUSDT")]
    for topic in topics:
        engine.add_feed(topic)
    best: dict[str, list[Any]] = {topic: [] for topic in topics}
    with gzip.open(FEED) as lines:
        for number, line in enumerate(lines):
            receive_ns, _, frame = line.rstrip(b"\n").partition(b" ")
            feed = engine.apply(frame, int(receive_ns), number)
            if feed >= 0:
                best[topics[feed]].append(engine.best(feed))
    tables: dict[str, list[pa.Table]] = {}
    for (table, symbol, _), rows in sorted(engine.take_rows("linear").items()):
        if table is Table.BOOK_UPDATES:
            tables.setdefault(symbol, []).append(rows)
    for index, (symbol, pieces) in enumerate(sorted(tables.items())):
        rows = pa.concat_tables(pieces).sort_by("sequence")
        books = BookReplay(depth)
        found = books.best(rows).filter(pa.array([kind != "keyframe" for kind in rows["kind"].to_pylist()]))
        assert (
            list(zip(*list(as_columns(found).values())[:4], strict=True))
            == best[f"orderbook.{depth}.{symbol}"]
        )
        assert books.digest == engine.digest(index)
        assert (books.bids(10**6), books.asks(10**6)) == engine.levels(index)
