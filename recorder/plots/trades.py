"""What the picture of trades shows: prices and volumes bucket by bucket, and the largest trades themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.bybit.topics import expand
from recorder.archive import Archive
from recorder.feed_rows import Clock
from recorder.plots.known import Known, Range, known_feeds, merged, recorded_range
from recorder.plots.spans import Doubles, Ints, Spans, cells
from recorder.plots.steps import DAY_NS, bucket_ns, edges_of
from schemas.errors import NoData
from schemas.names import Category
from schemas.time import format_date, format_ns

__all__ = ["Largest", "TradesPicture", "largest_trades", "trade_topic", "trades_picture"]

BUCKETS: Final = 400
LARGEST: Final = 150

_OF_RANGE: Final = (
    "category = $1 AND symbol = $2 AND date BETWEEN CAST($3 AS DATE) AND CAST($4 AS DATE) "
    "AND match_time >= CAST($5 AS TIMESTAMPTZ) AND match_time < CAST($6 AS TIMESTAMPTZ)"
)
# Where several collectors were there, each trade has several rows.
_ONCE: Final = " QUALIFY row_number() OVER (PARTITION BY trade_id ORDER BY collector, sequence) = 1"
_CELLS: Final = (
    "(SELECT unnest($7::BIGINT[]) AS cell, unnest($8::BIGINT[]) AS bucket, unnest($9::BIGINT[]) AS starts, "
    "unnest($10::BIGINT[]) AS ends) AS cells ON moment // $11 = bucket AND moment >= starts AND moment < ends"
)


@dataclass(frozen=True, slots=True)
class Largest:
    """Single trades, by time: moments in nanoseconds, prices, sizes, and whether the taker bought."""

    moments: Ints
    prices: Doubles
    sizes: Doubles
    bought: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TradesPicture:
    """The trades of a range, bucket by bucket; a bucket that a gap cuts is several cells.

    Attributes:
        category, symbol, topic, range: what.
        known: when it was recorded.
        step_ns: length of a bucket.
        cells: from and to of those that have trades, in order.
        low, high, average: prices; the average is weighted by size.
        bought, sold: sizes, by the taker's side.
        trades: how many are drawn.
        left_out: how many lie in gaps, or outside of what was recorded.
        collectors: how many recorded it.
        largest: the largest trades.
    """

    category: str
    symbol: str
    topic: str
    range: Range
    known: Known
    step_ns: int
    cells: Spans
    low: Doubles
    high: Doubles
    average: Doubles
    bought: Doubles
    sold: Doubles
    trades: int
    left_out: int
    collectors: int
    largest: Largest


def trade_topic(category: str, symbol: str) -> str:
    """Return the topic that a symbol's trades come by; on options that is their base coin's."""
    return expand(Category(category), ["publicTrade"], [symbol])[0].text


def trades_picture(
    archive: Archive,
    category: str,
    symbol: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    buckets: int = BUCKETS,
    largest: int = LARGEST,
) -> TradesPicture:
    """Reduce the trades of a range to what is drawn. Times are the matching engine's.

    Args:
        archive: where.
        category, symbol: of what.
        start_ns, end_ns: the range; the ends of what was recorded where they are not given.
        buckets: at most about so many.
        largest: so many of the largest trades one by one.

    Raises:
        NoData: there was no trade, or nothing was recorded.
    """
    topic = trade_topic(category, symbol)
    range_ = recorded_range(archive, start_ns, end_ns, category=category, topic=topic)
    known = merged(range_, known_feeds(archive, range_, category=category, topic=topic, clock=Clock.MATCH))
    step_ns = bucket_ns(range_, buckets)
    drawn = _InCells(archive, category, symbol, range_, step_ns, known.trusted)
    rows = archive.sql(
        "SELECT cell, min(price) AS low, max(price) AS high, sum(price * size) / sum(size) AS average, "
        "coalesce(sum(size) FILTER (side = 'buy'), 0.0) AS bought, "
        "coalesce(sum(size) FILTER (side = 'sell'), 0.0) AS sold, count(*) AS trades "
        f"FROM {drawn.source} LEFT JOIN {_CELLS} GROUP BY cell ORDER BY cell",
        drawn.given,
    ).table()
    column = {name: rows[name].to_numpy() for name in rows.schema.names}
    inside = np.asarray(rows["cell"].is_valid())
    count = column["trades"]
    if not count[inside].sum():
        raise NoData(
            f"no trade of {category} {symbol} from {range_}"
            + (f"; in gaps, which are not drawn: {count.sum():,}" if count.sum() else "")
        )
    return TradesPicture(
        category=category,
        symbol=symbol,
        topic=topic,
        range=range_,
        known=known,
        step_ns=step_ns,
        cells=drawn.pieces[column["cell"][inside].astype(np.int64)],
        low=column["low"][inside],
        high=column["high"][inside],
        average=column["average"][inside],
        bought=column["bought"][inside],
        sold=column["sold"][inside],
        trades=int(count[inside].sum()),
        left_out=int(count[~inside].sum()),
        collectors=drawn.collectors,
        largest=drawn.largest(archive, largest),
    )


def largest_trades(
    archive: Archive, category: str, symbol: str, range_: Range, trusted: Spans, most: int = LARGEST
) -> Largest:
    """Return the largest trades of the spans in a range that can be trusted, by time."""
    return _InCells(archive, category, symbol, range_, bucket_ns(range_, BUCKETS), trusted).largest(
        archive, most
    )


class _InCells:
    """The trades of a range as SQL, and the cells that they are put into.

    Attributes:
        pieces: the cells.
        source: what to select from; joined with ``_CELLS``, what lies in none of them has none.
        given: the values of its parameters and of those of ``_CELLS``.
        collectors: how many recorded them.
    """

    def __init__(
        self, archive: Archive, category: str, symbol: str, range_: Range, step_ns: int, trusted: Spans
    ) -> None:
        bucket, self.pieces = cells(trusted, edges_of(range_, step_ns))
        self.given: list[object] = [
            category,
            symbol,
            format_date(range_.start_ns - DAY_NS),
            format_date(range_.end_ns + DAY_NS),
            format_ns(range_.start_ns),
            format_ns(range_.end_ns),
        ]
        found = archive.sql(f"SELECT count(DISTINCT collector) FROM trades WHERE {_OF_RANGE}", self.given)
        self.collectors = int(found.table().column(0)[0].as_py())
        self.source = (
            "(SELECT epoch_ns(match_time) AS moment, price, size, side, sequence FROM trades "
            f"WHERE {_OF_RANGE}{_ONCE if self.collectors > 1 else ''}) AS trades"
        )
        self.given += [
            list(range(len(self.pieces))),
            (bucket + range_.start_ns // step_ns).tolist(),
            self.pieces[:, 0].tolist(),
            self.pieces[:, 1].tolist(),
            step_ns,
        ]

    def largest(self, archive: Archive, most: int) -> Largest:
        rows: Any = archive.sql(
            "SELECT moment, price, size, side FROM (SELECT moment, price, size, side, sequence "
            f"FROM {self.source} JOIN {_CELLS} ORDER BY size DESC, moment, sequence, price LIMIT {most}) "
            "ORDER BY moment, sequence, price",
            self.given,
        ).table()
        return Largest(
            rows["moment"].to_numpy(),
            rows["price"].to_numpy(),
            rows["size"].to_numpy(),
            np.asarray(rows["side"].to_pylist()) == "buy",
        )
