import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.topics import Topic, TopicKind, depths_of, expand, parse_topic, recorded_prefixes
from schemas.errors import ConfigError
from schemas.names import Category

BOOK, TRADE, TICKERS = TopicKind.ORDER_BOOK, TopicKind.PUBLIC_TRADE, TopicKind.TICKERS


@pytest.mark.parametrize(
    ("category", "text", "kind", "depth", "symbol"),
    [
        (Category.LINEAR, "orderbook.50.BTCUSDT", BOOK, 50, "BTCUSDT"),
        (Category.LINEAR, "orderbook.1000.WC_ARG_ALG_USDT-17JUN26", BOOK, 1000, "WC_ARG_ALG_USDT-17JUN26"),
        (Category.SPOT, "publicTrade.BTCUSDT", TRADE, None, "BTCUSDT"),
        (Category.INVERSE, "tickers.BTCUSDH23", TICKERS, None, "BTCUSDH23"),
        (Category.OPTION, "orderbook.25.XRP-30OCT26-0.4-P-USDT", BOOK, 25, "XRP-30OCT26-0.4-P-USDT"),
        (Category.OPTION, "tickers.XRP-30OCT26-0.4-P-USDT", TICKERS, None, "XRP-30OCT26-0.4-P-USDT"),
        (Category.OPTION, "publicTrade.BTC", TRADE, None, "BTC"),
        (Category.LINEAR, "tickers.SOLUSDT_SOL/USDT", TICKERS, None, "SOLUSDT_SOL/USDT"),
    ],
)
def test_parse(category: Category, text: str, kind: TopicKind, depth: int | None, symbol: str) -> None:
    assert parse_topic(category, text) == Topic(text, kind, depth, symbol)


def test_depths_are_those_of_the_exchange() -> None:
    assert depths_of(Category.OPTION) == (25, 100)
    for category in (Category.SPOT, Category.LINEAR, Category.INVERSE):
        assert depths_of(category) == (1, 50, 200, 1000)


def test_books_and_tickers_begin_with_a_snapshot_and_trades_do_not() -> None:
    first = {
        t: parse_topic(Category.LINEAR, f"{t}.X").has_first_snapshot
        for t in recorded_prefixes(Category.LINEAR)
    }
    assert first.pop("publicTrade") is False
    assert set(first.values()) == {True}


# What is refused, a word of the reason, and the nearest valid topic.
REFUSALS = [
    (Category.LINEAR, "orderbook.500.BTCUSDT", "2025-09-11", "orderbook.1000.BTCUSDT"),
    (Category.LINEAR, "orderbook.25.BTCUSDT", "does not exist on linear", "orderbook.50.BTCUSDT"),
    (Category.SPOT, "orderbook.100.BTCUSDT", "does not exist on spot", "orderbook.200.BTCUSDT"),
    (Category.OPTION, "orderbook.50.BTC-1JAN27-1-C", "stay silent", "orderbook.100.BTC-1JAN27-1-C"),
    (Category.OPTION, "orderbook.1.BTC-1JAN27-1-C", "stay silent", "orderbook.25.BTC-1JAN27-1-C"),
    (Category.LINEAR, "orderbook.30.BTCUSDT", "depth that does not exist", "orderbook.50.BTCUSDT"),
    (Category.LINEAR, "orderbook.5000.BTCUSDT", "depth that does not exist", "orderbook.1000.BTCUSDT"),
    (Category.LINEAR, "orderbook.050.BTCUSDT", "names no depth", "orderbook.50.BTCUSDT"),
    (Category.LINEAR, "orderbook.BTCUSDT", "names no depth", "orderbook.50."),
    (Category.LINEAR, "orderbook", "names no depth", "orderbook.50."),
    (Category.LINEAR, "orderbook.²." + "X", "names no depth", "orderbook.50."),
    (Category.LINEAR, "orderbook.rpi.BTCUSDT", "is not recorded yet", "orderbook."),
    (Category.SPOT, "orderbook.full.BTCUSDT", "is not recorded yet", "orderbook."),
    (Category.LINEAR, "orderbook.full.BTCUSDT", "only on spot", "orderbook."),
    (Category.LINEAR, "kline.1.BTCUSDT", "is not recorded yet", ".BTCUSDT"),
    (Category.OPTION, "kline.1.BTC-1JAN27-1-C", "does not exist on option", ".BTC-1JAN27-1-C"),
    (Category.LINEAR, "allLiquidation.BTCUSDT", "is not recorded yet", ".BTCUSDT"),
    (Category.SPOT, "allLiquidation.BTCUSDT", "only on inverse, linear", ".BTCUSDT"),
    (Category.LINEAR, "liquidation.BTCUSDT", "allLiquidation.BTCUSDT", "publicTrade.BTCUSDT"),
    (Category.LINEAR, "insurance.USDT", "is not recorded yet", "tickers.USDT"),
    (
        Category.LINEAR,
        "insurance.BTCUSDT",
        "insurance.USDT, insurance.USDC, insurance.inverse",
        "tickers.BTCUSDT",
    ),
    (Category.LINEAR, "adlAlert.USDT", "is not recorded yet", "USDT"),
    (Category.SPOT, "priceLimit.BTCUSDT", "is not recorded yet", "BTCUSDT"),
    (Category.SPOT, "system.status", "socket of its own", "."),
    (Category.LINEAR, "markPrice.1.BTCUSDT", "key markPrice of tickers", "tickers."),
    (Category.LINEAR, "indexPrice.1.BTCUSDT", "key indexPrice of tickers", "tickers."),
    (Category.LINEAR, "funding.BTCUSDT", "fundingRate", "tickers.BTCUSDT"),
    (Category.LINEAR, "delivery.BTCUSDT", "predictedDeliveryPrice", "tickers.BTCUSDT"),
    (Category.SPOT, "trade.BTCUSDT", "older dialect", "publicTrade.BTCUSDT"),
    (Category.LINEAR, "orderBookL2_25.BTCUSD", "older dialect", "orderbook.50.BTCUSD"),
    (Category.OPTION, "orderBook_200.X", "older dialect", "orderbook.100.X"),
    (Category.LINEAR, "execution", "private", "publicTrade."),
    (Category.LINEAR, "publictrade.BTCUSDT", "does not exist", "publicTrade.BTCUSDT"),
    (Category.LINEAR, "ticker.BTCUSDT", "does not exist", "tickers.BTCUSDT"),
    (Category.LINEAR, "tikers.BTCUSDT", "does not exist", "tickers.BTCUSDT"),
    (Category.OPTION, "publicTrade.BTC-1JAN27-1-C", "by base coin", "publicTrade.BTC"),
    (Category.LINEAR, "", "does not exist", "."),
    (Category.LINEAR, "x" * 5_000, "does not exist", "."),
]


