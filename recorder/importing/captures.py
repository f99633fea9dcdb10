"""Capture files of this field: a line a frame, ``<receive_ns> <frame>``; what ``tapebook journal cat`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final

from recorder.importing.sources import MAX_LINE_BYTES, MAX_NS, Bad, Found, excerpt, lines_of, opened, reading

__all__ = ["CaptureFile"]

_EXPECTED: Final = "'<receive_ns> <frame>', the stamp in nanoseconds since 1970"


class CaptureFile:
    """A capture, plain, ``.gz`` or ``.zst``. A frame may be of any bytes but line breaks: the engine judges it."""

    form: ClassVar[str] = "capture"
    overlaps: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = 0

    def items(self) -> Iterator[Found | Bad]:
        """Yield the frames; a blank line is none."""
        with reading(self.path) as reached, opened(self) as file:
            for number, line in lines_of(file, reached):
                if not line or line.isspace():
                    continue
                stamp, _, frame = line.partition(b" ")
                if frame and stamp.isdigit() and len(stamp) <= 19 and len(line) <= MAX_LINE_BYTES:
                    receive_ns = int(stamp)
                    if receive_ns <= MAX_NS:
                        yield Found(number, receive_ns, frame)
                        continue
                yield Bad(number, f"line {number}", excerpt(line), _EXPECTED)
