"""REST answers of the market endpoints, as the exchange shapes them (protocol sections 6.1, 6.2). Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote

from engine.market import BookView, Instrument, RpiBookView
from recorder.gateway.venue import TradeRecord, Venue
from schemas.names import Category
from schemas.tables import RPI_DEPTH

__all__ = [
    "ENDPOINTS",
    "SPREAD_ENDPOINTS",
    "Query",
    "RestError",
    "full_order_book",
    "instruments_info",
    "order_book",
    "recent_trades",
    "rpi_order_book",
    "server_time",
    "tickers",
]

_BOOK_LIMITS: Final = {
    Category.SPOT: (1_000, 1),
    Category.LINEAR: (1_000, 25),
    Category.INVERSE: (1_000, 25),
    Category.OPTION: (25, 1),
    Category.SPREAD: (25, 1),
}
_STATUSES: Final = frozenset({"PreLaunch", "Trading", "Delivering", "Closed"})
_FULL_LIMIT: Final = 10_000
_LAUNCH_MS: Final = "1585526400000"
_DEFAULT_OPTION_BASE: Final = "BTC"

Query = Mapping[str, str]
Result = dict[str, Any]


class RestError(Exception):
    """An answer with a ``retCode`` other than 0; HTTP status stays 200."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _invalid(what: str) -> RestError:
    return RestError(10001, f"params error: {what}")


