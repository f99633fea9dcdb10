"""What a driver is: the reader of one feed whose frames the core routes but doesn't read.

The core keeps such a feed's counters, state, gaps and stamps; the driver says what its frames mean, through the methods
of `engine.core.feeds.Engine` that take a `Stamp`. Live and in replay the engine calls it for the same records in the
same order, so it must be a pure function of what it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

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
    feed is blamed for (`engine.timing`)."""

    intervals: int = 20
    least: int = 1


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

    # What the bytes don't say; the core has acted on it already.

    def subscribed(self, at: Stamp) -> None:
        """The exchange acknowledged the topic."""

    def lost(self, at: Stamp) -> None:
        """The line is gone, or the feed was declared stale: what comes next may not follow what came before."""

    def answer(self, path: str, body: str, at: Stamp) -> None:
        """A REST answer was recorded; most are for others."""

    # State of its own, for drivers that keep any.

    def digest(self) -> int:
        """Digest of the state, for live digests and their replay."""
        return 0

    def set_digest(self, update_id: int, digest: int) -> bool:  # noqa: ARG002 - for those that keep rows
        """Put a live digest on the newest row. False if that row has another update id."""
        return False

    def checkpoint(self) -> dict[str, Any] | None:
        """State beyond what the core keeps, as JSON values; None for none."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Take up such a state; with rows, a book that is LIVE begins with a keyframe."""
