import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.topics import (
    INTERVALS,
    Topic,
    TopicKind,
    depths_of,
    expand,
    parse_topic,
    recorded_prefixes,
)
from schemas.errors import ConfigError
from schemas.names import Category

BOOK, TRADE, TICKERS = TopicKind.ORDER_BOOK, TopicKind.PUBLIC_TRADE, TopicKind.TICKERS


@pytest.mark.parametrize(
    ("category", "text", "kind", "depth", "symbol"),
    [
        (Category.LINEAR, "orderbook.50.BTCUSDT", BOOK, 50, "BTCUSDT"),
        (Category.LINEAR, "orderbook.1000.WC_ARG_ALG_USDT-17JUN26", BOOK, 1000, "WC_ARG_ALG_USDT-17JUN26"),
        (Category.SPOT, "orderbook.full.BTCUSDT", BOOK, 32767, "BTCUSDT"),
        (Category.INVERSE, "orderbook.full.BTCUSD", BOOK, 32767, "BTCUSD"),
        (Category.LINEAR, "orderbook.rpi.BTCUSDT", BOOK, 50, "BTCUSDT"),
        (Category.SPOT, "publicTrade.BTCUSDT", TRADE, None, "BTCUSDT"),
        (Category.INVERSE, "tickers.BTCUSDH23", TICKERS, None, "BTCUSDH23"),
        (Category.OPTION, "orderbook.25.XRP-30OCT26-0.4-P-USDT", BOOK, 25, "XRP-30OCT26-0.4-P-USDT"),
        (Category.OPTION, "tickers.XRP-30OCT26-0.4-P-USDT", TICKERS, None, "XRP-30OCT26-0.4-P-USDT"),
        (Category.OPTION, "publicTrade.BTC", TRADE, None, "BTC"),
        (Category.LINEAR, "tickers.SOLUSDT_SOL/USDT", TICKERS, None, "SOLUSDT_SOL/USDT"),
        (Category.LINEAR, "kline.1.BTCUSDT", TopicKind.KLINE, None, "BTCUSDT"),
        (Category.SPOT, "kline.M.BTCUSDT", TopicKind.KLINE, None, "BTCUSDT"),
        (Category.INVERSE, "allLiquidation.BTCUSD", TopicKind.ALL_LIQUIDATION, None, "BTCUSD"),
        (Category.LINEAR, "insurance.USDC", TopicKind.INSURANCE, None, "USDC"),
        (Category.INVERSE, "adlAlert.inverse", TopicKind.ADL_ALERT, None, "inverse"),
        (Category.SPOT, "priceLimit.BTCUSDT", TopicKind.PRICE_LIMIT, None, "BTCUSDT"),
        (Category.OPTION, "system.status", TopicKind.SYSTEM, None, "status"),
    ],
)
def test_parse(category: Category, text: str, kind: TopicKind, depth: int | None, symbol: str) -> None:
    assert parse_topic(category, text) == Topic(text, kind, depth, symbol)


def test_depths_are_those_of_the_exchange() -> None:
    assert depths_of(Category.OPTION) == (25, 100)
    for category in (Category.SPOT, Category.LINEAR, Category.INVERSE):
        assert depths_of(category) == (1, 50, 200, 1000)


def test_what_is_recorded_where() -> None:
    books = [f"orderbook.{depth}" for depth in (1, 50, 200, 1000, "rpi", "full")]
    klines = [f"kline.{interval}" for interval in INTERVALS]
    assert recorded_prefixes(Category.SPOT) == (
        *books, "publicTrade", "tickers", *klines, "priceLimit", "system.status"
    )  # fmt: skip
    assert recorded_prefixes(Category.LINEAR) == recorded_prefixes(Category.INVERSE) == (
        *books, "publicTrade", "tickers", *klines, "allLiquidation", "insurance", "adlAlert", "priceLimit",
        "system.status",
    )  # fmt: skip
    assert recorded_prefixes(Category.OPTION) == (
        "orderbook.25", "orderbook.100", "publicTrade", "tickers", "system.status"
    )  # fmt: skip


