"""What ``tapebook watch`` shows, as data: fed with looks, books and trades, moved by actions.

Pure: no clock, no file, no terminal. ``recorder.watch.paint`` writes it in cells.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from recorder.health import class_of
from recorder.watch.condition import Beat, Condition, Trouble, Troubles, condition, is_believable
from recorder.watch.feed_list import FeedList, feed_rows, symbol_of
from recorder.watch.happenings import Happenings
from recorder.watch.keys import Action, View
from recorder.watch.ladder import STEPS
from recorder.watch.look import Look, Told
from recorder.watch.rates import Rates
from recorder.watch.text import clean
from schemas.names import FeedState

__all__ = ["VIEWS", "BookSeen", "Choice", "TradeSeen", "Watch"]

TRADES_KEPT: Final = 100
SYMBOLS_KEPT: Final = 2_000
"""Tapes that are kept at once; the one that was begun first goes first."""
SEARCH_LENGTH: Final = 40


VIEWS: Final = tuple(View)


class Choice(NamedTuple):
    """A symbol of a collector: what can be looked at."""

    collector: str
    category: str
    symbol: str


class BookSeen(NamedTuple):
    """A look at a book.

    Attributes:
        topic: of the book; empty if there is none.
        state: of the feed. The levels are how things are only if it is LIVE and there is no trouble.
        trouble: why it can't be believed, or why there is none, in words; empty if it can.
        levels: (price, size) mantissas, bids and asks, the best first.
        held: levels that the recorder holds, bids and asks.
    """

    topic: str = ""
    state: FeedState = FeedState.EMPTY
    trouble: str = ""
    update_id: int | None = None
    cross_sequence: int | None = None
    match_ms: int | None = None
    push_ms: int | None = None
    receive_ns: int | None = None
    price_exponent: int = 0
    size_exponent: int = 0
    bids: Sequence[tuple[int, int]] = ()
    asks: Sequence[tuple[int, int]] = ()

    @property
    def is_live(self) -> bool:
        """Whether what it holds is how things are."""
        return self.state is FeedState.LIVE and not self.trouble


class TradeSeen(NamedTuple):
    """A trade of the tape; ``is_sell``: of the taker."""

    match_ms: int
    is_sell: bool
    price: int
    size: int
    price_exponent: int
    size_exponent: int


class Watch:
    """The state of one watch.

    Args:
        view: the first page.
        data: how the data directory is called.
        symbol, category, collector, topic: what the book's page shows first; empty for whatever comes first.

    Attributes:
        look: the newest one.
        conditions, troubles: what came of it.
        book: of the chosen symbol.
        search: what is being typed, or None.
        feeds: all of all recorders.
        offset: of the first line that other lists show.
        page: lines that the page on show had room for when it was painted last.
        lost: entries of the tape that came too fast for us.
    """

    def __init__(
        self,
        view: View = View.OVERVIEW,
        *,
        symbol: str = "",
        category: str = "",
        collector: str = "",
        topic: str = "",
        data: str = "",
    ) -> None:
        self.data = data
        self.view = view
        self.look = Look(0)
        self.conditions: dict[str, Condition] = {}
        self.troubles: list[Trouble] = []
        self.happenings = Happenings()
        self.rates: dict[str, Rates] = {}
        self.book = BookSeen()
        self.choices: list[Choice] = []
        self.search: str | None = None
        self.helping = False
        self.feeds = FeedList()
        self.step = 0
        self.offset = 0
        self.page = 1
        self.lost = 0
        self.done = False
        self._wanted = Choice(collector, category, symbol)
        self._topic = topic
        self._chosen: Choice | None = None
        self._troubles = Troubles()
        self._trades: dict[Choice, deque[TradeSeen]] = {}

    # ---- what comes in ----

    def looked(
        self,
        look: Look,
        *,
        beats: Mapping[str, Beat] | None = None,
        told_of_feeds: frozenset[str] = frozenset(),
    ) -> None:
        """A new look at the data directory.

        Args:
            look: the look.
            beats: hearts of the collectors that have live books.
            told_of_feeds: collectors whose tape is read, so that changes of their feeds are known without the look.
        """
        hearts = beats or {}
        self.look = look
        self.conditions = {
            told.collector: condition(told, look.now_ns, hearts.get(told.collector))
            for told in look.collectors
        }
        for told in look.collectors:
            rates = self.rates.setdefault(told.collector, Rates())
            if told.live is not None and is_believable(self.conditions[told.collector]):
                rates.add(told.live)
        self.troubles = self._troubles.update(look, self.conditions, hearts)
        self.happenings.look(look, self.conditions, told_of_feeds=told_of_feeds)
        self.choices = sorted(
            {
                Choice(told.collector, told.live.get("category", ""), symbol)
                for told in look.collectors
                if told.live is not None
                for feed in told.live["feeds"]
                if (symbol := symbol_of(feed["topic"]))
            },
            key=lambda choice: (choice.symbol, choice.category, choice.collector),
        )
        self.feeds.put(
            row
            for told in look.collectors
            for row in feed_rows(
                told, self.conditions[told.collector], self.rates[told.collector], self.told_ns(told)
            )
        )

    def seen(self, book: BookSeen) -> None:
        """A look at the chosen symbol's book."""
        self.book = book

    def traded(self, choice: Choice, trades: Iterable[TradeSeen]) -> None:
        """Trades of a symbol, in order."""
        if choice not in self._trades:
            while len(self._trades) >= SYMBOLS_KEPT:
                del self._trades[next(iter(self._trades))]
            self._trades[choice] = deque(maxlen=TRADES_KEPT)
        self._trades[choice].extend(trades)

    # ---- what is shown ----

    @property
    def chosen(self) -> Choice | None:
        """The symbol on the book's page: the one that was asked for, as soon as it is there."""
        if self._chosen is None or self._chosen not in self.choices:
            found = self._find(self._wanted if self._chosen is None else self._chosen)
            if found is not None or self._chosen is None:
                self._chosen = found
        return self._chosen

    @property
    def topics(self) -> list[str]:
        """Book topics of the chosen symbol, the shallowest first."""
        chosen, told = self.chosen, self._told()
        if chosen is None or told is None or told.live is None:
            return []
        names = [feed["topic"] for feed in told.live["feeds"] if feed["topic"].startswith("orderbook.")]
        return sorted((name for name in names if symbol_of(name) == chosen.symbol), key=_depth_key)

    @property
    def topic(self) -> str:
        """The book topic that was asked for; empty for the deepest."""
        if self._topic and self._topic in self.topics:
            return self._topic
        return next((topic for topic in self.topics if self._topic and class_of(topic) == self._topic), "")

    @property
    def trades(self) -> list[TradeSeen]:
        """The newest trades of the chosen symbol, the newest first."""
        return [] if self.chosen is None else list(reversed(self._trades.get(self.chosen, ())))

    @property
    def matches(self) -> list[Choice]:
        """Symbols that what is being typed could mean, the likeliest first."""
        typed = (self.search or "").upper()
        if not typed:
            return list(self.choices)
        return sorted(
            (choice for choice in self.choices if typed in choice.symbol.upper()),
            key=lambda choice: (not choice.symbol.upper().startswith(typed), len(choice.symbol), choice),
        )

    @property
    def price_step(self) -> int:
        """Of the ladder, in units of the last decimal."""
        return STEPS[self.step]

    def feed(self, topic: str) -> dict[str, Any] | None:
        """What the chosen symbol's recorder told of a feed last."""
        told = self._told()
        if told is None or told.live is None:
            return None
        return next((feed for feed in told.live["feeds"] if feed["topic"] == topic), None)

    def ahead_ns(self, collector: str) -> int:
        """How far the exchange's clock is ahead of ours, as far as the recorder knows."""
        for told in self.look.collectors:
            if told.collector == collector and told.live is not None:
                return (told.live.get("clock") or {}).get("offset_ns") or 0
        return 0

    def told_ns(self, told: Told) -> int:
        """The moment at which what a recorder told last is to be seen: when it told it; now, if it tells no more."""
        if told.live is not None and is_believable(self.conditions[told.collector]):
            return int(told.live["written_ns"])
        return self.look.now_ns

    # ---- what keys do ----

    def act(self, action: Action) -> None:
        """Do what a key does."""
        if action is Action.QUIT:
            self.done = True
        elif action is Action.HELP:
            self.helping = not self.helping
        elif action is Action.BACK:
            self.helping = False
            self.search = None
        elif action is Action.SEARCH:
            self.search = ""
            self.helping = False
        elif action in _MOVES:
            self._move(action)
        else:
            self.helping = False
            _DO[action](self)

    def type(self, text: str) -> None:
        """A character of what is looked for; an empty one takes the last away."""
        if self.search is not None:
            self.search = self.search[:-1] if not text else (self.search + clean(text))[:SEARCH_LENGTH]

    def take(self) -> None:
        """Go to the first symbol that matches what was typed; stay if there is none."""
        found = self.matches
        if self.search and found:
            self._choose(found[0])
        self.search = None

    def _choose(self, choice: Choice) -> None:
        if choice != self._chosen:
            self.book = BookSeen()
        self._chosen = choice
        self._topic = ""
        self._show(View.BOOK)

    def _show(self, view: View) -> None:
        if view is not self.view:
            self.offset = 0
        self.view = view

    def _turn(self, by: int) -> None:
        self._show(VIEWS[(VIEWS.index(self.view) + by) % len(VIEWS)])

    def _step_symbol(self, by: int) -> None:
        if self.choices:
            chosen = self.chosen
            at = self.choices.index(chosen) + by if chosen in self.choices else 0
            self._choose(self.choices[at % len(self.choices)])

    def _next_depth(self) -> None:
        topics = self.topics
        if topics:
            shown = self.book.topic if self.book.topic in topics else topics[-1]
            self._topic = topics[(topics.index(shown) + 1) % len(topics)]
            self.book = BookSeen()

    def _coarser(self, by: int) -> None:
        self.step = min(max(0, self.step + by), len(STEPS) - 1)

    def _open(self) -> None:
        row = self.feeds.marked()
        if self.view is View.FEEDS and row is not None and symbol_of(row.topic):
            self._choose(Choice(row.collector, row.category, symbol_of(row.topic)))
            if row.topic.startswith("orderbook."):
                self._topic = row.topic

    def _move(self, action: Action) -> None:
        by = {
            Action.UP: -1, Action.DOWN: 1, Action.PAGE_UP: -self.page, Action.PAGE_DOWN: self.page,
            Action.FIRST: -(10**9), Action.LAST: 10**9,
        }[action]  # fmt: skip
        if self.view is View.FEEDS:
            self.feeds.move(by)
        else:
            # whoever paints knows how long the list is, and brings it back
            self.offset = max(0, self.offset + by)

    def _told(self) -> Told | None:
        chosen = self.chosen
        name = "" if chosen is None else chosen.collector
        return next((told for told in self.look.collectors if told.collector == name), None)

    def _find(self, wanted: Choice) -> Choice | None:
        """The choice that was asked for; of several collectors one that records, and with a book."""
        found = [
            choice
            for choice in self.choices
            if all(not asked or asked == given for asked, given in zip(wanted, choice, strict=True))
        ]
        books = {
            (told.collector, symbol_of(feed["topic"]))
            for told in self.look.collectors
            if told.live is not None
            for feed in told.live["feeds"]
            if feed["topic"].startswith("orderbook.")
        }
        return min(
            found,
            key=lambda choice: (
                not is_believable(self.conditions[choice.collector]),
                (choice.collector, choice.symbol) not in books,
                choice.category != "linear",
                choice,
            ),
            default=None,
        )

    def nearest(self, symbol: str) -> list[str]:
        """Symbols that sound like one that isn't recorded."""
        return difflib.get_close_matches(symbol, sorted({choice.symbol for choice in self.choices}), n=5)


