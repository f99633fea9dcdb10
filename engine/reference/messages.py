"""Frames as the reference reads them: JSON with order and duplicates kept, numbers as written."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple

from engine.reference.books import Level
from schemas.errors import DataError
from schemas.names import RowKind, Side
from schemas.tables import TICKER_FIELDS

__all__ = [
    "Book",
    "Kind",
    "Object",
    "Ticker",
    "Trades",
    "UndecodableError",
    "members",
    "read_book",
    "read_ticker",
    "read_trades",
    "text_of",
]

MAXIMUM_DECIMALS: Final = 18
MAXIMUM_NESTING: Final = 64
INT64_MAXIMUM: Final = 2**63 - 1
# 9999-12-31T23:59:59.999Z: a later time has no date to be filed under.
LATEST_MS: Final = 253_402_300_799_999
Row = dict[str, Any]


class UndecodableError(DataError):
    """A frame that cannot be used; ``topic`` is the feed it can be attributed to."""

    def __init__(self, why: str, topic: str | None = None) -> None:
        super().__init__(why)
        self.topic = topic


class _Bare(NamedTuple):
    """A JSON number as written."""

    text: str


class Object(NamedTuple):
    """A JSON object as written: order and duplicates kept."""

    pairs: list[tuple[str, Any]]


class _Written(NamedTuple):
    """A decimal and how many decimals it was written with."""

    value: Decimal
    decimals: int


class Kind(StrEnum):
    """What a feed is, by the first word of its topic."""

    BOOK = "orderbook"
    TRADES = "publicTrade"
    TICKERS = "tickers"


@dataclass(frozen=True)
class Book:
    """A book message as written."""

    kind: RowKind
    push_ms: int
    match_ms: int | None
    update_id: int
    cross_sequence: int | None
    bids: list[tuple[_Written, ...]]
    asks: list[tuple[_Written, ...]]
    """Price and size as written; of an RPI book a second size behind them."""

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Return price and size, or sizes, of both sides, in the message's order."""
        bids, asks = (
            [tuple(number.value for number in level) for level in side] for side in (self.bids, self.asks)
        )
        return bids, asks

    @property
    def most(self) -> int:
        """Levels of the longer side that are there, counted by each size alone."""
        return max(
            (
                sum(1 for level in side if level[place].value)
                for side in (self.bids, self.asks)
                for place in range(1, len(side[0]) if side else 1)
            ),
            default=0,
        )


@dataclass(frozen=True)
class _Trade:
    symbol: str
    price: _Written
    size: _Written
    match_ms: int
    columns: Row


@dataclass(frozen=True)
class Trades:
    """A trade message as written."""

    push_ms: int
    trades: list[_Trade]


@dataclass(frozen=True)
class Ticker:
    """A ticker message: the values it carried, and the bit mask of its keys."""

    kind: RowKind
    push_ms: int
    cross_sequence: int | None
    values: Row
    keys: int


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=Object, parse_int=_Bare, parse_float=_Bare, parse_constant=_refuse_constant
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
    if isinstance(value, Object):
        return 1 + max((_nesting(item) for _, item in value.pairs), default=0)
    if isinstance(value, list):
        return 1 + max(map(_nesting, value), default=0)
    return 0


def members(text: str) -> Iterator[tuple[str, Any]]:
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
    if not isinstance(value, Object):
        raise UndecodableError("expected an object")
    found: dict[str, Any] = {}
    for key, item in value.pairs:
        if key in names:
            if key in found:
                raise UndecodableError(f"{key} twice")
            found[key] = item
    if missing := set(required) - found.keys():
        raise UndecodableError(f"{sorted(missing)} missing")
    return found


def text_of(value: object) -> str:
    """Return a JSON string; anything else is undecodable."""
    if not isinstance(value, str) or any("\ud800" <= character <= "\udfff" for character in value):
        raise UndecodableError("expected text")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, _Bare) or not _INTEGER.fullmatch(value.text) or int(value.text) > INT64_MAXIMUM:
        raise UndecodableError("expected an integer in 0..2^63-1")
    return int(value.text)


def _clock(value: object) -> int:
    """Read one of the exchange's clocks: ms since the epoch."""
    milliseconds = _integer(value)
    if milliseconds > LATEST_MS:
        raise UndecodableError("expected a time before the year 10000")
    return milliseconds


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise UndecodableError("expected true or false")
    return value


