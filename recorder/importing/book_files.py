"""The exchange's order-book files (protocol section 9.3): a zip of lines, each a V5 frame of an ``orderbook`` topic.

Spot and futures files have one member. Option files have one a contract, which are read side by side in the order of
their push times. Nobody recorded when the frames came: the receive stamp is the push time ``ts``.
"""

from __future__ import annotations

import heapq
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Final, Literal

import msgspec

from recorder.importing.sources import MAX_LINE_BYTES, Bad, Found, excerpt, lines_of, opened, reading
from schemas.errors import DataError
from schemas.time import NS_PER_MS

__all__ = ["BookFile"]

MAX_MEMBERS: Final = 4096
_LAST_MS: Final = 2**63 // NS_PER_MS - 1
_EXPECTED: Final = 'a frame such as {"topic":"orderbook.200.BTCUSDT","type":"delta","ts":…,"data":{"u":…,…}}'


class _Data(msgspec.Struct):
    u: int


class _Frame(msgspec.Struct):
    topic: str
    type: Literal["snapshot", "delta"]
    ts: int
    data: _Data


_FRAME: Final = msgspec.json.Decoder(_Frame)


class BookFile:
    """A ``.data.zip`` or option ``.zip`` of order books, or the unpacked ``.data`` (also ``.gz``, ``.zst``)."""

    form: ClassVar[str] = "bybit-book"
    overlaps: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read_bytes = 0

    def items(self) -> Iterator[Found | Bad]:
        """Yield the frames by push time; of one member in its order."""
        with reading(self.path) as reached, ExitStack() as stack:
            file = stack.enter_context(opened(self))
            if self.path.suffix != ".zip":
                for place, at_ms, found in self._of_lines(lines_of(file, reached), ""):
                    yield _item(place[1], at_ms, found)
                return
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = [member for member in archive.infolist() if not member.is_dir()]
            if not 0 < len(members) <= MAX_MEMBERS:
                raise DataError(
                    f"{self.path}: found {len(members)} members, expected one `.data` file, or one a contract"
                )
            several = len(members) > 1
            streams = [
                self._of_lines(
                    lines_of(stack.enter_context(archive.open(member)), reached),  # type: ignore[arg-type]
                    f"{member.filename}, " if several else "",
                    number,
                )
                for number, member in enumerate(members)
            ]
            merged = heapq.merge(*streams, key=lambda one: (one[1], one[0])) if several else streams[0]
            for position, (_, at_ms, found) in enumerate(merged, 1):
                yield _item(position, at_ms, found)

    def _of_lines(
        self, lines: Iterator[tuple[int, bytes]], member: str, ordinal: int = 0
    ) -> Iterator[tuple[tuple[int, int], int, bytes | tuple[str, str]]]:
        """Yield ((member, line), push time in ms, frame), or for a bad line (place, found) in place of the frame.

        The time never goes down within a member, so that its order is kept among others'.
        """
        last_ms = 0
        for number, line in lines:
            if not line or line.isspace():
                continue
            found: bytes | tuple[str, str] = line
            try:
                if len(line) > MAX_LINE_BYTES:
                    raise ValueError
                frame = _FRAME.decode(line)
                if not 0 < frame.ts <= _LAST_MS or not frame.topic.startswith("orderbook."):
                    raise ValueError
                last_ms = max(last_ms, frame.ts)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                found = (f"{member}line {number}", excerpt(line))
            yield (ordinal, number), last_ms, found


def _item(position: int, at_ms: int, found: bytes | tuple[str, str]) -> Found | Bad:
    if isinstance(found, bytes):
        return Found(position, at_ms * NS_PER_MS, found)
    return Bad(position, found[0], found[1], _EXPECTED)
