"""Orders, positions, wallet and fills as they are now, out of private stream rows and REST answers (section 8).

Rows come from outside: lost, repeated, out of order, from two sources. What counts is therefore never when a row came,
but what it says: an order's row by whether it is closed, how much is filled, and its time; a position's by its sequence
and time; a coin's by the time of its message; a fill by its ``execId``. A malformed row is counted and changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from engine.venue.rules import ZERO, decimal_of
from engine.venue.terms import CLOSED, OPEN, OrderStatus, Side
from execution.desk.exposure import EXACT, Exposure, direction_of
from execution.desk.orders import CATEGORIES
from execution.desk.outcomes import Direction
from schemas.names import Category

__all__ = ["GONE", "CoinBalance", "Fill", "LiveAccount", "LiveOrder", "LivePosition", "has_values"]

REMEMBERED_ORDERS: Final = 10_000
REMEMBERED_FILLS: Final = 100_000
REMEMBERED_AHEAD: Final = 1_000
"""Fills of one position that its rows have not caught up with."""

GONE: Final = "Gone"
"""Our status of an order that was open, and that the exchange no longer knows: closed, how cannot be known any more."""

_RANK: Final = {
    OrderStatus.UNTRIGGERED.value: 0,
    OrderStatus.TRIGGERED.value: 1,
    OrderStatus.NEW.value: 2,
    OrderStatus.PARTIALLY_FILLED.value: 3,
} | {status.value: 4 for status in CLOSED}
_FILTERS: Final = {
    "tpslOrder": "tpslOrder",
    "OcoOrder": "OcoOrder",
    "BidirectionalTpslOrder": "BidirectionalTpslOrder",
}
_CATEGORIES: Final = {category.value: category for category in CATEGORIES}
_OPEN: Final = frozenset(status.value for status in OPEN) | {OrderStatus.TRIGGERED.value}


class LiveOrder(msgspec.Struct, gc=False):
    """An order as the exchange last told it.

    Attributes:
        price: None of a market order.
        filled, filled_value: cumulative, in base coins or contracts, and in the coin that the value has.
        status: as the exchange spells it, or `GONE`.
        row: everything that the latest row said.
        seen_ms: the caller's clock when the latest row that counted came.
        adds, reduces: as what `LiveAccount.exposure` and `reducing` count it; None where they don't.
    """

    category: Category
    symbol: str
    order_id: str
    link_id: str
    side: str
    status: str
    price: Decimal | None
    quantity: Decimal
    filled: Decimal
    filled_value: Decimal
    updated_ms: int
    row: dict[str, Any]
    seen_ms: int
    adds: tuple[Direction, Decimal] | None = None
    reduces: tuple[Direction, Decimal] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still trade or go off."""
        return self.status in _OPEN

    @property
    def leaves(self) -> Decimal:
        """What is left to fill; 0 once it is over."""
        return max(ZERO, self.quantity - self.filled) if self.is_open else ZERO

    @property
    def is_reduce_only(self) -> bool:
        """Whether it can only close."""
        return self.row.get("reduceOnly") is True

    @property
    def created_ms(self) -> int:
        """When the exchange took it, by its clock; 0 where it doesn't say."""
        return _whole(self.row, "createdTime")

    @property
    def filter_kind(self) -> str:
        """The ``orderFilter`` that means a spot order as long as it waits for its trigger; empty for what is normal."""
        if self.category is not Category.SPOT or self.status != OrderStatus.UNTRIGGERED:
            return ""
        return _FILTERS.get(str(self.row.get("stopOrderType")), "StopOrder")

    def has(self, wire: Mapping[str, str]) -> bool:
        """Whether its latest row has these values."""
        return has_values(self.row, wire)


def has_values(row: Mapping[str, Any], wire: Mapping[str, str]) -> bool:
    """Whether a row has some values, compared as numbers; absent and empty is 0."""
    return all(
        (decimal_of(row.get(name)) or ZERO) == (decimal_of(value) or ZERO) for name, value in wire.items()
    )


class LivePosition(msgspec.Struct):
    """A position; flat ones have size 0.

    Attributes:
        side: ``Buy``, ``Sell``, or empty when flat.
        sequence: of the change that it shows; -1 if it never traded.
    """

    category: Category
    symbol: str
    index: int
    side: str
    size: Decimal
    entry_price: Decimal
    unrealised: Decimal
    leverage: Decimal | None
    sequence: int
    updated_ms: int
    row: dict[str, Any]

    @property
    def signed(self) -> Decimal:
        """Size, negative for short ones."""
        return self.size.copy_negate() if self.side == "Sell" else self.size


