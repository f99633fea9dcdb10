"""What an answer's code says about a request: carried out, refused, or nobody knows (section 7.2).

Only codes after which a request may have been carried out all the same are in `UNKNOWN`; every other code but 0 is a
refusal, with the exchange's words.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLOCK",
    "DUPLICATE_LINK_ID",
    "RATE",
    "RESTARTING",
    "UNKNOWN",
    "is_gone",
    "leaves_open",
    "may_retry",
]

UNKNOWN: Final = frozenset(
    {10000, 10016, 170001, 170007, 170146, 170147, 170310, 180000, 500000, 500001, 3400214}
)
"""Timeouts, internal errors, a service that restarts: the request may have been carried out."""

DUPLICATE_LINK_ID: Final = frozenset({110072, 170141})
"""An order of this ``orderLinkId`` is there already: as we give none twice, it is this one, arrived twice."""

RESTARTING: Final = 10019
"""The trade service restarts: no new requests on this connection, those in flight are still answered."""

RATE: Final = frozenset({10006, 10018, 10429, 10403, 20003})
"""Too many requests: not carried out, wait."""

CLOCK: Final = frozenset({10002, -1})
"""The request's time was outside the window: not carried out, look at the clock."""

_GONE: Final = frozenset({110001, 110008, 110010, 170213, 170142, 170139})
_RETRYABLE: Final = frozenset({10000, 10016, 10019, 10429}) | RATE | CLOCK


def leaves_open(code: int, *, is_create: bool) -> bool:
    """Whether a request with this answer may have been carried out all the same."""
    return code in UNKNOWN or (is_create and code in DUPLICATE_LINK_ID)


def is_gone(code: int) -> bool:
    """Whether the code says that an order is not open: done, cancelled or never seen."""
    return code in _GONE


def may_retry(code: int) -> bool:
    """Whether the same request may succeed later (section 10), once its outcome is known."""
    return code in _RETRYABLE
