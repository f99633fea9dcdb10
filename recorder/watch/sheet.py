"""What pages are written on: so many cells by so many lines; tables whose columns give way where there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from recorder.watch.text import Fragment, Glyphs, Line, fit, line_width

__all__ = ["Column", "Sheet", "scrolled", "table"]


class Sheet(NamedTuple):
    """A page's room.

    Attributes:
        width, height: cells and lines.
        now_ns: wall clock.
        glyphs: what bars and marks are made of.
    """

    width: int
    height: int
    now_ns: int
    glyphs: Glyphs

    def line(self, line: Line) -> Line:
        """Exactly as wide as the sheet: filled up with blanks or cut."""
        room = self.width
        out: Line = []
        for style, text in line:
            if room <= 0:
                break
            if line_width([(style, text)]) > room:
                text = fit(text, room, cut=self.glyphs["cut"])
            out.append((style, text))
            room -= line_width([(style, text)])
        if room > 0:
            out.append(("", " " * room))
        return out

    def two(self, left: Line, right: Line) -> Line:
        """Something at the left edge and something at the right one, which goes first where there is no room."""
        room = self.width - line_width(left) - line_width(right)
        return self.line([*left, ("", " " * room), *right] if room > 0 else left)

    def rule(self, title: str = "") -> Line:
        """A line across, with a title."""
        mark = self.glyphs["rule"]
        text = f"{mark} {title} " if title else ""
        return self.line([("rule", text + mark * max(0, self.width - len(text)))])


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        title: above it.
        width: cells, at least.
        right: whether it is aligned at the right.
        grows: whether it takes the room that is left.
        weight: the least important (largest) go first where there is no room; 0 never goes.
    """

    title: str
    width: int
    right: bool = False
    grows: bool = False
    weight: int = 0


def table(sheet: Sheet, columns: Sequence[Column], rows: Sequence[Sequence[Fragment]]) -> list[Line]:
    """A heading, and a line for each row, whose cells are in the order of the columns."""
    kept = list(range(len(columns)))
    while sum(columns[index].width + 1 for index in kept) > sheet.width and any(
        columns[index].weight for index in kept
    ):
        kept.remove(max(kept, key=lambda index: columns[index].weight))
    spare = sheet.width - sum(columns[index].width + 1 for index in kept)
    growing = [index for index in kept if columns[index].grows]
    widths = {
        index: columns[index].width
        + (max(0, spare) // len(growing) if index in growing else 0)
        + (max(0, spare) % len(growing) if growing and index == growing[0] else 0)
        for index in kept
    }
    cut = sheet.glyphs["cut"]

    def line(cells: Sequence[Fragment]) -> Line:
        out: Line = []
        for index in kept:
            style, text = cells[index]
            out.append((style, fit(text, widths[index], right=columns[index].right, cut=cut)))
            out.append(("", " "))
        return sheet.line(out)

    return [line([("head", column.title) for column in columns]), *(line(row) for row in rows)]


def scrolled(lines: list[Line], offset: int, room: int) -> tuple[list[Line], int]:
    """The part of a list that there is room for, and the offset that this came to."""
    offset = min(max(0, offset), max(0, len(lines) - room))
    return lines[offset : offset + room], offset
