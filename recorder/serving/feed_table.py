"""The table of feeds as the page shows it: what is fixed of each row, what moves, and which rows have moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from engine.core.decimals import format_decimal
from engine.measures import spread_bps
from recorder.health import class_of
from schemas.names import FeedState

__all__ = [
    "BOOK_CLASSES",
    "DEAD",
    "ENDED",
    "REFUSED",
    "BookSource",
    "Cell",
    "Change",
    "FeedTable",
    "Row",
    "Told",
    "Trust",
    "lag_ms",
]

REFUSED: Final = "refused"
DEAD: Final = "dead"
ENDED: Final = "ended"
"""States of the page beside the feed's own: the exchange said no; the recorder died; it ended as it was told to."""

BOOK_CLASSES: Final = ("orderbook",)
SECOND_NS: Final = 1_000_000_000
RATE_NS: Final = 3 * SECOND_NS
"""Rates are over at least so long: a status is written once a second, not exactly."""
MOST_ROWS: Final = 65_536


class Told(NamedTuple):
    """What a collector told last, and whether its process lives."""

    collector: str
    held: bool
    status: Mapping[str, Any]


class Trust(Protocol):
    """What a feed's record of the last day is worth (``recorder.serving.history.Trust``)."""

    @property
    def share(self) -> float:
        """That can be trusted, 0..1."""

    @property
    def strip(self) -> str:
        """A character for each piece of the day."""


class BookSource(Protocol):
    """What a row asks of a shared book (``engine.SharedBook``)."""

    def begin(self) -> int:
        """Return what changes when the book does; odd while that happens."""

    def state(self) -> FeedState:
        """Return the state, STALE when the writer is gone."""

    def read(self, depth: int | None = None) -> Any:
        """Return a consistent copy of the best levels with their clocks."""


class Cell(msgspec.Struct, array_like=True, frozen=True):
    """What moves in a row.

    Attributes:
        state: of the feed, or one of ours.
        bid, ask: best prices as decimals; None where they aren't known or mustn't be believed.
        spread_bps: of the middle, with two decimals.
        lag_ms: push to receive, of the newest message of this feed.
        last_ms: when that was received, since the epoch.
        messages, gaps: of this run.
        rate: messages a second.
        trusted: share of the last day's record that can be trusted, 0..1; None where nothing is known.
    """

    state: str
    bid: str | None = None
    ask: str | None = None
    spread_bps: float | None = None
    lag_ms: float | None = None
    last_ms: int | None = None
    messages: int = 0
    gaps: int = 0
    rate: float | None = None
    trusted: float | None = None


class Row:
    """One feed.

    Attributes:
        collector, category, topic: which.
        book: topic whose book is shown for it; None where there is none.
        version: of the table when the row moved last.
    """

    __slots__ = (
        "book", "category", "cell", "collector", "counted", "live", "refused", "rest", "seen", "shared", "strip",
        "topic", "version",
    )  # fmt: skip

    def __init__(self, collector: str, category: str, topic: str) -> None:
        self.collector = collector
        self.category = category
        self.topic = topic
        self.book: str | None = None
        self.cell = Cell(FeedState.EMPTY.value)
        self.refused: str | None = None
        self.strip = ""
        self.rest = self.cell
        self.live: tuple[Any, ...] | None = None
        self.seen: tuple[int, FeedState] | None = None
        self.shared: BookSource | None = None  # that both are of
        self.counted: list[tuple[int, int]] = []
        self.version = 0

    @property
    def fixed(self) -> tuple[str, str, str, str, str, str | None, str | None, str]:
        """What seldom moves: collector, category, topic, class, symbol, topic of its book, why refused, last day."""
        kind = class_of(self.topic)
        symbol = self.topic[len(kind) + 1 :]
        return self.collector, self.category, self.topic, kind, symbol, self.book, self.refused, self.strip


class Change(NamedTuple):
    """A feed went from one state into another."""

    collector: str
    topic: str
    before: str
    after: str


