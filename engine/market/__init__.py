"""A seeded market: order flow in, frames in the exchange's own shapes out. Pure: time is an argument.

::

    market = Market(seed=7, category=Category.LINEAR, start_ns=now_ns)
    first = market.follow("orderbook.50.BTCUSDT")         # a snapshot frame
    for frame in market.advance(now_ns + 20_000_000):      # every push that fell due
        ...

The same seed and opening time give the same order flow, and a topic followed from the same moment gives the
same bytes, whatever else is followed and in whatever steps time advances. Only followed topics cost anything
beyond the flow itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from engine.market.deep import MAX_LAG, FullStream, RpiStream, interval_of
from engine.market.events import EventStreams
from engine.market.flow import OrderFlow, Trade
from engine.market.listing import Instrument, Listing, default_symbols, listing
from engine.market.streams import (
    MS,
    TRADE_INTERVAL_NS,
    BookStream,
    TickerStream,
    TradeStream,
    ticker_fields,
    ticker_interval_ns,
    trade_record,
)
from schemas.errors import ConfigError
from schemas.names import Category

__all__ = [
    "BOOK_DEPTHS",
    "MAX_LAG",
    "MAX_RATE",
    "MAX_SYMBOLS",
    "MIN_RATE",
    "BookView",
    "Instrument",
    "Market",
    "MarketFrame",
    "RpiBookView",
]

BOOK_DEPTHS: Final[dict[Category, tuple[int, ...]]] = {
    Category.SPOT: (1, 50, 200, 1000),
    Category.LINEAR: (1, 50, 200, 1000),
    Category.INVERSE: (1, 50, 200, 1000),
    Category.OPTION: (25, 100),
    Category.SPREAD: (25,),
}
MAX_SYMBOLS: Final = 200
MIN_RATE: Final = 0.001
MAX_RATE: Final = 1_000
_GRID_NS: Final = TRADE_INTERVAL_NS


class MarketFrame(NamedTuple):
    """One frame that the push system sends.

    Attributes:
        time_ns: when it is pushed (``ts`` in nanoseconds).
        kind: ``snapshot`` or ``delta``.
        update_id: ``u``; None where the topic has none.
    """

    time_ns: int
    topic: str
    kind: str
    update_id: int | None
    payload: bytes


class BookView(NamedTuple):
    """A book as last pushed on one topic: (price, size) texts, best first; times in ms, None if untold."""

    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    update_id: int
    cross_sequence: int | None
    push_ms: int
    match_ms: int | None


class RpiBookView(NamedTuple):
    """An RPI book as last pushed: (price, size, RPI size) texts, best first; times in ms."""

    bids: list[tuple[str, str, str]]
    asks: list[tuple[str, str, str]]
    update_id: int
    cross_sequence: int
    push_ms: int
    match_ms: int


class Market:
    """A category's market of several symbols.

    Args:
        seed: decides everything.
        category: product line; sets key orders, text conventions, depths and intervals.
        symbols: what is traded; the first ``symbol_count`` well-known ones when None.
        start_ns: opening time, UTC nanoseconds.
        rate: multiplies the events per second; 1 is realistic.
        listings, delistings: symbols that come or go, and so many seconds after the opening. What goes is announced
            from the start, except on spot, which has no delivery time.

    Raises:
        ConfigError: a symbol cannot be simulated, or a count or rate is out of range.
    """

    def __init__(
        self,
        seed: int,
        category: Category,
        symbols: Sequence[str] | None = None,
        *,
        start_ns: int,
        symbol_count: int = 4,
        rate: float = 1.0,
        listings: Sequence[tuple[str, float]] = (),
        delistings: Sequence[tuple[str, float]] = (),
    ) -> None:
        if not 1 <= symbol_count <= MAX_SYMBOLS:
            raise ConfigError(f"symbol count {symbol_count}: expected 1 to {MAX_SYMBOLS}")
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ConfigError(
                f"rate {rate}: expected a factor from {MIN_RATE} to {MAX_RATE}, 1 being realistic"
            )
        names = default_symbols(category, symbol_count, start_ns) if symbols is None else tuple(symbols)
        start_ns -= start_ns % MS
        self.category = category
        self.now_ns = start_ns
        self._restarted_ns: int | None = None
        self._schedule = sorted(
            [(start_ns + int(s * 1e9), True, symbol) for symbol, s in listings]
            + [(start_ns + int(s * 1e9), False, symbol) for symbol, s in delistings]
        )
        for _, _, symbol in self._schedule:
            listing(category, symbol)  # can it be simulated at all?
        self._delivery_ms = {symbol: ns // MS for ns, comes, symbol in self._schedule if not comes}
        self._launch_ms: dict[str, int] = {}
        self._seed, self._rate = seed, rate
        self._flows = {name: OrderFlow(listing(category, name), seed, start_ns, rate) for name in names}
        self._books: dict[str, dict[str, BookStream | RpiStream]] = {name: {} for name in names}
        self._tickers: dict[str, TickerStream] = {}
        self._trades: dict[str, TradeStream] = {}
        self._events = EventStreams(category, self._flows)

    @property
    def instruments(self) -> tuple[Instrument, ...]:
        """What is traded, in listing order."""
        return tuple(self._announced(flow.listing.instrument) for flow in self._flows.values())

    def _announced(self, instrument: Instrument) -> Instrument:
        launch_ms = self._launch_ms.get(instrument.symbol, instrument.launch_ms)
        delivery_ms = instrument.delivery_ms
        if self.category is not Category.SPOT:
            delivery_ms = self._delivery_ms.get(instrument.symbol, delivery_ms)
        return replace(instrument, launch_ms=launch_ms, delivery_ms=delivery_ms)

    @property
    def followed(self) -> frozenset[str]:
        """Topics that frames are built for."""
        books = (topic for streams in self._books.values() for topic in streams)
        return frozenset((*books, *self._tickers_by_topic(), *self._trades, *self._events.topics))

    def _tickers_by_topic(self) -> list[str]:
        return [stream.topic for stream in self._tickers.values()]

    def has_topic(self, topic: str) -> bool:
        """Whether the market can push the topic at all."""
        return self._parse(topic) is not None or self._events.has_topic(topic)

    def follow(self, topic: str) -> MarketFrame | None:
        """Begin to build frames for a topic, now; return its first snapshot as of the last push.

        A topic followed already goes on, and its state as last pushed is returned; None for trades and others that
        have no state to begin with, and for the full book, whose state only REST tells.

        Raises:
            ConfigError: no such topic in this market.
        """
        if self._events.has_topic(topic):
            payload = self._events.follow(topic, self.now_ns)
            return None if payload is None else MarketFrame(self.now_ns, topic, "snapshot", None, payload)
        parsed = self._parse(topic)
        if parsed is None:
            raise ConfigError(f"topic {topic!r}: not one of this market's ({', '.join(self._flows)})")
        name, symbol, depth = parsed
        if name == "publicTrade":
            self._trades.setdefault(topic, TradeStream(topic, self.category))
            return None
        flow = self._flows[symbol]
        if name == "tickers":
            ticker = self._tickers.get(symbol)
            if ticker is None:
                ticker = self._tickers[symbol] = TickerStream(topic, flow, self.now_ns)
            return MarketFrame(self.now_ns, topic, "snapshot", None, ticker.snapshot(self.now_ns))
        streams = self._books[symbol]
        stream = streams.get(topic)
        if stream is None:
            stream = streams[topic] = self._book_stream(topic, depth, flow)
        if isinstance(stream, FullStream):
            return None
        return MarketFrame(self.now_ns, topic, "snapshot", stream.update_id, stream.snapshot(self.now_ns))

    def _book_stream(self, topic: str, depth: int, flow: OrderFlow) -> BookStream | RpiStream:
        if topic.startswith("orderbook.full."):
            return FullStream(topic, flow, self.now_ns, self._restarted_ns)
        if topic.startswith("orderbook.rpi."):
            return RpiStream(topic, flow, self.now_ns, self._restarted_ns)
        return BookStream(topic, depth, flow, self.now_ns, self._restarted_ns)

    def unfollow(self, topic: str) -> None:
        """Stop building frames for a topic; unknown topics are ignored."""
        self._events.unfollow(topic)
        parsed = self._parse(topic)
        if parsed is None:
            return
        name, symbol, _ = parsed
        if name == "publicTrade":
            self._trades.pop(topic, None)
        elif name == "tickers":
            self._tickers.pop(symbol, None)
        else:
            self._books[symbol].pop(topic, None)

    def restart(self) -> list[MarketFrame]:
        """Start the push service anew: every book followed begins a new chain.

        Returns:
            A snapshot of each, with update id 1 (of the full book an empty delta), and one of each ticker.
        """
        self._restarted_ns = self.now_ns
        frames = []
        for streams in self._books.values():
            for stream in streams.values():
                payload = stream.restart(self.now_ns)
                kind = "delta" if isinstance(stream, FullStream) else "snapshot"
                frames.append(MarketFrame(self.now_ns, stream.topic, kind, stream.update_id, payload))
        for ticker in self._tickers.values():
            payload = ticker.snapshot(self.now_ns)
            frames.append(MarketFrame(self.now_ns, ticker.topic, "snapshot", None, payload))
        return frames

    def advance(self, to_ns: int) -> list[MarketFrame]:
        """Let time pass and return every frame that fell due, ordered by time, then symbol, then topic."""
        frames: list[MarketFrame] = []
        while self._schedule and self._schedule[0][0] <= to_ns:
            due_ns, comes, symbol = self._schedule.pop(0)
            frames += self._advance(due_ns)
            if comes:
                self._list(symbol, due_ns)
            else:
                frames += self._delist(symbol, due_ns)
        return frames + self._advance(to_ns)

    def _list(self, symbol: str, now_ns: int) -> None:
        if symbol not in self._flows:
            start_ns = now_ns - now_ns % _GRID_NS
            self._flows[symbol] = OrderFlow(listing(self.category, symbol), self._seed, start_ns, self._rate)
            self._books[symbol] = {}
            self._launch_ms[symbol] = now_ns // MS

    def _delist(self, symbol: str, now_ns: int) -> list[MarketFrame]:
        """Stop trading a symbol; what the full book's stream says of it is told (protocol section 3.3)."""
        if self._flows.pop(symbol, None) is None:
            return []
        streams = self._books.pop(symbol)
        self._tickers.pop(symbol, None)
        self._trades.pop(f"publicTrade.{symbol}", None)
        self._events.forget(symbol)
        return [
            MarketFrame(now_ns, stream.topic, "delta", 1, stream.restart(now_ns))
            for stream in streams.values()
            if isinstance(stream, FullStream)
        ]

    def _advance(self, to_ns: int) -> list[MarketFrame]:
        if to_ns <= self.now_ns:
            return []
        frames: list[MarketFrame] = []
        fills: defaultdict[str, defaultdict[int, list[tuple[OrderFlow, Trade]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for symbol, flow in self._flows.items():
            self._advance_symbol(symbol, flow, to_ns, frames, fills)
        for topic, by_time in fills.items():
            stream = self._trades[topic]
            for time_ns, trades in by_time.items():
                trades.sort(key=lambda pair: pair[1].time_ns)
                frames += [
                    MarketFrame(time_ns, topic, "snapshot", None, payload)
                    for payload in stream.push(time_ns, trades)
                ]
        for group in self._events.groups.values():
            frames += [
                MarketFrame(time_ns, group.topic, "snapshot", None, payload)
                for time_ns, payload in group.finish(self.now_ns, to_ns)
            ]
        self.now_ns = to_ns
        frames.sort(key=_frame_order)
        return frames

    def _advance_symbol(
        self,
        symbol: str,
        flow: OrderFlow,
        to_ns: int,
        frames: list[MarketFrame],
        fills: defaultdict[str, defaultdict[int, list[tuple[OrderFlow, Trade]]]],
    ) -> None:
        books = [(stream, interval_of(stream)) for stream in self._books[symbol].values()]
        ticker, ticker_ns = self._tickers.get(symbol), ticker_interval_ns(self.category)
        trades_topic = self._trades_topic(flow.listing)
        wants_trades = trades_topic in self._trades
        events, groups = self._events.of_symbol(symbol), list(self._events.groups.values())
        for grid_ns in range((self.now_ns // _GRID_NS + 1) * _GRID_NS, to_ns + 1, _GRID_NS):
            flow.run_until(grid_ns)
            trades = flow.take_trades()
            if trades and wants_trades:
                fills[trades_topic][grid_ns] += [(flow, trade) for trade in trades]
            for event in events:
                frames += [
                    MarketFrame(grid_ns, event.topic, "snapshot", None, payload)
                    for payload in event.push(grid_ns, trades)
                ]
            for group in groups:
                group.note(flow, grid_ns, trades)
            for stream, interval_ns in books:
                if grid_ns % interval_ns == 0 and (pushed := stream.push(grid_ns)):
                    frames.append(MarketFrame(grid_ns, stream.topic, pushed[0], stream.update_id, pushed[1]))
            if ticker is not None and grid_ns % ticker_ns == 0 and (pushed := ticker.push(grid_ns)):
                frames.append(MarketFrame(grid_ns, ticker.topic, pushed[0], None, pushed[1]))

    def book(self, symbol: str, topic: str | None = None) -> BookView | None:
        """Return a symbol's book as last pushed on a topic (its deepest when None), followed from now on."""
        if symbol not in self._flows:
            return None
        topic = topic or f"orderbook.{BOOK_DEPTHS[self.category][-1]}.{symbol}"
        self.follow(topic)
        stream = self._books[symbol][topic]
        if not isinstance(stream, BookStream):
            raise ConfigError(f"topic {topic!r}: its levels have two sizes, ask for rpi_book")
        bids, asks = stream.levels()
        return BookView(bids, asks, stream.update_id, stream.sequence, self.now_ns // MS, stream.match_ms)

    def full_book(self, symbol: str, lag: int = 0) -> BookView | None:
        """Return a symbol's whole book as ``lag`` pushes back (at most ``MAX_LAG``), followed from now on."""
        topic = f"orderbook.full.{symbol}"
        if not self.has_topic(topic):
            return None
        self.follow(topic)
        stream = self._books[symbol][topic]
        assert isinstance(stream, FullStream)
        bids, asks, state = stream.view(lag)
        return BookView(bids, asks, state.update_id, state.sequence, self.now_ns // MS, state.match_ns // MS)

    def rpi_book(self, symbol: str) -> RpiBookView | None:
        """Return a symbol's RPI book as last pushed, followed from now on."""
        topic = f"orderbook.rpi.{symbol}"
        if not self.has_topic(topic):
            return None
        self.follow(topic)
        stream = self._books[symbol][topic]
        assert isinstance(stream, RpiStream)
        bids, asks = stream.levels()
        return RpiBookView(bids, asks, stream.update_id, stream.sequence, self.now_ns // MS, stream.match_ms)

    def ticker(self, symbol: str) -> dict[str, str] | None:
        """Return a symbol's ticker under the stream's keys."""
        flow = self._flows.get(symbol)
        return None if flow is None else ticker_fields(flow, self.now_ns)

    def recent_trades(self, symbol: str) -> list[dict[str, str | int | bool]]:
        """Return up to the latest 1000 trades of a symbol under the stream's keys, newest first."""
        flow = self._flows.get(symbol)
        return [] if flow is None else [trade_record(flow, trade) for trade in reversed(flow.recent)]

    def _trades_topic(self, described: Listing) -> str:
        instrument = described.instrument
        return "publicTrade." + (
            instrument.base_coin if self.category is Category.OPTION else instrument.symbol
        )

    def _parse(self, topic: str) -> tuple[str, str, int] | None:
        name, _, rest = topic.partition(".")
        if name == "orderbook":
            depth_text, _, symbol = rest.partition(".")
            if symbol not in self._flows:
                return None
            if depth_text in ("full", "rpi"):
                return None if self.category is Category.OPTION else (name, symbol, 0)
            known = depth_text in map(str, BOOK_DEPTHS[self.category])
            return (name, symbol, int(depth_text)) if known else None
        if name == "tickers":
            return (name, rest, 0) if rest in self._flows else None
        if name == "publicTrade":
            known = any(topic == self._trades_topic(flow.listing) for flow in self._flows.values())
            return (name, rest, 0) if known else None
        return None


_ORDER: Final = {"publicTrade": "0", "orderbook": "1", "tickers": "2"}


def _frame_order(frame: MarketFrame) -> tuple[int, str, str]:
    name, _, rest = frame.topic.partition(".")
    return frame.time_ns, rest.rpartition(".")[2], _ORDER.get(name, "3" + name) + rest
