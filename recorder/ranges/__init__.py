"""Questions about a range of an archive: ``archive, arguments -> record batches``.

``FUNCTIONS`` has them by name. The Python methods, the SQL functions and the commands of the same names are all made of
these; docs/ranges.md says what each answers. Memory is bounded by a batch, never by the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from recorder.ranges.function import REQUIRED, Arguments, Kind, Parameter, RangeFunction, Untrusted
from recorder.ranges.snapshots import SNAPSHOTS

__all__ = ["FUNCTIONS", "REQUIRED", "Arguments", "Kind", "Parameter", "RangeFunction", "Untrusted"]

FUNCTIONS: Final[Mapping[str, RangeFunction]] = MappingProxyType(
    {function.name: function for function in (SNAPSHOTS,)}
)
"""The range functions by name."""
