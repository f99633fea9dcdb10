"""How pictures look, where it can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from recorder.plots.known import Known, Range
from recorder.plots.spans import NOTHING, union
from recorder.plots.style import days, hole_texts, key_columns, moment_text, number_text
from tests.recorder.archives import NOON_NS
from tests.recorder.plots.archives import SECOND_NS


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (61_809.4, "61.8 k"),
        (1234.5, "1,234"),
        (0.0012, "0.0012"),
        (12_400_000, "12.4 m"),
        (3e9, "3 bn"),
    ],
)
def test_numbers_have_the_digits_that_their_size_asks_for(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("seconds", "form", "text"),
    [
        (0.0, "%H:%M:%S", "12:00:00"),
        (0.25, "%H:%M:%S", "12:00:00.250"),
        (59.9999999, "%H:%M:%S", "12:01:00"),
        (90.5, "%H:%M", "12:01"),
        (0.0, "%d %b", "08 Aug"),
    ],
)
def test_ticks_say_milliseconds_only_where_they_must(seconds: float, form: str, text: str) -> None:
    assert moment_text(float(days(NOON_NS)) + seconds / 86_400, form) == text


def test_a_legend_takes_as_many_columns_as_fit() -> None:
    assert key_columns(["a", "b", "c"], 1000) == 3
    assert key_columns(["a" * 40, "b" * 40, "c", "d"], 500) == 3
    assert key_columns(["a" * 90, "b" * 90], 500) == 1
    assert key_columns(["a"], 10) == 1


def test_holes_are_said_in_words() -> None:
    range_ = Range(0, 100 * SECOND_NS)
    whole = union([range_])
    assert hole_texts(Known(whole, whole, 0, 0), range_) == ["no gaps"]
    assert hole_texts(Known(whole, whole, 2, 1), range_) == [
        "2 gaps, each covered by others", "1 more whose trades were fetched back",
    ]  # fmt: skip
    half = union([(0, 50 * SECOND_NS)])
    assert hole_texts(Known(half, union([(0, 20 * SECOND_NS)]), 1, 0), range_) == [
        "1 gap (30 s) left out", "50 s not recorded",
    ]  # fmt: skip
    assert hole_texts(Known(NOTHING, NOTHING, 0, 0), range_)[-1] == "1 min 40 s not recorded"
    assert np.array_equal(Known(NOTHING, NOTHING, 0, 0).absent(range_), whole)
