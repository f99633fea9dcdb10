"""REST histories: windows, requests, answers."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.histories import (
    DAY_MS,
    HOUR_MS,
    INTERVALS,
    LAST_MS,
    MINUTE_MS,
    OPEN_INTEREST_INTERVALS,
    History,
    Window,
    is_history,
    read_page,
    window_request,
    windows,
)
from schemas.errors import ConfigError, ExchangeError, Rejected
from schemas.names import Category, Table

START_MS = 1_760_000_000_000
CANDLES = [History.MARK, History.INDEX, History.PREMIUM, History.KLINES]


def body(rows: list[Any], code: int = 0, **result: Any) -> bytes:
    return json.dumps(
        {"retCode": code, "retMsg": "no", "result": {"list": rows, **result}, "time": 1}
    ).encode()


@given(
    st.sampled_from([history for history in History if history is not History.DELIVERY]),
    st.sampled_from(list(OPEN_INTEREST_INTERVALS)),
    st.integers(0, 2 * START_MS),
    st.integers(1, 3000 * HOUR_MS),
)
def test_windows_cover_the_span_touch_and_hold_one_answer(
    history: History, interval: str, from_ms: int, length_ms: int
) -> None:
    found = list(windows(history, Category.LINEAR, "X", interval, from_ms, from_ms + length_ms))
    assert found[0].from_ms <= from_ms
    assert found[-1].to_ms >= from_ms + length_ms
    assert all(left.to_ms == right.from_ms for left, right in pairwise(found))
    request = dict(window_request(Category.LINEAR, found[0]).query)
    step_ms = HOUR_MS if history is History.FUNDING else INTERVALS[interval]
    assert found[0].to_ms - found[0].from_ms == int(request["limit"]) * step_ms
    # the same windows whatever the span: what was fetched can be told by them
    later = list(
        windows(history, Category.LINEAR, "X", interval, from_ms + length_ms // 2, from_ms + length_ms)
    )
    assert later == found[-len(later) :]


def test_weeks_begin_on_mondays() -> None:
    (window, *_) = windows(History.KLINES, Category.SPOT, "X", "W", START_MS, START_MS + 1)
    monday_ms = 1_760_313_600_000  # 2025-10-13
    assert (monday_ms - window.from_ms) % (7 * DAY_MS) == 0


def test_what_is_asked() -> None:
    window = Window(History.FUNDING, "A/B", "", 0, 100)
    assert (
        window_request(Category.LINEAR, window).target
        == "/v5/market/funding/history?category=linear&symbol=A%2FB&startTime=0&endTime=99&limit=200"
    )
    window = Window(History.MARK, "X", "60", 5, 100)
    assert (
        window_request(Category.OPTION, window).target
        == "/v5/market/mark-price-kline?category=option&symbol=X&interval=60&start=5&end=99&limit=500"
    )
    window = Window(History.OPEN_INTEREST, "X", "D", 5, 100)
    assert (
        window_request(Category.LINEAR, window, "a%3D&b").target
        == "/v5/market/open-interest?category=linear&symbol=X&intervalTime=1d&startTime=5&endTime=99&limit=200"
        "&cursor=a%3D%26b"
    )
    (window,) = windows(History.DELIVERY, Category.OPTION, "X", "60", 5, 100)
    assert window == Window(History.DELIVERY, "X", "", 0, LAST_MS)
    assert (
        window_request(Category.OPTION, window).target
        == "/v5/market/delivery-price?category=option&symbol=X&limit=200"
    )


@pytest.mark.parametrize(
    ("history", "category", "interval", "words"),
    [
        (
            History.FUNDING,
            Category.SPOT,
            "60",
            "funding of spot: the exchange has it for inverse, linear only",
        ),
        (History.PREMIUM, Category.INVERSE, "60", "for linear only"),
        (History.MARK, Category.LINEAR, "M", "interval 'M' of mark: expected one of 1, 3"),
        (History.OPEN_INTEREST, Category.LINEAR, "1", "expected one of 5, 15, 30, 60, 240, D"),
    ],
)
def test_what_the_exchange_does_not_have(
    history: History, category: Category, interval: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        next(windows(history, category, "X", interval, 0, 1))


def test_fundings() -> None:
    rows = [
        {"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": "200"},
        {"symbol": "BTCUSDT", "fundingRate": "", "fundingRateTimestamp": "100"},
        {"symbol": "BTCUSDT", "fundingRate": "1", "fundingRateTimestamp": "soon"},
        7,
    ]
    page = read_page("/v5/market/funding/history?category=linear&symbol=BTCUSDT", body(rows))
    assert page.table is Table.FUNDING_HISTORY
    assert page.rows == [
        ("BTCUSDT", {"funding_time": 100, "funding_rate": None}),
        ("BTCUSDT", {"funding_time": 200, "funding_rate": Decimal("0.0001")}),
    ]
    assert page.malformed == 2


def test_candles_keep_their_kind_and_interval() -> None:
    path = "/v5/market/mark-price-kline?category=linear&symbol=X&interval=5"
    page = read_page(path, body([["200", "1", "3", "0.5", "2"], ["100", "1", "1"]], symbol="X"))
    assert page.rows == [
        ("X", {"kind": "mark", "interval": "5", "start_time": 200, "open_price": Decimal(1), "high_price": Decimal(3),
               "low_price": Decimal("0.5"), "close_price": Decimal(2), "volume": None, "turnover": None}),
    ]  # fmt: skip
    assert page.malformed == 1
    path = "/v5/market/kline?category=spot&symbol=X&interval=D"
    (row,) = read_page(path, body([["200", "1", "3", "0.5", "2", "7", "8.5"]])).rows
    assert (row[1]["kind"], row[1]["volume"], row[1]["turnover"]) == ("trade", Decimal(7), Decimal("8.5"))


def test_open_interest_and_deliveries() -> None:
    path = "/v5/market/open-interest?category=linear&symbol=X&intervalTime=1h"
    page = read_page(
        path, body([{"openInterest": "2", "singleOpenInterest": "1", "timestamp": "5"}], nextPageCursor="c")
    )
    assert page.rows == [
        ("X", {"interval": "1h", "time": 5, "open_interest": Decimal(2), "single_open_interest": Decimal(1)})
    ]
    assert page.cursor == "c"
    path = "/v5/market/delivery-price?category=option&baseCoin=BTC"
    page = read_page(path, body([{"symbol": "BTC-1-C", "deliveryPrice": "9.5", "deliveryTime": "5"}]))
    assert page.rows == [("BTC-1-C", {"delivery_time": 5, "delivery_price": Decimal("9.5")})]


@pytest.mark.parametrize("value", ["NaN", "1e400", "9" * 21, "0." + "1" * 19, 5, None, "", "-"])
def test_a_value_that_is_no_decimal_is_null(value: object) -> None:
    rows = [{"symbol": "X", "fundingRate": value, "fundingRateTimestamp": "1"}]
    page = read_page("/v5/market/funding/history?symbol=X", body(rows))
    assert page.rows == [("X", {"funding_time": 1, "funding_rate": None})]


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{", b'{"retCode":0,"result":{"list":5}}', b'{"retCode":"x"}', b"[" * 9999]
)
def test_what_is_no_answer(answer: bytes) -> None:
    with pytest.raises(ExchangeError):
        read_page("/v5/market/funding/history?symbol=X", answer)


def test_a_refusal_and_other_endpoints() -> None:
    with pytest.raises(Rejected, match="code 10001"):
        read_page("/v5/market/kline?symbol=X", body([], 10001))
    assert is_history("/v5/market/kline?a=b")
    assert not is_history("/v5/market/orderbook?symbol=X")
    with pytest.raises(ExchangeError, match="no history"):
        read_page("/v5/market/orderbook", body([]))
    assert MINUTE_MS == 60_000
