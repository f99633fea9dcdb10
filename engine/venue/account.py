"""An account: its coins, positions, orders and settings, and what of it is spoken for.

The margin is simple on purpose: each coin stands for itself. Available is the balance, less what spot orders lock,
less the initial margin of positions and of opening orders in this coin, less the losses that are open. Nothing is ever
borrowed or liquidated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from engine.venue.order import Order
from engine.venue.position import Position
from engine.venue.rules import ZERO, TradingRules, settled
from engine.venue.terms import Side
from schemas.names import Category

__all__ = ["DEFAULT_LEVERAGE", "REMEMBERED_ORDERS", "Account", "Claims", "PriceOf"]

DEFAULT_LEVERAGE: Final = Decimal(10)
REMEMBERED_ORDERS: Final = 50_000
"""Closed orders, and executions, that an account remembers."""

PriceOf = Callable[[TradingRules], Decimal | None]
"""The price that positions are valued at; None where there is none yet."""


class Claims(NamedTuple):
    """What open orders hold, by coin: spot orders of what they would spend, contract orders as margin."""

    locked: dict[str, Decimal]
    margins: dict[str, Decimal]


class Account:
    """One account.

    Args:
        uid: its number.
        balances: coins that it starts with.
    """

    def __init__(self, uid: str, balances: dict[str, Decimal]) -> None:
        self.uid = uid
        self.deposits = {coin: settled(amount) for coin, amount in balances.items()}
        self.balances = dict(self.deposits)
        self.realised: dict[str, Decimal] = {}
        self.positions: dict[tuple[Category, str, int], Position] = {}
        self.orders: dict[str, Order] = {}
        self.closed: deque[Order] = deque()
        self._closed_by_id: dict[str, Order] = {}
        self._by_link: dict[tuple[Category, str], Order] = {}
        self.executions: deque[tuple[int, dict[str, object]]] = deque(maxlen=REMEMBERED_ORDERS)
        self.leverage: dict[tuple[Category, str], Decimal] = {}
        self.hedged: set[tuple[Category, str]] = set()

    def __repr__(self) -> str:
        return f"<Account {self.uid}: {len(self.orders)} orders, {len(self.positions)} positions>"

    def add_order(self, order: Order) -> None:
        """Begin to know an order."""
        self.orders[order.order_id] = order
        if order.link_id:
            self._by_link[order.rules.category, order.link_id] = order

    def close_order(self, order: Order) -> None:
        """Move an order that has ended to the remembered ones."""
        del self.orders[order.order_id]
        if len(self.closed) >= REMEMBERED_ORDERS:
            oldest = self.closed.popleft()
            del self._closed_by_id[oldest.order_id]
            if oldest.link_id:
                self._by_link.pop((oldest.rules.category, oldest.link_id), None)
        self.closed.append(order)
        self._closed_by_id[order.order_id] = order

    def remember_execution(self, row: dict[str, object]) -> None:
        """Keep an execution, under its ordinal in this account."""
        number = self.executions[-1][0] + 1 if self.executions else 1
        self.executions.append((number, row))

    def find(self, category: Category, order_id: str, link_id: str) -> Order | None:
        """Find an order by its id, or by its link id if none is given; open or remembered."""
        if order_id:
            order = self.orders.get(order_id) or self._closed_by_id.get(order_id)
            return order if order is not None and order.rules.category is category else None
        return self._by_link.get((category, link_id))

    def is_hedged(self, rules: TradingRules) -> bool:
        """Whether a symbol's two sides are positions of their own."""
        return (rules.category, rules.symbol) in self.hedged

    def leverage_of(self, rules: TradingRules) -> Decimal:
        """Leverage of a symbol, 1 where there is none."""
        default = min(DEFAULT_LEVERAGE, rules.maximum_leverage)
        return self.leverage.get((rules.category, rules.symbol), default)

    def position(self, rules: TradingRules, index: int) -> Position | None:
        """The position, None where there never was one."""
        return self.positions.get((rules.category, rules.symbol, index))

    def position_or_flat(self, rules: TradingRules, index: int) -> Position:
        """The position; one that never was is told as flat, and not kept."""
        return self.position(rules, index) or Position(rules, index)

    def position_for_fill(self, rules: TradingRules, index: int) -> Position:
        """The position, made if there is none yet."""
        return self.positions.setdefault((rules.category, rules.symbol, index), Position(rules, index))

    def reducible(self, order: Order) -> Decimal:
        """How much of an order's side would close."""
        position = self.position(order.rules, order.position_index)
        if position is None or position.side is not order.side.opposite:
            return ZERO
        return position.size

    def book(self, coin: str, amount: Decimal) -> None:
        """Add to a balance, or take from it."""
        self.balances[coin] = self.balances.get(coin, ZERO) + amount

    # What is spoken for

    def spot_lock(self, order: Order) -> tuple[str, Decimal]:
        """Coin and amount that a spot order holds."""
        if order.is_waiting and not order.reserves:
            return order.rules.quote_coin, ZERO
        if order.side is Side.SELL:
            return order.rules.base_coin, order.leaves
        if order.is_quote_sized:
            return order.rules.quote_coin, order.leaves
        return order.rules.quote_coin, settled(order.leaves * (order.price or order.limit or ZERO))

    def order_margin(self, order: Order, price_of: PriceOf) -> Decimal:
        """Initial margin of the part of a contract order that would open."""
        if order.only_closes or order.is_waiting:
            return ZERO
        price = order.price or order.limit or price_of(order.rules)
        if price is None or order.leaves <= 0:
            return ZERO
        opening = max(ZERO, order.leaves - self.reducible(order))
        return settled(order.rules.value(price, opening) / self.leverage_of(order.rules))

    def position_margin(self, position: Position) -> Decimal:
        """Initial margin of a position."""
        return settled(position.cost / self.leverage_of(position.rules))

    def contract_positions(self, coin: str) -> Iterator[Position]:
        """Positions that a coin settles."""
        return (p for p in self.positions.values() if p.rules.settle_coin == coin)

    def claims(self, price_of: PriceOf) -> Claims:
        """What open orders hold of every coin."""
        locked: dict[str, Decimal] = {}
        margins: dict[str, Decimal] = {}
        for order in self.orders.values():
            if order.rules.is_spot:
                coin, amount = self.spot_lock(order)
                locked[coin] = locked.get(coin, ZERO) + amount
            else:
                coin, amount = order.rules.settle_coin, self.order_margin(order, price_of)
                margins[coin] = margins.get(coin, ZERO) + amount
        return Claims(locked, margins)

    def unrealised(self, coin: str, price_of: PriceOf) -> Decimal:
        """Profit of the open positions that a coin settles."""
        total = ZERO
        for position in self.contract_positions(coin):
            mark = price_of(position.rules)
            if mark is not None:
                total += position.unrealised(mark)
        return total

    def available(self, coin: str, price_of: PriceOf, claims: Claims | None = None) -> Decimal:
        """What may be spent of a coin.

        Args:
            claims: of all open orders, where they are known already.
        """
        held = self.claims(price_of) if claims is None else claims
        margins = sum((self.position_margin(p) for p in self.contract_positions(coin)), ZERO)
        loss = min(ZERO, self.unrealised(coin, price_of))
        spoken_for = held.locked.get(coin, ZERO) + held.margins.get(coin, ZERO) + margins
        return self.balances.get(coin, ZERO) - spoken_for + loss
