"""The markets that somebody trades in: what the gateway publishes about them is told to the venue as well."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from engine.market import BOOK_DEPTHS
from engine.venue import Side, TradingVenue
from engine.venue.holdings import GREEKS
from engine.venue.rules import decimal_of
from recorder.gateway.books import Feeds, FrameInfo
from recorder.gateway.venue import Venue
from schemas.names import Category

__all__ = ["MarketWatch"]

_PREFERRED: Final = (50, 25, 200, 100, 1000, 1)
"""Depths of books that orders trade against, the best first."""


class _Trade(msgspec.Struct):
    s: str
    S: str
    p: str
    v: str
    BT: bool = False
    RPI: bool = False


class _Trades(msgspec.Struct):
    data: list[_Trade]


_TRADES = msgspec.json.Decoder(_Trades)


class MarketWatch:
    """One category's watch.

    Args:
        source: what the category's exchange knows.
        venue: who is told.
    """

    def __init__(self, category: Category, source: Venue, venue: TradingVenue) -> None:
        self.category = category
        self._source = source
        self._venue = venue
        self._feeds = Feeds(category)
        self._symbols: set[str] = set()
        self._books: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        self.unreadable = 0

    def __repr__(self) -> str:
        return f"<MarketWatch {self.category}: {', '.join(sorted(self._symbols))}>"

    def follow(self, symbol: str, base_coin: str, now_ms: int) -> None:
        """Begin to watch a symbol, from its present state on."""
        if symbol in self._symbols:
            return
        self._symbols.add(symbol)
        trades = f"publicTrade.{base_coin if self.category is Category.OPTION else symbol}"
        depths = [depth for depth in _PREFERRED if depth in BOOK_DEPTHS[self.category]]
        topics = [f"tickers.{symbol}", *(f"orderbook.{depth}.{symbol}" for depth in depths), trades]
        for topic in topics:
            self._wanted[topic] = symbol
            if topic.startswith("orderbook.") and symbol in self._books:
                continue
            self._source.pin(topic)
            first = self._source.first_frame(topic, now_ms)
            if first is not None:
                self.note(*first, now_ms)

    def note(self, info: FrameInfo, payload: bytes, now_ms: int) -> bool:
        """Take a frame that is published; returns whether the venue was told anything."""
        symbol = self._wanted.get(info.topic)
        if symbol is None:
            return False
        if info.topic.startswith("orderbook."):
            return self._note_book(info.topic, symbol, payload, now_ms)
        if info.topic.startswith("tickers."):
            return self._note_ticker(info.topic, symbol, payload, now_ms)
        return self._note_trades(payload, now_ms)

    def _note_book(self, topic: str, symbol: str, payload: bytes, now_ms: int) -> bool:
        chosen = self._books.setdefault(symbol, topic)
        if topic != chosen:
            return False
        self._feeds.apply(topic, payload)
        view = self._feeds.view(topic)
        if view is None:  # a message is missing
            self._venue.on_book_lost(self.category, symbol)
            return False
        bids, asks = (
            [(Decimal(price), Decimal(size)) for price, size in side] for side in (view.bids, view.asks)
        )
        self._venue.on_book(self.category, symbol, bids, asks, now_ms)
        return True

    def _note_ticker(self, topic: str, symbol: str, payload: bytes, now_ms: int) -> bool:
        self._feeds.apply(topic, payload)
        fields = self._feeds.ticker(symbol)
        if fields is None:
            return False
        due = fields.get("nextFundingTime", "")
        self._venue.on_prices(
            self.category,
            symbol,
            now_ms,
            last=decimal_of(fields.get("lastPrice")),
            mark=decimal_of(fields.get("markPrice")),
            index=decimal_of(fields.get("indexPrice", fields.get("usdIndexPrice"))),
            funding_rate=decimal_of(fields.get("fundingRate")),
            next_funding_ms=int(due) if due.isascii() and due.isdecimal() and len(due) < 15 else 0,
            greeks={name: value for name in GREEKS if (value := decimal_of(fields.get(name))) is not None},
        )
        return True

    def _note_trades(self, payload: bytes, now_ms: int) -> bool:
        try:
            trades = _TRADES.decode(payload).data
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation):
            self.unreadable += 1
            return False
        told = False
        for trade in trades:
            price, size = decimal_of(trade.p), decimal_of(trade.v)
            # Block trades never met the book, RPI trades met orders that it does not show.
            if trade.BT or trade.RPI or price is None or size is None or trade.S not in ("Buy", "Sell"):
                continue
            if trade.s in self._symbols:
                self._venue.on_trade(self.category, trade.s, Side(trade.S), price, size, now_ms)
                told = True
        return told
