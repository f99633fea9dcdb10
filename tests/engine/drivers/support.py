"""What tests of drivers share."""

from __future__ import annotations

__all__ = ["Journal"]

Record = tuple[int, int, int, bytes]


class Journal:
    """Keeps records in memory, one a microsecond, by segment.

    Attributes:
        segments: records of each segment so far.
        next_sequence: of the record that comes next.
    """

    def __init__(self) -> None:
        self.segments: list[list[Record]] = [[]]
        self.next_sequence = 0
        self.now_ns = 1_700_000_000_000_000_000

    @property
    def records(self) -> list[Record]:
        """Of the segment that is being written."""
        return self.segments[-1]

    def clock(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def append(self, receive_ns: int, line: int, kind: int, payload: bytes) -> int:
        self.records.append((receive_ns, line, int(kind), payload))
        self.next_sequence += 1
        return self.next_sequence - 1

    def rotate(self, _: int, head: list[Record]) -> None:
        self.segments.append([])
        for record in head:
            self.append(*record)
