"""Histograms of delays, held against the delays themselves."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import latency
from engine.core import delays as core
from engine.core.delays import Delays
from engine.latency import ERROR, Histogram, Recent, edges_ns, merge_all

LAST_NS = 1 << (latency.FIRST_BIT + latency.OCTAVES)
ns = st.integers(-LAST_NS, LAST_NS) | st.integers(-2000, 2000) | st.integers(0, 10**8)


def counted(values: list[int]) -> Histogram:
    delays = Delays()
    for value in values:
        delays.add(value)
    return delays.histogram()


def near(found: int | None, true: int) -> bool:
    assert found is not None
    return abs(found - true) <= max(32, abs(true) * ERROR * 1.0000001)


def test_the_core_and_its_reader_speak_of_the_same_buckets() -> None:
    assert (core.BUCKETS, core.FIRST_BIT, core.OCTAVES, core.PARTS) == (
        latency.BUCKETS,
        latency.FIRST_BIT,
        latency.OCTAVES,
        latency.PARTS,
    )


def test_edges_join() -> None:
    assert edges_ns(0) == (0, 64)
    assert edges_ns(-1) == (-64, 0)
    for bucket in range(latency.BUCKETS - 2):
        low, high = edges_ns(bucket)
        assert edges_ns(bucket + 1)[0] == high
        assert bucket == 0 or high - low <= low / 8
    assert edges_ns(latency.BUCKETS - 1) == (LAST_NS, LAST_NS)
    for bucket in (latency.BUCKETS, -latency.BUCKETS - 1):
        with pytest.raises(ValueError, match="expected one of"):
            edges_ns(bucket)


@given(ns)
def test_a_delay_is_in_its_bucket(value: int) -> None:
    ((bucket, times),) = counted([value]).buckets.items()
    low, high = edges_ns(bucket)
    assert times == 1
    if abs(value) >= LAST_NS:
        assert abs(low) == LAST_NS
    else:
        assert low <= value < high if value >= 0 else low < value <= high


@given(st.lists(ns, min_size=1, max_size=60), st.floats(0, 1))
def test_quantiles(values: list[int], q: float) -> None:
    histogram = counted(values)
    ordered = sorted(values)
    rank = max(1, -int(-q * len(values) // 1))
    assert near(histogram.quantile(q), ordered[min(rank, len(values)) - 1])
    assert histogram.quantile(0) == ordered[0]
    assert histogram.quantile(1) == ordered[-1]
    assert (histogram.count, histogram.sum_ns) == (len(values), sum(values))


@given(st.lists(ns), st.lists(ns))
def test_sums_and_differences(before: list[int], after: list[int]) -> None:
    both = counted(before + after)
    assert counted(before) + counted(after) == both == merge_all([counted(before), counted(after)])
    late = both - counted(before)
    assert (late.count, late.sum_ns, late.buckets) == (
        len(after),
        sum(after),
        counted(after).buckets,
    )
    if after:
        assert near(late.quantile(1), max(after)) or max(after) >= LAST_NS


@given(st.lists(ns))
def test_it_survives_json(values: list[int]) -> None:
    histogram = counted(values)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram


@given(st.lists(ns), st.integers(-300, 300))
def test_what_is_below_an_edge(values: list[int], bucket: int) -> None:
    edge = edges_ns(max(min(bucket, latency.BUCKETS - 1), -latency.BUCKETS))[0]
    # mirrored buckets hold their edge that is nearer to zero
    expected = sum(value <= edge if edge < 0 else value < edge for value in values)
    assert counted(values).below(edge) == expected


@given(st.lists(ns), st.lists(st.integers(-latency.BUCKETS, latency.BUCKETS - 1)))
def test_many_edges_at_once(values: list[int], buckets: list[int]) -> None:
    edges = sorted(edges_ns(bucket)[0] for bucket in buckets)
    histogram = counted(values)
    assert histogram.below_each(edges) == [histogram.below(edge) for edge in edges]


def test_beyond_reason() -> None:
    """Extremes stay exact, sums don't overflow, and what is above everything is below nothing."""
    histogram = counted([2**62, 2**62, 2**62, -(2**62)])
    assert (histogram.sum_ns, histogram.min_ns, histogram.max_ns) == (2 * 2**62, -(2**62), 2**62)
    assert histogram.below(LAST_NS) == 1
    assert histogram.quantile(0.5) == LAST_NS


def test_nothing_counted() -> None:
    empty = Histogram()
    assert empty.quantile(0.5) is None
    assert empty + empty == empty - empty == Delays().histogram() == empty
    delays = Delays()
    delays.add(5, 0)
    delays.add(5, -3)
    assert delays.histogram() == empty


def test_many_at_once() -> None:
    delays = Delays()
    delays.add(1000, 7)
    delays.add_since([(400, 0, 0, b""), (900, 0, 0, b"")], 1000)
    assert (delays.histogram().count, delays.histogram().sum_ns) == (9, 7700)


def test_the_recent_part() -> None:
    recent = Recent(period_ns=10)
    delays = Delays()

    def at(now: int, *values: int) -> int:
        for value in values:
            delays.add(value)
        return recent.update(now, delays.histogram()).count

    assert at(0, 1, 1) == 2
    assert at(9, 1) == 3
    assert at(10) == 3  # a new period: the one before still counts
    assert at(15, 1) == 4
    assert at(20) == 1  # now only what came since 10
    assert at(30) == 0
    assert at(35, 1, 1) == 2
    assert at(1000, 1) == 0  # nobody asked for so long: when it came is not known
    assert at(1001, 1) == 1
