"""What the picture of coverage shows: of feeds, symbols or classes, what share of each bucket can be trusted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from recorder.archive import Archive
from recorder.plots.known import Feed, Range, known_feeds, recorded_range
from recorder.plots.latency import class_of
from recorder.plots.spans import Doubles, Ints, overlap, union
from recorder.plots.steps import DAY_NS, bucket_ns, edges_of
from schemas.errors import ConfigError
from schemas.names import Table

__all__ = ["By", "CoveragePicture", "Row", "coverage_picture", "coverage_step_ns"]

BUCKETS: Final = 600
MOST_FINE_DAYS: Final = 3
MOST_DAYS: Final = 400
COMFORTABLE_ROWS: Final = 40
MOST_ROWS: Final = 250


class By(StrEnum):
    """What one row of the calendar is."""

    TOPIC = "topic"
    SYMBOL = "symbol"
    CLASS = "class"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the calendar.

    Attributes:
        name: of the feed, symbol or class, behind its product line.
        feeds: how many feeds it sums up.
        trusted, lost: of each bucket, what share was recorded and trusted by some collector, and what share was
            recorded by some and trusted by none; of one feed, or on average of all.
        gaps: how many gaps there are on record.
    """

    name: str
    feeds: int
    trusted: Doubles
    lost: Doubles
    gaps: int


@dataclass(frozen=True, slots=True)
class CoveragePicture:
    """What was recorded in a range.

    Attributes:
        what: such as ``linear BTCUSDT``.
        range: when.
        by: what a row is.
        step_ns: length of a bucket: a day, or a week, where the range is longer than three days.
        edges_ns: of the buckets, one more than there are.
        rows: by name.
    """

    what: str
    range: Range
    by: By
    step_ns: int
    edges_ns: Ints
    rows: list[Row]

    @property
    def is_calendar(self) -> bool:
        """Whether buckets are days, or longer."""
        return self.step_ns >= DAY_NS


def coverage_step_ns(range_: Range) -> int:
    """Return how long a bucket is: as fine as can be drawn up to three days, then days, then weeks and more."""
    days = (range_.end_ns - range_.start_ns) / DAY_NS
    if days <= MOST_FINE_DAYS:
        return bucket_ns(range_, BUCKETS)
    return DAY_NS if days <= MOST_DAYS else max(bucket_ns(range_, MOST_DAYS), 7 * DAY_NS)


def coverage_picture(
    archive: Archive,
    start_ns: int | None = None,
    end_ns: int | None = None,
    *,
    category: str | None = None,
    symbol: str | None = None,
    by: By | None = None,
) -> CoveragePicture:
    """Sum up what was recorded in a range. Times are of receipt.

    Args:
        archive: where.
        start_ns, end_ns: the range; the ends of what was recorded where they are not given.
        category, symbol: only these.
        by: what a row is; the finest that is comfortable to read by default.

    Raises:
        ConfigError: there would be more rows than fit.
        NoData: nothing was recorded.
    """
    range_ = recorded_range(archive, start_ns, end_ns, category=category, symbol=symbol)
    step_ns = coverage_step_ns(range_)
    edges = edges_of(range_, step_ns)
    name_of = {choice: _namer(archive, choice) for choice in By}
    feeds = [feed for feed, _ in known_feeds(archive, range_, category=category, symbol=symbol)]
    counts = {choice: len({name_of[choice](feed) for feed in feeds}) for choice in By}
    if by is None:
        by = next((choice for choice in By if counts[choice] <= COMFORTABLE_ROWS), By.CLASS)
    if counts[by] > MOST_ROWS:
        raise ConfigError(
            f"{counts[by]:,} rows by {by.value} don't fit into a picture; name a symbol with --symbol, "
            f"or sum up with --by symbol ({counts[By.SYMBOL]:,} rows) or --by class ({counts[By.CLASS]:,})"
        )
    shares: dict[str, tuple[int, Doubles, Doubles, int]] = {}
    inside = overlap(union([range_]), edges).astype(np.float64)
    for feed, known in known_feeds(
        archive, range_, category=category, symbol=symbol, fetched_is_trusted=False
    ):
        trusted, lost = overlap(known.trusted, edges) / inside, overlap(known.lost, edges) / inside
        count, so_far, lost_so_far, gaps = shares.get(name_of[by](feed), (0, 0.0, 0.0, 0))
        shares[name_of[by](feed)] = (count + 1, so_far + trusted, lost_so_far + lost, gaps + known.gaps)
    return CoveragePicture(
        what=" ".join(part for part in (category, symbol) if part) or "everything",
        range=range_,
        by=by,
        step_ns=step_ns,
        edges_ns=edges,
        rows=[
            Row(name, count, trusted / count, lost / count, gaps)
            for name, (count, trusted, lost, gaps) in sorted(
                shares.items(), key=lambda item: _natural(item[0])
            )
        ],
    )


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Order ``orderbook.50`` before ``orderbook.200``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _namer(archive: Archive, by: By) -> Callable[[Feed], str]:
    if by is By.TOPIC:
        return lambda feed: f"{feed.category} {feed.topic}"
    if by is By.CLASS:
        return lambda feed: f"{feed.category} {class_of(feed.topic)}"
    symbols = {symbol for _, symbol in archive.manifest.symbols(Table.COVERAGE)}

    def symbol_of(feed: Feed) -> str:
        own = feed.topic.rpartition(".")[2]
        return f"{feed.category} {own if own in symbols else feed.topic}"

    return symbol_of
