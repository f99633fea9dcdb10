"""A book as the page shows it: the ladder, and what rested where over the last minutes. Pure: time is an argument.

The heat map's rows are bands of price of equal width, numbered by the price that they begin at divided by the width, so
that a row means the same in every column. Its columns come at a fixed pace; one in which the book wasn't to be believed
says so and holds no sizes.
"""

from __future__ import annotations

import base64
from collections import deque
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from engine.core.decimals import format_decimal
from engine.measures import spread_bps
from engine.shared import Snapshot
from recorder.serving.feed_table import lag_ms
from recorder.serving.hub import NEVER
from schemas.names import FeedState

__all__ = ["COLUMNS", "COLUMN_MS", "LEVELS", "ROWS", "Book", "BookView", "Column", "Level", "band_width"]

Ints = npt.NDArray[np.int64]

LEVELS: Final = 20
"""Of a side on the ladder."""
COLUMNS: Final = 480
COLUMN_MS: Final = 250
ROWS: Final = 96
"""Of the heat map, at most."""
LEAST_ROWS: Final = 16
ROOM: Final = 1.3
"""It is so much taller than the book reaches, so that it needn't follow every step."""
WIDEN: Final = 2.5
NARROW: Final = 8
"""The bands are chosen anew when the book reaches so many times as far as when they were chosen, or so much less."""
PATIENT_COLUMNS: Final = 12
"""That don't fit before bands are chosen anew: a touch that jumps away and back is no reason."""
MOST: Final = 0.75
SPREADS: Final = 12
"""The picture is at least so many spreads high: a book of one level reaches no further than itself."""
LOWEST_EXPONENT: Final = -18
SHADES: Final = 255
TYPICAL_SHADE: Final = 64
"""Of a band that holds what is usual; four times as much is twice as bright, up to the brightest."""


class Book(Protocol):
    """A shared book (``engine.SharedBook``)."""

    def begin(self) -> int:
        """Return what changes when the book does; odd while that happens."""

    def state(self) -> FeedState:
        """Return the state, STALE when the writer is gone."""

    def trouble(self) -> str:
        """Say why the state is not the feed's own; empty where it is."""

    def read(self, depth: int | None = None) -> Snapshot:
        """Return a consistent copy."""


class Level(msgspec.Struct, array_like=True, frozen=True):
    """One level: price and size as decimals, what rests up to here, and its and their share of the largest, 0..1."""

    price: str
    size: str
    total: str
    share: float
    total_share: float


class Column(msgspec.Struct, array_like=True, frozen=True):
    """One moment of the heat map.

    Attributes:
        at_ms: when, since the epoch.
        row: number of the first band; shades: of each from there on, a byte each, base64; empty where nothing is known.
        bid, ask: bands of the best prices, with a fraction; None where there is none.
        state: of the feed.
    """

    at_ms: int
    row: int
    shades: str
    bid: float | None
    ask: float | None
    state: str


