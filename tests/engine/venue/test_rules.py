from __future__ import annotations

from decimal import Decimal

import pytest

from engine.market import Market
from engine.venue import Side, rules_of
from engine.venue.rules import decimal_of, plain, settled
from recorder.gateway.books import Feeds
from recorder.gateway.rest import instruments_info
from recorder.gateway.sources import Survey
from recorder.gateway.venue import ReplayVenue
from schemas.names import Category

D = Decimal
START_NS = 1_760_000_000_000_000_000


@pytest.mark.parametrize("category", [Category.SPOT, Category.LINEAR, Category.INVERSE, Category.OPTION])
def test_orders_are_held_against_what_instruments_info_tells(category: Category) -> None:
    for instrument in Market(1, category, start_ns=START_NS).instruments:
        venue = ReplayVenue(category, Feeds(category), Survey(0, {instrument.symbol: instrument}, True))
        (told,) = instruments_info(venue, {"symbol": instrument.symbol})["list"]
        rules = rules_of(instrument)
        lots, prices = told["lotSizeFilter"], told["priceFilter"]
        assert rules.tick_size == D(prices["tickSize"])
        if category is Category.SPOT:
            assert rules.quantity_step == D(lots["basePrecision"])
            assert rules.minimum_notional == D(lots["minOrderAmt"])
            assert (rules.maximum_limit, rules.maximum_market) == (
                D(lots["maxLimitOrderQty"]),
                D(lots["maxMarketOrderQty"]),
            )
            continue
        assert (rules.minimum_price, rules.maximum_price) == (D(prices["minPrice"]), D(prices["maxPrice"]))
        assert (rules.quantity_step, rules.minimum_quantity) == (D(lots["qtyStep"]), D(lots["minOrderQty"]))
        assert rules.maximum_limit == D(lots["maxOrderQty"])
        if category is not Category.OPTION:
            assert rules.maximum_market == D(lots["maxMktOrderQty"])
            assert rules.minimum_notional == D(lots["minNotionalValue"])
            assert rules.maximum_leverage == D(told["leverageFilter"]["maxLeverage"])


def test_spreads_are_not_traded() -> None:
    (instrument, *_) = Market(1, Category.SPREAD, start_ns=START_NS).instruments
    with pytest.raises(ValueError, match="not traded"):
        rules_of(instrument)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1e999",
        "NaN",
        "Infinity",
        "1_000",
        "1" * 33,
        "1" * 16,
        "1e16",
        "0." + "0" * 20 + "1",
        "0e99",
        "\uff11",
        1,
        None,
        True,
    ],
)
def test_what_is_no_number(text: object) -> None:
    assert decimal_of(text) is None


def test_texts() -> None:
    assert plain(D("1E-12")) == "0.000000000001"
    assert [plain(D(t)) for t in ("1.500", "100", "0.000", "-0", "1E+3", "-0.10")] == [
        "1.5", "100", "0", "0", "1000", "-0.1",
    ]  # fmt: skip
    assert settled(D(2) / 3) == D("0.666666666667")
    assert settled(D(10**15) + D("1e-12")) == D("1000000000000000.000000000001")


def test_the_band_lies_on_the_tick() -> None:
    rules = rules_of(Market(1, Category.LINEAR, start_ns=START_NS).instruments[0])
    assert rules.band(D("60000.13"), Side.BUY) == D("63000.10")
    assert rules.band(D("60000.13"), Side.SELL) == D("57000.10")
    assert rules.band(D("0.1"), Side.SELL) == rules.minimum_price


def test_the_package_gives_what_it_says_it_has() -> None:
    import engine.venue

    for name in engine.venue.__all__:
        assert getattr(engine.venue, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        engine.venue.nothing  # type: ignore[attr-defined]  # noqa: B018
