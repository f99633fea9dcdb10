"""What the picture of depth shows: how much rested at which price when, the touch, and the largest trades."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from recorder.archive import Archive
from recorder.feed_rows import Clock
from recorder.plots.book import ShownBook, seen, shown_book
from recorder.plots.known import Known, known_feeds, merged
from recorder.plots.spans import Doubles, Ints, Spans, inside, intersect, union
from recorder.plots.steps import bucket_ns, edges_of
from recorder.plots.trades import LARGEST, Largest, largest_trades, trade_topic
from recorder.ranges import FUNCTIONS
from schemas.errors import ConfigError, NoData
from schemas.time import NS_PER_SECOND

__all__ = [
    "DepthPicture",
    "Levels",
    "PriceRows",
    "depth_picture",
    "price_rows_of",
    "resting",
    "sampled_levels",
]

COLUMNS: Final = 480
ROWS: Final = 320
SAMPLES_A_COLUMN: Final = 4
MOST_ROOM: Final = 0.6
"""At most so much of what the touch went through is shown beside it."""
LEAST_ROOM_TICKS: Final = 24
_SIDES: Final = ("bid", "ask")
MOST_LEVELS: Final = 500
"""Levels a side that are looked at; with columns and samples this bounds the memory."""


@dataclass(frozen=True, slots=True)
class DepthPicture:
    """A book over time and price.

    Attributes:
        book: which feed, and the range.
        known: when it could be trusted.
        step_ns, edges_ns: of the columns.
        price_edges: of the rows, from low to high.
        price_step: what a row holds, in the price's unit.
        resting: of shape (rows, columns): size that rested there, on average of the column's samples; NaN where
            the topic does not reach, or nothing could be trusted.
        times_ns, bid, ask: the touch at each sample that can be trusted; NaN where a side is empty.
        every_ns: time between samples.
        levels: a side, that were looked at.
        trades: the largest ones; None where none were recorded.
    """

    book: ShownBook
    known: Known
    step_ns: int
    edges_ns: Ints
    price_edges: Doubles
    price_step: float
    resting: Doubles
    times_ns: Ints
    bid: Doubles
    ask: Doubles
    every_ns: int
    levels: int
    trades: Largest | None


class PriceRows(NamedTuple):
    """Rows of prices, in mantissas: so many of one height above the lowest price, which is a multiple of it.

    Attributes:
        tick: what all prices are multiples of; in the picture, a row begins half a tick below its lowest price.
    """

    low: int
    step: int
    rows: int
    tick: int

    @property
    def edges(self) -> Doubles:
        """Of the rows as they are drawn, one more than there are."""
        edges: Doubles = np.arange(self.rows + 1, dtype=np.float64) * self.step + (self.low - self.tick / 2)
        return edges


class Levels(NamedTuple):
    """Samples of a book: of each its time, whether it can be trusted, and its levels, all samples' one after the other.

    Attributes:
        times_ns, trusted: of each sample.
        counts: of each sample and side (bids, asks), how many levels it has.
        prices, sizes: of each side; prices as mantissas at one exponent.
        exponent: of the prices.
    """

    times_ns: Ints
    trusted: npt.NDArray[np.bool_]
    counts: tuple[Ints, Ints]
    prices: tuple[Ints, Ints]
    sizes: tuple[Doubles, Doubles]
    exponent: int


def depth_picture(
    archive: Archive,
    category: str,
    symbol: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    topic: str | None = None,
    prices: tuple[float | None, float | None] = (None, None),
    columns: int = COLUMNS,
    rows: int = ROWS,
    largest: int = LARGEST,
) -> DepthPicture:
    """Reduce a book's range to what is drawn. Times are the matching engine's.

    Args:
        archive: where.
        category, symbol: of what.
        start_ns, end_ns: the range; the ends of what was recorded where they are not given.
        topic: which book; the deepest that covers the range by default.
        prices: lowest and highest price to draw; where not given, what the touch and the levels near it ask for.
        columns, rows: at most about so many.
        largest: so many of the largest trades one by one.

    Raises:
        ConfigError: the prices make no range, or the topic no book.
        NoData: there is no book that can be trusted.
    """
    book = shown_book(archive, category, symbol, topic, start_ns, end_ns)
    step_ns = bucket_ns(book.range, columns)
    edges = edges_of(book.range, step_ns)
    every_ns = max(step_ns // SAMPLES_A_COLUMN, 1)
    depth = min(book.depth, MOST_LEVELS)
    levels = sampled_levels(archive, book, int(edges[0]) + every_ns // 2, every_ns, depth)
    halves = np.column_stack([levels.times_ns - every_ns // 2, levels.times_ns + every_ns - every_ns // 2])
    known = seen(book, union(halves), union(halves[~levels.trusted]), max(every_ns, NS_PER_SECOND))
    # What the table of gaps calls lost is not drawn, whatever its rows look like, nor what came before the recording.
    levels = levels._replace(trusted=levels.trusted & inside(known.trusted, levels.times_ns))
    if not levels.trusted.any():
        raise NoData(f"no book of {category} {book.topic} that can be trusted from {book.range}")
    bid, ask = (_best(levels, side) for side in (0, 1))
    price_rows = price_rows_of(levels, bid, ask, prices, rows)
    shown = levels.trusted
    scale = 10.0**levels.exponent
    grid = resting(levels, edges, price_rows, depth)
    if np.isnan(grid).all():
        low, high = price_rows.edges[[0, -1]] * scale
        raise NoData(
            f"the levels of {book.topic} never reached the prices from {low:g} to {high:g}; "
            f"best bid and ask went from {np.nanmin(bid[shown]) * scale:g} to {np.nanmax(ask[shown]) * scale:g}"
        )
    return DepthPicture(
        book=book,
        known=known,
        step_ns=step_ns,
        edges_ns=edges,
        price_edges=price_rows.edges * scale,
        price_step=price_rows.step * scale,
        resting=grid,
        times_ns=levels.times_ns[shown],
        bid=bid[shown] * scale,
        ask=ask[shown] * scale,
        every_ns=every_ns,
        levels=depth,
        trades=_trades(archive, book, known.trusted, largest),
    )


def sampled_levels(archive: Archive, book: ShownBook, first_ns: int, every_ns: int, depth: int) -> Levels:
    """Sample a book within its range at a moment and every so long after it, to some levels a side."""
    function = FUNCTIONS["snapshots"]
    ns = "{}ns".format
    arguments = function.bind(
        named=book.arguments(
            t0=ns(first_ns), t1=ns(book.range.end_ns), every=ns(every_ns), depth=depth, exact=True
        )
    )
    parts: list[dict[str, npt.NDArray[Any]]] = []
    for batch in function.run(archive, arguments):
        own = batch.filter(pa.compute.greater_equal(batch["time"].cast(pa.int64()), book.range.start_ns))
        if own.num_rows:
            parts.append(_plain(own))
    if not parts:
        raise NoData(f"no book of {book.category} {book.topic} from {book.range}")
    exponent = min(int(part["exponent"].min()) for part in parts)
    columns: dict[str, npt.NDArray[Any]] = {}
    for side in _SIDES:
        prices = [part[f"{side}_price"] * 10 ** (part[f"{side}_exponent"] - exponent) for part in parts]
        columns[f"{side}_price"] = np.concatenate(prices)
        for name in (f"{side}_count", f"{side}_size"):
            columns[name] = np.concatenate([part[name] for part in parts])
    return Levels(
        np.concatenate([part["time"] for part in parts]),
        np.concatenate([part["trusted"] for part in parts]),
        (columns["bid_count"], columns["ask_count"]),
        (columns["bid_price"], columns["ask_price"]),
        (columns["bid_size"], columns["ask_size"]),
        exponent,
    )


def _plain(batch: pa.RecordBatch) -> dict[str, npt.NDArray[Any]]:
    exponent = batch["price_exponent"].to_numpy().astype(np.int64)
    plain: dict[str, npt.NDArray[Any]] = {
        "time": batch["time"].cast(pa.int64()).to_numpy(),
        "trusted": np.asarray(batch["trusted"].to_numpy(zero_copy_only=False), np.bool_),
        "exponent": exponent,
    }
    for side in _SIDES:
        counts = batch[f"{side}_price"].value_lengths().to_numpy().astype(np.int64)
        plain[f"{side}_count"] = counts
        plain[f"{side}_price"] = batch[f"{side}_price_mantissa"].flatten().to_numpy()
        plain[f"{side}_size"] = batch[f"{side}_size"].flatten().to_numpy()
        plain[f"{side}_exponent"] = np.repeat(exponent, counts)
    return plain


def _best(levels: Levels, side: int) -> Doubles:
    """The best price of each sample, as a mantissa; NaN where the side is empty."""
    counts, prices = levels.counts[side], levels.prices[side]
    first = np.cumsum(counts) - counts
    best = np.full(len(counts), np.nan)
    best[counts > 0] = prices[first[counts > 0]]
    return best


def _last(levels: Levels, side: int) -> Doubles:
    """The deepest price of each sample."""
    counts, prices = levels.counts[side], levels.prices[side]
    deepest = np.full(len(counts), np.nan)
    deepest[counts > 0] = prices[np.cumsum(counts)[counts > 0] - 1]
    return deepest


def price_rows_of(
    levels: Levels, bid: Doubles, ask: Doubles, prices: tuple[float | None, float | None], most: int
) -> PriceRows:
    """Choose rows: around the touch, with as much room beside it as the levels reach and the picture can bear.

    Args:
        levels: the samples.
        bid, ask: the touch of each, as mantissas.
        prices: lowest and highest price, where they are given.
        most: at most so many rows.

    Raises:
        ConfigError: the prices make no range.
    """
    shown = levels.trusted
    every = np.concatenate(levels.prices)
    tick = int(np.gcd.reduce(np.abs(every - every[0]))) or 1 if len(every) else 1
    touch = np.concatenate([bid[shown], ask[shown]])
    touch = touch[~np.isnan(touch)]
    if not len(touch):
        raise NoData("the book was empty on both sides all the time")
    low, high = float(touch.min()), float(touch.max())
    room = max((high - low) * MOST_ROOM, LEAST_ROOM_TICKS * tick)
    reaches = [np.abs(_last(levels, side) - best)[shown] for side, best in ((0, bid), (1, ask))]
    down, up = (
        min(float(np.nanmedian(reach)) if (~np.isnan(reach)).any() else room, room) for reach in reaches
    )
    scale = 10.0**-levels.exponent
    lowest = low - down if prices[0] is None else prices[0] * scale
    highest = high + up if prices[1] is None else prices[1] * scale
    if not lowest < highest:
        raise ConfigError(
            f"lowest price {lowest / scale:g} does not lie below highest price {highest / scale:g}; "
            f"the touch went from {low / scale:g} to {high / scale:g}"
        )
    step = tick * _nice((highest - lowest) / tick / most)
    start = int(lowest // step) * step
    return PriceRows(start, step, int((highest - start) // step) + 1, tick)


def _nice(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is not below."""
    step = 1
    for factor in itertools.cycle((2, 2.5, 2)):
        if step >= least:
            return step
        step = int(step * factor)
    raise AssertionError


