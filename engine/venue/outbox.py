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
        topic: ``order``, ``execution``, ``position``, ``greeks`` or ``wallet``.
        category: None for wallet and greeks.
    """

    topic: str
    uid: str
    category: Category | None
    row: Row


class Outbox:
    """Gathers what changes, and tells each position and wallet once per request or market datum.

    Args:
        position_row, wallet_row: make the rows.
        greeks_row: makes the row of an account's options on a coin.
    """

    def __init__(
        self,
        position_row: Callable[[Account, Position], Row],
        wallet_row: Callable[[Account], Row],
        greeks_row: Callable[[Account, str], Row],
    ) -> None:
        self._position_row = position_row
        self._wallet_row = wallet_row
        self._greeks_row = greeks_row
        self._events: list[VenueEvent] = []
        self._positions: dict[Position, Account] = {}
        self._wallets: dict[str, Account] = {}

    def order(self, order: Order) -> None:
        """Tell an order as it stands now."""
        self._events.append(VenueEvent("order", order.uid, order.rules.category, order_row(order)))

    def execution(self, account: Account, category: Category, row: Row) -> None:
        """Tell an execution."""
        account.remember_execution(row)
        self._events.append(VenueEvent("execution", account.uid, category, row))

    def position_of(self, account: Account, order: Order) -> None:
        """Tell the position that a request was about, as the exchange does even if nothing changes."""
        if not order.rules.is_spot:
            self.position(account, account.position_for_fill(order.rules, order.position_index))

    def late_cancel(self, order: Order) -> None:
        """Tell a filled order once more, for a cancel that came too late for the matching engine alone."""
        row = {**order_row(order), "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}
        self._events.append(VenueEvent("order", order.uid, order.rules.category, row))

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
        options = {
            (account.uid, position.rules.base_coin): account
            for position, account in self._positions.items()
            if position.rules.category is Category.OPTION
        }
        for (uid, coin), account in options.items():
            events.append(VenueEvent("greeks", uid, None, self._greeks_row(account, coin)))
        for account in self._wallets.values():
            events.append(VenueEvent("wallet", account.uid, None, self._wallet_row(account)))
        self._positions.clear()
        self._wallets.clear()
        return events
