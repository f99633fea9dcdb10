"""Buckets that people count in, and how lengths of time are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.plots.known import Range
from recorder.plots.steps import DAY_NS, bucket_ns, duration_text, edges_of

SECOND = 10**9


@given(st.integers(0, 2**60), st.integers(1, 2**60), st.integers(1, 2000))
def test_buckets_are_as_many_as_allowed_and_hold_the_range(start: int, length: int, most: int) -> None:
    range_ = Range(start, start + length)
    step = bucket_ns(range_, most)
    assert length / step <= most
    if length / step < 10_000:
        edges = edges_of(range_, step)
        assert edges[0] <= start < edges[1]
        assert edges[-2] < start + length <= edges[-1]
        assert not (edges % step).any()


@pytest.mark.parametrize(
    ("length_ns", "most", "step_ns"),
    [
        (60 * SECOND, 400, SECOND // 5),
        (3600 * SECOND, 400, 10 * SECOND),
        (DAY_NS, 400, 300 * SECOND),
        (31 * DAY_NS, 400, 2 * 3600 * SECOND),
        (1, 400, 10**6),
        (10_000 * DAY_NS, 100, 112 * DAY_NS),
    ],
)
def test_steps_are_those_that_people_count_in(length_ns: int, most: int, step_ns: int) -> None:
    assert bucket_ns(Range(0, length_ns), most) == step_ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (250_000_000, "250 ms"),
        (4_200_000_000, "4.2 s"),
        (60 * SECOND, "1 min"),
        (90 * SECOND, "1 min 30 s"),
        (3600 * SECOND - 1, "1 h"),
        (5400 * SECOND, "1 h 30 min"),
        (DAY_NS, "1 d"),
        (DAY_NS * 12 + 7200 * SECOND, "12 d 2 h"),
        (119_700_000_000, "2 min"),
        (59_999_000_000, "1 min"),
        (999_999_999, "1 s"),
    ],
)
def test_lengths_of_time_are_written_in_their_unit(ns: int, text: str) -> None:
    assert duration_text(ns) == text
