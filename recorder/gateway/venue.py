"""What a category's exchange knows at this moment, from a recording or a simulated market."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.market import BOOK_DEPTHS, BookView, Instrument, Market, RpiBookView
from recorder.gateway.books import Feeds, FrameInfo
from recorder.gateway.restarts import Renumbering
from recorder.gateway.sources import Survey
from schemas.names import Category

__all__ = ["MarketVenue", "ReplayVenue", "TradeRecord", "Venue"]

TradeRecord = dict[str, str | int | bool]


class Venue(Protocol):
    """The questions that subscriptions and REST requests ask."""

    category: Category

    def has_symbol(self, symbol: str) -> bool:
        """Whether the symbol is traded."""

    def first_frame(self, topic: str, now_ms: int) -> tuple[FrameInfo, bytes] | None:
        """Return the snapshot that answers a new subscription, None where there is nothing to tell yet."""

    def abandon(self, topic: str) -> None:
        """Nobody is subscribed to the topic any more."""

    def pin(self, topic: str) -> None:
        """Push the topic from now on, whether or not anybody is subscribed to it."""

    def restart(self, now_ms: int) -> list[tuple[FrameInfo, bytes]]:
        """Start the push service anew: every book begins a chain with update id 1; returns their snapshots."""

    def instruments(self) -> list[Instrument]:
        """What is traded, in listing order."""

    def book(self, symbol: str) -> BookView | None:
        """Return the book of the deepest stream available."""

    def full_book(self, symbol: str) -> BookView | None:
        """Return the whole book of a moment that may be past; None where it can't be known."""

    def rpi_book(self, symbol: str) -> RpiBookView | None:
        """Return the RPI book as last pushed; None where it can't be known."""

    def ticker(self, symbol: str) -> dict[str, str] | None:
        """Return the merged ticker under the stream's keys."""

    def recent_trades(self, symbol: str) -> list[TradeRecord]:
        """Return the latest trades under the stream's keys, newest first."""


class ReplayVenue:
    """A recording at the moment that its replay has reached."""

    def __init__(
        self, category: Category, feeds: Feeds, survey: Survey, renumbering: Renumbering | None = None
    ) -> None:
        self.category = category
        self._feeds = feeds
        self._survey = survey
        self._renumbering = renumbering or Renumbering()
        self._depths = BOOK_DEPTHS[category][::-1]

    def has_symbol(self, symbol: str) -> bool:
        """Whether the recording holds the symbol, as far as it was read ahead."""
        return self._survey.has_symbol(symbol)

    def first_frame(self, topic: str, now_ms: int) -> tuple[FrameInfo, bytes] | None:
        """Rebuild the topic's state; nothing is invented before the replay has told a snapshot."""
        rebuilt = self._feeds.snapshot(topic, now_ms)
        if rebuilt is None:
            return None
        update_id, payload = rebuilt
        return FrameInfo(topic, update_id, "snapshot"), payload

    def abandon(self, topic: str) -> None:
        """A replay goes on whoever listens."""

    def pin(self, topic: str) -> None:
        """A replay goes on whoever listens."""

    def restart(self, now_ms: int) -> list[tuple[FrameInfo, bytes]]:
        """Rebuild every book under update id 1; what follows in the recording is renumbered."""
        frames = []
        for topic, update_id, info, payload in self._feeds.restart(now_ms):
            self._renumbering.restart(topic, update_id)
            frames.append((info, payload))
        return frames

    def instruments(self) -> list[Instrument]:
        """Symbols of the recording with steps taken from its decimals."""
        return list(self._survey.instruments.values())

    def book(self, symbol: str) -> BookView | None:
        """Return the rebuilt book of the deepest recorded depth."""
        return self._feeds.book(symbol, self._depths)

    def full_book(self, symbol: str) -> BookView | None:  # noqa: ARG002 - as every venue
        """A recording has the stream, which never tells the whole book."""
        return None

    def rpi_book(self, symbol: str) -> RpiBookView | None:  # noqa: ARG002 - as every venue
        """RPI frames are passed on as recorded, their books aren't rebuilt."""
        return None

    def ticker(self, symbol: str) -> dict[str, str] | None:
        """Return the rebuilt ticker."""
        return self._feeds.ticker(symbol)

    def recent_trades(self, symbol: str) -> list[TradeRecord]:
        """Return trades replayed so far."""
        return self._feeds.recent_trades(symbol)


class MarketVenue:
    """A simulated market, which opens when somebody first asks for anything in its category.

    Args:
        open_market: makes the market, at the moment it is called.
        full_lag: pushes by which answers about the full book are old at most; each is another one's, from 0 on.
    """

    def __init__(self, category: Category, open_market: Callable[[], Market], *, full_lag: int = 0) -> None:
        self.category = category
        self._full_lag = full_lag
        self._full_answers = 0
        self._pinned: set[str] = set()
        self._open_market = open_market
        self.opened: Market | None = None

    @property
    def market(self) -> Market:
        """The market, opened by now."""
        if self.opened is None:
            self.opened = self._open_market()
        return self.opened

    def has_symbol(self, symbol: str) -> bool:
        """Whether the market lists the symbol."""
        return any(instrument.symbol == symbol for instrument in self.market.instruments)

    def first_frame(self, topic: str, now_ms: int) -> tuple[FrameInfo, bytes] | None:  # noqa: ARG002 - has a clock
        """Begin to push the topic; books and tickers answer with their state as last pushed."""
        if not self.market.has_topic(topic):
            return None
        frame = self.market.follow(topic)
        return None if frame is None else (FrameInfo(topic, frame.update_id, frame.kind), frame.payload)

    def abandon(self, topic: str) -> None:
        """Stop building frames nobody wants."""
        if topic not in self._pinned:
            self.market.unfollow(topic)

    def pin(self, topic: str) -> None:
        """Go on building the topic's frames."""
        self._pinned.add(topic)

    def restart(self, now_ms: int) -> list[tuple[FrameInfo, bytes]]:  # noqa: ARG002 - has a clock
        """Restart the market's push service, if anybody has asked for anything yet."""
        if self.opened is None:
            return []
        return [
            (FrameInfo(frame.topic, frame.update_id, frame.kind), frame.payload)
            for frame in self.opened.restart()
        ]

    def instruments(self) -> list[Instrument]:
        """What the market lists."""
        return list(self.market.instruments)

    def book(self, symbol: str) -> BookView | None:
        """Return the book as last pushed on the deepest stream."""
        return self.market.book(symbol)

    def full_book(self, symbol: str) -> BookView | None:
        """Return the whole book, as of a push that lies back now more, now less."""
        self._full_answers += 1
        # The first answer is the oldest, the next ones are newer and newer, and so on.
        lag = self._full_lag - (self._full_answers - 1) % (self._full_lag + 1)
        return self.market.full_book(symbol, lag)

    def rpi_book(self, symbol: str) -> RpiBookView | None:
        """Return the RPI book as last pushed."""
        return self.market.rpi_book(symbol)

    def ticker(self, symbol: str) -> dict[str, str] | None:
        """Return the ticker of this moment."""
        return self.market.ticker(symbol)

    def recent_trades(self, symbol: str) -> list[TradeRecord]:
        """Return the market's latest trades."""
        return self.market.recent_trades(symbol)
