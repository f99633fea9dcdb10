"""Levels and values of lists, as Parquet has them: against the plain rules of its documents."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.pages import list_levels, split_bytes


def _levels(data: bytes, count: int) -> list[int]:
    """Parquet's hybrid of run lengths and packed bits, of width 1, read word for word by its description."""
    out: list[int] = []
    at = 0
    while len(out) < count:
        header = shift = 0
        while True:
            byte = data[at]
            at += 1
            header |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if header & 1:
            for byte in data[at : at + (header >> 1)]:
                out += [byte >> bit & 1 for bit in range(8)]
            at += header >> 1
        else:
            assert header >> 1 > 0
            out += [data[at]] * (header >> 1)
            at += 1
    assert at == len(data)
    assert not any(out[count:])  # only padding
    assert len(out) - count < 8
    return out[:count]


@given(
    st.lists(st.one_of(st.integers(0, 3), st.sampled_from([0, 0, 1, 7, 8, 9, 40, 600])), max_size=80),
    st.integers(0, 9),
)
@example([0] * 64, 0)
@example([0] * 7 + [1], 0)
@example([16], 0)
@example([17, 0, 0], 5)
@example([2000] * 3, 0)
def test_levels_are_those_of_the_lists(lengths: list[int], first: int) -> None:
    repetition = [int(at > 0) for length in lengths for at in range(length or 1)]
    definition = [int(length > 0) for length in lengths for _ in range(length or 1)]
    offsets = np.cumsum([first, *lengths]).astype(np.int32)
    count, ours, theirs = list_levels(offsets)
    assert count == len(repetition)
    assert _levels(ours, count) == repetition
    assert _levels(theirs, count) == definition


def test_what_is_the_same_takes_little() -> None:
    count, repetition, definition = list_levels(np.array([0, 100_000], np.int32))
    assert count == 100_000
    assert len(repetition) < 10
    assert len(definition) < 10
    lengths = np.tile([3, 0, 1], 1000)
    count, repetition, definition = list_levels(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    assert len(repetition) <= count // 8 + 8
    assert len(definition) <= count // 8 + 8


@pytest.mark.parametrize("offsets", [[], [0, 5, 4], [3, 2]])
def test_offsets_that_make_no_lists(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        list_levels(np.array(offsets, np.int32))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40), st.lists(st.integers(0, 40), max_size=4))
def test_bytes_are_split(values: list[int], cuts: list[int]) -> None:
    array = np.array(values, np.int64)
    places = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [array[start:stop] for start, stop in pairwise(places)]
    assert split_bytes(parts) == array.view(np.uint8).reshape(len(values), 8).T.tobytes()
