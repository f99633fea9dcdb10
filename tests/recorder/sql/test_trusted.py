"""recorder.sql.trusted: spans joined, and cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recorder.sql.trusted import Span, joined, without

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: Span(*pair)), max_size=6)


def covered(spans: list[Span]) -> set[int]:
    return {moment for span in spans for moment in range(span.start_ms, span.end_ms)}


@given(SPANS)
def test_joined_spans_cover_the_same_and_never_touch(spans: list[Span]) -> None:
    found = joined(spans)
    assert covered(found) == covered(spans)
    assert all(early.end_ms < late.start_ms for early, late in pairwise(found))


@given(SPANS, SPANS)
def test_holes_are_not_covered(spans: list[Span], holes: list[Span]) -> None:
    found = without(joined(spans), joined(holes))
    assert covered(found) == covered(spans) - covered(holes)
    assert all(span.start_ms < span.end_ms for span in found)
