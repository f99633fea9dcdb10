"""Spans: a set, whatever the order in which it was put together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.spans import Spans

spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12)


@given(spans, st.tuples(st.integers(0, 30), st.integers(0, 30)))
def test_spans_are_the_set_of_their_numbers(
    given_spans: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    numbers = {number for start, end in given_spans for number in range(start, end)}
    found = Spans(given_spans)
    assert {number for start, end in found.as_list() for number in range(start, end)} == numbers
    assert found.covers(*asked) == (set(range(*asked)) <= numbers)
    ends = [edge for span in found.as_list() for edge in span]
    assert ends == sorted(set(ends))  # in order, apart from each other
    assert Spans(reversed(given_spans)).as_list() == found.as_list()
