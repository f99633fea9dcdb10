"""What a stream session tells its owner; each event is a small frozen struct that encodes to tagged JSON."""

from __future__ import annotations

import msgspec

__all__ = [
    "Dead",
    "Pong",
    "Refused",
    "SessionEvent",
    "Silent",
    "Subscribed",
    "Unexplained",
    "Unsubscribed",
]


class Subscribed(msgspec.Struct, frozen=True, tag_field="event", tag="subscribed"):
    """The exchange acknowledged these topics.

    Attributes:
        fresh: false when they were active already, so that no snapshot need follow.
    """

    topics: tuple[str, ...]
    fresh: bool = True


class Refused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    """The exchange refused to start this topic; it is no longer asked for.

    Attributes:
        words: the exchange's own text.
    """

    topic: str
    words: str


class Unsubscribed(msgspec.Struct, frozen=True, tag_field="event", tag="unsubscribed"):
    """These topics have ended, whether for good or in the middle of a resync.

    Attributes:
        words: the exchange's text where it refused to end them, else empty.
    """

    topics: tuple[str, ...]
    words: str = ""


class Pong(msgspec.Struct, frozen=True, tag_field="event", tag="pong"):
    """A ping was answered.

    Attributes:
        round_trip_ns: null when several pings were open and the answer doesn't tell which it means.
        received_ns: monotonic.
        exchange_ms: the exchange's clock, where the socket tells it.
    """

    round_trip_ns: int | None
    received_ns: int = 0
    exchange_ms: int | None = None


class Silent(msgspec.Struct, frozen=True, tag_field="event", tag="silent"):
    """A topic that begins with a snapshot was acknowledged, and none came in time."""

    topic: str


class Unexplained(msgspec.Struct, frozen=True, tag_field="event", tag="unexplained"):
    """A frame without a topic that is no answer to anything.

    Attributes:
        cause: ``oversize``, ``undecodable``, ``unknown_shape`` or ``unmatched``.
        excerpt: the first 300 bytes as text.
        size_bytes: of the whole frame.
    """

    cause: str
    excerpt: str
    size_bytes: int


class Dead(msgspec.Struct, frozen=True, tag_field="event", tag="dead"):
    """The connection no longer works: tear it down and open another. Emitted once."""

    reason: str


SessionEvent = Subscribed | Refused | Unsubscribed | Pong | Silent | Unexplained | Dead
