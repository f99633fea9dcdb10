from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bybit.rules import MAXIMUM_CHARACTERS, RuleError, parse_selection
from engine.bybit.selection import FIELDS, Condition, Expiry, Kind, Name, Rule, Selection
from schemas.names import Category

LINEAR, SPOT, OPTION = Category.LINEAR, Category.SPOT, Category.OPTION


def only(text: str, category: Category = LINEAR) -> Rule:
    (item,) = parse_selection(text, category).items
    assert isinstance(item, Rule)
    return item


def test_the_sentence_of_the_issue() -> None:
    assert only("linear USDT perpetuals with turnover24h > 5e6, top 100") == Rule(
        category=LINEAR,
        coin="USDT",
        kind=Kind.PERPETUAL,
        conditions=(Condition("turnover24h", ">", Decimal(5_000_000)),),
        top=100,
    )


def test_lists_patterns_rules_and_all_are_united() -> None:
    assert parse_selection("BTCUSDT, 1000PEPE*,USDT perps; all", LINEAR).items == (
        Name("BTCUSDT"),
        Name("1000PEPE*"),
        Rule(coin="USDT", kind=Kind.PERPETUAL),
        Rule(),
    )
    assert parse_selection("", LINEAR) == Selection()
    assert parse_selection(" ,; BTCUSDT ,, ", LINEAR).symbols == ("BTCUSDT",)


def test_what_goes_on_behind_a_comma() -> None:
    rule = only(
        "USDT perpetuals, with turnover24h > 1 and volume24h<=2, and lastPrice = 3, top 5 by openInterest, strict"
    )
    assert [str(condition) for condition in rule.conditions] == [
        "turnover24h > 1",
        "volume24h <= 2",
        "lastPrice = 3",
    ]
    assert (rule.top, rule.by, rule.strict) == (5, "openInterest", True)
    assert only("all except BTCUSDT, ETH*, top 3").excluded == (Name("BTCUSDT"), Name("ETH*"))
    assert only("all except BTCUSDT, ETH* top 3").top == 3
    # a semicolon, or the beginning of another rule, ends the names
    assert parse_selection("all except A; B", LINEAR).items == (Rule(excluded=(Name("A"),)), Name("B"))
    assert len(parse_selection("all except A, USDT perpetuals", LINEAR).items) == 2