def resting(levels: Levels, edges: Ints, rows: PriceRows, depth: int) -> Doubles:
    """Return what rested in each row and column, on average of the column's samples that can be trusted.

    NaN is where that is not known: a column without such samples, and prices beyond the last level of a side that has
    as many levels as were looked at.
    """
    columns = len(edges) - 1
    column = np.searchsorted(edges, levels.times_ns, "right") - 1
    samples = np.bincount(column[levels.trusted], minlength=columns)
    grid: Doubles = np.zeros(rows.rows * columns)
    lowest, highest = np.full(columns, rows.rows), np.full(columns, -1)
    for side in (0, 1):
        counts = levels.counts[side]
        of_sample = np.repeat(np.arange(len(counts)), counts)
        row = (levels.prices[side] - rows.low) // rows.step
        held = levels.trusted[of_sample] & (row >= 0) & (row < rows.rows)
        place = row[held] * columns + column[of_sample[held]]
        grid += np.bincount(place, levels.sizes[side][held], minlength=rows.rows * columns)
        deepest = np.where(
            counts >= depth, np.nan_to_num((_last(levels, side) - rows.low) // rows.step), np.nan
        )
        if side == 0:
            reach = np.clip(np.nan_to_num(deepest, nan=0), 0, rows.rows).astype(np.int64)
            np.minimum.at(lowest, column[levels.trusted], reach[levels.trusted])
        else:
            reach = np.clip(np.nan_to_num(deepest, nan=rows.rows - 1), -1, rows.rows - 1).astype(np.int64)
            np.maximum.at(highest, column[levels.trusted], reach[levels.trusted])
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = grid.reshape(rows.rows, columns) / samples
    height = np.arange(rows.rows)[:, np.newaxis]
    shown[(height < lowest) | (height > highest)] = np.nan
    return shown


def _trades(archive: Archive, book: ShownBook, trusted: Spans, most: int) -> Largest | None:
    topic = trade_topic(book.category, book.symbol)
    known = merged(
        book.range,
        known_feeds(archive, book.range, category=book.category, topic=topic, clock=Clock.MATCH),
    )
    if not len(known.recorded):
        return None
    both = intersect(trusted, known.trusted)
    return largest_trades(archive, book.category, book.symbol, book.range, both, most)
