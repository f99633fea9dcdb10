"""The simulated market: repeatable, self-consistent, and in the exchange's own spelling."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from engine.market import BOOK_DEPTHS, Market, MarketFrame
from engine.market.listing import default_symbols, listing, split_symbol
from engine.market.streams import MAX_TRADES_PER_FRAME, TradeStream
from engine.market.text import decimal_text
from schemas.errors import ConfigError
from schemas.names import Category

START_NS = 1_760_000_000_123_456_789
MS = 10**6
SECOND = 10**9


def trades_topic(market: Market, index: int = 0) -> str:
    instrument = market.instruments[index]
    return "publicTrade." + (
        instrument.base_coin if market.category is Category.OPTION else instrument.symbol
    )


def run(market: Market, seconds: float, step_ms: int = 50) -> list[MarketFrame]:
    frames: list[MarketFrame] = []
    end_ns = market.now_ns + int(seconds * SECOND)
    while market.now_ns < end_ns:
        frames += market.advance(min(end_ns, market.now_ns + step_ms * MS))
    return frames


def all_topics(market: Market) -> list[str]:
    topics = [
        f"orderbook.{depth}.{instrument.symbol}"
        for instrument in market.instruments
        for depth in BOOK_DEPTHS[market.category]
    ]
    topics += [f"tickers.{instrument.symbol}" for instrument in market.instruments]
    return topics + list(
        dict.fromkeys(trades_topic(market, index) for index in range(len(market.instruments)))
    )


def follow_all(market: Market) -> list[MarketFrame]:
    return [frame for frame in map(market.follow, all_topics(market)) if frame is not None]


@pytest.mark.parametrize("category", Category)
def test_same_seed_same_frames_in_any_steps(category: Category) -> None:
    runs = []
    for step_ms in (7, 1_000):
        market = Market(5, category, start_ns=START_NS)
        runs.append(follow_all(market) + run(market, 2, step_ms))
    assert len(runs[0]) > 30
    assert runs[0] == runs[1]
    other = Market(6, category, start_ns=START_NS)
    assert follow_all(other) + run(other, 2) != runs[0]


def test_a_topic_is_the_same_whatever_else_is_followed() -> None:
    alone = Market(5, Category.LINEAR, start_ns=START_NS)
    together = Market(5, Category.LINEAR, start_ns=START_NS)
    topic = "orderbook.50.ETHUSDT"
    first = alone.follow(topic)
    assert first in follow_all(together)
    mine = run(alone, 2)
    assert {frame.topic for frame in mine} == {topic}
    assert mine == [frame for frame in run(together, 2) if frame.topic == topic]


@pytest.mark.parametrize("category", Category)
def test_books_add_up(category: Category) -> None:
    market = Market(11, category, start_ns=START_NS)
    books: dict[str, dict[str, dict[float, str]]] = {}
    last: dict[str, dict[str, Any]] = {}
    at_sequence: dict[tuple[str, int], dict[int, Any]] = {}
    agreements = 0
    for frame in follow_all(market) + run(market, 4):
        if not frame.topic.startswith("orderbook."):
            continue
        message = json.loads(frame.payload)
        data = message["data"]
        depth = int(frame.topic.split(".")[1])
        assert message["ts"] == frame.time_ns // MS
        assert message["cts"] <= message["ts"]
        assert data["u"] == frame.update_id
        if message["type"] == "snapshot":
            books[frame.topic] = {side: {float(p): s for p, s in data[side]} for side in "ba"}
        else:
            assert depth != 1
            assert data["u"] == last[frame.topic]["u"] + 1
            assert data["seq"] > last[frame.topic]["seq"]
            for side in "ba":
                prices = [float(p) for p, _ in data[side]]
                assert prices == sorted(prices, reverse=side == "b")
                for price, size in data[side]:
                    if size == "0":
                        del books[frame.topic][side][float(price)]
                    else:
                        books[frame.topic][side][float(price)] = size
        last[frame.topic] = data
        book = books[frame.topic]
        assert len(book["b"]) <= depth
        assert len(book["a"]) <= depth
        if book["b"] and book["a"]:
            assert max(book["b"]) < min(book["a"])
        shared = at_sequence.setdefault((data["s"], data["seq"]), {})
        shared[depth] = (sorted(book["b"], reverse=True), sorted(book["a"]))
        smallest = min(shared)
        bids, asks = shared[smallest]
        for other_bids, other_asks in shared.values():
            assert other_bids[: len(bids)] == bids
            assert other_asks[: len(asks)] == asks
        agreements += len(shared) - 1
    assert agreements > 10 or len(BOOK_DEPTHS[category]) == 1


def test_full_depth_stays_full_and_close() -> None:
    market = Market(3, Category.LINEAR, ["BTCUSDT"], start_ns=START_NS)
    run(market, 60, 1_000)
    book = market.book("BTCUSDT")
    assert book is not None
    assert (len(book.bids), len(book.asks)) == (1_000, 1_000)
    best_bid, best_ask = float(book.bids[0][0]), float(book.asks[0][0])
    assert 0 < best_ask - best_bid < 0.001 * best_bid
    assert float(book.asks[49][0]) < 1.01 * best_ask


TS_THEN_TYPE = r'"ts":\d{13},"type":"snapshot"'
TYPE_THEN_TS = r'"type":"snapshot","ts":\d{13}'
BOOK_SHAPES = {
    (Category.SPOT, 50): TS_THEN_TYPE,
    (Category.LINEAR, 1): TS_THEN_TYPE,
    (Category.LINEAR, 200): TYPE_THEN_TS,
    (Category.INVERSE, 1000): TYPE_THEN_TS,
    (Category.OPTION, 25): TS_THEN_TYPE + r',"id":"[^"]+-\d+-\d{13}"',
}


@pytest.mark.parametrize(("category", "depth"), BOOK_SHAPES)
def test_book_key_order(category: Category, depth: int) -> None:
    market = Market(1, category, symbol_count=1, start_ns=START_NS)
    first = market.follow(f"orderbook.{depth}.{market.instruments[0].symbol}")
    assert first is not None
    head = r'\{"topic":"[^"]+",' + BOOK_SHAPES[category, depth]
    tail = r',"data":\{"s":"[^"]+","b":\[.*\],"a":\[.*\],"u":\d+,"seq":\d+\},"cts":\d{13}\}'
    assert re.fullmatch(head + tail, first.payload.decode())


def test_ticker_shapes() -> None:
    spot = Market(1, Category.SPOT, symbol_count=1, start_ns=START_NS).follow("tickers.BTCUSDT")
    assert spot is not None
    assert re.match(
        r'\{"topic":"tickers.BTCUSDT","ts":\d{13},"type":"snapshot","cs":\d+,"data":\{"symbol":',
        spot.payload.decode(),
    )
    assert list(json.loads(spot.payload)["data"])[1:3] == ["lastPrice", "highPrice24h"]
    option = Market(1, Category.OPTION, symbol_count=1, start_ns=START_NS)
    frame = option.follow("tickers." + option.instruments[0].symbol)
    assert frame is not None
    assert list(json.loads(frame.payload)) == ["id", "topic", "ts", "data", "type"]


def test_linear_ticker_deltas_carry_changed_keys_only() -> None:
    market = Market(1, Category.LINEAR, symbol_count=1, start_ns=START_NS)
    first = market.follow("tickers.BTCUSDT")
    assert first is not None
    state = json.loads(first.payload)["data"]
    assert '"preOpenPrice":"","preQty":"","curPreListingPhase":""},"cs":' in first.payload.decode()
    deltas = 0
    for frame in run(market, 3):
        message = json.loads(frame.payload)
        assert list(message) == ["topic", "type", "data", "cs", "ts"]
        assert message["type"] == "delta"
        changed = message["data"]
        assert changed.pop("symbol") == "BTCUSDT"
        assert changed
        assert all(state[key] != value for key, value in changed.items())
        state.update(changed)
        deltas += 1
    assert deltas > 20
    again = market.follow("tickers.BTCUSDT")
    assert again is not None
    assert json.loads(again.payload)["data"] == state


def test_number_texts() -> None:
    assert decimal_text(6_180_940, 2, padded=True) == "61809.40"
    assert decimal_text(8_380_500, 2, padded=False) == "83805"
    assert decimal_text(5, 3, padded=True) == "0.005"
    assert decimal_text(-5, 3, padded=False) == "-0.005"
    linear = listing(Category.LINEAR, "BTCUSDT")
    assert (linear.price_text(618_094), linear.size_text(4_350), linear.size_text(0)) == (
        "61809.40",
        "4.350",
        "0",
    )
    spot = listing(Category.SPOT, "BTCUSDT")
    assert (spot.price_text(8_380_500), spot.size_text(1_500_000)) == ("83805", "1.5")
    assert listing(Category.INVERSE, "BTCUSD").size_text(4_350) == "4350"


@pytest.mark.parametrize("category", Category)
def test_every_price_and_size_is_on_its_step(category: Category) -> None:
    market = Market(2, category, symbol_count=6, start_ns=START_NS)
    run(market, 1)
    for instrument in market.instruments:
        book = market.book(instrument.symbol)
        assert book is not None
        for price, size in book.bids + book.asks:
            ratios = float(price) / float(instrument.tick_size), float(size) / float(instrument.size_step)
            assert all(ratio == pytest.approx(round(ratio)) for ratio in ratios)
            assert round(ratios[1]) > 0
            assert round(ratios[0]) > 0 or category is Category.SPREAD
            if category in (Category.LINEAR, Category.INVERSE):
                assert len(price.split(".")[1]) == len(instrument.tick_size.split(".")[1])
            if category is Category.INVERSE:
                assert "." not in size


def test_level_one_repeats_after_three_quiet_seconds() -> None:
    market = Market(1, Category.LINEAR, ["BTCUSDT"], start_ns=START_NS, rate=0.001)
    first = market.follow("orderbook.1.BTCUSDT")
    assert first is not None
    frames = run(market, 10, 10)
    assert 3 <= len(frames) <= 30
    repeats = 0
    for before, after in itertools.pairwise([first, *frames]):
        old, new = json.loads(before.payload), json.loads(after.payload)
        if old["data"] == new["data"]:
            repeats += 1
            assert after.time_ns - before.time_ns >= 3 * SECOND - 10 * MS
            assert new["cts"] == old["cts"]
        else:
            assert new["data"]["u"] == old["data"]["u"] + 1
    assert repeats >= 2


def test_update_ids_go_on_when_a_topic_is_followed_again() -> None:
    market = Market(1, Category.LINEAR, ["BTCUSDT"], start_ns=START_NS)
    market.follow("orderbook.50.BTCUSDT")
    last = run(market, 2)[-1]
    market.unfollow("orderbook.50.BTCUSDT")
    assert run(market, 1) == []
    again = market.follow("orderbook.50.BTCUSDT")
    assert again is not None
    assert again.update_id is not None
    assert last.update_id is not None
    assert again.update_id > last.update_id


@pytest.mark.parametrize("category", Category)
def test_trades(category: Category) -> None:
    market = Market(4, category, start_ns=START_NS, rate=2)
    topic = trades_topic(market)
    assert market.follow(topic) is None
    frames = run(market, 10)
    seen: set[str] = set()
    symbols: set[str] = set()
    for frame in frames:
        message = json.loads(frame.payload)
        assert (message["topic"], message["type"]) == (topic, "snapshot")
        assert ("id" in message) == (category is Category.OPTION)
        times = [trade["T"] for trade in message["data"]]
        assert times == sorted(times)
        for trade in message["data"]:
            assert trade["T"] <= message["ts"]
            assert trade["i"] not in seen
            assert ("L" in trade) == (category in (Category.LINEAR, Category.INVERSE, Category.SPREAD))
            assert ("mIv" in trade) == (category is Category.OPTION)
            assert trade["i"].isdigit() == (category is Category.SPOT)
            seen.add(trade["i"])
            symbols.add(trade["s"])
    assert len(seen) > 5
    assert (len(symbols) > 1) == (category is Category.OPTION)
    recent = market.recent_trades(market.instruments[0].symbol)
    assert recent
    assert {str(trade["i"]) for trade in recent} <= seen
    assert [trade["T"] for trade in recent] == sorted((trade["T"] for trade in recent), reverse=True)


def test_big_matches_are_split() -> None:
    market = Market(4, Category.LINEAR, ["BTCUSDT"], start_ns=START_NS)
    run(market, 5)
    flow = market._flows["BTCUSDT"]
    fill = (flow, flow.recent[0])
    frames = TradeStream("publicTrade.BTCUSDT", Category.LINEAR).push(
        START_NS, [fill] * (MAX_TRADES_PER_FRAME + 1)
    )
    assert [len(json.loads(frame)["data"]) for frame in frames] == [MAX_TRADES_PER_FRAME, 1]


def test_options_can_be_one_sided() -> None:
    market = Market(4, Category.OPTION, start_ns=START_NS)
    books = [market.book(instrument.symbol) for instrument in market.instruments]
    assert any(book is not None and not book.bids and book.asks for book in books)
    assert any(book is not None and book.bids and book.asks for book in books)


def test_default_symbols() -> None:
    assert default_symbols(Category.LINEAR, 3, START_NS) == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert default_symbols(Category.INVERSE, 1, START_NS) == ("BTCUSD",)
    assert default_symbols(Category.SPOT, 12, START_NS)[-1] == "SIM002USDT"
    options = default_symbols(Category.OPTION, 40, START_NS)
    assert len(set(options)) == 40
    assert re.fullmatch(r"BTC-\d{1,2}[A-Z]{3}\d\d-\d+-C-USDT", options[0])


@pytest.mark.parametrize(
    ("category", "symbol", "coins"),
    [
        (Category.LINEAR, "BTCUSDT", ("BTC", "USDT", "USDT")),
        (Category.LINEAR, "BTCUSDT-21FEB25", ("BTC", "USDT", "USDT")),
        (Category.LINEAR, "BTCPERP", ("BTC", "USDC", "USDC")),
        (Category.LINEAR, "BTC-24MAR23", ("BTC", "USDC", "USDC")),
        (Category.INVERSE, "BTCUSD", ("BTC", "USD", "BTC")),
        (Category.INVERSE, "BTCUSDH23", ("BTC", "USD", "BTC")),
        (Category.OPTION, "ETH-28FEB25-2800-C", ("ETH", "USD", "USDC")),
        (Category.OPTION, "BTC-13FEB25-89000-P-USDT", ("BTC", "USDT", "USDT")),
        (Category.SPOT, "ETHUSDC", ("ETH", "USDC", "USDC")),
    ],
)
def test_split_symbol(category: Category, symbol: str, coins: tuple[str, str, str]) -> None:
    assert split_symbol(category, symbol) == coins


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="upper-case"):
        Market(1, Category.LINEAR, ["btcusdt"], start_ns=START_NS)
    with pytest.raises(ConfigError, match="BTC-26DEC25-60000-C-USDT"):
        Market(1, Category.OPTION, ["BTCUSDT"], start_ns=START_NS)
    with pytest.raises(ConfigError, match="symbol count 0"):
        Market(1, Category.LINEAR, symbol_count=0, start_ns=START_NS)
    with pytest.raises(ConfigError, match="rate 0"):
        Market(1, Category.LINEAR, start_ns=START_NS, rate=0)
    market = Market(1, Category.LINEAR, symbol_count=1, start_ns=START_NS)
    for topic in (
        "orderbook.25.BTCUSDT",
        "orderbook.50.NOPE",
        "tickers.btcusdt",
        "kline.2.BTCUSDT",
        "insurance.BTCUSDT",
        "publicTrade.BTC",
        "",
    ):
        assert not market.has_topic(topic)
        with pytest.raises(ConfigError, match="not one of this market's"):
            market.follow(topic)


def test_followed_names_what_costs_time() -> None:
    market = Market(1, Category.SPOT, symbol_count=2, start_ns=START_NS)
    follow_all(market)
    assert market.followed == frozenset(all_topics(market))
    for topic in all_topics(market):
        market.unfollow(topic)
    assert market.followed == frozenset()
    assert run(market, 1) == []
