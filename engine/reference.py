"""The reference model: the rules of feeds and books, written to be read rather than to be fast.

Property tests and benchmarks hold the core against it, so it shares nothing with the core but ``schemas``:
JSON comes from the standard library, numbers are ``decimal.Decimal``, sides are ``SortedDict``, digests are
recomputed from scratch. It has no limit on memory; use it on test data.

Source: protocol sections 3.1, 3.4, 3.5 and 4.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sortedcontainers import SortedDict

from schemas.errors import ConfigError, DataError, DecimalError
from schemas.names import Category, FeedState, GapCause, RowKind, Side, Table
from schemas.tables import TICKER_FIELDS

__all__ = ["Outcome", "ReferenceBook", "ReferenceFeeds", "mantissa_of"]

MAXIMUM_DECIMALS: Final = 18
MAXIMUM_NESTING: Final = 64
REMEMBERED_TRADES: Final = 1_024
INT64_MAXIMUM: Final = 2**63 - 1
# 9999-12-31T23:59:59.999Z: a later time has no date to be filed under.
LATEST_MS: Final = 253_402_300_799_999

Level = tuple[Decimal, Decimal]
Row = dict[str, Any]

# --- Numbers and digests --------------------------------------------------------------------------

_WORD: Final = 2**64 - 1
_BID: Final = 0x9E3779B97F4A7C15
_ASK: Final = 0xC2B2AE3D27D4EB4F
_PAIR: Final = 0xD6E8FEB86659FD93
# Wide enough for 20 integer digits moved by 18 places; anything that would be rounded is an error.
_EXACT: Final = Context(prec=64, traps=[Inexact, InvalidOperation])


def mantissa_of(value: Decimal, decimals: int) -> int:
    """Return ``value`` x 10^``decimals``; raise ``DecimalError`` unless int64 holds it and its negative exactly."""
    try:
        scaled = value.scaleb(decimals, _EXACT)
    except (Inexact, InvalidOperation):
        scaled = Decimal("NaN")
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or not -(2**63) < scaled < 2**63:
        raise DecimalError(f"{value} with {decimals} decimals: expected an integer that int64 can hold")
    return int(scaled)


def _finalise(word: int) -> int:
    """The splitmix64 finalizer."""
    word ^= word >> 30
    word = word * 0xBF58476D1CE4E5B9 & _WORD
    word ^= word >> 27
    word = word * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


class ReferenceBook:
    """One order book: two sorted sides from price to size, no size ever zero."""

    def __init__(self) -> None:
        self.bids = SortedDict()
        self.asks = SortedDict()

    def snapshot(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace both sides; levels of size zero are ignored."""
        self.bids = SortedDict(level for level in bids if level[1])
        self.asks = SortedDict(level for level in asks if level[1])

    def delta(self, bids: Iterable[Level], asks: Iterable[Level]) -> tuple[list[Level], list[Level]]:
        """Set absolute sizes, zero removes; return the delta that undoes this one (prices must differ)."""
        return self._change(self.bids, bids), self._change(self.asks, asks)

    @staticmethod
    def _change(side: SortedDict, levels: Iterable[Level]) -> list[Level]:
        undo = []
        for price, size in levels:
            undo.append((price, side.pop(price, Decimal(0))))
            if size:
                side[price] = size
        return undo

    @property
    def crossed(self) -> bool:
        """Whether both sides have levels and the best bid is not below the best ask."""
        return bool(self.bids and self.asks and self.bids.peekitem(-1)[0] >= self.asks.peekitem(0)[0])

    @property
    def deepest(self) -> int:
        """Number of levels of the longer side."""
        return max(len(self.bids), len(self.asks))

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """Return at most ``count`` bids and asks, best first."""
        return list(self.bids.items()[: -count - 1 : -1]), list(self.asks.items()[:count])

    def digest(self, price_decimals: int, size_decimals: int) -> int:
        """Return the 64-bit digest of all levels at this exponent pair, recomputed in full."""
        digest = _finalise(_PAIR ^ (price_decimals << 8 | size_decimals))
        for mark, side in ((_BID, self.bids), (_ASK, self.asks)):
            for price, size in side.items():
                place = _finalise(mantissa_of(price, price_decimals) & _WORD ^ mark)
                digest ^= _finalise(place + mantissa_of(size, size_decimals) & _WORD)
        return digest


