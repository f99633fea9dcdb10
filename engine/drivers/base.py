"""What a driver is: the reader of one feed whose frames the core routes but doesn't read.

The core keeps such a feed's counters, state, gaps and stamps; the driver says what its frames mean, through the methods
of `engine.core.feeds.Engine` that take a `Stamp`. Live and in replay the engine calls it for the same records in the
same order, so it must be a pure function of what it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.drivers.rows import Rows

if TYPE_CHECKING:
    from engine.core.feeds import Engine

__all__ = ["Driver", "Silence", "Stamp", "UndecodableError"]


class Stamp(NamedTuple):
    """Where and when: of the record being applied."""

    sequence: int
    receive_ns: int
    line: int


class Silence(NamedTuple):
    """How much silence is too much: so many of the feed's mean intervals, and never less than so many times what no
    feed is blamed for (`engine.timing`); nor before the feed was watched for so many times that."""

    intervals: int = 20
    least: int = 1
    watched: int = 0


class UndecodableError(Exception):
    """A frame that can't be read; nothing has changed. `cause` is one of `engine.events.ERRORS`."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class Driver:
    """Reads the frames of one feed.

    Args:
        engine: whose feed it is; told what the frames mean.
        feed: index of the feed.
        topic: of the feed.
        rows: where archive rows go, or None where none are made (live).
    """

    def __init__(self, engine: Engine, feed: int, topic: str, rows: Rows | None) -> None:
        self.engine = engine
        self.feed = feed
        self.topic = topic
        self.rows = rows

    def frame(self, frame: bytes, at: Stamp) -> None:
        """Take a frame: valid UTF-8 whose first key `topic` named this feed, the rest unknown.

        Raises:
            UndecodableError: nothing was changed; the engine counts the frame and opens the gap.
        """
        raise NotImplementedError
