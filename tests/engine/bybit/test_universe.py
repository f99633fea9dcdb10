from decimal import Decimal
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.rest import Instrument
from engine.bybit.rules import parse_selection
from engine.bybit.universe import Changes, choose, follow, gone_because, matches
from schemas.names import Category

LINEAR, OPTION = Category.LINEAR, Category.OPTION
DAY_MS = 86_400_000
NOW_MS = 1_795_600_000_000  # 2026-11-25


def contract(
    symbol: str,
    *,
    contract_type: str = "LinearPerpetual",
    settle: str = "USDT",
    base: str = "",
    status: str = "Trading",
    delivery_ms: int | None = None,
) -> Instrument:
    return Instrument(
        symbol=symbol,
        status=status,
        base_coin=base or symbol.removesuffix("USDT"),
        quote_coin=settle,
        settle_coin=settle,
        contract_type=contract_type,
        tick_size="0.1",
        quantity_step="0.1",
        launch_time_ms=None,
        delivery_time_ms=delivery_ms,
    )


MARKET = [
    contract("BTCUSDT"),
    contract("ETHUSDT"),
    contract("SOLUSDT"),
    contract("XRPUSDT"),
    contract("BTCPERP", settle="USDC", base="BTC"),
    contract("BTC-25DEC26", contract_type="LinearFutures", base="BTC", delivery_ms=NOW_MS + 30 * DAY_MS),
    contract("NEWUSDT", status="PreLaunch"),
]
TICKERS = {
    "BTCUSDT": {"turnover24h": "9000000000.123456789012345678", "volume24h": "1"},
    "ETHUSDT": {"turnover24h": "5000000.000000000000000001", "volume24h": "7"},
    "SOLUSDT": {"turnover24h": "5000000", "volume24h": "9"},
    "XRPUSDT": {"turnover24h": "", "volume24h": "3"},
    "BTCPERP": {"turnover24h": "7000000", "volume24h": "2"},
}


def chosen(text: str, tickers: dict[str, dict[str, str]] = TICKERS) -> tuple[str, ...]:
    return choose(LINEAR, parse_selection(text, LINEAR), MARKET, tickers, NOW_MS).symbols


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("all", "BTC-25DEC26 BTCPERP BTCUSDT ETHUSDT SOLUSDT XRPUSDT"),
        ("USDT perpetuals", "BTCUSDT ETHUSDT SOLUSDT XRPUSDT"),
        ("USDC perpetuals", "BTCPERP"),
        ("base BTC", "BTC-25DEC26 BTCPERP BTCUSDT"),
        ("futures", "BTC-25DEC26"),
        ("futures expiring 25DEC26", "BTC-25DEC26"),
        ("futures expiring within 29 days", ""),
        ("futures expiring within 30 days", "BTC-25DEC26"),
        ("futures expiring before 25DEC26", ""),
        ("perpetuals status PreLaunch", "NEWUSDT"),
        ("BTC*", "BTC-25DEC26 BTCPERP BTCUSDT"),
        ("SOLUSDT, BTC*, SOLUSDT", "SOLUSDT BTC-25DEC26 BTCPERP BTCUSDT"),
        ("USDT perpetuals except ETHUSDT, X*", "BTCUSDT SOLUSDT"),
        # exact decimals: a float could not tell the third from 5e6
        ("USDT perpetuals with turnover24h > 5e6", "BTCUSDT ETHUSDT"),
        ("USDT perpetuals with turnover24h >= 5e6", "BTCUSDT ETHUSDT SOLUSDT"),
        ("perpetuals with turnover24h > 5e6 and volume24h > 1", "BTCPERP ETHUSDT"),
        ("perpetuals top 2", "BTCUSDT BTCPERP"),
        ("perpetuals top 2 by volume24h", "SOLUSDT ETHUSDT"),
        ("linear USDT perpetuals with turnover24h > 5e6, top 1", "BTCUSDT"),
    ],
)
def test_choice(text: str, symbols: str) -> None:
    assert chosen(text) == tuple(symbols.split())


def test_equals_are_ranked_by_name() -> None:
    tickers = {i.symbol: {"turnover24h": "1"} for i in MARKET}
    assert chosen("USDT perpetuals top 2", tickers) == ("BTCUSDT", "ETHUSDT")


def test_the_choice_is_explained() -> None:
    text = "USDT perpetuals with volume24h > 0 top 2"
    choice = choose(LINEAR, parse_selection(text, LINEAR), MARKET, TICKERS, NOW_MS)
    (verdict,) = choice.verdicts
    assert [step.left for step in verdict.steps] == [4, 4, 2]
    assert verdict.cut == (("SOLUSDT", "turnover24h 5000000"),)
    assert verdict.without_ticker == 1  # XRPUSDT, whose turnover is empty
    assert str(verdict) == (
        "USDT perpetuals with volume24h > 0 top 2: 7 listed, 4 are USDT perpetuals, 4 with volume24h > 0, "
        "2 in the top 2 by turnover24h; cut by top: SOLUSDT (turnover24h 5000000); 1 had no such number in their ticker"
    )


def test_unlisted_symbols_are_told_and_kept() -> None:
    choice = choose(LINEAR, parse_selection("NOPE, BTCUSDT", LINEAR), MARKET, {}, NOW_MS)
    assert choice.symbols == ("NOPE", "BTCUSDT")
    assert choice.unlisted == ("NOPE",)


