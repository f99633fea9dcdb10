"""Is a book right? It is held against other depths of its symbol, and against REST. Pure: time is an argument.

What can be compared (design, "When a book may be believed", rule 4; protocol section 4, rule 8):

- Two depths of one symbol at equal cross sequence have the same best levels, as many as the shallower has.
- A REST book is the state of the 1000-level stream at its update id. Against other depths, and on options, it is held
  at equal cross sequence.

A single difference proves little, so a feed is disbelieved only when `STREAK` comparisons in a row differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.bybit.rest import RestBook
from engine.core.feeds import Engine
from schemas.names import Category, FeedState, Table
from schemas.tables import book_of_topic

__all__ = [
    "STREAK",
    "Agreement",
    "Candidate",
    "Comparison",
    "Difference",
    "RestAudit",
    "State",
    "candidates",
    "first_difference",
    "mantissa_of",
]

STREAK: Final = 3
REST_LEVELS: Final = {Category.OPTION: 25, Category.SPREAD: 25}
MOST_REST_LEVELS: Final = 1_000
UPDATE_ID_DEPTHS: Final = {
    Category.SPOT: 1_000,
    Category.LINEAR: 1_000,
    Category.INVERSE: 1_000,
    Category.SPREAD: 25,
}
"""The depth whose update ids REST uses (protocol section 4, rule 8); on options nobody says."""
MOST_STATES: Final = 64
"""States of our book that wait for an answer: seconds of a busy 1000-level stream."""
MOST_DIGITS: Final = 40
FIRST_PAUSE_NS: Final = 10_000_000_000
LAST_PAUSE_NS: Final = 600_000_000_000

Level = tuple[int, int]
"""Price and size mantissas."""


class Difference(NamedTuple):
    """The first level that differs: ``bid`` or ``ask``, from 1; None for a level that one side doesn't have."""

    side: str
    level: int
    ours: Level | None
    theirs: Level | None


def first_difference(
    ours: tuple[Sequence[Level], Sequence[Level]],
    theirs: tuple[Sequence[Level], Sequence[Level]],
    levels: int,
) -> Difference | None:
    """Compare bids and asks, best first, down to so many levels a side."""
    for side, mine, other in zip(("bid", "ask"), ours, theirs, strict=True):
        if mine[:levels] == other[:levels]:
            continue
        for number in range(levels):
            left = mine[number] if number < len(mine) else None
            right = other[number] if number < len(other) else None
            if left != right:
                return Difference(side, number + 1, left, right)
    return None


def mantissa_of(text: str, exponent: int) -> int | None:
    """The integer m with m x 10^exponent = the decimal in ``text``, or None: no such integer, or no plain decimal."""
    negative = text.startswith("-")  # prices of spreads
    whole, _, fraction = text.removeprefix("-").partition(".")
    fraction = fraction.rstrip("0")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdecimal() and whole and len(text) <= MOST_DIGITS):
        return None
    if len(fraction) > -exponent:
        return None
    mantissa = int(whole + fraction.ljust(-exponent, "0"))
    return -mantissa if negative else mantissa


# ---- depths against each other ----


class Comparison(NamedTuple):
    """What came of holding two depths against each other.

    Attributes:
        topic, against: the shallower and the deeper one.
        comparisons: so many, with this result, since the last one told.
        levels: compared a side.
        difference: of the last one; None when they agreed.
        disbelieved: topics that are not to be believed any more; empty while the streak is short.
    """

    topic: str
    against: str
    comparisons: int
    cross_sequence: int
    levels: int
    difference: Difference | None
    disbelieved: tuple[str, ...] = ()


class _Pair:
    __slots__ = (
        "agreed",
        "at",
        "cross_sequence",
        "feeds",
        "last_agreed",
        "levels",
        "pause_ns",
        "quiet_until_ns",
        "streak",
        "streak_at",
        "told_ns",
        "topics",
    )

    def __init__(self, topics: tuple[str, str], feeds: tuple[int, int], levels: int, now_ns: int) -> None:
        self.topics = topics
        self.feeds = feeds
        self.levels = levels
        self.cross_sequence: int | None = None
        self.last_agreed = False
        self.at = -1
        self.agreed = 0
        self.streak = 0
        self.streak_at = 0
        self.told_ns = now_ns
        self.pause_ns = FIRST_PAUSE_NS
        self.quiet_until_ns = 0


