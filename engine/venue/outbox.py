"""What the venue has to tell: rows made at the moment that they are true, in the order in which they came to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from engine.venue.account import Account
from engine.venue.order import Order
from engine.venue.position import Position
from engine.venue.rows import Row, order_row
from schemas.names import Category

__all__ = ["Outbox", "VenueEvent"]


class VenueEvent(NamedTuple):
    """Something that one account is told.

    Attributes:
        topic: ``order``, ``execution``, ``position`` or ``wallet``.
        category: None for the wallet.
    """

    topic: str
    uid: str
    category: Category | None
    row: Row


class Outbox:
    """Gathers what changes, and tells each position and wallet once per request or market datum.

    Args:
        position_row, wallet_row: make the rows.
    """

    def __init__(
        self,
        position_row: Callable[[Account, Position], Row],
        wallet_row: Callable[[Account], Row],
    ) -> None:
        self._position_row = position_row
        self._wallet_row = wallet_row
        self._events: list[VenueEvent] = []
        self._positions: dict[Position, Account] = {}
        self._wallets: dict[str, Account] = {}

    def order(self, order: Order) -> None:
        """Tell an order as it stands now."""
        self._events.append(VenueEvent("order", order.uid, order.rules.category, order_row(order)))

    def execution(self, account: Account, category: Category, row: Row) -> None:
        """Tell an execution."""
        account.executions.append(row)
        self._events.append(VenueEvent("execution", account.uid, category, row))

    def position(self, account: Account, position: Position) -> None:
        """Tell a position once everything is done."""
        self._positions[position] = account

    def wallet(self, account: Account) -> None:
        """Tell a wallet once everything is done."""
        self._wallets[account.uid] = account

    def take(self) -> list[VenueEvent]:
        """Return what there is to tell, and forget it."""
        events, self._events = self._events, []
        for position, account in self._positions.items():
            row = self._position_row(account, position)
            events.append(VenueEvent("position", account.uid, position.rules.category, row))
        for account in self._wallets.values():
            events.append(VenueEvent("wallet", account.uid, None, self._wallet_row(account)))
        self._positions.clear()
        self._wallets.clear()
        return events
