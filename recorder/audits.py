"""Audits at work: depths held against each other all the time, one book after the other held against REST."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from decimal import Decimal
from typing import Any, Final

from engine.audit import (
    STREAK,
    Agreement,
    Candidate,
    Comparison,
    Level,
    RestAudit,
    State,
    candidates,
)
from engine.bybit.rest import order_book_request
from engine.freshness import Resyncs
from recorder.capture import Capture
from recorder.rest import RestClient
from recorder.warnings import Warnings
from schemas.errors import ExchangeError
from schemas.names import FeedState
from schemas.notes import Audited

__all__ = ["Audits"]

LOOK_S: Final = 0.1
POLL_S: Final = 0.005
"""While a question is open; the 1000-level stream pushes each 200 ms."""
AGAIN_S: Final = 1.0
"""A book that differed is asked about again so soon."""


class Audits:
    """Compares, notes, and declares stale what differs too often.

    Args:
        capture: where notes and answers go.
        resyncs: told of feeds that are not believed any more.
        every_s: between two questions to REST; 0 asks none.
        warnings: where disagreement is told.

    Attributes:
        waiting: while set, nothing is compared and nobody asked: what a disk that is behind needs is for recording.
    """

    def __init__(self, capture: Capture, resyncs: Resyncs, every_s: float, warnings: Warnings) -> None:
        self.agreement = Agreement(capture.engine)
        self.outcomes: Counter[str] = Counter()
        self._capture = capture
        self._engine = capture.engine
        self._resyncs = resyncs
        self._every_s = every_s
        self._warnings = warnings
        self._last_symbol = ""
        self._streaks: Counter[str] = Counter()
        self.disbelieved = 0
        self.waiting = False

    async def watch_depths(self) -> None:
        """Look at some pairs of depths ten times a second."""
        while True:
            if not self.waiting:
                for comparison in self.agreement.look(time.monotonic_ns()):
                    self._tell(comparison)
            await asyncio.sleep(LOOK_S)

    async def ask(self, rest: RestClient) -> None:
        """Hold one book after the other against REST."""
        if not self._every_s:
            return
        while True:
            candidate = None if self.waiting else self._choose()
            outcome = None if candidate is None else await self.audit(rest, candidate)
            again = outcome == "disagreed"
            await asyncio.sleep(min(AGAIN_S, self._every_s) if again else self._every_s)

    def finish(self) -> None:
        """Note what has agreed and was not told yet."""
        for comparison in self.agreement.finish():
            self._tell(comparison)

    # ---- depths ----

    def _tell(self, comparison: Comparison) -> None:
        difference = comparison.difference
        topic = comparison.topic
        symbol = topic.split(".", 2)[2]
        self._capture.note(
            Audited(
                topic=topic,
                against=comparison.against,
                outcome="agreed" if difference is None else "disagreed",
                comparisons=comparison.comparisons,
                update_id=self._engine.update_id(self._engine.feed_index(topic)),
                cross_sequence=comparison.cross_sequence,
                levels=comparison.levels,
                side=None if difference is None else difference.side,
                level=None if difference is None else difference.level,
                ours=None if difference is None else self._texts(symbol, difference.ours),
                theirs=None if difference is None else self._texts(symbol, difference.theirs),
                disbelieved=bool(comparison.disbelieved),
            )
        )
        if difference is not None:
            self._warnings.tell(
                f"{topic} and {comparison.against} disagree",
                f" at cross sequence {comparison.cross_sequence}, {difference.side} {difference.level}",
            )
        for suspect in comparison.disbelieved:
            self._disbelieve(suspect)

    def _texts(self, symbol: str, level: Level | None) -> tuple[str, str] | None:
        if level is None:
            return None
        price_exponent, size_exponent = self._engine.exponents(symbol)
        return _text(level[0], price_exponent), _text(level[1], size_exponent)

    def _disbelieve(self, topic: str) -> None:
        self.disbelieved += 1
        self._capture.stale(topic, "disagreement")
        self._resyncs.want(topic, time.monotonic_ns())

    # ---- REST ----

    def _choose(self) -> Candidate | None:
        """A book that differed last, else the LIVE one that comes behind the last one asked about."""
        engine = self._engine
        # A deeper book that isn't LIVE, or is not recorded any more, is no reason to ask about none of its symbol.
        topics = [t for feed, t in enumerate(engine.topics()) if engine.state(feed) is FeedState.LIVE]
        live = candidates(engine.category, topics)
        if not live:
            return None
        doubtful = [candidate for candidate in live if 0 < self._streaks[candidate.topic] < STREAK]
        if doubtful:
            return doubtful[0]
        chosen = next((each for each in live if each.symbol > self._last_symbol), live[0])
        self._last_symbol = chosen.symbol
        return chosen

    async def audit(self, rest: RestClient, candidate: Candidate) -> str:
        """Ask for one book and hold ours against it; returns the outcome, which is noted."""
        category = self._engine.category
        request = order_book_request(category, candidate.symbol, candidate.levels)
        audit = RestAudit(candidate, time.monotonic_ns())
        feed = self._engine.feed_index(candidate.topic)
        body = b""
        asking = asyncio.create_task(rest.order_book(category, candidate.symbol, candidate.levels))
        waiting = True
        try:
            while audit.outcome is None:
                self._see(audit, feed)
                if waiting and asking.done():
                    waiting = False
                    try:
                        body, answer = asking.result()
                    except ExchangeError as error:
                        self._warnings.tell("a book could not be audited", f": {error}")
                        audit.failed()
                    else:
                        audit.answered(answer)
                audit.tick(time.monotonic_ns())
                if audit.outcome is None:
                    await asyncio.sleep(POLL_S)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if audit.state is not None:  # the answer was used
            self._capture.rest(request.target, body)
        self._settle(audit)
        return audit.outcome

    def _see(self, audit: RestAudit, feed: int) -> None:
        """Show the audit our book, if it is in a state that was not shown yet."""
        engine = self._engine
        if engine.state(feed) is not FeedState.LIVE:
            audit.lost()
            return
        update_id, cross_sequence = engine.update_id(feed), engine.last_good(feed)[0]
        key = update_id if audit.candidate.by_update_id else cross_sequence
        if key is not None and audit.is_new(key):
            bids, asks = engine.levels(feed, audit.candidate.levels)
            audit.saw(
                key, State(update_id, cross_sequence, bids, asks, *engine.exponents(audit.candidate.symbol))
            )

    def _settle(self, audit: RestAudit) -> None:
        assert audit.outcome is not None
        topic, state, difference = audit.candidate.topic, audit.state, audit.difference
        self.outcomes[audit.outcome] += 1
        disbelieved = False
        if audit.outcome == "disagreed":
            self._streaks[topic] += 1
            disbelieved = self._streaks[topic] % STREAK == 0
            self._warnings.tell(f"{topic} and REST disagree", f" at {difference}")
        elif audit.outcome == "agreed":
            del self._streaks[topic]
        ours = None
        if state is not None and difference is not None and difference.ours is not None:
            ours = (
                _text(difference.ours[0], state.price_exponent),
                _text(difference.ours[1], state.size_exponent),
            )
        self._capture.note(
            Audited(
                topic=topic,
                against="rest",
                outcome=audit.outcome,
                update_id=None if state is None else state.update_id,
                cross_sequence=None if state is None else state.cross_sequence,
                levels=None if state is None else audit.candidate.levels,
                side=None if difference is None else difference.side,
                level=None if difference is None else difference.level,
                ours=ours,
                theirs=audit.theirs,
                disbelieved=disbelieved,
            )
        )
        if disbelieved:
            self._disbelieve(topic)

    def status(self) -> dict[str, Any]:
        """What ``tapebook status`` shows."""
        agreement = self.agreement
        return {
            "rest": {name: self.outcomes[name] for name in sorted(self.outcomes)},
            "depths": {
                "pairs": agreement.pairs,
                "compared": agreement.compared,
                "agreed": agreement.agreed,
                "disagreed": agreement.disagreed,
            },
            "disbelieved": self.disbelieved,
        }


def _text(mantissa: int, exponent: int) -> str:
    return f"{Decimal(mantissa).scaleb(exponent):f}"