def _depth_key(topic: str) -> tuple[int, str]:
    depth = topic.split(".")[1]
    return (int(depth) if depth.isdigit() else 10**9, depth)


_MOVES: Final = {Action.UP, Action.DOWN, Action.PAGE_UP, Action.PAGE_DOWN, Action.FIRST, Action.LAST}
_DO: Final[dict[Action, Callable[[Watch], None]]] = {
    Action.OVERVIEW: lambda watch: watch._show(View.OVERVIEW),
    Action.BOOK: lambda watch: watch._show(View.BOOK),
    Action.FEEDS: lambda watch: watch._show(View.FEEDS),
    Action.LINES: lambda watch: watch._show(View.LINES),
    Action.EVENTS: lambda watch: watch._show(View.EVENTS),
    Action.NEXT_VIEW: lambda watch: watch._turn(1),
    Action.PREVIOUS_VIEW: lambda watch: watch._turn(-1),
    Action.NEXT_SYMBOL: lambda watch: watch._step_symbol(1),
    Action.PREVIOUS_SYMBOL: lambda watch: watch._step_symbol(-1),
    Action.DEPTH: Watch._next_depth,
    Action.COARSER: lambda watch: watch._coarser(1),
    Action.FINER: lambda watch: watch._coarser(-1),
    Action.SORT: lambda watch: watch.feeds.next_sort(),
    Action.OPEN: Watch._open,
}
