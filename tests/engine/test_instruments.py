"""Rows of `instruments` from answers and notes: what is new, what changed, what is gone."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.instruments import InstrumentLog, is_instruments, read_instrument
from schemas.instruments import INSTRUMENT_FIELDS
from schemas.notes import Gone, Instruments, RestAnswer
from schemas.tables import SCHEMAS, Table

PATH = "/v5/market/instruments-info?category=linear&limit=1000"
PERPETUAL: dict[str, Any] = {  # protocol section 6.2
    "symbol": "BTCUSDT",
    "symbolId": 41,
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "symbolType": "",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "deliveryFeeRate": "",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
    "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
    "lotSizeFilter": {
        "maxOrderQty": "1190.000",
        "minOrderQty": "0.001",
        "qtyStep": "0.001",
        "postOnlyMaxOrderQty": "1190.000",
        "maxMktOrderQty": "500.000",
        "minNotionalValue": "5",
    },
    "unifiedMarginTrade": True,
    "fundingInterval": 480,
    "settleCoin": "USDT",
    "copyTrading": "both",
    "upperFundingRate": "0.00375",
    "lowerFundingRate": "-0.00375",
    "isPreListing": False,
    "preListingInfo": None,
    "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    "displayName": "",
    "forbidUplWithdrawal": False,
}


def answer(*rows: Any, path: str = PATH, code: int = 0) -> RestAnswer:
    body = {"retCode": code, "retMsg": "", "result": {"list": rows, "nextPageCursor": ""}, "time": 1}
    return RestAnswer(path=path, body=json.dumps(body))


def fresh() -> InstrumentLog:
    log = InstrumentLog()
    assert log.note(Instruments(known={}), 0, 0) == []
    return log


def test_every_field_has_its_column() -> None:
    row = read_instrument(PERPETUAL)
    filled = {name: value for name, value in row.items() if value is not None}
    assert filled == {
        "symbol_id": 41, "status": "Trading", "base_coin": "BTC", "quote_coin": "USDT", "settle_coin": "USDT",
        "contract_type": "LinearPerpetual", "launch_time": 1585526400000, "tick_size": Decimal("0.10"),
        "minimum_price": Decimal("0.10"), "maximum_price": Decimal("1999999.80"), "price_scale": 2,
        "quantity_step": Decimal("0.001"), "minimum_order_quantity": Decimal("0.001"),
        "maximum_order_quantity": Decimal(1190), "maximum_market_order_quantity": Decimal(500),
        "maximum_post_only_order_quantity": Decimal(1190), "minimum_notional_value": Decimal(5),
        "minimum_leverage": Decimal(1), "maximum_leverage": Decimal(100), "leverage_step": Decimal("0.01"),
        "price_limit_ratio_x": Decimal("0.01"), "price_limit_ratio_y": Decimal("0.02"), "funding_interval_minutes": 480,
        "upper_funding_rate": Decimal("0.00375"), "lower_funding_rate": Decimal("-0.00375"),
        "unified_margin_trade": True, "copy_trading": "both", "forbid_upl_withdrawal": False, "is_pre_listing": False,
    }  # fmt: skip
    columns = SCHEMAS[Table.INSTRUMENTS].names
    assert [*columns[:5], *(field.column for field in INSTRUMENT_FIELDS)] == columns
    assert len(set(columns)) == len(columns)


def test_pre_market_contracts_tell_their_phase_and_keep_the_rest_as_sent() -> None:
    info = {"curAuctionPhase": "CallAuction", "phases": [{"phase": "CallAuction", "startTime": "1"}]}
    row = read_instrument(PERPETUAL | {"preListingInfo": info})
    assert row["auction_phase"] == "CallAuction"
    assert json.loads(row["pre_listing_info"]) == info


@pytest.mark.parametrize("value", ["1e5", "NaN", "1" * 21, "0." + "1" * 19, " 1", "٣", 1.5, True, [], {}])
def test_what_is_no_such_value_is_null(value: Any) -> None:
    raw = PERPETUAL | {
        "priceFilter": {"tickSize": value},
        "priceScale": value,
        "status": [value],
        "launchTime": value,
    }
    row = read_instrument(raw)
    assert row["tick_size"] is row["status"] is None
    assert row["price_scale"] is None


def test_rows_when_first_seen_when_changed_and_when_gone() -> None:
    log = fresh()
    other = PERPETUAL | {"symbol": "ETHUSDT"}
    first = log.answer(answer(PERPETUAL, other), 10, 1)
    assert [(row["symbol"], row["kind"], row["sequence"], row["receive_time"]) for row in first] == [
        ("BTCUSDT", "listed", 1, 10),
        ("ETHUSDT", "listed", 1, 10),
    ]
    assert log.answer(answer(PERPETUAL, other), 20, 2) == []
    # keys that nobody has documented yet change nothing
    assert log.answer(answer(PERPETUAL | {"newKey": 1}), 30, 3) == []
    (changed,) = log.answer(answer(PERPETUAL | {"priceFilter": {"tickSize": "0.01"}}, other), 40, 4)
    assert (changed["symbol"], changed["kind"], changed["tick_size"]) == (
        "BTCUSDT",
        "changed",
        Decimal("0.01"),
    )
    (gone,) = log.note(Gone(symbols=["ETHUSDT", "NEVERSEEN"]), 50, 5)
    assert (gone["symbol"], gone["kind"], gone["status"]) == ("ETHUSDT", "gone", None)
    (again,) = log.answer(answer(other), 60, 6)
    assert again["kind"] == "listed"
    # and back to what it was before it changed
    (back,) = log.answer(answer(PERPETUAL, other), 70, 7)
    assert (back["kind"], back["tick_size"]) == ("changed", Decimal("0.10"))


def test_a_checkpoint_carries_on_where_the_other_was() -> None:
    log = fresh()
    log.answer(answer(PERPETUAL), 10, 1)
    after = InstrumentLog()
    after.note(log.checkpoint(), 0, 0)
    assert after.answer(answer(PERPETUAL), 20, 2) == []
    assert [row["kind"] for row in after.answer(answer(PERPETUAL | {"status": "Delivering"}), 20, 2)] == [
        "changed"
    ]


def test_without_a_note_nothing_is_kept() -> None:
    assert InstrumentLog().answer(answer(PERPETUAL), 10, 1) == []
    assert InstrumentLog().note(Gone(symbols=["BTCUSDT"]), 10, 1) == []


def test_other_answers_and_refusals_make_no_rows() -> None:
    log = fresh()
    assert is_instruments(PATH)
    assert not is_instruments("/v5/market/instruments-info-x?category=linear")
    assert log.answer(answer(PERPETUAL, path="/v5/market/tickers?category=linear"), 10, 1) == []
    assert log.answer(answer(PERPETUAL, code=10001), 10, 1) == []
    assert log.answer(RestAnswer(path=PATH, body="<html>"), 10, 1) == []
    assert log.answer(answer(5, {}, {"symbol": 7}, {"symbol": ""}, {"symbol": "A" * 129}), 10, 1) == []
    assert log.malformed == 5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted({key for field in INSTRUMENT_FIELDS for key in field.path}))


@given(st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=3)))
def test_hostile_rows_are_taken_and_say_the_same_twice(raw: dict[str, Any]) -> None:
    log = fresh()
    said = answer(raw | {"symbol": "A"})
    (row,) = log.answer(said, 1, 1)
    assert row["kind"] == "listed"
    assert log.answer(said, 2, 2) == []


def test_spreads_have_their_steps_at_the_top() -> None:
    row = read_instrument(
        {
            "symbol": "SOLUSDT_SOL/USDT",
            "tickSize": "0.0001",
            "minPrice": "-1999.9",
            "lotSize": "0.1",
            "minSize": "0.1",
        }
    )
    assert (row["tick_size"], row["minimum_price"]) == (Decimal("0.0001"), Decimal("-1999.9"))
    assert (row["quantity_step"], row["minimum_order_quantity"]) == (Decimal("0.1"), Decimal("0.1"))
    assert row["maximum_price"] is None
