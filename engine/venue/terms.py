"""The words of trading as the exchange spells them (protocol sections 6.4, 8 and the appendix)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "CLOSED",
    "OPEN",
    "TRANSITIONS",
    "CancelType",
    "OrderStatus",
    "OrderType",
    "RejectReason",
    "Side",
    "SmpType",
    "TimeInForce",
    "TriggerBy",
]


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "Buy"
    SELL = "Sell"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """1 for buying, -1 for selling."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """How an order names its price."""

    LIMIT = "Limit"
    MARKET = "Market"


class TimeInForce(StrEnum):
    """How long an order waits."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "PostOnly"


class TriggerBy(StrEnum):
    """Which price sets off a conditional order."""

    LAST = "LastPrice"
    INDEX = "IndexPrice"
    MARK = "MarkPrice"


class SmpType(StrEnum):
    """What becomes of two orders of one account that would trade with each other."""

    NONE = "None"
    CANCEL_MAKER = "CancelMaker"
    CANCEL_TAKER = "CancelTaker"
    CANCEL_BOTH = "CancelBoth"


class OrderStatus(StrEnum):
    """Where an order stands."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    TRIGGERED = "Triggered"
    REJECTED = "Rejected"
    """The exchange has it; here a request is refused before there is an order, or its order is cancelled."""
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"
    """Spot only: what is left of a partly filled order was cancelled."""
    DEACTIVATED = "Deactivated"
    """A conditional order that was cancelled before its trigger."""


class CancelType(StrEnum):
    """Who or what cancelled an order."""

    UNKNOWN = "UNKNOWN"
    BY_USER = "CancelByUser"
    BY_REDUCE_ONLY = "CancelByReduceOnly"
    BY_PROTECTION_CLEAR = "CancelByTpSlTsClear"
    BY_SMP = "CancelBySmp"
    BY_DCP = "CancelByDCP"
    BY_TAKE_PROFIT = "CancelByOCOSlCanceledByTpTriggered"
    BY_STOP_LOSS = "CancelByOCOTpCanceledBySlTriggered"


class RejectReason(StrEnum):
    """Why the matching engine ended an order by itself."""

    NONE = "EC_NoError"
    OTHERS = "EC_Others"
    POST_ONLY = "EC_PostOnlyWillTakeLiquidity"
    NO_QUANTITY = "EC_NoEnoughQtyToFill"
    NOT_IMMEDIATE = "EC_NoImmediateQtyToFill"
    NOT_FULL = "EC_CancelForNoFullFill"
    BY_REQUEST = "EC_PerCancelRequest"
    SELF_MATCH = "EC_BySelfMatch"


OPEN: Final = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.UNTRIGGERED})
CLOSED: Final = frozenset(
    {
        OrderStatus.REJECTED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.PARTIALLY_FILLED_CANCELED,
        OrderStatus.DEACTIVATED,
    }
)
_ENDS: Final = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.PARTIALLY_FILLED_CANCELED})
TRANSITIONS: Final[dict[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.NEW: _ENDS | {OrderStatus.PARTIALLY_FILLED},
    OrderStatus.PARTIALLY_FILLED: _ENDS | {OrderStatus.PARTIALLY_FILLED},
    OrderStatus.UNTRIGGERED: frozenset({OrderStatus.TRIGGERED, OrderStatus.DEACTIVATED}),
    OrderStatus.TRIGGERED: frozenset({OrderStatus.NEW}),
}
"""Where an order may go from each status that is not an end."""