def test_options_by_base_coin_side_and_expiry() -> None:
    market = [
        contract("BTC-25DEC26-100000-C-USDT", base="BTC", contract_type="", delivery_ms=NOW_MS + 30 * DAY_MS),
        contract("BTC-25DEC26-100000-P-USDT", base="BTC", contract_type="", delivery_ms=NOW_MS + 30 * DAY_MS),
        contract("XRP-30OCT27-0.4-P-USDT", base="XRP", contract_type="", delivery_ms=NOW_MS + 300 * DAY_MS),
    ]

    def options(text: str) -> tuple[str, ...]:
        return choose(OPTION, parse_selection(text, OPTION), market, {}, NOW_MS).symbols

    assert options("BTC options") == ("BTC-25DEC26-100000-C-USDT", "BTC-25DEC26-100000-P-USDT")
    assert options("BTC calls") == ("BTC-25DEC26-100000-C-USDT",)
    assert options("puts expiring within 60 days") == ("BTC-25DEC26-100000-P-USDT",)
    assert options("USDT options expiring 2026-12-25 except *-P-*") == ("BTC-25DEC26-100000-C-USDT",)


def changes(text: str, recorded: list[str], market: list[Instrument], now_ms: int = NOW_MS) -> Changes:
    return follow(LINEAR, parse_selection(text, LINEAR), recorded, market, TICKERS, now_ms)[1]


def test_a_symbol_stays_while_it_trades_unless_the_rule_is_strict() -> None:
    recorded = ["BTCUSDT", "SOLUSDT"]
    loose = changes("USDT perpetuals with turnover24h > 5e6", recorded, MARKET)
    assert loose == Changes(added=("ETHUSDT",), held=("SOLUSDT",))
    strict = changes("USDT perpetuals with turnover24h > 5e6 strict", recorded, MARKET)
    assert strict.added == ("ETHUSDT",)
    assert [symbol for symbol, _ in strict.removed] == ["SOLUSDT"]
    assert "not chosen any more" in strict.removed[0][1]
    # another rule, or its own name, still stands for it
    assert not changes("USDT perpetuals with turnover24h > 5e6 strict, SOLUSDT", recorded, MARKET).removed
    assert not changes(
        "USDT perpetuals with turnover24h > 5e6 strict, USDT perpetuals top 1", recorded, MARKET
    ).removed


def test_listings_and_delistings_are_followed() -> None:
    fresh = [*MARKET, contract("ADAUSDT")]
    assert changes("all", [i.symbol for i in MARKET[:6]], fresh).added == ("ADAUSDT",)
    assert changes("BTCUSDT, ADAUSDT", ["BTCUSDT"], fresh).added == ("ADAUSDT",)
    gone = changes("all", ["BTCUSDT", "ETHUSDT"], MARKET[1:2])
    assert gone.removed == (("BTCUSDT", "not listed any more"),)
    closed = changes("all", ["BTCUSDT"], [contract("BTCUSDT", status="Delivering")])
    assert closed.removed == (("BTCUSDT", "its status is Delivering"),)
    # a plain symbol that nobody lists is no news at a refresh
    assert changes("NOPE", [], MARKET) == Changes()


def test_a_named_symbol_that_has_ended_is_not_begun_again_while_it_is_still_listed() -> None:
    dated = MARKET[5]
    assert dated.delivery_time_ms is not None
    assert changes(dated.symbol, [], MARKET, dated.delivery_time_ms - 1).added == (dated.symbol,)
    assert changes(dated.symbol, [], MARKET, dated.delivery_time_ms) == Changes()
    assert changes("BTCUSDT", [], [contract("BTCUSDT", status="Delivering")]) == Changes()


def test_delivery_ends_a_contract_at_its_time() -> None:
    dated = MARKET[5]
    assert dated.delivery_time_ms is not None
    assert not gone_because(dated, dated.delivery_time_ms - 1)
    (removed,) = changes("futures", [dated.symbol], MARKET, dated.delivery_time_ms).removed
    assert removed == (dated.symbol, "delivered or delisted at 2026-12-25T09:46:40Z")
    everything = parse_selection("all", LINEAR)
    assert dated.symbol in choose(LINEAR, everything, MARKET, {}, NOW_MS).symbols
    assert dated.symbol not in choose(LINEAR, everything, MARKET, {}, dated.delivery_time_ms).symbols


@given(st.text("AB*?", max_size=12), st.text("AB", max_size=12))
def test_patterns_mean_what_a_shell_means(pattern: str, symbol: str) -> None:
    assert matches(pattern, symbol) == fnmatchcase(symbol, pattern)


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not matches("*A" * 32, "A" * 31 + "B")


@given(
    st.dictionaries(
        st.sampled_from([i.symbol for i in MARKET]),
        st.dictionaries(st.just("turnover24h"), st.text(max_size=12) | st.integers() | st.none()),
    )
)
def test_any_ticker_is_taken_or_left(tickers: dict[str, dict[str, object]]) -> None:
    choice = choose(
        LINEAR, parse_selection("perpetuals with turnover24h > 1", LINEAR), MARKET, tickers, NOW_MS
    )
    for symbol in choice.symbols:
        assert Decimal(str(tickers[symbol]["turnover24h"])) > 1


@given(st.lists(st.sampled_from([i.symbol for i in MARKET] + ["GONE"]), unique=True), st.booleans())
def test_following_is_steady(recorded: list[str], strict: bool) -> None:
    text = "perpetuals with turnover24h > 5e6 top 2" + (" strict" if strict else "")
    first = changes(text, recorded, MARKET)
    now = [s for s in recorded if s not in dict(first.removed)] + list(first.added)
    again = changes(text, now, MARKET)
    assert not again.added
    assert not again.removed
