"""``snapshots``: a recorded book at moments of a range, to some depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from engine.arrow_rows import plain_array
from recorder.archive import Archive
from recorder.ranges.book_range import BOOK_PARAMETERS, book_range
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction
from recorder.ranges.samples import DOUBLES, HEAD, doubles, list_offsets, samples
from schemas.columns import column
from schemas.tables import MANTISSAS

__all__ = ["SNAPSHOTS"]

_DEFAULT_LEVELS: Final = 20
_SIDES: Final = ("bid", "ask")

_PLAIN: Final = pa.schema(
    [
        *HEAD,
        *(
            column(f"{side}_{what}", DOUBLES, f"{what.capitalize()}s of the {side}s, best first.")
            for side in _SIDES
            for what in ("price", "size")
        ),
    ]
)
_EXACT: Final = pa.schema(
    [
        *_PLAIN,
        column("price_exponent", pa.int8(), "Prices are mantissa x 10^price_exponent, exactly."),
        column("size_exponent", pa.int8(), "The same for sizes."),
        *(
            column(
                f"{side}_{what}_mantissa", MANTISSAS, f"{what.capitalize()}s of the {side}s as whole numbers."
            )
            for side in _SIDES
            for what in ("price", "size")
        ),
    ]
)


def _schema(arguments: Arguments) -> pa.Schema:
    return _EXACT if arguments["exact"] else _PLAIN


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    levels, exact = arguments["depth"], arguments["exact"]
    book = book_range(archive, arguments, levels=levels)
    schema = _schema(arguments)
    for found in samples(
        book,
        "levels",
        arguments["every"],
        arguments["t0"],
        arguments["untrusted"],
        levels=levels or _DEFAULT_LEVELS,
    ):
        columns = found.columns
        exponents = {"price": columns["price_exponent"], "size": columns["size_exponent"]}
        arrays = []
        mantissas = []
        for side in _SIDES:
            offsets = list_offsets(columns[side])
            counts = np.diff(columns[side])
            for what in ("price", "size"):
                values = columns[f"{side}_{what}_mantissa"]
                numbers = plain_array(doubles(values, exponents[what], counts), pa.float64())
                arrays.append(pa.ListArray.from_arrays(offsets, numbers, type=DOUBLES))
                if exact:
                    mantissas.append(
                        pa.ListArray.from_arrays(offsets, plain_array(values, pa.int64()), type=MANTISSAS)
                    )
        if exact:
            arrays += [plain_array(exponents[what], pa.int8()) for what in ("price", "size")]
            arrays += mantissas
        yield found.batch(schema, arrays)


SNAPSHOTS: Final = RangeFunction(
    "snapshots",
    "The book at t0 and every so long after it, to some levels a side.",
    (
        *(BOOK_PARAMETERS[name] for name in ("category", "symbol", "t0", "t1")),
        Parameter("every", Kind.DURATION, "Time from one snapshot to the next.", 10**9),
        Parameter(
            "depth", Kind.COUNT, f"Levels a side; {_DEFAULT_LEVELS} or as many as the topic has.", None
        ),
        *(BOOK_PARAMETERS[name] for name in ("topic", "clock", "untrusted")),
        Parameter("exact", Kind.FLAG, "Add mantissas and exponents, which are exact.", False),
    ),
    _schema,
    _run,
)
