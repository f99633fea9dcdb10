"""An accountant who knows nothing of the venue but what it tells: fills in exact fractions, all the rest worked out.

`tests.property.test_venue` takes fees and profits from the venue's rows; here they are computed anew, from price,
quantity, side and liquidity of each fill alone, and every row that tells one, a balance, an average or a
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from engine.venue import VenueEvent
from tests.property.test_venue import Trader

F = Fraction
ONE_ROUNDING = F(1, 10**12)
FEES = {  # maker, taker; docs/gateway-trading.md
    "spot": (F("0.001"), F("0.001")),
    "linear": (F("0.0002"), F("0.00055")),
    "inverse": (F("0.0002"), F("0.00055")),
    "option": (F("0.0002"), F("0.0003")),
}
Row = dict[str, str]
Side = tuple[str, str, str, int]


def is_near(told: str, exact: Fraction, bound: Fraction = 3 * ONE_ROUNDING) -> bool:
    return abs(F(told) - exact) <= bound


class Accountant:
    def __init__(self, trader: Trader) -> None:
        accounts = trader.desk.venue.accounts
        self.coins = {
            uid: defaultdict(F, {coin: F(amount) for coin, amount in account.deposits.items()})
            for uid, account in accounts.items()
        }
        self.sizes: defaultdict[Side, Fraction] = defaultdict(F)
        self.costs: defaultdict[Side, Fraction] = defaultdict(F)
        self.quantities: defaultdict[str, Fraction] = defaultdict(F)
        self.values: defaultdict[str, Fraction] = defaultdict(F)
        self.fees: defaultdict[str, Fraction] = defaultdict(F)
        self.index_of = trader.index_of
        self.fills = 0

    def take(self, event: VenueEvent) -> None:
        row = event.row
        if event.topic == "execution":
            self.fills += 1
            self.fund(event.uid, row) if row["execType"] == "Funding" else self.fill(event.uid, row)
        elif event.topic == "order":
            self.check_order(row)
        elif event.topic == "position":
            self.check_position(event.uid, row)
        elif event.topic == "wallet":
            for coin in row["coin"]:
                exact = self.coins[event.uid][coin["coin"]]
                assert is_near(coin["walletBalance"], exact, self.bound), coin

    @property
    def bound(self) -> Fraction:
        return (3 * self.fills + 3) * ONE_ROUNDING

    def value(self, row: Row) -> Fraction:
        price, quantity = F(row["execPrice"]), F(row["execQty"])
        value = quantity / price if row["category"] == "inverse" else quantity * price
        assert is_near(row["execValue"], value)
        return value

    def fund(self, uid: str, row: Row) -> None:
        coin = "BTC" if row["category"] == "inverse" else "USDT"
        fee = self.value(row) * F(row["feeRate"]) * (1 if row["side"] == "Buy" else -1)
        assert row["feeCurrency"] == coin
        assert is_near(row["execFee"], fee)
        self.coins[uid][coin] -= fee

    def fill(self, uid: str, row: Row) -> None:
        category, identity = row["category"], row["orderId"]
        quantity, sign = F(row["execQty"]), 1 if row["side"] == "Buy" else -1
        value, rate = self.value(row), FEES[category][0 if row["isMaker"] else 1]
        coins = self.coins[uid]
        if category == "spot":
            coin, fee = ("BTC", quantity * rate) if sign > 0 else ("USDT", value * rate)
            coins["BTC"] += sign * quantity
            coins["USDT"] -= sign * value
        else:
            coin, fee = "BTC" if category == "inverse" else "USDT", value * rate
            coins[coin] += self.move(uid, row, quantity, sign)
        coins[coin] -= fee
        assert row["feeCurrency"] == coin
        assert F(row["feeRate"]) == rate
        assert is_near(row["execFee"], fee)
        self.quantities[identity] += quantity
        self.values[identity] += value
        self.fees[identity] += fee

    def move(self, uid: str, row: Row, quantity: Fraction, sign: int) -> Fraction:
        """Close at the average cost, open with what is left; returns the profit."""
        side = uid, row["category"], row["symbol"], self.index_of(row["orderId"])
        size, cost, price = self.sizes[side], self.costs[side], F(row["execPrice"])

        def worth(amount: Fraction) -> Fraction:
            return amount / price if row["category"] == "inverse" else amount * price

        closed = min(quantity, abs(size)) if size * sign < 0 else F(0)
        profit = F(0)
        if closed:
            share = cost * closed / abs(size)
            gain = worth(closed) - share
            profit = gain if (size > 0) == (row["category"] != "inverse") else -gain
            cost -= share
        self.sizes[side] = size + sign * quantity
        self.costs[side] = cost + worth(quantity - closed)
        assert F(row["closedSize"]) == closed
        assert is_near(row["execPnl"], profit, self.bound)
        return profit

    def check_order(self, row: Row) -> None:
        identity = row["orderId"]
        quantity, value = self.quantities[identity], self.values[identity]
        assert F(row["cumExecQty"]) == quantity
        assert is_near(row["cumExecValue"], value, self.bound)
        assert is_near(row["cumExecFee"], self.fees[identity], self.bound)
        if not quantity:
            assert row["avgPrice"] == ""
            return
        self.check_average(row["avgPrice"], row["category"], quantity, value)

    def check_average(self, told: str, category: str, quantity: Fraction, value: Fraction) -> None:
        assert is_near(told, quantity / value if category == "inverse" else value / quantity)

    def check_position(self, uid: str, row: Row) -> None:
        side = uid, row["category"], row["symbol"], int(row["positionIdx"])
        size, cost = self.sizes[side], self.costs[side]
        assert F(row["size"]) == abs(size)
        assert row["side"] == ("Buy" if size > 0 else "Sell" if size < 0 else "")
        if size:
            assert is_near(row["positionValue"], cost, self.bound)
            self.check_average(row["entryPrice"], row["category"], abs(size), cost)


@given(st.integers(0, 2**32))
def test_the_books_are_kept_right(seed: int) -> None:
    trader = Trader(seed)
    accountant = Accountant(trader)
    done = 0
    for _ in range(120):
        trader.step()
        for event in trader.desk.events[done:]:
            accountant.take(event)
        done = len(trader.desk.events)
    for uid, account in trader.desk.venue.accounts.items():
        for coin, balance in account.balances.items():
            assert is_near(str(balance), accountant.coins[uid][coin], accountant.bound)


def test_a_mistake_of_the_least_size_is_found() -> None:
    trader = Trader(3)
    for _ in range(120):
        trader.step()
    for key in ("execFee", "execPnl", "execValue"):
        accountant = Accountant(trader)
        found = False
        for event in trader.desk.events:
            row = dict(event.row)
            if event.topic == "execution" and key in row:
                row[key] = str(F(row[key]).limit_denominator(10**15) + F(1, 10**9))
            try:
                accountant.take(event._replace(row=row))
            except AssertionError:
                found = True
                break
        assert found, key
