import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit import rest
from schemas.errors import DecimalError, ExchangeError, Rejected
from schemas.names import Category


def body(result: object, code: int = 0, words: str = "OK") -> bytes:
    return json.dumps({"retCode": code, "retMsg": words, "result": result, "time": 1}).encode()


def test_requests() -> None:
    assert rest.time_request().target == "/v5/market/time"
    assert rest.instruments_request(Category.SPOT).target == "/v5/market/instruments-info?category=spot"
    assert (
        rest.instruments_request(Category.LINEAR, symbol="A/B", cursor="first%3D1%26x&y=1\n").target
        == "/v5/market/instruments-info?category=linear&symbol=A%2FB&limit=1000&cursor=first%3D1%26x%26y=1%0A"
    )
    assert (
        rest.instruments_request(Category.OPTION, base_coin="All").target
        == "/v5/market/instruments-info?category=option&baseCoin=All&limit=1000"
    )
    assert rest.tickers_request(Category.OPTION, base_coin="BTC").target.endswith(
        "category=option&baseCoin=BTC"
    )


@pytest.mark.parametrize(
    ("category", "depth", "limit"),
    [
        (Category.OPTION, 50, 25),
        (Category.SPOT, 5_000, 1_000),
        (Category.LINEAR, 50, 50),
        (Category.LINEAR, 0, 1),
    ],
)
def test_depth_is_cut_to_what_the_category_allows(category: Category, depth: int, limit: int) -> None:
    assert rest.order_book_request(category, "X", depth).target.endswith(f"symbol=X&limit={limit}")


@pytest.mark.parametrize(("category", "limit"), [(Category.SPOT, 60), (Category.LINEAR, 1_000)])
def test_trades_limit(category: Category, limit: int) -> None:
    assert rest.recent_trades_request(category, symbol="X").target.endswith(f"limit={limit}")


@pytest.mark.parametrize(
    ("step", "exponent"),
    [("0.01", -2), ("0.50", -2), ("1", 0), ("1000", 0), ("0.000000000000000001", -18), ("10.0", -1)],
)
def test_exponent_counts_decimals_as_written(step: str, exponent: int) -> None:
    assert rest.exponent_of(step) == exponent


@pytest.mark.parametrize(
    "step", ["", "-0.1", "1e-5", ".5", "1.", "0,1", "NaN", "\u0661", "0." + "0" * 18 + "1", "1" * 50, "1\n"]
)
def test_exponent_of_anything_else_is_refused(step: str) -> None:
    with pytest.raises(DecimalError):
        rest.exponent_of(step)


def test_instruments_of_contracts_and_spot() -> None:
    contract = {
        "symbol": "BTCUSDT",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "contractType": "LinearPerpetual",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "priceFilter": {"minPrice": "0.10", "tickSize": "0.10"},
        "lotSizeFilter": {"qtyStep": "0.001"},
        "surprise": [1, {"x": None}],
    }
    spot = {
        "symbol": "BTCUSDT",
        "status": "Trading",
        "baseCoin": "BTC",
        "quoteCoin": "USDT",
        "priceFilter": {"tickSize": "0.01"},
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.0000001"},
    }
    page = rest.parse_instruments(
        body({"list": [contract, spot, 7, {"symbol": 7}], "nextPageCursor": "c%3D"})
    )
    assert page.next_cursor == "c%3D"
    assert page.malformed == 2
    first, second = page.instruments
    assert (first.price_exponent, first.size_exponent) == (-2, -3)
    assert (first.launch_time_ms, first.delivery_time_ms) == (1585526400000, None)
    assert (first.settle_coin, first.contract_type) == ("USDT", "LinearPerpetual")
    assert (second.price_exponent, second.size_exponent, second.launch_time_ms) == (-2, -6, None)
    assert (second.tick_size, second.quantity_step) == ("0.01", "0.000001")


def test_an_instrument_without_steps_is_read_and_only_its_exponents_are_refused() -> None:
    (instrument,) = rest.parse_instruments(body({"list": [{"symbol": "X"}]})).instruments
    with pytest.raises(DecimalError):
        _ = instrument.price_exponent


