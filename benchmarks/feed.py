"""Frames to measure with: from a recording, or from the generated market of ``benchmarks.market``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.market import generated_feed, generated_topic
from engine.core.feeds import Engine
from engine.topics import parse_feed
from schemas.errors import ConfigError, DataError
from schemas.names import Category, FeedState, RecordKind

__all__ = ["BATCH_BYTES", "Batch", "Feed", "batches", "load", "recorded", "with_books"]

CATEGORY = Category.LINEAR
BATCH_BYTES = 256 << 10
"""Payload of one batch: what the journal commits at once (``JournalOptions.commit_bytes``)."""

Column = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Feed:
    """Frames in the order in which they came.

    Attributes:
        source: where they are from.
        frames: the frames, bytes as received.
        receive_ns: when each was received, ns since the epoch.
        topics: the topics that occur, in order of appearance.
    """

    source: str
    frames: list[bytes]
    receive_ns: list[int]
    topics: list[str]

    def only(self, prefix: str, count: int | None = None) -> Feed:
        """The first ``count`` frames (default: all) of a topic such as orderbook.50, with or without symbol."""
        wanted = [
            index for index, frame in enumerate(self.frames) if f"{topic_of(frame)}.".startswith(f"{prefix}.")
        ][:count]
        if not wanted:
            raise ConfigError(f"{self.source}: no frame of {prefix}; it has {', '.join(self.topics)}")
        return feed_of(self.source, ((self.receive_ns[i], self.frames[i]) for i in wanted))

    def head(self, count: int | None) -> Feed:
        """The first ``count`` frames of all topics."""
        return feed_of(self.source, zip(self.receive_ns[:count], self.frames[:count], strict=True))

    def describe(self) -> dict[str, object]:
        """What every result says about the frames it was measured with."""
        levels = [count for count in map(_levels, self.frames) if count is not None]
        return {
            "source": self.source,
            "topics": len(self.topics),
            "frames": len(self.frames),
            "bytes_per_frame": round(sum(map(len, self.frames)) / len(self.frames), 1),
            "levels_per_frame": round(sum(levels) / len(levels), 2) if levels else None,
        }

    def engine(self, *, columns: bool = False) -> Engine:
        """An engine that knows the feed's topics and has seen no frame."""
        engine = Engine(CATEGORY, columns=columns)
        for topic in self.topics:
            engine.add_feed(topic)
        return engine


class Batch(NamedTuple):
    """Frames as a record batch of the journal hands them to ``Engine.apply_batch``: one column each."""

    payloads: Column
    offsets: Column
    receive_ns: Column
    sequences: Column
    lines: Column
    kinds: Column


def topic_of(frame: bytes) -> str:
    """The topic of a frame, empty where there is none."""
    # Topics hold no escapes, and every layout of the exchange has them near the front: no need to parse the rest.
    _, found, rest = frame.partition(b'"topic":"')
    return rest[: rest.find(b'"')].decode(errors="replace") if found else ""


def _levels(frame: bytes) -> int | None:
    if not topic_of(frame).startswith("orderbook."):
        return None
    data = json.loads(frame)["data"]
    return len(data["b"]) + len(data["a"])


def feed_of(source: str, lines: Iterable[tuple[int, bytes]]) -> Feed:
    """A feed of (receive_ns, frame) pairs."""
    frames: list[bytes] = []
    receive_ns: list[int] = []
    topics: dict[str, None] = {}
    for stamp, frame in lines:
        topics[topic_of(frame)] = None
        receive_ns.append(stamp)
        frames.append(frame)
    # Copied one behind the other: a frame from a socket is in the cache when it is read. Scattered over memory, as
    # reading a file leaves them, each would be waited for, and the longest by whoever is fastest.
    return Feed(source, [bytes(bytearray(frame)) for frame in frames], receive_ns, list(topics))


def recorded(path: Path) -> Feed:
    """Read the frames of topics that the core reads from lines of ``<receive_ns> <frame>`` (plain or .gz).

    Raises:
        ConfigError: unreadable, not of this form, or without a frame of a topic that the engine knows.
    """
    lines: list[tuple[int, bytes]] = []
    known: dict[str, bool] = {}
    for number, line in enumerate(_lines(path), 1):
        stamp, separator, frame = line.rstrip(b"\r\n").partition(b" ")
        if not separator or not stamp.isdigit():
            raise ConfigError(f"{path}: line {number}: expected `<receive_ns> <frame>`, found {line[:40]!r}")
        topic = topic_of(frame)
        if topic not in known:
            known[topic] = _is_known(topic)
        if known[topic]:
            lines.append((int(stamp), frame))
    if not lines:
        raise ConfigError(
            f"{path}: no frame of a known topic in it; expected lines of `<receive_ns> <frame>`"
        )
    return feed_of(str(path), lines)


def _is_known(topic: str) -> bool:
    """Whether the core itself reads the topic: what a driver reads in Python is not what is measured here."""
    try:
        return parse_feed(CATEGORY, topic)[0] != "driven"
    except ConfigError:
        return False


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; expected a readable file") from error


def load(data: Path | None, topic: str | None, frames: int | None) -> Feed:
    """The feed that the command line asks for.

    Args:
        data: a recording, or None for generated frames.
        topic: one topic, with or without its symbol, or None for all.
        frames: how many of them; default: all of a recording, 20,000 generated ones (60,000 of all topics).
    """
    if data is not None:
        feed = recorded(data)
        return feed.only(topic, frames) if topic is not None else feed.head(frames)
    if topic is None:
        return feed_of(*generated_feed(frames or 60_000))
    return feed_of(*generated_topic(topic, frames or 20_000))


def batches(feed: Feed, batch_bytes: int = BATCH_BYTES) -> list[Batch]:
    """Cut a feed into batches of at most ``batch_bytes`` of payload, each of at least one frame."""
    out: list[Batch] = []
    first = used = 0
    for index, frame in enumerate(feed.frames):
        if index > first and used + len(frame) > batch_bytes:
            out.append(_batch(feed, first, index))
            first, used = index, 0
        used += len(frame)
    out.append(_batch(feed, first, len(feed.frames)))
    return out


def _batch(feed: Feed, first: int, last: int) -> Batch:
    frames = feed.frames[first:last]
    offsets = np.zeros(len(frames) + 1, dtype=np.int32)
    np.cumsum([len(frame) for frame in frames], out=offsets[1:])
    return Batch(
        np.frombuffer(b"".join(frames), dtype=np.uint8),
        offsets,
        np.array(feed.receive_ns[first:last], dtype=np.int64),
        np.arange(first, last, dtype=np.int64),
        np.zeros(len(frames), dtype=np.uint16),
        np.full(len(frames), RecordKind.FRAME.value, dtype=np.uint8),
    )


def with_books(feed: Feed) -> Engine:
    """Apply the whole feed, and return the engine when every order book of it is live.

    Raises:
        DataError: a book is not live: the feed has a gap or begins without a snapshot, and contenders without a
            state machine would be measured doing other work.
    """
    engine = feed.engine()
    for sequence, (frame, receive_ns) in enumerate(zip(feed.frames, feed.receive_ns, strict=True)):
        engine.apply(frame, receive_ns, sequence)
    for index, topic in enumerate(feed.topics):
        if topic.startswith("orderbook.") and engine.state(index) is not FeedState.LIVE:
            raise DataError(
                f"{feed.source}: {topic} is {engine.state(index)} at the end; expected live: measure with a feed "
                "without gaps that begins with snapshots"
            )
    return engine
