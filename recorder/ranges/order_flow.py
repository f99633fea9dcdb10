"""``order_flow_imbalance``: what was added to demand less what was added to supply, interval by interval."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.sampling import mean_spread
from recorder.archive import Archive
from recorder.ranges.book_range import BOOK_PARAMETERS, book_range
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction, Untrusted
from recorder.ranges.samples import HEAD, doubles, samples, value_column
from schemas.columns import column

__all__ = ["ORDER_FLOW_IMBALANCE"]

_SCHEMA: Final = pa.schema(
    [
        *HEAD,
        column("order_flow", pa.float64(), "Demand added at the best bid less supply added at the best ask."),
        column("messages", pa.int64(), "Messages that the book took."),
        column("breaks", pa.int64(), "How often the sum could not be carried on."),
        column(
            "mid", pa.float64(), "The middle at the interval's end; null where a side is empty.", null=True
        ),
        column("spread", pa.float64(), "Best ask less best bid at its end.", null=True),
        column("mean_spread", pa.float64(), "The spread's mean over the interval's time.", null=True),
    ]
)


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    every_ns, start_ns = arguments["every"], arguments["t0"]
    # An interval ends with its moment, included.
    book = book_range(archive, {**arguments, "t1": arguments["t1"] + 1})
    for found in samples(book, "flow", every_ns, start_ns, Untrusted.MARK):
        columns = found.columns
        # An interval of which a part was not recorded, or that messages are missing in, is not to be trusted.
        whole = (columns["breaks"] == 0) & (columns["time"] - every_ns >= found.part.start_ns)
        trusted = found.trusted & whole
        keep = columns["time"] > start_ns
        if arguments["untrusted"] is Untrusted.LEAVE_OUT:
            keep &= trusted
        two_sided = found.two_sided
        mid = doubles(columns["twice_mid_mantissa"], columns["price_exponent"]) / 2
        spread = doubles(columns["spread_mantissa"], columns["price_exponent"])
        mean = mean_spread(columns) / 10.0 ** -columns["price_exponent"].astype(np.float64)
        yield found._replace(trusted=trusted, keep=keep).batch(
            _SCHEMA,
            [
                value_column(doubles(columns["order_flow_mantissa"], columns["size_exponent"])),
                plain_array(columns["messages"], pa.int64()),
                plain_array(columns["breaks"], pa.int64()),
                value_column(mid, two_sided),
                value_column(spread, two_sided),
                value_column(mean, columns["spread_ns"] > 0),
            ],
        )


ORDER_FLOW_IMBALANCE: Final = RangeFunction(
    "order_flow_imbalance",
    "Order-flow imbalance at the best prices, over intervals from t0 on that end by t1.",
    (
        *(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1")),
        Parameter("every", Kind.DURATION, "Length of an interval.", 10**9),
        *(BOOK_PARAMETERS[name] for name in ("topic", "clock", "untrusted")),
    ),
    lambda _: _SCHEMA,
    _run,
)
