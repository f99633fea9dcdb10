from collections.abc import Sequence
from typing import Final

from engine.latency import Histogram

BUCKETS: Final[int]
FIRST_BIT: Final[int]
OCTAVES: Final[int]
PARTS: Final[int]

class Delays:
    def __init__(self) -> None: ...
    def add(self, ns: int, times: int = 1) -> None: ...
    def add_since(self, records: Sequence[tuple[int, int, int, bytes]], now_ns: int) -> None: ...
    def histogram(self) -> Histogram: ...
