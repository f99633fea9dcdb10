"""What the core reports: rare things, one event each, in the order in which they happened."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

__all__ = ["ERRORS", "Event", "EventKind"]

ERRORS = (
    "ok",
    "not_json",
    "missing_key",
    "duplicate_key",
    "wrong_type",
    "bad_number",
    "decimal",
    "bad_value",
    "wrong_symbol",
    "duplicate_level",
    "no_memory",
)
"""Why a frame could not be decoded, by the core's numbers."""


class EventKind(IntEnum):
    """The core's event types."""

    GAP_OPENED = 0
    GAP_CLOSED = 1
    DIGEST = 2
    WIDENED = 3
    UNDECODABLE = 4


class Event(NamedTuple):
    """One event.

    Attributes:
        kind: what happened.
        topic: the feed's topic; empty for a frame that no feed could be blamed for.
        symbol: the symbol, for ``WIDENED``.
        detail: a gap's cause, or why a frame was undecodable.
        healed_by: what closed a gap: ``snapshot``, ``message``, ``subscribed`` or ``end``;
            ``gap`` if nothing did: another
            one begins there, in which this one showed.
        line, sequence, receive_ns: of the record that caused the event; ``receive_ns`` of a gap that ends with
            another one is where that begins.
        match_ms: of the healing frame.
        first_update_id, last_update_id, start_ns, start_match_ms: of a gap (design, "When a book may be believed").
        update_id, digest: of a live digest.
        price_decimals, size_decimals: of a widened pair.
    """

    kind: EventKind
    topic: str
    symbol: str
    detail: str
    healed_by: str | None
    line: int
    sequence: int
    receive_ns: int
    match_ms: int | None
    first_update_id: int | None
    last_update_id: int | None
    start_ns: int
    start_match_ms: int | None
    update_id: int | None
    digest: int
    price_decimals: int
    size_decimals: int
