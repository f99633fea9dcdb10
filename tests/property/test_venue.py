"""Whatever is asked of the venue and whatever the market does: money, positions and orders add up."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.venue import Refusal, Side, VenueEvent
from schemas.names import Category
from tests.engine.venue.conftest import INSTRUMENTS, Desk

D = Decimal
ENDED = {"Filled", "Cancelled", "PartiallyFilledCanceled", "Rejected", "Deactivated"}
MID = {Category.LINEAR: 60_000, Category.INVERSE: 60_000, Category.SPOT: 60_000, Category.OPTION: 500}
CATEGORIES = list(MID)


class Trader:
    """Makes requests and markets at random, from a seed alone, and checks what must hold after each of them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.desk = Desk(seed)
        self.links = 0
        self.shift = 0
        self.displayed: dict[tuple[Category, Side], dict[Decimal, Decimal]] = {}
        self.ended: set[str] = set()
        self.filled: defaultdict[str, Decimal] = defaultdict(D)
        self.positions: defaultdict[tuple[str, str, str, int], Decimal] = defaultdict(D)
        self.balances: dict[str, defaultdict[str, Decimal]] = {
            uid: defaultdict(D, account.deposits) for uid, account in self.desk.venue.accounts.items()
        }
        self.is_hedged = self.draw.random() < 0.3
        if self.is_hedged:
            venue = self.desk.venue
            for account in venue.accounts.values():
                venue.settings.switch_mode(account, [venue.markets[Category.LINEAR, "BTCUSDT"]], True)
        self.statuses: dict[str, str] = {}
        self.refusals: defaultdict[int, int] = defaultdict(int)
        self.checked = 0

    def price(self, category: Category, distance: int) -> Decimal:
        tick = D(INSTRUMENTS[category].tick_size)
        return (D(MID[category]) // tick + distance + self.shift) * tick

    def size(self, category: Category) -> Decimal:
        if category is Category.INVERSE:
            return D(self.draw.choice([1, 100, 7_000, 60_000]))
        return D(self.draw.choice(["0.01", "0.02", "0.5", "1.37", "4"]))

    def move_market(self) -> None:
        category = self.draw.choice(CATEGORIES)
        self.shift += self.draw.randint(-3, 3)
        sides = []
        for side in Side:
            prices = sorted({self.draw.randint(1, 6) for _ in range(self.draw.randint(0, 4))})
            levels = [
                (self.price(category, -distance * side.sign), self.size(category)) for distance in prices
            ]
            self.displayed[category, side] = dict(levels)
            sides.append(levels)
        symbol = INSTRUMENTS[category].symbol
        self.desk.venue.on_book(category, symbol, sides[0], sides[1], self.desk.now_ms)

    def print_trade(self) -> None:
        category = self.draw.choice(CATEGORIES)
        self.desk.venue.on_trade(
            category,
            INSTRUMENTS[category].symbol,
            self.draw.choice(list(Side)),
            self.price(category, self.draw.randint(-8, 8)),
            self.size(category),
            self.desk.now_ms,
        )

    def tell_prices(self) -> None:
        category = self.draw.choice([Category.LINEAR, Category.INVERSE])
        self.desk.venue.on_prices(
            category,
            INSTRUMENTS[category].symbol,
            self.desk.now_ms,
            mark=self.price(category, self.draw.randint(-8, 8)),
            index=self.price(category, 0),
            funding_rate=D(self.draw.choice(["0.0001", "-0.0003", "0"])),
            next_funding_ms=self.desk.now_ms + self.draw.randint(1, 9),
        )

    def order(self) -> dict[str, Any]:
        draw, category = self.draw, self.draw.choice(CATEGORIES)
        values = {
            "category": category.value,
            "symbol": INSTRUMENTS[category].symbol,
            "side": draw.choice(["Buy", "Sell"]),
            "orderType": draw.choice(["Limit", "Limit", "Market"]),
            "qty": draw.choice([*[str(self.size(category))] * 19, "90"]),
            "price": str(self.price(category, draw.randint(-7, 7))),
            "timeInForce": draw.choice(["GTC", "GTC", "IOC", "FOK", "PostOnly"]),
            "smpType": draw.choice(["None", "None", "CancelMaker", "CancelTaker", "CancelBoth"]),
        }
        if category is Category.OPTION or draw.random() < 0.3:
            self.links += 1
            values["orderLinkId"] = f"link-{self.links - draw.choice([0, 0, 0, 1])}"
        if category is Category.SPOT:
            values["marketUnit"] = draw.choice(["", "baseCoin", "quoteCoin"])
            if draw.random() < 0.2:
                values["orderFilter"] = draw.choice(["StopOrder", "tpslOrder"])
                values["triggerPrice"] = str(self.price(category, draw.randint(-9, 9)))
            return values
        if draw.random() < 0.3:
            values["reduceOnly"] = True
        elif draw.random() < 0.3:
            away = draw.randint(1, 12)
            sign = 1 if values["side"] == "Buy" else -1
            values["takeProfit"] = str(self.price(category, (8 + away) * sign))
            values["stopLoss"] = str(self.price(category, -(8 + away) * sign))
            values["tpslMode"] = draw.choice(["Full", "Partial"])
        if draw.random() < 0.2:
            values["triggerDirection"] = draw.choice([1, 2])
            values["qty"] = draw.choice([values["qty"], "60"])  # more than can be paid for when it goes off
            values["triggerPrice"] = str(self.price(category, draw.randint(-9, 9)))
        if category is Category.LINEAR and self.is_hedged:
            values["positionIdx"] = draw.choice([1, 2])
        return values

    def request(self) -> None:
        venue, uid = self.desk.venue, self.draw.choice(["1", "2"])
        orders = list(venue.accounts[uid].orders.values())
        kind = self.draw.random()
        if kind < 0.6 or not orders:
            venue.create(uid, self.order(), self.desk.now_ms)
            return
        order = self.draw.choice(orders)
        if kind < 0.8:
            waits = order.rules.is_spot and order.is_waiting
            kind = order.stop_order_type.replace("Stop", "StopOrder") if waits else ""
            venue.cancel(uid, self.desk.key(order, orderFilter=kind), self.desk.now_ms)
        elif kind < 0.98:
            category = order.rules.category
            new = {
                "qty": str(self.size(category)),
                "price": str(self.price(category, self.draw.randint(-7, 7))),
            }
            del new[self.draw.choice(list(new))]
            venue.amend(uid, self.desk.key(order, **new), self.desk.now_ms)
        else:
            venue.cancel_all(uid, {"category": "linear", "settleCoin": "USDT"}, self.desk.now_ms)

    def step(self) -> None:
        choice = self.draw.choice(["book", "trade", "prices", "request", "request", "request"])
        try:
            {
                "book": self.move_market,
                "trade": self.print_trade,
                "prices": self.tell_prices,
                "request": self.request,
            }[choice]()
        except Refusal as refused:
            self.refusals[refused.code] += 1
        self.desk.tick()
        for event in self.desk.events[self.checked :]:
            self.note(event)
        self.checked = len(self.desk.events)
        self.check()

    # What must hold

    def note(self, event: VenueEvent) -> None:
        row = event.row
        if event.topic == "order":
            identity = row["orderId"]
            assert identity not in self.ended, "an order that has ended is told again"
            if row["orderStatus"] in ENDED:
                self.ended.add(identity)
            assert D(row["cumExecQty"]) == self.filled[identity]
            if row["marketUnit"] != "quoteCoin":
                assert D(row["cumExecQty"]) <= D(row["qty"])
            else:
                assert D(row["cumExecValue"]) <= D(row["qty"])
            self.statuses[identity] = row["orderStatus"]
        elif event.topic == "execution":
            self.note_execution(event)

    def note_execution(self, event: VenueEvent) -> None:
        row, money = event.row, self.balances[event.uid]
        fee = D(row["execFee"])
        if row["execType"] == "Funding":
            money[row["feeCurrency"]] -= fee
            return
        quantity, price = D(row["execQty"]), D(row["execPrice"])
        assert quantity > 0
        assert row["orderId"] not in self.ended
        sign = 1 if row["side"] == "Buy" else -1
        if row["orderPrice"] != "0":
            assert (D(row["orderPrice"]) - price) * sign >= 0, "filled at a price worse than its own"
        self.filled[row["orderId"]] += quantity
        money[row["feeCurrency"]] -= fee
        if row["category"] == "spot":
            money["BTC"] += quantity * sign
            money["USDT"] -= D(row["execValue"]) * sign
        else:
            money[row["feeCurrency"]] += D(row["execPnl"])
            index = self.index_of(row["orderId"])
            self.positions[event.uid, row["category"], row["symbol"], index] += quantity * sign

    def index_of(self, order_id: str) -> int:
        for account in self.desk.venue.accounts.values():
            for order in (*account.orders.values(), *account.closed):
                if order.order_id == order_id:
                    return order.position_index
        raise AssertionError(order_id)

    def check(self) -> None:
        for uid, account in self.desk.venue.accounts.items():
            for coin, balance in account.balances.items():
                assert balance == self.balances[uid][coin], (uid, coin)
            for (category, symbol, index), position in account.positions.items():
                assert position.signed == self.positions[uid, category.value, symbol, index]
                assert (position.cost == 0) == (position.signed == 0)
                assert position.cost >= 0
            closed = {order.order_id for order in account.closed}
            assert not closed & set(account.orders)
            for order in account.orders.values():
                assert order.is_open
                assert order.leaves > 0
                assert self.statuses[order.order_id] == order.status
            assert all(not order.is_open for order in account.closed)
        self.check_books()

    def check_books(self) -> None:
        open_ids: set[str] = set()
        for market in self.desk.venue.markets.values():
            for side, orders in market.resting.items():
                places = [(-(order.price or D(0)) * side.sign, order.priority) for order in orders]
                assert places == sorted(places), "price before time"
                assert all(order.is_open and not order.is_waiting for order in orders)
                open_ids |= {order.order_id for order in orders}
            assert all(order.is_waiting for order in market.waiting)
            open_ids |= {order.order_id for order in market.waiting}
        known = {i for account in self.desk.venue.accounts.values() for i in account.orders}
        assert open_ids == known, "an order is in the book or waits, and nowhere twice"


@given(st.integers(0, 2**32))
def test_everything_adds_up(seed: int) -> None:
    trader = Trader(seed)
    for _ in range(120):
        trader.step()


def test_the_draws_reach_what_they_are_for() -> None:
    """The property above would be empty if hardly anything ever traded."""
    refused: defaultdict[int, int] = defaultdict(int)
    statuses: set[str] = set()
    stops: set[str] = set()
    kinds: set[tuple[str, bool]] = set()
    funded = 0
    for seed in range(40):
        trader = Trader(seed)
        for _ in range(120):
            trader.step()
        for code, count in trader.refusals.items():
            refused[code] += count
        for event in trader.desk.events:
            if event.topic == "order":
                statuses.add(event.row["orderStatus"])
                stops.add(event.row["stopOrderType"])
            if event.topic == "execution":
                kinds.add((event.row["category"], event.row["isMaker"]))
                funded += event.row["execType"] == "Funding"
    assert statuses == ENDED - {"Rejected"} | {"New", "PartiallyFilled", "Untriggered", "Triggered"}
    assert {"TakeProfit", "StopLoss", "PartialTakeProfit", "PartialStopLoss", "Stop"} <= stops
    assert kinds == {(category.value, maker) for category in CATEGORIES for maker in (True, False)}
    assert funded > 10
    assert {110017, 110072, 110092, 110093, 110007} <= set(refused)


@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_events(seed: int) -> None:
    first, second = Trader(seed), Trader(seed)
    for _ in range(40):
        first.step()
        second.step()
    assert first.desk.events == second.desk.events


@given(st.integers(0, 2**32), st.sampled_from(list(Side)))
def test_who_stands_in_front_is_served_first(seed: int, side: Side) -> None:
    """Of orders of several accounts at several prices, none is filled while one in front of it wants more."""
    draw, desk = random.Random(seed), Desk()
    for account in desk.venue.accounts.values():
        account.balances.update({"USDT": D(10**9), "BTC": D(10**6)})
    base = D(60_000)
    worlds = [(base - distance * side.sign, D(draw.randint(1, 9))) for distance in range(5)]
    desk.book(*[[(str(p), str(s)) for p, s in worlds] if side is each else [] for each in Side])
    orders = []
    for _ in range(12):
        price = base - draw.randint(0, 4) * side.sign
        order = desk.create(side.value, str(draw.randint(1, 5)), str(price), uid=draw.choice("12"))
        orders.append((-price * side.sign, len(orders), order))
    orders.sort(key=lambda item: item[:2])
    traded = D(0)
    for _ in range(12):
        price, size = base - draw.randint(0, 4) * side.sign, D(draw.randint(1, 12))
        before = {id(order): order.filled for _, _, order in orders}
        desk.trade(side.opposite.value, str(price), str(size))
        filled = sum((order.filled - before[id(order)] for _, _, order in orders), D(0))
        assert filled <= size, "more was filled than was traded"
        traded += filled
        gained = [order.filled > before[id(order)] for _, _, order in orders]
        for number, (_, _, order) in enumerate(orders):
            if order.is_open and not gained[number]:
                rank = -(order.price or D(0)) * side.sign
                behind = [
                    other
                    for place, (other_rank, _, other) in enumerate(orders)
                    if place > number and gained[place] and (other_rank > rank or other.price == order.price)
                ]
                assert not behind, "somebody behind was served"
    assert traded == sum((order.filled for _, _, order in orders), D(0))


@pytest.mark.parametrize("side", list(Side))
def test_taking_never_takes_more_than_is_displayed(side: Side) -> None:
    desk = Desk()
    for account in desk.venue.accounts.values():
        account.balances["USDT"] = D(10**9)
    levels = [(str(60_000 + n * side.sign), "1.5") for n in range(1, 4)]
    desk.book(*[levels if each is side.opposite else [] for each in Side])
    for number in range(7):
        desk.create(side.value, "1", str(60_000 + 3 * side.sign), uid="12"[number % 2], timeInForce="IOC")
    fills = [D(e.row["execQty"]) for e in desk.events if e.topic == "execution"]
    assert sum(fills) == D("4.5")
