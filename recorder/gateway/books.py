"""What a replayed feed adds up to: readable books, tickers and trades in the wire's own text. Pure.

This is the oracle that recordings are held against, so it shares nothing with the fast core: sorted
dictionaries of decimals, one rule of protocol section 4 at a time.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Final, NamedTuple

import msgspec
from sortedcontainers import SortedDict

from engine.market import BookView
from engine.market.text import book_frame, levels_text, ticker_frame
from schemas.names import Category

__all__ = ["BookState", "Feeds", "FrameInfo", "TickerState", "topic_of"]

RECENT_TRADES: Final = 1_000
MAX_FEEDS: Final = 100_000
"""Feeds that state is kept for; frames of further topics are still sent."""
MAX_TICKER_KEYS: Final = 200

_TOPIC = re.compile(rb'"topic"\s*:\s*"([^"\\\x00-\x1f]{1,128})"')


class FrameInfo(NamedTuple):
    """What a frame is: ``u`` and ``type``, None where it has none or could not be decoded."""

    topic: str
    update_id: int | None
    kind: str | None


class _BookData(msgspec.Struct):
    s: str
    u: int
    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []
    seq: int | None = None


class _BookMessage(msgspec.Struct):
    type: str
    ts: int
    data: _BookData
    cts: int | None = None


class _TickerMessage(msgspec.Struct):
    type: str
    ts: int
    data: dict[str, msgspec.Raw]
    cs: int | None = None
    id: str = ""


class _TradesMessage(msgspec.Struct):
    type: str
    data: list[dict[str, str | int | bool]]


class _AnyData(msgspec.Struct):
    u: int | None = None


class _AnyMessage(msgspec.Struct):
    type: str | None = None
    data: _AnyData | list[msgspec.Raw] | None = None


_BOOK = msgspec.json.Decoder(_BookMessage)
_TICKER = msgspec.json.Decoder(_TickerMessage)
_TRADES = msgspec.json.Decoder(_TradesMessage)
_ANY = msgspec.json.Decoder(_AnyMessage)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def topic_of(payload: bytes) -> str | None:
    """Return the first ``topic`` named in a frame, whole or damaged; None for acks and pongs."""
    found = _TOPIC.search(payload)
    if found is None:
        return None
    try:
        return found.group(1).decode()
    except UnicodeDecodeError:
        return None


class _Level(NamedTuple):
    price: str
    size: str


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not price.is_finite():
        raise InvalidOperation(f"price {text!r} is not finite")
    return price


class BookState:
    """One order-book feed as protocol section 4 says it adds up.

    Attributes:
        is_valid: whether a snapshot was seen and no delta is missing since.
    """

    __slots__ = (
        "_asks",
        "_bids",
        "_depth",
        "_match_ms",
        "_push_ms",
        "_sequence",
        "_symbol",
        "_update_id",
        "is_valid",
    )

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._bids: SortedDict[Decimal, _Level] = SortedDict()
        self._asks: SortedDict[Decimal, _Level] = SortedDict()
        self._symbol = ""
        self._update_id = 0
        self._sequence: int | None = None
        self._push_ms = 0
        self._match_ms: int | None = None
        self.is_valid = False

    def apply(self, message: _BookMessage) -> None:
        """Take one frame: a snapshot replaces, the next delta changes, anything else is no base to build on.

        Raises:
            InvalidOperation: a price that is no number; the state is invalid until the next snapshot.
        """
        data = message.data
        if message.type == "snapshot":
            self._bids.clear()
            self._asks.clear()
            self._symbol = data.s
            self.is_valid = True
        elif not self.is_valid or data.u <= self._update_id:
            return
        elif data.u != self._update_id + 1:
            self.is_valid = False
            return
        try:
            # Bids are kept under negative prices, so that both sides are sorted best first.
            for price, size in data.b:
                _set_level(self._bids, -_price(price), price, size)
            for price, size in data.a:
                _set_level(self._asks, _price(price), price, size)
        except InvalidOperation:
            self.is_valid = False
            raise
        for side in (self._bids, self._asks):
            # A feed that never removes what leaves the window may not grow without bound.
            while len(side) > 2 * self._depth:
                side.popitem(-1)
        self._update_id = data.u
        self._sequence = data.seq
        self._push_ms, self._match_ms = message.ts, message.cts

    def view(self) -> BookView | None:
        """Return the window of the book, or None while it can't be known."""
        if not self.is_valid:
            return None
        return BookView(
            bids=[(level.price, level.size) for level in islice(self._bids.values(), self._depth)],
            asks=[(level.price, level.size) for level in islice(self._asks.values(), self._depth)],
            update_id=self._update_id,
            cross_sequence=self._sequence,
            push_ms=self._push_ms,
            match_ms=self._match_ms,
        )

    def restart(self) -> int | None:
        """Number the state 1, as a restarted push service does; returns what it was, None while it can't be known."""
        if not self.is_valid:
            return None
        update_id, self._update_id = self._update_id, 1
        return update_id

    def snapshot(self, category: Category, topic: str, now_ms: int) -> tuple[int, bytes] | None:
        """Build (u, snapshot frame) of the present state, or None while it can't be known."""
        view = self.view()
        if view is None:
            return None
        return view.update_id, book_frame(
            category,
            topic,
            depth=self._depth,
            kind="snapshot",
            push_ms=_pushed(self._push_ms, now_ms),
            symbol=self._symbol,
            bids=levels_text(view.bids),
            asks=levels_text(view.asks),
            update_id=view.update_id,
            cross_sequence=view.cross_sequence,
            match_ms=view.match_ms,
        )


