"""What a collector asks the exchange beside the stream, all through one paced REST client.

Its clock, full books to begin with, books to audit, trades that a gap lost. None of it can end a recording, and all
of it that counts is in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from engine.events import Event
from engine.freshness import Resyncs
from recorder.audits import Audits
from recorder.capture import Capture
from recorder.clock import ClockWatch
from recorder.full_books import FullBooks
from recorder.line import Line
from recorder.rest import RestClient
from recorder.trade_backfill import TradeBackfill
from recorder.warnings import Warnings
from schemas.config import RecordConfig
from schemas.errors import TapebookError

__all__ = ["Checks"]


class Checks:
    """The side work of one collector.

    Args:
        config: which of it is wanted, and how often.
        capture: where notes and answers go.
        lines: the connections.
        resyncs: told of feeds that an audit doesn't believe.
        warnings: where trouble is told.
    """

    def __init__(
        self,
        config: RecordConfig,
        capture: Capture,
        lines: Iterable[Line],
        resyncs: Resyncs,
        warnings: Warnings,
    ) -> None:
        self.audits = Audits(capture, resyncs, config.audit_every, warnings)
        self.trades = TradeBackfill(capture, warnings) if config.backfill else None
        self.clock = ClockWatch(capture, capture.engine, lines, config.clock_every, warnings)
        self.full_books = FullBooks(config.category, capture, warnings)

    async def run(self, client: RestClient) -> None:
        """Work until cancelled.

        Args:
            client: not entered yet.

        Raises:
            StoreError: the journal failed.
        """
        try:
            async with client as rest, asyncio.TaskGroup() as group:
                group.create_task(self.clock.run(rest))
                group.create_task(self.audits.watch_depths())
                group.create_task(self.audits.ask(rest))
                group.create_task(self.full_books.run(rest))
                if self.trades is not None:
                    group.create_task(self.trades.run(rest))
        except BaseExceptionGroup as errors:
            # what ends a recording is told by its own name: a full disk, for one
            ours: BaseException | None = errors.subgroup(TapebookError)
            while isinstance(ours, BaseExceptionGroup):
                ours = ours.exceptions[0]
            if ours is None:
                raise
            raise ours from errors

    def gap_closed(self, event: Event) -> None:
        """A gap has ended; of trades, some may be missing now."""
        if self.trades is not None:
            self.trades.gap_closed(event)

    def finish(self) -> None:
        """Note what is not noted yet; before the recording's last record."""
        self.audits.finish()

    def status(self) -> dict[str, Any]:
        """What ``tapebook status`` shows."""
        return {
            "clock": self.clock.status(),
            "audits": self.audits.status(),
            "full_books": self.full_books.status(),
            "backfill": None if self.trades is None else self.trades.status(),
        }
