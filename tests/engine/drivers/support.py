"""What tests of drivers share."""

from __future__ import annotations

__all__ = ["Journal"]


class Journal:
    """Keeps records in memory, one a microsecond."""

    def __init__(self) -> None:
        self.records: list[tuple[int, int, int, bytes]] = []
        self.now_ns = 1_700_000_000_000_000_000

    def clock(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def append(self, receive_ns: int, line: int, kind: int, payload: bytes) -> int:
        self.records.append((receive_ns, line, int(kind), payload))
        return len(self.records) - 1
