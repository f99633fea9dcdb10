"""The exchange's REST histories: what may be asked, in which pieces, and what the answers mean (section 6.1). Pure.

A history is fetched in *windows* of whole multiples of what one answer holds, so that each is one request, the same
one whenever it is asked for, and what has been fetched can be written down as spans of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote

import msgspec

from engine.bybit.rest import Request
from schemas.errors import ConfigError, ExchangeError, Rejected
from schemas.names import Category, Table

__all__ = [
    "INTERVALS",
    "History",
    "Page",
    "Window",
    "is_history",
    "read_page",
    "window_request",
    "windows",
]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
INTERVALS: Final = {
    **{str(minutes): minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": DAY_MS,
    "W": 7 * DAY_MS,
}
"""Intervals of candles; months have no fixed length and are left out."""
OPEN_INTEREST_INTERVALS: Final = {
    "5": "5min", "15": "15min", "30": "30min", "60": "1h", "240": "4h", "D": "1d",
}  # fmt: skip
FUNDING_STEP_MS: Final = HOUR_MS
"""No perpetual pays more often."""
LAST_MS: Final = 253_402_300_799_999
"""9999-12-31, the last date that calendars agree on."""
WEEK_ORIGIN_MS: Final = 4 * DAY_MS
"""Weeks begin on Mondays; 1970-01-01 was a Thursday."""
_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,18})?")
_MOST_CURSOR: Final = 4_096


class History(StrEnum):
    """What ``backfill --what`` takes."""

    FUNDING = "funding"
    MARK = "mark"
    INDEX = "index"
    PREMIUM = "premium"
    KLINES = "klines"
    OPEN_INTEREST = "open_interest"
    DELIVERY = "delivery"


class _Spec(NamedTuple):
    path: str
    categories: frozenset[Category]
    limit: int
    table: Table
    kind: str = ""


_SPOT, _LINEAR, _INVERSE, _OPTION = Category.SPOT, Category.LINEAR, Category.INVERSE, Category.OPTION
_KLINES: Final = Table.REFERENCE_KLINES
_SPECS: Final = {
    History.FUNDING: _Spec(
        "/v5/market/funding/history", frozenset({_LINEAR, _INVERSE}), 200, Table.FUNDING_HISTORY
    ),
    History.MARK: _Spec(
        "/v5/market/mark-price-kline", frozenset({_LINEAR, _INVERSE, _OPTION}), 1000, _KLINES, "mark"
    ),
    History.INDEX: _Spec(
        "/v5/market/index-price-kline", frozenset({_LINEAR, _INVERSE}), 1000, _KLINES, "index"
    ),
    History.PREMIUM: _Spec(
        "/v5/market/premium-index-price-kline", frozenset({_LINEAR}), 1000, _KLINES, "premium"
    ),
    History.KLINES: _Spec("/v5/market/kline", frozenset({_SPOT, _LINEAR, _INVERSE}), 1000, _KLINES, "trade"),
    History.OPEN_INTEREST: _Spec(
        "/v5/market/open-interest", frozenset({_LINEAR, _INVERSE}), 200, Table.OPEN_INTEREST
    ),
    History.DELIVERY: _Spec(
        "/v5/market/delivery-price", frozenset({_LINEAR, _INVERSE, _OPTION}), 200, Table.DELIVERY_PRICES
    ),
}
_BY_PATH: Final = {spec.path: history for history, spec in _SPECS.items()}


class Window(NamedTuple):
    """One request's worth of a history: times from ``from_ms`` up to, not including, ``to_ms``.

    Attributes:
        interval: of candles and open interest, as in `INTERVALS`; empty for the others.
    """

    history: History
    symbol: str
    interval: str
    from_ms: int
    to_ms: int

    @property
    def key(self) -> str:
        """Which history of what this is a piece of."""
        return "/".join(part for part in (self.history.value, self.symbol, self.interval) if part)


class Page(NamedTuple):
    """What an answer says.

    Attributes:
        table: where its rows belong. symbol: whose they are, where a row doesn't say.
        rows: (symbol, the table's columns without the head's), oldest first.
        malformed: rows that could not be read.
        cursor: of the next page; empty on the last one, and where the endpoint doesn't page.
    """

    table: Table
    symbol: str
    rows: list[tuple[str, dict[str, Any]]]
    malformed: int
    cursor: str


def windows(
    history: History, category: Category, symbol: str, interval: str, from_ms: int, to_ms: int
) -> Iterator[Window]:
    """The windows that cover a span, oldest first; the outermost ones reach beyond it.

    Raises:
        ConfigError: the category has no such history, or the history no such interval.
    """
    spec = _SPECS[history]
    if category not in spec.categories:
        having = ", ".join(sorted(spec.categories))
        raise ConfigError(f"{history} of {category}: the exchange has it for {having} only")
    if history is History.DELIVERY:  # all there is, by pages
        yield Window(history, symbol, "", 0, LAST_MS)
        return
    origin_ms = 0
    if history is History.FUNDING:
        interval, step_ms = "", FUNDING_STEP_MS
    else:
        known = OPEN_INTEREST_INTERVALS if history is History.OPEN_INTEREST else INTERVALS
        if interval not in known:
            raise ConfigError(f"interval {interval!r} of {history}: expected one of {', '.join(known)}")
        step_ms = INTERVALS[interval]
        origin_ms = WEEK_ORIGIN_MS if interval == "W" else 0
    size_ms = step_ms * _limit(history, category)
    start_ms = (from_ms - origin_ms) // size_ms * size_ms + origin_ms
    while start_ms < to_ms:
        yield Window(history, symbol, interval, start_ms, start_ms + size_ms)
        start_ms += size_ms


def _limit(history: History, category: Category) -> int:
    return 500 if category is Category.OPTION and history is History.MARK else _SPECS[history].limit


def window_request(category: Category, window: Window, cursor: str = "") -> Request:
    """Ask for one window, or for its next page."""
    history = window.history
    query: list[tuple[str, str]] = [("category", category.value), ("symbol", quote(window.symbol, safe=""))]
    # both ends of what is asked for belong to it, and no history is older than the epoch
    first, last = str(max(window.from_ms, 0)), str(window.to_ms - 1)
    if history is History.OPEN_INTEREST:
        query.append(("intervalTime", OPEN_INTEREST_INTERVALS[window.interval]))
    elif window.interval:
        query.append(("interval", window.interval))
    if history in (History.FUNDING, History.OPEN_INTEREST):
        query += [("startTime", first), ("endTime", last)]
    elif history is not History.DELIVERY:
        query += [("start", first), ("end", last)]
    query.append(("limit", str(_limit(history, category))))
    if cursor:
        query.append(("cursor", quote(cursor, safe="%-._~+=:,/")))
    return Request(_SPECS[history].path, tuple(query))


def is_history(path: str) -> bool:
    """Whether a request's path (with its query) asks for a history."""
    return path.partition("?")[0] in _BY_PATH


