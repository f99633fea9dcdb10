"""What lines did for the feeds that they carry together (docs/lines.md)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LineShare"]


class LineShare(NamedTuple):
    """What one line did for one feed since the recording began.

    Attributes:
        line: its slot.
        up: it carries the feed now.
        frames: it brought.
        taken: of them were followed: it was the first to bring them, or the only one.
        repeats: of them another had brought before.
        ahead: of them came while something before them was still awaited of another line.
        saved: of those taken no other line brought.
    """

    line: int
    up: bool
    frames: int
    taken: int
    repeats: int
    ahead: int
    saved: int
