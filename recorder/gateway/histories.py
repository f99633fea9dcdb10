"""REST histories, made up from the symbol and the time alone, so that they are the same whenever they are asked for.

They are no past of the simulated market, which begins when somebody first looks at it; their shapes, limits, orders and
refusals are the exchange's (protocol section 6.1). Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from engine.bybit.histories import DAY_MS, HOUR_MS, INTERVALS, OPEN_INTEREST_INTERVALS
from recorder.gateway.rest import RestError
from recorder.gateway.venue import Venue
from schemas.names import Category

__all__ = ["HISTORIES", "delivery_price", "funding_history", "open_interest"]

Query = Mapping[str, str]
Result = dict[str, Any]

FUNDING_MS: Final = 8 * HOUR_MS
_FUTURES: Final = (Category.LINEAR, Category.INVERSE)


def _refuse(what: str) -> RestError:
    return RestError(10001, f"params error: {what}")


def _whole(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise _refuse(f"{name} {text[:40]!r} is no time in ms")
    return int(text)


def _limit(query: Query, most: int, default: int) -> int:
    found = _whole(query, "limit")
    if found is None:
        return default
    if not 1 <= found <= most:
        raise _refuse(f"limit {found} is not between 1 and {most}")
    return found


def _symbol(venue: Venue, query: Query, categories: tuple[Category, ...]) -> str:
    if venue.category not in categories:
        raise _refuse(f"category {venue.category.value} is not supported")
    symbol = query.get("symbol", "")
    if not any(instrument.symbol == symbol for instrument in venue.instruments()):
        raise _refuse(f"symbol invalid {symbol[:60]}")
    return symbol


def _times(start_ms: int | None, end_ms: int | None, step_ms: int, limit: int, now_ms: int) -> list[int]:
    """Multiples of the step, newest first, both ends included, none in the future."""
    last_ms = min(now_ms, now_ms if end_ms is None else end_ms) // step_ms * step_ms
    first_ms = last_ms - (limit - 1) * step_ms
    if start_ms is not None:
        first_ms = max(first_ms, -(-start_ms // step_ms) * step_ms)
    return list(range(last_ms, max(first_ms, 0) - 1, -step_ms))


def _noise(symbol: str, what: str, time_ms: int) -> int:
    """-1000 to 1000, ever the same."""
    return zlib.crc32(f"{symbol}/{what}/{time_ms}".encode()) % 2_001 - 1_000


def _text(mantissa: int, decimals: int) -> str:
    sign, digits = "-" if mantissa < 0 else "", str(abs(mantissa)).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else sign + digits


def funding_history(now_ms: int, venue: Venue, query: Query) -> Result:
    """``/v5/market/funding/history``: each eight hours; a beginning without an end is refused."""
    symbol = _symbol(venue, query, _FUTURES)
    limit = _limit(query, 200, 200)
    start_ms, end_ms = _whole(query, "startTime"), _whole(query, "endTime")
    if start_ms is not None and end_ms is None:
        raise _refuse("startTime needs endTime")
    rows = [
        {
            "symbol": symbol,
            "fundingRate": _text(_noise(symbol, "funding", at), 7),
            "fundingRateTimestamp": str(at),
        }
        for at in _times(start_ms, end_ms, FUNDING_MS, limit, now_ms)
    ]
    return {"category": venue.category.value, "list": rows}


def _candles(
    what: str, categories: tuple[Category, ...], columns: int
) -> Callable[[int, Venue, Query], Result]:
    def answer(now_ms: int, venue: Venue, query: Query) -> Result:
        symbol = _symbol(venue, query, categories)
        most = 500 if venue.category is Category.OPTION else 1_000
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise _refuse(f"interval {interval[:20]!r}")
        limit = _limit(query, most, 200)
        times = _times(_whole(query, "start"), _whole(query, "end"), INTERVALS[interval], limit, now_ms)
        return {
            "symbol": symbol,
            "category": venue.category.value,
            "list": [_candle(symbol, what, at, columns) for at in times],
        }

    return answer


def _candle(symbol: str, what: str, at: int, columns: int) -> list[str]:
    if what == "premium":
        prices = [_noise(symbol, f"{what}{part}", at) for part in ("open", "close")]
        decimals = 6
    else:
        base = 1_000_000 + zlib.crc32(symbol.encode()) % 9_000_000
        prices = [base + base // 100_000 * _noise(symbol, f"{what}{part}", at) for part in ("open", "close")]
        decimals = 2
    first, last = prices
    row = [str(at), *(_text(price, decimals) for price in (first, max(prices) + 3, min(prices) - 3, last))]
    if columns == 7:
        row += [
            _text(1_000 + _noise(symbol, "volume", at), 3),
            _text(90_000 + _noise(symbol, "turnover", at), 4),
        ]
    return row


def open_interest(now_ms: int, venue: Venue, query: Query) -> Result:
    """``/v5/market/open-interest``: newest first, by pages."""
    symbol = _symbol(venue, query, _FUTURES)
    steps = {name: INTERVALS[interval] for interval, name in OPEN_INTEREST_INTERVALS.items()}
    step_ms = steps.get(query.get("intervalTime", ""))
    if step_ms is None:
        raise _refuse(f"intervalTime {query.get('intervalTime', '')[:20]!r}")
    limit = _limit(query, 200, 50)
    start_ms, end_ms = _whole(query, "startTime"), _whole(query, "endTime")
    cursor = _whole(query, "cursor")
    if cursor is not None:
        end_ms = cursor
    times = _times(start_ms, end_ms, step_ms, limit, now_ms)
    rows = [
        {
            "openInterest": _text(5_000_000 + 2 * _noise(symbol, "interest", at), 3),
            "singleOpenInterest": _text(2_500_000 + _noise(symbol, "interest", at), 3),
            "timestamp": str(at),
        }
        for at in times
    ]
    more = len(times) == limit and start_ms is not None and times[-1] - step_ms >= start_ms
    return {
        "symbol": symbol,
        "category": venue.category.value,
        "list": rows,
        "nextPageCursor": str(times[-1] - step_ms) if more else "",
    }


def delivery_price(now_ms: int, venue: Venue, query: Query) -> Result:
    """``/v5/market/delivery-price``: of a symbol, its last three weeks' deliveries, made up; by pages."""
    symbol = _symbol(venue, query, (*_FUTURES, Category.OPTION))
    limit = _limit(query, 200, 50)
    today_ms = now_ms // DAY_MS * DAY_MS + 8 * HOUR_MS
    days = [today_ms - day * DAY_MS for day in range(1, 22)]
    first = _whole(query, "cursor") or 0
    page = days[first : first + limit]
    rows = [
        {
            "symbol": symbol,
            "deliveryPrice": _text(9_000_000 + _noise(symbol, "delivery", at), 2),
            "deliveryTime": str(at),
        }
        for at in page
    ]
    more = first + limit < len(days)
    return {
        "category": venue.category.value,
        "list": rows,
        "nextPageCursor": str(first + limit) if more else "",
    }


HISTORIES: Final[dict[str, Callable[[int, Venue, Query], Result]]] = {
    "funding/history": funding_history,
    "kline": _candles("trade", (Category.SPOT, *_FUTURES), 7),
    "mark-price-kline": _candles("mark", (*_FUTURES, Category.OPTION), 5),
    "index-price-kline": _candles("index", _FUTURES, 5),
    "premium-index-price-kline": _candles("premium", (Category.LINEAR,), 5),
    "open-interest": open_interest,
    "delivery-price": delivery_price,
}
"""Endpoints under ``/v5/market/`` that know times past."""