def test_order_book() -> None:
    book = rest.parse_order_book(
        body({"s": "X", "b": [["1.0", "2"]], "a": [], "ts": 5, "u": 7, "seq": 8, "cts": 4})
    )
    assert book == rest.RestBook("X", (("1.0", "2"),), (), 7, 8, 5, 4)


def test_time_and_tickers() -> None:
    assert (
        rest.parse_time(body({"timeSecond": "1", "timeNano": "1700000000000000001"})) == 1700000000000000001
    )
    assert rest.parse_tickers(body({"list": [{"symbol": "X", "bid1Price": ""}, 3]})) == [
        {"symbol": "X", "bid1Price": ""}
    ]


def test_trades() -> None:
    row = {"execId": "i", "symbol": "X", "price": "1.0", "size": "2", "side": "Buy", "time": "5"}
    full = {**row, "isBlockTrade": False, "isRPITrade": True, "seq": "9"}
    trades = rest.parse_trades(body({"list": [full, row, {**row, "time": "soon"}, {"execId": "x"}]}))
    assert trades == [
        rest.RestTrade("i", "X", "1.0", "2", "Buy", 5, False, True, 9),
        rest.RestTrade("i", "X", "1.0", "2", "Buy", 5, None, None, None),
    ]


PARSERS = [
    rest.parse_time,
    rest.parse_instruments,
    rest.parse_order_book,
    rest.parse_tickers,
    rest.parse_trades,
]


@pytest.mark.parametrize("parse", PARSERS)
def test_envelope_error_is_the_exchanges_own_word(parse) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Rejected, match=r"params error: Symbol Invalid \(code 10001\)"):
        parse(body({}, 10001, "params error: Symbol Invalid"))


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "reply",
    [b"", b"<html>", b"[]", b"{}", b'{"retCode":"0"}', body([1]), b'{"retCode":0,"result":' + b"[" * 99_999],
)
def test_other_replies_are_refused(parse, reply: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ExchangeError) as refusal:
        parse(reply)
    assert len(str(refusal.value)) < 800


@pytest.mark.parametrize("nanoseconds", ["", "x", "-1", "1" * 20])
def test_a_time_that_is_no_time_is_refused(nanoseconds: str) -> None:
    with pytest.raises(ExchangeError, match="timeNano"):
        rest.parse_time(body({"timeNano": nanoseconds}))


def test_a_cursor_of_absurd_length_is_refused() -> None:
    with pytest.raises(ExchangeError, match="nextPageCursor"):
        rest.parse_instruments(body({"list": [], "nextPageCursor": "c" * 5_000}))


@given(st.sampled_from(PARSERS), st.binary(max_size=100))
def test_any_bytes_parse_or_are_refused(parse, reply: bytes) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ExchangeError):
        parse(reply)


def test_spreads_have_paths_of_their_own_and_no_category() -> None:
    symbol = "SOLUSDT_SOL/USDT"
    assert (
        rest.instruments_request(Category.SPREAD, status="Trading").target
        == "/v5/spread/instrument?limit=500"
    )
    assert rest.order_book_request(Category.SPREAD, symbol, 50).target == (
        "/v5/spread/orderbook?symbol=SOLUSDT_SOL%2FUSDT&limit=25"
    )
    assert rest.tickers_request(Category.SPREAD, symbol=symbol).target == (
        "/v5/spread/tickers?symbol=SOLUSDT_SOL%2FUSDT"
    )
    assert rest.recent_trades_request(Category.SPREAD, symbol=symbol, limit=9).target == (
        "/v5/spread/recent-trade?symbol=SOLUSDT_SOL%2FUSDT&limit=9"
    )
    assert rest.instruments_path(Category.SPREAD) == "/v5/spread/instrument"
    row = b'{"symbol":"SOLUSDT_SOL/USDT","tickSize":"0.0001","minPrice":"-1999.9998","lotSize":"0.1"}'
    page = rest.parse_instruments(b'{"retCode":0,"result":{"list":[' + row + b'],"nextPageCursor":""}}')
    (instrument,) = page.instruments
    assert (instrument.price_exponent, instrument.size_exponent) == (-4, -1)
