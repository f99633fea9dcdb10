"""``book_at``: a recorded book as it was at one moment, a row a level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa

from recorder.archive import Archive
from recorder.book_state import latest_book, topics_by_depth
from recorder.ranges.book_range import BOOK_PARAMETERS, deep_enough
from recorder.ranges.function import Arguments, Kind, Parameter, RangeFunction
from recorder.ranges.samples import value_column
from schemas.columns import RECEIVE, column
from schemas.names import FeedState
from schemas.time import NS_PER_MS

__all__ = ["BOOK_AT"]

_SCHEMA: Final = pa.schema(
    [
        column("time", RECEIVE, "The moment."),
        column(
            "trusted",
            pa.bool_(),
            "The moment lies in no gap; if it does, this is the last good book before it.",
        ),
        column(
            "age_ms",
            pa.float64(),
            "The moment less the clock's own reading in the message that made the book.",
        ),
        column("update_id", pa.int64(), "Of that message."),
        column("cross_sequence", pa.int64(), "Of that message.", null=True),
        column("topic", pa.string(), "Which book."),
        column("gap", pa.string(), "Cause of the gap that the moment lies in.", null=True),
        column("side", pa.string(), "bid or ask."),
        column("level", pa.int32(), "1 is the best of its side."),
        column("price", pa.float64(), "Price."),
        column("size", pa.float64(), "Size."),
        column("rpi_size", pa.float64(), "Retail size, of orderbook.rpi alone.", null=True),
        column("price_exponent", pa.int8(), "price = price_mantissa x 10^price_exponent, exactly."),
        column("size_exponent", pa.int8(), "The same for sizes."),
        column("price_mantissa", pa.int64(), "The price as a whole number."),
        column("size_mantissa", pa.int64(), "The size as a whole number."),
        column("rpi_size_mantissa", pa.int64(), "The retail size as a whole number.", null=True),
    ]
)


def _run(archive: Archive, arguments: Arguments) -> Iterator[pa.RecordBatch]:
    levels = arguments["depth"]
    category, symbol, topic = arguments["category"], arguments["symbol"], arguments["topic"]
    topics = topics_by_depth(archive, category, symbol, topic)
    if levels is not None:
        topics = deep_enough(topics, category, symbol, topic, levels)
    answer = latest_book(archive, category, symbol, arguments["t"], topics, arguments["clock"])
    sides = (answer.bids[:levels], answer.asks[:levels])
    rows = [(*level, None)[:3] for side in sides for level in side]
    count = len(rows)
    prices, sizes, rpi_sizes = (
        pa.array(values, pa.int64()) for values in (zip(*rows, strict=True) if rows else ((), (), ()))
    )

    def each(value: object, type_: pa.DataType) -> pa.Array:
        return pa.array([value] * count, type_)

    def valued(mantissas: pa.Array, exponent: int) -> pa.Array:
        numbers = np.asarray(mantissas.fill_null(0), dtype=np.int64) / 10.0**-exponent
        return value_column(numbers, np.asarray(mantissas.is_valid()))

    yield pa.RecordBatch.from_arrays(
        [
            each(answer.at_ns, pa.int64()).cast(RECEIVE),
            each(answer.state is FeedState.LIVE, pa.bool_()),
            each(answer.age_ns / NS_PER_MS, pa.float64()),
            each(answer.update_id, pa.int64()),
            each(answer.cross_sequence, pa.int64()),
            each(answer.topic, pa.string()),
            each(answer.gap, pa.string()),
            pa.array(["bid"] * len(sides[0]) + ["ask"] * len(sides[1]), pa.string()),
            pa.array([place for side in sides for place in range(1, len(side) + 1)], pa.int32()),
            valued(prices, answer.price_exponent),
            valued(sizes, answer.size_exponent),
            valued(rpi_sizes, answer.size_exponent),
            each(answer.price_exponent, pa.int8()),
            each(answer.size_exponent, pa.int8()),
            prices,
            sizes,
            rpi_sizes,
        ],
        schema=_SCHEMA,
    )


BOOK_AT: Final = RangeFunction(
    "book_at",
    "The book as of a moment, a row a level, bids first, each side best first.",
    (
        BOOK_PARAMETERS["category"],
        BOOK_PARAMETERS["symbol"],
        Parameter("t", Kind.MOMENT, "The moment."),
        Parameter("depth", Kind.COUNT, "Levels a side; all that the topic has.", None),
        Parameter(
            "topic",
            Kind.TEXT,
            "Topic, e.g. orderbook.50, orderbook.rpi; the deepest recorded one that has a book then.",
            None,
        ),
        BOOK_PARAMETERS["clock"],
    ),
    lambda _: _SCHEMA,
    _run,
)
