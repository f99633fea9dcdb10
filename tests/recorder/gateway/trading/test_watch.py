from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from engine.market import Instrument
from engine.venue import TradingVenue, rules_of
from engine.venue.terms import Side
from recorder.gateway.books import FrameInfo
from recorder.gateway.trading.watch import MarketWatch
from schemas.names import Category

D = Decimal
INSTRUMENT = Instrument(Category.LINEAR, "BTCUSDT", "BTC", "USDT", "USDT", "0.10", "0.001")
ORDER = {
    "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "1", "price": "100.0",
}  # fmt: skip


class Source:
    """What a category's exchange knows: the first frames that it was given."""

    def __init__(self, *firsts: bytes) -> None:
        self._firsts = {json.loads(first)["topic"]: first for first in firsts}
        self.pinned: list[str] = []

    def pin(self, topic: str) -> None:
        self.pinned.append(topic)

    def first_frame(self, topic: str, now_ms: int) -> tuple[FrameInfo, bytes] | None:
        first = self._firsts.get(topic)
        return None if first is None else (FrameInfo(topic, 1, "snapshot"), first)


def book(depth: int, kind: str, update_id: int, bids: list[Any], asks: list[Any]) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update_id, "seq": update_id}
    return json.dumps(
        {"topic": f"orderbook.{depth}.BTCUSDT", "type": kind, "ts": 1, "data": data, "cts": 1}
    ).encode()


def trades(*rows: dict[str, Any]) -> bytes:
    full = [{"T": 1, "s": "BTCUSDT", "S": "Sell", "v": "1", "p": "100.0", "i": "x", **row} for row in rows]
    return json.dumps({"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": full}).encode()


def watching(*firsts: bytes) -> tuple[MarketWatch, TradingVenue, Source]:
    venue, source = TradingVenue(), Source(*firsts)
    venue.open_account("1", {"USDT": D(10_000)})
    venue.list_instrument(rules_of(INSTRUMENT))
    watch = MarketWatch(Category.LINEAR, source, venue)  # type: ignore[arg-type]
    watch.follow("BTCUSDT", "BTC", 1)
    return watch, venue, source


def note(watch: MarketWatch, payload: bytes) -> bool:
    return watch.note(FrameInfo(json.loads(payload)["topic"], None, None), payload, 2)


FIRST = book(50, "snapshot", 1, [["99.9", "2"]], [["100.1", "3"]])


def test_it_begins_with_the_present_state_and_follows() -> None:
    watch, venue, source = watching(FIRST)
    market = venue.markets[Category.LINEAR, "BTCUSDT"]
    assert (market.best(Side.BUY), market.best(Side.SELL)) == (D("99.9"), D("100.1"))
    assert note(watch, book(50, "delta", 2, [["99.9", "0"], ["99.8", "1"]], []))
    assert market.best(Side.BUY) == D("99.8")
    assert set(source.pinned) == {"tickers.BTCUSDT", "orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"}


def test_one_depth_is_enough() -> None:
    watch, venue, _ = watching(FIRST)
    market = venue.markets[Category.LINEAR, "BTCUSDT"]
    assert not note(watch, book(200, "snapshot", 1, [["50.0", "1"]], [["60.0", "1"]]))
    assert market.best(Side.BUY) == D("99.9")
    unknown, _, _ = watching()  # nothing to begin with: the first depth that comes is taken
    assert note(unknown, book(200, "snapshot", 1, [["50.0", "1"]], [["60.0", "1"]]))
    assert not note(unknown, FIRST)


def test_other_symbols_and_topics_are_nothing_to_it() -> None:
    watch, _, _ = watching(FIRST)
    for topic in ("orderbook.50.ETHUSDT", "kline.1.BTCUSDT", "publicTrade.ETHUSDT"):
        assert not watch.note(FrameInfo(topic, None, None), b"no matter", 2)


def test_trades_reach_orders_but_those_beside_the_book_do_not() -> None:
    watch, venue, _ = watching(FIRST)
    order = venue.create("1", {**ORDER, "price": "99.9"}, 1)
    assert order.queue_ahead == 2
    assert not note(watch, trades({"p": "99.0", "BT": True}, {"p": "99.0", "RPI": True}))
    assert not note(watch, trades({"p": "x"}, {"v": "NaN"}, {"S": "sell"}))
    assert order.filled == 0
    assert note(watch, trades({"p": "99.9", "v": "2.25"}))
    assert order.filled == D("0.25")


def test_what_it_can_not_read_changes_nothing() -> None:
    watch, _, _ = watching(FIRST)
    for payload in (b"", b"{", b'{"data":5}', b'{"data":[{}]}', b"\xff", b"[" * 9_000):
        assert not watch.note(FrameInfo("publicTrade.BTCUSDT", None, None), payload, 2)
        assert not watch.note(FrameInfo("tickers.BTCUSDT", None, None), payload, 2)
    assert watch.unreadable == 6


def test_a_book_with_a_gap_is_no_book_until_the_next_snapshot() -> None:
    watch, venue, _ = watching(FIRST)
    market = venue.markets[Category.LINEAR, "BTCUSDT"]
    waiting = venue.create("1", {**ORDER, "price": "99.9"}, 1)
    assert not note(watch, book(50, "delta", 5, [["99.9", "9"]], []))
    assert (market.best(Side.SELL), waiting.queue_ahead) == (None, 2)
    taker = venue.create("1", {**ORDER, "price": "100.1", "timeInForce": "IOC"}, 1)
    assert (taker.status, taker.filled) == ("Cancelled", 0)
    assert note(watch, trades({"p": "99.9", "v": "2.5"}))
    assert waiting.filled == D("0.5")
    assert note(watch, book(50, "snapshot", 9, [["99.9", "0.5"]], [["100.1", "3"]]))
    assert market.best(Side.SELL) == D("100.1")


def test_tickers_tell_prices_and_funding() -> None:
    watch, venue, _ = watching(FIRST)
    fields = {
        "symbol": "BTCUSDT", "lastPrice": "100.0", "markPrice": "100.5", "indexPrice": "", "fundingRate": "-0.0001",
        "nextFundingTime": "1760000000000",
    }  # fmt: skip
    frame = {"topic": "tickers.BTCUSDT", "type": "snapshot", "data": fields, "cs": 1, "ts": 1}
    assert note(watch, json.dumps(frame).encode())
    market = venue.markets[Category.LINEAR, "BTCUSDT"]
    assert (market.last, market.mark, market.index) == (D("100.0"), D("100.5"), None)
    assert (market.funding_rate, market.next_funding_ms) == (D("-0.0001"), 1_760_000_000_000)
