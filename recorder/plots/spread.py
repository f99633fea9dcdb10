"""What the picture of the spread shows: it and the middle, step by step, and how long each spread stood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from recorder.archive import Archive
from recorder.plots.book import ShownBook, seen, shown_book
from recorder.plots.known import Known
from recorder.plots.spans import Doubles, Ints, Spans, cells, union
from recorder.plots.steps import bucket_ns, edges_of
from recorder.plots.touch import Touch, doubted_spans, recordings, touches
from schemas.errors import NoData

__all__ = ["PARTS_OF_A_DECADE", "Fold", "SpreadPicture", "spread_picture", "spread_share"]

BUCKETS: Final = 400
PARTS_OF_A_DECADE: Final = 20
"""Spreads are told apart by a twentieth of a decade in the distribution; step by step they are exact."""
LOWEST: Final = -12 * PARTS_OF_A_DECADE
HIGHEST: Final = 8 * PARTS_OF_A_DECADE


@dataclass(frozen=True, slots=True)
class SpreadPicture:
    """The spread of a book over a range, by how long it stood.

    Attributes:
        book: which feed, and the range.
        known: when it could be trusted.
        step_ns: length of a bucket.
        cells: from and to of the pieces of buckets that have a spread, in order.
        low, high, mean: the spread in each; the mean by time.
        middle: mean of bid and ask in each, by time.
        stood_ns: how long the spread was in each part of a decade, from 10**(LOWEST / PARTS_OF_A_DECADE) on.
        mean_spread, mean_bps: over the whole range, by time.
        widest, widest_ns: the widest spread, and from when it stood.
    """

    book: ShownBook
    known: Known
    step_ns: int
    cells: Spans
    low: Doubles
    high: Doubles
    mean: Doubles
    middle: Doubles
    stood_ns: Ints
    mean_spread: float
    mean_bps: float
    widest: float
    widest_ns: int


class Fold:
    """Puts states of the touch into cells, and forgets them.

    Args:
        pieces: the cells: spans in order, none of which overlap.

    Attributes:
        stood_ns: of each cell, how long there was a spread.
        spread_ns, middle_ns, bps_ns: of each cell, the integral of these over that time.
        low, high: of each cell.
        by_size_ns: how long the spread was in each part of a decade.
        seen: when there was a touch at all.
        widest, widest_ns: the widest spread, and from when it stood.
    """

    def __init__(self, pieces: Spans) -> None:
        count = len(pieces)
        self._pieces = pieces
        self.stood_ns = np.zeros(count, np.int64)
        self.spread_ns, self.middle_ns, self.bps_ns = np.zeros(count), np.zeros(count), np.zeros(count)
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.by_size_ns = np.zeros(HIGHEST - LOWEST, np.int64)
        self.widest, self.widest_ns = -np.inf, 0

    def take(self, touch: Touch) -> None:
        """Take states; they are cut at the ends of cells, and what lies in none of them is left out."""
        if not len(touch.starts_ns) or not len(self._pieces):
            return
        first, last = int(touch.starts_ns[0]), int(touch.ends_ns[-1])
        bounds = self._pieces.ravel()
        near = bounds[np.searchsorted(bounds, first) : np.searchsorted(bounds, last, "right")]
        cuts = np.unique(np.concatenate([touch.starts_ns, touch.ends_ns, near]))
        starts, lengths = cuts[:-1], np.diff(cuts)
        state = np.searchsorted(touch.starts_ns, starts, "right") - 1
        cell = np.searchsorted(self._pieces[:, 0], starts, "right") - 1
        spread = (touch.ask - touch.bid)[state]
        middle = (touch.ask + touch.bid)[state] / 2
        held = (
            (starts < touch.ends_ns[state])
            & (cell >= 0)
            & (starts < self._pieces[np.maximum(cell, 0), 1])
            & ~np.isnan(spread)
        )
        starts, lengths, cell, spread, middle = (
            each[held] for each in (starts, lengths, cell, spread, middle)
        )
        if not len(starts):
            return
        count = len(self._pieces)
        self.stood_ns += np.bincount(cell, lengths, count).astype(np.int64)
        self.spread_ns += np.bincount(cell, spread * lengths, count)
        self.middle_ns += np.bincount(cell, middle * lengths, count)
        # Prices of the spread category may be below 0, and the middle of two of them 0: that has no basis points.
        away = np.where(middle == 0, np.inf, np.abs(middle))
        self.bps_ns += np.bincount(cell, spread / away * 10_000 * lengths, count)
        np.minimum.at(self.low, cell, spread)
        np.maximum.at(self.high, cell, spread)
        with np.errstate(divide="ignore"):
            # What touches or crosses for a moment counts as the narrowest there is.
            size = np.floor(np.log10(np.maximum(spread, 0.0)) * PARTS_OF_A_DECADE + 1e-6)
        part = np.clip(size, LOWEST, HIGHEST - 1).astype(np.int64) - LOWEST
        self.by_size_ns += np.bincount(part, lengths, HIGHEST - LOWEST).astype(np.int64)
        widest = int(np.argmax(spread))
        if spread[widest] > self.widest:
            self.widest, self.widest_ns = float(spread[widest]), int(starts[widest])


def spread_picture(
    archive: Archive,
    category: str,
    symbol: str,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    topic: str | None = None,
    buckets: int = BUCKETS,
) -> SpreadPicture:
    """Reduce the spread of a range to what is drawn. Times are the matching engine's; every message counts.

    Args:
        archive: where.
        category, symbol: of what.
        start_ns, end_ns: the range; the ends of what was recorded where they are not given.
        topic: of which book; by default the shallowest that was recorded for as long as any, for it changes most often.
        buckets: at most about so many.

    Raises:
        ConfigError: the topic is no book.
        NoData: there is no spread that can be trusted.
    """
    book = shown_book(archive, category, symbol, topic, start_ns, end_ns, deepest=False)
    step_ns = bucket_ns(book.range, buckets)
    parts = recordings(archive, book)
    known = seen(book, union([(part.start_ns, part.end_ns) for part in parts]), doubted_spans(parts))
    _, pieces = cells(known.trusted, edges_of(book.range, step_ns))
    fold = Fold(pieces)
    for touch in touches(parts, book.depth):
        fold.take(touch)
    has = fold.stood_ns > 0
    if not has.any():
        raise NoData(f"no spread of {category} {book.topic} that can be trusted from {book.range}")
    stood = fold.stood_ns[has].astype(np.float64)
    return SpreadPicture(
        book=book,
        known=known,
        step_ns=step_ns,
        cells=pieces[has],
        low=fold.low[has],
        high=fold.high[has],
        mean=fold.spread_ns[has] / stood,
        middle=fold.middle_ns[has] / stood,
        stood_ns=fold.by_size_ns,
        mean_spread=float(fold.spread_ns.sum() / stood.sum()),
        mean_bps=float(fold.bps_ns.sum() / stood.sum()),
        widest=fold.widest,
        widest_ns=fold.widest_ns,
    )


def spread_share(stood_ns: Ints) -> tuple[Doubles, Doubles]:
    """Return the distribution of spreads where there is one: edges, one more than shares of the time."""
    found = np.flatnonzero(stood_ns)
    part = np.arange(found[0], found[-1] + 2) + LOWEST
    return 10.0 ** (part / PARTS_OF_A_DECADE), stood_ns[found[0] : found[-1] + 1] / stood_ns.sum()
