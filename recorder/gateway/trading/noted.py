"""Operations carried out at a desk, and the ledger's line about each of them."""

from __future__ import annotations

from typing import Any

from recorder.gateway.faults import Deed
from recorder.gateway.ledger import Ledger
from recorder.gateway.trading.desk import Desk
from recorder.gateway.trading.operations import Outcome, perform
from recorder.gateway.trading.options import ApiKey

__all__ = ["NotedDesk"]


class NotedDesk:
    """A desk whose ledger accounts for every order request that is judged, and every fault that befalls one."""

    def __init__(self, desk: Desk, ledger: Ledger | None) -> None:
        self.desk = desk
        self._ledger = ledger

    def perform(self, number: int, key: ApiKey, operation: str, values: Any) -> Outcome:
        """Carry out an operation that came by a connection; 0 is REST."""
        outcome = perform(self.desk, key, operation, values, self.desk.request_ms())
        self.note(number, key, operation, values, outcome)
        return outcome

    def note(self, number: int, key: ApiKey, operation: str, values: Any, outcome: Outcome) -> None:
        """Note how a request ended."""
        if self._ledger is None:
            return
        given = values if isinstance(values, dict) else {}
        self._ledger.event(
            "request",
            number,
            uid=key.uid,
            op=operation,
            retCode=str(outcome.code),
            orderId=str(outcome.data.get("orderId", given.get("orderId", ""))),
            orderLinkId=str(given.get("orderLinkId", "")),
        )
        for row, result in zip(outcome.data.get("list", ()), outcome.extra.get("list", ()), strict=False):
            self._ledger.event(
                "request",
                number,
                uid=key.uid,
                op=operation,
                retCode=str(result["code"]),
                orderId=row["orderId"],
                orderLinkId=row["orderLinkId"],
            )
        self._ledger.flush()

    def note_fault(self, number: int, deed: Deed, values: Any) -> None:
        """Note what befell a request."""
        given = values if isinstance(values, dict) else {}
        if self._ledger is not None:
            link_id = str(given.get("orderLinkId", ""))[:60]
            self._ledger.event("fault", number, fault=deed.value, orderLinkId=link_id)
            self._ledger.flush()