class _Envelope(msgspec.Struct):
    code: int = msgspec.field(name="retCode")
    words: str = msgspec.field(name="retMsg", default="")
    result: msgspec.Raw = msgspec.Raw(b"null")


class _List(msgspec.Struct):
    rows: list[Any] = msgspec.field(name="list", default_factory=list)
    symbol: str = ""
    next_cursor: str = msgspec.field(name="nextPageCursor", default="")


_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def read_page(path: str, body: bytes) -> Page:
    """Read an answer to the request of this path, query included.

    Raises:
        Rejected: the exchange answered with an error.
        ExchangeError: the answer isn't what is documented, or the path asks for no history.
    """
    place, _, text = path.partition("?")
    history = _BY_PATH.get(place)
    if history is None:
        raise ExchangeError(f"{place}: no history")
    query = dict(parse_qsl(text))
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
        if envelope.code != 0:
            raise Rejected(place, f"{envelope.words[:500] or 'no text'} (code {envelope.code})")
        result = msgspec.json.decode(envelope.result, type=_List)
    except _ERRORS as error:
        raise ExchangeError(f"{place}: the reply is not what is documented ({error})") from None
    if len(result.next_cursor) > _MOST_CURSOR:
        raise ExchangeError(f"{place}: nextPageCursor has {len(result.next_cursor)} characters")
    symbol = query.get("symbol") or result.symbol
    spec = _SPECS[history]
    read = [_read(history, spec, row, query) for row in reversed(result.rows)]
    rows = [(own or symbol, columns) for own, columns in (row for row in read if row is not None)]
    return Page(spec.table, symbol, rows, len(read) - len(rows), result.next_cursor)


def _read(
    history: History, spec: _Spec, row: Any, query: dict[str, str]
) -> tuple[str, dict[str, Any]] | None:
    """One row, or None: its time is no time, or its shape another one."""
    if spec.table is Table.REFERENCE_KLINES:
        if not isinstance(row, list) or len(row) < 5:
            return None
        start_ms = _time(row[0])
        names = ("open_price", "high_price", "low_price", "close_price")
        columns = {name: _decimal(value) for name, value in zip(names, row[1:5], strict=True)}
        volumes = (
            [_decimal(value) for value in row[5:7]] if history is History.KLINES and len(row) >= 7 else []
        )
        columns["volume"], columns["turnover"] = volumes or (None, None)
        found = {"kind": spec.kind, "interval": query.get("interval", ""), "start_time": start_ms, **columns}
        return None if start_ms is None else ("", found)
    if not isinstance(row, dict):
        return None
    own = row.get("symbol")
    own = own if isinstance(own, str) else ""
    if history is History.FUNDING:
        time_ms = _time(row.get("fundingRateTimestamp"))
        found = {"funding_time": time_ms, "funding_rate": _decimal(row.get("fundingRate"))}
    elif history is History.DELIVERY:
        time_ms = _time(row.get("deliveryTime"))
        found = {"delivery_time": time_ms, "delivery_price": _decimal(row.get("deliveryPrice"))}
    else:
        time_ms = _time(row.get("timestamp"))
        found = {
            "interval": query.get("intervalTime", ""),
            "time": time_ms,
            "open_interest": _decimal(row.get("openInterest")),
            "single_open_interest": _decimal(row.get("singleOpenInterest")),
        }
    return None if time_ms is None else (own, found)


def _time(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value) if int(value) <= LAST_MS else None
    return None


def _decimal(value: object) -> Decimal | None:
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None
