"""Published engines in plain memory, for tests: no files, and a clock that stands still unless it is told to go."""

from __future__ import annotations

from engine.core.feeds import Engine
from engine.core.publisher import CONTROL_BYTES, Publisher, book_bytes, tape_bytes
from engine.core.shared import SharedBook, SharedControl, SharedTape
from schemas.tables import FULL_DEPTH

__all__ = ["TIMEOUT_NS", "Published"]

TIMEOUT_NS = 1_000_000_000


class Published:
    """An engine with all that its readers need.

    Args:
        engine: the engine; its feeds so far are published.
        capacity: levels a side of each book; the topic's depth by default, 1000 of orderbook.full.
        ring_bytes: of the tape; 0 for none.
    """

    def __init__(self, engine: Engine, *, capacity: int | None = None, ring_bytes: int = 1 << 20) -> None:
        self.engine = engine
        self.now_ns = 10**15
        self.control = bytearray(CONTROL_BYTES)
        self.tape_memory = bytearray(tape_bytes(ring_bytes)) if ring_bytes else None
        self.memories: dict[int, bytearray] = {}
        self._capacity = capacity
        self.publisher = Publisher(
            engine,
            self.control,
            collector="linear",
            environment="gateway",
            token=77,
            pid=1234,
            started_ns=1,
            now_ns=self.now_ns,
            interval_ns=TIMEOUT_NS // 10,
            timeout_ns=TIMEOUT_NS,
            tape=self.tape_memory,
        )
        self.add_feeds()
        self.reads = SharedControl(self.control)

    def add_feeds(self) -> None:
        """Publish the feeds that came since."""
        for feed in range(self.publisher.feed_count, self.engine.feed_count):
            depth = self.publisher.wants_book(feed)
            book = 0
            if depth:
                capacity = self._capacity or (1000 if depth == FULL_DEPTH else depth)
                self.memories[feed] = bytearray(book_bytes(capacity))
                book = self.publisher.begin_book(feed, self.memories[feed], capacity)
            self.publisher.add(feed, book)

    def clock(self) -> int:
        """The monotonic clock of the readers."""
        return self.now_ns

    def book(self, feed: int) -> SharedBook:
        """A reader of a feed's book."""
        return SharedBook(self.memories[feed], self.reads, self.clock)

    def tape(self) -> SharedTape:
        """A reader of the tape, from now on."""
        assert self.tape_memory is not None
        return SharedTape(self.tape_memory, self.reads, self.clock)