def _array(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise UndecodableError("expected an array")
    return value


def _fixed(value: object) -> _Written:
    """Read a price or size: decimal text of at most 18 decimals."""
    match = _DECIMAL.fullmatch(text_of(value))
    if not match or len(match[1] or "") > MAXIMUM_DECIMALS:
        raise UndecodableError("expected decimal text of at most 18 decimals")
    return _Written(Decimal(match[0]), len(match[1] or ""))


def _size(value: object) -> _Written:
    size = _fixed(value)
    if size.value < 0:
        raise UndecodableError("expected a size that is not negative")
    return size


def _decimal(value: object) -> Decimal | None:
    """Read any other number: text or bare, null for the empty text, exact in DECIMAL(38,18)."""
    if value == "":
        return None
    text = value.text if isinstance(value, _Bare) else text_of(value)
    if not _DECIMAL.fullmatch(text):
        raise UndecodableError("expected a decimal")
    number = Decimal(text)
    if number.copy_abs() >= Decimal(10) ** 20 or len(text.partition(".")[2]) > MAXIMUM_DECIMALS:
        raise UndecodableError("expected what DECIMAL(38,18) can hold")
    return number


def _time(value: object) -> int | None:
    """Read a ticker's time: milliseconds (text or bare) or ISO 8601 with Z; null for the empty text."""
    if value == "":
        return None
    if isinstance(value, _Bare):
        return _clock(value)
    text = text_of(value)
    if iso := _ISO.fullmatch(text):
        try:
            moment = datetime.fromisoformat(iso[1]).replace(tzinfo=UTC)
        except ValueError as error:
            raise UndecodableError("expected a date that exists") from error
        return (moment - _EPOCH) // timedelta(milliseconds=1) + int((iso[2] or "0").ljust(3, "0"))
    return _clock(_Bare(text))


def _text_or_null(value: object) -> str | None:
    return text_of(value) or None


_READ_TICKER: Final = {"decimal": _decimal, "text": _text_or_null, "time": _time}


def _row_kind(value: object) -> RowKind:
    kind = text_of(value)
    if kind not in (RowKind.SNAPSHOT, RowKind.DELTA):
        raise UndecodableError("expected snapshot or delta")
    return RowKind(kind)


def _side(levels: object, sizes: int) -> list[tuple[_Written, ...]]:
    side = []
    for level in _array(levels):
        if len(_array(level)) != 1 + sizes:
            raise UndecodableError("expected [price, size], of RPI books with a second size")
        side.append((_fixed(level[0]), *map(_size, level[1:])))
    if len({level[0].value for level in side}) != len(side):
        raise UndecodableError("a price twice")
    return side


def read_book(envelope: Object, symbol: str, sizes: int = 1) -> Book:
    """Read an order-book frame whose levels have so many sizes, or raise UndecodableError."""
    top = _known(envelope, {"topic", "type", "ts", "data", "cts"}, {"topic", "type", "ts", "data"})
    data = _known(top["data"], {"s", "b", "a", "u", "seq"}, {"s", "b", "a", "u"})
    if text_of(data["s"]) != symbol:
        raise UndecodableError("another symbol than the topic's")
    return Book(
        _row_kind(top["type"]),
        _clock(top["ts"]),
        _clock(top["cts"]) if "cts" in top else None,
        _integer(data["u"]),
        _integer(data["seq"]) if "seq" in data else None,
        _side(data["b"], sizes),
        _side(data["a"], sizes),
    )


_TRADE_KEYS: Final = ("T", "s", "S", "v", "p", "i")
_TRADE_EXTRAS: Final = {
    "L": ("tick_direction", text_of),
    "BT": ("is_block", _truth),
    "RPI": ("is_rpi", _truth),
    "seq": ("cross_sequence", _integer),
    "mP": ("mark_price", _decimal),
    "iP": ("index_price", _decimal),
    "mIv": ("mark_iv", _decimal),
    "iv": ("trade_iv", _decimal),
}
_SIDES: Final = {"Buy": Side.BUY, "Sell": Side.SELL}


def read_trades(envelope: Object, symbol: str | None) -> Trades:
    """Read a trade frame, or raise UndecodableError."""
    top = _known(envelope, {"topic", "type", "ts", "data"}, {"topic", "type", "ts", "data"})
    if _row_kind(top["type"]) is not RowKind.SNAPSHOT:
        raise UndecodableError("expected a snapshot")
    push_ms = _clock(top["ts"])
    return Trades(push_ms, [_read_trade(item, symbol) for item in _array(top["data"])])


def _read_trade(item: object, symbol: str | None) -> _Trade:
    data = _known(item, {*_TRADE_KEYS, *_TRADE_EXTRAS}, _TRADE_KEYS)
    own_symbol = text_of(data["s"])
    if symbol is not None and own_symbol != symbol:
        raise UndecodableError("another symbol than the topic's")
    if text_of(data["S"]) not in _SIDES:
        raise UndecodableError("expected Buy or Sell")
    columns: Row = {"trade_id": text_of(data["i"]), "side": _SIDES[data["S"]].value}
    for key, (column, read) in _TRADE_EXTRAS.items():
        columns[column] = read(data[key]) if key in data else None
    return _Trade(own_symbol, _fixed(data["p"]), _size(data["v"]), _clock(data["T"]), columns)


def read_ticker(envelope: Object, symbol: str) -> Ticker:
    """Read a ticker frame, or raise UndecodableError."""
    top = _known(envelope, {"topic", "type", "ts", "data", "cs"}, {"topic", "type", "ts", "data"})
    data = _known(top["data"], {"symbol", *(known.key for known in TICKER_FIELDS)}, {"symbol"})
    if text_of(data["symbol"]) != symbol:
        raise UndecodableError("another symbol than the topic's")
    values: Row = {}
    keys = 0
    for bit, known in enumerate(TICKER_FIELDS):
        if known.key in data:
            values[known.column] = _READ_TICKER[known.kind](data[known.key])
            keys |= 1 << bit
    sequence = _integer(top["cs"]) if "cs" in top else None
    return Ticker(_row_kind(top["type"]), _clock(top["ts"]), sequence, values, keys)
