"""Questions about a range of an archive: ``archive, arguments -> record batches``.

``FUNCTIONS`` has them by name. The Python methods, the SQL functions and the commands of the same names are all made of
these; docs/ranges.md says what each answers. Memory is bounded by a batch, never by the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from recorder.ranges.cost_to_fill import COST_TO_FILL
from recorder.ranges.depth_within import DEPTH_WITHIN_BPS
from recorder.ranges.function import REQUIRED, Arguments, Kind, Parameter, RangeFunction, Untrusted
from recorder.ranges.moment import BOOK_AT
from recorder.ranges.order_flow import ORDER_FLOW_IMBALANCE
from recorder.ranges.quotes import QUOTES, SPREAD
from recorder.ranges.snapshots import SNAPSHOTS

__all__ = ["FUNCTIONS", "REQUIRED", "Arguments", "Kind", "Parameter", "RangeFunction", "Untrusted"]

FUNCTIONS: Final[Mapping[str, RangeFunction]] = MappingProxyType(
    {
        function.name: function
        for function in (
            BOOK_AT,
            SNAPSHOTS,
            QUOTES,
            SPREAD,
            DEPTH_WITHIN_BPS,
            COST_TO_FILL,
            ORDER_FLOW_IMBALANCE,
        )
    }
)
"""The range functions by name."""
