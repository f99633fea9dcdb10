"""When a feed has been silent too long, and when to ask for a snapshot again. Pure: monotonic time is an argument.

Silence is judged against what the feed itself has taught (design, "When a book may be believed", rule 3): no fixed
limit fits both a busy book and an illiquid symbol. Resyncs are one at a time per feed, back off, and share one budget,
because a storm of them would make matters worse (protocol section 4, rule 10).
"""

from __future__ import annotations

import math
from typing import Final

from engine.core.feeds import Engine
from engine.drivers import Silence, driven
from engine.timing import Timing
from engine.topics import parse_feed
from schemas.names import Category, FeedState
from schemas.tables import FULL_DEPTH

__all__ = ["Freshness", "IdleClock", "Resyncs", "needs_snapshot", "silence_of"]

SECOND_NS: Final = 1_000_000_000
MEMORY_NS: Final = 300 * SECOND_NS
"""Time constant with which a feed's rate is forgotten."""
LEAST_MESSAGES: Final = 20
"""A feed that has said less than this is not judged."""
REPEATING: Final = "orderbook.1."
"""Except level 1, which says the same again every three seconds if there is nothing new (protocol section 3.1)."""
INTERVALS: Final = {"book": 20, "rpi": 20, "ticker": 20, "trades": 60}
"""Silence in multiples of the mean interval. Trades come in bursts; 20 intervals of a steady feed are chance 2e-9."""
TRADES_WATCHED: Final = 6
"""And a burst at the beginning says nothing about a trade feed's rate: it is watched for a minute before it is judged,
the silence that is judged included."""

MOST_PATIENCE: Final = 64
"""By how much repeated silences without any news between them may stretch a feed's threshold."""

PER_SECOND: Final = 50


def needs_snapshot(category: Category, topic: str) -> bool:
    """Whether only a snapshot of the stream makes the feed good again: books with deltas, tickers that come as deltas.

    The full book's comes by REST: a new subscription would bring none.
    """
    kind, depth, _ = parse_feed(category, topic)
    if depth == FULL_DEPTH:
        return False
    return depth > 1 or (kind == "ticker" and category in (Category.LINEAR, Category.INVERSE))


def silence_of(category: Category, topic: str) -> Silence | None:
    """How a feed's silence is judged; None where nothing may come for ever."""
    other = driven(category, topic)
    if other is not None:
        return other.silence
    kind = parse_feed(category, topic)[0]
    return Silence(INTERVALS[kind], watched=TRADES_WATCHED if kind == "trades" else 0)


_MOST_BETWEEN_LOOKS_NS: Final = 500_000_000


class IdleClock:
    """How long nothing has come, counting only the time in which something could have come.

    Between two looks no more counts than `_MOST_BETWEEN_LOOKS_NS`: a process that the machine kept from running did not
    look, and what came meanwhile still waits in its sockets.
    """

    def __init__(self) -> None:
        self._heard_ns = 0
        self._checked_ns: int | None = None
        self._idle_ns = 0

    def tick(self, now_ns: int, *, heard_ns: int, listening: bool) -> int:
        """Return the idle time.

        Args:
            now_ns: monotonic.
            heard_ns: when the last data frame came, 0 for never.
            listening: whether every line is up and has its subscriptions.
        """
        passed_ns = 0 if self._checked_ns is None else min(now_ns - self._checked_ns, _MOST_BETWEEN_LOOKS_NS)
        self._checked_ns = now_ns
        if heard_ns > self._heard_ns:
            self._heard_ns = heard_ns
            self._idle_ns = 0
        elif listening:
            self._idle_ns += passed_ns
        return self._idle_ns


class _Pulse:
    """What one feed has taught: messages and the time they took, both fading."""

    __slots__ = (
        "elapsed_ns",
        "heard_ns",
        "last_messages",
        "live",
        "messages",
        "patience",
        "repeats",
        "silence",
    )

    def __init__(self, silence: Silence | None, now_ns: int, *, repeats: bool) -> None:
        self.repeats = repeats
        self.last_messages = 0
        self.messages = 0.0
        self.elapsed_ns = 0.0
        self.heard_ns = now_ns
        self.live = False
        self.silence = silence
        self.patience = 1

    def learn(self, messages: int, elapsed_ns: int) -> None:
        """Take in an interval that is over. One that goes on teaches nothing yet: it would raise its own limit."""
        keep = math.exp(-elapsed_ns / MEMORY_NS)
        self.messages = self.messages * keep + messages
        self.elapsed_ns = self.elapsed_ns * keep + elapsed_ns


