"""The words of `execution.desk.requests`: a request, how far it is, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from execution.desk.orders import OrderKey
from execution.desk.wire import Op
from schemas.names import Category

__all__ = [
    "DEFAULT_TIMING",
    "NO_CHANGE",
    "REMEMBERED_MS",
    "Direction",
    "Evidence",
    "Identity",
    "Lookup",
    "OrderRequest",
    "Outcome",
    "OutcomeKind",
    "RequestState",
    "Timing",
]

REMEMBERED_MS: Final = 23 * 3_600_000
"""So long the exchange surely knows an order that ended without a fill (section 6.3: a day; with fills, two years)."""

NO_CHANGE: Final[Mapping[str, str]] = {}

Identity = tuple[Category, str, str]
"""Category, which of an order's names it goes by, and that name."""

Direction = tuple[Category, str, str, int]
"""Category, symbol, side and position index: what an order adds to."""


class RequestState(StrEnum):
    """How far a request is."""

    READY = "ready"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"


class OutcomeKind(StrEnum):
    """How a request ended.

    ACKED: the exchange took it. For an order that means accepted: what becomes of it is in the order's status.
    REJECTED: the exchange refused it, with code and words.
    EXPIRED: it had no effect and can have none any more.
    FORGOTTEN: its order is not open, and the exchange remembers none of it. It was asked so late that an order which
        ended without a fill is no longer in its history: it may have been taken all the same.
    """

    ACKED = "acked"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FORGOTTEN = "forgotten"


class Evidence(StrEnum):
    """What told the outcome."""

    REPLY = "reply"
    STREAM = "stream"
    REST = "rest"
    LOCAL = "local"


class Outcome(msgspec.Struct, frozen=True):
    """The end of a request; `code` and `words` are the exchange's where it was rejected, else ours."""

    kind: OutcomeKind
    evidence: Evidence
    code: int = 0
    words: str = ""
    was_unknown: bool = False


class OrderRequest(msgspec.Struct, eq=False, gc=False):
    """One request for one order.

    Attributes:
        request_id: ``reqId``, which the answer echoes.
        fields: its object on the wire.
        changed: of an amend, the new values under their wire names.
        quantity: of a create, as a number; None where only its text is known.
        timestamp_ms, window_ms: as sent; the exchange takes it until their sum.
        identity: of the order; stays as it was at the beginning, whatever is learnt of the order's names.
        order_id: the exchange's id, once an answer told it.
        name_taken: code and words of an answer that said that there is an order of this name already.
        is_written: whether the order journal has its line; without one it gets no line of its outcome either.
        adds, reduces, is_unclear: as what `execution.desk.exposure.Pending` counts it.
    """

    request_id: str
    op: Op
    key: OrderKey
    fields: dict[str, Any]
    changed: Mapping[str, str] = NO_CHANGE
    identity: Identity = (Category.LINEAR, "", "")
    state: RequestState = RequestState.READY
    timestamp_ms: int = 0
    window_ms: int = 0
    order_id: str = ""
    quantity: Decimal | None = None
    name_taken: tuple[int, str] | None = None
    outcome: Outcome | None = None
    adds: tuple[Direction, Decimal] | None = None
    reduces: tuple[Direction, Decimal] | None = None
    is_unclear: bool = False
    is_written: bool = True

    @property
    def last_ms(self) -> int:
        """The last moment at which the exchange takes it."""
        return self.timestamp_ms + self.window_ms


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long the machine waits, ms.

    Attributes:
        reply_ms: for an answer, before the outcome counts as unknown.
        confirm_ms: for the row that shows what was acknowledged, before REST is asked for it.
        settle_ms: for what was taken to become visible to REST.
        retry_ms, retry_cap_ms: between two lookups of one order; doubles from the first to the second.
    """

    reply_ms: int = 3_000
    confirm_ms: int = 2_000
    settle_ms: int = 1_000
    retry_ms: int = 250
    retry_cap_ms: int = 5_000


DEFAULT_TIMING: Final = Timing()


class Lookup(msgspec.Struct, frozen=True):
    """A question for REST: ``/v5/order/realtime``, then ``/v5/order/history``, by the key's id; the answer is both.

    Attributes:
        sent_ms: when the order was sent, if that is in question; 0 otherwise. History is asked for its days.
    """

    ordinal: int
    key: OrderKey
    asked_ms: int
    sent_ms: int = 0
