"""How patient a recorder is, in one place. The defaults are what the protocol and the design ask for.

Tests that make feeds stall and connections go dead scale all of it down together; nothing else about the
recorder changes then.
"""

from __future__ import annotations

from typing import Final

import msgspec

from engine.bybit.patience import SessionOptions

__all__ = ["Timing"]

_SECOND_NS: Final = 1_000_000_000


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting times of a recorder.

    Attributes:
        session: pings, acknowledgements and first snapshots of one connection.
        least_silence_ns: no feed is called silent before this, however busy it was.
        repeat_silence_ns: silence of level 1, which repeats itself every three seconds, while it has taught too little.
        first_retry_ns: pause after a feed's first resync; it doubles with each further one.
        last_retry_ns: what that pause never exceeds.
        first_snapshot_ns: how long a feed that delivers deltas may go without its first snapshot.
        steady_ns: a connection that held this long has proved itself: the next failure starts the backoff anew.
            One such cycle after another stays well below the exchange's limit of new connections.
        backoff_base_ns, backoff_cap_ns: ceiling of the second pause between connections, and of all.
        look_ns: how often the rates of the connections are looked at.
        rate_memory_ns: time constant of the measured rates.
        over_ns, thin_ns: how long a connection must have been too busy, or two of them too quiet, before topics move.
        pause_ns: after a move; the measured rates need that long to tell what it did.
        move_ns: how long a topic may take to come through on its new connection.
        overlap_ns: how long one that has come through stays on its old connection too.
        quiet_move_ns: how long one that comes only now and then must have been acknowledged on the new one.
        banned_ns, too_many_ns: least pause after HTTP 403 and 429.
        listing_ns: how long a recording waits for the first instruments-info before it begins without.
        tick_s: how often the recorder looks at its clocks.
    """

    session: SessionOptions = SessionOptions()
    least_silence_ns: int = 10 * _SECOND_NS
    repeat_silence_ns: int = 10 * _SECOND_NS
    first_retry_ns: int = 2 * _SECOND_NS
    last_retry_ns: int = 60 * _SECOND_NS
    first_snapshot_ns: int = 10 * _SECOND_NS
    steady_ns: int = 2 * _SECOND_NS
    backoff_base_ns: int = 500_000_000
    backoff_cap_ns: int = 30 * _SECOND_NS
    look_ns: int = 10 * _SECOND_NS
    rate_memory_ns: int = 60 * _SECOND_NS
    over_ns: int = 60 * _SECOND_NS
    thin_ns: int = 600 * _SECOND_NS
    pause_ns: int = 60 * _SECOND_NS
    move_ns: int = 60 * _SECOND_NS
    overlap_ns: int = 2 * _SECOND_NS
    quiet_move_ns: int = 5 * _SECOND_NS
    banned_ns: int = 60 * _SECOND_NS
    too_many_ns: int = 10 * _SECOND_NS
    listing_ns: int = 5 * _SECOND_NS
    tick_s: float = 0.25

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "session" and value <= 0:
                raise ValueError(f"{name} is {value}: expected a positive number")
