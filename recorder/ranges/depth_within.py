"""``depth_within_bps``: how much a book offers near its middle, at moments of a range."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import numpy as np
import pyarrow as pa

from recorder.archive import Archive
from recorder.ranges.book_range import BOOK_PARAMETERS, book_range
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction
from recorder.ranges.samples import HEAD, doubles, samples, value_column
from schemas.columns import column
from schemas.errors import ConfigError

__all__ = ["DEPTH_WITHIN_BPS"]

_PARTS_OF_A_BASIS_POINT: Final = 1000
_MOST_BASIS_POINTS: Final = 10_000
_MOST_BANDS: Final = 64

_SCHEMA: Final = pa.schema(
    [
        *HEAD,
        column("bps", pa.float64(), "Distance from the middle, in basis points of it."),
        column("mid", pa.float64(), "The middle; null where a side is empty.", null=True),
        column("bid_size", pa.float64(), "Sum of the bids no farther from the middle than that.", null=True),
        column("ask_size", pa.float64(), "The same of asks.", null=True),
        column(
            "bid_covered",
            pa.bool_(),
            "The bids reach across it; if not, there are more in truth.",
            null=True,
        ),
        column("ask_covered", pa.bool_(), "The same of asks.", null=True),
    ]
)


def _bands(given: tuple[Fraction, ...]) -> tuple[int, ...]:
    """In thousandths of a basis point, narrowest first."""
    parts = sorted({bps * _PARTS_OF_A_BASIS_POINT for bps in given})
    if parts[-1] > _MOST_BASIS_POINTS * _PARTS_OF_A_BASIS_POINT or any(
        part.denominator != 1 for part in parts
    ):
        raise ConfigError(
            f"bps: found {', '.join(f'{float(bps):g}' for bps in given)}, expected whole thousandths of them up "
            f"to {_MOST_BASIS_POINTS:,}"
        )
    if len(parts) > _MOST_BANDS:
        raise ConfigError(f"bps: found {len(parts)} bands, expected at most {_MOST_BANDS}")
    return tuple(map(int, parts))


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    bands = _bands(arguments["bps"])
    count = len(bands)
    book = book_range(archive, arguments)
    widths = np.array(bands) / _PARTS_OF_A_BASIS_POINT
    for found in samples(
        book, "bands", arguments["every"], arguments["t0"], arguments["untrusted"], bands=bands
    ):
        columns = found.columns
        two_sided = found.two_sided
        mid = doubles(columns["twice_mid_mantissa"], columns["price_exponent"]) / 2
        each = np.repeat(two_sided, count)
        arrays = [
            value_column(np.tile(widths, len(mid))),
            value_column(np.repeat(mid, count), each),
            *(
                value_column(doubles(columns[f"{side}_size_mantissa"], columns["size_exponent"], count), each)
                for side in ("bid", "ask")
            ),
            *(
                pa.array(
                    (np.arange(count) < columns[f"{side}_bands_covered"][:, None]).reshape(-1), mask=~each
                )
                for side in ("bid", "ask")
            ),
        ]
        yield found.repeated(count).batch(_SCHEMA, arrays)


DEPTH_WITHIN_BPS: Final = RangeFunction(
    "depth_within_bps",
    "The sizes no farther from the middle than some basis points, at t0 and every so long after it.",
    (
        *(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1")),
        Parameter(
            "bps",
            Kind.NUMBERS,
            "Distances from the middle, in basis points.",
            tuple(map(Fraction, (1, 5, 10, 25))),
        ),
        Parameter("every", Kind.DURATION, "Time from one row's moment to the next.", 10**9),
        *(BOOK_PARAMETERS[name] for name in ("topic", "clock", "untrusted")),
    ),
    lambda _: _SCHEMA,
    _run,
)