# --- Frames ---------------------------------------------------------------------------------------


class _UndecodableError(DataError):
    """A frame that cannot be used; ``topic`` is the feed it can be attributed to."""

    def __init__(self, why: str, topic: str | None = None) -> None:
        super().__init__(why)
        self.topic = topic


class _Bare(NamedTuple):
    """A JSON number as written."""

    text: str


class _Object(NamedTuple):
    """A JSON object as written: order and duplicates kept."""

    pairs: list[tuple[str, Any]]


class _Written(NamedTuple):
    """A decimal and how many decimals it was written with."""

    value: Decimal
    decimals: int


class _Kind(StrEnum):
    BOOK = "orderbook"
    TRADES = "publicTrade"
    TICKERS = "tickers"


@dataclass(frozen=True)
class _Book:
    kind: RowKind
    push_ms: int
    match_ms: int | None
    update_id: int
    cross_sequence: int | None
    bids: list[tuple[_Written, _Written]]
    asks: list[tuple[_Written, _Written]]

    def levels(self) -> tuple[list[Level], list[Level]]:
        bids, asks = ([(price.value, size.value) for price, size in side] for side in (self.bids, self.asks))
        return bids, asks


@dataclass(frozen=True)
class _Trade:
    symbol: str
    price: _Written
    size: _Written
    match_ms: int
    columns: Row


@dataclass(frozen=True)
class _Trades:
    push_ms: int
    trades: list[_Trade]


@dataclass(frozen=True)
class _Ticker:
    kind: RowKind
    push_ms: int
    cross_sequence: int | None
    values: Row
    keys: int


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Bare, parse_float=_Bare, parse_constant=_refuse_constant
)
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?")
_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_ISO: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,3}))?Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"expected {character!r} at {at}")
    return _skip(text, at + 1)


def _nesting(value: object) -> int:
    if isinstance(value, _Object):
        return 1 + max((_nesting(item) for _, item in value.pairs), default=0)
    if isinstance(value, list):
        return 1 + max(map(_nesting, value), default=0)
    return 0


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of the object that a frame is; ``ValueError`` where it stops being one."""
    at = _expect(text, _skip(text, 0), "{")
    more = text[at : at + 1] != "}"
    while more:
        key, at = _JSON.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"expected a key before {at}")
        at = _expect(text, _skip(text, at), ":")
        value, at = _JSON.raw_decode(text, at)
        if _nesting(value) >= MAXIMUM_NESTING:
            raise ValueError(f"nested deeper than {MAXIMUM_NESTING}")
        yield key, value
        at = _skip(text, at)
        more = text[at : at + 1] == ","
        at = _skip(text, at + 1) if more else at
    if _expect(text, at, "}") != len(text):
        raise ValueError(f"expected the end at {at}")


def _known(value: object, names: Collection[str], required: Collection[str]) -> dict[str, Any]:
    """Return the members of an object that we know; unknown ones are ignored, known ones come once."""
    if not isinstance(value, _Object):
        raise _UndecodableError("expected an object")
    found: dict[str, Any] = {}
    for key, item in value.pairs:
        if key in names:
            if key in found:
                raise _UndecodableError(f"{key} twice")
            found[key] = item
    if missing := set(required) - found.keys():
        raise _UndecodableError(f"{sorted(missing)} missing")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise _UndecodableError("expected text")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, _Bare) or not _INTEGER.fullmatch(value.text) or int(value.text) > INT64_MAXIMUM:
        raise _UndecodableError("expected an integer in 0..2^63-1")
    return int(value.text)


def _clock(value: object) -> int:
    """Read one of the exchange's clocks: ms since the epoch."""
    milliseconds = _integer(value)
    if milliseconds > LATEST_MS:
        raise _UndecodableError("expected a time before the year 10000")
    return milliseconds


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise _UndecodableError("expected true or false")
    return value


