"""Where the full book comes from: one REST request at a time per feed, joined to the deltas that wait for it.

When to ask and what an answer is worth says `engine.bybit.full_sync`; here are the clock, the client and the journal.
An answer that is used becomes a record before it acts, with the deltas behind it, so that a replay needs nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from engine.bybit import rest as shapes
from engine.bybit.full_sync import Again, FullSync, Load, NoBook, Phase, SyncOptions
from recorder.capture import Capture
from recorder.rest import RestClient
from recorder.warnings import Warnings
from schemas.errors import ExchangeError, StoreError
from schemas.names import Category, FeedState, GapCause
from schemas.notes import Disconnected, Refused, Session, Stale, Subscribed, Unsubscribed
from schemas.tables import FULL_DEPTH, book_of_topic

__all__ = ["FullBooks"]

AT_ONCE: Final = 4
"""Requests on their way together: an answer is up to a megabyte, and may have to be held whole."""

TICK_S: Final = 0.1

log = logging.getLogger("tapebook")


class FullBooks:
    """Synchronises every ``orderbook.full`` feed of a collector.

    Args:
        category: of the feeds.
        capture: where answers are recorded and act; it tells of frames and session events.
        warnings: where trouble is told.
        options: how patient each synchronisation is.
        random: source of the jitter between requests.
        clock_ns: monotonic.
    """

    def __init__(
        self,
        category: Category,
        capture: Capture,
        warnings: Warnings,
        *,
        options: SyncOptions | None = None,
        random: Random | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._category = category
        self._capture = capture
        self._warnings = warnings
        self._options = options
        self._random = random or Random()
        self._clock_ns = clock_ns
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._lines: dict[str, set[int]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self.syncs: dict[str, FullSync] = {}
        capture.on_session = self.session

    def __repr__(self) -> str:
        return f"<FullBooks feeds={len(self.syncs)} asking={len(self._asking)}>"

    # ---- what happens to the feeds ----

    def session(self, line: int, event: Session) -> None:
        """A session event was recorded: subscriptions begin and end with it."""
        if isinstance(event, Subscribed):
            for topic in event.topics:
                book = book_of_topic(topic)
                if book is not None and book[1] == FULL_DEPTH:
                    self._begin(topic, line)
        elif isinstance(event, Unsubscribed):
            for topic in event.topics:
                self._lose(topic, line)
        elif isinstance(event, Refused):
            self._lose(event.topic, line)
        elif isinstance(event, Disconnected):
            for topic in list(self._lines):
                self._lose(topic, line)

    def _begin(self, topic: str, line: int) -> None:
        sync = self.syncs.get(topic)
        if sync is None:
            sync = self.syncs[topic] = FullSync(self._random, options=self._options)
            feed = self._capture.engine.feed_index(topic)
            self._capture.watchers[feed] = partial(self._frame, feed, sync)
        self._lines.setdefault(topic, set()).add(line)
        sync.subscribed(self._clock_ns())

    def _lose(self, topic: str, line: int) -> None:
        lines = self._lines.get(topic)
        if lines is None or line not in lines:
            return
        lines.discard(line)
        if not lines:
            self.syncs[topic].lost()

    def _frame(self, feed: int, sync: FullSync, frame: bytes) -> None:
        """The core has taken a frame of the feed, or, where the feed isn't live behind it, could not apply it."""
        if self._capture.engine.state(feed) is not FeedState.LIVE:
            sync.delta(frame, self._clock_ns())

    # ---- asking ----

    async def run(self, rest: RestClient) -> None:
        """Ask for books when they are wanted, until cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK_S)
                now_ns = self._clock_ns()
                for topic, sync in self.syncs.items():
                    if self._has_ended(topic, sync):
                        continue
                    if sync.phase is Phase.LIVE and self._state(topic) is not FeedState.LIVE:
                        sync.disbelieved(now_ns)
                    if sync.wants(now_ns):
                        task = asyncio.create_task(self._ask(rest, topic, sync, sync.ask(now_ns)))
                        self._asking.add(task)
                        task.add_done_callback(self._asking.discard)
        finally:
            for task in self._asking:
                task.cancel()

    def _has_ended(self, topic: str, sync: FullSync) -> bool:
        """Whether the topic is not ours any more. That is so before the exchange has acknowledged it, when an answer on
        its way would bring the feed back."""
        engine = self._capture.engine
        ended = engine.ended(engine.feed_index(topic))
        if ended and sync.phase is not Phase.IDLE:
            sync.lost()
        return ended

    def _state(self, topic: str) -> FeedState:
        engine = self._capture.engine
        return engine.state(engine.feed_index(topic))

    async def _ask(self, rest: RestClient, topic: str, sync: FullSync, asked: int) -> None:
        try:
            await self._ask_once(rest, topic, sync, asked)
        except Exception as error:
            # Nobody waits for this task: the feed must not wait for its answer for ever.
            log.exception("%s: a bug in tapebook: the book is asked for again", topic)
            sync.failed(asked, self._clock_ns(), repr(error))

    async def _ask_once(self, rest: RestClient, topic: str, sync: FullSync, asked: int) -> None:
        symbol = topic.split(".", 2)[2]
        request = shapes.full_order_book_request(self._category, symbol)
        try:
            async with self._at_once:
                body = await rest.fetch(request)
            book = shapes.parse_order_book(body, f"market/full_orderbook {symbol}")
            if book.symbol != symbol:
                raise ExchangeError(
                    f"market/full_orderbook: found the book of {book.symbol[:64]!r}, expected {symbol}"
                )
        except ExchangeError as error:
            if self._has_ended(topic, sync):
                return
            sync.failed(asked, self._clock_ns(), str(error))
            self._complain(topic, sync, str(error))
            return
        if self._has_ended(topic, sync):
            return
        verdict = sync.answer(asked, book, self._clock_ns())
        try:
            if isinstance(verdict, Load):
                self._load(topic, sync, verdict, request.target, body)
            elif isinstance(verdict, Again):
                self._complain(topic, sync, verdict.why)
            elif isinstance(verdict, NoBook):
                log.info("%s: there is no book: before an auction, or after a delisting", topic)
        except StoreError:  # the journal's, which everybody who writes to it meets, the collector first
            log.debug("%s: an answer could not be recorded", topic)

    def _load(self, topic: str, sync: FullSync, verdict: Load, path: str, body: bytes) -> None:
        self._capture.full_book(topic, path, body, verdict.deltas)
        complete = self._state(topic) is FeedState.LIVE
        sync.taken(complete, self._clock_ns())
        if not complete:
            self._complain(topic, sync, sync.last_why)
        elif verdict.is_empty:
            log.info("%s: the book is empty: before an auction, or delisted", topic)

    def _complain(self, topic: str, sync: FullSync, why: str) -> None:
        self._warnings.tell(f"{topic}: no book yet", f" ({why})")
        engine = self._capture.engine
        if sync.given_up and engine.open_gap(engine.feed_index(topic)) is None:
            self._capture.note(Stale(topic=topic, cause=GapCause.NO_SNAPSHOT.value))

    def status(self) -> list[dict[str, Any]]:
        """What ``tapebook status`` shows: each feed's phase, what waits, and how often it was asked."""
        return [
            {
                "topic": topic,
                "phase": sync.phase.value,
                "waiting": sync.waiting,
                "asked": sync.asked,
                "loaded": sync.loads,
                "attempts": sync.attempts,
                "last_why": sync.last_why,
            }
            for topic, sync in self.syncs.items()
        ]