def test_coins_kinds_and_dates() -> None:
    assert only("base BTC quote USDT settle USDC") == Rule(base="BTC", quote="USDT", settle="USDC")
    assert only("dated futures expiring 25DEC26").expiry == Expiry("on", "2026-12-25")
    assert only("futures expiring before 2026-12-25").expiry == Expiry("before", "2026-12-25")
    assert only("BTC calls expiring within 7 days", OPTION) == Rule(
        coin="BTC", kind=Kind.CALL, expiry=Expiry("within", days=7)
    )
    assert only("option BTC options", OPTION) == Rule(category=OPTION, coin="BTC", kind=Kind.OPTION)
    assert only("USDT pairs", SPOT) == Rule(coin="USDT")
    assert only("perpetuals status prelaunch").status == "PreLaunch"
    # a word alone in capitals is a symbol, even where a rule would take it as a coin
    assert parse_selection("USDT", LINEAR).items == (Name("USDT"),)


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("spot USDT pairs", "'spot' at character 1", "this recording is of linear"),
        ("linear USDT perpetual with turnover > 5", "'turnover' at character 28", "nearest is 'turnover24h'"),
        ("USDT perptuals", "'perptuals' at character 6", "nearest is 'perpetuals'"),
        ("USDT options", "'options' at character 6", "linear has no options"),
        ("USDT perpetuals top", "found the end", "a count from 1 to"),
        ("USDT perpetuals top 0", "'0' at character 21", "a count from 1 to"),
        ("USDT perpetuals top ten", "'ten'", "a count from 1 to"),
        ("USDT perpetuals with turnover24h 5", "'5'", "one of > >= < <= ="),
        ("USDT perpetuals with turnover24h > many", "'many'", "a number such as"),
        ("USDT perpetuals with turnover24h > 1e99", "'1e99'", "between 1e-40 and 1e40"),
        ("USDT perpetuals with turnover24h > nan", "'nan'", "a number such as"),
        ("with turnover24h > 5,000,000", "'000'", "a symbol such as"),
        ("USDT USDC perpetuals", "'USDC' at character 6", "has a coin already"),
        ("perpetuals futures", "'futures'", "has a kind already"),
        ("futures expiring 30FEB27", "'30FEB27'", "a date such as"),
        ("futures expiring within 5 weeks", "'weeks'", "'days'"),
        ("perpetuals status trade", "'trade'", "nearest is 'Trading'"),
        ("all except", "found the end", "a symbol to leave out"),
        ("btcusdt", "'btcusdt' at character 1", "nearest is 'BTCUSDT'"),
        ("BTCUSDT,ethusdt", "'ethusdt' at character 9", "nearest is 'ETHUSDT'"),
        ("BTC'USDT", '"BTC\'USDT"', "a symbol such as"),
        ("base btc", "'btc'", "a coin in capitals"),
        ("A" * 65, "'AAAA", "at most 64 characters"),
    ],
)
def test_errors_point_at_the_word(text: str, word: str, expected: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse_selection(text, LINEAR)
    message = str(raised.value)
    assert word in message
    assert expected in message
    excerpt, mark = message.split("\n")[-2:]
    start, length = mark.index("^"), mark.count("^")
    marked = excerpt[start : start + length]
    if "found the end" in message:
        assert marked == ""
    else:
        assert f"found {marked!r} at character" in message


def test_spreads_have_no_tickers_to_compare() -> None:
    for text in ("all with lastPrice > 1", "all top 5"):
        with pytest.raises(RuleError, match="tickers of spread can't be asked for all at once"):
            parse_selection(text, Category.SPREAD)


def test_a_text_without_end_is_refused() -> None:
    with pytest.raises(RuleError, match="at most 200000"):
        parse_selection("A" * (MAXIMUM_CHARACTERS + 1), LINEAR)
    with pytest.raises(RuleError, match="conditions"):
        parse_selection("all with " + " and ".join(["lastPrice > 1"] * 33), LINEAR)


@given(st.text(max_size=200) | st.lists(st.sampled_from(
    ["all", "USDT", "perpetuals", "with", "and", "turnover24h", ">", ">=", "5e6", ",", ";", "top", "10", "by", "except",
     "BTC*", "strict", "expiring", "within", "days", "25DEC26", "status", "linear", "base", "é", "\x00", "1e", "'"]
), max_size=40).map(" ".join), st.sampled_from(list(Category)))  # fmt: skip
def test_any_text_is_read_or_refused(text: str, category: Category) -> None:
    try:
        selection = parse_selection(text, category)
    except RuleError:
        return
    assert parse_selection(str(selection), category) == selection


NAMES = st.from_regex(r"[A-Z*?][A-Z0-9*?/_.-]{0,20}", fullmatch=True).map(Name)
COINS = st.just("") | st.from_regex(r"[A-Z][A-Z0-9]{0,9}", fullmatch=True)
DATES = st.dates(min_value=date(2000, 1, 1)).map(lambda day: day.isoformat())
EXPIRIES = st.builds(Expiry, st.sampled_from(["on", "before"]), DATES) | st.builds(
    Expiry, st.just("within"), st.just(""), st.integers(1, 3650)
)
NUMBERS = st.decimals(
    allow_nan=False, allow_infinity=False, min_value="-1e30", max_value="1e30", places=8
).map(lambda value: value if value else Decimal(0))


@st.composite
def rules(draw: st.DrawFn, category: Category) -> Rule:
    fields = st.sampled_from(FIELDS[category] or ("",))
    compares = bool(FIELDS[category])
    conditions = st.builds(Condition, fields, st.sampled_from([">", ">=", "<", "<=", "="]), NUMBERS)
    kinds = {
        SPOT: [Kind.ANY],
        Category.SPREAD: [Kind.ANY],
        OPTION: [Kind.ANY, Kind.OPTION, Kind.CALL, Kind.PUT],
    }
    top = draw(st.just(0) | st.integers(1, 100_000)) if compares else 0
    return Rule(
        category=draw(st.sampled_from([None, category])),
        coin=draw(COINS),
        base=draw(COINS),
        quote=draw(COINS),
        settle=draw(COINS),
        kind=draw(st.sampled_from(kinds.get(category, [Kind.ANY, Kind.PERPETUAL, Kind.FUTURE]))),
        expiry=draw(st.none() | EXPIRIES),
        status=draw(st.sampled_from(["Trading", "PreLaunch", "Delivering", "Closed"])),
        conditions=tuple(draw(st.lists(conditions, max_size=4 if compares else 0))),
        top=top,
        by=draw(fields) if top else "turnover24h",
        excluded=tuple(draw(st.lists(NAMES, max_size=3))),
        strict=draw(st.booleans()),
    )


@given(st.data(), st.sampled_from(list(Category)))
def test_what_is_printed_is_read_back(data: st.DataObject, category: Category) -> None:
    items = data.draw(st.lists(NAMES | rules(category), max_size=5))
    selection = Selection(tuple(items))
    assert parse_selection(str(selection), category) == selection


def test_a_long_list_is_read() -> None:
    text = ",".join(f"COIN{n}USDT" for n in range(10_000))
    assert len(parse_selection(text, LINEAR).symbols) == 10_000
