"""How pictures look, where it can be counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from recorder.plots.known import Known, Range
from recorder.plots.spans import NOTHING, union
from recorder.plots.style import (
    DOTS_AN_INCH,
    days,
    heading,
    hole_texts,
    key_columns,
    moment_text,
    new_figure,
    number_text,
    styled,
    time_axis,
)
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


@pytest.mark.parametrize("wide", [480, 640, 1280])
@pytest.mark.parametrize("seconds", [0.05, 3, 19, 150, 599, 3_600, 86_400, 30 * 86_400, 400 * 86_400])
@styled
def test_no_text_of_a_picture_lies_on_another_or_beyond_its_edge(wide: int, seconds: float) -> None:
    figure = new_figure(wide, 320)
    axes = figure.subplots()
    axes.set_ylim(61_000, 62_000)
    range_ = Range(NOON_NS, NOON_NS + int(seconds * SECOND_NS))
    time_axis(axes, range_)
    said = [
        "orderbook.200.BTCUSDT, match time",
        "steps of 500 ms and 2",
        "10 gaps (1.71 s) left out",
        "9 s not recorded",
    ]
    heading(figure, axes, "Depth · linear BTCUSDT", range_, said)
    figure.draw_without_rendering()  # what matplotlib warns of is an error here
    left, right = axes.get_xlim()
    shown = [
        label
        for label in axes.get_xticklabels()
        if label.get_text() and left <= label.get_position()[0] <= right
    ]
    spans = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in shown))
    assert len(spans) >= 2
    assert all(after[0] - before[1] > 3 for before, after in pairwise(spans))
    assert figure.get_suptitle()
    for text in (figure._suptitle, axes._left_title):  # type: ignore[attr-defined]
        assert text.get_window_extent().x1 <= figure.get_figwidth() * DOTS_AN_INCH


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
