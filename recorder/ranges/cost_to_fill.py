"""``cost_to_fill``: what buying or selling some size at once would have cost, at moments of a range."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa

from engine.arrow_rows import plain_array
from engine.sampling import wide_values
from recorder.archive import Archive
from recorder.ranges.book_range import BOOK_PARAMETERS, book_range
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction
from recorder.ranges.samples import FILLED, HEAD, doubles, samples, value_column
from schemas.columns import column
from schemas.errors import ConfigError

__all__ = ["COST_TO_FILL"]

_MOST_DECIMALS: Final = 18

_SCHEMA: Final = pa.schema(
    [
        *HEAD,
        column(
            "average_price",
            pa.float64(),
            "Mean price of what was filled, by size; null where nothing was.",
            null=True,
        ),
        column("worst_price", pa.float64(), "Price of the last level touched.", null=True),
        column("mid", pa.float64(), "The middle; null where a side is empty.", null=True),
        column(
            "slippage_bps",
            pa.float64(),
            "The mean price is so many basis points worse than the middle.",
            null=True,
        ),
        column("filled", pa.float64(), "How much there was, up to the size."),
        column(
            "notional",
            pa.float64(),
            "Sum of price x size over it: quote coin (of no use on inverse).",
        ),
        column("levels", pa.int32(), "How many levels it came from."),
        column("complete", pa.bool_(), "All of the size was there."),
    ]
)


def _fill(side: str, size: Decimal) -> tuple[int, int, int]:
    """The side of the book that is taken from, the size as a mantissa, and its decimals."""
    exponent = size.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    decimals = max(-exponent, 0)
    mantissa = int(size.scaleb(decimals))
    if decimals > _MOST_DECIMALS or mantissa >= 2**63:
        raise ConfigError(
            f"size: found {size}, expected at most {_MOST_DECIMALS} decimals, and what int64 can hold of them"
        )
    return int(side == "buy"), mantissa, decimals


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    buys = arguments["side"] == "buy"
    fill = _fill(arguments["side"], arguments["size"])
    book = book_range(archive, arguments)
    for found in samples(
        book, "fill", arguments["every"], arguments["t0"], arguments["untrusted"], fill=fill
    ):
        columns = found.columns
        filled = wide_values(columns["filled"])
        notional = wide_values(columns["notional"])
        any_filled = filled > 0
        price_unit = 10.0 ** -columns["price_exponent"].astype(np.float64)
        size_unit = 10.0 ** columns["filled_decimals"].astype(np.float64)
        average = notional / np.where(any_filled, filled, 1.0) / price_unit
        two_sided = found.two_sided
        mid = doubles(columns["twice_mid_mantissa"], columns["price_exponent"]) / 2
        slips = two_sided & any_filled & (mid != 0)
        away = (average - mid) if buys else (mid - average)
        yield found.batch(
            _SCHEMA,
            [
                value_column(average, any_filled),
                value_column(doubles(columns["worst_price_mantissa"], columns["price_exponent"]), any_filled),
                value_column(mid, two_sided),
                value_column(away / np.where(slips, np.abs(mid), 1.0) * 1e4, slips),
                value_column(filled / size_unit),
                value_column(notional / size_unit / price_unit),
                plain_array(columns["levels"], pa.int32()),
                pa.array((columns["flags"] & FILLED) != 0),
            ],
        )


COST_TO_FILL: Final = RangeFunction(
    "cost_to_fill",
    "What taking a size from the book would have cost, at t0 and every so long after it.",
    (
        *(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1")),
        Parameter("side", Kind.SIDE, "buy takes asks, sell takes bids."),
        Parameter(
            "size",
            Kind.QUANTITY,
            "How much, in the book's own unit of size: base coin, or USD contracts on inverse.",
        ),
        Parameter("every", Kind.DURATION, "Time from one row's moment to the next.", 10**9),
        *(BOOK_PARAMETERS[name] for name in ("topic", "clock", "untrusted")),
    ),
    lambda _: _SCHEMA,
    _run,
)
