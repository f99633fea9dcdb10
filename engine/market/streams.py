"""Push streams of one topic: what is remembered between two frames (protocol sections 3.1, 3.4, 3.5)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Final

from engine.market.fair import OptionValue
from engine.market.flow import OrderFlow, Trade
from engine.market.text import decimal_text, levels_text, ticker_frame, trades_frame
from engine.market.window import WindowStream
from schemas.names import Category
from schemas.tables import FULL_DEPTH

__all__ = [
    "MAX_TRADES_PER_FRAME",
    "MS",
    "TRADE_INTERVAL_NS",
    "BookStream",
    "TickerStream",
    "TradeStream",
    "book_interval_ns",
    "ticker_fields",
    "ticker_interval_ns",
    "trade_record",
]

MS: Final = 10**6
LEVEL_ONE_REPEAT_NS: Final = 3_000 * MS
MAX_TRADES_PER_FRAME: Final = 1_024
TRADE_INTERVAL_NS: Final = 5 * MS
_FUNDING_INTERVAL_NS: Final = 8 * 3_600 * 10**9
_BOOK_INTERVALS_NS: Final = {
    1: 10 * MS,
    25: 20 * MS,
    50: 20 * MS,
    100: 100 * MS,
    200: 100 * MS,
    1000: 200 * MS,
    FULL_DEPTH: 200 * MS,
}


def book_interval_ns(depth: int) -> int:
    """Push interval of ``orderbook.{depth}``."""
    return _BOOK_INTERVALS_NS[depth]


def ticker_interval_ns(category: Category) -> int:
    """Push interval of ``tickers``."""
    return (50 if category is Category.SPOT else 100) * MS


class BookStream(WindowStream[int]):
    """``orderbook.{depth}.{symbol}``: a window of the book, and its difference at each push.

    Args:
        topic: its name.
        depth: levels a side.
        flow: the orders.
        now_ns: when the stream begins. Its update ids lie above those of any earlier stream of the topic, as
            ids grow by one per push at most and begin with the count of push intervals since the epoch, or since
            the last restart.
        restarted_ns: when the push service was last started anew, None for never.
    """

    GONE = 0
    __slots__ = ()

    def __init__(
        self, topic: str, depth: int, flow: OrderFlow, now_ns: int, restarted_ns: int | None = None
    ) -> None:
        interval_ns = book_interval_ns(depth)
        if restarted_ns is None:
            first_id = now_ns // interval_ns % 10**10 + zlib.crc32(topic.encode()) % 10**6 + 2
        else:
            first_id = (now_ns - restarted_ns) // interval_ns + 2
        super().__init__(topic, depth, flow, now_ns, first_id)

    def push(self, now_ns: int) -> tuple[str, bytes] | None:
        """Return (kind, frame) if this push has something to say, else None."""
        pushed = super().push(now_ns)
        return self._repeat(now_ns) if pushed is None and self.depth == 1 else pushed

    def levels(self) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return (bids, asks) as last pushed, best first, as texts."""
        return self._texts(self._bids.items()), self._texts(self._asks.items())

    def _repeat(self, now_ns: int) -> tuple[str, bytes] | None:
        if now_ns - self._pushed_ns < LEVEL_ONE_REPEAT_NS:
            return None
        self._pushed_ns = now_ns
        return "snapshot", self.snapshot(now_ns)

    def _pushed(
        self, now_ns: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]
    ) -> tuple[str, bytes]:
        if self.depth == 1:
            return "snapshot", self.snapshot(now_ns)
        return super()._pushed(now_ns, bids, asks)

    def _window(self) -> tuple[dict[int, int], dict[int, int]]:
        return self._flow.window(self.depth)

    def _texts(self, levels: Iterable[tuple[int, int]]) -> list[tuple[str, str]]:
        listing = self._flow.listing
        return [(listing.price_text(abs(key)), listing.size_text(lots)) for key, lots in levels]

    def _text(self, levels: Iterable[tuple[int, int]]) -> str:
        return levels_text(self._texts(levels))