def test_which_topics_answer_a_subscription_at_once() -> None:
    topics = [f"{prefix}.X" for prefix in ("orderbook.50", "orderbook.rpi", "tickers", "priceLimit")]
    assert all(parse_topic(Category.LINEAR, topic).has_first_snapshot for topic in topics)
    topics = [*(f"{prefix}.X" for prefix in ("publicTrade", "kline.1", "allLiquidation")),
              "insurance.USDT", "adlAlert.USDT", "system.status", "orderbook.full.X"]  # fmt: skip
    assert not any(parse_topic(Category.LINEAR, topic).has_first_snapshot for topic in topics)


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
    (
        Category.OPTION,
        "orderbook.rpi.BTC-1JAN27-1-C",
        "only on spot, linear, inverse",
        "orderbook.100.BTC-1JAN27-1-C",
    ),
    (Category.OPTION, "orderbook.full", "only on spot, linear, inverse", "orderbook.100.SYMBOL"),
    (Category.SPOT, "orderbook.fully.BTCUSDT", "names no depth", "orderbook.50.BTCUSDT"),
    (Category.LINEAR, "kline.2.BTCUSDT", "interval that is none of 1, 3, 5", "kline.1.BTCUSDT"),
    (Category.LINEAR, "kline.BTCUSDT", "names no interval", "kline.1.BTCUSDT"),
    (Category.LINEAR, "kline", "names no interval", "kline.1."),
    (Category.OPTION, "kline.1.BTC-1JAN27-1-C", "stay silent", "tickers.BTC-1JAN27-1-C"),
    (Category.LINEAR, "candle.1.BTCUSDT", "older dialect of kline", "kline.1."),
    (Category.OPTION, "candle.1.X", "older dialect of kline", "tickers."),
    (Category.SPOT, "allLiquidation.BTCUSDT", "only on inverse, linear", "publicTrade.BTCUSDT"),
    (Category.SPOT, "allLiquidation", "only on inverse, linear", "publicTrade."),
    (Category.LINEAR, "liquidation.BTCUSDT", "allLiquidation.BTCUSDT", "allLiquidation.BTCUSDT"),
    (Category.SPOT, "liquidation.BTCUSDT", "linear and inverse", "publicTrade.BTCUSDT"),
    (Category.SPOT, "insurance.USDT", "only on inverse, linear", "tickers."),
    (Category.INVERSE, "insurance.BTCUSD", "insurance.inverse", "insurance.inverse"),
    (Category.LINEAR, "system.health", "does not exist", "system.status"),
    (Category.LINEAR, "system", "does not exist", "system.status"),
    (Category.OPTION, "priceLimit.X", "only on inverse, linear, spot", "tickers.X"),
    (Category.LINEAR, "rfq.open.public.trades", "socket of its own", "."),
    (
        Category.LINEAR,
        "insurance.BTCUSDT",
        "insurance.USDT, insurance.USDC",
        "insurance.USDT",
    ),
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
    assert nearest == "system.status" or nearest.startswith(
        tuple(f"{prefix}." for prefix in recorded_prefixes(category))
    )
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


def test_expand_combines_pools_with_their_groups() -> None:
    texts = [t.text for t in expand(Category.LINEAR, ["insurance", "kline.5", "adlAlert.USDC"], ["BTCUSDT"])]
    assert texts == ["insurance.USDT", "insurance.USDC", "kline.5.BTCUSDT", "adlAlert.USDC"]
    assert [t.text for t in expand(Category.INVERSE, ["adlAlert", "system.status"], [])] == [
        "adlAlert.inverse",
        "system.status",
    ]
    with pytest.raises(ConfigError, match=r"names no group of pools: expected adlAlert\.USDT"):
        parse_topic(Category.LINEAR, "adlAlert")


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
    assert topic.symbol == (rest if head == "tickers" else rest.partition(".")[2])


def test_what_spreads_have() -> None:
    assert recorded_prefixes(Category.SPREAD) == ("orderbook.25", "publicTrade", "tickers", "system.status")
    symbol = "SOLUSDT_SOL/USDT"
    texts = [
        topic.text for topic in expand(Category.SPREAD, ["orderbook.25", "publicTrade", "tickers"], [symbol])
    ]
    assert texts == [f"orderbook.25.{symbol}", f"publicTrade.{symbol}", f"tickers.{symbol}"]
    with pytest.raises(
        ConfigError, match=r"names no depth; the nearest valid one on spread is orderbook\.25"
    ):
        parse_topic(Category.SPREAD, "orderbook.SOLUSDT_SOL/USDT")