class BookView:
    """One feed's book: a channel of the hub.

    Args:
        collector, category, topic: which.
        book: the shared one; None where the collector shares none.
        words: why there is none.

    Attributes:
        version: rises when something is to be shown; ``NEVER`` before the first look.
    """

    def __init__(self, collector: str, category: str, topic: str, book: Book | None, words: str = "") -> None:
        self.collector = collector
        self.category = category
        self.topic = topic
        self.book = book
        self.words = words
        self.version = NEVER if book is not None else 0
        self._moments: deque[tuple[int, _Moment]] = deque(maxlen=COLUMNS)
        self._ladder: dict[str, Any] = {"state": None, "trouble": words}
        self._seen: tuple[int, FeedState, str] | None = None
        self._copy: Snapshot | None = None
        self._column_ms = 0
        self._grid = _Grid()
        self._unfit = 0
        self._laid_out = 0

    def turn_to(self, book: Book | None, words: str) -> None:
        """Look at another memory from now on: the collector has started anew, or shares no book any more."""
        self.book = book
        self.words = words
        self._seen = None
        if book is None:
            self._copy = None
            self._ladder = {"state": None, "trouble": words}
        self.version += 1

    def look(self, now_ms: int) -> bool:
        """Look at the book; whether there is something to show. ``now_ms`` is since the epoch."""
        book = self.book
        if book is None:
            return False
        seen = book.begin(), book.state(), book.trouble()
        version = self.version + 1
        is_written = bool(seen[0] & 1)  # just now, or its writer died doing it: to read would be to wait
        moved = seen != self._seen and not (is_written and seen[1] is FeedState.LIVE)
        if moved:
            self._seen = seen
            self._copy = None if is_written else book.read()
            self._ladder = _told(self._copy, seen[1], seen[2])
        if now_ms - self._column_ms >= COLUMN_MS:
            self._column_ms = now_ms - now_ms % COLUMN_MS
            self._fit(version)
            self._moments.append((version, self._moment(self._column_ms)))
            moved = True
        if moved:
            self.version = version
        return moved

    def encode(self, since: int) -> bytes:
        """Return the ladder, and the columns that came since a version; all where bands were chosen anew meanwhile."""
        whole = since < self._laid_out or since < 0
        message: dict[str, Any] = {
            "channel": f"book/{self.collector}/{self.topic}",
            "whole": whole,
            "ladder": self._ladder,
            "columns": [
                moment.column(self._grid) for version, moment in self._moments if whole or version > since
            ],
        }
        if whole:
            message["grid"] = {
                "band": self._grid.band,
                "exponent": self._grid.exponent,
                "rows": self._grid.rows,
                "columns": COLUMNS,
                "column_ms": COLUMN_MS,
                "category": self.category,
                "topic": self.topic,
            }
        return msgspec.json.encode(message)

    def _moment(self, at_ms: int) -> _Moment:
        """What is known now, in the bands that are in force."""
        copy = self._copy
        state: str = self._ladder["state"]
        if copy is None or state != FeedState.LIVE.value or not (len(copy.bids) and len(copy.asks)):
            return _Moment(at_ms, 0, None, 0, 0, state)
        grid = self._grid
        row, sums = _bands(copy.bids, copy.asks, grid.band)
        return _Moment(at_ms, row, sums, int(copy.bids[0, 0]), int(copy.asks[0, 0]), state)

    def _fit(self, version: int) -> None:
        """Choose bands, or choose them anew once they haven't fitted for a while; what is known moves into them."""
        copy = self._copy
        if copy is None or not (len(copy.bids) and len(copy.asks)):
            return
        grid, reach = self._grid, _reach(copy.bids, copy.asks)
        fits = grid.band and reach <= WIDEN * grid.reach and reach * NARROW >= grid.reach
        if copy.price_exponent == grid.exponent and fits:
            self._unfit = 0
            return
        self._unfit += 1
        if grid.band and copy.price_exponent == grid.exponent and self._unfit < PATIENT_COLUMNS:
            return
        self._unfit = 0
        self._laid_out = version
        self._grid = _Grid(reach, copy.price_exponent, _typical(copy.bids, copy.asks, reach))
        factor = 10 ** (grid.exponent - copy.price_exponent) if grid.band else 1
        if factor >= 1:
            old, new = grid.band * factor, self._grid.band
            moved = [(number, moment.moved(old, new, factor)) for number, moment in self._moments]
            self._moments.clear()
            self._moments.extend(moved)
        else:
            self._moments.clear()