class TradeStream:
    """``publicTrade``: nothing is remembered, big matches are split."""

    __slots__ = ("_category", "topic")

    def __init__(self, topic: str, category: Category) -> None:
        self.topic = topic
        self._category = category

    def push(self, now_ns: int, trades: Sequence[tuple[OrderFlow, Trade]]) -> list[bytes]:
        """Build the frames that carry these trades, in order."""
        frames = []
        for first in range(0, len(trades), MAX_TRADES_PER_FRAME):
            part = trades[first : first + MAX_TRADES_PER_FRAME]
            rows = [_trade_text(flow, trade) for flow, trade in part]
            frames.append(
                trades_frame(
                    self._category,
                    self.topic,
                    push_ms=now_ns // MS,
                    sequence=part[-1][1].sequence,
                    trades=rows,
                )
            )
        return frames


def _trade_id(flow: OrderFlow, trade: Trade) -> str:
    listing = flow.listing
    if listing.category is Category.SPOT:
        return str(2_290_000_000_000_000_000 + trade.sequence * 10 % 10**17 + trade.number % 10**4)
    name = f"{listing.category.value}/{listing.symbol}/{trade.sequence}/{trade.number}".encode()
    digest = hashlib.blake2b(name, digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"


def trade_record(flow: OrderFlow, trade: Trade) -> dict[str, str | int | bool]:
    """Return a trade under the stream's keys, in the category's key order."""
    listing = flow.listing
    common: dict[str, str | int | bool] = {
        "T": trade.time_ns // MS,
        "s": listing.symbol,
        "S": "Buy" if trade.is_buy else "Sell",
        "v": listing.size_text(trade.lots),
        "p": listing.price_text(trade.ticks),
    }
    identity = _trade_id(flow, trade)
    if listing.category is Category.OPTION:
        value = flow.fair.option(trade.time_ns)
        keys = ("p", "v", "S")
        return {
            "i": identity,
            "T": common["T"],
            **{key: common[key] for key in keys},
            "seq": trade.sequence,
            "s": listing.symbol,
            "BT": False,
            "mP": _rounded(value.price, 2),
            "iP": _rounded(value.underlying, 2),
            "mIv": _rounded(value.volatility, 4),
            "iv": _rounded(value.volatility * 1.01, 4),
        }
    if listing.category is not Category.SPOT:
        common["L"] = trade.tick_direction
    if listing.category is Category.SPREAD:
        return {**common, "i": identity, "seq": trade.sequence}
    return {**common, "i": identity, "BT": False, "RPI": False, "seq": trade.sequence}


def _trade_text(flow: OrderFlow, trade: Trade) -> str:
    return _object_text(trade_record(flow, trade))


def _object_text(record: dict[str, str | int | bool]) -> str:
    # Every text is ASCII of our own making without quotes or backslashes, so writing it out is exact JSON.
    parts = []
    for key, value in record.items():
        if isinstance(value, str):
            parts.append(f'"{key}":"{value}"')
        elif isinstance(value, bool):
            parts.append(f'"{key}":{"true" if value else "false"}')
        else:
            parts.append(f'"{key}":{value}')
    return "{" + ",".join(parts) + "}"


class TickerStream:
    """``tickers.{symbol}``: a snapshot, then changed keys on futures; whole objects elsewhere."""

    __slots__ = ("_flow", "_sent", "sequence", "topic")

    def __init__(self, topic: str, flow: OrderFlow, now_ns: int) -> None:
        self.topic = topic
        self._flow = flow
        self._sent = ticker_fields(flow, now_ns)
        self.sequence = flow.sequence

    def push(self, now_ns: int) -> tuple[str, bytes] | None:
        """Return (kind, frame) if anything changed since the last push, else None."""
        fields = ticker_fields(self._flow, now_ns)
        sent = self._sent
        changed = {key: value for key, value in fields.items() if sent[key] != value}
        if not changed:
            return None
        self._sent = fields
        self.sequence = self._flow.sequence
        if self._flow.listing.is_padded:
            return "delta", self._frame("delta", now_ns, {"symbol": fields["symbol"], **changed})
        return "snapshot", self._frame("snapshot", now_ns, fields)

    def snapshot(self, now_ns: int) -> bytes:
        """Return the merged state as last pushed."""
        return self._frame("snapshot", now_ns, self._sent)

    def _frame(self, kind: str, now_ns: int, fields: dict[str, str]) -> bytes:
        return ticker_frame(
            self._flow.listing.category,
            self.topic,
            kind=kind,
            push_ms=now_ns // MS,
            cross_sequence=self.sequence,
            data=_object_text(dict(fields)),
        )


def _rounded(value: float, decimals: int) -> str:
    return decimal_text(round(value * 10**decimals), decimals, padded=False)


def ticker_fields(flow: OrderFlow, now_ns: int) -> dict[str, str]:
    """Return the whole ticker of a symbol in the category's key order; texts, ``""`` where absent."""
    listing = flow.listing
    if listing.category is Category.OPTION:
        return _option_fields(flow, now_ns)
    if listing.category is Category.SPREAD:
        return _spread_fields(flow)
    statistics = flow.statistics
    volume = listing.size_text(statistics.volume)
    turnover = decimal_text(
        statistics.turnover * listing.tick,
        listing.price_decimals + listing.size_decimals,
        padded=listing.is_padded,
    )
    change = _rounded((statistics.last - statistics.previous_day) / statistics.previous_day, 6)
    if listing.category is Category.SPOT:
        return {
            "symbol": listing.symbol,
            "lastPrice": listing.price_text(statistics.last),
            "highPrice24h": listing.price_text(statistics.high),
            "lowPrice24h": listing.price_text(statistics.low),
            "prevPrice24h": listing.price_text(statistics.previous_day),
            "volume24h": volume,
            "turnover24h": turnover,
            "price24hPcnt": change,
            "usdIndexPrice": _rounded(flow.fair.index(now_ns), listing.price_decimals + 4),
        }
    if listing.category is Category.INVERSE:
        turnover = _rounded(statistics.volume / flow.fair.index(now_ns), 8)
    # Mark and index move on their own clock, once a second.
    second_ns = now_ns - now_ns % 10**9
    index = flow.fair.index(second_ns)
    mark_ticks = round(index * 0.99999 / listing.tick_value)
    open_text = listing.size_text(statistics.open_lots)
    open_value = _open_value(flow, index)
    funding_ms = (now_ns // _FUNDING_INTERVAL_NS + 1) * _FUNDING_INTERVAL_NS // MS
    bid, ask = _best(flow)
    return {
        "symbol": listing.symbol,
        "tickDirection": statistics.tick_direction,
        "price24hPcnt": change,
        "lastPrice": listing.price_text(statistics.last),
        "prevPrice24h": listing.price_text(statistics.previous_day),
        "highPrice24h": listing.price_text(statistics.high),
        "lowPrice24h": listing.price_text(statistics.low),
        "prevPrice1h": listing.price_text(statistics.previous_hour),
        "markPrice": listing.price_text(mark_ticks),
        "indexPrice": decimal_text(
            round(index * 10**listing.price_decimals), listing.price_decimals, padded=True
        ),
        "openInterest": open_text,
        "openInterestValue": decimal_text(open_value, 2, padded=True),
        "singleOpenInterest": listing.size_text(statistics.open_lots // 2),
        "singleOpenInterestValue": decimal_text(open_value // 2, 2, padded=True),
        "turnover24h": turnover,
        "volume24h": volume,
        "fundingIntervalHour": "8",
        "fundingCap": "0.005",
        "nextFundingTime": str(funding_ms),
        "fundingRate": "0.0001",
        "bid1Price": bid[0],
        "bid1Size": bid[1],
        "ask1Price": ask[0],
        "ask1Size": ask[1],
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def _open_value(flow: OrderFlow, index: float) -> int:
    """Open interest value in hundredths: USD on linear, base coin on inverse."""
    statistics, listing = flow.statistics, flow.listing
    if listing.category is Category.INVERSE:
        return round(statistics.open_lots / index * 100)
    return round(statistics.open_lots / 10.0**listing.size_decimals * index * 100)


def _best(flow: OrderFlow) -> tuple[tuple[str, str], tuple[str, str]]:
    listing = flow.listing
    sides = []
    for side in (flow.bids, flow.asks):
        if side:
            key, lots = side.peekitem(0)
            sides.append((listing.price_text(abs(key)), listing.size_text(lots)))
        else:
            sides.append(("0", "0"))
    return sides[0], sides[1]


def _spread_fields(flow: OrderFlow) -> dict[str, str]:
    listing, statistics = flow.listing, flow.statistics
    # A side that nobody quotes is empty, and no price is 0: 0 is a price like any other here.
    bid, ask = [
        best if side else ("", "") for best, side in zip(_best(flow), (flow.bids, flow.asks), strict=True)
    ]
    return {
        "symbol": listing.symbol,
        "bidPrice": bid[0],
        "bidSize": bid[1],
        "askPrice": ask[0],
        "askSize": ask[1],
        "lastPrice": listing.price_text(statistics.last),
        "highPrice24h": listing.price_text(statistics.high),
        "lowPrice24h": listing.price_text(statistics.low),
        "prevPrice24h": listing.price_text(statistics.previous_day),
        "volume24h": listing.size_text(statistics.volume),
    }


def _option_fields(flow: OrderFlow, now_ns: int) -> dict[str, str]:
    listing, statistics = flow.listing, flow.statistics
    value: OptionValue = flow.fair.option(now_ns - now_ns % 10**9)
    bid, ask = _best(flow)
    volatility = _rounded(value.volatility, 4)
    has_traded = flow.trades_total > 0
    volume = listing.size_text(sum(trade.lots for trade in flow.recent))
    return {
        "symbol": listing.symbol,
        "bidPrice": bid[0],
        "bidSize": bid[1],
        "bidIv": _rounded(value.volatility * 0.98, 4) if bid[0] != "0" else "0",
        "askPrice": ask[0],
        "askSize": ask[1],
        "askIv": _rounded(value.volatility * 1.02, 4) if ask[0] != "0" else "0",
        "lastPrice": listing.price_text(statistics.last) if has_traded else "0",
        "highPrice24h": listing.price_text(statistics.high) if has_traded else "0",
        "lowPrice24h": listing.price_text(statistics.low) if has_traded else "0",
        "markPrice": _rounded(value.price, 8),
        "indexPrice": _rounded(value.underlying, 2),
        "markPriceIv": volatility,
        "underlyingPrice": _rounded(value.underlying * 1.0002, 2),
        "openInterest": listing.size_text(statistics.open_lots),
        "turnover24h": _rounded(
            sum(trade.lots for trade in flow.recent) / 10**listing.size_decimals * value.underlying, 4
        ),
        "volume24h": volume,
        "totalVolume": listing.size_text(statistics.volume),
        "totalTurnover": _rounded(statistics.volume / 10**listing.size_decimals * listing.level, 0),
        "delta": _rounded(value.delta, 8),
        "gamma": _rounded(value.gamma, 8),
        "vega": _rounded(value.vega, 8),
        "theta": _rounded(value.theta, 8),
        "predictedDeliveryPrice": "0",
        "change24h": _rounded((statistics.last - statistics.previous_day) / statistics.previous_day, 8)
        if has_traded
        else "0",
    }