class Agreement:
    """Compares the depths of every symbol that has several, a few at each look.

    Which of two is wrong can't be told from the two. Where a third depth has agreed with one of them since they began
    to differ, the other is disbelieved; else both are. A pair that was disbelieved is left alone for 10 s, then for
    twice as long each time, up to 10 minutes, until it agrees again: a fault at the exchange is no reason for a storm
    of subscriptions.

    Args:
        engine: whose books are compared.
        tell_every_ns: agreeing comparisons are summed up over so long.

    Attributes:
        compared, agreed, disagreed, disbelieved: counts since the start.
    """

    def __init__(self, engine: Engine, *, tell_every_ns: int = 300_000_000_000) -> None:
        self._engine = engine
        self._tell_every_ns = tell_every_ns
        self._pairs: list[_Pair] = []
        self._feed_count = 0
        self._next = 0
        self._looks = 0
        self.compared = self.agreed = self.disagreed = self.disbelieved = 0

    @property
    def pairs(self) -> int:
        """Pairs of depths that can be compared."""
        return len(self._pairs)

    def look(self, now_ns: int, *, pairs: int = 64, comparisons: int = 8) -> list[Comparison]:
        """Look at some pairs and compare those that show the same moment, one that has not been compared yet.

        Args:
            now_ns: monotonic.
            pairs: how many to look at; each costs less than a microsecond.
            comparisons: how many to make at most; one of 200 levels costs some 50 microseconds.

        Returns:
            What is worth telling: every disagreement, and from time to time the sum of a pair's agreements.
        """
        if self._engine.feed_count != self._feed_count:
            self._find_pairs(now_ns)
        self._looks += 1
        told: list[Comparison] = []
        for _ in range(min(pairs, len(self._pairs))):
            if self._next >= len(self._pairs):
                self._next = 0
            pair = self._pairs[self._next]
            self._next += 1
            if not self._comparable(pair, now_ns):
                continue
            found = self._compare(pair, now_ns)
            if found is not None:
                told.append(found)
            comparisons -= 1
            if comparisons == 0:
                break
        return told

    def finish(self) -> list[Comparison]:
        """The agreements that were not told yet."""
        return [self._sum(pair) for pair in self._pairs if pair.agreed]

    def _find_pairs(self, now_ns: int) -> None:
        topics = self._engine.topics()
        self._feed_count = len(topics)
        books: dict[str, list[tuple[int, str, int]]] = {}
        for feed, topic in enumerate(topics):
            book = book_of_topic(topic)
            if (
                book is not None and book[0] is Table.BOOK_UPDATES
            ):  # the full book too, which has every other's levels
                books.setdefault(book[2], []).append((book[1], topic, feed))
        known = {pair.topics: pair for pair in self._pairs}
        self._pairs = []
        for depths in books.values():
            depths.sort()
            for number, (depth, topic, feed) in enumerate(depths):
                for _, deeper, deeper_feed in depths[number + 1 :]:
                    pair = known.get((topic, deeper))
                    self._pairs.append(pair or _Pair((topic, deeper), (feed, deeper_feed), depth, now_ns))

    def _comparable(self, pair: _Pair, now_ns: int) -> bool:
        engine = self._engine
        for feed in pair.feeds:
            if engine.state(feed) is not FeedState.LIVE:
                pair.streak = 0
                return False
        left, right = (engine.last_good(feed)[0] for feed in pair.feeds)
        if left is None or left != right or left == pair.cross_sequence or now_ns < pair.quiet_until_ns:
            return False
        pair.cross_sequence = left
        return True

    def _compare(self, pair: _Pair, now_ns: int) -> Comparison | None:
        engine, levels = self._engine, pair.levels
        ours, theirs = (engine.levels(feed, levels) for feed in pair.feeds)
        difference = first_difference(ours, theirs, levels)
        self.compared += 1
        pair.at = self._looks
        pair.last_agreed = difference is None
        if difference is None:
            self.agreed += 1
            pair.agreed += 1
            pair.streak = 0
            pair.pause_ns = FIRST_PAUSE_NS
            if now_ns - pair.told_ns < self._tell_every_ns:
                return None
            pair.told_ns = now_ns
            return self._sum(pair)
        self.disagreed += 1
        if pair.streak == 0:
            pair.streak_at = self._looks
        pair.streak += 1
        assert pair.cross_sequence is not None
        disbelieved: tuple[str, ...] = ()
        if pair.streak >= STREAK:
            disbelieved = self._suspects(pair)
            self.disbelieved += len(disbelieved)
            pair.streak = 0
            pair.quiet_until_ns = now_ns + pair.pause_ns
            pair.pause_ns = min(2 * pair.pause_ns, LAST_PAUSE_NS)
        return Comparison(*pair.topics, 1, pair.cross_sequence, levels, difference, disbelieved)

    def _suspects(self, pair: _Pair) -> tuple[str, ...]:
        cleared = [
            topic
            for topic in pair.topics
            if any(
                other is not pair
                and topic in other.topics
                and other.last_agreed
                and other.at >= pair.streak_at
                for other in self._pairs
            )
        ]
        return (
            tuple(topic for topic in pair.topics if topic not in cleared)
            if len(cleared) == 1
            else pair.topics
        )

    @staticmethod
    def _sum(pair: _Pair) -> Comparison:
        agreed, pair.agreed = pair.agreed, 0
        assert pair.cross_sequence is not None
        return Comparison(*pair.topics, agreed, pair.cross_sequence, pair.levels, None)


def _depth_of(topic: str) -> int | None:
    parts = topic.split(".", 2)
    if len(parts) == 3 and parts[0] == "orderbook" and parts[1].isdecimal():
        return int(parts[1])
    return None


# ---- a book against REST ----


