"""REST results: shapes, limits, paging, refusals (protocol sections 6.1 and 6.2)."""

from __future__ import annotations

from typing import Any

import pytest

from engine.market import Market
from recorder.gateway.books import Feeds
from recorder.gateway.rest import ENDPOINTS, RestError, server_time
from recorder.gateway.sources import Survey
from recorder.gateway.venue import MarketVenue, ReplayVenue, Venue
from schemas.names import Category

START_NS = 1_760_000_000_000_000_000


def venue(category: Category, count: int = 4, seconds: int = 5) -> MarketVenue:
    market = Market(3, category, start_ns=START_NS, symbol_count=count)
    market.advance(START_NS + seconds * 10**9)
    return MarketVenue(category, lambda: market)


def ask(asked: Venue, endpoint: str, **query: str) -> dict[str, Any]:
    return ENDPOINTS[endpoint](asked, query)


def test_server_time() -> None:
    assert server_time(1_760_000_000_123_456_789) == {
        "timeSecond": "1760000000",
        "timeNano": "1760000000123456789",
    }


@pytest.mark.parametrize(
    ("category", "symbol", "default", "highest"),
    [
        (Category.SPOT, "BTCUSDT", 1, 1_000),
        (Category.LINEAR, "BTCUSDT", 25, 1_000),
        (Category.INVERSE, "BTCUSD", 25, 1_000),
        (Category.OPTION, "", 1, 25),
    ],
)
def test_order_book(category: Category, symbol: str, default: int, highest: int) -> None:
    asked = venue(category)
    symbol = symbol or asked.instruments()[0].symbol
    result = ask(asked, "orderbook", symbol=symbol)
    assert list(result) == ["s", "b", "a", "ts", "u", "seq", "cts"]
    assert (result["s"], len(result["b"]), len(result["a"])) == (symbol, default, default)
    deepest = ask(asked, "orderbook", symbol=symbol, limit=str(highest))
    assert deepest["a"][:default] == result["a"]
    assert len(deepest["a"]) > default
    depth = 100 if category is Category.OPTION else 1_000
    streamed = asked.first_frame(f"orderbook.{depth}.{symbol}", 0)
    assert streamed is not None
    assert streamed[0].update_id == result["u"]
    for bad in (str(highest + 1), "0", "-1", "x", "1.5", "\u0665", "9" * 400):
        with pytest.raises(RestError) as refusal:
            ask(asked, "orderbook", symbol=symbol, limit=bad)
        assert refusal.value.code == 10001


@pytest.mark.parametrize("endpoint", ["orderbook", "tickers", "recent-trade", "instruments-info"])
def test_unknown_symbols_are_refused(endpoint: str) -> None:
    for symbol in ("NOPEUSDT", "btcusdt"):
        with pytest.raises(RestError, match="symbol invalid") as refusal:
            ask(venue(Category.LINEAR), endpoint, symbol=symbol)
        assert refusal.value.code == 10001


@pytest.mark.parametrize("endpoint", ["orderbook", "recent-trade"])
def test_a_symbol_is_required(endpoint: str) -> None:
    with pytest.raises(RestError, match="symbol is required"):
        ask(venue(Category.LINEAR), endpoint)


def test_pages() -> None:
    asked = venue(Category.LINEAR, count=7, seconds=0)
    symbols: list[str] = []
    cursor, pages = "", 0
    while True:
        result = ask(asked, "instruments-info", limit="3", cursor=cursor)
        symbols += [row["symbol"] for row in result["list"]]
        pages += 1
        cursor = result["nextPageCursor"]
        if not cursor:
            break
        assert "%" in cursor
        assert "&" not in cursor
    assert pages == 3
    assert sorted(i.symbol for i in asked.instruments()) == symbols
    with pytest.raises(RestError, match="cursor"):
        ask(asked, "instruments-info", cursor="made up")


def test_spot_neither_pages_nor_limits() -> None:
    result = ask(venue(Category.SPOT, count=7, seconds=0), "instruments-info", limit="3")
    assert len(result["list"]) == 7
    assert "nextPageCursor" not in result
    row = result["list"][0]
    assert row["priceFilter"] == {"tickSize": row["priceFilter"]["tickSize"]}
    assert row["lotSizeFilter"]["basePrecision"]


def test_instruments_of_futures() -> None:
    rows = ask(venue(Category.INVERSE), "instruments-info", symbol="BTCUSD")["list"]
    assert [row["symbol"] for row in rows] == ["BTCUSD"]
    row = rows[0]
    assert (row["contractType"], row["settleCoin"], row["status"]) == ("InversePerpetual", "BTC", "Trading")
    assert (row["priceFilter"]["tickSize"], row["priceScale"]) == ("0.10", "2")
    assert (row["lotSizeFilter"]["qtyStep"], row["fundingInterval"]) == ("1", 480)


def test_instruments_of_options_default_to_bitcoin() -> None:
    asked = venue(Category.OPTION, count=6, seconds=0)
    assert {row["baseCoin"] for row in ask(asked, "instruments-info")["list"]} == {"BTC"}
    assert {row["baseCoin"] for row in ask(asked, "instruments-info", baseCoin="ETH")["list"]} == {"ETH"}
    everything = ask(asked, "instruments-info", baseCoin="All")["list"]
    assert len(everything) == 6
    assert {row["optionsType"] for row in everything} == {"Call", "Put"}


def test_instruments_by_status() -> None:
    asked = venue(Category.LINEAR)
    assert len(ask(asked, "instruments-info", status="Trading")["list"]) == 4
    assert ask(asked, "instruments-info", status="PreLaunch")["list"] == []
    with pytest.raises(RestError, match="status"):
        ask(asked, "instruments-info", status="Sleeping")


