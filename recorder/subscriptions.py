"""Changes of live feeds for consumers in the same event loop: a bounded queue each, which conflates what it can.

The queue of a consumer that is slow holds one entry for each book, however many messages have changed it, the newest
trades, and every change of state. So a slow consumer costs memory that is known beforehand, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from engine.core.book import Book
from engine.core.drive import Strategy
from engine.core.feeds import Engine
from engine.strategy import Moment, TradeSeen
from schemas.errors import ConfigError
from schemas.names import FeedState

__all__ = [
    "MOST_STATES",
    "MOST_TRADES",
    "BookChanged",
    "Change",
    "Hub",
    "StateChanged",
    "Subscription",
    "Traded",
]

MOST_TRADES: Final = 10_000
"""Trades that wait for a consumer; the oldest messages make room for new ones."""
MOST_STATES: Final = 1_000
"""State changes that wait one by one; beyond them, those of a feed become its last one."""


class BookChanged(NamedTuple):
    """A book took messages and is live.

    Attributes:
        topic, feed: whose it is; the engine's index.
        at: when the newest message came.
        book: the live book, which goes on with the next frame: read it before you next ``await``.
        conflated: messages before the newest that changed it since it was last handed out.
    """

    topic: str
    feed: int
    at: Moment
    book: Book
    conflated: int


class Traded(NamedTuple):
    """One message's new trades.

    Attributes:
        topic, feed: whose they are.
        at: when the message came.
        trades: in the message's order.
        dropped: trades of this topic, before these, that had to make room.
    """

    topic: str
    feed: int
    at: Moment
    trades: list[TradeSeen]
    dropped: int


class StateChanged(NamedTuple):
    """A feed became live, or is not any more. A subscription begins with those that are live.

    Attributes:
        topic, feed: whose it is.
        at: when.
        state: the new one; only ``LIVE`` may be believed.
        conflated: changes before this one that were not handed out, because more than MOST_STATES waited.
    """

    topic: str
    feed: int
    at: Moment
    state: FeedState
    conflated: int


Change = BookChanged | Traded | StateChanged


class _Dirty:
    """A book that waits."""

    __slots__ = ("changes", "feed")

    def __init__(self, feed: int) -> None:
        self.feed = feed
        self.changes = 1


class Subscription:
    """Changes of some feeds for one consumer, in order: iterate it. It ends with the recording, and raises what failed.

    A book that waits is no copy: what is handed out is the book as it is by then, never an older one. A book that is
    not live any more is not handed out; its change of state is.

    Attributes:
        topics: full topics or prefixes (``orderbook.50``) that it is about; empty for all.
        conflated: book changes that were not handed out one by one, so far.
        dropped: trades that had to make room, so far.
    """

    def __init__(self, hub: Hub, topics: tuple[str, ...], most_trades: int) -> None:
        self.topics = topics
        self.conflated = 0
        self.dropped = 0
        self._hub = hub
        self._most_trades = most_trades
        self._pending: OrderedDict[int, _Dirty | Traded | StateChanged] = OrderedDict()
        self._count = 0
        self._books: dict[int, int] = {}  # by feed, the key of its entry
        self._last_states: dict[str, int] = {}  # by topic
        self._states = 0
        self._trade_keys: deque[int] = deque()
        self._trades = 0
        self._dropped: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        return f"<Subscription {' '.join(self.topics) or 'everything'} pending={self.pending} dropped={self.dropped}>"

    @property
    def pending(self) -> int:
        """How many changes wait."""
        return len(self._pending)

    def wants(self, topic: str) -> bool:
        """Whether a topic is one of its own."""
        return not self.topics or any(topic == mine or topic.startswith(f"{mine}.") for mine in self.topics)

    def close(self) -> None:
        """Want nothing any more: what waits is let go, and whoever iterates comes to the end."""
        self._hub.forget(self)
        self._pending.clear()
        self.end(None)

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        """The next change.

        Raises:
            TapebookError: what ended the recording, once everything before was handed out.
        """
        while not self._pending:
            if self._ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._next()

    def heard_ns(self, topic: str) -> int:
        """When a connection that delivers a topic last brought anything (``time.monotonic_ns``), 0 for never.

        Older than that nothing about the topic can be, however long it hasn't changed.
        """
        return self._hub.heard_ns(topic)

    # ---- for the hub ----

    def book(self, feed: int) -> None:
        """A book changed."""
        key = self._books.get(feed)
        if key is None:
            self._books[feed] = self._push(_Dirty(feed))
            return
        entry = self._pending[key]
        assert isinstance(entry, _Dirty)
        entry.changes += 1
        self.conflated += 1

    def trades(self, change: Traded) -> None:
        """A message brought trades."""
        self._trade_keys.append(self._push(change))
        self._trades += len(change.trades)
        while self._trades > self._most_trades and len(self._trade_keys) > 1:
            oldest = self._pending.pop(self._trade_keys.popleft())
            assert isinstance(oldest, Traded)
            self._trades -= len(oldest.trades)
            self._dropped[oldest.topic] += len(oldest.trades)
            self.dropped += len(oldest.trades)

    def state(self, change: StateChanged) -> None:
        """A feed's state changed."""
        if change.state is not FeedState.LIVE:
            self.forget_book(change.feed)
        key = self._last_states.get(change.topic)
        if key is not None and self._states >= MOST_STATES:
            before = self._pending.pop(key)
            assert isinstance(before, StateChanged)
            change = change._replace(conflated=before.conflated + 1)
            self._states -= 1
        self._last_states[change.topic] = self._push(change)
        self._states += 1

    def forget_book(self, feed: int) -> None:
        """A book that waits is not live any more."""
        key = self._books.pop(feed, None)
        if key is not None:
            entry = self._pending.pop(key)
            assert isinstance(entry, _Dirty)
            self.conflated += 1

    def begin(self) -> None:
        """Another engine goes on, with other indices."""
        for feed in list(self._books):
            self.forget_book(feed)

    def end(self, error: BaseException | None) -> None:
        """Nothing comes any more; the first reason counts."""
        if not self._ended:
            self._ended, self._error = True, error
        self._wake.set()

    # ---- its own ----

    def _push(self, entry: _Dirty | Traded | StateChanged) -> int:
        self._count += 1
        self._pending[self._count] = entry
        self._wake.set()
        return self._count

    def _next(self) -> Change:
        key, entry = self._pending.popitem(last=False)
        if isinstance(entry, _Dirty):
            del self._books[entry.feed]
            return self._hub.changed(entry.feed, entry.changes - 1)
        if isinstance(entry, StateChanged):
            self._states -= 1
            if self._last_states[entry.topic] == key:
                del self._last_states[entry.topic]
            return entry
        self._trade_keys.popleft()
        self._trades -= len(entry.trades)
        return entry._replace(dropped=self._dropped.pop(entry.topic, 0))


