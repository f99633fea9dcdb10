from typing import Any, Final

from engine.core.feeds import Engine

VERSION: Final[int]
CONTROL_HEADER_BYTES: Final[int]
CONTROL_BYTES: Final[int]
TOPIC_BYTES: Final[int]
LEAST_TAPE_BYTES: Final[int]
MOST_TAPE_BYTES: Final[int]
STATUSES: Final[dict[str, int]]

def book_bytes(capacity: int) -> int: ...
def tape_bytes(ring_bytes: int) -> int: ...
def mark_replaced(memory: Any) -> None: ...

class Publisher:
    def __init__(
        self,
        engine: Engine,
        control: Any,
        collector: str,
        *,
        environment: str,
        token: int,
        pid: int,
        started_ns: int,
        now_ns: int,
        interval_ns: int,
        timeout_ns: int,
        tape: Any = None,
        gettime: int = 0,
        clock: int = 0,
    ) -> None: ...
    @property
    def feed_count(self) -> int: ...
    @property
    def published(self) -> int: ...
    @property
    def told(self) -> int: ...
    @property
    def is_open(self) -> bool: ...
    def wants_book(self, feed: int) -> int: ...
    def begin_book(self, feed: int, memory: Any, capacity: int) -> int: ...
    def add(self, feed: int, book: int = 0) -> None: ...
    def beat(self, now_ns: int, heard_ns: int = 0) -> None: ...
    def set_status(self, status: str) -> None: ...
    def close(self) -> None: ...