class FeedTable:
    """All feeds of a data directory: a channel of the hub.

    Attributes:
        version: rises when any row moves.
        rows: by collector and topic.
    """

    def __init__(self) -> None:
        self.version = 0
        self.rows: list[Row] = []
        self._by_feed: dict[tuple[str, str], Row] = {}
        self._laid_out = 0
        self._told: dict[str, tuple[int, bool]] = {}

    def row(self, collector: str, topic: str) -> Row | None:
        """Return a feed's row."""
        return self._by_feed.get((collector, topic))

    def take(
        self, told: Iterable[Told], trusted: Mapping[tuple[str, str], Trust] | None = None
    ) -> list[Change]:
        """Take what collectors told; returns which feeds went from one state into another.

        Args:
            told: of every collector that there is.
            trusted: of each (category, topic), what its record of the last day is worth, where that is known.
        """
        trust_of = trusted or {}
        version = self.version + 1
        changes: list[Change] = []
        found: dict[tuple[str, str], Row] = {}
        moved = False
        for each in told:
            status = each.status
            category = str(status.get("category", ""))
            for feed in status["feeds"]:
                if len(found) >= MOST_ROWS:
                    break
                key = each.collector, str(feed["topic"])
                row = self._by_feed.get(key)
                is_new = row is None
                if row is None:
                    row = Row(key[0], category, key[1])
                before = row.cell.state
                refused = feed.get("refused")
                if refused != row.refused:
                    row.refused = refused
                    self._laid_out = version
                    moved = True
                trust = trust_of.get((category, key[1]))
                strip = "" if trust is None else trust.strip
                if strip != row.strip:
                    row.strip = strip
                    self._laid_out = version
                    moved = True
                row.rest = self._rest(row, each, feed, None if trust is None else trust.share)
                if row.rest.state in (REFUSED, DEAD, ENDED):
                    row.live = None
                    row.seen = None
                moved |= self._set(row, version)
                if not is_new and row.cell.state != before:
                    changes.append(Change(row.collector, row.topic, before, row.cell.state))
                found[key] = row
        if found.keys() != self._by_feed.keys():
            self._by_feed = dict(sorted(found.items()))
            self.rows = list(self._by_feed.values())
            self._choose_books()
            self._laid_out = version
            moved = True
        if moved:
            self.version = version
        return changes

    def let_go(self, books: Mapping[tuple[str, str], BookSource]) -> None:
        """Forget what was seen in books that are shared no longer; the next ``take`` has what the status says instead.

        Args:
            books: those that are shared now, by (collector, topic).
        """
        for key, row in self._by_feed.items():
            if row.shared is not None and books.get(key) is not row.shared:
                row.shared = row.live = row.seen = None

    def look(self, books: Mapping[tuple[str, str], BookSource]) -> list[Change]:
        """Look into the shared books, by (collector, topic); returns which feeds changed their state."""
        version = self.version + 1
        changes: list[Change] = []
        moved = False
        for key, book in books.items():
            row = self._by_feed.get(key)
            if row is None or row.rest.state in (REFUSED, DEAD, ENDED):
                continue
            seen = book.begin(), book.state()
            if (seen == row.seen and row.shared is book) or (seen[0] & 1 and seen[1] is FeedState.LIVE):
                continue  # odd: it is being written just now
            row.seen, row.shared = seen, book
            row.live = _live(book, seen[1])
            before = row.cell.state
            if self._set(row, version):
                moved = True
                if row.cell.state != before:
                    changes.append(Change(row.collector, row.topic, before, row.cell.state))
        if moved:
            self.version = version
        return changes

    def encode(self, since: int) -> bytes:
        """Return the rows that moved since a version, all of them where rows came or went meanwhile."""
        whole = since < self._laid_out or since < 0
        message: dict[str, Any] = {"channel": "feeds", "whole": whole}
        if whole:
            message["fixed"] = [row.fixed for row in self.rows]
            message["first"] = self._first()
        message["cells"] = [
            (number, row.cell) for number, row in enumerate(self.rows) if whole or row.version > since
        ]
        return msgspec.json.encode(message)

    def _rest(self, row: Row, told: Told, feed: Mapping[str, Any], trusted: float | None) -> Cell:
        """What the status says of a feed."""
        status = told.status
        messages = int(feed["messages"])
        written_ns = int(status["written_ns"])
        if row.counted and (written_ns < row.counted[-1][0] or messages < row.counted[-1][1]):
            row.counted = []
        if not row.counted or written_ns > row.counted[-1][0]:
            row.counted.append((written_ns, messages))
            while len(row.counted) > 2 and written_ns - row.counted[1][0] >= RATE_NS:
                row.counted.pop(0)
        span_ns = row.counted[-1][0] - row.counted[0][0]
        rate = (
            round((row.counted[-1][1] - row.counted[0][1]) * SECOND_NS / span_ns, 1)
            if span_ns >= SECOND_NS // 2
            else None
        )
        lives = told.held and bool(status["running"])
        state = (
            REFUSED
            if feed.get("refused") is not None
            else str(feed["state"])
            if lives
            else DEAD
            if status["running"]
            else ENDED
        )
        last_ns = feed.get("last_receive_ns")
        return Cell(
            state,
            last_ms=None if not last_ns else int(last_ns) // 1_000_000,
            messages=messages,
            gaps=int(feed["gaps"]),
            rate=rate if lives else None,
            trusted=None if trusted is None else round(trusted, 6),
        )

    def _set(self, row: Row, version: int) -> bool:
        """Put a row together; whether it moved."""
        cell = row.rest
        if row.live is not None:
            state, bid, ask, spread, lag, last = row.live
            newest = max(filter(None, (last, cell.last_ms)), default=None)
            cell = msgspec.structs.replace(
                cell, state=state, bid=bid, ask=ask, spread_bps=spread, lag_ms=lag, last_ms=newest
            )
        if cell == row.cell:
            return False
        row.cell = cell
        row.version = version
        return True

    def _first(self) -> int | None:
        """Number of the row that is shown first: of the busiest symbol with a book, the deepest of its books."""
        books = [row for row in self.rows if row.book == row.topic]
        if not books:
            return None
        busiest = max(books, key=lambda row: (row.cell.state == FeedState.LIVE, row.cell.messages))
        whose = busiest.collector, busiest.category, busiest.fixed[4]
        own = [row for row in books if (row.collector, row.category, row.fixed[4]) == whose]
        return self.rows.index(max(own, key=lambda row: _depth(row.fixed[3])))

    def _choose_books(self) -> None:
        """Show for every feed the deepest book of its symbol."""
        deepest: dict[tuple[str, str, str], tuple[int, str]] = {}
        for row in self.rows:
            _, _, topic, kind, symbol, _, _, _ = row.fixed
            if kind.split(".")[0] in BOOK_CLASSES:
                key = row.collector, row.category, symbol
                depth = _depth(kind)
                if depth > deepest.get(key, (-1, ""))[0]:
                    deepest[key] = depth, topic
        for row in self.rows:
            _, _, topic, kind, symbol, _, _, _ = row.fixed
            if kind.split(".")[0] in BOOK_CLASSES:
                row.book = topic
            else:
                row.book = deepest.get((row.collector, row.category, symbol), (0, None))[1]