def _array(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _UndecodableError("expected an array")
    return value


def _fixed(value: object) -> _Written:
    """Read a price or size: decimal text of at most 18 decimals."""
    match = _DECIMAL.fullmatch(_text(value))
    if not match or len(match[1] or "") > MAXIMUM_DECIMALS:
        raise _UndecodableError("expected decimal text of at most 18 decimals")
    return _Written(Decimal(match[0]), len(match[1] or ""))


def _size(value: object) -> _Written:
    size = _fixed(value)
    if size.value < 0:
        raise _UndecodableError("expected a size that is not negative")
    return size


def _decimal(value: object) -> Decimal | None:
    """Read any other number: text or bare, null for the empty text, exact in DECIMAL(38,18)."""
    if value == "":
        return None
    text = value.text if isinstance(value, _Bare) else _text(value)
    if not _DECIMAL.fullmatch(text):
        raise _UndecodableError("expected a decimal")
    number = Decimal(text)
    if number.copy_abs() >= Decimal(10) ** 20 or len(text.partition(".")[2]) > MAXIMUM_DECIMALS:
        raise _UndecodableError("expected what DECIMAL(38,18) can hold")
    return number


def _time(value: object) -> int | None:
    """Read a ticker's time: milliseconds (text or bare) or ISO 8601 with Z; null for the empty text."""
    if value == "":
        return None
    if isinstance(value, _Bare):
        return _clock(value)
    text = _text(value)
    if iso := _ISO.fullmatch(text):
        try:
            moment = datetime.fromisoformat(iso[1]).replace(tzinfo=UTC)
        except ValueError as error:
            raise _UndecodableError("expected a date that exists") from error
        return (moment - _EPOCH) // timedelta(milliseconds=1) + int((iso[2] or "0").ljust(3, "0"))
    return _clock(_Bare(text))


def _text_or_null(value: object) -> str | None:
    return _text(value) or None


_READ_TICKER: Final = {"decimal": _decimal, "text": _text_or_null, "time": _time}


def _row_kind(value: object) -> RowKind:
    kind = _text(value)
    if kind not in (RowKind.SNAPSHOT, RowKind.DELTA):
        raise _UndecodableError("expected snapshot or delta")
    return RowKind(kind)


def _side(levels: object) -> list[tuple[_Written, _Written]]:
    side = []
    for level in _array(levels):
        if len(_array(level)) != 2:
            raise _UndecodableError("expected [price, size]")
        side.append((_fixed(level[0]), _size(level[1])))
    if len({price.value for price, _ in side}) != len(side):
        raise _UndecodableError("a price twice")
    return side


def _read_book(envelope: _Object, symbol: str) -> _Book:
    top = _known(envelope, {"topic", "type", "ts", "data", "cts"}, {"topic", "type", "ts", "data"})
    data = _known(top["data"], {"s", "b", "a", "u", "seq"}, {"s", "b", "a", "u"})
    if _text(data["s"]) != symbol:
        raise _UndecodableError("another symbol than the topic's")
    return _Book(
        _row_kind(top["type"]),
        _clock(top["ts"]),
        _clock(top["cts"]) if "cts" in top else None,
        _integer(data["u"]),
        _integer(data["seq"]) if "seq" in data else None,
        _side(data["b"]),
        _side(data["a"]),
    )


_TRADE_KEYS: Final = ("T", "s", "S", "v", "p", "i")
_TRADE_EXTRAS: Final = {
    "L": ("tick_direction", _text),
    "BT": ("is_block", _truth),
    "RPI": ("is_rpi", _truth),
    "seq": ("cross_sequence", _integer),
    "mP": ("mark_price", _decimal),
    "iP": ("index_price", _decimal),
    "mIv": ("mark_iv", _decimal),
    "iv": ("trade_iv", _decimal),
}
_SIDES: Final = {"Buy": Side.BUY, "Sell": Side.SELL}


def _read_trades(envelope: _Object, symbol: str | None) -> _Trades:
    top = _known(envelope, {"topic", "type", "ts", "data"}, {"topic", "type", "ts", "data"})
    if _row_kind(top["type"]) is not RowKind.SNAPSHOT:
        raise _UndecodableError("expected a snapshot")
    push_ms = _clock(top["ts"])
    return _Trades(push_ms, [_read_trade(item, symbol) for item in _array(top["data"])])


def _read_trade(item: object, symbol: str | None) -> _Trade:
    data = _known(item, {*_TRADE_KEYS, *_TRADE_EXTRAS}, _TRADE_KEYS)
    own_symbol = _text(data["s"])
    if symbol is not None and own_symbol != symbol:
        raise _UndecodableError("another symbol than the topic's")
    if _text(data["S"]) not in _SIDES:
        raise _UndecodableError("expected Buy or Sell")
    columns: Row = {"trade_id": _text(data["i"]), "side": _SIDES[data["S"]].value}
    for key, (column, read) in _TRADE_EXTRAS.items():
        columns[column] = read(data[key]) if key in data else None
    return _Trade(own_symbol, _fixed(data["p"]), _size(data["v"]), _clock(data["T"]), columns)


def _read_ticker(envelope: _Object, symbol: str) -> _Ticker:
    top = _known(envelope, {"topic", "type", "ts", "data", "cs"}, {"topic", "type", "ts", "data"})
    data = _known(top["data"], {"symbol", *(known.key for known in TICKER_FIELDS)}, {"symbol"})
    if _text(data["symbol"]) != symbol:
        raise _UndecodableError("another symbol than the topic's")
    values: Row = {}
    keys = 0
    for bit, known in enumerate(TICKER_FIELDS):
        if known.key in data:
            values[known.column] = _READ_TICKER[known.kind](data[known.key])
            keys |= 1 << bit
    sequence = _integer(top["cs"]) if "cs" in top else None
    return _Ticker(_row_kind(top["type"]), _clock(top["ts"]), sequence, values, keys)


# --- Feeds ----------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """What a frame was."""

    DATA = "data"
    UNDECODABLE = "undecodable"
    OTHER = "other"
    """An object that belongs to no feed: an answer, a pong, a topic that nobody asked for."""


class _Arrival(NamedTuple):
    """When and where something came; also what is known of a feed's last good frame."""

    receive_ns: int
    sequence: int
    line: int
    match_ms: int | None = None


@dataclass
class _Feed:
    topic: str
    kind: _Kind
    symbol: str
    depth: int
    state: FeedState = FeedState.EMPTY
    line: int = 0
    good: _Arrival | None = None
    gap: Row | None = None
    # Books: `update_id` is of the last applied frame, `seen` are the ids of this chain.
    book: ReferenceBook = field(default_factory=ReferenceBook)
    update_id: int | None = None
    seen: set[int] = field(default_factory=set)
    crossed: bool = False
    # Trades and tickers.
    trade_ids: deque[str] = field(default_factory=lambda: deque(maxlen=REMEMBERED_TRADES))
    values: Row = field(default_factory=dict)

    @property
    def has_consecutive_ids(self) -> bool:
        return self.kind is _Kind.BOOK and self.depth > 1


class ReferenceFeeds:
    """Every feed of one category, driven frame by frame.

    Attributes:
        rows: per table (``book_updates``, ``trades``, ``tickers``), one dict per row with the table's columns
            except ``collector`` and ``digest``, plus ``topic`` and ``symbol``. Times are integers: ns for
            ``receive_time``, ms for the exchange's clocks; DECIMAL columns are ``Decimal``.
        gaps: healed gaps in the order of healing, with the columns of ``gaps`` except ``collector``.
        undecodable: frames that could not be used.
        repeated_deltas, repeated_trades: messages and trades that made no row because they had one already.
    """

    def __init__(self, category: Category | str) -> None:
        self.category = Category(category)
        self.rows: dict[Table, list[Row]] = {
            Table.BOOK_UPDATES: [],
            Table.TRADES: [],
            Table.TICKERS: [],
        }
        self.gaps: list[Row] = []
        self.undecodable = 0
        self.repeated_deltas = 0
        self.repeated_trades = 0
        self._feeds: dict[str, _Feed] = {}
        self._decimals: dict[str, tuple[int, int]] = {}
        self._line_good: dict[int, _Arrival] = {}
        self._line_gaps: dict[int, Row] = {}
        self._unattributed: dict[int, int] = {}  # line -> sequence of its last frame without a feed

    # What a reader may ask

    def state(self, topic: str) -> FeedState:
        """Return the feed's state."""
        return self._feeds[topic].state

    def update_id(self, topic: str) -> int | None:
        """Return the ``u`` of the last applied book message, None before the first."""
        return self._feeds[topic].update_id

    def decimals(self, symbol: str) -> tuple[int, int]:
        """Return the symbol's price and size decimals in force (exponents, negated)."""
        return self._decimals.get(symbol, (0, 0))

    def digest(self, topic: str) -> int:
        """Return the digest of the feed's book at the pair in force."""
        feed = self._feeds[topic]
        return feed.book.digest(*self.decimals(feed.symbol))

    def top(self, topic: str, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return at most ``count`` (and at most the topic's depth) bids and asks as mantissas, best first."""
        bids, asks = self.levels(topic)
        count = min(count, self._feeds[topic].depth)
        return bids[:count], asks[:count]

    def levels(self, topic: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return all bids and asks as mantissas, best first, those beyond the topic's depth too."""
        feed = self._feeds[topic]
        price_decimals, size_decimals = self.decimals(feed.symbol)
        bids, asks = (
            [(mantissa_of(price, price_decimals), mantissa_of(size, size_decimals)) for price, size in side]
            for side in feed.book.top(feed.book.deepest)
        )
        return bids, asks

    def open_gaps(self) -> list[Row]:
        """Return the gaps that nothing has healed yet: feeds in order of registration, then lines."""
        feeds = [feed.gap for feed in self._feeds.values() if feed.gap is not None]
        return feeds + [self._line_gaps[line] for line in sorted(self._line_gaps)]

    # What happens

    def add_feed(self, topic: str) -> None:
        """Register a topic: ``orderbook.N.SYMBOL``, ``publicTrade.X`` or ``tickers.SYMBOL``."""
        kind, _, rest = topic.partition(".")
        depth = "0"
        if kind == _Kind.BOOK:
            depth, _, rest = rest.partition(".")
        if kind not in list(_Kind) or not rest or not re.fullmatch("0|[1-9][0-9]{0,3}", depth):
            raise ConfigError(
                f"topic {topic!r}: expected orderbook.N.SYMBOL, publicTrade.X or tickers.SYMBOL"
            )
        self._feeds.setdefault(topic, _Feed(topic, _Kind(kind), rest, int(depth)))

    def announce(self, symbol: str, price_decimals: int, size_decimals: int) -> None:
        """Widen the symbol's pair; ``DecimalError`` (and no change) where a book could not follow."""
        price, size = self.decimals(symbol)
        pair = max(price, price_decimals), max(size, size_decimals)
        self._check_pair(symbol, pair)
        self._decimals[symbol] = pair

    def on_subscribed(self, topics: Iterable[str], receive_ns: int, sequence: int, line: int = 0) -> None:
        """The exchange acknowledged a subscription."""
        for topic in topics:
            feed = self._feeds[topic]
            feed.line = line
            if feed.kind is _Kind.TRADES:
                self._heal(feed, _Arrival(receive_ns, sequence, line), "subscribed")
            elif feed.state is FeedState.EMPTY:
                feed.state = FeedState.SYNCING

    def on_disconnect(self, line: int, receive_ns: int) -> None:
        """A connection ended: its live feeds are stale from their last good frame on."""
        for feed in self._feeds.values():
            if feed.state is FeedState.LIVE and feed.line == line:
                self._stale(feed, GapCause.DISCONNECT, _Arrival(receive_ns, 0, line))

    def on_stale(self, topic: str, cause: GapCause | str, receive_ns: int) -> None:
        """Something outside (silence, a crash, a failed audit) says that a live feed may not be believed."""
        feed = self._feeds[topic]
        if feed.state is FeedState.LIVE:
            self._stale(feed, GapCause(cause), _Arrival(receive_ns, 0, feed.line))

    def on_frame(self, frame: bytes, receive_ns: int, sequence: int, line: int = 0) -> Outcome:
        """Take one frame: all of it or, when it is undecodable, nothing."""
        arrival = _Arrival(receive_ns, sequence, line)
        try:
            decoded = self._decode(frame)
            if decoded is None:
                return Outcome.OTHER
            feed, message = decoded
            self._widen(feed, message)
        except _UndecodableError as damage:
            self._damaged(damage.topic, arrival)
            return Outcome.UNDECODABLE
        self._line_good[line] = arrival
        if line in self._line_gaps:
            self._close(self._line_gaps.pop(line), arrival, "message")
        if isinstance(message, _Book):
            self._on_book(feed, message, arrival._replace(match_ms=message.match_ms))
        elif isinstance(message, _Trades):
            self._on_trades(feed, message, arrival)
        else:
            self._on_ticker(feed, message, arrival)
        return Outcome.DATA

    # Decoding

    def _decode(self, frame: bytes) -> tuple[_Feed, _Book | _Trades | _Ticker] | None:
        pairs: list[tuple[str, Any]] = []
        try:
            for pair in _members(frame.decode()):
                pairs.append(pair)  # noqa: PERF402 - what was read before the damage is kept
        except UnicodeDecodeError as error:
            self._read_until_damage(frame[: error.start].decode(), pairs)
            raise _UndecodableError("not UTF-8", self._attribute(frame, pairs)) from error
        except (ValueError, RecursionError) as error:
            raise _UndecodableError("not JSON", self._attribute(frame, pairs)) from error
        topics = [value for key, value in pairs if key == "topic"]
        if not topics:
            return None
        try:
            if len(topics) > 1:
                raise _UndecodableError("topic twice")
            feed = self._feeds.get(_text(topics[0]))
            if feed is None:
                return None
            return feed, self._read(feed, _Object(pairs))
        except _UndecodableError as damage:
            damage.topic = self._attribute(frame, pairs)
            raise

    @staticmethod
    def _read_until_damage(text: str, pairs: list[tuple[str, Any]]) -> None:
        try:
            for pair in _members(text):
                pairs.append(pair)  # noqa: PERF402 - what was read before the damage is kept
        except (ValueError, RecursionError):
            return

    def _attribute(self, frame: bytes, pairs: list[tuple[str, Any]]) -> str | None:
        """Find the feed of a damaged frame: by its topic key, or by the plain bytes of one."""
        for key, value in pairs:
            if key == "topic" and isinstance(value, str) and value in self._feeds:
                return value
        for match in re.finditer(rb'"topic":"([^"]*)"', frame):
            topic = match[1].decode(errors="replace")
            if topic in self._feeds:
                return topic
        return None

    def _read(self, feed: _Feed, envelope: _Object) -> _Book | _Trades | _Ticker:
        if feed.kind is _Kind.BOOK:
            return _read_book(envelope, feed.symbol)
        if feed.kind is _Kind.TICKERS:
            return _read_ticker(envelope, feed.symbol)
        return _read_trades(envelope, None if self.category is Category.OPTION else feed.symbol)

    # Exponents

    def _widen(self, feed: _Feed, message: _Book | _Trades | _Ticker) -> None:
        """Widen the pairs to the frame's numbers, or refuse the frame and change nothing."""
        if isinstance(message, _Ticker):
            return
        if isinstance(message, _Book):
            numbers = [(feed.symbol, *level) for level in message.bids + message.asks]
        else:
            numbers = [(trade.symbol, trade.price, trade.size) for trade in message.trades]
        pairs: dict[str, tuple[int, int]] = {}
        for symbol, price, size in numbers:
            price_decimals, size_decimals = pairs.get(symbol, self.decimals(symbol))
            if size.value != 0:
                size_decimals = max(size_decimals, size.decimals)
            pairs[symbol] = max(price_decimals, price.decimals), size_decimals
        try:
            for symbol, price, size in numbers:
                mantissa_of(price.value, pairs[symbol][0])
                mantissa_of(size.value, pairs[symbol][1])
            for symbol, pair in pairs.items():
                self._check_pair(symbol, pair)
        except DecimalError as error:
            raise _UndecodableError(str(error), feed.topic) from error
        self._decimals.update(pairs)

    def _check_pair(self, symbol: str, pair: tuple[int, int]) -> None:
        """Raise ``DecimalError`` unless every level of the symbol's books fits int64 at this pair."""
        if pair == self.decimals(symbol):
            return
        if max(pair) > MAXIMUM_DECIMALS:
            raise DecimalError(f"{max(pair)} decimals: expected at most {MAXIMUM_DECIMALS}")
        for feed in self._feeds.values():
            if feed.kind is _Kind.BOOK and feed.symbol == symbol:
                for side in (feed.book.bids, feed.book.asks):
                    for price, size in side.items():
                        mantissa_of(price, pair[0])
                        mantissa_of(size, pair[1])

    # Books

    def _on_book(self, feed: _Feed, message: _Book, arrival: _Arrival) -> None:
        if message.kind is RowKind.SNAPSHOT:
            applied: bool | None = self._snapshot(feed, message, arrival)
        else:
            applied = self._delta(feed, message, arrival)
        if applied is None:
            self.repeated_deltas += 1
            return
        feed.seen.add(message.update_id)
        price_decimals, size_decimals = self.decimals(feed.symbol)
        row = self._row(feed, arrival, message.push_ms) | {
            "match_time": message.match_ms,
            "depth": feed.depth,
            "kind": message.kind.value,
            "applied": applied,
            "update_id": message.update_id,
            "cross_sequence": message.cross_sequence,
            "price_exponent": -price_decimals,
            "size_exponent": -size_decimals,
        }
        for side, levels in (("bid", message.bids), ("ask", message.asks)):
            row[f"{side}_price_mantissa"] = [mantissa_of(price.value, price_decimals) for price, _ in levels]
            row[f"{side}_size_mantissa"] = [mantissa_of(size.value, size_decimals) for _, size in levels]
        self.rows[Table.BOOK_UPDATES].append(row)

    def _snapshot(self, feed: _Feed, message: _Book, arrival: _Arrival) -> bool:
        """A snapshot always replaces the book and begins a chain, unless it is far too long."""
        feed.seen.clear()
        if (
            max(sum(1 for _, size in side if size.value) for side in (message.bids, message.asks))
            > 2 * feed.depth
        ):
            self._stale(feed, GapCause.OVERFLOW, arrival._replace(match_ms=None), message.update_id)
            return False
        feed.book.snapshot(*message.levels())
        feed.crossed = feed.book.crossed
        self._heal(feed, arrival, "snapshot", message.update_id)
        self._good(feed, arrival, message.update_id)
        return True

    def _delta(self, feed: _Feed, message: _Book, arrival: _Arrival) -> bool | None:
        """Return whether the delta was applied; None for a repeat, which makes no row."""
        update_id = message.update_id
        if feed.state is not FeedState.LIVE or feed.update_id is None:
            if update_id in feed.seen:
                return None
            if feed.gap is None:
                self._open(feed, GapCause.NO_SNAPSHOT, arrival, update_id)
            return False
        if update_id == feed.update_id + 1:
            return self._apply(feed, message, arrival)
        if update_id == 1:
            feed.seen.clear()
            self._stale(feed, GapCause.RESET, arrival)
            return False
        if update_id <= feed.update_id:
            return None if update_id in feed.seen else False
        assert feed.good is not None
        damaged = self._unattributed.get(arrival.line, -1) > feed.good.sequence
        self._stale(feed, GapCause.UNDECODABLE if damaged else GapCause.LOST, arrival)
        return False

    def _apply(self, feed: _Feed, message: _Book, arrival: _Arrival) -> bool:
        """Apply the next delta; a book that comes out insane is put back as it was."""
        undo = feed.book.delta(*message.levels())
        crossed = feed.book.crossed
        cause = None
        if feed.book.deepest > 2 * feed.depth:
            cause = GapCause.OVERFLOW
        elif crossed and feed.crossed:
            cause = GapCause.CROSSED
        if cause is not None:
            feed.book.delta(*undo)
            self._stale(feed, cause, arrival)
            return False
        feed.crossed = crossed
        self._good(feed, arrival, message.update_id)
        return True

    # Trades and tickers

    def _on_trades(self, feed: _Feed, message: _Trades, arrival: _Arrival) -> None:
        # A gap before this message ends with its first trade, one behind it begins with its last.
        times = [trade.match_ms for trade in message.trades]
        self._heal(feed, arrival._replace(match_ms=times[0] if times else None), "message")
        before = feed.good.match_ms if feed.good is not None else None
        self._good(feed, arrival._replace(match_ms=times[-1] if times else before))
        for trade in message.trades:
            if trade.columns["trade_id"] in feed.trade_ids:
                self.repeated_trades += 1
                continue
            feed.trade_ids.append(trade.columns["trade_id"])
            price_decimals, size_decimals = self.decimals(trade.symbol)
            row = self._row(feed, arrival, message.push_ms) | trade.columns
            row |= {
                "symbol": trade.symbol,
                "match_time": trade.match_ms,
                "price_mantissa": mantissa_of(trade.price.value, price_decimals),
                "size_mantissa": mantissa_of(trade.size.value, size_decimals),
                "price_exponent": -price_decimals,
                "size_exponent": -size_decimals,
                "source": "stream",
            }
            self.rows[Table.TRADES].append(row)

    def _on_ticker(self, feed: _Feed, message: _Ticker, arrival: _Arrival) -> None:
        applied = message.kind is RowKind.SNAPSHOT or feed.state is FeedState.LIVE
        values = message.values
        if applied:
            snapshot_only = self.category in (Category.SPOT, Category.OPTION)
            if message.kind is RowKind.DELTA:
                values = feed.values | values
            feed.values = values
            self._heal(feed, arrival, "message" if snapshot_only else "snapshot")
            self._good(feed, arrival)
        elif feed.gap is None:
            self._open(feed, GapCause.NO_SNAPSHOT, arrival)
        row = self._row(feed, arrival, message.push_ms) | {
            "kind": message.kind.value,
            "applied": applied,
            "keys": message.keys,
            "cross_sequence": message.cross_sequence,
        }
        row |= {known.column: values.get(known.column) for known in TICKER_FIELDS}
        self.rows[Table.TICKERS].append(row)

    @staticmethod
    def _row(feed: _Feed, arrival: _Arrival, push_ms: int) -> Row:
        return {
            "topic": feed.topic,
            "symbol": feed.symbol,
            "sequence": arrival.sequence,
            "receive_time": arrival.receive_ns,
            "push_time": push_ms,
            "line": arrival.line,
        }

    # States and gaps

    def _heal(self, feed: _Feed, arrival: _Arrival, healed_by: str, update_id: int | None = None) -> None:
        """The feed is live; a gap that was open ends here."""
        feed.state = FeedState.LIVE
        if feed.gap is not None:
            if feed.has_consecutive_ids and update_id is not None and update_id > 1:
                new_chain = feed.update_id is not None and update_id < feed.update_id
                feed.gap["last_update_id"] = None if new_chain else update_id - 1
            self._close(feed.gap, arrival, healed_by)
            feed.gap = None

    @staticmethod
    def _good(feed: _Feed, arrival: _Arrival, update_id: int | None = None) -> None:
        """This frame is the feed's last good one."""
        feed.line = arrival.line
        feed.good = arrival
        feed.update_id = update_id

    def _stale(self, feed: _Feed, cause: GapCause, arrival: _Arrival, update_id: int | None = None) -> None:
        """The feed may not be believed; a gap that is already open stays as it is."""
        if feed.gap is None:
            self._open(feed, cause, arrival, update_id)
        feed.state = FeedState.STALE

    def _open(self, feed: _Feed, cause: GapCause, arrival: _Arrival, update_id: int | None = None) -> None:
        """Open a gap behind a live feed's last good frame, else at this frame (of this ``update_id``)."""
        start = arrival
        if feed.state is FeedState.LIVE:
            start = feed.good or arrival
            update_id = None if feed.update_id in (None, INT64_MAXIMUM) else (feed.update_id or 0) + 1
        feed.gap = self._gap(feed.topic, cause, start)
        if feed.has_consecutive_ids:
            feed.gap["first_update_id"] = update_id

    @staticmethod
    def _gap(topic: str, cause: GapCause, start: _Arrival) -> Row:
        return {
            "sequence": None,
            "topic": topic,
            "start_time": start.receive_ns,
            "end_time": None,
            "start_match_time": start.match_ms,
            "end_match_time": None,
            "first_update_id": None,
            "last_update_id": None,
            "cause": cause.value,
            "healed_by": None,
        }

    def _close(self, gap: Row, arrival: _Arrival, healed_by: str) -> None:
        gap |= {
            "sequence": arrival.sequence,
            "end_time": arrival.receive_ns,
            "end_match_time": arrival.match_ms,
            "healed_by": healed_by,
        }
        self.gaps.append(gap)

    def _damaged(self, topic: str | None, arrival: _Arrival) -> None:
        self.undecodable += 1
        if topic is None:
            self._unattributed[arrival.line] = arrival.sequence
            if arrival.line not in self._line_gaps:
                start = self._line_good.get(arrival.line, arrival)
                self._line_gaps[arrival.line] = self._gap("", GapCause.UNDECODABLE, start)
            return
        feed = self._feeds[topic]
        if feed.state is FeedState.LIVE:
            self._stale(feed, GapCause.UNDECODABLE, arrival)
        elif feed.gap is None:
            self._open(feed, GapCause.UNDECODABLE, arrival)
