"""Columns as whole numbers and bytes, against Python's own arithmetic."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.core.columns import divided, low_words, uuid_bytes


def _text(texts: list[str]) -> np.ndarray:
    return np.frombuffer("".join(texts).encode("latin-1"), np.uint8)


@given(st.lists(st.uuids(), max_size=9))
def test_uuids_are_their_bytes(ids: list[uuid.UUID]) -> None:
    assert uuid_bytes(_text([str(id_) for id_ in ids])) == b"".join(id_.bytes for id_ in ids)


def test_whatever_is_no_uuid_is_refused() -> None:
    # any other character in any place of one of them, upper case among them
    good = "01234567-89ab-cdef-0123-456789abcdef"
    for at, here in enumerate(good):
        for code in range(256):
            other = good[:at] + chr(code) + good[at + 1 :]
            fine = chr(code) == "-" if here == "-" else chr(code) in "0123456789abcdef"
            found = uuid_bytes(_text([good, other]))
            assert found == (uuid.UUID(good).bytes + uuid.UUID(other).bytes if fine else None)


def test_texts_of_another_length_are_no_texts() -> None:
    with pytest.raises(ValueError, match="found 35 bytes"):
        uuid_bytes(np.zeros(35, np.uint8))


def _words(numbers: list[int]) -> np.ndarray:
    return np.frombuffer(b"".join(n.to_bytes(16, "little", signed=True) for n in numbers), np.uint64).reshape(
        -1, 2
    )


NUMBERS = st.one_of(
    st.integers(-(2**127), 2**127 - 1),
    st.builds(
        lambda n, places, more: n * 10**places + more,
        st.integers(-(2**63), 2**63) | st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]),
        st.integers(0, 18),
        st.sampled_from([0, 0, 0, 1, -1, 2**17]),
    ),
)


@given(st.lists(st.tuples(NUMBERS, st.booleans()), max_size=20), st.integers(0, 9), st.integers(1, 18))
@example([(2**63 * 10**18, True)], 0, 18)
@example([((2**63 - 1) * 10**18, True), (-(2**63) * 10**18, True), (1, False)], 7, 18)
def test_division_is_exact_or_refused(entries: list[tuple[int, bool]], start: int, places: int) -> None:
    numbers, there = [n for n, _ in entries], [valid for _, valid in entries]
    bits = np.packbits(np.array([False] * start + there, np.bool_), bitorder="little")
    for valid in (there, [True] * len(numbers)):
        given_bits = bits if valid is there else None
        counting = [n if is_there else 0 for n, is_there in zip(numbers, valid, strict=True)]
        together = 0
        for number in counting:
            together |= number % 2**64
        assert low_words(_words(numbers), given_bits, start) == together
        found = divided(_words(numbers), given_bits, start, places)
        if all(n % 10**places == 0 and -(2**63) <= n // 10**places < 2**63 for n in counting):
            assert found == _words([n // 10**places for n in counting]).tobytes()
        else:
            assert found is None


def test_what_cannot_be_numbers() -> None:
    numbers = np.zeros((9, 2), np.uint64)
    with pytest.raises(ValueError, match="1 bytes of validity, expected 9 bits"):
        divided(numbers, np.zeros(1, np.uint8), 0, 1)
    with pytest.raises(ValueError, match="1 bytes of validity, expected 9 bits"):
        low_words(numbers, np.zeros(1, np.uint8), 0)
    for places in (0, 19):
        with pytest.raises(ValueError, match="expected 2 and 1 to 18"):
            divided(numbers, None, 0, places)
    for call in (lambda words: divided(words, None, 0, 1), lambda words: low_words(words, None, 0)):
        with pytest.raises(ValueError, match="found 3 words a number"):
            call(np.zeros((4, 3), np.uint64))
