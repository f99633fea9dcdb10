"""Sheets and tables: as wide as asked, and what matters least gives way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.watch.sheet import Column, Sheet, scrolled, table
from recorder.watch.text import Line, line_width, nice_glyphs, words


def sheet(width: int) -> Sheet:
    return Sheet(width, 10, 0, nice_glyphs())


COLUMNS = [
    Column("name", 6, grows=True),
    Column("count", 5, right=True),
    Column("idle", 5, weight=1),
    Column("odd", 5, weight=2),
]
ROW = [("", "BTCUSDT"), ("bad", "12"), ("", "x"), ("", "y")]


def test_the_least_important_columns_go_first() -> None:
    assert [words(table(sheet(width), COLUMNS, [ROW])[0]).split() for width in (40, 24, 20, 13)] == [
        ["name", "count", "idle", "odd"],
        ["name", "count", "idle"],
        ["name", "count", "idle"],
        ["name", "count"],
    ]
    head, row = table(sheet(13), COLUMNS, [ROW])
    assert words(row) == "BTCUS…    12 "
    assert line_width(head) == 13
    assert ("bad", "   12") in row


def test_what_grows_takes_the_rest() -> None:
    assert words(table(sheet(40), COLUMNS, [ROW])[1]).startswith("BTCUSDT" + " " * 16 + " ")


@given(st.lists(st.tuples(st.just(""), st.text("ab币 ", max_size=20)), max_size=5), st.integers(0, 50))
def test_lines_are_as_wide_as_the_sheet(line: Line, width: int) -> None:
    assert line_width(sheet(width).line(line)) == width
    assert line_width(sheet(width).two(line, [("", "end")])) == width
    assert line_width(sheet(width).rule("title")) == width


def test_scrolling_stays_within() -> None:
    lines: list[Line] = [[("", str(number))] for number in range(10)]
    assert scrolled(lines, -3, 4) == (lines[:4], 0)
    assert scrolled(lines, 99, 4) == (lines[6:], 6)
    assert scrolled(lines, 3, 20) == (lines, 0)