class CoinBalance(msgspec.Struct):
    """One coin of the unified account."""

    coin: str
    wallet_balance: Decimal
    equity: Decimal
    locked: Decimal
    told_ms: int


class Fill(msgspec.Struct, frozen=True):
    """One execution.

    Attributes:
        kind: ``execType``, such as Trade or Funding.
        fee: None until the slower ``execution`` topic or REST tells it (``execution.fast`` doesn't).
        profit: ``execPnl``, realised by it; None where it isn't told.
    """

    execution_id: str
    category: Category
    symbol: str
    order_id: str
    link_id: str
    side: str
    kind: str
    price: Decimal
    quantity: Decimal
    is_maker: bool
    executed_ms: int
    fee: Decimal | None
    fee_coin: str
    profit: Decimal | None


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) and len(value) <= 256 else ""


def _whole(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62 else 0


class LiveAccount:
    """The account, kept current by rows.

    Attributes:
        positions: by category, symbol and index.
        coins: by name.
        fills: by ``execId``, the latest `REMEMBERED_FILLS`.
        exposure: what open orders have left, without those that can only close.
        reducing: what those that can only close have left.
        malformed: rows that could not be read.
    """

    def __init__(self) -> None:
        self.positions: dict[tuple[Category, str, int], LivePosition] = {}
        self.coins: dict[str, CoinBalance] = {}
        self.fills: dict[str, Fill] = {}
        self.exposure = Exposure()
        self.reducing = Exposure()
        self._ahead: dict[tuple[Category, str, int], deque[tuple[int, Decimal]]] = {}
        self.malformed = 0
        self._orders: dict[str, LiveOrder] = {}
        self._by_link: dict[tuple[Category, str], LiveOrder] = {}
        self._closed: deque[LiveOrder] = deque()
        self._open: dict[str, LiveOrder] = {}

    def __repr__(self) -> str:
        return (
            f"<LiveAccount {len(self._open)} open orders, {len(self.positions)} positions, {len(self.fills)} fills, "
            f"{self.malformed} malformed rows>"
        )

    # -- orders --------------------------------------------------------------------------------------------

    @property
    def open_orders(self) -> list[LiveOrder]:
        """Those that may still trade."""
        return list(self._open.values())

    @property
    def orders(self) -> Iterable[LiveOrder]:
        """All that are remembered: the open ones and the latest closed."""
        return self._orders.values()

    def order(self, category: Category, *, order_id: str = "", link_id: str = "") -> LiveOrder | None:
        """Find an order by the exchange's id, or by ours."""
        found = self._orders.get(order_id) if order_id else None
        if found is not None:
            return found if found.category is category else None
        return self._by_link.get((category, link_id)) if link_id else None

    def knows(self, category: Category, link_id: str) -> bool:
        """Whether any row has shown an order of this name."""
        return (category, link_id) in self._by_link

    def on_order(self, row: object, now_ms: int, *, category: Category | None = None) -> LiveOrder | None:
        """Take an order's row.

        Args:
            category: for REST rows, which don't name it.

        Returns:
            The order it is about, whether the row was news or not; None if it can't be read.
        """
        read = self._read_order(row, now_ms, category)
        if read is None:
            self.malformed += 1
            return None
        known = self._orders.get(read.order_id)
        if known is None:
            self._add(read)
            self._recount(read)
            return read
        if _precedence(read) >= _precedence(known) and not (known.status == GONE and read.is_open):
            was_open = known.is_open
            for name in (
                "status",
                "price",
                "quantity",
                "filled",
                "filled_value",
                "updated_ms",
                "row",
                "seen_ms",
            ):
                setattr(known, name, getattr(read, name))
            if was_open and not known.is_open:
                self._close(known)
            self._recount(known)
        return known

    def mark_gone(self, order: LiveOrder) -> None:
        """Close an order of which the exchange knows nothing any more."""
        if order.is_open:
            order.status = GONE
            self._close(order)
            self._recount(order)

    def _read_order(self, row: object, now_ms: int, category: Category | None) -> LiveOrder | None:
        if not isinstance(row, dict):
            return None
        found = _CATEGORIES.get(_text(row, "category"), category)
        status, order_id = _text(row, "orderStatus"), _text(row, "orderId")
        quantity = decimal_of(row.get("qty"))
        if found is None or status not in _RANK or not order_id or quantity is None:
            return None
        return LiveOrder(
            category=found,
            symbol=_text(row, "symbol"),
            order_id=order_id,
            link_id=_text(row, "orderLinkId"),
            side=_text(row, "side"),
            status=status,
            price=decimal_of(row.get("price")) or None,
            quantity=quantity,
            filled=decimal_of(row.get("cumExecQty")) or ZERO,
            filled_value=decimal_of(row.get("cumExecValue")) or ZERO,
            updated_ms=_whole(row, "updatedTime"),
            row=row,
            seen_ms=now_ms,
        )

    def _add(self, order: LiveOrder) -> None:
        self._orders[order.order_id] = order
        if order.link_id:
            self._by_link[order.category, order.link_id] = order
        if order.is_open:
            self._open[order.order_id] = order
        else:
            self._close(order)

    def _close(self, order: LiveOrder) -> None:
        self._open.pop(order.order_id, None)
        self._closed.append(order)
        while len(self._closed) > REMEMBERED_ORDERS:
            oldest = self._closed.popleft()
            self._orders.pop(oldest.order_id, None)
            if oldest.link_id and self._by_link.get((oldest.category, oldest.link_id)) is oldest:
                del self._by_link[oldest.category, oldest.link_id]

    def _recount(self, order: LiveOrder) -> None:
        """Count what is left of an order in place of what was."""
        direction = direction_of(order.category, order.symbol, order.side, order.row.get("positionIdx", 0))
        leaves = ZERO if direction is None else order.leaves
        counted = None if direction is None or not leaves else (direction, leaves)
        is_closing = order.is_reduce_only
        order.adds = self.exposure.replace(order.adds, None if is_closing else counted)
        order.reduces = self.reducing.replace(order.reduces, counted if is_closing else None)

    # -- fills ---------------------------------------------------------------------------------------------

    def on_execution(self, row: object, *, category: Category | None = None) -> Fill | None:
        """Take a fill of ``execution``, ``execution.fast`` or REST.

        Returns:
            The fill if it is the first row of its ``execId``, else None; one that adds the fee completes it silently.
        """
        fill = self._read_fill(row, category)
        if fill is None:
            self.malformed += 1
            return None
        known = self.fills.get(fill.execution_id)
        if known is not None:
            if known.fee is None and fill.fee is not None:
                self.fills[fill.execution_id] = fill
            return None
        self.fills[fill.execution_id] = fill
        if category is None:
            self._run_ahead(fill, row)
        if len(self.fills) > REMEMBERED_FILLS:
            del self.fills[next(iter(self.fills))]
        return fill

    def _run_ahead(self, fill: Fill, row: object) -> None:
        """Remember a fill of the stream until its position's row has come: a position is not what its last row says."""
        order = self._orders.get(fill.order_id)
        sequence = row.get("seq") if isinstance(row, dict) else None
        index = 0 if order is None else order.row.get("positionIdx", 0)
        if fill.category is Category.SPOT or fill.kind != "Trade" or index not in (0, 1, 2):
            return
        key = fill.category, fill.symbol, index
        known = self.positions.get(key)
        if not isinstance(sequence, int) or (known is not None and known.sequence >= sequence):
            return
        ahead = self._ahead.setdefault(key, deque(maxlen=REMEMBERED_AHEAD))
        ahead.append((sequence, -fill.quantity if fill.side == Side.SELL else fill.quantity))

    def held(self, category: Category, symbol: str, index: int) -> Decimal:
        """A position, negative for short ones, with the fills that are ahead of its latest row."""
        key = category, symbol, index
        position = self.positions.get(key)
        ahead = self._ahead.get(key)
        signed = ZERO if position is None else position.signed
        for _, quantity in ahead or ():
            signed = EXACT.add(signed, quantity)  # asked in whatever context a strategy reckons in
        return signed

    def _read_fill(self, row: object, category: Category | None) -> Fill | None:
        if not isinstance(row, dict):
            return None
        found = _CATEGORIES.get(_text(row, "category"), category)
        identity, kind = _text(row, "execId"), _text(row, "execType") or "Trade"
        price, quantity = decimal_of(row.get("execPrice")), decimal_of(row.get("execQty"))
        if found is None or not identity or price is None or quantity is None:
            return None
        return Fill(
            execution_id=identity,
            category=found,
            symbol=_text(row, "symbol"),
            order_id=_text(row, "orderId"),
            link_id=_text(row, "orderLinkId"),
            side=_text(row, "side"),
            kind=kind,
            price=price,
            quantity=quantity,
            is_maker=row.get("isMaker") is True,
            executed_ms=_whole(row, "execTime"),
            fee=decimal_of(row.get("execFee")),
            fee_coin=_text(row, "feeCurrency"),
            profit=decimal_of(row.get("execPnl")),
        )

    # -- positions -----------------------------------------------------------------------------------------

    def on_position(self, row: object, *, category: Category | None = None) -> LivePosition | None:
        """Take a position's row, the stream's or REST's; returns the position, None if the row can't be read."""
        read = self._read_position(row, category)
        if read is None:
            self.malformed += 1
            return None
        key = read.category, read.symbol, read.index
        known = self.positions.get(key)
        if known is None or (read.sequence, read.updated_ms) >= (known.sequence, known.updated_ms):
            self.positions[key] = read
            ahead = self._ahead.get(key)
            while ahead and ahead[0][0] <= read.sequence:
                ahead.popleft()
            return read
        return known

    def restart_position(self, row: object, category: Category) -> None:
        """Take a position's row whatever was known: of an exchange that has forgotten what came before."""
        read = self._read_position(row, category)
        if read is not None:
            key = read.category, read.symbol, read.index
            self.positions[key] = read
            self._ahead.pop(key, None)

    def _read_position(self, row: object, category: Category | None) -> LivePosition | None:
        if not isinstance(row, dict):
            return None
        found = _CATEGORIES.get(_text(row, "category"), category)
        symbol, size, sequence = _text(row, "symbol"), decimal_of(row.get("size")), row.get("seq")
        index = row.get("positionIdx")
        if found is None or not symbol or size is None or size < 0 or index not in (0, 1, 2):
            return None
        if isinstance(sequence, bool) or not isinstance(sequence, int):
            return None
        entry = row.get("entryPrice") if "entryPrice" in row else row.get("avgPrice")
        return LivePosition(
            category=found,
            symbol=symbol,
            index=int(index),
            side=_text(row, "side"),
            size=size,
            entry_price=decimal_of(entry) or ZERO,
            unrealised=decimal_of(row.get("unrealisedPnl")) or ZERO,
            leverage=decimal_of(row.get("leverage")),
            sequence=sequence,
            updated_ms=_whole(row, "updatedTime"),
            row=row,
        )

    # -- wallet --------------------------------------------------------------------------------------------

    def on_wallet(self, row: object, told_ms: int, *, is_whole: bool = False) -> None:
        """Take a wallet's row.

        Args:
            told_ms: the exchange's time of the message or answer.
            is_whole: a REST answer that names every coin there is: one that it leaves out is empty.
        """
        coins = row.get("coin") if isinstance(row, dict) else None
        if not isinstance(coins, list):
            self.malformed += 1
            return
        named: set[str] = set()
        for coin in coins:
            read = self._read_coin(coin, told_ms)
            if read is None:
                self.malformed += 1
                continue
            named.add(read.coin)
            known = self.coins.get(read.coin)
            if known is None or told_ms >= known.told_ms:
                self.coins[read.coin] = read
        if is_whole:
            for name, known in self.coins.items():
                if name not in named and known.told_ms <= told_ms:
                    self.coins[name] = CoinBalance(name, ZERO, ZERO, ZERO, told_ms)

    def _read_coin(self, row: object, told_ms: int) -> CoinBalance | None:
        if not isinstance(row, dict):
            return None
        name, balance = _text(row, "coin"), decimal_of(row.get("walletBalance"))
        if not name or balance is None:
            return None
        equity = decimal_of(row.get("equity"))
        locked = decimal_of(row.get("locked")) or ZERO
        return CoinBalance(name, balance, balance if equity is None else equity, locked, told_ms)


def _precedence(order: LiveOrder) -> tuple[bool, Decimal, int, int]:
    """Which of two rows of one order is the later one, whichever came first."""
    return not order.is_open, order.filled, order.updated_ms, _RANK.get(order.status, 5)