@pytest.mark.parametrize(("category", "text", "why", "right"), REFUSALS)
def test_refusal_names_the_reason_and_the_nearest_valid_topic(
    category: Category, text: str, why: str, right: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_topic(category, text)
    reason, _, rest = str(refusal.value).partition("; the nearest valid one on ")
    nearest = rest.partition(" is ")[2].partition(" ")[0]
    assert why in reason
    assert right in nearest
    assert nearest.startswith(tuple(f"{prefix}." for prefix in recorded_prefixes(category)))
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    "symbol", ["btcusdt", "BTC USDT", 'BTC"USDT', "BTC,ETH", "BTC\nUSDT", "B\u00cfT", "B" * 65]
)
def test_symbols_the_exchange_cannot_have_are_refused(symbol: str) -> None:
    with pytest.raises(ConfigError, match="symbol"):
        expand(Category.LINEAR, ["orderbook.50"], [symbol])


def test_lower_case_symbol_is_shown_in_upper_case() -> None:
    with pytest.raises(ConfigError, match="'BTCUSDT'"):
        parse_topic(Category.LINEAR, "tickers.btcusdt")


def test_expand_combines_prefixes_and_symbols_and_takes_full_topics() -> None:
    topics = expand(
        Category.LINEAR,
        ["orderbook.50", "publicTrade", "tickers.XRPUSDT", "orderbook.50"],
        ["BTCUSDT", "ETHUSDT"],
    )
    assert [topic.text for topic in topics] == [
        "orderbook.50.BTCUSDT",
        "orderbook.50.ETHUSDT",
        "publicTrade.BTCUSDT",
        "publicTrade.ETHUSDT",
        "tickers.XRPUSDT",
    ]
    assert topics[0] == parse_topic(Category.LINEAR, "orderbook.50.BTCUSDT")


def test_expand_asks_trades_of_options_by_base_coin_once() -> None:
    symbols = ["BTC-1JAN27-1-C", "BTC-1JAN27-2-C", "ETH-1JAN27-1-P-USDT"]
    texts = [topic.text for topic in expand(Category.OPTION, ["publicTrade", "orderbook.25"], symbols)]
    assert texts == ["publicTrade.BTC", "publicTrade.ETH", *(f"orderbook.25.{symbol}" for symbol in symbols)]


def test_expand_full_topics_need_no_symbols() -> None:
    assert [t.text for t in expand(Category.SPOT, iter(["tickers.BTCUSDT"]), iter([]))] == ["tickers.BTCUSDT"]


def test_expand_refuses_a_prefix_without_symbols_and_nothing_at_all() -> None:
    with pytest.raises(ConfigError, match="--symbols"):
        expand(Category.SPOT, ["tickers"], [])
    with pytest.raises(ConfigError, match="no topics"):
        expand(Category.SPOT, [], ["BTCUSDT"])
    with pytest.raises(ConfigError, match="names no symbol"):
        parse_topic(Category.SPOT, "tickers")


@given(st.sampled_from(list(Category)), st.text(max_size=200))
def test_any_text_parses_or_is_refused(category: Category, text: str) -> None:
    try:
        topic = parse_topic(category, text)
    except ConfigError:
        return
    assert topic.text == text
    assert text.endswith(topic.symbol)


@given(
    st.sampled_from(list(Category)),
    st.sampled_from(["orderbook", "tickers", "kline", "liquidation"]),
    st.text(),
)
def test_any_rest_of_a_topic_parses_or_is_refused(category: Category, head: str, rest: str) -> None:
    try:
        topic = parse_topic(category, f"{head}.{rest}")
    except ConfigError:
        return
    assert topic.kind.value == head
    assert topic.symbol == (rest if topic.depth is None else rest.partition(".")[2])
