"""What a strategy is told: moments and trades, as plain tuples (``engine.core.drive``)."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Moment", "TradeSeen"]


class Moment(NamedTuple):
    """When a message came.

    Attributes:
        sequence: ordinal of its record in the collector's journal.
        receive_ns: by our clock, nanoseconds.
        push_ms: when the exchange sent it, milliseconds; of what is no message, our clock's.
        match_ms: when the matching engine made it; None where it doesn't say.
    """

    sequence: int
    receive_ns: int
    push_ms: int
    match_ms: int | None


class TradeSeen(NamedTuple):
    """One trade; price and size as mantissas at the symbol's exponents."""

    side: Literal["buy", "sell"]
    price: int
    size: int
    match_ms: int
