"""A day's result: of contracts what was realised, of spot what the day's trades changed, held against wallets."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from engine.venue import Refusal, Side, TradingVenue, rules_of
from engine.venue.rules import plain
from execution.desk.day_result import MS_PER_DAY, DayResult, fee_coin
from execution.desk.filters import Filters
from execution.desk.limits import Limits, Quote, RiskGate
from execution.desk.live import Fill, LiveAccount
from execution.desk.orders import NewOrder, TimeInForce
from schemas.names import Category
from tests.execution.desk.world import SPOT as SPOT_INSTRUMENT

D = Decimal
DAY = 20_000
NOON = DAY * MS_PER_DAY + MS_PER_DAY // 2
FILTERS = {
    symbol: Filters(
        category=Category.SPOT, symbol=symbol, status="Trading", base_coin=base, quote_coin=quote, settle_coin=quote,
        tick_size=D("0.01"), quantity_step=D("0.001"),
    )
    for symbol, base, quote in (("BTCUSDT", "BTC", "USDT"), ("ETHUSDT", "ETH", "USDT"), ("ETHBTC", "ETH", "BTC"))
}  # fmt: skip


def spot(
    symbol: str, side: str, quantity: Decimal, price: Decimal, fee: Decimal, coin: str, at_ms: int
) -> Fill:
    return Fill(
        execution_id=f"{at_ms}", category=Category.SPOT, symbol=symbol, order_id="o", link_id="", side=side,
        kind="Trade", price=price, quantity=quantity, is_maker=False, executed_ms=at_ms, fee=fee,
        fee_coin=coin, profit=None,
    )  # fmt: skip


def thousandths(least: int, most: int) -> st.SearchStrategy[Decimal]:
    return st.integers(least, most).map(lambda number: D(number) / 1000)


drawn_fills = st.builds(
    lambda symbol, side, quantity, price, rate, named, at: (symbol, side, quantity, price, rate, named, at),
    st.sampled_from(sorted(FILTERS)),
    st.sampled_from(["Buy", "Sell"]),
    thousandths(1, 5_000),
    thousandths(1, 90_000),
    st.sampled_from([D(0), D("0.001"), D("-0.0002")]),
    st.booleans(),
    st.integers(DAY * MS_PER_DAY - 100, DAY * MS_PER_DAY + 300),
)


@given(
    st.lists(drawn_fills, max_size=25),
    st.dictionaries(st.sampled_from(sorted(FILTERS)), thousandths(1, 90_000)),
)
def test_spot_is_what_a_wallet_that_began_the_day_empty_would_be_worth(
    drawn: list[tuple[str, str, Decimal, Decimal, Decimal, bool, int]], prices: dict[str, Decimal]
) -> None:
    """Slowly: a wallet a symbol, emptied at midnight, each fill and each fee booked coin by coin."""
    result = DayResult()
    wallets: dict[str, Counter[str]] = {}
    latest: dict[str, Decimal] = {}
    reached = 0
    for symbol, side, quantity, price, rate, named, at_ms in drawn:
        filters = FILTERS[symbol]
        # what is received pays the fee, what is given gets the rebate
        received, given_coin = filters.base_coin, filters.quote_coin
        amounts = {filters.base_coin: quantity, filters.quote_coin: quantity * price}
        if side == "Sell":
            received, given_coin = given_coin, received
        coin = received if rate >= 0 else given_coin
        fee = amounts[coin] * rate
        result.on_fill(spot(symbol, side, quantity, price, fee, coin if named else "", at_ms), filters)
        day = at_ms // MS_PER_DAY
        if day > reached:
            reached, wallets, latest = day, {}, {}
        if day == reached:
            wallet = wallets.setdefault(symbol, Counter())
            wallet[received] += amounts[received]
            wallet[given_coin] -= amounts[given_coin]
            wallet[coin] -= fee
            latest[symbol] = price
    for quote in ("USDT", "BTC"):
        expected = sum(
            (
                wallet[quote] + wallet[FILTERS[symbol].base_coin] * prices.get(symbol, latest[symbol])
                for symbol, wallet in wallets.items()
                if FILTERS[symbol].quote_coin == quote
            ),
            D(0),
        )
        moment = reached * MS_PER_DAY + MS_PER_DAY - 1
        assert result.exchanged(quote, moment, lambda symbol, _: prices.get(symbol)) == expected
        assert result.exchanged(quote, moment + 1, lambda symbol, _: prices.get(symbol)) == 0, "a new day"


@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_the_gate_counts_what_the_exchange_booked(seed: int, steps: int) -> None:
    """Against the simulated exchange: the wallet's change since the day began, its coins at our own book's price."""
    chance = Random(seed)
    venue = TradingVenue(seed)
    before = {"USDT": D(1_000_000), "BTC": D(50)}
    venue.open_account("1", dict(before))
    venue.list_instrument(rules_of(SPOT_INSTRUMENT))
    account = LiveAccount()
    quotes: list[Quote] = []
    limits = Limits(
        order_notional=None,
        position_notional=None,
        requests_per_second=None,
        collar=None,
        daily_loss={"USDT": D("0.000000000001")},
    )
    gate = RiskGate(limits, account, lambda *_: quotes[-1], lambda: ())
    mid = D(60_000)
    for step in range(steps):
        now_ms = NOON + step
        mid += chance.choice((-500, -7, 7, 500))
        quotes.append(Quote(mid - 1, mid + 1))
        levels = [[(mid + sign * number, D(1)) for number in (1, 2, 3)] for sign in (-1, 1)]
        venue.on_book(Category.SPOT, "BTCUSDT", levels[0], levels[1], now_ms)
        side = chance.choice((Side.BUY, Side.SELL))
        order = NewOrder(
            category=Category.SPOT,
            symbol="BTCUSDT",
            side=side,
            quantity=D(chance.randint(1, 2_000)) / 1_000,
            price=mid + side.sign * chance.choice((-1, 1, 3)) if chance.random() < 0.6 else None,
            time_in_force=chance.choice((TimeInForce.GTC, TimeInForce.IOC)),
        )
        try:
            venue.create("1", order.fields(), now_ms)
        except Refusal:
            continue
        venue.on_trade(Category.SPOT, "BTCUSDT", chance.choice((Side.BUY, Side.SELL)), mid, D(1), now_ms)
        for event in venue.take_events():
            if event.topic == "execution":
                fill = account.on_execution(event.row)
                assert fill is not None
                gate.on_fill(fill, FILTERS["BTCUSDT"])
    held = venue.accounts["1"].balances
    coins = held["BTC"] - before["BTC"]
    worth = held["USDT"] - before["USDT"] + coins * (quotes[-1].bid if coins > 0 else quotes[-1].ask)
    words = gate.excess_loss(lambda *_: None, NOON + steps)
    assert (f"today's result is {plain(worth)} USDT" in words) if worth < D("-1e-12") else words == ""


def test_without_a_book_coins_are_worth_what_was_paid_last() -> None:
    result = DayResult()
    result.on_fill(spot("BTCUSDT", "Buy", D(2), D(50_000), D("0.002"), "BTC", NOON), FILTERS["BTCUSDT"])
    assert result.exchanged("USDT", NOON, lambda *_: None) == D("-0.002") * 50_000, "the fee alone"
    result.on_fill(spot("BTCUSDT", "Sell", D(1), D(49_000), D(49), "USDT", NOON), FILTERS["BTCUSDT"])
    assert result.exchanged("USDT", NOON, lambda *_: None) == -100_000 + 49_000 - 49 + D("0.998") * 49_000


def test_a_symbol_that_is_not_traded_here_is_left_out() -> None:
    result = DayResult()
    result.on_fill(spot("XUSDT", "Buy", D(2), D(5), D(1), "X", NOON), None)
    assert result.exchanged("USDT", NOON, lambda *_: D(0)) == 0


def test_a_fee_in_a_third_coin_counts_nothing() -> None:
    result = DayResult()
    result.on_fill(spot("BTCUSDT", "Buy", D(1), D(5), D(1), "MNT", NOON), FILTERS["BTCUSDT"])
    assert result.exchanged("USDT", NOON, lambda *_: D(5)) == 0


def test_whose_coin_a_fee_is_that_names_none() -> None:
    """The exchange's rule: what is received, of a rebate what is given."""
    for side, fee, coin in (
        ("Buy", D(1), "BTC"), ("Sell", D(1), "USDT"), ("Buy", D(-1), "USDT"), ("Sell", D(-1), "BTC"),
    ):  # fmt: skip
        fill = spot("BTCUSDT", side, D(1), D(1), fee, "", NOON)
        assert fee_coin(fill, FILTERS["BTCUSDT"]) == coin
