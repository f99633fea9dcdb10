"""Trades that a gap lost, out of a recent-trade answer (protocol section 6.1). Pure.

The answer is a journal record; live and in replay the same function turns it into a frame of the topic, with the trades
since the last good one, and the core makes rows of those that the stream has not brought.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from engine.bybit.rest import RestTrade, most_trades, parse_recent_trades
from schemas.errors import ExchangeError
from schemas.names import Category
from schemas.notes import FetchedTrades

__all__ = ["LostTrades", "LostTradesQueue", "Waiting", "read_fetched"]

WAITS_NS: Final = (200_000_000, 2_000_000_000, 6_000_000_000)
"""When to ask after a gap has closed, and after each attempt in vain. Soon, because a busy symbol's trades leave the
answer within seconds; again, because REST may lag behind the stream (section 6.1)."""
MOST_WAITING: Final = 4_096
_ENCODER: Final = msgspec.json.Encoder()


class LostTrades(NamedTuple):
    """What an answer has for a gap.

    Attributes:
        frame: of the topic, with the trades since the gap's beginning, oldest first; None when there are none.
        reaches_back: whether it goes back beyond the gap's beginning, or is all the trades there ever were.
        joins: whether it goes on to where the stream took over; if not, a later answer may.
    """

    frame: bytes | None
    reaches_back: bool
    joins: bool


def read_fetched(fetched: FetchedTrades, category: Category) -> LostTrades:
    """Read an answer; one that isn't what is documented holds nothing."""
    try:
        answer = parse_recent_trades(fetched.body.encode())
    except ExchangeError:
        return LostTrades(None, False, True)
    symbol = "" if category is Category.OPTION else fetched.topic.split(".", 1)[1]
    # newest first as sent; the sort is stable, so matches of one millisecond keep their order
    trades = sorted(
        (trade for trade in reversed(answer.trades) if not symbol or trade.symbol == symbol),
        key=lambda trade: trade.match_ms,
    )
    from_before = answer.rows < most_trades(category) or (
        bool(trades) and trades[0].match_ms < fetched.start_match_ms
    )
    if fetched.until_match_ms is None:
        joined = fetched.is_settled
    else:
        joined = bool(trades) and trades[-1].match_ms >= fetched.until_match_ms
    rows = [_row(trade) for trade in trades if trade.match_ms >= fetched.start_match_ms]
    if not rows:
        return LostTrades(None, from_before, joined)
    frame = {
        "topic": fetched.topic,
        "type": "snapshot",
        "ts": answer.time_ms if answer.time_ms is not None else rows[-1]["T"],
        "data": rows,
    }
    return LostTrades(_ENCODER.encode(frame), from_before, joined)


def _row(trade: RestTrade) -> dict[str, Any]:
    """A trade as the stream writes it (section 3.4)."""
    row: dict[str, Any] = {
        "T": trade.match_ms,
        "s": trade.symbol,
        "S": trade.side,
        "v": trade.size,
        "p": trade.price,
        "i": trade.trade_id,
        **trade.extras,
    }
    optional = {"BT": trade.is_block, "RPI": trade.is_rpi, "seq": trade.cross_sequence}
    row.update((key, value) for key, value in optional.items() if value is not None)
    return row


class Waiting(NamedTuple):
    """A gap whose trades are to be fetched, from when on, and after how many attempts in vain."""

    due_ns: int
    attempts: int
    gap: FetchedTrades

    @property
    def is_first(self) -> bool:
        """Whether nothing has been asked yet."""
        return self.attempts == 0


class LostTradesQueue:
    """Which gaps of trades to ask about, and when.

    Attributes:
        overflowed: gaps that were not taken because too many wait already.
    """

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self.overflowed = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, gap: FetchedTrades, now_ns: int) -> None:
        """A gap has closed; its ``path`` and ``body`` are empty so far."""
        if len(self._waiting) >= MOST_WAITING:
            self.overflowed += 1
        else:
            self._waiting.append(Waiting(now_ns + WAITS_NS[0], 0, gap))

    def due(self, now_ns: int) -> Waiting | None:
        """Take the gap that has been due for longest; None while none is."""
        first = min(self._waiting, default=None, key=lambda waiting: waiting.due_ns)
        if first is None or first.due_ns > now_ns:
            return None
        self._waiting.remove(first)
        return first

    def again(self, vain: Waiting, now_ns: int) -> bool:
        """An attempt was in vain; returns whether there will be another."""
        attempts = vain.attempts + 1
        if attempts == len(WAITS_NS):
            return False
        self._waiting.append(Waiting(now_ns + WAITS_NS[attempts], attempts, vain.gap))
        return True