class Hub(Strategy):
    """The strategy that fills the queues of subscriptions.

    Attributes:
        heard_ns: when a connection that delivers a topic last brought anything (monotonic); 0 where none is known.
    """

    def __init__(self) -> None:
        self.heard_ns: Callable[[str], int] = lambda _: 0
        self._subscriptions: list[Subscription] = []
        self._engine: Engine | None = None
        self._topics: list[str] = []
        self._listeners: dict[int, list[Subscription]] = {}
        self._moments: dict[int, Moment] = {}
        self._books: dict[int, Book] = {}
        self._live: dict[str, Moment] = {}
        self._ended = False
        self._error: BaseException | None = None

    # ---- for consumers ----

    def subscribe(self, topics: tuple[str, ...], most_trades: int = MOST_TRADES) -> Subscription:
        """Begin another queue; what is live already is in it. Raises ConfigError."""
        if most_trades < 1:
            raise ConfigError(f"found room for {most_trades} trades, expected at least 1")
        for topic in topics:
            if not topic or not isinstance(topic, str):
                raise ConfigError(
                    f"found topic {topic!r}, expected a text such as orderbook.50 or publicTrade.BTCUSDT"
                )
        subscription = Subscription(self, topics, most_trades)
        if self._ended:
            subscription.end(self._error)
            return subscription
        self._subscriptions.append(subscription)
        self._listeners.clear()
        self._tell_present(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Fill this queue no longer."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._listeners.clear()

    def changed(self, feed: int, conflated: int) -> BookChanged:
        """A book's change as it is now."""
        return BookChanged(self._topic(feed), feed, self._moments[feed], self._book(feed), conflated)

    def end(self, error: BaseException | None) -> None:
        """The recording is over."""
        self._ended, self._error = True, error
        for subscription in self._subscriptions:
            subscription.end(error)

    # ---- as a strategy ----

    def begin(self, engine: Engine) -> None:
        """Go on with an engine, the first one or one that replaces it."""
        before, self._live = self._live, {}
        self._engine = engine
        self._topics = engine.topics()
        self._listeners.clear()
        self._moments.clear()
        self._books.clear()
        for subscription in self._subscriptions:
            subscription.begin()
            for topic, at in before.items():
                feed = engine.feed_index(topic)
                if subscription.wants(topic) and (feed < 0 or engine.state(feed) is not FeedState.LIVE):
                    state = FeedState.EMPTY if feed < 0 else engine.state(feed)
                    subscription.state(StateChanged(topic, feed, at, state, 0))
            self._tell_present(subscription)

    def on_book(self, feed: int, at: Moment) -> None:
        """A book changed."""
        self._moments[feed] = at
        for subscription in self._listening(feed):
            subscription.book(feed)

    def on_trades(self, feed: int, at: Moment, trades: list[TradeSeen]) -> None:
        """A message brought trades."""
        listening = self._listening(feed)
        if listening:
            change = Traded(self._topic(feed), feed, at, trades, 0)
            for subscription in listening:
                subscription.trades(change)

    def on_state(self, feed: int, at: Moment, state: FeedState) -> None:
        """A feed became live, or is not any more."""
        topic = self._topic(feed)
        if state is FeedState.LIVE:
            self._live[topic] = at
        else:
            self._live.pop(topic, None)
        for subscription in self._listening(feed):
            subscription.state(StateChanged(topic, feed, at, state, 0))

    def _listening(self, feed: int) -> list[Subscription]:
        listening = self._listeners.get(feed)
        if listening is None:
            topic = self._topic(feed)
            listening = [each for each in self._subscriptions if each.wants(topic)]
            self._listeners[feed] = listening
        return listening

    def _topic(self, feed: int) -> str:
        assert self._engine is not None
        if feed >= len(self._topics):  # listed since
            self._topics = self._engine.topics()
        return self._topics[feed]

    def _book(self, feed: int) -> Book:
        assert self._engine is not None
        book = self._books.get(feed)
        if book is None:
            book = self._books[feed] = self._engine.book(feed)
        return book

    def _tell_present(self, subscription: Subscription) -> None:
        """What a subscription begins with."""
        engine = self._engine
        if engine is None:
            return
        self._topics = engine.topics()
        for feed, topic in enumerate(self._topics):
            if not subscription.wants(topic) or engine.state(feed) is not FeedState.LIVE:
                continue
            at = self._live.get(topic)
            if at is None:  # it became live when nobody listened
                at = self._live[topic] = _last_moment(engine, feed)
            subscription.state(StateChanged(topic, feed, at, FeedState.LIVE, 0))
            if topic.startswith("orderbook."):
                self._moments.setdefault(feed, at)
                subscription.book(feed)


def _last_moment(engine: Engine, feed: int) -> Moment:
    known = engine.checkpoint(feed)
    receive_ns = known.receive_ns or 0
    push_ms = receive_ns // 10**6 if known.push_ms is None else known.push_ms
    return Moment(known.sequence or 0, receive_ns, push_ms, known.match_ms)