class Candidate(NamedTuple):
    """A book that REST can be asked about.

    Attributes:
        symbol, topic: the deepest topic of the symbol.
        by_update_id: whether states are matched by update id; else by cross sequence.
        levels: to ask for and compare, a side.
    """

    symbol: str
    topic: str
    by_update_id: bool
    levels: int


def candidates(category: Category, topics: Iterable[str]) -> list[Candidate]:
    """The deepest book of every symbol, in order of symbols."""
    deepest: dict[str, tuple[int, str]] = {}
    for topic in topics:
        depth = _depth_of(topic)
        if depth is not None:
            symbol = topic.split(".", 2)[2]
            deepest[symbol] = max(deepest.get(symbol, (0, "")), (depth, topic))
    limit = REST_LEVELS.get(category, MOST_REST_LEVELS)
    return [
        Candidate(
            symbol,
            topic,
            depth == UPDATE_ID_DEPTHS.get(category),
            min(depth, limit),
        )
        for symbol, (depth, topic) in sorted(deepest.items())
    ]


class State(NamedTuple):
    """Our book at one moment; levels best first."""

    update_id: int | None
    cross_sequence: int | None
    bids: list[Level]
    asks: list[Level]
    price_exponent: int
    size_exponent: int


class RestAudit:
    """One question, from the moment it is asked until its answer has met the same state of our book, or can't any more.

    The answer may be of a moment that our book has passed already, or has not reached yet. So states are kept from the
    question on, a bounded number of them, and once the answer is there only its own is waited for.

    Args:
        candidate: the book.
        now_ns: monotonic.
        patience_ns: how long to wait in all.

    Attributes:
        outcome: None while it is open; then ``agreed``, ``disagreed``, ``missed`` (our book passed the answer's state
            unseen, or is not LIVE), ``unmatched`` (the state never came) or ``failed`` (the answer is of no use).
        state: ours, that was compared.
        difference: the first one.
        theirs: price and size of that level as REST wrote them.
    """

    def __init__(self, candidate: Candidate, now_ns: int, *, patience_ns: int = 10_000_000_000) -> None:
        self.candidate = candidate
        self.outcome: str | None = None
        self.state: State | None = None
        self.difference: Difference | None = None
        self.theirs: tuple[str, str] | None = None
        self._until_ns = now_ns + patience_ns
        self._states: deque[tuple[int, State]] = deque(maxlen=MOST_STATES)
        self._answer: RestBook | None = None
        self._target: int | None = None
        self._last: int | None = None

    def is_new(self, key: int | None) -> bool:
        """Whether a state with this update id (or cross sequence) has not been shown yet, and is worth showing."""
        return key is not None and key != self._last and (self._target is None or key >= self._target)

    def saw(self, key: int, state: State) -> None:
        """Our book is in this state now."""
        if self.outcome is not None:
            return
        if self._last is not None and key < self._last:  # a new chain: what came before is another count
            self._states.clear()
            if self._target is not None:
                self.outcome = "missed"
                return
        self._last = key
        self._states.append((key, state))
        if self._target is not None:
            self._meet()

    def lost(self) -> None:
        """Our book is not LIVE any more."""
        self.outcome = self.outcome or "missed"

    def answered(self, answer: RestBook) -> None:
        """The answer is there."""
        if self.outcome is not None:
            return
        target = answer.update_id if self.candidate.by_update_id else answer.cross_sequence
        if target is None or answer.symbol != self.candidate.symbol:
            self.failed()
            return
        self._answer, self._target = answer, target
        self._meet()

    def failed(self) -> None:
        """There is no answer, or none of use."""
        self.outcome = self.outcome or "failed"

    def tick(self, now_ns: int) -> None:
        """Give up when it is time."""
        if self.outcome is None and now_ns >= self._until_ns:
            self.outcome = "failed" if self._answer is None else "unmatched"

    def _meet(self) -> None:
        """Find the state that the answer is of."""
        found = next((state for key, state in self._states if key == self._target), None)
        if found is not None:
            self._compare(found)
        elif self._last is not None and self._target is not None and self._last > self._target:
            self.outcome = "missed"
        self._states.clear()

    def _compare(self, state: State) -> None:
        assert self._answer is not None
        levels = self.candidate.levels
        sides = []
        for texts in (self._answer.bids, self._answer.asks):
            side: list[Level] = []
            for price, size in texts[:levels]:
                price_mantissa = mantissa_of(price, state.price_exponent)
                size_mantissa = mantissa_of(size, state.size_exponent)
                if price_mantissa is None or size_mantissa is None:
                    side.append((0, -1))  # what our exponents can't express is no level of ours
                else:
                    side.append((price_mantissa, size_mantissa))
            sides.append(side)
        self.state = state
        self.difference = first_difference((state.bids, state.asks), (sides[0], sides[1]), levels)
        self.outcome = "agreed" if self.difference is None else "disagreed"
        if self.difference is not None and self.difference.theirs is not None:
            texts = self._answer.bids if self.difference.side == "bid" else self._answer.asks
            self.theirs = texts[self.difference.level - 1]