def _limit(query: Query, highest: int, default: int) -> int:
    text = query.get("limit", "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= highest):
        raise _invalid(f"limit {text[:40]!r} is not between 1 and {highest}")
    return int(text)


def _required_symbol(venue: Venue, query: Query) -> str:
    symbol = query.get("symbol", "")
    if not symbol:
        raise _invalid("symbol is required")
    return _known(venue, symbol)


def _known(venue: Venue, symbol: str) -> str:
    if not any(instrument.symbol == symbol for instrument in venue.instruments()):
        raise _invalid(f"symbol invalid {symbol[:60]}")
    return symbol


def server_time(now_ns: int) -> Result:
    """``/v5/market/time``."""
    return {"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)}


def order_book(venue: Venue, query: Query) -> Result:
    """``/v5/market/orderbook``: the window of the deepest stream; its ``u``, ``seq`` and clocks."""
    highest, default = _BOOK_LIMITS[venue.category]
    limit = _limit(query, highest, default)
    symbol = _required_symbol(venue, query)
    return _book(symbol, venue.book(symbol), limit)


def full_order_book(venue: Venue, query: Query) -> Result:
    """``/v5/market/full_orderbook``: the whole book at the ``u`` and ``seq`` of one push of the full stream."""
    _not_options(venue)
    symbol = _required_symbol(venue, query)
    return _book(symbol, venue.full_book(symbol), _FULL_LIMIT)


def rpi_order_book(venue: Venue, query: Query) -> Result:
    """``/v5/market/rpi_orderbook``: the RPI stream's window, its levels with both sizes."""
    _not_options(venue)
    if not query.get("limit"):
        raise _invalid("limit is required")
    limit = _limit(query, RPI_DEPTH, RPI_DEPTH)
    symbol = _required_symbol(venue, query)
    return _book(symbol, venue.rpi_book(symbol), limit)


def _not_options(venue: Venue) -> None:
    if venue.category is Category.OPTION:
        raise _invalid("category is not one of spot, linear, inverse")


def _book(symbol: str, view: BookView | RpiBookView | None, limit: int) -> Result:
    if view is None:
        raise RestError(10016, f"Internal System Error: no order book of {symbol} at this moment")
    return {
        "s": symbol,
        "b": view.bids[:limit],
        "a": view.asks[:limit],
        "ts": view.push_ms,
        "u": view.update_id,
        "seq": view.cross_sequence or 0,
        "cts": view.match_ms or view.push_ms,
    }


_FUTURES_TICKER: Final = (
    *(
        "symbol",
        "lastPrice",
        "indexPrice",
        "markPrice",
        "prevPrice24h",
        "price24hPcnt",
        "highPrice24h",
        "lowPrice24h",
    ),
    *("prevPrice1h", "openInterest", "openInterestValue", "turnover24h", "volume24h", "fundingRate"),
    *("nextFundingTime", "predictedDeliveryPrice", "basisRate", "deliveryFeeRate", "deliveryTime"),
    *(
        "ask1Size",
        "bid1Price",
        "ask1Price",
        "bid1Size",
        "basis",
        "preOpenPrice",
        "preQty",
        "curPreListingPhase",
    ),
    *("fundingIntervalHour", "fundingCap", "singleOpenInterest", "singleOpenInterestValue"),
)
_SPOT_TICKER: Final = (
    *(
        "symbol",
        "bid1Price",
        "bid1Size",
        "ask1Price",
        "ask1Size",
        "lastPrice",
        "prevPrice24h",
        "price24hPcnt",
    ),
    *("highPrice24h", "lowPrice24h", "turnover24h", "volume24h", "usdIndexPrice"),
)
_OPTION_TICKER: Final = {
    "symbol": "symbol",
    "bid1Price": "bidPrice",
    "bid1Size": "bidSize",
    "bid1Iv": "bidIv",
    "ask1Price": "askPrice",
    "ask1Size": "askSize",
    "ask1Iv": "askIv",
    "lastPrice": "lastPrice",
    "highPrice24h": "highPrice24h",
    "lowPrice24h": "lowPrice24h",
    "markPrice": "markPrice",
    "indexPrice": "indexPrice",
    "markIv": "markPriceIv",
    "underlyingPrice": "underlyingPrice",
    "openInterest": "openInterest",
    "turnover24h": "turnover24h",
    "volume24h": "volume24h",
    "totalVolume": "totalVolume",
    "totalTurnover": "totalTurnover",
    "delta": "delta",
    "gamma": "gamma",
    "vega": "vega",
    "theta": "theta",
    "predictedDeliveryPrice": "predictedDeliveryPrice",
    "change24h": "change24h",
}
"""REST name of each option key, and the stream's."""


def tickers(venue: Venue, query: Query) -> Result:
    """``/v5/market/tickers``: one symbol or all; the REST names of the keys."""
    symbol, base = query.get("symbol", ""), query.get("baseCoin", "")
    if symbol:
        symbols = [_known(venue, symbol)]
    elif venue.category is Category.SPREAD:
        raise _invalid("symbol is required")
    elif venue.category is Category.OPTION and not base:
        raise _invalid("symbol or baseCoin is required")
    else:
        symbols = [i.symbol for i in venue.instruments() if not base or i.base_coin == base]
    rows = [row for row in (_ticker_row(venue, symbol) for symbol in symbols) if row is not None]
    return {"category": venue.category.value, "list": rows}


def _ticker_row(venue: Venue, symbol: str) -> Result | None:
    fields = venue.ticker(symbol)
    if fields is None:
        return None
    if venue.category is Category.OPTION:
        return {name: fields.get(key, "") for name, key in _OPTION_TICKER.items()}
    if venue.category is Category.SPREAD:
        return dict(fields)
    if venue.category is Category.SPOT:
        # The stream has no best prices on spot; REST does.
        return {name: {**_best_prices(venue, symbol), **fields}.get(name, "") for name in _SPOT_TICKER}
    return {name: fields.get(name, "0" if name == "deliveryTime" else "") for name in _FUTURES_TICKER}


def _best_prices(venue: Venue, symbol: str) -> dict[str, str]:
    view = venue.book(symbol)
    if view is None:
        return {}
    bid, ask = [side[0] if side else ("", "") for side in (view.bids, view.asks)]
    return {"bid1Price": bid[0], "bid1Size": bid[1], "ask1Price": ask[0], "ask1Size": ask[1]}


def recent_trades(venue: Venue, query: Query) -> Result:
    """``/v5/market/recent-trade``: newest first."""
    highest, default = (60, 60) if venue.category is Category.SPOT else (1_000, 500)
    limit = _limit(query, highest, default)
    if venue.category is Category.OPTION and not query.get("symbol"):
        base = query.get("baseCoin") or _DEFAULT_OPTION_BASE
        symbols = [i.symbol for i in venue.instruments() if i.base_coin == base]
        trades = [trade for symbol in symbols for trade in venue.recent_trades(symbol)]
        trades.sort(key=lambda trade: int(trade.get("T", 0)), reverse=True)
    else:
        trades = venue.recent_trades(_required_symbol(venue, query))
    return {"category": venue.category.value, "list": [_trade_row(trade) for trade in trades[:limit]]}


def _trade_row(trade: TradeRecord) -> Result:
    row: Result = {
        "execId": trade.get("i", ""),
        "symbol": trade.get("s", ""),
        "price": trade.get("p", ""),
        "size": trade.get("v", ""),
        "side": trade.get("S", ""),
        "time": str(trade.get("T", "")),
        "isBlockTrade": trade.get("BT", False),
        "isRPITrade": trade.get("RPI", False),
        "seq": str(trade.get("seq", "")),
    }
    row.update({key: trade[key] for key in ("mP", "iP", "mIv", "iv") if key in trade})
    return row


def instruments_info(venue: Venue, query: Query) -> Result:
    """``/v5/market/instruments-info``: filtered, paged where the category pages."""
    limit = _limit(query, 1_000, 500)
    symbol, base, status = (query.get(key, "") for key in ("symbol", "baseCoin", "status"))
    if status and status not in _STATUSES:
        raise _invalid(f"status {status[:40]!r} is not one of {', '.join(sorted(_STATUSES))}")
    if venue.category is Category.OPTION and not symbol and not base:
        base = _DEFAULT_OPTION_BASE
    found = [
        instrument
        for instrument in venue.instruments()
        if (not symbol or instrument.symbol == symbol)
        and (base in ("", "All") or instrument.base_coin == base)
        and status in ("", "Trading")
    ]
    if symbol:
        _known(venue, symbol)
    rows = sorted(found, key=lambda instrument: instrument.symbol)
    describe = _DESCRIBE[venue.category]
    result: Result = {"category": venue.category.value, "list": []}
    if venue.category is Category.SPOT:
        result["list"] = [describe(instrument) for instrument in rows]
        return result
    after = _after(query.get("cursor", ""))
    rows = [instrument for instrument in rows if instrument.symbol > after]
    page = rows[:limit]
    result["list"] = [describe(instrument) for instrument in page]
    result["nextPageCursor"] = ""
    if len(rows) > limit:
        result["nextPageCursor"] = quote(f"first={page[0].symbol}&last={page[-1].symbol}", safe="")
    return result


def _after(cursor: str) -> str:
    """Last symbol of the page before; a cursor may come back as given or percent-encoded once more."""
    if not cursor:
        return ""
    last = dict(parse_qsl(unquote(cursor))).get("last")
    if last is None:
        raise _invalid(f"cursor {cursor[:60]!r} is not one of ours")
    return last


def _common(instrument: Instrument) -> Result:
    return {
        "symbol": instrument.symbol,
        "symbolId": zlib.crc32(instrument.symbol.encode()) % 10**6,
        "status": "Trading",
        "baseCoin": instrument.base_coin,
        "quoteCoin": instrument.quote_coin,
        "symbolType": "",
    }


def _spot_row(instrument: Instrument) -> Result:
    return {
        **_common(instrument),
        "innovation": "0",
        "marginTrading": "utaOnly",
        "stTag": "0",
        "xstockMultiplier": "",
        "lotSizeFilter": {
            "basePrecision": instrument.size_step,
            "quotePrecision": "0.0000001",
            "minOrderQty": instrument.size_step,
            "maxOrderQty": "17000000",
            "minOrderAmt": "5",
            "maxOrderAmt": "7999999",
            "maxLimitOrderQty": "17000000",
            "maxMarketOrderQty": "8500000",
            "postOnlyMaxLimitOrderSize": "60000000",
        },
        "priceFilter": {"tickSize": instrument.tick_size},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    }


def _futures_row(instrument: Instrument) -> Result:
    is_dated = "-" in instrument.symbol
    product = "Inverse" if instrument.category is Category.INVERSE else "Linear"
    return {
        **_common(instrument),
        "contractType": product + ("Futures" if is_dated else "Perpetual"),
        "launchTime": str(instrument.launch_ms) if instrument.launch_ms else _LAUNCH_MS,
        "deliveryTime": str(instrument.delivery_ms),
        "deliveryFeeRate": "",
        "priceScale": str(len(instrument.tick_size.partition(".")[2])),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {
            "minPrice": instrument.tick_size,
            "maxPrice": "1999999",
            "tickSize": instrument.tick_size,
        },
        "lotSizeFilter": {
            "qtyStep": instrument.size_step,
            "minOrderQty": instrument.size_step,
            "maxOrderQty": "17000000",
            "maxMktOrderQty": "8500000",
            "postOnlyMaxOrderQty": "17000000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": instrument.settle_coin,
        "copyTrading": "none",
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "displayName": "",
        "forbidUplWithdrawal": False,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "isPreListing": False,
        "preListingInfo": None,
    }


def _option_row(instrument: Instrument) -> Result:
    return {
        **_common(instrument),
        "optionsType": "Put" if "-P" in instrument.symbol else "Call",
        "settleCoin": instrument.settle_coin,
        "launchTime": str(instrument.launch_ms) if instrument.launch_ms else _LAUNCH_MS,
        "deliveryTime": str(instrument.delivery_ms),
        "deliveryFeeRate": "0.00015",
        "displayName": instrument.symbol,
        "priceFilter": {
            "minPrice": instrument.tick_size,
            "maxPrice": "10000000",
            "tickSize": instrument.tick_size,
        },
        "lotSizeFilter": {
            "qtyStep": instrument.size_step,
            "minOrderQty": instrument.size_step,
            "maxOrderQty": "500",
        },
    }


def _spread_row(instrument: Instrument) -> Result:
    return {
        "symbol": instrument.symbol,
        "contractType": "FundingRateArb",
        "status": "Trading",
        "baseCoin": instrument.base_coin,
        "quoteCoin": instrument.quote_coin,
        "settleCoin": instrument.settle_coin,
        "tickSize": instrument.tick_size,
        "minPrice": "-1999999",
        "maxPrice": "1999999",
        "lotSize": instrument.size_step,
        "minSize": instrument.size_step,
        "maxSize": "17000000",
        "launchTime": _LAUNCH_MS,
        "deliveryTime": "0",
        "legs": [
            {"symbol": leg, "contractType": kind}
            for leg, kind in zip(instrument.symbol.split("_", 1), ("LinearPerpetual", "Spot"), strict=False)
        ],
    }


_DESCRIBE: Final[dict[Category, Callable[[Instrument], Result]]] = {
    Category.SPOT: _spot_row,
    Category.LINEAR: _futures_row,
    Category.INVERSE: _futures_row,
    Category.OPTION: _option_row,
    Category.SPREAD: _spread_row,
}

ENDPOINTS: Final[dict[str, Callable[[Venue, Query], Result]]] = {
    "orderbook": order_book,
    "full_orderbook": full_order_book,
    "rpi_orderbook": rpi_order_book,
    "tickers": tickers,
    "recent-trade": recent_trades,
    "instruments-info": instruments_info,
}
"""Endpoints under ``/v5/market/`` that a category answers."""

SPREAD_ENDPOINTS: Final[dict[str, Callable[[Venue, Query], Result]]] = {
    "orderbook": order_book,
    "tickers": tickers,
    "recent-trade": recent_trades,
    "instrument": instruments_info,
}
"""Endpoints under ``/v5/spread/``, which name no category."""
