"""Levels and values of lists, as Parquet has them: against the plain rules of its documents."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.pages import bit_runs, list_levels, pack_deltas


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


@given(st.lists(st.booleans(), max_size=300) | st.integers(0, 5000).map(lambda count: [True] * count))
def test_bits_come_back(bits: list[bool]) -> None:
    runs = bit_runs(np.packbits(np.array(bits, np.bool_), bitorder="little"), len(bits))
    assert _levels(runs, len(bits)) == bits


@pytest.mark.parametrize("count", [-1, 9])
def test_there_are_as_many_bits_as_told(count: int) -> None:
    with pytest.raises(ValueError, match="found 1 bytes"):
        bit_runs(np.zeros(1, np.uint8), count)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A ULEB128 number, and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _signed(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63


def _differences(data: bytes) -> list[int]:
    """Parquet's DELTA_BINARY_PACKED, read word for word by its description."""
    block, at = _number(data, 0)
    quarters, at = _number(data, at)
    count, at = _number(data, at)
    first, at = _number(data, at)
    size = block // quarters
    assert block % 128 == 0
    assert size % 32 == 0
    out = [_signed(first)][:count]
    while len(out) < count:
        least, at = _number(data, at)
        widths, at = data[at : at + quarters], at + quarters
        for width in widths:
            if len(out) == count:
                assert width == 0  # a quarter that nobody needs has no bits
                continue
            bits = int.from_bytes(data[at : at + size * width // 8], "little")
            at += size * width // 8
            for _ in range(min(size, count - len(out))):
                out.append(_wrapped(out[-1] + _signed(least) + bits % 2**width))
                bits >>= width
    assert at == len(data)
    return out


INT64 = st.integers(-(2**63), 2**63 - 1)
STEPS = st.integers(0, 64).flatmap(lambda bits: st.integers(0, 2**bits - 1))


@given(
    st.lists(INT64, max_size=5)
    | st.lists(STEPS, max_size=300).map(lambda steps: [_wrapped(n) for n in accumulate(steps)]),
    st.lists(st.integers(0, 300), max_size=4),
)
@example([-(2**63), 2**63 - 1] * 65, [1])
@example([7] * 129, [128])
@example(list(range(0, 258, 2)), [1, 129])
def test_differences_come_back(values: list[int], cuts: list[int]) -> None:
    array = np.array(values, np.int64)
    places = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    parts = [array[start:stop] for start, stop in pairwise(places)]
    assert _differences(pack_deltas(parts)) == values


@pytest.mark.parametrize("bits", range(65))
def test_differences_take_the_bits_they_need(bits: int) -> None:
    # the least is 0 and the greatest has all bits, in each quarter of each block
    steps = (
        np.random.default_rng(bits).integers(0, 2**bits, 513, np.uint64, endpoint=False)
        if bits
        else [0] * 513
    )
    steps = np.array(steps, np.uint64)
    steps[1::32] = 0
    steps[2::32] = 2**bits - 1
    values = np.cumsum(steps, dtype=np.uint64).view(np.int64)
    packed = pack_deltas([values])
    assert _differences(packed) == values.tolist()
    # differences are signed, so that those of 64 bits need what those of 63 may not
    assert bits == 64 or len(packed) <= 512 * bits // 8 + 4 * (4 + 10) + 25