class Freshness:
    """Learns each feed's rate and says which LIVE feeds have been silent beyond their threshold.

    Args:
        engine: whose feeds are watched.
        whole: judge a feed even when every feed is silent; off where the end of all data is expected.
        timing: with the least silence.
    """

    def __init__(self, engine: Engine, *, whole: bool = True, timing: Timing | None = None) -> None:
        self._engine = engine
        self._timing = timing or Timing()
        self._least_silence_ns = self._timing.least_silence_ns
        self._whole = whole
        self._pulses: list[_Pulse] = []

    def threshold_ns(self, feed: int) -> int | None:
        """The feed's silence threshold, or None while too little is known of it, and where silence is normal."""
        if feed >= len(self._pulses):  # not looked at yet
            return None
        pulse = self._pulses[feed]
        if pulse.repeats and pulse.messages < LEAST_MESSAGES:
            return pulse.patience * self._timing.repeat_silence_ns
        if pulse.silence is None or pulse.messages < LEAST_MESSAGES:
            return None
        intervals, least, watched = pulse.silence
        unwatched_ns = watched * self._least_silence_ns - int(pulse.elapsed_ns)
        return pulse.patience * max(
            least * self._least_silence_ns,
            int(intervals * pulse.elapsed_ns / pulse.messages),
            unwatched_ns,
        )

    def tick(self, now_ns: int) -> list[tuple[int, int]]:
        """Look at every feed, about once a second. Returns (feed, nanoseconds of silence) of those to declare stale."""
        engine = self._engine
        topics = engine.topics() if len(self._pulses) < engine.feed_count else []
        for topic in topics[len(self._pulses) :]:
            silence = silence_of(engine.category, topic)
            self._pulses.append(_Pulse(silence, now_ns, repeats=topic.startswith(REPEATING)))
        silent: list[tuple[int, int]] = []
        latest = 0
        for feed, pulse in enumerate(self._pulses):
            messages = engine.messages(feed)
            heard, pulse.last_messages = messages - pulse.last_messages, messages
            silence_ns = now_ns - pulse.heard_ns
            live = engine.state(feed) is FeedState.LIVE
            if live and pulse.live and not heard:
                threshold = self.threshold_ns(feed)
                if threshold is not None and silence_ns >= threshold:
                    silent.append((feed, silence_ns))
            else:
                if pulse.live:
                    pulse.learn(heard, silence_ns)
                    pulse.patience = 1
                # what is not believed is not judged, and what made it LIVE says nothing about its rate
                pulse.live, pulse.heard_ns = live, now_ns
            if live:
                latest = max(latest, pulse.heard_ns)
        if not self._whole and now_ns - latest >= self._least_silence_ns // 2:
            return []
        for feed, silence_ns in silent:
            # A resync that brings nothing but its own answer shows a quiet market: the next one may wait longer.
            pulse = self._pulses[feed]
            pulse.learn(0, silence_ns)
            pulse.patience = min(2 * pulse.patience, MOST_PATIENCE)
            pulse.live, pulse.heard_ns = False, now_ns
        return silent

    def forgive(self) -> None:
        """Nobody listened for a while: the silence until the next ``tick`` says nothing about any feed."""
        for pulse in self._pulses:
            pulse.live = False


class _Attempt:
    __slots__ = ("delay_ns", "due_ns", "tried")

    def __init__(self, due_ns: int, delay_ns: int) -> None:
        self.tried = False
        self.due_ns = due_ns
        self.delay_ns = delay_ns


class Resyncs:
    """Which topics to subscribe anew, and when.

    A feed wants a resync while it is not LIVE although it delivers, was declared stale, or was acknowledged and nothing
    came. The first attempt is made at once for a broken chain, after ``Timing.first_snapshot_ns`` where the first
    snapshot never came; then with doubling pauses.
    """

    def __init__(self, engine: Engine, timing: Timing | None = None) -> None:
        self._engine = engine
        self._timing = timing or Timing()
        self._attempts: dict[str, _Attempt] = {}
        self._window_ns = 0
        self._in_window = 0
        self.count = 0

    def want(self, topic: str, now_ns: int, *, patient: bool = False) -> None:
        """Ask for a resync of a topic; again while it is wanted is harmless. What breaks before its patience is over is
        patient no longer."""
        attempt = self._attempts.get(topic)
        if attempt is not None:
            if not patient and not attempt.tried:
                attempt.due_ns = min(attempt.due_ns, now_ns)
        else:
            wait_ns = self._timing.first_snapshot_ns if patient else 0
            self._attempts[topic] = _Attempt(now_ns + wait_ns, self._timing.first_retry_ns)

    def due(self, now_ns: int) -> list[str]:
        """Topics to resync now; each is rescheduled until its feed is LIVE again."""
        out: list[str] = []
        if now_ns - self._window_ns >= SECOND_NS:
            self._window_ns, self._in_window = now_ns, 0
        # whoever has waited longest goes first, so that nobody starves behind the repeats of others
        for topic, attempt in sorted(self._attempts.items(), key=lambda item: item[1].due_ns):
            if self._engine.state(self._engine.feed_index(topic)) is FeedState.LIVE:
                del self._attempts[topic]
            elif attempt.due_ns <= now_ns and self._in_window < PER_SECOND:
                attempt.due_ns = now_ns + attempt.delay_ns
                attempt.delay_ns = min(2 * attempt.delay_ns, self._timing.last_retry_ns)
                attempt.tried = True
                self._in_window += 1
                self.count += 1
                out.append(topic)
        return out

    def forget(self, topic: str) -> None:
        """The topic is healed or gone, or its line is lost: then a new subscription brings the snapshot."""
        self._attempts.pop(topic, None)

    def __len__(self) -> int:
        return len(self._attempts)
