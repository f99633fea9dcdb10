"""Best bid and ask behind every message of a range, and for how long each stood."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from engine.core.replay import BookReplay
from recorder.archive import Archive
from recorder.feed_rows import NO_MOMENT, Clock, moments_ns
from recorder.plots.book import ShownBook
from recorder.plots.spans import NOTHING, Doubles, Ints, Spans, intersect, union
from recorder.ranges.book_range import Stretch, book_range

__all__ = ["Touch", "doubted_spans", "recordings", "touches"]


class Touch(NamedTuple):
    """States of the touch that follow each other.

    Attributes:
        starts_ns, ends_ns: from when to when each stood, on the match clock; none is empty.
        bid, ask: the best prices; NaN where the side was empty, or the rows say that the book was not to be trusted.
    """

    starts_ns: Ints
    ends_ns: Ints
    bid: Doubles
    ask: Doubles


def recordings(archive: Archive, book: ShownBook) -> list[Stretch]:
    """Return which recordings answer for which parts of a book's range, in order of time."""
    wanted = {**book.arguments(), "clock": Clock.MATCH, "t0": book.range.start_ns, "t1": book.range.end_ns}
    return book_range(archive, wanted).stretches


def doubted_spans(parts: Sequence[Stretch]) -> Spans:
    """Return when the recordings that answer were in gaps, be there another one that was not."""
    found = [NOTHING]
    for part in parts:
        gaps = [
            (
                gap.start_ns if gap.start_match_ns is None else gap.start_match_ns,
                part.end_ns
                if gap.end_ns is None
                else gap.end_ns
                if gap.end_match_ns is None
                else gap.end_match_ns,
            )
            for gap in part.gaps
        ]
        found.append(intersect(union(gaps), union([(part.start_ns, part.end_ns)])))
    return union(np.concatenate(found))


def touches(parts: Sequence[Stretch], depth: int) -> Iterator[Touch]:
    """Yield the states of the touch in these recordings, in order, a batch at a time; also what gaps should hide."""
    for part in parts:
        yield from _of_stretch(part, depth)


def _of_stretch(part: Stretch, depth: int) -> Iterator[Touch]:
    replay = BookReplay(depth)
    start_ns, bid, ask = part.start_ns, float("nan"), float("nan")
    for batch in part.batches((Clock.MATCH.column,)):
        best = replay.best(batch)
        moments = np.maximum.accumulate(moments_ns(pa.Table.from_batches([batch]), Clock.MATCH.column))
        # A row without a reading stays with the row before it.
        moments = np.clip(np.maximum(moments, start_ns), NO_MOMENT, part.end_ns)
        bids, asks = (_prices(best, side) for side in ("bid", "ask"))
        starts = np.concatenate([[start_ns], moments])
        states = Touch(
            starts[:-1], starts[1:], np.concatenate([[bid], bids[:-1]]), np.concatenate([[ask], asks[:-1]])
        )
        yield _lasting(states)
        start_ns, bid, ask = int(moments[-1]), float(bids[-1]), float(asks[-1])
        if start_ns >= part.end_ns:
            return
    yield _lasting(
        Touch(np.asarray([start_ns]), np.asarray([part.end_ns]), np.asarray([bid]), np.asarray([ask]))
    )


def _lasting(states: Touch) -> Touch:
    lasts = states.starts_ns < states.ends_ns
    return Touch(states.starts_ns[lasts], states.ends_ns[lasts], states.bid[lasts], states.ask[lasts])


def _prices(best: pa.RecordBatch, side: str) -> Doubles:
    mantissas = best[f"{side}_price_mantissa"]
    known = np.asarray(mantissas.is_valid()) & np.asarray(best["trusted"])
    exponents = -best["price_exponent"].to_numpy().astype(np.float64)
    prices: Doubles = np.where(known, mantissas.fill_null(0).to_numpy() / 10.0**exponents, np.nan)
    return prices