def test_tickers() -> None:
    linear = ask(venue(Category.LINEAR), "tickers")
    assert len(linear["list"]) == 4
    row = linear["list"][0]
    assert row["symbol"] == "BTCUSDT"
    assert (row["deliveryTime"], row["basis"]) == ("0", "")
    assert all(isinstance(value, str) for value in row.values())
    spot = ask(venue(Category.SPOT), "tickers", symbol="ETHUSDT")["list"]
    assert len(spot) == 1
    assert float(spot[0]["bid1Price"]) < float(spot[0]["ask1Price"])
    assert "usdIndexPrice" in spot[0]


def test_tickers_of_options_have_their_own_names() -> None:
    asked = venue(Category.OPTION)
    with pytest.raises(RestError, match="symbol or baseCoin"):
        ask(asked, "tickers")
    rows = ask(asked, "tickers", baseCoin="BTC")["list"]
    assert len(rows) == 3
    assert {"bid1Iv", "markIv", "ask1Size"} <= set(rows[0])
    assert not {"bidIv", "markPriceIv"} & set(rows[0])
    assert rows[0]["markIv"]


def test_recent_trades() -> None:
    linear = venue(Category.LINEAR, seconds=30)
    rows = ask(linear, "recent-trade", symbol="BTCUSDT", limit="100")["list"]
    assert len(rows) == 100
    assert [int(row["time"]) for row in rows] == sorted((int(row["time"]) for row in rows), reverse=True)
    assert set(rows[0]) == {
        *("execId", "symbol", "price", "size", "side", "time", "isBlockTrade", "isRPITrade", "seq"),
    }
    assert isinstance(rows[0]["seq"], str)
    spot = venue(Category.SPOT, seconds=30)
    assert len(ask(spot, "recent-trade", symbol="BTCUSDT")["list"]) == 60
    with pytest.raises(RestError, match="limit"):
        ask(spot, "recent-trade", symbol="BTCUSDT", limit="61")


def test_recent_trades_of_an_option_coin() -> None:
    rows = ask(venue(Category.OPTION, seconds=60), "recent-trade", baseCoin="BTC")["list"]
    assert len({row["symbol"] for row in rows}) > 1
    assert "mIv" in rows[0]
    assert [row["time"] for row in rows] == sorted((row["time"] for row in rows), reverse=True)


def test_a_replay_has_no_book_before_its_first_snapshot() -> None:
    market = Market(3, Category.LINEAR, start_ns=START_NS)
    survey = Survey(START_NS, {i.symbol: i for i in market.instruments}, is_complete=True)
    feeds = Feeds(Category.LINEAR)
    asked = ReplayVenue(Category.LINEAR, feeds, survey)
    with pytest.raises(RestError, match="no order book") as refusal:
        ask(asked, "orderbook", symbol="BTCUSDT")
    assert refusal.value.code == 10016
    assert ask(asked, "tickers", symbol="BTCUSDT")["list"] == []
    for depth in (1, 200, 50):
        frame = market.follow(f"orderbook.{depth}.BTCUSDT")
        assert frame is not None
        feeds.apply(frame.topic, frame.payload)
        if depth == 200:
            deepest = frame.update_id
    result = ask(asked, "orderbook", symbol="BTCUSDT", limit="1000")
    assert (len(result["b"]), result["u"]) == (200, deepest)


def test_full_order_book() -> None:
    asked = venue(Category.SPOT)
    result = ask(asked, "full_orderbook", symbol="BTCUSDT")
    assert list(result) == ["s", "b", "a", "ts", "u", "seq", "cts"]
    assert min(len(result["b"]), len(result["a"])) > 1_000
    with pytest.raises(RestError, match="symbol is required"):
        ask(asked, "full_orderbook")
    with pytest.raises(RestError, match="category is not one of"):
        ask(venue(Category.OPTION), "full_orderbook", symbol="X")
    replayed = ReplayVenue(Category.SPOT, Feeds(Category.SPOT), _survey_of("BTCUSDT"))
    with pytest.raises(RestError, match="no order book"):
        ask(replayed, "full_orderbook", symbol="BTCUSDT")


def test_answers_about_the_full_book_lag_by_turns() -> None:
    market = Market(3, Category.SPOT, start_ns=START_NS)
    market.follow("orderbook.full.BTCUSDT")
    market.advance(START_NS + 5 * 10**9)
    asked = MarketVenue(Category.SPOT, lambda: market, full_lag=2)
    ids = [ask(asked, "full_orderbook", symbol="BTCUSDT")["u"] for _ in range(6)]
    newest = max(ids)
    assert ids == [newest - 2, newest - 1, newest] * 2


def test_rpi_order_book() -> None:
    asked = venue(Category.LINEAR)
    result = ask(asked, "rpi_orderbook", symbol="BTCUSDT", limit="50")
    assert {len(level) for level in result["b"] + result["a"]} == {3}
    streamed = asked.first_frame("orderbook.rpi.BTCUSDT", 0)
    assert streamed is not None
    assert streamed[0].update_id == result["u"]
    assert ask(asked, "rpi_orderbook", symbol="BTCUSDT", limit="2")["b"] == result["b"][:2]
    for limit in ("51", "0", ""):
        with pytest.raises(RestError, match="limit"):
            ask(asked, "rpi_orderbook", symbol="BTCUSDT", limit=limit)


def _survey_of(symbol: str) -> Survey:
    instrument = next(i for i in venue(Category.SPOT).instruments() if i.symbol == symbol)
    return Survey(START_NS, {symbol: instrument}, is_complete=True)
