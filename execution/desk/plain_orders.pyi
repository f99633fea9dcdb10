from collections.abc import Callable, Mapping

from execution.desk.exposure import Pending
from execution.desk.filters import Filters
from execution.desk.limits import Quote, RiskGate
from execution.desk.link_ids import LinkIds
from execution.desk.live import LiveAccount
from execution.desk.orders import NewOrder
from execution.desk.rates import RateLimiter
from schemas.names import Category

class PlainOrders:
    def __init__(
        self,
        filters: Mapping[tuple[Category, str], Filters],
        gate: RiskGate,
        rates: RateLimiter,
        account: LiveAccount,
        pending: Pending,
        ids: LinkIds,
        quote_of: Callable[[Category, str], Quote | None],
        is_new: Callable[[Category, str], bool],
    ) -> None: ...
    def write(
        self, order: NewOrder, now_ms: int, window_ms: int, line_number: int, now_ns: int
    ) -> tuple[str, bytes, bytes] | None: ...
