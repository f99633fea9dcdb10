"""Child process of ``benchmarks.growth``: hold the books of the snapshots on standard input, and weigh them.

Frames come as a 4-byte little-endian length and the bytes. Prints one JSON object: ``levels`` held, growth of the
resident set, and growth of what malloc has handed out (null where libc is not glibc).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from pathlib import Path

from benchmarks.feed import CATEGORY, topic_of
from engine.core.feeds import Engine


class _MallocInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def allocated_bytes() -> int | None:
    """Bytes that malloc has handed out, small and large, or None where it can't be asked."""
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    function.restype = _MallocInfo
    info = function()
    return int(info.uordblks) + int(info.hblkhd)


def resident_bytes() -> int | None:
    """The resident set of this process, or None where the kernel doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Hold the books and print what they take."""
    data = sys.stdin.buffer.read()
    frames = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    topics = [topic_of(frame) for frame in frames]
    gc.collect()
    # The first engine has the library's own first-time memory; the second is weighed.
    Engine(CATEGORY).add_feed(topics[0])
    resident, allocated = resident_bytes(), allocated_bytes()
    engine = Engine(CATEGORY)
    for topic in topics:
        engine.add_feed(topic)
    for sequence, frame in enumerate(frames):
        engine.apply(frame, sequence, sequence)
        engine.take_events()  # as whoever runs an engine does: they are no part of its books
    weighed = resident_bytes(), allocated_bytes()
    levels = sum(len(side) for index in range(engine.feed_count) for side in engine.levels(index))
    print(
        json.dumps(
            {
                "books": engine.feed_count,
                "levels": levels,
                "resident_bytes": _grown(resident, weighed[0]),
                "allocated_bytes": _grown(allocated, weighed[1]),
            }
        )
    )


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


if __name__ == "__main__":
    main()