def _depth(kind: str) -> int:
    """How deep the books of a class are; retail orders' books are never chosen for others."""
    depth = kind.partition(".")[2]
    return int(depth) if depth.isascii() and depth.isdigit() else 100_000 if depth == "full" else 0


def _live(book: BookSource, state: FeedState) -> tuple[Any, ...]:
    """Of a shared book: state, best bid and ask, spread, lag, moment of receipt."""
    if state is not FeedState.LIVE:
        return state.value, None, None, None, None, None
    found = book.read(1)
    if found.state is not FeedState.LIVE:
        return found.state.value, None, None, None, None, None
    bid = int(found.bids[0][0]) if len(found.bids) else None
    ask = int(found.asks[0][0]) if len(found.asks) else None
    exponent = found.price_exponent
    points = None if bid is None or ask is None else spread_bps(bid, ask)
    return (
        state.value,
        None if bid is None else format_decimal(bid, exponent),
        None if ask is None else format_decimal(ask, exponent),
        None if points is None else round(points, 3),
        lag_ms(found.receive_ns, found.push_ms),
        None if not found.receive_ns else found.receive_ns // 1_000_000,
    )


def lag_ms(receive_ns: int | None, push_ms: int | None) -> float | None:
    """How long a message took from its push to us, with one decimal; None where one of both isn't known."""
    return round((receive_ns - push_ms * 1_000_000) / 1e6, 1) if receive_ns and push_ms else None
