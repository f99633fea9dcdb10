"""Trades lost over a gap, fetched back over REST while the stream goes on."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import msgspec

from engine.bybit.rest import recent_trades_request
from engine.events import Event
from engine.trade_backfill import LostTradesQueue, Waiting, read_fetched
from recorder.capture import Capture
from recorder.rest import RestClient
from recorder.warnings import Warnings
from schemas.errors import ExchangeError
from schemas.names import Category
from schemas.notes import FetchedTrades

__all__ = ["TradeBackfill"]

LOOK_S: Final = 0.25
_PREFIX: Final = "publicTrade."


class TradeBackfill:
    """Asks for the trades of closed gaps, one gap after the other.

    Args:
        capture: where answers go.
        warnings: where trouble is told.

    Attributes:
        healed: gaps whose answer covered them. short: gaps whose answer didn't.
        failed: gaps that no answer came for. rows: trades that became rows.
    """

    def __init__(self, capture: Capture, warnings: Warnings) -> None:
        self._capture = capture
        self._engine = capture.engine
        self._warnings = warnings
        self._queue = LostTradesQueue()
        self.healed = self.short = self.failed = self.rows = 0

    def gap_closed(self, event: Event) -> None:
        """Take note of a gap; only of trades, and only where the last good trade is known.

        A feed that has ended takes nothing any more, so what its last gap lost is not asked for.
        """
        has_ended = event.healed_by == "end"
        if event.topic.startswith(_PREFIX) and event.start_match_ms is not None and not has_ended:
            gap = FetchedTrades(
                topic=event.topic,
                path="",
                body="",
                cause=event.detail,
                start_ns=event.start_ns,
                end_ns=event.receive_ns,
                start_match_ms=event.start_match_ms,
                end_match_ms=event.match_ms,
                until_match_ms=None,
            )
            self._queue.add(gap, time.monotonic_ns())

    async def run(self, rest: RestClient) -> None:
        """Ask about whatever is due, until cancelled."""
        while True:
            while (waiting := self._queue.due(time.monotonic_ns())) is not None:
                await self.fetch(rest, waiting)
            await asyncio.sleep(LOOK_S)

    async def fetch(self, rest: RestClient, waiting: Waiting) -> None:
        """Ask about one gap, record the answer, and take what it has."""
        gap, category = waiting.gap, self._engine.category
        feed = self._engine.feed_index(gap.topic)
        name = gap.topic.removeprefix(_PREFIX)
        is_option = category is Category.OPTION
        request = recent_trades_request(
            category, symbol=None if is_option else name, base_coin=name if is_option else None
        )
        _, match_ms, _, receive_ns = self._engine.last_good(feed)
        goes_on = gap.end_match_ms is not None or (receive_ns is not None and receive_ns > gap.end_ns)
        until_ms = match_ms if goes_on else None
        try:
            body = await rest.fetch(request)
        except ExchangeError as error:
            self._warnings.tell("lost trades could not be fetched back", f": {gap.topic}: {error}")
            self._vain(waiting, failed=True)
            return
        fetched = msgspec.structs.replace(
            gap,
            path=request.target,
            body=body.decode("utf-8", "replace"),
            until_match_ms=until_ms,
            is_settled=not waiting.is_first,
        )
        found = read_fetched(fetched, category)
        before = self._engine.feed_counters(feed)["rows"] or 0
        whole = self._capture.fetched_trades(fetched)
        self.rows += (self._engine.feed_counters(feed)["rows"] or 0) - before
        if whole:
            self.healed += 1
        elif found.joins or (not found.reaches_back and found.frame is not None):
            self._short(gap)
        else:
            self._vain(waiting, failed=False)

    def _short(self, gap: FetchedTrades) -> None:
        self.short += 1
        self._warnings.tell(f"{gap.topic}: recent trades don't cover the gap", f" ({gap.cause})")

    def _vain(self, waiting: Waiting, *, failed: bool) -> None:
        if self._queue.again(waiting, time.monotonic_ns()):
            return
        if failed:
            self.failed += 1
        else:
            self._short(waiting.gap)

    def status(self) -> dict[str, Any]:
        """What ``tapebook status`` shows."""
        return {
            "waiting": len(self._queue),
            "healed": self.healed,
            "short": self.short,
            "failed": self.failed + self._queue.overflowed,
            "rows": self.rows,
        }
