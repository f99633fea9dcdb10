"""What a new order is held against, on the straight way and on the long one."""

from __future__ import annotations

from execution.desk.filters import Filters
from execution.desk.limits import Limits, Quote, RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.live import LiveAccount
from execution.desk.plain_orders import PlainOrders
from execution.desk.rates import RateLimiter
from execution.desk.requests import Requests
from schemas.names import Category

__all__ = ["PlainDesk"]


class PlainDesk:
    """An account without anything, and all that looks at it.

    Attributes:
        quote: what our own book says.
        known: filters of what may be traded.
    """

    def __init__(self, limits: Limits, ids: LinkIds, quote: Quote | None = None) -> None:
        self.quote = quote
        self.account = LiveAccount()
        self.requests = Requests(self.account)
        self.gate = RiskGate(
            limits, self.account, lambda *_: self.quote, lambda: self.requests.unseen, self.requests.pending
        )
        self.rates = RateLimiter()
        self.ids = ids
        self.known: dict[tuple[Category, str], Filters] = {}
        self.plain = PlainOrders(
            self.known,
            self.gate,
            self.rates,
            self.account,
            self.requests.pending,
            self.ids,
            lambda *_: self.quote,
            self.requests.is_new,
        )