def _pushed(last_ms: int, now_ms: int) -> int:
    """Push time of a rebuilt snapshot: behind what it is made of, and before the recording's next message, whose own
    time lies behind the clock of whoever received it."""
    return min(now_ms, last_ms + 1)


def _set_level(side: SortedDict[Decimal, _Level], key: Decimal, price: str, size: str) -> None:
    if _is_zero(size):
        side.pop(key, None)
    else:
        side[key] = _Level(price, size)


def _is_zero(size: str) -> bool:
    return size[:1] == "0" and not size.strip("0.")


class TickerState:
    """One tickers feed: its last snapshot merged with everything since, values in their own JSON text."""

    __slots__ = ("_fields", "_id_sequence", "_push_ms", "_sequence", "is_valid")

    def __init__(self) -> None:
        self._fields: dict[str, msgspec.Raw] = {}
        self._sequence: int | None = None
        self._id_sequence: int | None = None
        self._push_ms = 0
        self.is_valid = False

    def apply(self, message: _TickerMessage) -> None:
        """Take one frame; a delta before any snapshot is no state."""
        if message.type == "snapshot":
            self._fields = {}
            self.is_valid = True
        elif not self.is_valid:
            return
        for key, value in message.data.items():
            if key in self._fields or len(self._fields) < MAX_TICKER_KEYS:
                self._fields[key] = value.copy()
        self._push_ms = message.ts
        if message.cs is not None:
            self._sequence = message.cs
        parts = message.id.rsplit("-", 2)
        if len(parts) == 3 and parts[1].isdecimal() and len(parts[1]) < 20:
            self._id_sequence = int(parts[1])

    def snapshot(self, category: Category, topic: str, now_ms: int) -> bytes | None:
        """Build a snapshot frame of the merged state, or None while there is none."""
        if not self.is_valid:
            return None
        sequence = self._id_sequence if category is Category.OPTION else self._sequence
        data = msgspec.json.encode(self._fields).decode()
        return ticker_frame(
            category,
            topic,
            kind="snapshot",
            push_ms=_pushed(self._push_ms, now_ms),
            cross_sequence=sequence,
            data=data,
        )

    def fields(self) -> dict[str, str] | None:
        """Return the merged texts; None while there is none. Values that are not text are left out."""
        if not self.is_valid:
            return None
        texts = {}
        for key, raw in self._fields.items():
            try:
                texts[key] = msgspec.json.decode(raw, type=str)
            except _UNDECODABLE:
                continue
        return texts