class _Grid:
    """Bands that fit a book which reaches so far.

    Attributes:
        band: how wide each is, in mantissas; 0 before there is a book.
        rows: how many the picture has.
        reach, exponent: what they were chosen for.
        typical: what a band usually holds.
    """

    __slots__ = ("band", "exponent", "reach", "rows", "typical")

    def __init__(self, reach: int = 0, exponent: int = 0, typical: float = 1.0) -> None:
        self.reach = reach
        self.exponent = exponent
        self.typical = typical
        self.band = band_width(round(reach * ROOM), ROWS // 2) if reach else 0
        self.rows = max(LEAST_ROWS, 2 * round(reach * ROOM / self.band)) if reach else ROWS


class _Moment(NamedTuple):
    """What was known at one moment: sums of bands from a row on (None: nothing), best prices, state."""

    at_ms: int
    row: int
    sums: npt.NDArray[np.float64] | None
    bid: int
    ask: int
    state: str

    def moved(self, old: int, new: int, factor: int) -> _Moment:
        """Put the sums into bands of another width, each parted evenly over what it covers; prices times a factor."""
        if self.sums is None:
            return self
        edges = (self.row + np.arange(len(self.sums) + 1, dtype=np.float64)) * old
        row, last = int(edges[0] // new), int(-(-edges[-1] // new))
        below = np.interp(
            np.arange(row, last + 1) * float(new), edges, np.concatenate([[0], np.cumsum(self.sums)])
        )
        return _Moment(self.at_ms, row, np.diff(below), self.bid * factor, self.ask * factor, self.state)

    def column(self, grid: _Grid) -> Column:
        """As it is painted: the square root of what rests in a band is how bright it is."""
        if self.sums is None:
            return Column(self.at_ms, 0, "", None, None, self.state)
        shades = np.minimum(np.ceil(np.sqrt(self.sums / grid.typical) * TYPICAL_SHADE), SHADES).astype(
            np.uint8
        )
        return Column(
            self.at_ms,
            self.row,
            base64.b64encode(shades.tobytes()).decode(),
            round(self.bid / grid.band, 2),
            round(self.ask / grid.band, 2),
            self.state,
        )


def band_width(reach: int, rows: int) -> int:
    """Return how wide bands must be, 1, 2 or 5 times a power of ten, for so many to hold a reach of mantissas."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power * rows >= reach:
                return step * power
        power *= 10


def _bands(bids: Ints, asks: Ints, band: int) -> tuple[int, npt.NDArray[np.float64]]:
    """What rests in each band around the touch: number of the first band, and sums."""
    middle = (int(bids[0, 0]) + int(asks[0, 0])) // 2 // band
    first = middle - ROWS
    sums = np.zeros(2 * ROWS, np.float64)
    for side in (bids, asks):
        index = side[:, 0] // band - first
        inside = (index >= 0) & (index < len(sums))
        np.add.at(sums, index[inside], side[inside, 1].astype(np.float64))
    held = np.flatnonzero(sums)
    if not len(held):
        return first, sums[:0]
    return first + int(held[0]), sums[held[0] : held[-1] + 1]


def _reach(bids: Ints, asks: Ints) -> int:
    """How far from the touch most of a book lies, on its wider side; of one of a level a side: some spreads.

    Single levels far away, which many books have, would make everything that matters small.
    """
    spread = int(asks[0, 0] - bids[0, 0])
    farthest = (abs(int(side[round((len(side) - 1) * MOST), 0] - side[0, 0])) for side in (bids, asks))
    return max(*farthest, SPREADS // 2 * spread, 1)


def _typical(bids: Ints, asks: Ints, reach: int) -> float:
    """What a band usually holds."""
    _, sums = _bands(bids, asks, _Grid(reach).band)
    held = sums[sums > 0]
    return float(np.median(held)) if len(held) else 1.0


def _told(copy: Snapshot | None, state: FeedState, trouble: str) -> dict[str, Any]:
    """What the ladder shows of a copy; levels only where it is to be believed."""
    told: dict[str, Any] = {"state": state.value, "trouble": trouble}
    if copy is None:
        return told
    if state is FeedState.LIVE:
        state = copy.state
        told["state"], told["trouble"] = state.value, copy.trouble
    if copy.cause is not None and not told["trouble"]:
        told["trouble"] = f"a gap is open: {copy.cause}"
    told["update_id"] = None if copy.update_id is None else str(copy.update_id)
    told["lag_ms"] = lag_ms(copy.receive_ns, copy.push_ms)
    if state is not FeedState.LIVE:
        return told
    bids, asks = np.asarray(copy.bids)[:LEVELS], np.asarray(copy.asks)[:LEVELS]
    sizes = [int(size) for side in (bids, asks) for size in side[:, 1]]
    totals = [int(side[:, 1].sum()) for side in (bids, asks)]
    largest, deepest = max(sizes, default=1) or 1, max(totals, default=1) or 1
    told["bids"] = _side(bids, copy, largest, deepest)
    told["asks"] = _side(asks, copy, largest, deepest)
    if len(bids) and len(asks):
        bid, ask = int(bids[0, 0]), int(asks[0, 0])
        told["spread"] = format_decimal(ask - bid, copy.price_exponent)
        points = spread_bps(bid, ask)
        told["spread_bps"] = None if points is None else round(points, 3)
        told["middle"] = _middle(bid, ask, copy.price_exponent)
    return told


def _middle(bid: int, ask: int, exponent: int) -> str:
    """Half way between two prices, with one place more where it takes that and there is one."""
    if (bid + ask) % 2 and exponent > LOWEST_EXPONENT:
        return format_decimal((bid + ask) * 5, exponent - 1)
    return format_decimal((bid + ask) // 2, exponent)


def _side(side: Ints, copy: Snapshot, largest: int, deepest: int) -> list[Level]:
    total = 0
    levels = []
    for price, size in side.tolist():
        total += size
        levels.append(
            Level(
                format_decimal(price, copy.price_exponent),
                format_decimal(size, copy.size_exponent),
                format_decimal(total, copy.size_exponent),
                round(size / largest, 4),
                round(total / deepest, 4),
            )
        )
    return levels
