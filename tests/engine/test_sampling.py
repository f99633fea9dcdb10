"""Samples of books from rows: what the face takes and gives back; a slow reader checks the numbers elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from engine import sampling
from engine.sampling import depth_profile, order_flow, snapshots
from schemas.errors import DataError, DecimalError
from tests.book_rows import NS_PER_MS, Row, as_columns, table_of

MAX = 2**63 - 1
SAMPLERS = [snapshots, order_flow, lambda rows, **asked: depth_profile(rows, bands_bps=[5], **asked)]
DOCUMENT = Path(__file__).parents[2] / "docs" / "sampling.md"


def _full(update_id: int = 1, **changes: Any) -> Row:
    return Row(kind="snapshot", bids=[(100, 2), (99, 3)], asks=[(101, 5)], update_id=update_id, **changes)


def _times(samples: Any) -> list[int]:
    return [int(ns) for ns in samples["time"].cast(pa.int64()).to_pylist()]


# ---- moments -----------------------------------------------------------------------------------------------------


def test_moments_without_rows_repeat_the_state_and_say_how_old_it_is() -> None:
    table = table_of([_full(match_ms=1), Row(bids=[(98, 1)], update_id=2, match_ms=6)])
    samples = snapshots(table, every_ns=2 * NS_PER_MS)
    assert _times(samples) == [2 * NS_PER_MS, 4 * NS_PER_MS, 6 * NS_PER_MS]
    assert samples["age_ns"].to_pylist() == [NS_PER_MS, 3 * NS_PER_MS, 0]
    assert samples["update_id"].to_pylist() == [1, 1, 2]


def test_a_clock_that_steps_back_is_as_late_as_it_was() -> None:
    rows = [
        _full(match_ms=10),
        Row(bids=[(100, 9)], update_id=2, match_ms=4),
        Row(bids=[(100, 8)], update_id=3, match_ms=20),
    ]
    samples = snapshots(table_of(rows), every_ns=5 * NS_PER_MS, levels=1)
    assert _times(samples) == [10 * NS_PER_MS, 15 * NS_PER_MS, 20 * NS_PER_MS]
    assert samples["bid_size_mantissa"].to_pylist() == [[9], [9], [8]]
    assert samples["age_ns"].to_pylist() == [6 * NS_PER_MS, 11 * NS_PER_MS, 0]


def test_rows_at_one_moment_are_all_in_it() -> None:
    rows = [_full(match_ms=5), *(Row(bids=[(100, i)], update_id=i, match_ms=5) for i in range(2, 6))]
    assert snapshots(table_of(rows), every_ns=NS_PER_MS)["update_id"].to_pylist() == [5]


def test_nothing_before_the_first_book() -> None:
    rows = [Row(update_id=1, match_ms=1), _full(2, match_ms=10), Row(update_id=3, match_ms=12)]
    for sample in SAMPLERS:
        assert _times(sample(table_of(rows), every_ns=NS_PER_MS)) == [ms * NS_PER_MS for ms in (10, 11, 12)]
        assert _times(sample(table_of(rows[:1]), every_ns=NS_PER_MS)) == []


def test_from_start_to_end() -> None:
    table = table_of([_full(match_ms=1), Row(update_id=2, match_ms=9)])
    for sample in SAMPLERS:
        found = sample(table, every_ns=3 * NS_PER_MS, start_ns=4 * NS_PER_MS, end_ns=13 * NS_PER_MS)
        assert _times(found) == [6 * NS_PER_MS, 9 * NS_PER_MS, 12 * NS_PER_MS]
        assert found["age_ns"].to_pylist() == [5 * NS_PER_MS, 0, 3 * NS_PER_MS]


def test_an_interval_begins_one_step_before_the_start() -> None:
    """Not with the first row: what came before the first interval is no part of it."""
    rows = [_full(match_ms=0), *(Row(bids=[(100, 2 + i)], update_id=1 + i, match_ms=i) for i in range(1, 9))]
    found = order_flow(table_of(rows), every_ns=2 * NS_PER_MS, start_ns=5 * NS_PER_MS)
    assert found["messages"].to_pylist() == [2, 2]
    assert found["order_flow_mantissa"].to_pylist() == [2, 2]


def test_the_grid_is_aligned_to_the_epoch_or_to_an_origin() -> None:
    table = table_of([_full(match_ms=11), Row(update_id=2, match_ms=30)])
    assert _times(snapshots(table, every_ns=10 * NS_PER_MS)) == [20 * NS_PER_MS, 30 * NS_PER_MS]
    for origin_ns in (3, 3 + 10**18, 3 - 10**18):
        times = _times(snapshots(table, every_ns=10 * NS_PER_MS, origin_ns=origin_ns))
        assert times == [20 * NS_PER_MS + 3]


@pytest.mark.parametrize("ms", [-(2**62), 0])
def test_a_lone_row_at_the_edge_of_time(ms: int) -> None:
    rows = [_full(receive_ns=ms), Row(update_id=2, receive_ns=MAX)]
    samples = snapshots(table_of(rows), every_ns=MAX, clock="receive")
    assert _times(samples) == [0, MAX]
    assert samples["update_id"].to_pylist() == [1, 2]
    assert samples["age_ns"].to_pylist() == [-ms, 0]


def test_an_age_that_int64_cannot_hold_is_unknown() -> None:
    rows = [_full(receive_ns=-(2**63)), Row(update_id=2, applied=False, receive_ns=MAX)]
    samples = snapshots(table_of(rows), every_ns=MAX, clock="receive", start_ns=MAX)
    assert (_times(samples), samples["age_ns"].to_pylist()) == ([MAX], [None])


def test_an_endless_wait_comes_in_pieces() -> None:
    """One row far in the future makes as many samples as one cares to read."""
    rows = [_full(receive_ns=0), Row(update_id=2, receive_ns=MAX)]
    reader = snapshots(iter(table_of(rows).to_batches()), every_ns=1, clock="receive", levels=20)
    pieces = [reader.read_next_batch() for _ in range(3)]
    assert [piece.num_rows for piece in pieces] == [sampling.VALUES_IN_A_BATCH // 20] * 3
    times = [ns for piece in pieces for ns in _times(piece)]
    assert times == list(range(len(times)))


def test_rows_that_were_not_applied_leave_the_last_good_book_untrusted() -> None:
    rows = [
        _full(match_ms=0),
        Row(bids=[(500, 1)], update_id=9, match_ms=1, applied=False),
        _full(20, match_ms=2),
    ]
    samples = snapshots(table_of(rows), every_ns=NS_PER_MS)
    assert samples["trusted"].to_pylist() == [True, False, True]
    assert samples["update_id"].to_pylist() == [1, 1, 20]


# ---- columns -------------------------------------------------------------------------------------------------------


def test_a_row_of_each() -> None:
    table = table_of([_full(match_ms=1, sequence=4)])
    head = {
        "time": NS_PER_MS, "age_ns": 0, "update_id": 1, "sequence": 4, "trusted": True, "price_exponent": -2,
        "size_exponent": -3,
    }  # fmt: skip
    found = [as_columns(sample(table, every_ns=NS_PER_MS)) for sample in SAMPLERS]
    assert [{name: values for name, (values,) in columns.items()} for columns in found] == [
        {
            **head, "bid_price_mantissa": [100, 99], "bid_size_mantissa": [2, 3], "ask_price_mantissa": [101],
            "ask_size_mantissa": [5],
        },
        {
            **head, "messages": 1, "breaks": 0, "order_flow_mantissa": 0, "spread_mantissa": 1,
            "twice_mid_mantissa": 201, "mean_spread_mantissa": None,
        },
        {
            **head, "twice_mid_mantissa": 201, "bid_size_mantissa": [0], "ask_size_mantissa": [0],
            "bid_bands_covered": 1, "ask_bands_covered": 1,
        },
    ]  # fmt: skip


def test_no_more_levels_than_the_topic_has() -> None:
    row = Row(kind="snapshot", bids=[(9, 1), (8, 1)], depth=1)
    assert snapshots(table_of([row]), every_updates=1, levels=5)["bid_price_mantissa"].to_pylist() == [[9]]
    profile = depth_profile(
        table_of([Row(**{**vars(row), "asks": [(10, 4), (11, 4)]})]), every_updates=1, bands_bps=[9999]
    )
    assert (profile["bid_size_mantissa"].to_pylist(), profile["ask_size_mantissa"].to_pylist()) == (
        [[1]],
        [[4]],
    )
    assert profile["bid_bands_covered"].to_pylist() == [0]


def test_a_side_without_levels() -> None:
    table = table_of([Row(kind="snapshot", bids=[(100, 2)])])
    assert snapshots(table, every_updates=1)["ask_price_mantissa"].to_pylist() == [[]]
    flow, profile = (
        order_flow(table, every_updates=1),
        depth_profile(table, every_updates=1, bands_bps=[1, 2]),
    )
    for samples in (flow, profile):
        assert samples["twice_mid_mantissa"].to_pylist() == [None]
    assert profile["bid_size_mantissa"].to_pylist() == profile["ask_bands_covered"].to_pylist() == [None]


def test_the_mean_spread_is_weighted_by_time_and_only_where_it_is_trusted() -> None:
    rows = [
        _full(match_ms=0),
        Row(asks=[(101, 0), (110, 1)], update_id=2, match_ms=3),
        Row(update_id=5, applied=False, match_ms=4),
        _full(6, match_ms=10),
    ]
    samples = order_flow(table_of(rows), every_ns=10 * NS_PER_MS)
    assert samples["mean_spread_mantissa"].to_pylist() == [None, (3 * 1 + 1 * 10) / 4]
    assert samples["breaks"].to_pylist() == [0, 1]


def test_the_flow_has_the_finest_exponent_of_its_interval() -> None:
    """Even one that only a break had, over which no flow is counted."""
    rows = [_full(), _full(6, size_exponent=-4), _full(9), Row(bids=[(100, 5)], update_id=10)]
    (flow,) = order_flow(table_of(rows), every_updates=4).to_pylist()
    assert (flow["breaks"], flow["size_exponent"], flow["order_flow_mantissa"]) == (2, -4, 30)


# ---- what can't be sampled -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"every_ns": 1, "every_updates": 1},
        {"every_ns": 0},
        {"every_ns": -1},
        {"every_updates": 0},
        {"every_updates": -5},
        {"every_ns": 2**63},
        {"every_updates": 2**64},
        {"every_ns": 1, "origin_ns": 2**63},
        {"every_ns": 1, "start_ns": -(2**64)},
        {"every_ns": 1, "end_ns": 2**63},
        {"every_ns": 1, "clock": "apply"},
        {"every_ns": 1, "clock": ""},
    ],
)
def test_questions_without_sense(asked: dict[str, Any]) -> None:
    for sample in SAMPLERS:
        with pytest.raises(ValueError, match=r"found .*, expected"):
            sample(table_of([_full()]), **asked)
        with pytest.raises(ValueError, match=r"found .*, expected"):  # at once, not with the first piece
            sample(iter([]), **asked)


@pytest.mark.parametrize("levels", [0, -1])
def test_levels_are_counted_from_one(levels: int) -> None:
    with pytest.raises(ValueError, match=f"found levels={levels}, expected at least 1"):
        snapshots(table_of([_full()]), every_ns=1, levels=levels)


@pytest.mark.parametrize(
    "bands",
    [[], [0], [-1], [5, 5], [10, 5], [0.0005], ["x"], [10_001], [float("nan")], [float("inf")], [1] * 2],
)
def test_bands_without_sense(bands: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"found .*, expected"):
        depth_profile(table_of([_full()]), every_ns=1, bands_bps=bands)


def test_bands_of_any_number() -> None:
    table = table_of([Row(kind="snapshot", bids=[(99_950, 1), (99_949, 2)], asks=[(100_050, 1)])])
    for band in (5, 5.0, Decimal("5.0"), Fraction(5)):
        assert depth_profile(table, every_updates=1, bands_bps=[band])["bid_size_mantissa"].to_pylist() == [
            [1]
        ]
    assert depth_profile(table, every_updates=1, bands_bps=[4.999, 5.1])["bid_size_mantissa"].to_pylist() == [
        [0, 3]
    ]


def test_too_many_bands() -> None:
    with pytest.raises(ValueError, match="found 65 bands, expected at most 64"):
        depth_profile(table_of([_full()]), every_ns=1, bands_bps=range(1, 66))


@pytest.mark.parametrize("rows", [None, 7, [1], ["x"]])
def test_only_rows(rows: Any) -> None:
    with pytest.raises(TypeError):
        snapshots(rows, every_ns=1).read_all()


@pytest.mark.parametrize(
    ("type_", "value"), [(pa.int64(), 1), (pa.timestamp("ns"), 1), (pa.string(), "2024-08-08T00:00:00Z")]
)
def test_clocks_that_are_none(type_: pa.DataType, value: Any) -> None:
    table = table_of([_full()])
    place = table.schema.get_field_index("match_time")
    with pytest.raises(
        DataError, match=r"column 'match_time': found type .*, expected a timestamp with time zone"
    ):
        snapshots(table.set_column(place, "match_time", pa.array([value], type_)), every_ns=1)
    with pytest.raises(DataError, match="found no column 'match_time'"):
        snapshots(table.remove_column(place), every_ns=1)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_clocks_of_every_unit(unit: str) -> None:
    table = table_of([_full(match_ms=5_000)])
    column = table["match_time"].cast(pa.timestamp(unit, tz="UTC"))
    table = table.set_column(table.schema.get_field_index("match_time"), "match_time", column)
    assert _times(snapshots(table, every_ns=10**9)) == [5 * 10**9]


@pytest.mark.parametrize("ms", [2**62, -(2**62)])
def test_moments_beyond_nanoseconds(ms: int) -> None:
    rows = [_full(), Row(update_id=2, match_ms=ms)]
    with pytest.raises(DataError, match=f"^row 1: found a moment of {ms}"):
        snapshots(table_of(rows), every_ns=10**18)


@pytest.mark.parametrize("sample", SAMPLERS)
def test_rows_that_cannot_be_taken(sample: Any) -> None:
    with pytest.raises(DataError, match=r"^row 1: update id 9 is applied after 1"):
        sample(table_of([_full(), Row(update_id=9)]), every_ns=1)


def test_an_error_comes_with_its_piece() -> None:
    """What was sampled before it has been handed out."""
    batches = [
        table_of([row]).to_batches()[0] for row in (_full(), Row(update_id=2, sequence=5), Row(update_id=3))
    ]
    reader = snapshots(iter(batches), every_updates=1)
    assert [reader.read_next_batch().num_rows for _ in range(2)] == [1, 1]
    with pytest.raises(DataError, match=r"^row 0: sequence 0 comes after 5"):
        reader.read_next_batch()


def test_sums_that_int64_cannot_hold() -> None:
    full = Row(kind="snapshot", bids=[(10, MAX), (9, MAX)], asks=[(11, 1)])
    with pytest.raises(DecimalError, match="row 0: a sum over the samples up to this row does not fit"):
        depth_profile(table_of([full]), every_updates=1, bands_bps=[9_999])
    rows = [full, *(Row(bids=[(10 + i, MAX)], update_id=1 + i) for i in (1, 2))]
    with pytest.raises(DecimalError, match="row 2: a sum"):
        order_flow(table_of(rows), every_updates=3)
    with pytest.raises(DecimalError, match="a sum"):
        order_flow(table_of([*rows[:2], Row(bids=[(12, MAX)], update_id=3)]), every_ns=1)
    far = Row(kind="snapshot", bids=[(1 - MAX, 1)], asks=[(MAX, 1)])
    with pytest.raises(DecimalError, match="a sum"):
        order_flow(table_of([far]), every_updates=1)


# ---- pieces ----------------------------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_asked_for() -> None:
    read = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(5):
            read.append(number)
            row = _full(number, match_ms=number, sequence=number)
            yield table_of([row]).to_batches()[0]

    reader = snapshots(batches(), every_updates=1)
    assert read == []
    assert reader.schema.names[:2] == ["time", "age_ns"]
    assert [reader.read_next_batch().num_rows for _ in range(3)] == [1, 1, 1]
    assert read == [0, 1, 2]
    assert sum(batch.num_rows for batch in reader) == 2


def test_nothing_is_read_behind_the_end() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield table_of([_full(match_ms=1)]).to_batches()[0]
        yield table_of([Row(update_id=2, match_ms=9)]).to_batches()[0]
        raise AssertionError("read on")

    samples = snapshots(batches(), every_ns=NS_PER_MS, end_ns=4 * NS_PER_MS)
    assert _times(samples.read_all()) == [ms * NS_PER_MS for ms in (1, 2, 3, 4)]


def test_no_rows_no_samples() -> None:
    empty = table_of([])
    for sample in SAMPLERS:
        assert sample(empty, every_ns=1).num_rows == 0
        assert sample([], every_ns=1).read_all().num_rows == 0
        assert sample(empty, every_ns=1).schema == sample([], every_ns=1).schema


# ---- docs ------------------------------------------------------------------------------------------------------------


def test_the_example_of_the_document_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), names)
    assert names["book"].num_rows == 3
    assert names["flow"]["order_flow_mantissa"].to_pylist() == names["expected_flow"]


def test_the_document_names_every_column() -> None:
    text = DOCUMENT.read_text()
    table = table_of([_full()])
    for sample in SAMPLERS:
        for name in sample(table, every_ns=1).column_names:
            assert f"`{name}`" in text, name