class Feeds:
    """Every feed of one replayed category.

    Attributes:
        undecodable: frames that had a topic and could not be read; they are sent all the same.
    """

    def __init__(self, category: Category) -> None:
        self._category = category
        self._books: dict[str, BookState] = {}
        self._tickers: dict[str, TickerState] = {}
        self._trades: dict[str, deque[dict[str, str | int | bool]]] = {}
        self.undecodable = 0

    def reset(self) -> None:
        """Forget everything, as when the replay starts over."""
        self._books.clear()
        self._tickers.clear()
        self._trades.clear()

    def apply(self, topic: str, payload: bytes) -> FrameInfo:
        """Take one frame of a topic and tell what it is; what can't be read changes nothing."""
        try:
            return self._apply(topic, payload)
        except (*_UNDECODABLE, InvalidOperation):
            self.undecodable += 1
            return FrameInfo(topic, None, None)

    def _apply(self, topic: str, payload: bytes) -> FrameInfo:
        name, _, rest = topic.partition(".")
        if name == "orderbook" and (depth := _depth(rest)) is not None:
            if b"\\" in payload:
                # Books never have any, and without them no text can break the JSON of a rebuilt snapshot.
                raise msgspec.DecodeError("an order book has escaped characters")
            message = _BOOK.decode(payload)
            book = self._books.get(topic)
            if book is None and len(self._books) < MAX_FEEDS:
                book = self._books[topic] = BookState(depth)
            if book is not None:
                book.apply(message)
            return FrameInfo(topic, message.data.u, message.type)
        if name == "tickers":
            ticker_message = _TICKER.decode(payload)
            ticker = self._tickers.get(topic)
            if ticker is None and len(self._tickers) < MAX_FEEDS:
                ticker = self._tickers[topic] = TickerState()
            if ticker is not None:
                ticker.apply(ticker_message)
            return FrameInfo(topic, None, ticker_message.type)
        if name == "publicTrade":
            trades_message = _TRADES.decode(payload)
            self._remember(trades_message.data)
            return FrameInfo(topic, None, trades_message.type)
        other = _ANY.decode(payload)
        update_id = other.data.u if isinstance(other.data, _AnyData) else None
        return FrameInfo(topic, update_id, other.type)

    def _remember(self, trades: list[dict[str, str | int | bool]]) -> None:
        for trade in trades:
            symbol = trade.get("s")
            if not isinstance(symbol, str):
                continue
            recent = self._trades.get(symbol)
            if recent is None:
                if len(self._trades) >= MAX_FEEDS:
                    continue
                recent = self._trades[symbol] = deque(maxlen=RECENT_TRADES)
            recent.append(trade)

    def snapshot(self, topic: str, now_ms: int) -> tuple[int | None, bytes] | None:
        """Rebuild (u, snapshot frame) of a book or ticker; None where nothing can be rebuilt."""
        if (book := self._books.get(topic)) is not None:
            return book.snapshot(self._category, topic, now_ms)
        if (ticker := self._tickers.get(topic)) is not None:
            payload = ticker.snapshot(self._category, topic, now_ms)
            return None if payload is None else (None, payload)
        return None

    def restart(self, now_ms: int) -> list[tuple[str, int, FrameInfo, bytes]]:
        """Number every known book 1; returns (topic, update id until now, what the frame is, its snapshot)."""
        restarted = []
        for topic, book in self._books.items():
            update_id = book.restart()
            rebuilt = book.snapshot(self._category, topic, now_ms)
            if update_id is not None and rebuilt is not None:
                restarted.append((topic, update_id, FrameInfo(topic, 1, "snapshot"), rebuilt[1]))
        return restarted

    def view(self, topic: str) -> BookView | None:
        """Return a topic's book, or None where there is none or it can't be known."""
        book = self._books.get(topic)
        return None if book is None else book.view()

    def book(self, symbol: str, depths: Sequence[int]) -> BookView | None:
        """Return the book of the first of these depths that has one."""
        for depth in depths:
            state = self._books.get(f"orderbook.{depth}.{symbol}")
            if state is not None and (view := state.view()) is not None:
                return view
        return None

    def ticker(self, symbol: str) -> dict[str, str] | None:
        """Return a symbol's merged ticker under the stream's keys."""
        state = self._tickers.get(f"tickers.{symbol}")
        return None if state is None else state.fields()

    def recent_trades(self, symbol: str) -> list[dict[str, str | int | bool]]:
        """Return the latest trades of a symbol under the stream's keys, newest first."""
        return list(reversed(self._trades.get(symbol, ())))


def _depth(rest: str) -> int | None:
    """Depth of a book whose levels are pairs; rpi and full books are passed on, not rebuilt."""
    text = rest.partition(".")[0]
    return int(text) if text.isascii() and text.isdecimal() and 0 < len(text) <= 4 and text != "0" else None
