"""Running sums of what could still be added to positions: asked before each order, and therefore not added up anew.

`Exposure` is exact, of what open orders have left. `Pending` is at most what requests could add that no row may have
shown yet: where that fits into a limit nothing more has to be asked, where it doesn't, requests are looked at one by
one (`execution.desk.limits`).
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Final

from engine.venue.rules import ZERO, decimal_of
from execution.desk.outcomes import Direction, OrderRequest
from execution.desk.wire import Op
from schemas.names import Category

__all__ = ["EVERYTHING", "EXACT", "Direction", "Exposure", "Pending", "direction_of"]

EXACT: Final = Context(prec=60)
"""Holds sums of what `decimal_of` reads (15 digits before the point, 20 behind it) without rounding."""
_INDEXES: Final = (0, 1, 2)
_CREATE: Final = Op.CREATE  # found sooner here than in its class
EVERYTHING: Final = Decimal(10**15)
"""More than any position."""


def direction_of(category: Category, symbol: str, side: object, index: object) -> Direction | None:
    """What an order adds to, from values of the wire; None where they are none that an order has."""
    if not isinstance(side, str) or not isinstance(index, int) or index not in _INDEXES:
        return None
    return category, symbol, side, index


class Exposure(dict[Direction, Decimal]):
    """Sums of quantities by direction; what was added is removed, and leaves nothing behind."""

    def of(self, direction: Direction) -> Decimal:
        """The sum of a direction."""
        return self.get(direction, ZERO)

    def add(self, direction: Direction, quantity: Decimal) -> None:
        """Add a quantity."""
        self[direction] = EXACT.add(self.get(direction, ZERO), quantity)

    def remove(self, direction: Direction, quantity: Decimal) -> None:
        """Remove one that was added."""
        total = EXACT.subtract(self.get(direction, ZERO), quantity)
        if total:
            self[direction] = total
        else:
            self.pop(direction, None)

    def replace(
        self, before: tuple[Direction, Decimal] | None, after: tuple[Direction, Decimal] | None
    ) -> tuple[Direction, Decimal] | None:
        """Count something in place of what it was counted as; returns what it is counted as."""
        if before != after:
            if before is not None:
                self.remove(*before)
            if after is not None:
                self.add(*after)
        return after


class Pending:
    """Creates and amends of which a row may be missing, by what they could add at most.

    Attributes:
        reducing: what creates that can only close would close.
        sums: by direction, what they could add.
        unclear: by category and symbol, of how many that isn't clear.
    """

    def __init__(self) -> None:
        self.sums = Exposure()
        self.reducing = Exposure()
        self.unclear: dict[tuple[Category, str], int] = {}

    def __repr__(self) -> str:
        return f"<Pending {self.sums} unclear: {self.unclear}>"

    def enter(self, request: OrderRequest) -> None:
        """Count a request until it leaves."""
        if request.op is _CREATE:
            key, fields, quantity = request.key, request.fields, request.quantity
            if quantity is None:
                quantity = decimal_of(fields.get("qty")) or ZERO
            direction = direction_of(
                key.category, key.symbol, fields.get("side"), fields.get("positionIdx", 0)
            )
            if fields.get("reduceOnly"):
                if direction is not None:
                    # a quantity of 0 closes whatever there is
                    request.reduces = self.reducing.replace(None, (direction, quantity or EVERYTHING))
                return
            if direction is not None and fields.get("marketUnit") != "quoteCoin":
                if quantity:
                    request.adds = direction, quantity
                    self.sums.add(direction, quantity)
                return
        elif request.op is Op.CANCEL or "qty" not in request.changed:
            return
        # What it adds depends on something else: an order's present quantity, or a price.
        request.is_unclear = True
        name = request.key.category, request.key.symbol
        self.unclear[name] = self.unclear.get(name, 0) + 1

    def leave(self, request: OrderRequest) -> None:
        """Count it no more."""
        if request.reduces is not None:
            request.reduces = self.reducing.replace(request.reduces, None)
        if request.adds is not None:
            direction, quantity = request.adds
            request.adds = None
            self.sums.remove(direction, quantity)
        elif request.is_unclear:
            request.is_unclear = False
            name = request.key.category, request.key.symbol
            self.unclear[name] -= 1
            if not self.unclear[name]:
                del self.unclear[name]

    def most(self, direction: Direction) -> Decimal | None:
        """What a direction could gain at most; None where that isn't clear."""
        if self.unclear and direction[:2] in self.unclear:
            return None
        return self.sums.get(direction, ZERO)
