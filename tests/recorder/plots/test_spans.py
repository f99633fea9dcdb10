"""Sets of time against sets of single moments."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recorder.plots.spans import Spans, cells, intersect, overlap, subtract, total, union

END = 40
PAIRS = st.lists(st.tuples(st.integers(0, END), st.integers(0, END)), max_size=8)
EDGES = st.sets(st.integers(0, END), min_size=2, max_size=9).map(sorted)


def moments(spans: Spans) -> set[int]:
    return {moment for start, end in spans.tolist() for moment in range(start, end)}


def is_in_order(spans: Spans) -> bool:
    flat = spans.ravel()
    return bool((np.diff(flat) > 0).all())


@given(PAIRS, PAIRS)
def test_sets_are_those_of_their_moments(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    first = {moment for start, end in one for moment in range(start, end)}
    second = {moment for start, end in other for moment in range(start, end)}
    a, b = union(one), union(other)
    assert moments(a) == first
    assert total(a) == len(first)
    assert moments(intersect(a, b)) == first & second
    assert moments(subtract(a, b)) == first - second
    for spans in (a, b, intersect(a, b), subtract(a, b)):
        assert is_in_order(spans)


@given(PAIRS, EDGES)
def test_overlap_counts_the_moments_of_each_bucket(pairs: list[tuple[int, int]], edges: list[int]) -> None:
    spans = union(pairs)
    expected = [len(moments(spans) & set(range(a, b))) for a, b in pairwise(edges)]
    assert overlap(spans, np.asarray(edges, np.int64)).tolist() == expected


@given(PAIRS, EDGES)
def test_cells_are_cut_at_edges_and_at_holes_only(pairs: list[tuple[int, int]], edges: list[int]) -> None:
    spans = union(pairs)
    bucket, pieces = cells(spans, np.asarray(edges, np.int64))
    assert moments(pieces) == moments(spans) & set(range(edges[0], edges[-1]))
    for number, (start, end) in zip(bucket.tolist(), pieces.tolist(), strict=True):
        assert edges[number] <= start < end <= edges[number + 1]
    for (_, end), (start, _) in pairwise(pieces.tolist()):
        assert end < start or end in edges
